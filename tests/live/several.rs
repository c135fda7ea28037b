//! Commands about several resources, over two fake nodes, with their screens and documents.

use crate::cluster::{Apart, Cluster, Meddling, Nodes, Shape};
use clap::Parser;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use unsplit::cli::live::several::{diff, plan, resolve};
use unsplit::cli::screen::Screen;
use unsplit::cli::{Cli, Command};
use unsplit::judge::incident::IncidentState;
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::words::{ConnectionState, ReplicationState, Role};
use unsplit::model::id::ResourceName;
use unsplit::model::side::Side;
use unsplit::resolver::access::Wanted;
use unsplit::resolver::desk::open_desk;

/// A screen that can be read afterwards.
#[derive(Clone, Default)]
pub struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a command came to.
#[derive(Debug)]
struct Ran {
    code: u8,
    out: String,
}

impl Ran {
    #[track_caller]
    fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.out.contains(word), "`{word}` is not in:\n{}", self.out);
        }
    }

    fn document(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    fn row(&self, name: &str) -> Value {
        let document = self.document();
        let rows = document["resources"].as_array().unwrap();
        rows.iter()
            .find(|row| row["resource"] == name)
            .unwrap_or_else(|| panic!("{name}: {document:#}"))
            .clone()
    }
}

fn wanted(words: &[std::path::PathBuf], all: bool) -> Wanted {
    if all {
        return Wanted::All;
    }
    Wanted::Named(words.iter().map(|word| ResourceName::new(&word.to_string_lossy()).unwrap()).collect())
}

/// Runs a command line on these nodes.
fn run(nodes: &Arc<Nodes>, folder: &Path, words: &[&str]) -> Ran {
    let state = folder.join("state");
    let mut line = vec!["unsplit", "--state-dir", state.to_str().unwrap()];
    line.extend(words);
    // How these nodes are reached is no matter here, but what is proposed must say it again.
    line.extend(["--peer", "ssh:node2"]);
    let cli = Cli::try_parse_from(line).unwrap();
    let (both, paper) = (nodes.both(), Paper::default());
    let mut screen = Screen::plain(Box::new(paper.clone()));
    let code = match &cli.command {
        Command::Diff(args) => {
            let wanted = wanted(&args.target.words, args.target.all);
            diff::over(&cli, args, &mut screen, &both, &wanted)
        }
        Command::Plan(args) => {
            let wanted = wanted(&args.target.words, args.target.all);
            plan::over(&cli, args, &mut screen, &both, &wanted)
        }
        Command::Resolve(args) => {
            let wanted = wanted(&args.words, args.all);
            let desk = open_desk(&cli.state_dir).unwrap();
            resolve::over(&cli, args, &mut screen, &desk, &both, &wanted)
        }
        _ => panic!("{words:?}"),
    };
    let out = paper.text();
    match code {
        Ok(code) => Ran { code, out },
        Err(failure) => Ran { code: failure.code(), out: format!("{out}{}", failure.text()) },
    }
}

fn cluster(volumes: &[Apart], seed: u64) -> Arc<Cluster> {
    Cluster::new(&Shape {
        generation: Generation::V9,
        survivor: Side::A,
        volumes: volumes.to_vec(),
        busy: false,
        survivor_primary: false,
        victim_primary: false,
        seed,
    })
}

fn healthy(seed: u64) -> Arc<Cluster> {
    let cluster = cluster(&[Apart::Equal], seed);
    let mut state = cluster.lock();
    for side in Side::BOTH {
        let host = &mut state.hosts[side];
        host.connection = ConnectionState::Connected;
        host.volumes[0].replication = ReplicationState::Established;
    }
    drop(state);
    cluster
}

/// r0 and r1 are split and the policy keeps node1; of r2 it knows nothing; r3 is healthy; r4 is on node1 only.
pub fn five() -> Arc<Nodes> {
    let nodes = Nodes {
        resources: [
            ("r0", cluster(&[Apart::Diverged], 1)),
            ("r1", cluster(&[Apart::Diverged, Apart::Diverged], 2)),
            ("r2", cluster(&[Apart::Diverged], 3)),
            ("r3", healthy(4)),
            ("r4", cluster(&[Apart::Diverged], 5)),
        ]
        .map(|(name, cluster)| (name.to_owned(), cluster))
        .to_vec(),
        one_sided: vec!["r4".to_owned()],
        reports: Mutex::new(0),
    };
    Arc::new(nodes)
}

