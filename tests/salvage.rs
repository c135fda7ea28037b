//! Salvages: what is kept is the victim as it was, by QEMU's word too, and nothing damaged ever passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, unreachable_pub)]

mod skipped;
#[path = "salvage/world.rs"]
mod world;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::LazyLock;
use unsplit::engine::salvage::{
    Kept, Label, MANIFEST, PartSource, RESERVE, SalvageError, State, dir_of, file_of, list, load_manifest,
    needed_space, prove_again, reader, restore, take, verify,
};
use unsplit::format::qcow2::Image;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::id::{Digest, IncidentId, NodeName, PlanId, ResourceName};
use unsplit::model::salvage::PartKind;
use unsplit::model::seen::Stamp;
use unsplit::model::side::Side;
use unsplit::ports::disk::{Disk, DiskFault};
use unsplit::ports::progress::Silent;
use unsplit::ports::store::Store;
use unsplit::proof::{NotPreserved, Wanted};
use world::{Dice, FileDisk, MemoryDisk, TestStore, Trouble, qemu_img, set, sides};

const DIR: &str = "salvage/i1";
const OVERLAY: &str = "salvage/i1/victim-data.qcow2";

fn label() -> Label {
    Label {
        incident: IncidentId::new("i1").unwrap(),
        plan: PlanId(Digest([1; 32])),
        resource: ResourceName::new("r0").unwrap(),
        victim: Side::B,
        victim_name: NodeName::new("node2").unwrap(),
        survivor_name: NodeName::new("node1").unwrap(),
        taken_at: Stamp(1_700_000_000_000),
    }
}

fn data<'a>(disk: &'a dyn Disk, extents: &'a ExtentSet, backing: Option<&Path>) -> PartSource<'a> {
    PartSource {
        kind: PartKind::VictimData,
        disk,
        extents,
        virtual_size: disk.size(),
        backing: backing.map(|path| path.to_str().unwrap().to_owned()),
    }
}

fn wanted(extents: &ExtentSet) -> Wanted {
    Wanted {
        incident: label().incident,
        plan: label().plan,
        parts: vec![(PartKind::VictimData, extents.clone())],
    }
}

/// A small divergence with gaps, unaligned ends, and a piece in each of two MiB.
fn small() -> (u64, ExtentSet) {
    let size = (3 << 20) + 512;
    (size, set(&[(0, 4096), (12288, 8192), ((1 << 20) - 4096, 8192), (3 << 20, 512)]))
}

fn take_small(store: &dyn Store) -> Result<Kept, SalvageError> {
    static VICTIM: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let (size, extents) = small();
        sides(size, &extents).1
    });
    let (disk, extents) = (MemoryDisk::new(VICTIM.clone()), small().1);
    take(store, DIR, &label(), &[data(&disk, &extents, Some(Path::new("/survivor")))], &Silent)
}

fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

