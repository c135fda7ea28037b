//! The fakes keep their word: what was synced survives every power cut, what was not may be lost, in any part.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use std::collections::BTreeSet;
use unsplit::ports::disk::{Disk, DiskMut};
use unsplit::ports::store::Store;
use world::World;
use world::faults::{Fault, Faults, is_power_cut};

#[test]
fn unflushed_sectors_survive_in_any_part_and_flushed_ones_always() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let world = World::new(&[0; 4096], &[0; 512], Faults::none());
        world.a.write_at(0, &[1; 1024]).unwrap();
        world.a.flush().unwrap();
        world.a.write_at(512, &[2; 1536]).unwrap();
        assert_eq!(world.a.content()[512..2048], [2; 1536]);
        world.power_cut(seed);
        let after = world.a.content();
        assert_eq!(after[..512], [1; 512]);
        assert_eq!(after[2048..], [0; 2048]);
        let sectors: Vec<u8> = (1..4).map(|sector| after[sector * 512]).collect();
        for (sector, value) in sectors.iter().enumerate() {
            let from = (sector + 1) * 512;
            assert_eq!(after[from..from + 512], [*value; 512], "sectors are written as a whole");
        }
        seen.insert(sectors);
    }
    assert_eq!(seen.len(), 8, "every subset of three sectors comes up: {seen:?}");
}

#[test]
fn a_failed_flush_loses_what_can_still_be_read() {
    let mut lost = 0;
    for seed in 0..50 {
        let faults = Faults::schedule(seed, [(1, Fault::Io)]);
        let world = World::new(&[0; 512], &[0; 512], faults);
        world.a.write_at(0, &[7; 512]).unwrap();
        world.a.flush().unwrap_err();
        assert_eq!(world.a.content(), [7; 512], "it can be read");
        world.a.flush().unwrap();
        world.power_cut(seed);
        lost += usize::from(world.a.content() == [0; 512]);
    }
    assert!(lost > 10 && lost < 40, "{lost}");
}

#[test]
fn names_and_contents_are_durable_apart() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..300 {
        let world = World::new(&[], &[], Faults::none());
        let store = &world.store;
        store.create_dir("d/e").unwrap();
        store.sync_dir("").unwrap();
        store.sync_dir("d").unwrap();
        store.create("d/e/kept").unwrap();
        store.write_at("d/e/kept", 0, b"kept").unwrap();
        store.sync("d/e/kept").unwrap();
        store.sync_dir("d/e").unwrap();
        store.create("d/e/synced").unwrap();
        store.write_at("d/e/synced", 0, b"synced").unwrap();
        store.sync("d/e/synced").unwrap();
        store.create("loose").unwrap();
        store.write_at("loose", 0, &[9; 700]).unwrap();
        store.sync_dir("").unwrap();
        store.create_dir("new").unwrap();
        store.create("new/x").unwrap();
        store.sync("new/x").unwrap();
        store.sync_dir("new").unwrap();
        world.power_cut(seed);
        assert_eq!(store.content("d/e/kept").unwrap(), b"kept");
        let synced = store.content("d/e/synced");
        assert!(synced.as_deref().is_none_or(|content| content == b"synced"), "no name, or the content");
        let loose = store.content("loose").expect("its name is durable");
        assert!(loose.len() <= 700 && loose.iter().all(|byte| *byte == 9 || *byte == 0));
        assert_eq!(store.content("new/x").is_some(), store.list("").unwrap().contains(&"new".to_owned()));
        outcomes.insert((synced.is_some(), loose.len() == 700, store.content("new/x").is_some()));
    }
    assert_eq!(outcomes.len(), 8, "all of them come up: {outcomes:?}");
}

#[test]
fn a_rename_is_atomic() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..50 {
        let world = World::new(&[], &[], Faults::none());
        world.store.plant("f", b"old");
        world.store.plant("f.new", b"new");
        world.store.rename("f.new", "f").unwrap();
        assert_eq!(world.store.paths(), ["f"]);
        world.power_cut(seed);
        let content = world.store.content("f").expect("there is always one");
        assert_eq!(content == b"old", world.store.content("f.new").is_some());
        outcomes.insert(content);
    }
    assert_eq!(outcomes.len(), 2);
}

#[test]
fn after_a_cut_nothing_goes_until_the_reboot() {
    let world = World::new(&[0; 512], &[0; 512], Faults::at(1, Fault::Cut));
    world.a.read_at(0, &mut [0; 4]).unwrap();
    let error = world.store.create("x").unwrap_err();
    assert!(is_power_cut(&error), "{error}");
    assert!(is_power_cut(&world.b.flush().unwrap_err()));
    assert!(world.faults.is_off());
    world.power_cut(1);
    world.b.flush().unwrap();
    assert_eq!(world.faults.log().len(), 3);
}

#[test]
fn space_ends() {
    let world = World::new(&[], &[], Faults::none());
    let room = world.store.free_space().unwrap();
    world.store.create("big").unwrap();
    world.store.set_len("big", room - 100).unwrap();
    world.store.create("x").unwrap();
    let error = world.store.write_at("x", 0, &[1; 101]).unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(world.store.content("x").unwrap().len(), 100, "what fitted was written");
    assert_eq!(world.store.free_space().unwrap(), 0);
    world.store.remove("big").unwrap();
    world.store.write_at("x", 0, &[1; 101]).unwrap();
}

#[test]
fn a_cut_and_regrown_file_does_not_show_what_stood_there() {
    let world = World::new(&[], &[], Faults::none());
    world.store.plant("f", &[5; 1500]);
    world.store.set_len("f", 100).unwrap();
    world.store.set_len("f", 1500).unwrap();
    world.store.sync("f").unwrap();
    world.power_cut(3);
    let content = world.store.content("f").unwrap();
    assert_eq!(content[..100], [5; 100]);
    assert_eq!(content[100..], [0; 1400]);
}
