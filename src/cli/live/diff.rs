//! `unsplit diff RESOURCE`.

use super::volumes::{Both, compare};
use crate::cli::Cli;
use crate::cli::diff::{DiffArgs, document, present, status};
use crate::cli::exit::{EVIDENCE, FINE, Failure};
use crate::cli::screen::{Screen, Tone};
use crate::model::id::ResourceName;

/// Compares all volumes, one after the other.
pub(in crate::cli) fn run(
    cli: &Cli,
    args: &DiffArgs,
    screen: &mut Screen,
    resource: &ResourceName,
) -> Result<u8, Failure> {
    let options = &args.target.options;
    let settings = match &options.policy {
        None => crate::model::policy::Settings::drbd_defaults(),
        Some(path) => crate::cli::pair::load_policy(path)?.settings_for(resource).clone(),
    };
    let both = Both::reach(resource, options, "diff")?;
    let pair = both.look(resource)?;
    let mut worst = FINE;
    let mut documents = Vec::new();
    for volume in &pair.volumes {
        let compared =
            compare(&pair, volume, both.peer(), options, &settings, args.full, Some(&cli.state_dir))?;
        let code = status(&compared.sight, &compared.found);
        worst = if code == EVIDENCE || worst == EVIDENCE { EVIDENCE } else { worst.max(code) };
        if cli.json {
            let volume_diff = serde_json::to_value(document(&compared.sight, &compared.found));
            documents.push(serde_json::json!({
                "volume": volume.volume, "diff": volume_diff.map_err(Failure::internal)?,
            }));
            continue;
        }
        let title = format!(
            "{resource}, volume {} (/dev/drbd{} on {}, /dev/drbd{} on {})",
            volume.volume, volume.minors.a, pair.names.a, volume.minors.b, pair.names.b
        );
        let title = screen.paint(Tone::Strong, &title);
        screen.line(title)?;
        present(cli, args, screen, &compared.sight, &compared.found)?;
        screen.line("")?;
    }
    if cli.json {
        screen.json(&serde_json::json!({
            "schema": "unsplit.live-diff", "version": 1, "resource": resource, "names": pair.names, "volumes": documents,
        }))?;
    }
    Ok(worst)
}
