//! `unsplit demo`: a split brain of two small images, from the first divergent write to the undo.
//!
//! | file | holds |
//! |---|---|
//! | `folder` | where it keeps its files |
//! | `records` | what the volumes hold |
//! | `world` | the two images, and what happens to them |
//! | `stage` | how it speaks and runs commands |
//! | `proof` | what it checks for itself |

mod folder;
mod proof;
mod records;
mod stage;
mod world;

use super::exit::{DIVERGED, FINE, Failure};
use super::screen::Screen;
use super::{Cli, STATE_DIR};
use crate::model::drbd::MetadataFormat;
use crate::model::extent::ExtentSet;
use crate::model::id::Digest;
use crate::model::record::Outcome;
use crate::model::side::{Pair, Side};
use crate::model::size::{BLOCK, human};
use clap::{Args, CommandFactory as _, ValueEnum};
use folder::Folder;
use records::{Author, Volume, headline};
use stage::{Next, Stage, overheard};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use world::{IMAGE, NODES, World, writes};

/// Where the demonstration keeps its journal, inside its folder.
const STATE: &str = "state";
/// A ledger entry that only node2 wrote.
const LEDGER: u64 = 342;
/// A stock item that both wrote.
const STOCK: u64 = 55;

/// Make a split brain in a temporary folder, and heal it before your eyes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit demo\n  unsplit demo --pause                       wait for Enter between chapters\n  unsplit demo --keep-files /tmp/playground  keep the images, to go on by hand\n\nNeeds no root, no DRBD, no LVM and no network, and touches nothing outside its folder."
)]
pub struct DemoArgs {
    /// DRBD metadata of the images: v08 is DRBD 8.4's, v09 is DRBD 9's
    #[arg(long, value_name = "FORMAT", default_value = "v09")]
    pub format: FormatWord,

    /// Put everything into this folder, which must be new or empty, and leave it there
    #[arg(long, value_name = "DIR")]
    pub keep_files: Option<PathBuf>,

    /// Wait for Enter between chapters; only on a terminal
    #[arg(long)]
    pub pause: bool,
}

/// A metadata format on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatWord {
    /// DRBD 8.4
    V08,
    /// DRBD 9
    V09,
}

pub(super) fn run(cli: &Cli, args: &DemoArgs, screen: &mut Screen) -> Result<u8, Failure> {
    if cli.json {
        return Err(Failure::usage("demo speaks to people: it has no --json"));
    }
    if cli.state_dir.as_os_str() != STATE_DIR {
        return Err(Failure::usage(
            "demo keeps its own state beside its images: use --keep-files instead of --state-dir",
        ));
    }
    let folder = match &args.keep_files {
        Some(path) => Folder::kept(path),
        None => Folder::temporary(),
    }
    .map_err(Failure::internal)?;
    let home = std::env::current_dir().map_err(Failure::internal)?;
    // The commands are shown as they would be typed in that folder, so that is where they run.
    std::env::set_current_dir(folder.path()).map_err(Failure::internal)?;
    let pause = args.pause && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let told = tell(args, folder.path(), &mut Stage::new(screen, pause));
    std::env::set_current_dir(home).map_err(Failure::internal)?;
    let closed = folder.close().map_err(Failure::internal);
    told?;
    closed?;
    Ok(FINE)
}

fn tell(args: &DemoArgs, folder: &Path, stage: &mut Stage<'_>) -> Result<(), Failure> {
    let format = match args.format {
        FormatWord::V08 => MetadataFormat::V08,
        FormatWord::V09 => MetadataFormat::V09,
    };
    let mut play = Play { stage, folder, world: World::build(folder, format).map_err(Failure::internal)? };
    let before = |play: &mut Play<'_, '_>| -> Result<Option<Pair<Digest>>, Failure> {
        for chapter in [Play::two_nodes, Play::split, Play::status, Play::diff, Play::report, Play::plan] {
            if chapter(play)? == Next::Stop {
                return Ok(None);
            }
        }
        proof::digests(&play.world).map(Some).map_err(Failure::internal)
    };
    let Some(before) = before(&mut play)? else { return Ok(()) };
    for chapter in [Play::resolve, Play::look] {
        if chapter(&mut play)? == Next::Stop {
            return Ok(());
        }
    }
    if play.undo(&before)? == Next::Stop {
        return Ok(());
    }
    play.your_own(format, args.keep_files.is_some())
}

