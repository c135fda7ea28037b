//! Who has a device open.

use crate::model::node::DeviceUser;
use crate::ports::replica::Unseen;

/// Everybody who uses `/dev/drbdN`.
///
/// # Errors
/// [`Unseen`].
pub(super) fn users(_minor: u32) -> Result<Vec<DeviceUser>, Unseen> {
    Err(Unseen("this part is not written yet".into()))
}