/// Takes a salvage, asks QEMU, and puts it back.
fn whole_line(size: u64, extents: &ExtentSet) {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::new(folder.path());
    let (survivor, victim) = sides(size, extents);
    let (survivor_path, victim_path) = (store.path("survivor.img"), store.path("victim.img"));
    // The survivor's image is longer than its data: DRBD's metadata stand behind it.
    fs::write(&survivor_path, [survivor.as_slice(), &[0x77; 36864]].concat()).unwrap();
    fs::write(&victim_path, &victim).unwrap();
    let disk = MemoryDisk::new(victim.clone());
    let part = data(&disk, extents, Some(&survivor_path));

    let needed = needed_space(std::slice::from_ref(&part)).unwrap();
    let kept = take(&store, DIR, &label(), &[part], &Silent).unwrap();
    assert!(!kept.already);
    assert_eq!((kept.proof.incident(), kept.proof.plan()), (&label().incident, label().plan));
    let used =
        [OVERLAY, "salvage/i1/manifest.json"].map(|path| fs::metadata(store.path(path)).unwrap().len());
    assert!(used[0] + used[1] <= needed && needed < used[0] + used[1] * 2 + 40_000, "{used:?} of {needed}");
    assert_eq!(verify(&store, DIR, &Silent).unwrap(), kept.manifest);
    assert_eq!(prove_again(&store, DIR, &wanted(extents), &Silent).unwrap().1, kept.proof);

    let (overlay, out) = (store.locate(OVERLAY), store.locate("out.img"));
    qemu_img(&["check", "-f", "qcow2", &overlay]);
    qemu_img(&["compare", "-f", "qcow2", "-F", "raw", &overlay, victim_path.to_str().unwrap()]);
    if qemu_img(&["convert", "-f", "qcow2", "-O", "raw", &overlay, &out]).is_some() {
        assert!(fs::read(&out).unwrap() == victim, "the overlay on the survivor is not the victim");
    }

    let target = MemoryDisk::new(survivor);
    let written = restore(&store, DIR, PartKind::VictimData, &target, &Silent).unwrap();
    assert_eq!(written, extents.bytes());
    assert!(target.content() == victim, "what was put back is not the victim");
    let view = reader(&store, DIR, PartKind::VictimData).unwrap();
    assert_eq!((view.kept(), view.size()), (extents, size));
    for run in extents.iter() {
        let mut bytes = vec![0; usize::try_from(run.len).unwrap()];
        view.read_at(run.start, &mut bytes).unwrap();
        let at = usize::try_from(run.start).unwrap();
        assert!(bytes == victim[at..at + bytes.len()], "the view is not the victim at {run:?}");
    }
}

#[test]
fn the_overlay_on_the_survivor_is_the_victim() {
    let size = 4 << 20;
    whole_line(size, &ExtentSet::empty());
    whole_line(size, &set(&[(0, 4096)]));
    whole_line(size, &set(&[(size - 4096, 4096)]));
    whole_line(size, &set(&[(0, 4096), ((2 << 20) - 4096, 8192), (size - 4096, 4096)]));
}

#[test]
fn a_whole_volume_goes_through_several_batches() {
    whole_line(20 << 20, &ExtentSet::whole(20 << 20));
}

/// Damage in the last of several batches: the first of them must not have been written back when it is found.
#[test]
fn nothing_is_put_back_of_a_salvage_that_is_damaged_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::new(folder.path());
    let extents = ExtentSet::whole(20 << 20);
    let disk = MemoryDisk::new(sides(20 << 20, &extents).1);
    take(&store, DIR, &label(), &[data(&disk, &extents, None)], &Silent).unwrap();
    let path = store.path(OVERLAY);
    flip(&path, fs::metadata(&path).unwrap().len() - 100);
    let target = MemoryDisk::new(vec![9; 20 << 20]);
    let error = restore(&store, DIR, PartKind::VictimData, &target, &Silent).unwrap_err();
    assert!(matches!(error, SalvageError::Piece { .. }), "{error}");
    assert!(target.content().iter().all(|byte| *byte == 9), "some of it was written back");
}

#[test]
fn odd_sizes_and_unaligned_extents_are_exact() {
    whole_line(512, &ExtentSet::whole(512));
    let (size, extents) = small();
    whole_line(size, &extents);
    whole_line((1 << 20) - 512, &set(&[(0, 512), (5000, 1), (8191, 2), ((1 << 20) - 1024, 512)]));
}

#[test]
fn random_extents_are_kept() {
    let mut dice = Dice(7);
    for round in 0..6 {
        let blocks = 1 + dice.roll() % 4096;
        let count = 1 + dice.roll() % 60;
        let extents = (0..count)
            .map(|_| Extent { start: dice.roll() % blocks * 4096, len: (1 + dice.roll() % 40) * 4096 })
            .collect::<ExtentSet>()
            .clip(blocks * 4096);
        eprintln!("round {round}: {} runs on {blocks} blocks", extents.runs());
        whole_line(blocks * 4096, &extents);
    }
}

