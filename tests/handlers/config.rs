//! The shipped configuration: drbdadm of both generations takes it, and each of its lines is a call that unsplit takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use unsplit::cli::Cli;

fn snippet() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/drbd.d/unsplit.res")).unwrap()
}

/// Handler, command line, and whether the line is commented out.
fn lines() -> Vec<(String, String, bool)> {
    snippet()
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once('"')?;
            let (command, _) = rest.rsplit_once('"')?;
            let off = name.trim_start().starts_with('#');
            Some((name.trim_matches(['#', ' ']).to_owned(), command.to_owned(), off))
        })
        .filter(|(_, command, _)| command.starts_with('/'))
        .collect()
}

#[test]
fn every_line_is_a_call_that_is_understood() {
    use clap::Parser;
    let lines = lines();
    assert!(lines.len() > 10);
    for (name, command, _) in lines {
        let words = shlex::split(&command).unwrap();
        assert_eq!(words[..3], ["/usr/bin/unsplit", "handler", &name], "{command}");
        Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}

#[test]
fn drbdadm_takes_it() {
    let both = [("/lib/drbd/drbdadm-84", "", ""), ("drbdadm", "node-id 0;", "node-id 1;")];
    for (drbdadm, first, second) in both {
        if Command::new(drbdadm).arg("--version").output().is_err() {
            // Newer tools no longer bring the one for 8.4.
            match drbdadm {
                "drbdadm" => crate::skipped::lacking("there is no drbdadm"),
                _ => crate::skipped::not_here(&format!("there is no {drbdadm}")),
            }
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let file: PathBuf = folder.path().join("drbd.conf");
        let host = |name: &str, id: &str, number: u32| {
            format!(
                "on {name} {{ {id} address ipv4 10.9.0.{number}:7788; volume 0 {{ device minor 0; disk /dev/null; meta-disk internal; }} }}"
            )
        };
        let resource = format!("resource r0 {{ {} {} }}", host("node1", first, 1), host("node2", second, 2));
        fs::write(&file, format!("global {{ usage-count no; }}\n{}\n{resource}\n", snippet())).unwrap();
        let mut command = Command::new(drbdadm);
        command.env("DRBD_DONT_WARN_ON_VERSION_MISMATCH", "1").arg("-c").arg(&file).args(["dump", "all"]);
        let dumped = command.output().unwrap();
        let text = String::from_utf8_lossy(&dumped.stdout);
        assert!(dumped.status.success(), "{drbdadm}: {}", String::from_utf8_lossy(&dumped.stderr));
        for (name, line, off) in lines() {
            assert_eq!(text.contains(&format!("{line}\"")), !off, "{drbdadm}, {name}: {text}");
        }
    }
}
