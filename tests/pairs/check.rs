//! Drives the real binary over a pair and checks every answer against the truth.

use super::case::{Case, Differences, Relation, Third};
use super::generations::THIRD;
use super::image::bytes::{Read, bits, log};
use super::image::shape::{AL_EXTENT, BLOCK, INDEX_SECTORS, SECTOR};
use super::make::{Hot, Made, make};
use super::tools::{self, text};
use super::writes::Blocks;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use unsplit::model::drbd::{GenerationUuid, MetadataFormat, device_flag as flag};
use unsplit::model::evidence::MetadataPlace;

/// A pair under test.
pub(crate) struct Bench {
    pub(crate) made: Made,
    words: Vec<String>,
    /// Both sides' data as made, only what is replicated.
    pub(crate) before: [Vec<u8>; 2],
    fringes: [Vec<u8>; 2],
    files: Files,
}

/// All files of a pair: blocks that are not zero.
#[derive(PartialEq, Eq)]
pub(crate) struct Files(Vec<Vec<(u64, Vec<u8>)>>);

fn stored(path: &Path) -> Vec<(u64, Vec<u8>)> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let (mut at, mut all) = (0, Vec::new());
    while at < size {
        match rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => at = data / BLOCK * BLOCK,
            Err(_) => break,
        }
        let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(at)).unwrap_or(size).min(size);
        let mut bytes = vec![0; usize::try_from(hole - at).unwrap()];
        file.read_exact_at(&mut bytes, at).unwrap();
        for (block, start) in bytes.chunks(ZEROS.len()).zip((at..).step_by(ZEROS.len())) {
            if *block != ZEROS[..block.len()] {
                all.push((start, block.to_vec()));
            }
        }
        at = hole.max(at + 1);
    }
    all
}

impl Bench {
    pub(crate) fn of(case: &Case) -> Bench {
        Bench::over(make(case))
    }

    pub(crate) fn over(made: Made) -> Bench {
        let case = made.case.clone();
        let mut words: Vec<String> = made.nodes.iter().map(|node| node.data.display().to_string()).collect();
        for (side, flag) in ["--meta-a", "--meta-b"].into_iter().enumerate() {
            if let Some(metadata) = &made.nodes[side].metadata {
                let index = match case.sides[side].place {
                    MetadataPlace::IndexedExternal(index) => format!(":{index}"),
                    _ => String::new(),
                };
                words.extend([flag.to_owned(), format!("{}{index}", metadata.display())]);
            }
        }
        let nothing = || [Vec::new(), Vec::new()];
        let (before, fringes, files) = (nothing(), nothing(), Files(Vec::new()));
        let mut bench = Bench { made, words, before, fringes, files };
        bench.before = [0, 1].map(|side| bench.data(side));
        bench.fringes = [0, 1].map(|side| bench.fringe(side));
        bench.files = bench.files_now();
        for (side, node) in bench.made.nodes.iter().enumerate() {
            let unclean = node.told.flags & flag::AL_CLEAN == 0;
            let _ = tools::dump(case.format, case.sides[side].place, node.metadata_file(), unclean);
        }
        bench
    }

    fn files_now(&self) -> Files {
        let files = self.made.nodes.iter().flat_map(|node| std::iter::once(&node.data).chain(&node.metadata));
        Files(files.map(|path| stored(path)).collect())
    }

    pub(crate) fn untouched(&self, when: &str) {
        assert!(
            self.files_now() == self.files,
            "{}: not byte for byte as before, {when}",
            self.made.case.name
        );
    }

