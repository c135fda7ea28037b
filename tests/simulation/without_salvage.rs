//! A healing that keeps nothing, cut in the middle: what others wrote since is told from what was there.

use super::*;
use crate::world::disk::FakeDisk;
use std::sync::Arc;
use unsplit::engine::before::FOLDER;
use unsplit::ports::store::Store;

/// Where somebody else writes.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The victim's data, where the plan overwrites.
    Data,
    /// The bitmap of this side.
    Bitmap(Side),
}

/// A byte there becomes one that stood there on neither side, and that no healing writes there.
fn somebody_writes(scene: &Scene, place: Place, chance: u64) -> (Arc<FakeDisk>, usize, u8) {
    let images = &scene.site.images;
    let (disk, at) = match place {
        Place::Data => {
            let extents = Vec::from_iter(&scene.sealed.plan().volumes[0].overwrite);
            let extent = extents[usize::try_from(chance).unwrap() % extents.len()];
            (&scene.site.devices[scene.victim()].data, extent.start + chance * 577 % extent.len)
        }
        Place::Bitmap(side) => {
            let bitmap = images.sides[side].geometry.bitmap;
            (scene.site.devices[side].of_metadata(), bitmap.start + chance * 577 % bitmap.len)
        }
    };
    let at = usize::try_from(at).unwrap();
    let was = disk.content()[at];
    let known = [was, images.sides.a.data[at], images.sides.b.data[at], 0, 0xFF];
    let is = (0..=u8::MAX).rev().find(|byte| !known.contains(byte)).unwrap();
    disk.meddle(at, &[is]);
    (Arc::clone(disk), at, was)
}

/// Nothing is kept of the victim. Wherever the power goes, what somebody else writes to it before the run goes on is still
/// there afterwards; and without that the run ends well.
#[test]
fn without_a_salvage_what_others_wrote_after_a_cut_stays() {
    let spec = Spec { logs: Pair::new(Log::Hot, Log::Hot), ..Spec::plain(MetadataFormat::V09, 7) };
    let mut whole = Scene::new(spec, Side::A, false);
    whole.sealed = whole.site.plan_without_salvage(Side::A).unwrap();
    let begin = |whole: &Scene| {
        let mut scene = whole.afresh();
        scene.site.promises.nothing_is_kept();
        scene.keep_plan(vec![], 0).unwrap();
        scene
    };
    let mut untroubled = begin(&whole);
    let before = untroubled.site.faults.count();
    untroubled.finish(Command::Resolve).unwrap();
    let operations = untroubled.site.faults.count() - before;
    assert!(operations > 60, "{operations} operations");
    let attempt = |operation: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| {
            let mut scene = begin(&whole);
            scene.site.faults.go_on([(operation, Fault::Cut)]);
            let _ = scene.run(Command::Resolve)?;
            scene.power_cut(operation)?;
            let over = scene.closed_as(Outcome::Healed);
            let places = [Place::Data, Place::Bitmap(Side::A), Place::Bitmap(Side::B)];
            for place in places.into_iter().filter(|_| !over) {
                let (disk, at, was) = somebody_writes(&scene, place, operation);
                let is = disk.content()[at];
                let ending = scene.site.resolve(scene.sealed.id());
                let told = format!("{place:?}, byte {at}: {ending:?}");
                ensure(disk.content()[at] == is, &format!("it is overwritten: {told}"))?;
                ensure(!matches!(ending, Ok(Ending::Finished(_))), &format!("it was not noticed: {told}"))?;
                disk.meddle(at, &[was]);
            }
            scene.finish(Command::Resolve)?;
            scene.healed(operation)?;
            let left = scene.site.store.certain().list(FOLDER).unwrap();
            ensure(left.is_empty() || over, &format!("{left:?} stays in the state directory"))
        })
        .map_err(|why| format!("cut at operation {operation}: {why}"))
    };
    each(operations, attempt, "the test itself: it always does the same");
}

/// Nothing is kept of the victim, and the note of what stood there is gone or damaged: then only the survivor's bytes are
/// taken for ours.
#[test]
fn without_a_salvage_and_without_a_note_nothing_foreign_is_overwritten() {
    let mut whole = Scene::new(Spec::plain(MetadataFormat::V08, 8), Side::A, false);
    whole.sealed = whole.site.plan_without_salvage(Side::A).unwrap();
    let mut parked = [0, 0];
    for operation in (0..OPERATIONS).step_by(3) {
        for damaged in [false, true] {
            let mut scene = whole.afresh();
            scene.site.promises.nothing_is_kept();
            scene.keep_plan(vec![], 0).unwrap();
            scene.site.faults.go_on([(operation, Fault::Cut)]);
            let _ = scene.run(Command::Resolve).unwrap();
            scene.power_cut(operation).unwrap();
            let store = &scene.site.store;
            let notes = store.list(FOLDER).unwrap();
            for note in &notes {
                let path = format!("{}/{note}", FOLDER);
                match damaged {
                    true => store.write_at(&path, 80, &[0xA5; 8]).unwrap(),
                    false => store.remove(&path).unwrap(),
                }
            }
            let before = scene.site.devices.b.data.content();
            let ending = scene.site.resolve(scene.sealed.id());
            if let Ok(Ending::Parked { why, .. }) = &ending {
                let says = if damaged { "is damaged" } else { "what stood there before is not known" };
                assert!(why.contains(says), "{why}");
                assert!(before == scene.site.devices.b.data.content(), "{operation}: {why}");
                parked[usize::from(damaged)] += 1;
            }
        }
    }
    assert!(parked.iter().all(|many| *many > 2), "{parked:?} runs were cut while they overwrote");
}
