//! A panic is a defect of ours: it ends a command like any other failure, with a code and a next command.

use super::exit::Failure;
use super::plan::state_dir_words;
use super::screen::visible;
use super::{Cli, screen::Screen};
use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};

/// Runs the command; a panic in it becomes a failure.
///
/// # Errors
/// [`Failure`].
pub fn caught(
    cli: &Cli,
    screen: &mut Screen,
    run: impl FnOnce(&Cli, &mut Screen) -> Result<u8, Failure>,
) -> Result<u8, Failure> {
    catch_unwind(AssertUnwindSafe(|| run(cli, screen))).unwrap_or_else(|_| Err(failure(cli)))
}

fn failure(cli: &Cli) -> Failure {
    let text = "this is a defect in unsplit, please report it with the line above. Nothing is lost: what was begun stands \
                in the journal";
    Failure::internal(anyhow::Error::msg(text)).hint(format!("unsplit history{}", state_dir_words(cli)))
}

/// One line for each panic, also for those that end only the work of a thread.
pub fn tell() {
    set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let words = panic.payload_as_str().unwrap_or("no words");
        let place = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        // Nobody is left to tell when standard error is closed, too.
        let _ = writeln!(std::io::stderr(), "unsplit: defect{place}: {}", visible(words));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn a_panic_is_a_failure_with_a_code_and_a_next_command() {
        let cli = Cli::parse_from(["unsplit", "--state-dir", "elsewhere", "history"]);
        let mut screen = Screen::plain(Box::new(std::io::sink()));
        let end = caught(&cli, &mut screen, |_, _| {
            let nothing: [u8; 0] = [];
            Ok(nothing[usize::from(std::env::args().count() == 0)])
        });
        let failure = end.unwrap_err();
        assert_eq!(failure.kind, crate::resolver::failure::Kind::Internal);
        let text = failure.text();
        assert!(text.contains("a defect in unsplit, please report it"), "{text}");
        assert!(text.contains("next: unsplit history --state-dir "), "{text}");
        assert_eq!(caught(&cli, &mut screen, |_, _| Ok(3)).unwrap(), 3);
    }
}
