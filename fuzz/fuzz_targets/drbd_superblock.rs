#![no_main]
//! Any 4 KiB as a superblock, on devices of any size; what parses must encode to the same.
use unsplit::format::drbdmeta::geometry::Geometry;
use unsplit::format::drbdmeta::superblock::{encode_into, parse};
use unsplit::format::drbdmeta::{activity_log, locate};
use unsplit::model::evidence::MetadataPlace;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((head, rest)) = input.split_first_chunk::<17>() else { return };
    let word = |at: usize| head[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
    let (metadata_size, data_size) = (word(0), word(8));
    let mut block = [0; 4096];
    let len = rest.len().min(4096);
    block[..len].copy_from_slice(&rest[..len]);
    // Most inputs should get past the magic.
    if head[16] & 0x80 == 0 {
        block[60..64].copy_from_slice(&(0x8374_026au32 + u32::from(head[16] % 4)).to_be_bytes());
    }
    let Ok(superblock) = parse(&block) else { return };
    let _ = activity_log::log_state(&superblock);
    let mut again = block;
    encode_into(&superblock, &mut again);
    assert!(again == block, "encoding changed bytes");
    let places = [
        MetadataPlace::Internal,
        MetadataPlace::FlexibleExternal,
        MetadataPlace::IndexedExternal(u32::from(head[16])),
    ];
    for place in places {
        for at in
            [0, metadata_size, locate::candidate(place, metadata_size).map_or(0, |here| here.superblock_at)]
        {
            if let Ok(geometry) = Geometry::of(&superblock, place, at, metadata_size, data_size) {
                let inside =
                    |end: u64| assert!(end <= metadata_size, "{geometry:?} reaches beyond the device");
                inside(geometry.log.end());
                inside(geometry.bitmap.end());
                assert!(geometry.data_size <= geometry.data_capacity);
                assert!(
                    geometry.layout.bits().div_ceil(8) * u64::from(geometry.layout.slots)
                        <= geometry.bitmap.len + 4096
                );
            }
        }
    }
});
