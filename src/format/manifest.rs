//! `manifest.json` of a salvage: one JSON object with the [`Manifest`] and the BLAKE3 of its canonical form
//! (the compact JSON that serde writes), so that damage anywhere in it is noticed.

use crate::model::id::Digest;
use crate::model::salvage::{Manifest, Part};
use crate::model::size::SECTOR;
use serde::{Deserialize, Serialize};
use std::io;

/// The version written and read.
pub const VERSION: u32 = 1;

/// Largest manifest, bytes: about eight million pieces.
pub const MAX_MANIFEST: u64 = 1 << 30;

/// Longest piece, bytes. Pieces never cross a multiple of it.
pub const PIECE: u64 = 1 << 20;

/// Most bytes that one piece takes in a manifest: two numbers of 20 digits, 64 hex digits, names and commas.
pub const PIECE_TEXT: u64 = 24 + 2 * 20 + 64 + 10;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFault {
    /// Too large to be one of ours.
    #[error("it has {0} bytes, more than the {MAX_MANIFEST} a manifest may have")]
    TooLarge(u64),
    /// Written by another unsplit.
    #[error("it has version {0}; this unsplit reads version {VERSION}: use the one that took the salvage")]
    Version(u64),
    /// No JSON, or not this JSON. The cause names line and column.
    #[error("it is not a manifest")]
    Json(#[source] serde_json::Error),
    /// It was changed or damaged after it was written.
    #[error("its content does not match its digest {sealed}: it is damaged or was edited")]
    Damaged {
        /// The digest in the file.
        sealed: Digest,
    },
    /// It contradicts itself.
    #[error("part {part}: {what}")]
    Part {
        /// The part's position, from 0.
        part: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A piece is wrong.
    #[error("part {part}: the piece of {len} bytes at byte {start} {what}")]
    Piece {
        /// The part's position, from 0.
        part: usize,
        /// First byte of the piece.
        start: u64,
        /// Its length.
        len: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// What stands in the file.
#[derive(Serialize, Deserialize)]
struct Sealed<M> {
    blake3: Digest,
    manifest: M,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u64,
}

/// The digest of a manifest's canonical form: what a proof and the journal name it by.
///
/// # Errors
/// [`ManifestFault::Json`] when it cannot be serialised.
pub fn digest(manifest: &Manifest) -> Result<Digest, ManifestFault> {
    let mut hasher = blake3::Hasher::new();
    serde_json::to_writer(io::BufWriter::with_capacity(1 << 16, &mut hasher), manifest)
        .map_err(ManifestFault::Json)?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// The file's bytes for a manifest.
///
/// # Errors
/// [`ManifestFault`], also for a manifest that [`parse_manifest`] would not take.
pub fn manifest_bytes(manifest: &Manifest) -> Result<Vec<u8>, ManifestFault> {
    check(manifest)?;
    let sealed = Sealed { blake3: digest(manifest)?, manifest };
    let mut bytes = serde_json::to_vec(&sealed).map_err(ManifestFault::Json)?;
    bytes.push(b'\n');
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(ManifestFault::TooLarge(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Reads and checks a manifest: version, digest, safe file names, pieces ascending, disjoint and inside the volume.
///
/// # Errors
/// [`ManifestFault`].
pub fn parse_manifest(bytes: &[u8]) -> Result<Manifest, ManifestFault> {
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(ManifestFault::TooLarge(bytes.len() as u64));
    }
    let sealed: Sealed<Manifest> = serde_json::from_slice(bytes).map_err(|error| {
        // Another version may have another shape; then its number says more than the shape.
        match serde_json::from_slice::<Sealed<VersionOnly>>(bytes) {
            Ok(other) if other.manifest.version != u64::from(VERSION) => {
                ManifestFault::Version(other.manifest.version)
            }
            _ => ManifestFault::Json(error),
        }
    })?;
    if sealed.manifest.version != VERSION {
        return Err(ManifestFault::Version(u64::from(sealed.manifest.version)));
    }
    if digest(&sealed.manifest)? != sealed.blake3 {
        return Err(ManifestFault::Damaged { sealed: sealed.blake3 });
    }
    check(&sealed.manifest)?;
    Ok(sealed.manifest)
}

fn check(manifest: &Manifest) -> Result<(), ManifestFault> {
    for (index, part) in manifest.parts.iter().enumerate() {
        let wrong = |what| Err(ManifestFault::Part { part: index, what });
        if manifest.parts[..index].iter().any(|other| other.kind == part.kind || other.file == part.file) {
            return wrong("its kind or file name occurs twice");
        }
        if !is_plain_name(&part.file) {
            return wrong("its file name is not a plain file name");
        }
        if !part.virtual_size.is_multiple_of(SECTOR) {
            return wrong("its size is not a multiple of 512 bytes");
        }
        check_pieces(index, part)?;
    }
    Ok(())
}

fn check_pieces(index: usize, part: &Part) -> Result<(), ManifestFault> {
    let mut free_from = 0;
    for piece in &part.pieces {
        let wrong =
            |what| Err(ManifestFault::Piece { part: index, start: piece.start, len: piece.len, what });
        let Some(end) = piece.start.checked_add(piece.len).filter(|end| *end <= part.virtual_size) else {
            return wrong("is not inside the volume");
        };
        if piece.len == 0 || piece.start / PIECE != (end - 1) / PIECE {
            return wrong("is empty or crosses a multiple of 1 MiB");
        }
        if piece.start < free_from {
            return wrong("is out of order");
        }
        free_from = end;
    }
    Ok(())
}

fn is_plain_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{IncidentId, NodeName, PlanId, ResourceName};
    use crate::model::salvage::{PartKind, Piece};
    use crate::model::seen::Stamp;
    use crate::model::side::Side;

    fn manifest() -> Manifest {
        let digest = Digest([7; 32]);
        Manifest {
            version: VERSION,
            incident: IncidentId::new("i1").unwrap(),
            plan: PlanId(digest),
            resource: ResourceName::new("r0").unwrap(),
            victim: Side::B,
            victim_name: NodeName::new("n2").unwrap(),
            survivor_name: NodeName::new("n1").unwrap(),
            taken_at: Stamp(5),
            parts: vec![Part {
                kind: PartKind::VictimData,
                file: "victim-data.qcow2".into(),
                virtual_size: 4 << 20,
                backing: Some("/dev/x".into()),
                pieces: vec![
                    Piece { start: 4096, len: 8192, blake3: digest },
                    Piece { start: 1 << 20, len: 1 << 20, blake3: digest },
                ],
            }],
        }
    }

    #[test]
    fn round_trips() {
        assert_eq!(parse_manifest(&manifest_bytes(&manifest()).unwrap()).unwrap(), manifest());
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let bytes = manifest_bytes(&manifest()).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                // A hex digit of the digest may change its case; nothing else may pass.
                if let Ok(read) = parse_manifest(&damaged) {
                    assert_eq!(read, manifest(), "bit {bit} of byte {at}");
                }
            }
        }
        for len in 0..bytes.len() - 1 {
            assert!(parse_manifest(&bytes[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let text = br#"{"blake3":"0000000000000000000000000000000000000000000000000000000000000000","manifest":{"version":2,"x":1}}"#;
        assert!(matches!(parse_manifest(text), Err(ManifestFault::Version(2))));
    }

    #[test]
    fn contradictions_are_refused() {
        let mut cases: Vec<Manifest> = Vec::new();
        let mut with = |change: fn(&mut Manifest)| {
            let mut changed = manifest();
            change(&mut changed);
            cases.push(changed);
        };
        with(|m| m.parts[0].file = "../x".into());
        with(|m| m.parts[0].file = "a/b".into());
        with(|m| m.parts[0].file = String::new());
        with(|m| m.parts[0].virtual_size = 4095);
        with(|m| m.parts[0].virtual_size = 1 << 20);
        with(|m| m.parts[0].pieces.swap(0, 1));
        with(|m| m.parts[0].pieces[0].len = 0);
        with(|m| m.parts[0].pieces[0].len = 1 << 20);
        with(|m| m.parts[0].pieces[1].start = u64::MAX);
        with(|m| m.parts.push(m.parts[0].clone()));
        for case in cases {
            // Sealed, so that it is the contradiction that is found.
            let sealed = Sealed { blake3: digest(&case).unwrap(), manifest: &case };
            let fault = parse_manifest(&serde_json::to_vec(&sealed).unwrap()).unwrap_err();
            assert!(matches!(fault, ManifestFault::Part { .. } | ManifestFault::Piece { .. }), "{fault}");
            assert!(manifest_bytes(&case).is_err());
        }
    }

    #[test]
    fn a_piece_takes_no_more_text_than_estimated() {
        let piece = Piece { start: u64::MAX, len: u64::MAX, blake3: Digest([0xff; 32]) };
        let text = serde_json::to_string(&piece).unwrap(); // and a comma
        assert!((text.len() as u64) < PIECE_TEXT, "{} bytes", text.len());
    }
}