/// Larger than 4 KiB clusters can describe to QEMU: 8 KiB clusters, filled with what stands around an extent.
#[test]
fn a_volume_of_16_tib() {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::new(folder.path());
    // The largest file that ext4 takes.
    let size: u64 = (16 << 40) - 4096;
    let extents = set(&[(0, 4096), (5 << 40, 4096), ((5 << 40) + 12288, 1 << 20), (size - 4096, 4096)]);
    let (survivor_path, victim_path) = (store.path("survivor.img"), store.path("victim.img"));
    let (survivor, victim) = (File::create(&survivor_path).unwrap(), File::create(&victim_path).unwrap());
    if survivor.set_len(size).and_then(|()| victim.set_len(size)).is_err() {
        skipped::not_here("the temporary folder takes no sparse file of 16 TiB");
        return;
    }
    for (at, common) in [(4096, 0x11), ((5 << 40) + 4096, 0x22), (size - 8192, 0x33)] {
        survivor.write_all_at(&[common; 4096], at).unwrap();
        victim.write_all_at(&[common; 4096], at).unwrap();
    }
    for extent in extents.iter() {
        victim.write_all_at(&vec![0x44; usize::try_from(extent.len).unwrap()], extent.start).unwrap();
    }
    let disk = FileDisk::open(&victim_path);
    let kept = take(&store, DIR, &label(), &[data(&disk, &extents, Some(&survivor_path))], &Silent).unwrap();
    assert_eq!(verify(&store, DIR, &Silent).unwrap(), kept.manifest);

    let overlay = store.locate(OVERLAY);
    qemu_img(&["check", "-f", "qcow2", &overlay]);
    for (at, len) in [(0, 1 << 20), ((5 << 40) - 65536, 2 << 20), (size - 65536, 65536)] {
        // QEMU's raw driver cuts a window out of the overlay: nobody compares 16 TiB.
        let out = store.locate("out.img");
        let window = format!(
            "json:{{\"driver\":\"raw\",\"offset\":{at},\"size\":{len},\"file\":{{\"driver\":\"qcow2\",\
             \"file\":{{\"driver\":\"file\",\"filename\":\"{overlay}\"}}}}}}"
        );
        if qemu_img(&["convert", "-O", "raw", &window, &out]).is_some() {
            let mut expected = vec![0; usize::try_from(len).unwrap()];
            disk.read_at(at, &mut expected).unwrap();
            assert!(fs::read(&out).unwrap() == expected, "{len} bytes at {at} differ");
        }
    }
}

/// A disk of any size: every byte of a block is the block's number, cut.
struct CountingDisk(u64);

impl Disk for CountingDisk {
    fn name(&self) -> &str {
        "counting"
    }
    fn size(&self) -> u64 {
        self.0
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        for (at, byte) in (offset..).zip(buffer) {
            *byte = (at / 4096 % 251) as u8;
        }
        Ok(())
    }
}

/// The limits of the cluster sizes: QEMU takes the largest L1 table, and DRBD's largest volume.
#[test]
fn qemu_takes_the_largest_volumes() {
    for (size, cluster) in [(8u64 << 40, 4096), ((8 << 40) + 512, 8192), (1 << 50, 65536)] {
        let folder = tempfile::tempdir().unwrap();
        let store = TestStore::new(folder.path());
        let (disk, extents) =
            (CountingDisk(size), set(&[(8192, 4096), (size / 2, 2 << 20), (size - 512, 512)]));
        take(&store, DIR, &label(), &[data(&disk, &extents, None)], &Silent).unwrap();
        let overlay = store.locate(OVERLAY);
        qemu_img(&["check", "-f", "qcow2", &overlay]);
        if let Some(info) = qemu_img(&["info", "--output=json", "-f", "qcow2", &overlay]) {
            assert!(info.contains(&format!("\"virtual-size\": {size}")), "{info}");
            assert!(info.contains(&format!("\"cluster-size\": {cluster}")), "{info}");
        }
        let view = reader(&store, DIR, PartKind::VictimData).unwrap();
        let (mut kept, mut there) = ([0; 512], [0; 512]);
        view.read_at(size - 512, &mut kept).unwrap();
        disk.read_at(size - 512, &mut there).unwrap();
        assert_eq!(kept, there);
    }
}

