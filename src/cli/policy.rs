//! `unsplit policy`: check policy files, and explain what a policy makes of an incident.

use crate::edge::text_file::read_text;
use crate::format::policy::case::{self, Written, WrittenClues, WrittenSide};
use crate::format::policy::{MAX_BYTES, PolicyErrors, load};
use crate::judge::policy::after_sb::{word_0pri, word_1pri, word_2pri};
use crate::judge::policy::decide::word_rr;
use crate::judge::policy::{Case, Policy, decide, keep};
use crate::model::drbd::{DiskState, MetadataFormat, Role};
use crate::model::id::{NodeName, ResourceName};
use crate::model::lineage::{Reconnect, Relation};
use crate::model::policy::{FenceRule, SalvageRule, Settings};
use crate::model::side::Side;
use crate::model::size::human;
use crate::model::verdict::Verdict;
use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Everything is fine.
const FINE: u8 = 0;
/// A policy has problems.
const PROBLEMS: u8 = 2;
/// The policy holds or refuses.
const HOLDS: u8 = 3;

/// Check policy files and explain what they decide
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit policy check /etc/unsplit/policy.toml\n  unsplit policy explain policies/unattended.toml \
    --resource db-1 --primaries 1 --bits-a 900 --bits-b 12"
)]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check policy files: unknown keys and values, tables that never apply, unsafe combinations
    #[command(after_help = "Example:\n  unsplit policy check /etc/unsplit/policy.toml")]
    Check {
        /// Policy files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show the settings of a resource, and what they make of an incident, with every reason
    #[command(
        after_help = "Examples:\n  unsplit policy explain policies/unattended.toml --primaries 1 --bits-a 900 --bits-b 12\n  unsplit policy explain mine.toml --case policies/cases/values.toml"
    )]
    Explain(ExplainArgs),
}

/// A side on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SideWord {
    /// The first side
    A,
    /// The second side
    B,
}

impl From<SideWord> for Side {
    fn from(word: SideWord) -> Side {
        match word {
            SideWord::A => Side::A,
            SideWord::B => Side::B,
        }
    }
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// Policy file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Explain every case of this file (see policies/cases) instead of a split brain made of the options below
    #[arg(long, value_name = "CASEFILE", conflicts_with_all = ["primaries", "bits_a", "bits_b"])]
    case: Option<PathBuf>,
    /// Resource the incident is of: chooses the [[resource]] table
    #[arg(long, value_name = "NAME", default_value = "r0")]
    resource: String,
    /// How many sides are Primary when it is decided; with 1 it is side a, unless --primary-is says b
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    primaries: u8,
    /// Which side is the Primary
    #[arg(long, value_name = "SIDE", default_value = "a")]
    primary_is: SideWord,
    /// Changed blocks (4 KiB) on side a
    #[arg(long, value_name = "BLOCKS", default_value_t = 1)]
    bits_a: u64,
    /// Changed blocks (4 KiB) on side b
    #[arg(long, value_name = "BLOCKS", default_value_t = 1)]
    bits_b: u64,
    /// DRBD's generation: 8 or 9
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u8).range(8..=9))]
    drbd: u8,
    /// Only older generations are in common
    #[arg(long)]
    no_common_base: bool,
    /// This side's disk is Inconsistent
    #[arg(long, value_name = "SIDE")]
    inconsistent: Option<SideWord>,
    /// This side alone had quorum
    #[arg(long, value_name = "SIDE")]
    quorate: Option<SideWord>,
    /// This side wrote last
    #[arg(long, value_name = "SIDE")]
    newest: Option<SideWord>,
    /// A guest runs on this side alone
    #[arg(long, value_name = "SIDE")]
    running_guest: Option<SideWord>,
    /// What the sides are called
    #[arg(long, value_name = "NAME", default_value = "a")]
    name_a: String,
    /// What the sides are called
    #[arg(long, value_name = "NAME", default_value = "b")]
    name_b: String,
    /// The operator's choice
    #[arg(long, value_name = "SIDE")]
    keep: Option<SideWord>,
}

