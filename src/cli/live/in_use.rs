//! Who uses the side that would be overwritten: said before the long comparison, and on the plan's page.

use crate::cli::exit::Failure;
use crate::cli::screen::{Screen, Tone};
use crate::resolver::in_use::InUse;

impl InUse {
    /// On the screen; nothing when nobody does.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(in crate::cli) fn show(&self, screen: &mut Screen) -> std::io::Result<()> {
        if self.users.is_empty() {
            return Ok(());
        }
        let title = screen.paint(Tone::Bad, &format!("{} is in use on {}:", self.resource, self.node));
        screen.line(title)?;
        for user in &self.users {
            let place = format!("volume {} (/dev/drbd{})", user.volume, user.minor);
            let who = match (&user.who, &user.not_known) {
                (Some(who), _) => who.clone(),
                (None, why) => format!("by whom is not known: {}", why.as_deref().unwrap_or("no answer")),
            };
            screen.line(format!("  {place}: {who}"))?;
            if let Some(end) = &user.ends_with {
                screen.line(format!("      {end}    # on {}: ends that", self.node))?;
            }
        }
        screen.line(format!(
            "  Until that has ended, `unsplit resolve` stops before any data is changed (exit code {}).",
            crate::cli::exit::NOT_FENCED
        ))
    }

    /// Before the comparison, which may take long; not among JSON.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(in crate::cli) fn show_early(&self, json: bool, screen: &mut Screen) -> Result<(), Failure> {
        if !json && !self.users.is_empty() {
            self.show(screen)?;
            screen.line("")?;
            screen.out().flush()?;
        }
        Ok(())
    }
}
