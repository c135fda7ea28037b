#![no_main]
//! LVM metadata: the text and its map, then label and header. Checksums are not checked when fuzzing.

use libfuzzer_sys::fuzz_target;
use unsplit::format::lvm2::{group, label, map, metadata_area};

fuzz_target!(|data: &[u8]| {
    if let Ok(group) = group::parse(data) {
        for device in &group.physical_volumes {
            let _ = map::on_device(&group, &device.id);
        }
    }
    let Some(label) = label::find(data).label else { return };
    for area in &label.metadata {
        let from = usize::try_from(area.offset).unwrap_or(usize::MAX);
        let Some(header) = data.get(from..) else { continue };
        let Ok(metadata_area::Contents::Text(place)) = metadata_area::contents(header, *area) else {
            continue;
        };
        let total: u64 = place.pieces.iter().map(|piece| piece.len).sum();
        assert!(total <= metadata_area::LONGEST_TEXT);
        assert!(place.pieces.iter().all(|piece| piece.end() <= area.offset + area.size));
    }
});
