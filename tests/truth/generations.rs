//! Two sides of the same generation.

use super::scene::{BLOCK, Ran, SIZE};
use super::{BASE, GOOD, OUTDATED, QUIET, Side, bytes_at, image, proposed, scene, unbroken};
use serde_json::Value;
use std::fs;
use unsplit::model::drbd::{MetadataFormat, device_flag};

const BOTH: [MetadataFormat; 2] = [MetadataFormat::V08, MetadataFormat::V09];

/// What a cluster leaves to run by itself.
const UNATTENDED: &str = "after-sb-0pri = \"discard-zero-changes\"\nafter-sb-1pri = \"discard-secondary\"\n\
                          after-sb-2pri = \"disconnect\"\nkeep = \"quorate\"\nsalvage = \"required\"\nauto = true\n";

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.all()))
}

/// A resync from `rebooted` to `prim` ended on one side only; `rebooted` came back Outdated with a bitmap, and `prim` wrote.
#[test]
fn an_outdated_source_overwrites_nothing_unattended() {
    let prim = Side { writes: &[(500, 0x77)], ..QUIET };
    let rebooted = Side { bitmap: BASE, flags: OUTDATED, marks: &[500], ..QUIET };
    let names = ["a.img", "b.img", "--name-a", "prim", "--name-b", "rebooted"];
    let line = |verb: &'static str, more: &[&'static str]| [&[verb][..], &names, more].concat();
    for format in BOTH {
        let scene = scene(format, &prim, &rebooted);
        fs::write(scene.path("p.toml"), UNATTENDED).unwrap();
        let status = scene.run(&line("status", &[]));
        let (word, warned) = match format {
            MetadataFormat::V08 => {
                ("UNFINISHED: prim and rebooted hold the same generation", "8.4 asks only for the rule")
            }
            MetadataFormat::V09 => ("SILENTLY DIFFERENT: prim and rebooted count as equal", "DRBD 9 skips"),
        };
        status.says(1, &[word, "1 block", warned, "rebooted is Outdated, prim is UpToDate"]);
        assert!(!status.all().contains("holds an older generation"), "{}", status.all());
        let commands = proposed(&scene, &status);
        assert!(commands.iter().any(|command| command.contains("--keep prim")), "{commands:?}");
        assert!(!commands.iter().any(|command| command.contains("--keep rebooted")), "{commands:?}");

        let policy = ["--policy", "p.toml"];
        let held = scene.run(&line("resolve", &policy));
        held.says(3, &["Held", "--keep prim keeps it"]);
        let commands = proposed(&scene, &held);
        let keeps = |name: &str| commands.iter().filter(|command| command.contains(name)).count();
        assert_eq!((keeps("--keep prim"), keeps("--keep rebooted")), (1, 0), "{commands:?}");
        let policy = scene.path("p.toml");
        assert!(commands[0].contains(&format!("--policy {}", policy.display())), "{commands:?}");
        let block = |name: &str, at: u64| fs::read(scene.path(name)).unwrap()[bytes_at(at * BLOCK)];
        assert_eq!((block("a.img", 500), block("b.img", 500)), (0x77, 0), "nothing was overwritten");

        let healed = scene.run(&line("resolve", &["--keep", "prim", "--yes"]));
        healed.says(0, &["Healed: rebooted now equals prim in the 4 KiB of"]);
        assert!(!healed.all().contains("THIS "), "no warning against the better side: {}", healed.all());
        assert_eq!((block("a.img", 500), block("b.img", 500)), (0x77, 0x77));
        scene.run(&line("status", &[])).says(0, &["IN SYNC"]);
        scene.run(&line("diff", &["--full"])).says(0, &["The contents are equal."]);

        // What a healing or an undo ends with can be typed, too.
        let undone = scene.run(&["undo"]);
        undone.says(0, &["Undone: prim and rebooted are as they were", "each compared with the salvage"]);
        let commands = proposed(&scene, &undone);
        assert_eq!(commands.len(), 1, "{commands:?}");
        assert!(commands[0].contains("--name-b rebooted"), "{commands:?}");

        // The other way round it is done when it is said, with a warning.
        let other = super::scene(format, &prim, &rebooted);
        other.run(&line("plan", &["--keep", "rebooted"])).says(1, &["THIS KEEPS THE POORER DISK"]);
    }
}

