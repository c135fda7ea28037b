//! What is proposed, typed again: our own parser finds the same sides and the same options.

use super::*;
use crate::cli::Command;
use crate::cli::live::meant;
use crate::model::side::Pair;
use crate::resolver::access::Target;
use clap::Parser;
use proptest::prelude::*;
use proptest::sample::select;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Words as bash cuts them, as far as it has to know for what we quote: `'...'`, `\x` and `$'...'`.
fn cut(text: &str) -> Vec<OsString> {
    let (mut words, mut word, mut inside) = (Vec::new(), Vec::new(), false);
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' => {
                if inside {
                    words.push(OsString::from_vec(std::mem::take(&mut word)));
                }
                inside = false;
                continue;
            }
            b'\'' => word.extend(bytes.by_ref().take_while(|byte| *byte != b'\'')),
            b'\\' => word.extend(bytes.next()),
            b'$' if bytes.peek() == Some(&b'\'') => {
                bytes.next();
                while let Some(byte) = bytes.next().filter(|byte| *byte != b'\'') {
                    match (byte, bytes.peek()) {
                        (b'\\', Some(b'x')) => {
                            let digits: Vec<u8> = bytes.by_ref().skip(1).take(2).collect();
                            let digits = String::from_utf8(digits).unwrap();
                            word.push(u8::from_str_radix(&digits, 16).unwrap());
                        }
                        (b'\\', _) => word.extend(bytes.next()),
                        _ => word.push(byte),
                    }
                }
            }
            _ => word.push(byte),
        }
        inside = true;
    }
    if inside {
        words.push(OsString::from_vec(word));
    }
    words
}

