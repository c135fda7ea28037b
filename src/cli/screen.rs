//! What a person sees: text with restrained colour, or one JSON document.

use super::ColorChoice;
use super::outlet::Outlet;
use crate::model::shell::acts;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// The one place that writes to standard output.
pub struct Screen {
    out: Outlet,
    colour: bool,
}

/// What switches all tones off.
const PLAIN: &str = "\u{1b}[0m";

/// Text that does nothing to a terminal: names come from command lines, devices and images, and may hold anything.
/// Line ends stay.
#[must_use]
pub fn visible(text: &str) -> String {
    spelled_out(text, false)
}

fn spelled_out(text: &str, colour: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let ours = colour
            && c == '\u{1b}'
            && Tone::ALL
                .iter()
                .map(|tone| tone.code())
                .chain([PLAIN])
                .any(|code| text[at..].starts_with(code));
        if acts(c) && c != '\n' && !ours {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Emphasis, by meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Look here.
    Bad,
    /// A heading.
    Strong,
    /// Less important.
    Faint,
    /// Somebody explains; not what a command found.
    Aside,
}

impl Tone {
    /// All of them.
    const ALL: [Tone; 5] = [Tone::Good, Tone::Bad, Tone::Strong, Tone::Faint, Tone::Aside];

    /// What switches it on.
    fn code(self) -> &'static str {
        match self {
            Tone::Good => "\u{1b}[32m",
            Tone::Bad => "\u{1b}[1;31m",
            Tone::Strong => "\u{1b}[1m",
            Tone::Faint => "\u{1b}[2m",
            Tone::Aside => "\u{1b}[36m",
        }
    }
}

impl Screen {
    /// Standard output.
    #[must_use]
    pub fn stdout(choice: ColorChoice) -> Self {
        let colour = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        Screen { out: Outlet::new(Box::new(io::stdout()), Box::new(io::stderr())), colour }
    }

    /// For a command that does something: what it says is said even where the reader of its output went away.
    #[must_use]
    pub fn of_work(mut self) -> Self {
        self.out.tell_always();
        self
    }

    /// Whether a part of the output could not be written, for another reason than that its reader went away.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.out.is_broken()
    }

    /// Any writer, without colour.
    #[must_use]
    pub fn plain(out: Box<dyn Write>) -> Self {
        Screen { out: Outlet::new(out, Box::new(io::stderr())), colour: false }
    }

    /// The writer itself.
    pub fn out(&mut self) -> &mut dyn Write {
        &mut self.out
    }

    /// Paints text when colour is on.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        format!("{}{text}{PLAIN}", tone.code())
    }

    /// One line.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        let text = spelled_out(text.as_ref(), self.colour);
        writeln!(self.out, "{text}")
    }

    /// A heading, after an empty line.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn heading(&mut self, text: &str) -> io::Result<()> {
        let painted = self.paint(Tone::Strong, &visible(text));
        writeln!(self.out, "\n{painted}")
    }

    /// A table, indented by two; the first column is left-aligned, numbers in the others right-aligned.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn table(&mut self, header: &[&str], rows: &[Vec<String>], numbers_from: usize) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if !header.is_empty() {
            table.set_header(header.iter().copied());
        }
        for row in rows {
            // A cell is one line.
            table.add_row(row.iter().map(|cell| visible(cell).replace('\n', "\\n")));
        }
        for (at, column) in table.column_iter_mut().enumerate() {
            column.set_padding((if at == 0 { 2 } else { 1 }, 2));
            if at >= numbers_from {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// One JSON document.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        // Standard output goes out line by line, and a list of ranges has many.
        let mut out = io::BufWriter::with_capacity(64 << 10, &mut self.out);
        serde_json::to_writer_pretty(&mut out, value)?;
        writeln!(out)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tone_reaches_the_terminal() {
        for tone in Tone::ALL {
            let painted = format!("{}text{PLAIN}", tone.code());
            assert_eq!(spelled_out(&painted, true), painted, "{tone:?}");
            assert!(!spelled_out(&painted, false).contains('\u{1b}'));
        }
        assert!(!spelled_out("\u{1b}[2J", true).contains('\u{1b}'));
    }

    #[test]
    fn names_do_nothing_to_the_terminal() {
        assert_eq!(visible("a\u{1b}[31mb\u{202e}c\nd\u{7}"), "a\\u{1b}[31mb\\u{202e}c\nd\\u{7}");
        assert_eq!(visible("vm-101 (ext4) ä"), "vm-101 (ext4) ä");
        let screen = Screen { out: Outlet::new(Box::new(Vec::new()), Box::new(Vec::new())), colour: true };
        let painted = screen.paint(Tone::Bad, "x");
        assert_eq!(spelled_out(&painted, true), painted);
        assert!(!spelled_out(&painted, false).contains('\u{1b}'));
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let mut screen = Screen::plain(Box::new(Gone));
        assert!(screen.line("x").is_ok());
        assert!(screen.json(&1).is_ok());
        assert!(screen.out().flush().is_ok());
    }
}