    pub(crate) fn data(&self, side: usize) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.made.size).unwrap()];
        File::open(&self.made.nodes[side].data).unwrap().read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// What stands behind the last replicated byte in its block of 4 KiB, where the device has that much.
    fn fringe(&self, side: usize) -> Vec<u8> {
        let file = File::open(&self.made.nodes[side].data).unwrap();
        let end = (self.made.size.next_multiple_of(BLOCK)).min(file.metadata().unwrap().len());
        let mut bytes = vec![0; usize::try_from(end - self.made.size).unwrap()];
        file.read_exact_at(&mut bytes, self.made.size).unwrap();
        bytes
    }

    pub(crate) fn unsplit(&self, words: &[&str]) -> Output {
        let folder = self.made.folder.path();
        Command::new(env!("CARGO_BIN_EXE_unsplit"))
            .arg("--state-dir")
            .arg(folder.join("state"))
            .args(words)
            .current_dir(folder)
            .output()
            .unwrap()
    }

    /// A command on the pair, its exit code being this one.
    pub(crate) fn on_pair(&self, command: &str, options: &[&str], code: i32) -> Output {
        let mut words: Vec<&str> = vec![command];
        words.extend(self.words.iter().map(String::as_str));
        words.extend(options);
        self.expect(&words, code)
    }

    pub(crate) fn expect(&self, words: &[&str], code: i32) -> Output {
        let output = self.unsplit(words);
        let case = &self.made.case;
        assert_eq!(output.status.code(), Some(code), "{case:#?}\n{words:?}\n{}", text(&output));
        output
    }

    pub(crate) fn json(&self, command: &str, options: &[&str], code: i32) -> Value {
        let mut all = vec!["--json"];
        all.extend(options);
        serde_json::from_slice(&self.on_pair(command, &all, code).stdout).unwrap()
    }

    /// Blocks that differ between two contents.
    fn different(&self, data: &[Vec<u8>; 2]) -> Blocks {
        let chunks = data.each_ref().map(|bytes| bytes.chunks(usize::try_from(BLOCK).unwrap()));
        let [a, b] = chunks;
        (0..).zip(a.zip(b)).filter(|(_, (a, b))| a != b).map(|(block, _)| block).collect()
    }

    /// Blocks that differ and that an answer without `--full` must tell.
    fn expected(&self, full: bool) -> Blocks {
        let mut all = self.different(&self.before);
        if !full && self.made.case.relation.common_base() {
            all.retain(|block| self.made.candidate(0, *block) || self.made.candidate(1, *block));
        }
        all
    }

    /// The class of a block: a bit is certain; a hot log is a claim only where the other side's bitmap has none.
    fn class(&self, block: u64) -> &'static str {
        let marks = |side: usize| {
            let made = &self.made;
            made.bitmap_has(side, block) || made.hot_has(side, block) && !made.bitmap_has(1 - side, block)
        };
        match (marks(0), marks(1)) {
            (true, true) => "both",
            (true, false) => "only-a",
            (false, true) => "only-b",
            (false, false) => "unmarked",
        }
    }

    fn dirty(&self, side: usize) -> u64 {
        let per_bit = self.made.case.sides[side].bytes_per_bit / BLOCK;
        let any = |bit: &u64| {
            let mut blocks = bit * per_bit..((bit + 1) * per_bit).min(self.made.blocks());
            blocks.any(|block| self.made.candidate(side, block))
        };
        (0..self.made.bit_count(side)).filter(any).count() as u64
    }
}

/// Blocks of 4 KiB in a JSON list of `[start, length]`; all but the volume's last are whole.
fn blocks(extents: &Value, size: u64) -> Blocks {
    let mut all = Blocks::new();
    for extent in extents.as_array().unwrap() {
        let (start, len) = (extent[0].as_u64().unwrap(), extent[1].as_u64().unwrap());
        assert_eq!(start % BLOCK, 0);
        assert!((start + len) % BLOCK == 0 || start + len == size, "{extent}");
        all.extend(start / BLOCK..(start + len).div_ceil(BLOCK));
    }
    all
}

/// Everything for one case: looking, then healing and undoing in both directions.
pub(crate) fn whole_line(case: &Case) {
    Bench::of(case).whole_line();
}

impl Bench {
    pub(crate) fn whole_line(&self) {
        self.looks();
        for survivor in [0, 1] {
            self.heals_and_undoes(survivor);
        }
    }

    fn looks(&self) {
        let case = &self.made.case;
        let in_sync = case.relation == Relation::Leftover;
        // What is left over is always marked.
        let status = self.json("status", &[], 1);
        assert_eq!(status["relation"], case.relation.word(), "{case:#?}");
        for (side, word) in ["a", "b"].into_iter().enumerate() {
            let lineage = &status["sides"][word]["lineage"];
            assert_eq!(lineage["dirty_bits"].as_u64().unwrap(), self.dirty(side), "{case:#?} {word}");
        }
        if in_sync {
            assert_eq!(status["settled"], false, "{case:#?}");
            let quirks = status["comparison"]["quirks"].to_string();
            assert!(quirks.contains("LINBIT/drbd#145"), "{quirks}");
        }
        if case.relation == Relation::Unrelated {
            self.on_pair("diff", &[], 3);
        } else {
            self.differs(false);
        }
        self.differs(true);
        self.plans_unasked();
        self.untouched("after looking");
    }