/// The other way round: our reader reads what qemu-img writes.
#[test]
fn the_reader_reads_what_qemu_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, qcow2) = (folder.path().join("raw"), folder.path().join("qcow2"));
    let size = (3 << 20) + 512;
    let extents = set(&[(0, 4096), (1 << 20, 70_000), (3 << 20, 512)]);
    let mut content = vec![0u8; size];
    for run in extents.iter() {
        let at = usize::try_from(run.start).unwrap();
        Dice(run.start).fill(&mut content[at..at + usize::try_from(run.len).unwrap()]);
    }
    fs::write(&raw, &content).unwrap();
    let paths = [raw.to_str().unwrap(), qcow2.to_str().unwrap()];
    for options in ["compat=1.1", "compat=0.10", "compat=1.1,cluster_size=4096", "preallocation=full"] {
        let args = ["convert", "-f", "raw", "-O", "qcow2", "-o", options, paths[0], paths[1]];
        if qemu_img(&args).is_none() {
            return;
        }
        let file = fs::read(&qcow2).unwrap();
        let image = Image::open(file.as_slice()).unwrap();
        assert_eq!(image.virtual_size(), size as u64);
        let stored = image.allocated().unwrap();
        assert!(extents.subtract(&stored).is_empty(), "{options}: {stored:?}");
        for run in stored.iter() {
            let at = usize::try_from(run.start).unwrap();
            let mut bytes = vec![0; usize::try_from(run.len).unwrap()];
            image.read(run.start, &mut bytes).unwrap();
            assert!(bytes == content[at..at + bytes.len()], "{options}: {run:?}");
        }
    }
    for (options, word) in [("extended_l2=on", "extended L2"), ("encrypt.format=luks", "encryption")] {
        let secret = ["--object", "secret,id=s,data=x"];
        let key =
            if options.starts_with("encrypt") { ",encrypt.key-secret=s,encrypt.iter-time=10" } else { "" };
        let options = format!("{options}{key}");
        qemu_img(&["create", "-q", secret[0], secret[1], "-f", "qcow2", "-o", &options, paths[1], "1M"]);
        let file = fs::read(&qcow2).unwrap();
        let refused = Image::open(file.as_slice()).unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
    qemu_img(&["convert", "-c", "-f", "raw", "-O", "qcow2", paths[0], paths[1]]);
    let file = fs::read(&qcow2).unwrap();
    let refused = Image::open(file.as_slice()).unwrap().allocated().unwrap_err().to_string();
    assert!(refused.contains("compressed"), "{refused}");
}

#[test]
fn metadata_blocks_are_parts_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::new(folder.path());
    let (_, victim) = sides(1 << 20, &ExtentSet::empty());
    let disk = MemoryDisk::new(victim.clone());
    let (blocks, all) = (set(&[(4096, 4096), (65536, 512)]), ExtentSet::whole(1 << 20));
    let parts = [
        data(&disk, &all, None),
        PartSource { kind: PartKind::VictimMetadata, ..data(&disk, &blocks, None) },
        PartSource { kind: PartKind::SurvivorMetadata, ..data(&disk, &blocks, None) },
    ];
    let kept = take(&store, DIR, &label(), &parts, &Silent).unwrap();
    assert_eq!(kept.manifest.parts.len(), 3);
    for kind in [PartKind::VictimMetadata, PartKind::SurvivorMetadata] {
        let file = store.locate(&format!("{DIR}/{}", file_of(kind)));
        qemu_img(&["check", "-f", "qcow2", &file]);
        let target = MemoryDisk::new(vec![0; 1 << 20]);
        assert_eq!(restore(&store, DIR, kind, &target, &Silent).unwrap(), 4608);
        let restored = target.content();
        assert!(restored[4096..8192] == victim[4096..8192] && restored[65536..66048] == victim[65536..66048]);
        assert!(restored[..4096].iter().chain(&restored[66048..]).all(|byte| *byte == 0));
    }
    let view = reader(&store, DIR, PartKind::VictimMetadata).unwrap();
    assert!(matches!(view.read_at(0, &mut [0; 8192]), Err(DiskFault::Io { .. })));
    assert!(matches!(view.read_at(1 << 20, &mut [0; 1]), Err(DiskFault::Outside { .. })));
}

