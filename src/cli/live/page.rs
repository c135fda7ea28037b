//! One resource on the screen: what it is, why, what would be lost, what DRBD would do, what to type.

use crate::cli::exit::Failure;
use crate::cli::screen::{Screen, Tone};
use crate::cli::status::reconnect_words;
use crate::judge::advice::{Way, steps};
use crate::model::drbd::GenerationUuid;
use crate::model::drbd_live::words::ConnectionState;
use crate::model::lineage::Relation;
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use crate::model::standing::{
    Asked, Class, Finding, Link, LinkVolume, NodeStanding, Source, Standing, Weight,
};

/// The colour of a class.
pub(super) fn tone(class: Class) -> Tone {
    match class.weight() {
        Weight::Good => Tone::Good,
        Weight::Bad => Tone::Bad,
        Weight::Attention | Weight::Unknown => Tone::Strong,
    }
}

/// The whole page.
pub(super) fn show(screen: &mut Screen, standing: &Standing, way: &Way<'_>) -> Result<(), Failure> {
    let Some((worst, others)) = standing.findings.split_first() else { return Ok(()) };
    let headline = format!("{}: {}: {}.", worst.class.word(), standing.resource, worst.says);
    let painted = screen.paint(tone(worst.class), &headline);
    screen.line(painted)?;
    for finding in others {
        let why = match finding.reasons.first() {
            Some(reason) if finding.class == Class::Unseen => format!(" ({})", reason.text),
            _ => String::new(),
        };
        screen.line(format!("  also: {}: {}{why}.", finding.class.word(), finding.says))?;
    }
    why(screen, worst)?;
    let nodes: Vec<&NodeStanding> = standing.nodes.iter().collect();
    if standing.nodes.iter().any(|node| node.up == Some(true)) {
        screen.line("")?;
        let mut header = vec![""];
        header.extend(nodes.iter().map(|node| node.node.as_str()));
        screen.table(&header, &facts(standing, &nodes), 9)?;
    }
    if nodes.len() > 2 {
        several(screen, standing)?;
    }
    apart(screen, standing)?;
    let next = steps(standing, worst, way);
    if !next.is_empty() {
        screen.heading("Next")?;
        for step in next {
            if !step.command.is_empty() {
                screen.line(format!("  {}", step.command))?;
            }
            let indent = if step.command.is_empty() { "  " } else { "      " };
            screen.line(format!("{indent}{}", step.what))?;
        }
    }
    Ok(())
}

fn why(screen: &mut Screen, finding: &Finding) -> Result<(), Failure> {
    if finding.reasons.is_empty() {
        return Ok(());
    }
    screen.heading("Why")?;
    for reason in &finding.reasons {
        let from = match reason.from {
            Source::State => "state",
            Source::Generations => "generations",
            Source::Configuration => "settings",
            Source::Log => "kernel log",
            Source::Silence => "no answer",
        };
        let whose = reason.node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
        screen.line(format!("  {from:<11}  {whose}{}", reason.text))?;
    }
    Ok(())
}

/// What a node's own words, or its peer's, say about each row.
fn facts(standing: &Standing, nodes: &[&NodeStanding]) -> Vec<Vec<String>> {
    let row = |word: String, f: &dyn Fn(&NodeStanding) -> String| {
        let mut cells = vec![word];
        cells.extend(nodes.iter().map(|node| f(node)));
        cells
    };
    let mut rows = vec![
        row("seen".to_owned(), &|node| match &node.told {
            Asked::Told => node.generation.map_or("asked".to_owned(), |generation| generation.to_string()),
            Asked::NotLoaded => "DRBD not loaded".to_owned(),
            Asked::Unreadable(_) => "DRBD not readable".to_owned(),
            Asked::Unreachable(_) => "NOT REACHED".to_owned(),
            Asked::NotAsked => "not asked".to_owned(),
        }),
        row("role".to_owned(), &|node| match (node.up, node.role) {
            (Some(false), _) => "down".to_owned(),
            (_, Some(role)) => role.to_string(),
            (_, None) => "?".to_owned(),
        }),
    ];
    if let [link] = standing.links.as_slice() {
        rows.push(row("connection".to_owned(), &|node| {
            let side = side_of(link, &node.node);
            side.and_then(|side| link.state[side]).map_or("?".to_owned(), |state| state.to_string())
        }));
    }
    let mut volumes: Vec<u32> =
        standing.links.iter().flat_map(|link| link.volumes.iter().map(|volume| volume.volume)).collect();
    volumes.extend(nodes.iter().flat_map(|node| node.volumes.iter().map(|volume| volume.volume)));
    volumes.sort_unstable();
    volumes.dedup();
    let several = volumes.len() > 1;
    for number in volumes {
        let at = if several { format!(" {number}") } else { String::new() };
        let own = |node: &NodeStanding| node.volumes.iter().find(|volume| volume.volume == number).cloned();
        let over = |node: &NodeStanding| {
            standing.links.iter().find_map(|link| {
                let side = side_of(link, &node.node)?;
                Some((link.volumes.iter().find(|volume| volume.volume == number)?, side))
            })
        };
        rows.push(row(format!("disk{at}"), &|node| {
            let state = own(node).and_then(|volume| volume.disk);
            let state = state.or_else(|| over(node).and_then(|(volume, side)| volume.disk[side]));
            let client = own(node).is_some_and(|volume| volume.client);
            let state = state.map_or("?".to_owned(), |state| state.to_string());
            if client { format!("{state} (on purpose)") } else { state }
        }));
        rows.push(row(
            format!("generation{at}"),
            &|node| match own(node).and_then(|volume| volume.current) {
                Some(GenerationUuid::UNSET) => "none".to_owned(),
                Some(uuid) => uuid.to_string(),
                None => "?".to_owned(),
            },
        ));
        if let [link] = standing.links.as_slice() {
            rows.push(row(format!("changed{at}"), &|node| {
                let volume = link.volumes.iter().find(|volume| volume.volume == number);
                let side = side_of(link, &node.node);
                let bytes = volume.zip(side).and_then(|(volume, side)| volume.out_of_sync[side]);
                bytes.map_or("?".to_owned(), |bytes| format!("{} marked", human(bytes)))
            }));
        }
        rows.push(row(format!("device{at}"), &|node| match own(node) {
            Some(volume) => {
                let minor = volume.minor.map_or("?".to_owned(), |minor| format!("/dev/drbd{minor}"));
                let size = volume.size.map(|bytes| format!(", {}", human(bytes))).unwrap_or_default();
                let open = if volume.open == Some(true) { ", in use" } else { "" };
                let below = volume.stacked_on.map(|name| format!(", stacked on {name}")).unwrap_or_default();
                format!("{minor}{size}{open}{below}")
            }
            None => "?".to_owned(),
        }));
    }
    rows
}