    fn differs(&self, full: bool) {
        let case = &self.made.case;
        let (expected, size) = (self.expected(full), self.made.size);
        let fine = case.relation == Relation::Leftover && expected.is_empty();
        let options = if full { &["--full"][..] } else { &[] };
        let diff = self.json("diff", options, i32::from(!fine));
        assert_eq!(diff["volumes"][0]["delta"]["size"].as_u64().unwrap(), size);
        assert_eq!(blocks(&diff["volumes"][0]["delta"]["differs"], size), expected, "{case:#?} full: {full}");
        for view in diff["volumes"][0]["classes"].as_array().unwrap() {
            let class = view["class"].as_str().unwrap();
            let of_class: Blocks =
                expected.iter().copied().filter(|block| self.class(*block) == class).collect();
            assert_eq!(blocks(&view["extents"], size), of_class, "{case:#?} {class} full: {full}");
        }
        // The human form says when a difference cannot be, and is.
        let unmarked = expected.iter().any(|block| self.class(*block) == "unmarked");
        let warned = case.relation.common_base() && unmarked;
        let words = text(&self.on_pair("diff", options, i32::from(!fine)));
        assert_eq!(words.contains("WARNING"), warned, "{case:#?}\n{words}");
    }

    /// Without `--keep` only a lineage decides, and no policy of its own.
    fn plans_unasked(&self) {
        let case = &self.made.case;
        let full = if case.full { &["--full"][..] } else { &[] };
        match case.relation.successor() {
            Some(successor) if !case.sides[1 - successor].log.primary() => {
                let plan = self.json("plan", full, 1);
                assert_eq!(plan["plan"]["survivor"], ["a", "b"][successor], "{case:#?}");
            }
            // A Primary that would be overwritten is asked about, unless nothing at all is marked (9).
            Some(_) => {}
            None => {
                self.on_pair("plan", full, 3);
            }
        }
    }

    pub(crate) fn heals_and_undoes(&self, survivor: usize) {
        let (case, victim) = (&self.made.case, 1 - survivor);
        let mut options = vec!["--keep", ["a", "b"][survivor]];
        options.extend(case.full.then_some("--full"));
        if case.relation == Relation::Unrelated || case.relation.fresh() == Some(survivor) {
            self.on_pair("plan", &options, 3);
            self.on_pair("resolve", &[&options[..], &["--yes"]].concat(), 3);
            return self.untouched("after a refusal");
        }
        let plan = self.json("plan", &options, 1);
        let (overwrite, size) = (self.expected(case.full), self.made.size);
        assert_eq!(blocks(&plan["plan"]["volumes"][0]["overwrite"], size), overwrite, "{case:#?}");
        self.untouched("after a plan");
        let id = plan["id"].as_str().unwrap();
        let resolved: Value =
            serde_json::from_slice(&self.expect(&["--json", "resolve", "--plan", id], 0).stdout).unwrap();
        assert_eq!(resolved["outcome"], "healed");

        // Data: the victim's blocks of the plan became the survivor's, nothing else changed anywhere.
        let mut healed = self.before[victim].clone();
        splice(&mut healed, &self.before[survivor], &overwrite);
        assert!(self.data(survivor) == self.before[survivor], "{case:#?}: the survivor's data is untouched");
        assert!(
            self.data(victim) == healed,
            "{case:#?}: the victim got what the plan said, and nothing else"
        );
        let left = self.different(&[self.data(0), self.data(1)]);
        let lied = case.differences == Differences::Unmarked && case.relation.common_base() && !case.full;
        assert!(left.is_empty() || lied, "{case:#?}: {left:?}");
        self.nothing_else_touched();
        self.metadata_is_settled(survivor, &overwrite);
        self.on_pair("status", &[], 0);
        self.on_pair("diff", &[], 0);
        self.on_pair("diff", &["--full"], i32::from(!left.is_empty()));
        self.on_pair("plan", &["--keep", "a"], 0);

        self.salvage_holds(survivor, &overwrite, Path::new(resolved["salvage"].as_str().unwrap()));
        if let Some(range) = &self.made.file_system {
            tools::check_file_system(self.made.folder.path(), &self.data(victim)[range.clone()]);
        }
        self.expect(&["undo"], 0);
        self.untouched("after an undo");
    }

