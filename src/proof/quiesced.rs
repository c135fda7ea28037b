//! Proof that nobody else writes to either side.

use crate::model::side::Pair;

/// A hold on one replica that keeps other writers out for as long as it lives.
pub trait Hold: Send + Sync {
    /// Asks again, now: is the replica still ours alone?
    ///
    /// # Errors
    /// In words, who else may write.
    fn still_ours(&self) -> Result<(), String>;
    /// How writers are kept out, for the record: `opened exclusively`, `write lock on the file`, ...
    fn how(&self) -> &str;
}

/// Somebody else may write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("somebody else may be writing: {why}")]
pub struct NotQuiet {
    /// Who or what, as far as known.
    pub why: String,
}

/// Both sides are ours alone. Every act that overwrites asks for it.
///
/// It cannot be written down, only obtained:
///
/// ```compile_fail,E0451
/// use unsplit::proof::quiesced::Quiesced;
/// fn forge(holds: unsplit::model::side::Pair<Box<dyn unsplit::proof::quiesced::Hold>>) -> Quiesced {
///     Quiesced { holds }
/// }
/// ```
///
/// The same function, asking the holds as it must, compiles:
///
/// ```
/// use unsplit::proof::quiesced::{NotQuiet, Quiesced};
/// fn ask(holds: unsplit::model::side::Pair<Box<dyn unsplit::proof::quiesced::Hold>>) -> Result<Quiesced, NotQuiet> {
///     Quiesced::by_holding(holds)
/// }
/// ```
pub struct Quiesced {
    holds: Pair<Box<dyn Hold>>,
}

impl Quiesced {
    /// Checks both holds and keeps them.
    ///
    /// # Errors
    /// [`NotQuiet`] when either hold is not, or no longer, exclusive.
    pub fn by_holding(holds: Pair<Box<dyn Hold>>) -> Result<Self, NotQuiet> {
        let quiesced = Quiesced { holds };
        quiesced.check()?;
        Ok(quiesced)
    }

    /// Asks both holds again. Called before every step that overwrites.
    ///
    /// # Errors
    /// [`NotQuiet`] when a hold was lost.
    pub fn check(&self) -> Result<(), NotQuiet> {
        for (_, hold) in self.holds.iter() {
            hold.still_ours().map_err(|why| NotQuiet { why })?;
        }
        Ok(())
    }

    /// How writers are kept out of each side.
    #[must_use]
    pub fn how(&self) -> Pair<&str> {
        self.holds.as_ref().map(|hold| hold.how())
    }
}

impl std::fmt::Debug for Quiesced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quiesced").field("how", &self.how()).finish()
    }
}
