//! Progress for people: a bar on standard error, and nothing at all when that is not a terminal.

use crate::ports::progress::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const TEMPLATE: &str =
    "{msg:>10} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";

/// Draws one bar per phase; removes it when the phase is over.
#[derive(Debug)]
pub struct TerminalProgress {
    watched: bool,
    bar: Mutex<ProgressBar>,
}

impl TerminalProgress {
    /// A bar on standard error if that is a terminal; silent otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self::watched(std::io::stderr().is_terminal())
    }

    fn watched(watched: bool) -> Self {
        TerminalProgress { watched, bar: Mutex::new(ProgressBar::hidden()) }
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, ProgressBar> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for TerminalProgress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for TerminalProgress {
    fn begin(&self, phase: &str, bytes: u64) {
        if !self.watched {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(phase.to_owned());
        // The rate and the time left go on being drawn while a slow disk keeps everybody waiting.
        bar.enable_steady_tick(Duration::from_millis(250));
        std::mem::replace(&mut *self.bar(), bar).finish_and_clear();
    }

    fn advance(&self, bytes: u64) {
        if self.watched {
            self.bar().inc(bytes);
        }
    }

    fn finish(&self) {
        if self.watched {
            self.bar().finish_and_clear();
        }
    }
}

impl Drop for TerminalProgress {
    fn drop(&mut self) {
        // An error may have ended a phase early: leave no half-drawn bar behind.
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn nothing_happens_unwatched() {
        let progress = TerminalProgress::watched(false);
        progress.begin("compare", 10);
        progress.advance(5);
        assert_eq!(progress.bar().position(), 0);
        progress.finish();
    }
}
