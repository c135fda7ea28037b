//! From two sides, or two nodes, to a healed pair: drawn, agreed to, run.

use super::access::{Access, Choice};
use super::desk::Desk;
use super::draw::{Agreed, Drawn, DrawnPlan, Held, draw};
use super::driver::Driver;
use super::failure::Failure;
use super::opened::Opened;
use super::run::{How, Ran, start};

/// What healing came to.
pub enum Healed {
    /// Nothing to do.
    Agree(Agreed),
    /// The policy does not decide, or refuses.
    Held(Box<Held>),
    /// A plan was drawn and kept; nobody agreed to it.
    NotAgreed(Box<DrawnPlan>),
    /// An incident was run.
    Ran(Box<Ran>),
}

/// Draws a plan, asks for consent, and runs it.
///
/// # Errors
/// Anything that keeps a plan from being drawn; the journal cannot be written.
pub fn heal(
    desk: &Desk,
    by: &mut dyn Driver,
    opened: &Opened,
    access: &Access,
    choice: &Choice,
) -> Result<Healed, Failure> {
    let drawn = match draw(desk, by, opened, access, choice)? {
        Drawn::Agree(agreed) => return Ok(Healed::Agree(agreed)),
        Drawn::Held(held) => return Ok(Healed::Held(held)),
        Drawn::Sealed(drawn) => drawn,
    };
    let Some(consent) = by.consent(&drawn)? else { return Ok(Healed::NotAgreed(drawn)) };
    let how = How { threads: access.threads(), no_salvage: choice.no_salvage };
    start(desk, by, opened, (&drawn.sealed, None), consent, how).map(Box::new).map(Healed::Ran)
}
