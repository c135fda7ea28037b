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

const COUNT: &str = "{msg:>10} [{bar:30}] {pos} of {len}";

/// How many of several things are done, where they are worked on side by side.
#[derive(Debug)]
pub struct TerminalCount {
    bar: ProgressBar,
}

impl TerminalCount {
    /// A bar on standard error if that is a terminal and there is something to count; silent otherwise.
    #[must_use]
    pub fn new(what: &str, count: usize) -> Self {
        if count < 2 || !std::io::stderr().is_terminal() {
            return TerminalCount { bar: ProgressBar::hidden() };
        }
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(COUNT) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        TerminalCount { bar }
    }

    /// One is done; `show` may write to the terminal.
    pub fn done<T>(&self, show: impl FnOnce() -> T) -> T {
        self.bar.inc(1);
        self.bar.suspend(show)
    }
}

impl Drop for TerminalCount {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
        assert!(ProgressStyle::with_template(COUNT).is_ok());
    }

    #[test]
    fn a_count_shows_what_it_is_given() {
        let count = TerminalCount { bar: ProgressBar::hidden() };
        assert_eq!(count.done(|| 7), 7);
        assert_eq!(count.bar.position(), 1);
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