fn side_of(link: &Link, node: &str) -> Option<Side> {
    Side::BOTH.into_iter().find(|side| link.nodes[*side] == node)
}

/// Three nodes: each connection, and who holds the same.
fn several(screen: &mut Screen, standing: &Standing) -> Result<(), Failure> {
    screen.heading("Connections")?;
    for link in &standing.links {
        let Pair { a, b } = link.nodes.as_ref();
        let state = |side: Side| link.state[side].map_or("?".to_owned(), |state| state.to_string());
        let states = if state(Side::A) == state(Side::B) || link.state.b.is_none() {
            state(Side::A)
        } else {
            format!("{} / {}", state(Side::A), state(Side::B))
        };
        let relation = link.volumes.iter().find_map(|volume| volume.comparison.as_ref());
        let relation =
            relation.map(|found| format!(", {}", relation_words(found.relation, a, b))).unwrap_or_default();
        let marked =
            |side: Side| -> u64 { link.volumes.iter().filter_map(|volume| volume.out_of_sync[side]).sum() };
        let marks: Vec<String> = Side::BOTH
            .into_iter()
            .filter(|side| marked(*side) > 0)
            .map(|side| format!(", {} has {} marked", link.nodes[side], human(marked(side))))
            .collect();
        screen.line(format!("  {a} - {b}: {states}{relation}{}", marks.concat()))?;
    }
    let groups: Vec<String> = standing.agree.iter().map(|group| group.join(" = ")).collect();
    if !groups.is_empty() {
        let groups = groups.join("  |  ");
        screen.line(format!("  the same data by DRBD's word (no content was compared): {groups}"))?;
    }
    Ok(())
}

fn relation_words(relation: Relation, a: &str, b: &str) -> String {
    match relation {
        Relation::InSync => "the same generation".to_owned(),
        Relation::Ahead => format!("{a} is newer"),
        Relation::Behind => format!("{b} is newer"),
        Relation::Diverged => "diverged".to_owned(),
        Relation::Unrelated => "unrelated".to_owned(),
    }
}

/// For each connection that is not there: what is at stake, and what DRBD would do by itself.
fn apart(screen: &mut Screen, standing: &Standing) -> Result<(), Failure> {
    for link in &standing.links {
        let connected = link.state.iter().all(|(_, state)| *state == Some(ConnectionState::Connected));
        let compared: Vec<&LinkVolume> =
            link.volumes.iter().filter(|volume| volume.comparison.is_some()).collect();
        if connected || compared.is_empty() {
            continue;
        }
        let names = link.nodes.as_ref().map(String::as_str);
        let of = |volume: &LinkVolume| {
            if link.volumes.len() > 1 { format!("volume {}: ", volume.volume) } else { String::new() }
        };
        if compared.iter().any(|volume| diverged(volume)) {
            screen.heading("What would be lost")?;
            let common = compared
                .iter()
                .all(|volume| volume.comparison.as_ref().is_some_and(|found| found.common_base));
            for survivor in Side::BOTH {
                let victim = names[survivor.other()];
                // One volume that does not tell, and nobody knows the sum.
                let bytes: Option<u64> =
                    compared.iter().map(|volume| volume.out_of_sync[survivor.other()]).sum();
                let what = match bytes {
                    None => format!("what {victim} wrote since the split; its kernel does not tell how much"),
                    Some(0) if common => format!("nothing: {victim} wrote nothing since the split"),
                    Some(bytes) => format!("at most {} that {victim} wrote since the split", human(bytes)),
                };
                screen.line(format!("  keeping {}: {what}", names[survivor]))?;
            }
            if compared
                .iter()
                .any(|volume| volume.comparison.as_ref().is_some_and(|found| !found.common_base))
            {
                screen.line(
                    "  the two bitmaps do not start from the same generation: more may differ than is marked",
                )?;
            }
        }
        let title = format!("If {} and {} connected now, DRBD would", names.a, names.b);
        screen.heading(&title)?;
        for volume in &compared {
            let Some(found) = &volume.comparison else { continue };
            screen.line(format!("  {}{}.", of(volume), reconnect_words(&found.reconnect, names)))?;
            for quirk in &found.quirks {
                screen.line(format!("  note: {}{quirk}", of(volume)))?;
            }
        }
    }
    Ok(())
}

fn diverged(volume: &LinkVolume) -> bool {
    volume.comparison.as_ref().is_some_and(|found| found.relation == Relation::Diverged)
}
