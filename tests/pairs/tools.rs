//! The tools of the system: some make contents, others judge the results.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use unsplit::model::drbd::MetadataFormat;
use unsplit::model::evidence::MetadataPlace;

/// Where a tool is; says so when it is nowhere, so that nobody takes a skipped check for a passed one.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let found = path.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file());
    if found.is_none() {
        crate::skipped::lacking(&format!("{name} is not installed"));
    }
    found
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    text(&output)
}

/// An ext4 file system of `size` bytes whose files tell who wrote them.
pub(crate) fn file_system(folder: &Path, size: usize, author: &str, seed: u64) -> Option<Vec<u8>> {
    let mkfs = tool("mkfs.ext4")?;
    let tree = folder.join("tree");
    fs::create_dir_all(tree.join("inside")).unwrap();
    for number in 0..3 + seed % 20 {
        let name = format!("inside/{author}-{number}");
        fs::write(tree.join(name), format!("{author} {number}\n").repeat(200)).unwrap();
    }
    let image = folder.join("file-system");
    fs::File::create(&image).unwrap().set_len(size as u64).unwrap();
    run(Command::new(mkfs)
        .args(["-q", "-F", "-U", "8a8e2b5c-6f0e-4d50-9a51-4f6c8b1d0e11", "-d"])
        .arg(&tree)
        .arg(&image));
    let bytes = fs::read(&image).unwrap();
    fs::remove_file(image).unwrap();
    fs::remove_dir_all(tree).unwrap();
    Some(bytes)
}

/// Puts a GPT with two partitions on a disk of these bytes.
pub(crate) fn partition(folder: &Path, disk: &mut [u8]) {
    let Some(sgdisk) = tool("sgdisk") else { return };
    let image = folder.join("partitioned");
    fs::write(&image, &disk).unwrap();
    run(Command::new(sgdisk)
        .args(["-n", "1:2048:+3M", "-c", "1:boot", "-n", "2:0:0", "-c", "2:data"])
        .arg(&image));
    disk.copy_from_slice(&fs::read(&image).unwrap());
    fs::remove_file(image).unwrap();
}

/// Whether a file system is whole.
pub(crate) fn check_file_system(folder: &Path, bytes: &[u8]) {
    let Some(e2fsck) = tool("e2fsck") else { return };
    let image = folder.join("to-check");
    fs::write(&image, bytes).unwrap();
    run(Command::new(e2fsck).arg("-fn").arg(&image));
    fs::remove_file(image).unwrap();
}

/// What drbdmeta says of a side's metadata, if it can be asked (it wants root).
pub(crate) fn dump(
    format: MetadataFormat,
    place: MetadataPlace,
    file: &Path,
    unclean: bool,
) -> Option<String> {
    let drbdmeta = tool("drbdmeta")?;
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.starts_with(b"0\n"));
    if !root {
        crate::skipped::needs_root("drbdmeta needs root");
        return None;
    }
    let place = match place {
        MetadataPlace::Internal => "internal".to_owned(),
        MetadataPlace::FlexibleExternal => "flex-external".to_owned(),
        MetadataPlace::IndexedExternal(index) => index.to_string(),
    };
    let word = if format == MetadataFormat::V08 { "v08" } else { "v09" };
    let mut command = Command::new(drbdmeta);
    let output = command.args(["--force", "-", word]).arg(file).args([&place, "dump-md"]).output().unwrap();
    let dump = text(&output);
    if dump.contains("ASSERT(cfg->md.bm_bytes_per_bit == 4096) failed") {
        crate::skipped::not_here("this drbdmeta knows no coarser bitmaps on external metadata");
        return None;
    }
    assert!(output.status.success(), "{command:?}: {dump}");
    assert_eq!(dump.contains("This_is_an_unclean"), unclean, "{dump}");
    Some(dump)
}

/// The overlay as a plain disk, after qemu's own check of it.
pub(crate) fn converted(folder: &Path, overlay: &Path) -> Option<Vec<u8>> {
    let qemu_img = tool("qemu-img")?;
    run(Command::new(&qemu_img).args(["check", "-q"]).arg(overlay));
    let raw = folder.join("converted");
    run(Command::new(&qemu_img).args(["convert", "-O", "raw"]).arg(overlay).arg(&raw));
    let bytes = fs::read(&raw).unwrap();
    fs::remove_file(raw).unwrap();
    Some(bytes)
}
