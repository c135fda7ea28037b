//! `unsplit diff` of several resources.

use super::{Rows, ask, row, still_open};
use crate::cli::Cli;
use crate::cli::compared::nothing_differs;
use crate::cli::diff::{DiffArgs, document};
use crate::cli::exit::{DIVERGED, EVIDENCE, FINE, Failure};
use crate::cli::live::chosen::Task;
use crate::cli::live::diff::{Volume, how};
use crate::cli::live::list::{List, Outcome, Row};
use crate::cli::live::words_of;
use crate::cli::screen::{Screen, Tone};
use crate::model::delta::{Coverage, Scope};
use crate::model::id::{NodeName, ResourceName};
use crate::model::side::Pair;
use crate::model::size::human;
use crate::ports::progress::Silent;
use crate::resolver::access::{Wanted, settings};
use crate::resolver::both::Both;
use crate::resolver::volumes::compare_all;

/// Reaches the peer and compares.
pub(in crate::cli) fn run(
    cli: &Cli,
    args: &DiffArgs,
    screen: &mut Screen,
    wanted: &Wanted,
) -> Result<u8, Failure> {
    let both = Both::reach(&words_of(wanted), &args.target.options.access(), "diff")?;
    over(cli, args, screen, &both, wanted)
}

/// Compares what is wanted of these nodes' resources.
///
/// # Errors
/// What concerns all of them: the policy file, a node that does not answer, printing.
pub fn over(
    cli: &Cli,
    args: &DiffArgs,
    screen: &mut Screen,
    both: &Both,
    wanted: &Wanted,
) -> Result<u8, Failure> {
    let access = args.target.options.access();
    let policy = access.policy()?;
    let asked = ask(both, wanted, Task::Diff)?;
    still_open(cli, screen, wanted, &asked)?;
    let mut rows = Rows::default();
    let names = both.names();
    asked.each(
        both,
        access.threads(),
        "compared",
        |pair, share| {
            let settings = settings(policy.as_ref(), &pair.resource);
            let mut volumes = Vec::new();
            compare_all(both, &pair, how(cli, args, &settings, &Silent, share), |compared| {
                volumes.push(Volume::from(compared));
                Ok(())
            })?;
            Ok(volumes)
        },
        |name, found: Result<Vec<Volume>, Failure>| {
            rows.put(match found {
                Ok(volumes) => told(cli, args, screen, name, &names, &volumes)?,
                Err(failure) => {
                    failed(cli, screen, name, &failure)?;
                    Row::failed(name.as_str(), &failure)
                }
            });
            Ok(())
        },
    )?;
    let list = List::new("diff", both, asked.rows(|name| rows.take(name)));
    list.show(cli.json, screen)?;
    Ok(list.exit_code())
}

/// A resource that failed, where its page would stand.
pub(super) fn failed(
    cli: &Cli,
    screen: &mut Screen,
    name: &ResourceName,
    failure: &Failure,
) -> Result<(), Failure> {
    if !cli.json {
        let title = screen.paint(Tone::Strong, name.as_str());
        screen.line(title)?;
        screen.line(failure.text())?;
        screen.line("")?;
    }
    Ok(())
}

fn told(
    cli: &Cli,
    args: &DiffArgs,
    screen: &mut Screen,
    name: &ResourceName,
    names: &Pair<NodeName>,
    volumes: &[Volume],
) -> Result<Row, Failure> {
    let mut documents = Vec::new();
    for volume in volumes {
        if cli.json {
            documents.push(volume.document()?);
        } else {
            volume.show(args, screen, name, names)?;
        }
    }
    let code = volumes.iter().map(Volume::code).max().unwrap_or(FINE);
    let bytes: u64 = volumes.iter().map(|volume| volume.found.delta.differs.bytes()).sum();
    let nothing = Coverage { scope: Scope::Everything, compared: 0, size: 0 };
    let seen = volumes.iter().map(|volume| volume.found.delta.coverage()).reduce(|all, one| all.and(&one));
    let equal = nothing_differs(seen.unwrap_or(nothing));
    let (outcome, says) = match code {
        EVIDENCE => (Outcome::Unreadable, "not everything could be read".to_owned()),
        DIVERGED if bytes == 0 => {
            (Outcome::Different, format!("{}; the generations differ", equal.trim_end_matches('.')))
        }
        DIVERGED => (Outcome::Different, format!("{} differ", human(bytes))),
        _ => (Outcome::Equal, equal.trim_end_matches('.').to_owned()),
    };
    row(name, outcome, code, says, Vec::new(), document(name, names.as_ref(), seen, documents, None))
}
