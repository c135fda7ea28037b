//! Where a proof comes from that the peer cannot write.

use crate::model::node::Toward;
use crate::proof::{FencedPeer, NotFenced, Permit};

/// One source of such proofs.
pub trait Fencer {
    /// Proves it now, or says what the peer is or may be. Doing so again is safe.
    ///
    /// # Errors
    /// [`NotFenced`]: then the peer may be writing.
    fn fence(&self, toward: &Toward, permit: &Permit<'_>) -> Result<FencedPeer, NotFenced>;
}