    /// Between the replicated data and the metadata, and at other indexes.
    fn nothing_else_touched(&self) {
        let now = self.files_now();
        let mut at = 0;
        for (side, node) in self.made.nodes.iter().enumerate() {
            let layout = &node.layout;
            let own = match self.made.case.sides[side].place {
                MetadataPlace::Internal => layout.bitmap..layout.superblock + BLOCK,
                MetadataPlace::FlexibleExternal => 0..u64::MAX,
                MetadataPlace::IndexedExternal(_)
                    if self.made.nodes[0].metadata == self.made.nodes[1].metadata =>
                {
                    0..u64::MAX
                }
                MetadataPlace::IndexedExternal(_) => {
                    layout.superblock..layout.superblock + INDEX_SECTORS * SECTOR
                }
            };
            let first_whole = self.made.size.div_ceil(BLOCK) * BLOCK;
            let rest = |files: &Files, file: usize, within: &dyn Fn(u64) -> bool| {
                files.0[file].iter().filter(|(start, _)| within(*start)).cloned().collect::<Vec<_>>()
            };
            let outside: &dyn Fn(u64) -> bool = match node.metadata {
                None => &|start| start >= first_whole && !own.contains(&start),
                Some(_) => &|start| start >= first_whole,
            };
            assert!(rest(&now, at, outside) == rest(&self.files, at, outside), "{:#?}", self.made.case);
            at += 1;
            if node.metadata.is_some() {
                let elsewhere = |start: u64| !own.contains(&start);
                assert!(rest(&now, at, &elsewhere) == rest(&self.files, at, &elsewhere));
                at += 1;
            }
            assert!(self.fringe(side) == self.fringes[side], "{:#?}: behind the end", self.made.case);
        }
    }

    fn metadata_is_settled(&self, survivor: usize, overwrite: &Blocks) {
        let case = &self.made.case;
        let mut currents = Vec::new();
        for (side, node) in self.made.nodes.iter().enumerate() {
            let (spec, peer) = (&case.sides[side], &case.sides[1 - side]);
            let shape = spec.shape(case.format);
            let file = File::open(node.metadata_file()).unwrap();
            let read = |at: u64, len: u64| {
                let mut bytes = vec![0; usize::try_from(len).unwrap()];
                file.read_exact_at(&mut bytes, at).unwrap();
                bytes
            };
            let told = Read::of(&read(node.layout.superblock, BLOCK));
            currents.push(told.current());
            let wanted = flag::CONSISTENT | flag::WAS_UP_TO_DATE | flag::AL_CLEAN;
            let gone = flag::PRIMARY_IND | flag::CRASHED_PRIMARY;
            assert_eq!(told.flags() & (wanted | gone), wanted, "{case:#?}");
            match case.format {
                MetadataFormat::V08 => assert_eq!((told.magic(), told.v08_bitmap()), (0x8374_026b, 0)),
                MetadataFormat::V09 => assert_eq!(told.peer_bitmap(peer.node_id), 0),
            }
            assert!(
                read(node.layout.log, node.layout.log_len) == log(&shape, &[]),
                "{case:#?}: an empty log"
            );
            // Bits: none toward the peer; a third node's are kept, with what it does not know yet.
            let area = node.layout.bitmap_end - node.layout.bitmap;
            let area = read(node.layout.bitmap, area.min(1 << 20));
            for slot in 0..spec.max_peers {
                let found = bits(&area, self.made.bit_count(side), slot, spec.max_peers);
                let new = if side == survivor { &Blocks::new() } else { overwrite };
                let expected =
                    if slot == spec.slot { BTreeSet::new() } else { self.third_bits(side, slot, new) };
                assert_eq!(found, expected, "{case:#?} side {side} slot {slot}");
            }
            if spec.third != Third::None && case.format == MetadataFormat::V09 {
                self.third_generation(side, survivor, &told);
            }
            if let Some(dump) = tools::dump(case.format, spec.place, node.metadata_file(), false) {
                self.dump_agrees(side, &dump, told.current());
            }
        }
        assert_eq!(currents[0], currents[1], "{case:#?}");
        assert_eq!(currents[0], self.made.nodes[survivor].told.current.masked().0);
    }