#[test]
fn too_little_space_is_said_before_the_first_write() {
    let folder = tempfile::tempdir().unwrap();
    let (size, extents) = small();
    let disk = MemoryDisk::new(sides(size, &extents).1);
    let part = data(&disk, &extents, None);
    let needed = needed_space(std::slice::from_ref(&part)).unwrap();
    let mut store = TestStore::new(folder.path());
    store.free = needed + RESERVE - 1;
    let error = take(&store, DIR, &label(), std::slice::from_ref(&part), &Silent).unwrap_err();
    let numbers =
        matches!(error, SalvageError::NoSpace { needed: n, free: f, .. } if n == needed && f == store.free);
    assert!(numbers, "{error}");
    assert_eq!((store.writes(), store.path("salvage").exists(), disk.reads()), (0, false, 0));
    store.free += 1;
    take(&store, DIR, &label(), &[part], &Silent).unwrap();
}

#[test]
fn a_second_take_reads_the_first_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::new(folder.path());
    let first = take_small(&store).unwrap();
    let (before, writes) = (fs::metadata(store.path(OVERLAY)).unwrap().modified().unwrap(), store.writes());
    // The victim has been overwritten since: its present content must not matter.
    let (size, extents) = small();
    let (disk, all) = (MemoryDisk::new(vec![0; usize::try_from(size).unwrap()]), ExtentSet::whole(size));
    let again = take(&store, DIR, &label(), &[data(&disk, &extents, None)], &Silent).unwrap();
    assert!(again.already && !first.already);
    assert_eq!((&again.manifest, &again.proof), (&first.manifest, &first.proof));
    assert_eq!(store.writes(), writes);

    // More than was kept, another plan, another incident: refused, and the salvage stays.
    let more = take(&store, DIR, &label(), &[data(&disk, &all, None)], &Silent);
    assert!(matches!(more, Err(SalvageError::Unproven(NotPreserved::Missing { .. }))));
    let others = [
        Label { plan: PlanId(Digest([2; 32])), ..label() },
        Label { incident: IncidentId::new("i2").unwrap(), ..label() },
    ];
    for other in others {
        let refused = take(&store, DIR, &other, &[data(&disk, &extents, None)], &Silent);
        assert!(matches!(refused, Err(SalvageError::Other { .. })));
    }
    assert_eq!(fs::metadata(store.path(OVERLAY)).unwrap().modified().unwrap(), before);
    assert_eq!(verify(&store, DIR, &Silent).unwrap(), first.manifest);
}

#[test]
fn a_damaged_salvage_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::new(folder.path());
    take_small(&store).unwrap();
    let path = store.path(OVERLAY);
    flip(&path, fs::metadata(&path).unwrap().len() - 4096);
    let damaged = fs::read(&path).unwrap();
    assert!(matches!(take_small(&store), Err(SalvageError::Piece { .. })));
    assert!(fs::read(&path).unwrap() == damaged, "the only copy there may be was touched");
}

