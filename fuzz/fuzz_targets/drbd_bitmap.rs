#![no_main]
//! Any bytes as the bitmap of any geometry: scanned and edited in any chunking.
use unsplit::format::drbdmeta::bitmap::{Edit, Marking, Scan};
use unsplit::format::drbdmeta::geometry::BitmapLayout;
use unsplit::model::extent::{Extent, ExtentSet};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((head, area)) = input.split_first_chunk::<32>() else { return };
    let word = |at: usize| head[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
    let layout = BitmapLayout {
        bytes_per_bit: 1 << (12 + head[0] % 9),
        slots: u32::from(head[1] % 32) + 1,
        data_size: word(8) >> (head[2] % 64),
    };
    let chunk = usize::from(u16::from_le_bytes([head[3], head[4]])) + 1;
    let slot = u32::from(head[5] % 33);
    if let Ok(mut scan) = Scan::new(layout, slot) {
        let fed: Result<Vec<()>, _> = area.chunks(chunk).map(|chunk| scan.feed(chunk)).collect();
        if let (Ok(_), Ok(found)) = (fed, scan.finish()) {
            assert!(found.extents.end() <= layout.data_size);
            let bits: u64 = found.extents.iter().map(|run| run.len.div_ceil(layout.bytes_per_bit)).sum();
            assert_eq!(bits, found.bits);
        }
    }
    let extents: ExtentSet =
        [Extent { start: word(16) >> (head[6] % 64), len: word(24) >> (head[7] % 64) }].into_iter().collect();
    let mark = vec![Marking { slots: vec![slot], extents: extents.clone() }];
    let Ok(edit) = Edit::new(layout, &[u32::from(head[2] % 32) % layout.slots], mark) else { return };
    let mut edited = area.to_vec();
    let mut at = 0;
    for chunk in edited.chunks_mut(chunk * 4) {
        let _ = edit.apply(at, chunk);
        at += chunk.len() as u64;
    }
    let mut scan = Scan::new(layout, slot).expect("the slot exists");
    if edited.len() % 4 == 0 && scan.feed(&edited).is_ok() {
        if let Ok(found) = scan.finish() {
            let wanted = extents.clip(layout.data_size);
            assert!(wanted.subtract(&found.extents).is_empty(), "not everything was marked");
        }
    }
});
