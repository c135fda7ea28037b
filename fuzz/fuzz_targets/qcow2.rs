#![no_main]
//! Any bytes: a qcow2 file is refused or read, never more than it holds; what it stores can be found and read by both ways.
use unsplit::format::qcow2::Image;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(image) = Image::open(data) else { return };
    let _ = (image.backing(), image.backing_format());
    let end = image.virtual_size();
    for start in [0, end / 2, end.saturating_sub(4096)] {
        let mut buffer = vec![0; 4096.min((end - start) as usize)];
        let _ = image.read(start, &mut buffer);
        let _ = image.places(start, (end - start).min(1 << 20));
    }
    if let Ok(stored) = image.allocated() {
        assert!(stored.end() <= end);
        for run in stored.iter().take(16) {
            let places = image.places(run.start, run.len.min(1 << 16));
            for (extent, place) in places.into_iter().flatten() {
                assert!(
                    place != unsplit::format::qcow2::read::Place::Absent,
                    "{extent:?} was said to be stored"
                );
            }
        }
    }
});
