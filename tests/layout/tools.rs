//! Against the tools themselves. Each test says on stderr why it is skipped when it is.

use crate::disk::{FileDisk, MIB, check, in_mib, named};
use std::path::Path;
use std::process::{Command, Output};
use unsplit::edge::layout::read_layout;
use unsplit::format::lvm2::write::{Identifier, VolumeGroupSpec, VolumeSpec, describe};
use unsplit::model::unit::UnitKind;

fn run(program: &str, args: &[&str]) -> Option<Output> {
    let done = Command::new(program).args(args).env("LVM_SUPPRESS_FD_WARNINGS", "1").output();
    match done {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            crate::skipped::lacking(&format!("{program} is not installed"));
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn success(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}

fn image(dir: &Path, name: &str, size: u64) -> String {
    let path = dir.join(name);
    std::fs::File::create(&path).unwrap().set_len(size).unwrap();
    path.to_str().unwrap().to_owned()
}

/// An image as a loop device, detached in the end.
struct Loop(String);

impl Loop {
    fn attach(image: &str) -> Option<Loop> {
        let output = run("losetup", &["--find", "--show", image])?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            crate::skipped::needs_root(&format!("there is no loop device: {}", why.trim()));
            return None;
        }
        Some(Loop(String::from_utf8(output.stdout).unwrap().trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// An LVM command that sees one device only and never asks the kernel for a mapping.
fn lvm(device: &str, command: &[&str]) -> Option<Output> {
    let config = format!(
        "devices{{use_devicesfile=0 filter=[\"a|^{device}$|\",\"r|.*|\"]}} global{{activation=0}} \
         activation{{udev_sync=0 udev_rules=0}} backup{{backup=0 archive=0}}"
    );
    let mut args = vec![command[0], "--config", &config];
    args.extend(&command[1..]);
    run("lvm", &args)
}

#[test]
fn lvm_accepts_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path(), "pv", 96 * MIB);
    let id = |seed: u8| {
        Identifier::from_bytes(std::array::from_fn(|i| seed.wrapping_mul(37).wrapping_add(i as u8)))
    };
    let volume = |name: &str, seed, mib| VolumeSpec { name: name.to_owned(), id: id(seed), bytes: mib * MIB };
    let spec = VolumeGroupSpec {
        name: "written".into(),
        id: id(1),
        pv_id: id(2),
        device_size: 96 * MIB,
        extent_size: 4 * MIB,
        volumes: vec![volume("vm-101-disk-0", 3, 24), volume("vm-102-disk-0", 4, 24), volume("shared", 5, 8)],
        created: 1_700_000_000,
    };
    let described = describe(&spec).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &described.head, 0).unwrap();

    let layout = read_layout(&FileDisk::open(Path::new(&path)));
    check(&layout, 96 * MIB);
    assert_eq!(named(&layout, "written/vm-102-disk-0").map, [(0, described.volumes[1])]);

    let Some(device) = Loop::attach(&path) else { return };
    let Some(checked) = lvm(&device.0, &["pvck", &device.0]) else { return };
    success(&checked);
    assert!(success(&lvm(&device.0, &["vgck", "written"]).unwrap()).is_empty());
    let dump = success(&lvm(&device.0, &["pvck", "--dump", "metadata", &device.0]).unwrap());
    assert!(dump.contains("written {") && dump.contains(&spec.volumes[2].id.to_string()), "{dump}");
    let columns = "pe_start,pvseg_start,pvseg_size,lv_name,lv_uuid";
    let list = [
        "pvs",
        "--segments",
        "--noheadings",
        "--units",
        "m",
        "--nosuffix",
        "--separator",
        ",",
        "-o",
        columns,
    ];
    let found = success(&lvm(&device.0, &list).unwrap());
    let rows: Vec<&str> = found.lines().map(str::trim).collect();
    let expected = |first, size, at: usize| {
        format!("1.00,{first},{size},{},{}", spec.volumes[at].name, spec.volumes[at].id)
    };
    assert_eq!(rows, [expected(0, 6, 0), expected(6, 6, 1), expected(12, 2, 2), "1.00,14,9,,".to_owned()]);
    // And LVM can go on from there.
    success(
        &lvm(&device.0, &["lvcreate", "-y", "-an", "-Zn", "-Wn", "-L", "8M", "-n", "more", "written"])
            .unwrap(),
    );
    success(&lvm(&device.0, &["lvremove", "-f", "written/shared"]).unwrap());
    drop(device);
    let layout = read_layout(&FileDisk::open(Path::new(&path)));
    check(&layout, 96 * MIB);
    assert_eq!(layout.notes, [""; 0]);
    assert_eq!(in_mib(named(&layout, "written/more")).2, [(57, 8)]);
    assert!(layout.units.iter().all(|unit| unit.name != "written/shared"));
}

#[test]
fn gpt_by_sgdisk() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path(), "gpt", 64 * MIB);
    let uuid = "12345678-9ABC-4DEF-8123-456789ABCDEF";
    let args = [
        "-n1:1M:+8M",
        "-t1:ef00",
        "-c1:boot",
        "-n2:16M:+8M",
        "-c2:größe",
        "-n5:32M:+4M",
        "-t5:8e00",
        &format!("-u5:{uuid}"),
        "-c5:",
        &path,
    ];
    let Some(made) = run("sgdisk", &args) else { return };
    success(&made);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let write = |at: u64, bytes: &[u8]| std::os::unix::fs::FileExt::write_all_at(&file, bytes, at).unwrap();
    write(16 * MIB, b"XFSB");
    let expected = |layout: &unsplit::model::unit::Layout| {
        check(layout, 64 * MIB);
        let seen: Vec<_> = layout.units.iter().map(|unit| (unit.name.as_str(), unit.kind)).collect();
        assert_eq!(
            seen,
            [
                ("partition table", UnitKind::Structure),
                ("outside any partition", UnitKind::Unclaimed),
                ("partition 1 (boot)", UnitKind::Partition),
                ("partition 2 (größe)", UnitKind::Partition),
                ("partition 5 (Linux LVM)", UnitKind::Partition),
            ]
        );
        assert_eq!(in_mib(&layout.units[2]).2, [(1, 8)]);
        assert_eq!(in_mib(&layout.units[3]).2, [(16, 8)]);
        assert_eq!(in_mib(&layout.units[4]).2, [(32, 4)]);
        assert_eq!(layout.units[3].content.as_deref(), Some("xfs"));
        assert_eq!(layout.units[4].identity, uuid);
    };
    let layout = read_layout(&FileDisk::open(Path::new(&path)));
    expected(&layout);
    assert_eq!(layout.notes, [""; 0]);
    let table: u64 = layout.units[0].map.iter().map(|(_, extent)| extent.len).sum();
    assert_eq!(table, (34 + 33) * 512, "boot sector, two headers, two times 32 sectors of entries");

    // The backup's header, then the primary's entries, then both headers.
    write(64 * MIB - 512 + 30, &[0xff]);
    let layout = read_layout(&FileDisk::open(Path::new(&path)));
    assert_eq!(layout.notes.len(), 2, "{:?}", layout.notes);
    assert_eq!(named(&layout, "partition 1 (boot)").kind, UnitKind::Partition);
    success(&run("sgdisk", &["-e", &path]).unwrap());
    expected(&read_layout(&FileDisk::open(Path::new(&path))));
    write(1024 + 33, &[0xff]);
    let layout = read_layout(&FileDisk::open(Path::new(&path)));
    assert!(
        layout.notes.iter().any(|note| note.contains("backup in sector 131071 was used")),
        "{:?}",
        layout.notes
    );
    assert_eq!(named(&layout, "partition 5 (Linux LVM)").identity, uuid);
    write(64 * MIB - 512 + 30, &[0xff]);
    let layout = read_layout(&FileDisk::open(Path::new(&path)));
    check(&layout, 64 * MIB);
    assert_eq!((layout.units.len(), layout.units[0].kind), (1, UnitKind::Unclaimed));
    assert!(layout.notes.iter().any(|note| note.contains("no intact one")), "{:?}", layout.notes);
}