#[test]
fn any_damage_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::new(folder.path());
    take_small(&store).unwrap();
    let path = store.path(OVERLAY);
    let (len, good) = (fs::metadata(&path).unwrap().len(), fs::read(&path).unwrap());
    // Data: 4096 + 8192 + 8192 + one cluster with the last 512 bytes.
    let data_at = len - 4096 - 8192 - 8192 - 4096;
    let named = [
        (data_at, (0, 4096)),
        (data_at + 4096, (12288, 8192)),
        (data_at + 12287, (12288, 8192)),
        (data_at + 12288, ((1 << 20) - 4096, 4096)),
        (data_at + 16384, (1 << 20, 4096)),
        (len - 4096 + 511, (3 << 20, 512)),
    ];
    let unharmed = || MemoryDisk::new(vec![9; usize::try_from(small().0).unwrap()]);
    for (at, expected) in named {
        flip(&path, at);
        let (error, target) = (verify(&store, DIR, &Silent).unwrap_err(), unharmed());
        let found = if let SalvageError::Piece { piece, .. } = &error { Some(piece.extent()) } else { None };
        assert_eq!(found, Some(Extent::from(expected)), "byte {at}: {error}");
        assert!(error.to_string().contains(&format!("{} bytes at byte {}", expected.1, expected.0)));
        assert!(prove_again(&store, DIR, &wanted(&small().1), &Silent).is_err());
        assert!(restore(&store, DIR, PartKind::VictimData, &target, &Silent).is_err());
        assert!(target.content().iter().all(|byte| *byte == 9), "a damaged salvage was written back");
        let view = reader(&store, DIR, PartKind::VictimData).unwrap();
        assert!(view.read_at(expected.0, &mut [0; 1]).is_err());
        flip(&path, at);
    }
    // Header, refcount table, refcount block, L1 and L2 tables.
    for at in (0..data_at).step_by(7).chain(0..256) {
        flip(&path, at);
        assert!(verify(&store, DIR, &Silent).is_err(), "byte {at} of the tables");
        flip(&path, at);
    }
    for length in [0, 1, 100, 4096, data_at, len - 4096, len - 1, len + 1] {
        File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        assert!(verify(&store, DIR, &Silent).is_err(), "length {length}");
        fs::write(&path, &good).unwrap();
    }
    fs::rename(&path, store.path("elsewhere")).unwrap();
    let missing = verify(&store, DIR, &Silent).unwrap_err().to_string();
    assert!(missing.contains("victim-data.qcow2") && missing.contains("missing"), "{missing}");
    fs::rename(store.path("elsewhere"), &path).unwrap();
    verify(&store, DIR, &Silent).unwrap();

    let manifest = store.path(DIR).join(MANIFEST);
    for at in 0..fs::metadata(&manifest).unwrap().len() - 1 {
        flip(&manifest, at);
        assert!(verify(&store, DIR, &Silent).is_err(), "byte {at} of the manifest");
        flip(&manifest, at);
    }
}

#[test]
fn an_unreadable_or_changing_source_is_never_kept() {
    let (size, extents) = small();
    let victim = sides(size, &extents).1;
    let attempt = |disk: MemoryDisk| {
        let folder = tempfile::tempdir().unwrap();
        let store = TestStore::new(folder.path());
        let error = take(&store, DIR, &label(), &[data(&disk, &extents, None)], &Silent).unwrap_err();
        assert!(matches!(load_manifest(&store, DIR), Err(SalvageError::NotThere { .. })));
        assert!(store.list(DIR).unwrap().is_empty(), "a rest was left");
        error
    };
    let mut disk = MemoryDisk::new(victim.clone());
    disk.short_from = Some(size - 512);
    let error = attempt(disk);
    assert!(matches!(error, SalvageError::Source { source: DiskFault::Short { .. }, .. }), "{error}");
    // Four reads take it; the fifth is the second reading.
    for after in 4..8 {
        let mut disk = MemoryDisk::new(victim.clone());
        disk.changes_after = Some(after);
        let error = attempt(disk);
        assert!(matches!(error, SalvageError::SourceChanged { .. }), "after {after}: {error}");
    }
    let error = {
        let disk = MemoryDisk::new(victim);
        let part = PartSource { virtual_size: size + 512, ..data(&disk, &extents, None) };
        let folder = tempfile::tempdir().unwrap();
        take(&TestStore::new(folder.path()), DIR, &label(), &[part], &Silent).unwrap_err()
    };
    assert!(matches!(error, SalvageError::TooSmall { .. }), "{error}");
}

#[test]
fn no_failing_operation_ends_well_and_a_further_take_does() {
    let count = {
        let folder = tempfile::tempdir().unwrap();
        let store = TestStore::new(folder.path());
        take_small(&store).unwrap();
        store.operations()
    };
    assert!(count > 30, "only {count} operations");
    for at in 1..=count {
        for trouble in [Trouble::Once(at), Trouble::From(at)] {
            let folder = tempfile::tempdir().unwrap();
            assert!(
                take_small(&TestStore::troubled(folder.path(), trouble)).is_err(),
                "{trouble:?} passed for a salvage"
            );
            let store = TestStore::new(folder.path());
            if trouble == Trouble::Once(at) {
                assert!(
                    !matches!(list(&store).unwrap().first(), Some(found) if matches!(found.state, State::Complete(_)))
                );
            }
            let kept = take_small(&store).unwrap_or_else(|error| panic!("after {trouble:?}: {error}"));
            assert_eq!(verify(&store, DIR, &Silent).unwrap(), kept.manifest, "after {trouble:?}");
        }
    }
}

