//! Time.

use crate::model::seen::Stamp;

/// Where stamps come from.
pub trait Clock: Send + Sync {
    /// Now, by the wall clock.
    fn now(&self) -> Stamp;
}