#[test]
fn mbr_with_logical_partitions_by_sfdisk() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path(), "mbr", 64 * MIB);
    let script = "label: dos\nlabel-id: 0xcafe1234\n1: start=2048, size=8192, type=83, bootable\n\
                  2: start=20480, size=81920, type=5\n5: start=22528, size=4096, type=82\n\
                  6: start=32768, size=8192, type=83\n7: start=49152, size=8192, type=8e\n3: start=110592, size=2048, type=7\n";
    let script_path = dir.path().join("script");
    std::fs::write(&script_path, script).unwrap();
    let command = format!("sfdisk -q '{path}' < '{}'", script_path.display());
    if run("sfdisk", &["--version"]).is_none() {
        return;
    }
    success(&run("sh", &["-c", &command]).unwrap());
    let layout = read_layout(&FileDisk::open(Path::new(&path)));
    check(&layout, 64 * MIB);
    assert_eq!(layout.notes, [""; 0]);
    let partitions: Vec<_> =
        layout.units.iter().filter(|unit| unit.kind == UnitKind::Partition).map(in_mib).collect();
    let kind = UnitKind::Partition;
    assert_eq!(
        partitions,
        [
            ("partition 1 (Linux)", kind, vec![(1, 4)]),
            ("partition 5 (Linux swap)", kind, vec![(11, 2)]),
            ("partition 6 (Linux)", kind, vec![(16, 4)]),
            ("partition 7 (Linux LVM)", kind, vec![(24, 4)]),
            ("partition 3 (NTFS/exFAT)", kind, vec![(54, 1)]),
        ]
    );
    assert_eq!(named(&layout, "partition 6 (Linux)").identity, "cafe1234-06");
    // The table itself, and one sector for each logical partition, the first at the extended one's start.
    let table = named(&layout, "partition table").extents();
    assert_eq!((table.bytes(), table.runs()), (4 * 512, 4));
    assert_eq!(table.iter().nth(1).unwrap().start, 20480 * 512);
}