fn typed(text: &str) -> Cli {
    let words = cut(text);
    if !text.contains("$'") {
        let others = shlex::split(text).unwrap_or_else(|| panic!("no shell takes this: {text}"));
        assert_eq!(words, others.into_iter().map(OsString::from).collect::<Vec<_>>(), "{text}");
    }
    Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// Everything that says what a command is about and how it reads, whichever command it is.
fn about(cli: &Cli) -> (PathBuf, Vec<PathBuf>, Access, Choice) {
    let none = || Choice { keep: None, full: false, no_salvage: false };
    let one = |a: &PathBuf, b: &Option<PathBuf>| [a].into_iter().chain(b).cloned().collect::<Vec<_>>();
    let (words, options, choice) = match &cli.command {
        Command::Status(args) => {
            (args.a.iter().chain(&args.b).cloned().collect(), args.options.access(), none())
        }
        Command::Diff(args) => {
            (args.target.words.clone(), args.target.options.access(), Choice { full: args.full, ..none() })
        }
        Command::Plan(args) => {
            (args.target.words.clone(), args.target.options.access(), args.choice.choice())
        }
        Command::Resolve(args) => (args.words.clone(), args.options.access(), args.choice.choice()),
        Command::Report(args) => (
            one(&args.target.a, &args.target.b),
            args.target.options.access(),
            Choice { full: args.full, ..none() },
        ),
        other => panic!("{other:?}"),
    };
    (cli.state_dir.clone(), words, options, choice)
}

/// A command line with its paths made absolute, as a suggestion has them.
fn with_absolute_paths(mut seen: (PathBuf, Vec<PathBuf>, Access, Choice)) -> String {
    let made = |path: &Path| std::path::absolute(path).unwrap();
    let there = seen.2.peer.is_some();
    seen.0 = made(&seen.0);
    for (at, word) in seen.1.iter_mut().enumerate() {
        if at == 0 || !there {
            *word = made(word);
        }
    }
    if let Some(meta) = &mut seen.2.metadata.a {
        meta.path = made(&meta.path);
    }
    if let Some(meta) = seen.2.metadata.b.as_mut().filter(|_| !there) {
        meta.path = made(&meta.path);
    }
    seen.2.policy = seen.2.policy.as_deref().map(made);
    format!("{seen:?}")
}

fn name() -> impl Strategy<Value = String> {
    select(vec!["alpha", "node-1", "n2.example", "b", "a"]).prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    select(vec![
        "a.img",
        "./-x.img",
        "dir/with space.img",
        "it's \"here\".img",
        "/dev/vg/lv$HOME",
        "ünïcode*.img",
        "tab\there.img",
        "two\nlines.img",
        "back\\slash`x`.img",
        "../up/a#b.img",
    ])
    .prop_map(str::to_owned)
}

type Given = Vec<String>;

fn option(flag: &'static str, value: impl Strategy<Value = String> + 'static) -> BoxedStrategy<Given> {
    prop_oneof![Just(Vec::new()), value.prop_map(move |value| vec![flag.to_owned(), value])].boxed()
}

fn flag(flag: &'static str) -> BoxedStrategy<Given> {
    any::<bool>().prop_map(move |given| if given { vec![flag.to_owned()] } else { Vec::new() }).boxed()
}

fn options() -> impl Strategy<Value = Given> {
    let meta = || (path(), select(vec!["", ":0", ":17"])).prop_map(|(path, index)| format!("{path}{index}"));
    let roles = || select(vec!["primary", "secondary"]).prop_map(str::to_owned);
    let peers = select(vec!["ssh:root@n2", "exec:unsplit agent 'a b'", "exec:/opt/x \"y z\" --stdio"])
        .prop_map(str::to_owned);
    let all = vec![
        option("--name-a", name()),
        option("--name-b", name()),
        option("--meta-a", meta()),
        option("--meta-b", meta()),
        option("--peer", peers),
        option("--peer-timeout", (1u16..=3600).prop_map(|seconds| seconds.to_string())),
        option("--role-a", roles()),
        option("--role-b", roles()),
        option("--resource", select(vec!["r0", "offline", "vm-101"]).prop_map(str::to_owned)),
        option("--policy", path()),
        option("--threads", (1u16..=256).prop_map(|threads| threads.to_string())),
        option("--rate", select(vec!["50MiB", "4096"]).prop_map(str::to_owned)),
        flag("--as-is-a"),
        flag("--as-is-b"),
        flag("--nice"),
        flag("--no-cache"),
        option("--state-dir", path()),
    ];
    all.prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// From any command about two sides to any other.
    #[test]
    fn a_proposal_about_two_sides_means_what_was_given(
        a in path(),
        b in path(),
        given in options(),
        from in select(vec!["status", "diff", "plan", "resolve", "report"]),
        to in select(vec!["status", "diff", "plan", "resolve", "report"]),
        full in any::<bool>(),
        keep in prop::option::of(name()),
    ) {
        let line: Vec<String> =
            ["unsplit".to_owned(), from.to_owned(), a, b].into_iter().chain(given).collect();
        let first = Cli::try_parse_from(&line).unwrap();
        let seen = about(&first);
        let paths = Pair::new(seen.1[0].clone(), seen.1[1].clone());
        let pair = TwoSides { paths, access: seen.2.clone() };
        let chooses = matches!(to, "plan" | "resolve");
        let mut made = Suggestion::of_pair(&first, to, &pair).flag("--full", full && to != "status");
        if let Some(keep) = keep.as_deref().filter(|_| chooses) {
            made = made.keep(keep);
        }
        let text = made.to_string();
        // A shell of today is enough: no line of it is cut by what a name holds.
        prop_assert!(!text.chars().any(char::is_control), "{text:?}");
        let again = typed(&text);
        let mut wanted = seen;
        wanted.3 = Choice {
            keep: keep.filter(|_| chooses),
            full: full && to != "status",
            no_salvage: false,
        };
        prop_assert_eq!(with_absolute_paths(about(&again)), with_absolute_paths(wanted), "{}", text);
    }

    /// The same about a running resource.
    #[test]
    fn a_proposal_about_a_resource_means_what_was_given(
        given in options(), to in select(vec!["status", "diff", "plan", "resolve"]),
    ) {
        let line: Vec<String> = ["unsplit", "diff", "r0"].map(str::to_owned).into_iter().chain(given).collect();
        let first = Cli::try_parse_from(&line).unwrap();
        let seen = about(&first);
        let text = Suggestion::of_resource(&first, to, "r0", &seen.2).to_string();
        let again = typed(&text);
        let (state_dir, words, options, _) = about(&again);
        prop_assert!(matches!(meant(&words, false, &options), Ok(Target::Resource(_))), "{}", text);
        let shown = |state_dir: PathBuf, options: Access| {
            with_absolute_paths((state_dir, Vec::new(), options, Choice::default()))
        };
        prop_assert_eq!(shown(state_dir, options), shown(seen.0, seen.2), "{}", text);
    }
}

#[test]
fn bytes_that_are_no_text_and_lines_in_names_survive_bash() {
    let path = [b"/mnt/\xff\x1b".as_slice(), b"a\n'b'\\"].concat();
    let word = crate::model::shell::shell_bytes(&path);
    assert!(word.chars().all(|c| c.is_ascii_graphic()), "{word:?}");
    let bash = std::process::Command::new("bash").args(["-c", &format!("printf %s {word}")]).output();
    match bash {
        Ok(said) => assert_eq!(said.stdout, path, "{word}"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            crate::skipped::lacking("bash is not installed");
        }
        Err(error) => panic!("{error}"),
    }
}