/// What a power cut cannot show in a test: nothing is promised before it lasts.
#[test]
fn everything_lasts_before_the_manifest_gets_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::new(folder.path());
    take_small(&store).unwrap();
    let story = store.story();
    let last = |act: &str, path: &str| {
        let at = story.iter().rposition(|(a, p)| (*a, p.as_str()) == (act, path));
        at.unwrap_or_else(|| panic!("no {act} {path} in {story:#?}"))
    };
    let unproven = "salvage/i1/manifest.json.tmp";
    let named = last("rename", unproven);
    let first_names = story.iter().position(|(act, path)| *act == "sync names of" && path == DIR).unwrap();
    for file in [OVERLAY, unproven] {
        assert!(last("create", file) < last("write", file), "{file}");
        assert!(last("write", file) < last("sync", file), "{file} was written after it was synced");
        assert!(last("sync", file) < named && last("create", file) < first_names, "{file}");
    }
    assert!(last("write", unproven) < last("read", OVERLAY) && last("read", OVERLAY) < named);
    assert!(first_names < named);
    for folder in [DIR, "salvage", ""] {
        assert!(last("sync names of", folder) > named, "{folder:?}");
    }
    // The same when a take finds an earlier one, which may have been cut off right after the rename.
    let store = TestStore::new(folder.path());
    assert!(take_small(&store).unwrap().already);
    let story = store.story();
    for (act, path) in [
        ("sync", OVERLAY),
        ("sync", "salvage/i1/manifest.json"),
        ("sync names of", DIR),
        ("sync names of", "salvage"),
        ("sync names of", ""),
    ] {
        assert!(story.iter().any(|(a, p)| (*a, p.as_str()) == (act, path)), "no {act} {path}");
    }
}

#[test]
fn the_rest_of_an_interrupted_take_goes_and_foreign_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::new(folder.path());
    store.create_dir(DIR).unwrap();
    for name in ["victim-metadata.qcow2", "victim-data.qcow2", "manifest.json.tmp", "notes.txt"] {
        fs::write(store.path(DIR).join(name), vec![1; 9 << 20]).unwrap();
    }
    take_small(&store).unwrap();
    assert_eq!(store.list(DIR).unwrap(), ["manifest.json", "notes.txt", "victim-data.qcow2"]);
    verify(&store, DIR, &Silent).unwrap();
}

#[test]
fn a_store_that_lies_is_caught() {
    let writes = {
        let folder = tempfile::tempdir().unwrap();
        let store = TestStore::new(folder.path());
        take_small(&store).unwrap();
        store.writes()
    };
    assert!(writes >= 3, "only {writes} writes");
    for at in 1..=writes {
        for trouble in [Trouble::Lie(at), Trouble::Drop(at)] {
            let folder = tempfile::tempdir().unwrap();
            assert!(take_small(&TestStore::troubled(folder.path(), trouble)).is_err(), "{trouble:?}");
            take_small(&TestStore::new(folder.path())).unwrap();
        }
    }
}

#[test]
fn salvages_are_listed_with_their_state() {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::new(folder.path());
    assert!(list(&store).unwrap().is_empty());
    let kept = take_small(&store).unwrap();
    assert_eq!(dir_of(&label().incident), DIR);
    for (name, text) in [("i2", None), ("i3", Some("{}"))] {
        let dir = format!("salvage/{name}");
        store.create_dir(&dir).unwrap();
        if let Some(text) = text {
            fs::write(store.path(&dir).join(MANIFEST), text).unwrap();
        }
    }
    let found = list(&store).unwrap();
    let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["i1", "i2", "i3"]);
    assert!(matches!(&found[0].state, State::Complete(manifest) if *manifest == kept.manifest));
    assert!(matches!(&found[1].state, State::Unfinished));
    assert!(matches!(&found[2].state, State::Damaged(SalvageError::Manifest { .. })));
}