/// No mark, and contents that differ all the same.
#[test]
fn nothing_was_compared_and_nothing_is_called_equal() {
    let wrote = Side { writes: &[(700, 0x99)], ..QUIET };
    for format in BOTH {
        let scene = scene(format, &wrote, &QUIET);
        let pair = ["a.img", "b.img"];
        let run = |verb: &'static str, more: &[&'static str]| scene.run(&[&[verb][..], &pair, more].concat());
        let full = |ran: &Ran, verb: &str| {
            let commands = proposed(&scene, ran);
            let wanted = |command: &&String| {
                command.starts_with(&format!("unsplit {verb} ")) && command.contains("--full")
            };
            assert!(commands.iter().any(|command| wanted(&command)), "no {verb} --full in {commands:?}");
        };
        let unproven = "No marks are no proof";
        let status = run("status", &[]);
        status.says(0, &["IN SYNC", "No contents were compared", unproven]);
        full(&status, "diff");
        let diff = run("diff", &[]);
        diff.says(0, &["Nothing was compared: neither side marks a block", "0 B of 3.", unproven]);
        full(&diff, "diff");
        let plan = run("plan", &[]);
        plan.says(
            0,
            &["Nothing to do, as far as DRBD's marks tell", "nothing was compared: 0 B of 3.", unproven],
        );
        full(&plan, "diff");
        let report = run("report", &[]);
        unbroken(&report).says(0, &["nothing is marked, so nothing was compared", unproven]);
        full(&report, "diff");
        for ran in [&status, &diff, &plan, &report] {
            for claim in
                ["contents are equal", "the sides agree.", "hold the same data", "nothing else can differ"]
            {
                assert!(!ran.all().contains(claim), "`{claim}` of what was not compared:\n{}", ran.all());
            }
        }
        let coverage = |document: &Value| document["coverage"]["compared"].as_u64();
        for line in [&["status"][..], &["diff"], &["plan"]] {
            let words = [line, &pair, &["--json"]].concat();
            assert_eq!(coverage(&json(&scene.run(&words))), Some(0), "{words:?}");
        }
        let report = json(&run("report", &["--json"]));
        assert_eq!((report["compared"].as_u64(), report["scope"].as_str()), (Some(0), Some("candidates")));

        // What is compared in full is compared in full by each command that follows from it.
        let plan = run("plan", &["--full"]);
        plan.says(3, &["Held", "Compared all 3."]);
        let commands = proposed(&scene, &plan);
        assert_eq!(commands.len(), 2, "{commands:?}");
        assert!(commands.iter().all(|command| command.contains(" --full")), "{commands:?}");
        for command in &commands {
            let words = shlex::split(command).unwrap();
            let words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
            scene.run(&words).says(1, &["overwrite", "Compared all 3."]);
        }
        run("diff", &["--full"]).says(1, &["4 KiB differ", "DRBD counts the two sides as equal"]);
    }
}

/// A Primary that wrote without beginning a generation: its marks are all that tells.
#[test]
fn marks_without_a_generation_have_one_word_and_one_exit_code() {
    let wrote = Side {
        flags: GOOD | device_flag::PRIMARY_IND,
        marks: &[100, 101],
        writes: &[(100, 0x31), (101, 0x32)],
        ..QUIET
    };
    for format in BOTH {
        for (a, b) in [(&wrote, &QUIET), (&QUIET, &wrote)] {
            let scene = scene(format, a, b);
            let status = scene.run(&["status", "a.img", "b.img", "--role-a", "primary"]);
            status.says(1, &["SILENTLY DIFFERENT", "2 bits mark blocks as different"]);
            let document = json(&scene.run(&["status", "a.img", "b.img", "--role-a", "primary", "--json"]));
            assert_eq!(
                (document["settled"].as_bool(), document["marked_blocks"].as_u64()),
                (Some(false), Some(2))
            );
            assert_eq!(document["relation"], "in-sync");
            scene.run(&["report", "a.img", "b.img"]).says(1, &["SILENTLY DIFFERENT"]);
            scene.run(&["diff", "a.img", "b.img"]).says(1, &["8 KiB differ"]);
        }
    }
}

/// The images of this file are what they are meant to be: of one size, and whole.
#[test]
fn the_images_fit() {
    for format in BOTH {
        assert_eq!(image(format, 0, &QUIET).len(), bytes_at(SIZE));
    }
}
