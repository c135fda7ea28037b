//! What DRBD, its configuration and the kernel's log say.

use crate::model::node::NodeReport;
use crate::ports::replica::Unseen;

/// Everything, read now.
///
/// # Errors
/// [`Unseen`].
pub(super) fn report() -> Result<NodeReport, Unseen> {
    Err(Unseen("this part is not written yet".into()))
}
