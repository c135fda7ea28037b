//! `unsplit diff RESOURCE`: all volumes of one.

use crate::cli::Cli;
use crate::cli::diff::{DiffArgs, document, offer_full, show, status, volume};
use crate::cli::exit::Failure;
use crate::cli::screen::{Screen, Tone};
use crate::cli::still_open::{About, StillOpen};
use crate::cli::suggest::Suggestion;
use crate::edge::terminal::TerminalProgress;
use crate::engine::drbd::beside::exchanged;
use crate::engine::drbd::pair::{LivePair, PairedVolume};
use crate::engine::inquiry::Sight;
use crate::model::delta::Coverage;
use crate::model::id::{NodeName, ResourceName};
use crate::model::policy::Settings;
use crate::model::side::Pair;
use crate::ports::progress::Progress;
use crate::resolver::access::settings;
use crate::resolver::both::Both;
use crate::resolver::contents::Found;
use crate::resolver::nodes::backing_devices;
use crate::resolver::turns::Share;
use crate::resolver::volumes::{Compared, How, compare_all};
use serde_json::Value;

/// What was found of one volume. The devices are closed.
pub(super) struct Volume {
    pub(super) volume: PairedVolume,
    pub(super) sight: Sight,
    pub(super) found: Found,
}

impl From<Compared> for Volume {
    fn from(compared: Compared) -> Volume {
        Volume { volume: compared.volume, sight: compared.sight, found: compared.found }
    }
}

impl Volume {
    /// The exit code that it alone would give.
    pub(super) fn code(&self) -> u8 {
        status(&self.sight, &self.found)
    }

    pub(super) fn document(&self) -> Result<Value, Failure> {
        let view = volume(self.volume.volume, &self.sight, &self.found);
        serde_json::to_value(view).map_err(Failure::internal)
    }

    pub(super) fn show(
        &self,
        args: &DiffArgs,
        screen: &mut Screen,
        resource: &ResourceName,
        names: &Pair<NodeName>,
    ) -> Result<(), Failure> {
        let Pair { a, b } = &self.volume.minors;
        let title = format!(
            "{resource}, volume {} (/dev/drbd{a} on {}, /dev/drbd{b} on {})",
            self.volume.volume, names.a, names.b
        );
        let title = screen.paint(Tone::Strong, &title);
        screen.line(title)?;
        show(args, screen, &self.sight, &self.found)?;
        if let Some(side) = exchanged(&self.sight.evidence, self.sight.comparison.relation) {
            screen.line(format!(
                "{} is Outdated and marks nothing that {} does not: DRBD exchanged their bitmaps for a resync that did not begin.",
                names[side],
                names[side.other()]
            ))?;
            screen.line("What is marked on both may have been written by one of them alone.")?;
        }
        screen.line("")?;
        Ok(())
    }
}

/// How the arguments say that volumes are compared.
pub(super) fn how<'h>(
    cli: &'h Cli,
    args: &DiffArgs,
    settings: &'h Settings,
    progress: &'h dyn Progress,
    share: Share,
) -> How<'h> {
    How {
        settings,
        full: args.full,
        believe: !args.target.options.no_cache,
        state_dir: Some(&cli.state_dir),
        progress,
        share,
    }
}

/// Compares all volumes, and shows each as soon as those before it were shown.
pub(in crate::cli) fn run(
    cli: &Cli,
    args: &DiffArgs,
    screen: &mut Screen,
    resource: &ResourceName,
) -> Result<u8, Failure> {
    let access = args.target.options.access();
    let settings = settings(access.policy()?.as_ref(), resource);
    let both = Both::reach(resource.as_str(), &access, "diff")?;
    let pair: LivePair = both.look(resource)?;
    let devices = backing_devices(&pair.states.a, &[resource.as_str()]);
    let open = StillOpen::about(cli, About::Resources { names: &[resource.as_str()], devices: &devices });
    if !cli.json {
        open.show(screen)?;
    }
    let mut worst = crate::cli::exit::FINE;
    let mut seen: Option<Coverage> = None;
    let mut documents = Vec::new();
    let (progress, share) = (TerminalProgress::new(), Share::whole(access.threads()));
    compare_all(&both, &pair, how(cli, args, &settings, &progress, share), |compared| {
        let volume = Volume::from(compared);
        worst = worst.max(volume.code());
        let coverage = volume.found.delta.coverage();
        seen = Some(seen.map_or(coverage, |seen| seen.and(&coverage)));
        if cli.json {
            documents.push(volume.document()?);
            return Ok(());
        }
        volume.show(args, screen, resource, &pair.names)
    })?;
    if cli.json {
        screen.json(&document(resource, pair.names.as_ref(), seen, documents, Some(open.view())))?;
    }
    if let Some(seen) = seen {
        let whole = Suggestion::of_resource(cli, "diff", resource.as_str(), &access);
        offer_full(cli, screen, seen, &whole.flag("--full", true).flag("--extents", args.extents))?;
    }
    Ok(worst)
}