fn policy(folder: &Path) -> String {
    let path = folder.join("policy.toml");
    std::fs::write(&path, "[[resource]]\nmatch = \"r[01]\"\nkeep = \"node1\"\n").unwrap();
    path.to_str().unwrap().to_owned()
}

pub fn is_healed(nodes: &Nodes, name: &str) -> bool {
    let state = nodes.cluster(name).lock();
    let (a, b) = (&state.hosts.a, &state.hosts.b);
    let joined = [a, b].iter().all(|host| host.connection == ConnectionState::Connected);
    joined && a.volumes.iter().zip(&b.volumes).all(|(a, b)| a.data() == b.data())
}

pub fn contents(nodes: &Nodes, name: &str) -> Vec<Vec<u8>> {
    let state = nodes.cluster(name).lock();
    let host = |side: Side| state.hosts[side].volumes.iter().map(|volume| volume.data());
    host(Side::A).chain(host(Side::B)).collect()
}

/// The fields at the top of a document, as docs/json.md has them.
fn documented(schema: &str) -> Vec<String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    let part = text.split("\n## ").find(|part| part.starts_with(&format!("{schema}\n"))).unwrap();
    let alone = "not in the documents of several resources";
    let rows = part.lines().filter(|line| !line.contains(alone));
    let fields = rows.filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let mut fields: Vec<String> =
        fields.map(|(field, _)| field.to_owned()).filter(|field| !field.contains('.')).collect();
    fields.sort_unstable();
    fields
}

fn keys(document: &Value) -> Vec<String> {
    let mut keys: Vec<String> = document.as_object().unwrap().keys().cloned().collect();
    keys.sort_unstable();
    keys
}

#[test]
fn documents_have_the_documented_fields() {
    let (nodes, folder) = (five(), tempfile::tempdir().unwrap());
    let policy = policy(folder.path());
    for command in ["diff", "plan", "resolve"] {
        let ran = run(&nodes, folder.path(), &["--json", command, "--all", "--policy", &policy]);
        let list = ran.document();
        assert_eq!(keys(&list), documented("unsplit.live-list"), "{command}");
        for row in list["resources"].as_array().unwrap() {
            let wanted = ["document", "exit_code", "next", "outcome", "resource", "says"];
            assert_eq!(keys(row), wanted, "{command}");
            if let Some(schema) = row["document"]["schema"].as_str() {
                assert_eq!(keys(&row["document"]), documented(schema), "{command}: {schema}");
            }
        }
    }
}