/// Runs the command and returns its exit code: 0 fine, 2 problems in a policy or case file, 3 the policy holds or refuses.
///
/// # Errors
/// When a file cannot be read, a name is none, or `out` cannot be written.
pub fn run(args: &PolicyArgs, out: &mut dyn Write, json: bool) -> anyhow::Result<u8> {
    match &args.command {
        Command::Check { files } => check(files, out, json),
        Command::Explain(explain) => self::explain(explain, out, json),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    read_text(path, MAX_BYTES).with_context(|| format!("cannot read {}", path.display()))
}

fn check(files: &[PathBuf], out: &mut dyn Write, json: bool) -> anyhow::Result<u8> {
    let mut code = FINE;
    let mut report = Vec::new();
    for path in files {
        let name = path.display().to_string();
        let checked = load(&read(path)?, &name);
        if checked.is_err() {
            code = PROBLEMS;
        }
        if json {
            report.push(match &checked {
                Ok(policy) => {
                    json!({ "file": name, "fine": true, "description": policy.description(), "errors": [] })
                }
                Err(errors) => json!({ "file": name, "fine": false, "errors": errors_json(errors) }),
            });
            continue;
        }
        match &checked {
            Ok(policy) => match policy.description() {
                Some(text) => writeln!(out, "{name}: fine ({text})")?,
                None => writeln!(out, "{name}: fine")?,
            },
            Err(errors) => writeln!(out, "{errors}")?,
        }
    }
    if json {
        writeln!(out, "{:#}", json!({ "schema": "unsplit.policy-check", "version": 1, "files": report }))?;
    }
    Ok(code)
}

fn errors_json(errors: &PolicyErrors) -> Value {
    errors
        .errors
        .iter()
        .map(|error| {
            json!({ "line": error.line, "column": error.column, "message": error.message, "source": error.source_line })
        })
        .collect()
}

/// The problems of a file the command cannot go on without.
fn problems(errors: &PolicyErrors, out: &mut dyn Write, json: bool) -> anyhow::Result<u8> {
    if json {
        let report = json!({ "schema": "unsplit.policy-check", "version": 1, "files": [{ "file": errors.file, "fine": false, "errors": errors_json(errors) }] });
        writeln!(out, "{report:#}")?;
    } else {
        writeln!(out, "{errors}")?;
    }
    Ok(PROBLEMS)
}

fn explain(args: &ExplainArgs, out: &mut dyn Write, json: bool) -> anyhow::Result<u8> {
    let name = args.file.display().to_string();
    let policy = match load(&read(&args.file)?, &name) {
        Ok(policy) => policy,
        Err(errors) => return problems(&errors, out, json),
    };
    let cases = match &args.case {
        None => vec![from_options(args)?],
        Some(path) => match case::load(&read(path)?, &path.display().to_string()) {
            Ok(cases) => cases,
            Err(errors) => return problems(&errors, out, json),
        },
    };
    let mut code = FINE;
    let mut report = Vec::new();
    for written in &cases {
        let settings = policy.settings_for(&written.resource);
        let case = written.case(settings).with_context(|| format!("case `{}`", written.name))?;
        let verdict = decide(settings, &case);
        if matches!(verdict, Verdict::Hold { .. } | Verdict::Refuse { .. }) {
            code = HOLDS;
        }
        if json {
            report.push(json!({
                "case": written.name, "resource": written.resource, "override": policy.override_for(&written.resource),
                "settings": settings, "names": case.names, "comparison": case.comparison, "delta": case.delta,
                "verdict": verdict,
            }));
        } else {
            if !report.is_empty() {
                writeln!(out)?;
            }
            report.push(Value::Null);
            show(out, &name, &policy, written, &case, &verdict)?;
        }
    }
    if json {
        writeln!(
            out,
            "{:#}",
            json!({ "schema": "unsplit.policy-explain", "version": 1, "policy": name, "cases": report })
        )?;
    }
    Ok(code)
}

/// A split brain as the options describe it. The generations are made up; only how they stand to each other counts.
fn from_options(args: &ExplainArgs) -> anyhow::Result<Written> {
    let (common, own) = ("5B4E51A9C611450C", ["22231B165404B936", "A39AA7529BF803D8"]);
    let side = |side: Side, name: &str, bits: u64| -> anyhow::Result<WrittenSide> {
        let current = if side == Side::A { own[0] } else { own[1] };
        let primary = args.primaries == 2 || (args.primaries == 1 && Side::from(args.primary_is) == side);
        let inconsistent = args.inconsistent.is_some_and(|word| Side::from(word) == side);
        Ok(WrittenSide {
            name: Some(NodeName::new(name)?),
            uuids: if args.no_common_base {
                format!("{current}:0:{common}")
            } else {
                format!("{current}:{common}")
            },
            disk: if inconsistent { DiskState::Inconsistent } else { DiskState::UpToDate },
            role: if primary { Role::Primary } else { Role::Secondary },
            crashed_primary: false,
            primary_lost_quorum: false,
            quorate: None,
            bits,
        })
    };
    let only = |word: Option<SideWord>| word.map(|word| (word == SideWord::A, word == SideWord::B));
    Ok(Written {
        name: "a split brain as the options describe it".to_owned(),
        policy: None,
        policy_text: None,
        resource: ResourceName::new(&args.resource)?,
        format: if args.drbd == 8 { MetadataFormat::V08 } else { MetadataFormat::V09 },
        a: side(Side::A, &args.name_a, args.bits_a)?,
        b: side(Side::B, &args.name_b, args.bits_b)?,
        delta: None,
        clues: WrittenClues {
            last_write: only(args.newest).map(|(a, b)| (i64::from(a), i64::from(b))),
            running_guest: only(args.running_guest),
            quorate: only(args.quorate),
        },
        keep: args.keep.map(Side::from),
        expect: None,
    })
}

/// The settings as lines of key and value, in DRBD's and unsplit's words.
fn settings_lines(settings: &Settings) -> Vec<(&'static str, String)> {
    vec![
        ("after-sb-0pri", word_0pri(&settings.after_sb_0pri)),
        ("after-sb-1pri", word_1pri(settings.after_sb_1pri).to_owned()),
        ("after-sb-2pri", word_2pri(settings.after_sb_2pri).to_owned()),
        ("always-asbp", if settings.always_asbp { "yes" } else { "no" }.to_owned()),
        ("rr-conflict", word_rr(settings.rr_conflict).to_owned()),
        ("keep", settings.keep.as_ref().map_or("ask", keep::word).to_owned()),
        (
            "salvage",
            match settings.salvage {
                SalvageRule::Required => "required".to_owned(),
                SalvageRule::Off => "off".to_owned(),
            },
        ),
        (
            "fence",
            match settings.fence {
                FenceRule::Required => "required".to_owned(),
                FenceRule::Quorum => "quorum".to_owned(),
                FenceRule::Manual => "manual".to_owned(),
            },
        ),
        ("auto", settings.auto.to_string()),
        ("max-discard", settings.max_discard.map_or_else(|| "unlimited".to_owned(), human)),
    ]
}

fn show(
    out: &mut dyn Write,
    file: &str,
    policy: &Policy,
    written: &Written,
    case: &Case,
    verdict: &Verdict,
) -> anyhow::Result<()> {
    writeln!(out, "case: {}", written.name)?;
    match policy.override_for(&written.resource) {
        Some(glob) => writeln!(out, "policy: {file}, for {} by `match = \"{glob}\"`", written.resource)?,
        None => writeln!(out, "policy: {file}, for {}", written.resource)?,
    }
    for (key, value) in settings_lines(policy.settings_for(&written.resource)) {
        writeln!(out, "  {key:<14} {value}")?;
    }
    let relation = match case.comparison.relation {
        Relation::InSync => "in sync",
        Relation::Ahead => "a is ahead",
        Relation::Behind => "a is behind",
        Relation::Diverged => "split brain",
        Relation::Unrelated => "unrelated",
    };
    writeln!(out, "relation: {relation}")?;
    let would = match &case.comparison.reconnect {
        Reconnect::Connect { leftover_bits: 0 } => "connect, nothing to resync".to_owned(),
        Reconnect::Connect { leftover_bits } => {
            format!("connect without a resync, leaving {leftover_bits} marked blocks")
        }
        Reconnect::Resync { source, full, because } => {
            let how = if *full { "everything" } else { "the marked blocks" };
            format!("resync {how} from {} ({because})", case.names[*source])
        }
        Reconnect::Disconnect { because } => format!("drop the connection ({because})"),
        Reconnect::Unpredictable { because } => format!("not predictable ({because})"),
    };
    writeln!(out, "DRBD itself would: {would}")?;
    for quirk in &case.comparison.quirks {
        writeln!(out, "  note: {quirk}")?;
    }
    writeln!(out, "because:")?;
    for (index, reason) in verdict.trace().reasons().iter().enumerate() {
        writeln!(out, "  {}. {}", index + 1, reason.rule)?;
        if !reason.evidence.is_empty() {
            writeln!(out, "     {}", reason.evidence)?;
        }
        writeln!(out, "     -> {}", reason.conclusion)?;
    }
    let said = match verdict {
        Verdict::Agree { .. } => "agree: there is nothing to do".to_owned(),
        Verdict::Heal { survivor, auto, .. } => format!(
            "heal: keep {}, discard what only {} has; {}",
            case.names[*survivor],
            case.names[survivor.other()],
            if *auto { "runs without asking" } else { "asks first" }
        ),
        Verdict::Hold { .. } => "hold: a person must choose, with --keep".to_owned(),
        Verdict::Refuse { .. } => "refuse: no choice would be right on this evidence".to_owned(),
    };
    writeln!(out, "verdict: {said}")?;
    Ok(())
}
