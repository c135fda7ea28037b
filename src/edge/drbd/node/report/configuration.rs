//! The configured resources, as DRBD's own tool reads its files. A node without the tool still works.

use crate::edge::process::run;
use crate::format::drbdadm;
use crate::model::node::Configured;
use crate::model::seen::Why;
use std::io::ErrorKind;
use std::time::Duration;

/// How long the tool may take. It reads files and looks at addresses; it asks no other node.
const LIMIT: Duration = Duration::from_secs(20);
/// Longest dump; 1,000 resources of three nodes take about 3 MB.
const MOST: usize = 32 << 20;
/// Where it is when `PATH` does not say, as in a shell that ssh starts.
const PLACES: [&str; 3] = ["drbdadm", "/usr/sbin/drbdadm", "/sbin/drbdadm"];

/// The resources that this node, called `host`, has a part in.
pub(super) fn read(host: &str) -> Result<Vec<Configured>, Why> {
    for place in PLACES {
        let argv = [place.to_owned(), "dump-xml".to_owned()];
        let ran = match run(&argv, LIMIT, MOST) {
            Ok(ran) => ran,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Why(format!("`drbdadm dump-xml`: {error}"))),
        };
        let said = || ran.said.join(" / ");
        if !ran.status.success() {
            let how = ran.status;
            return Err(Why(format!("`drbdadm dump-xml` failed ({how}): {}", said())));
        }
        let text = String::from_utf8_lossy(&ran.output);
        // Nothing is configured: it says so elsewhere and prints nothing.
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        return drbdadm::resources(&text, host).map_err(|error| Why(error.to_string()));
    }
    Err(Why("drbdadm is not installed here (package drbd-utils)".to_owned()))
}
