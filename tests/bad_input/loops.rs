//! Loop devices and the files they stand on: two sides unless they share bytes, whatever each is called.

use super::scene::{Loop, SIZE, Scene, image};
use std::fs::File;
use std::os::unix::fs::FileExt;

const ALL: [&[&str]; 4] =
    [&["status"], &["diff", "--full"], &["plan", "--keep", "a"], &["resolve", "--keep", "a", "--yes"]];

/// One file that holds both sides, one behind the other.
fn two_in_one() -> Scene {
    let scene = Scene::empty();
    let file = File::create(scene.path("both.img")).unwrap();
    for (side, at) in [(0, SIZE), (1, 3 * SIZE)] {
        file.write_all_at(&image(side), at).unwrap();
    }
    file.set_len(5 * SIZE).unwrap();
    scene
}

fn part(scene: &Scene, from: u64, len: u64) -> Option<Loop> {
    Loop::over_part(&scene.path("both.img"), from, len)
}

fn refused(scene: &Scene, a: &str, b: &str, says: &[&str]) {
    for words in ALL {
        let words = [&words[..1], &[a, b], &words[1..]].concat();
        scene.refuses(&words, 2, says);
    }
}

#[test]
fn two_parts_of_one_file_are_two_sides() {
    let scene = two_in_one();
    let Some(a) = part(&scene, SIZE, SIZE) else { return };
    let Some(b) = part(&scene, 3 * SIZE, SIZE) else { return };
    scene.run(&["status", &a.0, &b.0]).says(1, &["SPLIT BRAIN"]);
    scene.run(&["resolve", &a.0, &b.0, "--keep", "a", "--yes"]).says(0, &["Healed"]);
    scene.run(&["status", &a.0, &b.0]).says(0, &["IN SYNC"]);
    scene.run(&["undo"]).says(0, &["Undone"]);
    scene.run(&["status", &a.0, &b.0]).says(1, &["SPLIT BRAIN"]);
}

#[test]
fn parts_that_overlap_are_refused_by_name() {
    let scene = two_in_one();
    let Some(a) = part(&scene, SIZE, SIZE) else { return };
    let Some(b) = part(&scene, 2 * SIZE - 4096, SIZE) else { return };
    let place = format!("from its byte {} on", 2 * SIZE - 4096);
    refused(&scene, &a.0, &b.0, &[&format!("{} and {} share 4096 bytes of", a.0, b.0), "both.img", &place]);
    // The file itself, and a loop device over another one.
    let whole = format!("both.img and {} share {SIZE} bytes of", a.0);
    refused(&scene, "both.img", &a.0, &[&whole]);
    let Some(again) = Loop::over_part(std::path::Path::new(&a.0), 4096, 8192) else { return };
    refused(&scene, &a.0, &again.0, &["share 8192 bytes of", &a.0, "from its byte 4096 on"]);
    refused(&scene, "both.img", &again.0, &["share 8192 bytes of", &format!("byte {} on", SIZE + 4096)]);
}

/// Somebody else's loop device over the same bytes can be written through; one over other bytes cannot.
#[test]
fn a_third_loop_device_is_in_the_way_only_where_it_overlaps() {
    let scene = two_in_one();
    let Some(a) = part(&scene, SIZE, SIZE) else { return };
    let Some(b) = part(&scene, 3 * SIZE, SIZE) else { return };
    let healing = ["resolve", &a.0, &b.0, "--keep", "a", "--yes"];
    {
        let Some(third) = part(&scene, 4 * SIZE - 4096, 8192) else { return };
        scene.gives_up(&healing, 5, &[&format!("is in use by the loop device {}", third.0)]);
    }
    let Some(_beside) = part(&scene, 2 * SIZE, SIZE) else { return };
    scene.run(&healing).says(0, &["Healed"]);
}
