#![no_main]
//! Texts of a live node: `drbdadm dump-xml` and records of the kernel's log.

use libfuzzer_sys::fuzz_target;
use unsplit::format::{drbdadm, kmsg};

fuzz_target!(|data: &[u8]| {
    let _ = kmsg::record(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = drbdadm::resources(text, "node1");
    }
});
