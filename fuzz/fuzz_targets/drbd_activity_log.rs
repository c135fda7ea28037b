#![no_main]
//! Any bytes as an activity log, with checksums made right for some blocks.
use unsplit::format::drbdmeta::activity_log::{initial, parse};
use unsplit::format::drbdmeta::create::{Wanted, create};
use unsplit::model::drbd::MetadataFormat;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((head, rest)) = input.split_first_chunk::<4>() else { return };
    let wanted = Wanted {
        al_stripes: u32::from(head[0] % 4) + 1,
        al_stripe_size_4k: u32::from(head[1] % 9) + 1,
        ..Wanted::internal(MetadataFormat::V09, 64 << 20)
    };
    let Ok(fresh) = create(&wanted, false) else { return };
    let mut area = initial(&fresh.superblock);
    // Each block takes as much of the input as it says in two bytes.
    let mut rest = rest;
    for (i, block) in area.chunks_exact_mut(4096).enumerate() {
        let Some((len, tail)) = rest.split_first_chunk::<2>() else { break };
        let len = usize::from(u16::from_le_bytes(*len) % 4097).min(tail.len());
        block[..len].copy_from_slice(&tail[..len]);
        rest = &tail[len..];
        if head[2] >> (i % 8) & 1 == 0 {
            block[..4].copy_from_slice(&0x69cb_65a2u32.to_be_bytes());
            block[8..12].fill(0);
            let crc = !crc(block);
            block[8..12].copy_from_slice(&crc.to_be_bytes());
        }
    }
    if head[3] == 1 {
        area[..4].copy_from_slice(&0x6aa6_67a6u32.to_be_bytes());
    }
    if let Ok(log) = parse(&area, &fresh.superblock) {
        let size = 64 << 20;
        assert!(log.extents(size).end() <= size);
        assert!(log.extents(u64::MAX).bytes() >= log.extents(size).bytes());
    }
    let _ = parse(rest, &fresh.superblock);
});

/// CRC-32C with start value 0 and a final inversion.
fn crc(block: &[u8]) -> u32 {
    !block.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 })
    })
}