/// What a `diff` command finds.
fn found(line: &str) -> Result<ExtentSet, Failure> {
    let (_, document) = overheard(line)?;
    proof::differs(&document).map_err(Failure::internal)
}

/// The chapters.
struct Play<'s, 'a> {
    stage: &'s mut Stage<'a>,
    folder: &'s Path,
    world: World,
}

impl Play<'_, '_> {
    fn record(&self, side: Side, volume: Volume, number: u64) -> Result<String, Failure> {
        proof::record(&self.world, side, volume, number).map_err(Failure::internal)
    }

    fn state_dir(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    fn two_nodes(&mut self) -> Result<Next, Failure> {
        if self.stage.chapter("Two nodes, one volume")? == Next::Stop {
            return Ok(Next::Stop);
        }
        self.stage.say(
            "node1 and node2 replicate one volume with DRBD. It carries an LVM group with the disks of two guests \
             and one volume that both use. These are their backing devices, as two image files:",
        )?;
        self.stage.show("")?;
        self.stage.show(&format!("$ cd {}", self.folder.display()))?;
        self.stage.show("")?;
        let rows: Vec<Vec<String>> = Volume::ALL
            .iter()
            .map(|volume| {
                let held = format!("{} records, one {} in each 4 KiB", volume.records(), volume.kind());
                vec![format!("demo/{}", volume.name()), human(volume.bytes()), held]
            })
            .collect();
        let header = format!("node1.img, node2.img: {} each", human(IMAGE));
        self.stage.screen.table(&[&header, "size", "holds"], &rows, 9)?;
        self.stage.show("")?;
        let same = Volume::ALL.iter().all(|volume| {
            let lines = Side::BOTH.map(|side| self.record(side, *volume, 42).ok());
            lines[0].is_some() && lines[0] == lines[1]
        });
        let equal = proof::equal_data(&self.world).map_err(Failure::internal)?;
        self.stage.proven(same && equal, "Both images hold the same data, byte for byte.")?;
        let (code, _) = overheard(&format!("status node1.img node2.img --state-dir {STATE}"))?;
        self.stage.proven(code == FINE, "`unsplit status` calls them in sync (exit code 0).")?;
        Ok(Next::Go)
    }

    fn split(&mut self) -> Result<Next, Failure> {
        if self.stage.chapter("02:47, the link fails")? == Next::Stop {
            return Ok(Next::Stop);
        }
        self.stage.say(
            "Each node takes the other for dead. Guest 101 runs on at node1; the cluster starts guest 102 at node2. \
             Both nodes are Primary now, both write, and each keeps its own marks of what it wrote:",
        )?;
        self.stage.show("")?;
        self.world.split().map_err(Failure::internal)?;
        let rows: Vec<Vec<String>> = writes()
            .iter()
            .map(|write| {
                let records = format!("{} to {}", write.records.start, write.records.end - 1);
                vec![
                    NODES[write.side].to_owned(),
                    write.volume.name().to_owned(),
                    format!("{} {records}", write.volume.kind()),
                    write.words.to_owned(),
                ]
            })
            .collect();
        self.stage.screen.table(&["on", "volume", "records", "what happened"], &rows, 9)?;
        self.stage.show("")?;
        self.stage.say(
            "At 03:12 node1 loses power in the middle of its work, and node2 is shut down in order. The link is \
             mended. Whoever started both nodes now would read in the kernel log:",
        )?;
        self.stage.show("")?;
        self.stage.show("  Split-Brain detected but unresolved, dropping connection!")?;
        self.stage.show("")?;
        self.stage.say(
            "The advice found everywhere: choose a side, `drbdadm connect --discard-my-data` on the other, and its \
             night is gone for good. Look first.",
        )?;
        Ok(Next::Go)
    }

    fn status(&mut self) -> Result<Next, Failure> {
        if self.stage.chapter("How do they relate?")? == Next::Stop {
            return Ok(Next::Stop);
        }
        self.stage.say(
            "unsplit reads what DRBD left on the devices: generations, flags, bitmaps, activity log. It only reads.",
        )?;
        self.stage.run(&format!("status node1.img node2.img --state-dir {STATE}"), &[DIVERGED])?;
        self.stage.say(
            "a is node1, b is node2. node1 was cut off while Primary: its last writes are in no bitmap yet, only the \
             activity log says where they may be, 4 MiB at a time.",
        )?;
        Ok(Next::Go)
    }

    fn diff(&mut self) -> Result<Next, Failure> {
        if self.stage.chapter("What differs, and who wrote it?")? == Next::Stop {
            return Ok(Next::Stop);
        }
        self.stage
            .say("A mark is a claim, the content is the fact: every marked block is read on both sides.")?;
        self.stage.run(&format!("diff node1.img node2.img --state-dir {STATE}"), &[DIVERGED])?;
        let truth = self.world.truth();
        let marked = found("--json diff node1.img node2.img")?;
        let blocks = truth.bytes() / BLOCK;
        self.stage.proven(
            marked == truth,
            &format!("Exactly the {blocks} blocks that were written differently, no more and no less."),
        )?;
        let everywhere = found("--json diff --full node1.img node2.img")?;
        self.stage.proven(
            everywhere == truth,
            "Comparing everything (--full) finds the same: the marks hid nothing.",
        )?;
        self.stage.show("")?;
        self.stage.say(
            "The 4 MiB of the activity log are a suspicion, and most of it is unfounded. \
             What is left: guest 101's disk changed on node1 only, guest 102's on node2 only, and in `shared` ten blocks are in \
             conflict. What came out the same on both sides is no difference at all.",
        )?;
        Ok(Next::Go)
    }

    /// Only where there is such a command.
    fn report(&mut self) -> Result<Next, Failure> {
        if Cli::command().find_subcommand("report").is_none() {
            return Ok(Next::Go);
        }
        if self.stage.chapter("The same, to show around")? == Next::Stop {
            return Ok(Next::Stop);
        }
        let line = format!("report node1.img node2.img --html report.html --state-dir {STATE}");
        self.stage.run(&line, &[FINE, DIVERGED])?;
        let page = std::fs::read_to_string(self.folder.join("report.html")).map_err(Failure::internal)?;
        let whole = Volume::ALL.iter().all(|volume| page.contains(volume.name()));
        self.stage.proven(whole, "report.html is there and names every volume.")?;
        Ok(Next::Go)
    }

    fn plan(&mut self) -> Result<Next, Failure> {
        if self.stage.chapter("What would it cost to keep node1?")? == Next::Stop {
            return Ok(Next::Stop);
        }
        self.stage.say(
            "A plan says what would happen, what would be lost and what would be kept. It changes nothing.",
        )?;
        let before = proof::digests(&self.world).map_err(Failure::internal)?;
        let line = format!("plan node1.img node2.img --keep a --state-dir {STATE}");
        self.stage.run(&line, &[DIVERGED])?;
        let after = proof::digests(&self.world).map_err(Failure::internal)?;
        self.stage
            .proven(after == before, "Both image files are byte for byte what they were before the plan.")?;
        Ok(Next::Go)
    }

    fn resolve(&mut self) -> Result<Next, Failure> {
        if self.stage.chapter("Heal")? == Next::Stop {
            return Ok(Next::Stop);
        }
        self.stage.say(
            "The plan runs only if both sides are still exactly as it saw them. What node2 is about to lose is \
             copied, flushed and read back before the first block is overwritten.",
        )?;
        let plan = proof::only_plan(&self.state_dir()).map_err(Failure::internal)?;
        self.stage.run(&format!("resolve --plan {plan} --state-dir {STATE}"), &[FINE])?;
        let (_, outcome) = proof::last_incident(&self.state_dir()).map_err(Failure::internal)?;
        self.stage
            .proven(outcome == Some(Outcome::Healed), "The journal says so, too: the incident is closed.")?;
        Ok(Next::Go)
    }

    fn look(&mut self) -> Result<Next, Failure> {
        if self.stage.chapter("Is it true?")? == Next::Stop {
            return Ok(Next::Stop);
        }
        self.stage.say("Believe nobody. Two records, as they are now on node2 and in the kept copy:")?;
        self.stage.show("")?;
        let (incident, _) = proof::last_incident(&self.state_dir()).map_err(Failure::internal)?;
        let (mut rows, mut right) = (Vec::new(), true);
        for (volume, number, now) in
            [(Volume::Ledger, LEDGER, Author::Base), (Volume::Stock, STOCK, Author::Alone(NODES.a))]
        {
            let on_node2 = self.record(Side::B, volume, number)?;
            let kept = proof::kept_record(&self.state_dir(), &incident, &self.world, volume, number)
                .map_err(Failure::internal)?;
            right &= on_node2 == headline(volume, number, now);
            right &= kept == headline(volume, number, Author::Alone(NODES.b));
            rows.push(vec!["node2.img".to_owned(), on_node2]);
            rows.push(vec!["salvage".to_owned(), kept]);
        }
        self.stage.screen.table(&["read from", "the record"], &rows, 9)?;
        self.stage.show("")?;
        self.stage
            .proven(right, "node2 now holds what node1 holds; what node2 had written is in the salvage.")?;
        let equal = proof::equal_data(&self.world).map_err(Failure::internal)?;
        self.stage.proven(equal, "Both images hold the same data again, byte for byte.")?;
        let (code, shown) = overheard(&format!("status node1.img node2.img --state-dir {STATE}"))?;
        let connects = String::from_utf8_lossy(&shown).contains("connect, with nothing to sync");
        self.stage.proven(
            code == FINE && connects,
            "`unsplit status` calls them in sync: DRBD would connect, with nothing to sync.",
        )?;
        Ok(Next::Go)
    }

    fn undo(&mut self, before: &Pair<Digest>) -> Result<Next, Failure> {
        if self.stage.chapter("Wrong side? Undo")? == Next::Stop {
            return Ok(Next::Stop);
        }
        self.stage.say("The morning shift says that node2 should have been kept. Nothing is lost:")?;
        self.stage.run(&format!("undo --state-dir {STATE}"), &[FINE])?;
        let after = proof::digests(&self.world).map_err(Failure::internal)?;
        let rows: Vec<Vec<String>> = Side::BOTH
            .iter()
            .map(|side| vec![format!("{}.img", NODES[*side]), before[*side].short(), after[*side].short()])
            .collect();
        self.stage.screen.table(&["BLAKE3 of the file", "before the healing", "now"], &rows, 9)?;
        self.stage.show("")?;
        self.stage.proven(
            after == *before,
            "Both image files, metadata included, are byte for byte as before the healing.",
        )?;
        Ok(Next::Go)
    }

    fn your_own(&mut self, format: MetadataFormat, kept: bool) -> Result<(), Failure> {
        if self.stage.chapter("Your own devices")? == Next::Stop {
            return Ok(());
        }
        self.stage.say("After a real split brain, the same commands on your own devices:")?;
        self.stage.show("")?;
        for line in [
            "  1. On both nodes: drbdadm down r0    or take snapshots of the backing devices.",
            "  2. Bring both to one machine         as image, snapshot or device.",
            "  3. unsplit status A B                reads only, like `diff`; then as above.",
        ] {
            self.stage.show(line)?;
        }
        self.stage.show("")?;
        if kept {
            self.stage
                .say("The images, in split brain again, and the journal of this demonstration are yours:")?;
            self.stage.show("")?;
            self.stage.show(&format!("  cd {}", self.folder.display()))?;
            self.stage.show("  unsplit diff node1.img node2.img --extents")?;
            self.stage.show(&format!("  unsplit plan node1.img node2.img --keep b --state-dir {STATE}"))?;
            self.stage.show(&format!("  unsplit history --state-dir {STATE}"))?;
            self.stage.show(&format!("  drbdmeta --force - {format} node1.img internal dump-md"))?;
        } else {
            self.stage.say(
                "The folder of this demonstration is removed now. `unsplit demo --keep-files DIR` leaves it to you.",
            )?;
        }
        Ok(())
    }
}
