//! Writes of metadata that a disk loses and says nothing of.

use super::*;
use unsplit::model::evidence::MetadataPlace;

/// The operations of an untroubled healing that write to a side's metadata, with that side's name.
fn metadata_writes(whole: &mut Scene) -> Vec<(u64, String)> {
    whole.keep_plan(vec![], 0).unwrap();
    let before = whole.site.faults.count();
    whole.finish(Command::Resolve).unwrap();
    whole.healed(1).unwrap();
    let log = whole.site.faults.log();
    let write = |line: &String| {
        let (number, words) = line.split_once(": ").unwrap();
        let (disk, place) = words.strip_prefix("write /dev/")?.split_once(" at ")?;
        let at = place.split(' ').next()?.parse::<u64>().ok()?;
        let data = disk.ends_with("-Data") && at < whole.site.images.size;
        (!data).then(|| (number.parse::<u64>().unwrap() - before, disk.to_owned()))
    };
    log.iter().skip(usize::try_from(before).unwrap()).filter_map(write).collect()
}

/// A disk loses one write of either side's superblock, log or bitmap and says nothing. Whatever it was, nothing is called
/// healed, and the next run ends well.
#[test]
fn a_metadata_write_that_a_disk_loses_is_found() {
    for (format, external) in
        [(MetadataFormat::V08, false), (MetadataFormat::V09, false), (MetadataFormat::V09, true)]
    {
        let place = if external { MetadataPlace::FlexibleExternal } else { MetadataPlace::Internal };
        let spec = || Spec {
            slots: if format == MetadataFormat::V09 { 2 } else { 1 },
            logs: Pair::new(Log::Hot, Log::Hot),
            places: Pair::new(place, place),
            ..Spec::plain(format, 5)
        };
        let mut whole = Scene::new(spec(), Side::A, false);
        let writes = metadata_writes(&mut whole);
        for side in ["a-", "b-"] {
            let of_it = writes.iter().filter(|(_, disk)| disk.starts_with(side)).count();
            assert!(of_it >= 3, "{side}: {writes:?}");
        }
        for (at, disk) in writes {
            let mut scene = whole.afresh();
            scene.keep_plan(vec![], 0).unwrap();
            scene.site.faults.go_on([(at, Fault::Lost)]);
            let ending = scene.run(Command::Resolve).unwrap().unwrap();
            assert!(matches!(&ending, Ending::Parked { .. }), "{format} {disk} {at}: {ending:?}");
            scene.power_cut(at).unwrap();
            scene.in_sync_only_if_equal().unwrap();
            scene.finish(Command::Resolve).unwrap();
            scene.healed(at).unwrap();
        }
    }
}
