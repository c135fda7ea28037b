//! What a person sees: text with restrained colour, or one JSON document.

use super::ColorChoice;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// The one place that writes to standard output.
pub struct Screen {
    out: Box<dyn Write>,
    colour: bool,
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

impl Screen {
    /// Standard output.
    #[must_use]
    pub fn stdout(choice: ColorChoice) -> Self {
        let colour = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        Screen { out: Box::new(io::stdout()), colour }
    }

    /// Any writer, without colour.
    #[must_use]
    pub fn plain(out: Box<dyn Write>) -> Self {
        Screen { out, colour: false }
    }

    /// The writer itself.
    pub fn out(&mut self) -> &mut dyn Write {
        &mut *self.out
    }

    /// Paints text when colour is on.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Aside => "36",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// One line.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.out, "{}", text.as_ref())
    }

    /// A heading, after an empty line.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn heading(&mut self, text: &str) -> io::Result<()> {
        let painted = self.paint(Tone::Strong, text);
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
            table.add_row(row);
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
        serde_json::to_writer_pretty(&mut self.out, value)?;
        writeln!(self.out)
    }
}