#[test]
fn all_are_compared_asked_once_and_none_stops_another() {
    let (nodes, folder) = (five(), tempfile::tempdir().unwrap());
    let ran = run(&nodes, folder.path(), &["diff", "--all"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    ran.says(&[
        "r0, volume 0",
        "r1, volume 0",
        "r1, volume 1",
        "r2, volume 0",
        "All 5 resources on node1 and node2",
    ]);
    ran.says(&["HEALTHY        r3", "ONE NODE ONLY  r4  node1 knows it, node2 does not"]);
    assert!(!ran.out.contains("r3, volume"), "the healthy one was compared:\n{}", ran.out);
    assert_eq!(*nodes.reports.lock().unwrap(), 2, "each node is asked once");

    let ran = run(&nodes, folder.path(), &["--json", "diff", "--all"]);
    let document = ran.document();
    assert_eq!(
        (&document["schema"], &document["version"]),
        (&Value::from("unsplit.live-list"), &Value::from(1))
    );
    assert_eq!((&document["command"], &document["exit_code"]), (&Value::from("diff"), &Value::from(1)));
    let r1 = ran.row("r1");
    assert_eq!((r1["outcome"].as_str(), r1["exit_code"].as_u64()), (Some("different"), Some(1)));
    assert_eq!(r1["document"]["schema"], "unsplit.diff");
    assert_eq!(r1["document"]["volumes"].as_array().unwrap().len(), 2);
    assert!(ran.row("r3")["document"].is_null());

    // Named, a healthy one is compared as well; one that the peer lacks fails, and stops nobody.
    let ran = run(&nodes, folder.path(), &["diff", "r4", "r3", "r0"]);
    assert_eq!(ran.code, 4, "{}", ran.out);
    ran.says(&["r4 is not up on node2", "EQUAL", "DIFFERENT", "r3, volume 0", "r0, volume 0"]);
}

#[test]
fn plans_for_all_with_the_next_command_of_each() {
    let (nodes, folder) = (five(), tempfile::tempdir().unwrap());
    let (policy, state) = (policy(folder.path()), folder.path().join("state"));
    let before: Vec<_> = ["r0", "r1", "r2"].iter().map(|name| contents(&nodes, name)).collect();
    let ran = run(&nodes, folder.path(), &["plan", "--all", "--policy", &policy]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    ran.says(&[
        "for r0, running: keep node1, overwrite node2",
        "for r1, running",
        "PLAN DRAWN",
        "unsplit resolve --plan ",
    ]);
    let choose = |keep: &str| {
        format!(
            "      unsplit plan r2 --peer ssh:node2 --policy {policy} --keep {keep} --state-dir {}",
            state.display()
        )
    };
    ran.says(&[
        "HELD           r2",
        &choose("node1"),
        &choose("node2"),
        "HEALTHY        r3",
        "ONE NODE ONLY  r4",
    ]);
    let after: Vec<_> = ["r0", "r1", "r2"].iter().map(|name| contents(&nodes, name)).collect();
    assert!(before == after, "a plan changed something");

    let ran = run(&nodes, folder.path(), &["--json", "plan", "--all", "--policy", &policy]);
    assert_eq!(ran.code, 3);
    let r0 = ran.row("r0");
    assert_eq!(
        (r0["outcome"].as_str(), r0["document"]["schema"].as_str()),
        (Some("planned"), Some("unsplit.plan"))
    );
    assert_eq!(ran.row("r2")["outcome"], "held");
    assert_eq!(ran.row("r2")["next"].as_array().unwrap().len(), 2);
    assert_eq!(ran.row("r4")["outcome"], "one-node-only");
}

#[test]
fn two_are_healed_one_is_held_one_is_healthy() {
    let (nodes, folder) = (five(), tempfile::tempdir().unwrap());
    let policy = policy(folder.path());
    let held = contents(&nodes, "r2");
    // Nobody to ask, and nobody agreed: all plans are shown, and nothing is changed.
    let ran = run(&nodes, folder.path(), &["resolve", "--all", "--policy", &policy]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    ran.says(&["Plan ", "NOT AGREED     r0", "NOT AGREED     r1", "HELD           r2"]);
    assert!(!is_healed(&nodes, "r0") && !is_healed(&nodes, "r1"));

    let ran = run(&nodes, folder.path(), &["resolve", "--all", "--policy", &policy, "--yes"]);
    assert_eq!(ran.code, 3, "the held one needs a person: {}", ran.out);
    ran.says(&[
        "Healed: r0 on node2 now equals node1",
        "Healed: r1 on node2 now equals node1",
        "HELD           r2",
    ]);
    let [first, second] = [ran.out.find("Plan ").unwrap(), ran.out.find("Healing r0").unwrap()];
    assert!(first < second && ran.out.find("for r1, running").unwrap() < second, "all plans come first");
    assert!(is_healed(&nodes, "r0") && is_healed(&nodes, "r1"));
    assert!(contents(&nodes, "r2") == held, "the held one was touched");
    // Each has an incident of its own, over, and a salvage.
    let desk = open_desk(&folder.path().join("state")).unwrap();
    let incidents = desk.journal.incidents();
    assert_eq!(incidents.len(), 2);
    assert!(incidents.iter().all(|incident| incident.is_closed()));
    drop(desk);
    let salvages = std::fs::read_dir(folder.path().join("state/salvage")).unwrap().count();
    assert_eq!(salvages, 3, "one for each volume");

    // Again there is nothing to do but the held one.
    let ran = run(&nodes, folder.path(), &["--json", "resolve", "--all", "--policy", &policy, "--yes"]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert_eq!((&ran.row("r0")["outcome"], &ran.row("r2")["outcome"]), (&"healthy".into(), &"held".into()));
}

#[test]
fn one_that_is_in_use_stops_no_other_and_is_said_first() {
    let (nodes, folder) = (five(), tempfile::tempdir().unwrap());
    {
        let mut state = nodes.cluster("r0").lock();
        state.hosts.b.role = Role::Primary;
        state.hosts.b.held = true;
    }
    let ran = run(&nodes, folder.path(), &["plan", "r0", "r1", "--keep", "node1"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    let said =
        ran.out.find("r0 is in use on node2:\n  volume 0 (/dev/drbd0): mounted on /srv\n      umount /srv");
    let page = ran.out.find("Plan ").unwrap();
    assert!(said.is_some_and(|said| said < page), "before anything is compared:\n{}", ran.out);
    assert!(ran.out[page..].contains("r0 is in use on node2"), "and on the plan's page:\n{}", ran.out);
    ran.says(&["exit code 5", "in use on node2\n"]);
    let ran = run(&nodes, folder.path(), &["--json", "plan", "r0", "r1", "--keep", "node1"]);
    let users = ran.row("r0")["document"]["in_use"].clone();
    assert_eq!(
        (&users[0]["who"], &users[0]["ends_with"]),
        (&"mounted on /srv".into(), &"umount /srv".into())
    );
    assert_eq!(ran.row("r1")["document"]["in_use"], Value::Array(Vec::new()));

    let ran = run(&nodes, folder.path(), &["resolve", "r0", "r1", "--keep", "node1", "--yes"]);
    assert_eq!(ran.code, 5, "{}", ran.out);
    ran.says(&["IN USE  r0", "HEALED  r1", "mounted on /srv"]);
    assert!(!is_healed(&nodes, "r0") && is_healed(&nodes, "r1"));
}

#[test]
fn all_of_them_healthy_is_nothing_to_do() {
    let (nodes, folder) =
        (Nodes::new(vec![("r0", healthy(1)), ("r1", healthy(2))]), tempfile::tempdir().unwrap());
    for command in [&["diff", "--all"][..], &["plan", "--all"], &["resolve", "--all", "--yes"]] {
        let ran = run(&nodes, folder.path(), command);
        assert_eq!(ran.code, 0, "{command:?}: {}", ran.out);
        ran.says(&["HEALTHY  r0", "HEALTHY  r1", "Nothing to do."]);
    }
    let ran = run(&nodes, folder.path(), &["--json", "plan", "--all"]);
    assert_eq!((ran.code, &ran.document()["exit_code"]), (0, &Value::from(0)));
}

#[test]
fn what_is_not_split_is_left_to_whom_it_concerns() {
    // node2 is merely behind and waits for its peer, which somebody disconnected.
    let (nodes, folder) =
        (Nodes::new(vec![("r0", cluster(&[Apart::SurvivorAhead], 1))]), tempfile::tempdir().unwrap());
    let before = contents(&nodes, "r0");
    let ran = run(&nodes, folder.path(), &["resolve", "--all", "--yes", "--keep", "node1"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    ran.says(&["LEFT ALONE  r0", "unsplit status r0 --peer ssh:node2"]);
    assert!(contents(&nodes, "r0") == before);
    // Named, it is taken on.
    let ran = run(&nodes, folder.path(), &["resolve", "r0", "--keep", "node1", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(is_healed(&nodes, "r0"));
}

#[test]
fn what_concerns_all_of_them_stops_at_once() {
    let (nodes, folder) = (five(), tempfile::tempdir().unwrap());
    let ran = run(&nodes, folder.path(), &["plan", "--all", "--keep", "node3"]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    ran.says(&["--keep node3: there is no such side; say a, b, node1 or node2"]);
    let ran = run(&nodes, folder.path(), &["diff", "--all", "--policy", "/no/such/policy"]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    nodes.cluster("r0").meddle(crate::cluster::Meddling::Deaf(Side::B, 1000));
    let ran = run(&nodes, folder.path(), &["diff", "--all"]);
    assert_eq!(ran.code, 4, "{}", ran.out);
    ran.says(&["node2 cannot be asked", "mend the connection"]);
}

/// Without what differs from run to run: the folder, plans' and incidents' names.
fn plain(folder: &Path, text: &str) -> String {
    let text = text.replace(folder.to_str().unwrap(), "DIR");
    let hex = |word: &str| word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
    let incident = |word: &str| {
        let parts: Vec<&str> = word.split('-').collect();
        parts.len() >= 3
            && parts[0].len() == 8
            && parts[1].len() == 6
            && parts[2].len() == 6
            && hex(&parts.concat()[..20])
    };
    let word = |word: &str| {
        if hex(word) {
            return "PLAN".to_owned();
        }
        if incident(word) { "INCIDENT".to_owned() } else { word.to_owned() }
    };
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    text.split_inclusive(ends)
        .map(|part| match part.char_indices().last() {
            Some((at, c)) if ends(c) => format!("{}{c}", word(&part[..at])),
            _ => word(part),
        })
        .collect()
}

/// A healing that parks where going on cannot succeed, since what the plan was drawn from is gone: the screen, its document and
/// what is asked for later all name the one command that leads out, and nobody is sent to wait.
#[test]
fn a_parked_run_that_cannot_go_on_names_the_way_out() {
    let mut parked = 0;
    for at in 1..40 {
        let (nodes, folder) = (five(), tempfile::tempdir().unwrap());
        {
            let mut state = nodes.cluster("r0").lock();
            let due = state.tick + at;
            state.meddling = vec![(due, Meddling::Grow)];
        }
        let before = contents(&nodes, "r0");
        let ran = run(&nodes, folder.path(), &["resolve", "r0", "--keep", "node1", "--yes"]);
        let state_dir = folder.path().join("state");
        let incidents = open_desk(&state_dir).unwrap().journal.incidents();
        let Some(incident) = incidents.as_slice().first() else { continue };
        let IncidentState::Parked { next, .. } = &incident.state else { continue };
        let (id, in_dir) = (&incident.id, format!(" --state-dir {}", state_dir.display()));
        let give_up = format!("unsplit resolve --give-up {id} --yes");
        assert_eq!(*next, give_up, "at {at}");
        let resume = format!("unsplit resolve --resume {id}{in_dir}");
        let wanted = format!(
            "end this one with `{give_up}{in_dir}` and draw a new plan, which keeps what stands there now; for as long as it \
             does, `{resume}` parks again, and an undo refuses"
        );
        let ran_next = ran.out.lines().find_map(|line| line.trim().strip_prefix("next: "));
        assert_eq!((ran.code, ran_next), (6, Some(&*wanted)), "at {at}: {}", ran.out);
        // Words that promise no more than is there.
        let kept = "Nothing is lost: what is overwritten is in the salvage";
        ran.says(&[&format!("incident {id} is parked: "), "was resized on node", kept]);
        assert!(!ran.out.contains("mend the cause") && !ran.out.contains("go back with"), "{}", ran.out);
        // A later look says the same, and the command does what it says.
        let program = |words: &[&str]| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_unsplit"));
            command.arg("--state-dir").arg(&state_dir).args(words);
            crate::scene::ran(command)
        };
        let open: Value = serde_json::from_str(&program(&["--json", "status"]).out).unwrap();
        assert_eq!(open["open"][0]["next"], format!("{give_up}{in_dir}"), "{open:#}");
        let looked = program(&["status"]);
        looked.says(6, &[&give_up]);
        assert!(!looked.all().contains("--resume") && !looked.all().contains("unsplit undo"), "{looked:?}");
        let words: Vec<&str> = give_up.split(' ').skip(1).collect();
        program(&words).says(0, &[]);
        program(&["status"]).says(0, &[]);
        assert!(contents(&nodes, "r0")[0] == before[0], "the survivor is as it was");
        parked += 1;
        if parked == 3 {
            break;
        }
    }
    assert_eq!(parked, 3);
}

/// Whole screens, word for word. `UNSPLIT_UPDATE=1 cargo test --test live screens` writes them anew.
#[test]
fn screens_are_as_they_were() {
    let (nodes, folder) = (five(), tempfile::tempdir().unwrap());
    let policy = policy(folder.path());
    {
        let mut state = nodes.cluster("r2").lock();
        state.hosts.b.role = Role::Primary;
        state.hosts.b.held = true;
    }
    let mut page = String::new();
    for line in [
        "diff r0 r4",
        "plan --all --policy POLICY",
        "plan r2 r3 --keep node1",
        "resolve --all --policy POLICY --yes",
        "resolve --all --keep node1 --yes",
    ] {
        let words: Vec<&str> =
            line.split(' ').map(|word| if word == "POLICY" { policy.as_str() } else { word }).collect();
        let ran = run(&nodes, folder.path(), &words);
        page.push_str(&format!(
            "$ unsplit {line} --peer ssh:node2\n{}[exit code {}]\n\n",
            plain(folder.path(), &ran.out),
            ran.code
        ));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/screens/several.txt");
    if std::env::var_os("UNSPLIT_UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "{} is out of date\n--- is\n{found}\n--- should be\n{page}", path.display());
}
