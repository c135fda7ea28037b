//! Sessions to one peer that nothing is asked over just now.

use super::session::Session;
use std::sync::{Arc, Mutex, PoisonError};

/// More than this many are not kept.
const MOST: usize = 4;

/// Sessions without anything open, ready for the next replica.
#[derive(Default)]
pub struct Idle(Mutex<Vec<Arc<Session>>>);

impl Idle {
    /// One of them, if there is one that still works.
    pub(super) fn take(&self) -> Option<Arc<Session>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|session| session.lost().is_none());
        kept.pop()
    }

    /// Keeps this one, unless there are enough, or it cannot be told to close what it has open.
    pub(super) fn keep(&self, session: &Arc<Session>) {
        if !session.close() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST {
            kept.push(Arc::clone(session));
        }
    }
}
