//! Unpacks the captures of real split brains (tests/data/images) into a temporary folder.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

const BLOCK: usize = 4096;

/// One generation's captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// DRBD 8.4.11, taken while attached and Primary.
    Drbd84Attached,
    /// DRBD 8.4.11, taken after an orderly shutdown.
    Drbd84Down,
    /// DRBD 9.3.3, taken while attached and Primary.
    Drbd9Attached,
}

impl Capture {
    pub const ALL: [Capture; 3] = [Capture::Drbd84Attached, Capture::Drbd84Down, Capture::Drbd9Attached];

    fn files(self) -> (&'static str, [&'static str; 2]) {
        match self {
            Capture::Drbd84Attached => ("drbd84", ["node1-attached", "node2-attached"]),
            Capture::Drbd84Down => ("drbd84", ["node1-down", "node2-down"]),
            Capture::Drbd9Attached => ("drbd9", ["node1-attached", "node2-attached"]),
        }
    }

    /// Writes `node1.img` and `node2.img` into `folder`.
    pub fn unpack(self, folder: &Path) -> [PathBuf; 2] {
        let (family, names) = self.files();
        let base = unzstd(&data(&format!("{family}-node1-attached.img.zst")));
        [("node1.img", names[0]), ("node2.img", names[1])].map(|(file, name)| {
            let path = folder.join(file);
            let mut image = base.clone();
            let patch = data(&format!("{family}-{name}.patch.zst"));
            if patch.exists() {
                for entry in unzstd(&patch).chunks_exact(8 + BLOCK) {
                    let at =
                        usize::try_from(u64::from_le_bytes(entry[..8].try_into().unwrap())).unwrap() * BLOCK;
                    image[at..at + BLOCK].copy_from_slice(&entry[8..]);
                }
            } else {
                assert_eq!(name, "node1-attached", "only the base has no patch");
            }
            fs::write(&path, image).unwrap();
            path
        })
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/images").join(name)
}

fn unzstd(path: &Path) -> Vec<u8> {
    let packed = fs::read(path).unwrap();
    let mut out = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(&packed[..]).unwrap().read_to_end(&mut out).unwrap();
    out
}