    fn third_bits(&self, side: usize, slot: u64, new: &Blocks) -> BTreeSet<u64> {
        let node = &self.made.nodes[side];
        let grain = self.made.case.sides[side].bytes_per_bit;
        let mut expected = node.bits[usize::try_from(slot).unwrap()].clone();
        expected.extend(new.iter().map(|block| block * BLOCK / grain));
        let count = self.made.bit_count(side);
        match &node.hot {
            Hot::Nothing => {}
            Hot::Everything => expected.extend(0..count),
            Hot::Extents(extents) => {
                for extent in extents {
                    let start = u64::from(*extent) * AL_EXTENT;
                    expected.extend((start / grain..(start + AL_EXTENT) / grain).filter(|bit| *bit < count));
                }
            }
        }
        expected
    }

    /// What a third node shares with the victim is remembered under the victim's old generation; where the survivor has
    /// a slot for that node and is in sync with it, the victim is now, too.
    fn third_generation(&self, side: usize, survivor: usize, told: &Read) {
        let nodes = &self.made.nodes;
        let before = nodes[side].told.peers[usize::from(THIRD)].bitmap_uuid.0;
        let (old, kept) = (nodes[side].told.current.masked().0, nodes[survivor].told.current.masked().0);
        let of_survivor = &nodes[survivor].told.peers[usize::from(THIRD)];
        let in_sync = of_survivor.bitmap_index >= 0 && of_survivor.bitmap_uuid == GenerationUuid::UNSET;
        let expected = if side == survivor {
            before
        } else if before != 0 {
            if in_sync { 0 } else { before }
        } else if old != kept && old != GenerationUuid::JUST_CREATED.0 {
            old
        } else {
            0
        };
        assert_eq!(told.peer_bitmap(THIRD), expected, "{:#?} side {side}", self.made.case);
    }

    fn dump_agrees(&self, side: usize, dump: &str, current: u64) {
        let case = &self.made.case;
        assert!(dump.contains(&format!("0x{current:016X}")), "{dump}");
        match case.format {
            MetadataFormat::V08 => assert!(dump.contains("# bits-set 0;"), "{case:#?}\n{dump}"),
            MetadataFormat::V09 => {
                let slot = case.sides[side].slot;
                let start = dump.find(&format!("bitmap[{slot}] {{")).unwrap();
                let section = &dump[start..start + dump[start..].find('}').unwrap()];
                let words = section.split(|c: char| c.is_whitespace() || c == ';');
                let any =
                    words.filter_map(|word| word.strip_prefix("0x")).any(|word| word.contains(|c| c != '0'));
                assert!(!any, "{case:#?}\n{section}");
            }
        }
    }

    fn salvage_holds(&self, survivor: usize, overwrite: &Blocks, folder: &Path) {
        self.expect(&["salvage", "verify"], 0);
        let manifest: Value =
            serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
        let parts = manifest["manifest"]["parts"].as_array().unwrap();
        let part = parts.iter().find(|part| part["kind"] == "victim-data").unwrap();
        let overlay: PathBuf = folder.join(part["file"].as_str().unwrap());
        let Some(opened) = tools::converted(self.made.folder.path(), &overlay) else { return };
        // The overlay shows the victim as it was wherever something was overwritten; elsewhere both were held equal.
        let mut expected = self.before[survivor].clone();
        splice(&mut expected, &self.before[1 - survivor], overwrite);
        assert!(opened == expected, "{:#?}", self.made.case);
        if self.different(&self.before) == *overwrite {
            assert!(opened == self.before[1 - survivor]);
        }
        if let Some(range) = &self.made.file_system {
            tools::check_file_system(self.made.folder.path(), &opened[range.clone()]);
        }
    }
}

/// Copies blocks from one content to another.
fn splice(into: &mut [u8], from: &[u8], blocks: &Blocks) {
    for block in blocks {
        let start = usize::try_from(block * BLOCK).unwrap();
        let end = (start + 4096).min(into.len());
        into[start..end].copy_from_slice(&from[start..end]);
    }
}