#[test]
fn lvm_inside_a_partition() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path(), "nested", 64 * MIB);
    let Some(made) = run("sgdisk", &["-n1:1M:+8M", "-n2:16M:+32M", "-t2:8e00", &path]) else { return };
    success(&made);
    let id = |seed: u8| Identifier::from_bytes([seed; 32]);
    let described = describe(&VolumeGroupSpec {
        name: "inner".into(),
        id: id(1),
        pv_id: id(2),
        device_size: 32 * MIB,
        extent_size: MIB,
        volumes: vec![VolumeSpec { name: "root".into(), id: id(3), bytes: 4 * MIB }],
        created: 0,
    })
    .unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let write = |at: u64, bytes: &[u8]| std::os::unix::fs::FileExt::write_all_at(&file, bytes, at).unwrap();
    write(16 * MIB, &described.head);
    let layout = read_layout(&FileDisk::open(Path::new(&path)));
    check(&layout, 64 * MIB);
    let root = named(&layout, "partition 2 > inner/root");
    assert_eq!((root.kind, &root.map[..]), (UnitKind::LogicalVolume, &[(0, (17 * MIB, 4 * MIB).into())][..]));
    assert_eq!(in_mib(named(&layout, "partition 2 > inner: free space")).2, [(21, 27)]);
    // Damaged, it is somebody's, but not known whose.
    write(16 * MIB + 4096, &[0xff]);
    let layout = read_layout(&FileDisk::open(Path::new(&path)));
    check(&layout, 64 * MIB);
    assert_eq!(named(&layout, "partition 2 (Linux LVM)").kind, UnitKind::Opaque);
    assert!(layout.notes[0].starts_with("partition 2: "), "{:?}", layout.notes);
}

#[test]
fn file_systems_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let makers: [(&str, &[&str], &str); 6] = [
        ("mkfs.ext4", &["-q"], "ext4"),
        ("mkfs.ext3", &["-q"], "ext3"),
        ("mkfs.ext2", &["-q"], "ext2"),
        ("mkswap", &["-q"], "swap"),
        ("mkfs.btrfs", &["-q", "--mixed"], "btrfs"),
        ("sgdisk", &["-n1:1M:+8M"], "partition table"),
    ];
    for (program, args, expected) in makers {
        let path = image(dir.path(), program, 64 * MIB);
        let mut args = args.to_vec();
        args.push(&path);
        let Some(made) = run(program, &args) else { continue };
        success(&made);
        let layout = read_layout(&FileDisk::open(Path::new(&path)));
        check(&layout, 64 * MIB);
        if expected == "partition table" {
            assert_eq!(layout.units[0].name, expected);
        } else {
            assert_eq!((layout.units.len(), layout.units[0].content.as_deref()), (1, Some(expected)));
        }
    }
}
