//! docs/lineage.md shows the tables as they stand in the code. `UNSPLIT_UPDATE=1` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use unsplit::judge::lineage::{drbd9, drbd84};

const MARK: &str = "<!-- generated: cargo test --test lineage_doc with UNSPLIT_UPDATE=1 -->\n";

fn yes(it: bool) -> &'static str {
    if it { "yes" } else { "" }
}

fn tables() -> String {
    let mut out = String::from(
        "\n## DRBD 8.4\n\n| rule | name | result | relation | common base |\n|---|---|---|---|---|\n",
    );
    for row in &drbd84::TABLE {
        let result = match row.outcome {
            drbd84::Outcome::Code(code) => code.to_string(),
            drbd84::Outcome::HolderIsTarget => "-1 for the holder of RESOLVE_CONFLICTS, else 1".to_owned(),
        };
        let relation = format!("{:?}", row.relation);
        writeln!(out, "| {} | {} | {result} | {relation} | {} |", row.rule, row.name, yes(row.common_base))
            .unwrap();
    }
    out.push_str("\n## DRBD 9\n\n| rule | strategy | relation | common base |\n|---|---|---|---|\n");
    for row in &drbd9::TABLE {
        let strategy = match row.outcome {
            drbd9::Outcome::Is(strategy) => strategy.name().to_owned(),
            drbd9::Outcome::HolderIsTarget => "the holder of RESOLVE_CONFLICTS becomes target".to_owned(),
            drbd9::Outcome::HolderIsSource => "the holder of RESOLVE_CONFLICTS becomes source".to_owned(),
        };
        let relation = format!("{:?}", row.relation());
        writeln!(out, "| {} | {strategy} | {relation} | {} |", row.rule, yes(row.common_base())).unwrap();
    }
    out
}

#[test]
fn the_document_shows_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lineage.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, shown) = text.split_once(MARK).expect("docs/lineage.md has the mark");
    let tables = tables();
    if std::env::var_os("UNSPLIT_UPDATE").is_some() {
        fs::write(&path, format!("{head}{MARK}{tables}")).unwrap();
    } else {
        assert_eq!(shown, tables, "docs/lineage.md is stale: run with UNSPLIT_UPDATE=1");
    }
}
