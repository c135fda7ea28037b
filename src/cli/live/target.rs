//! What a command is about: a running resource, several, or two sides.
//!
//! | words | with `--peer` | meaning |
//! |---|---|---|
//! | one | | the resource of that name |
//! | two | no | two devices or images here |
//! | two, the second with a `/` | yes | a device or image here, and one on the peer |
//! | two without a `/`, or more than two | yes | resources |
//!
//! Without a peer two words were always two files, also without a `/`; with one the second was always an absolute path. So
//! no command line changes its meaning by this.

use crate::cli::exit::Failure;
use crate::cli::pair::PairOptions;
use crate::model::id::ResourceName;
use crate::model::side::Pair;
use crate::resolver::access::{Access, Target, TwoSides, Wanted};
use clap::Args;
use std::path::{Path, PathBuf};

/// Running resources, or two backing devices or images of one volume.
#[derive(Debug, Clone, Args)]
pub struct TargetArgs {
    /// Running resources, one or more, by name; or two backing devices, snapshots or images, one of each node
    ///
    /// Two words are two files or devices unless --peer is given: then words without a `/` are resources, and A and an
    /// absolute path B are a device here and one there.
    #[arg(value_name = "RESOURCE|A B", required_unless_present = "all")]
    pub words: Vec<PathBuf>,

    /// Every resource of both nodes: diff takes all that are not healthy, plan those that are split; the others get a line
    #[arg(long, conflicts_with = "words")]
    pub all: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub options: PairOptions,
}

/// A running resource, or two backing devices or images of one volume.
#[derive(Debug, Clone, Args)]
pub struct OneTargetArgs {
    /// A running resource; or, with B, backing device, snapshot or image of the first node
    #[arg(value_name = "RESOURCE|A")]
    pub a: PathBuf,

    /// The same of the second node
    #[arg(value_name = "B")]
    pub b: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub options: PairOptions,
}

/// As it was typed.
#[must_use]
pub fn words_of(wanted: &Wanted) -> String {
    match wanted {
        Wanted::All => "--all".to_owned(),
        Wanted::Named(names) => names.iter().map(ResourceName::as_str).collect::<Vec<_>>().join(" "),
    }
}

impl TargetArgs {
    /// What was meant.
    ///
    /// # Errors
    /// See [`meant`].
    pub fn target(&self) -> Result<Target, Failure> {
        meant(&self.words, self.all, &self.options.access())
    }
}

impl OneTargetArgs {
    /// What was meant; never several.
    ///
    /// # Errors
    /// One word that is no resource's name.
    pub fn target(&self) -> Result<Target, Failure> {
        match &self.b {
            Some(b) => Ok(pair(&self.a, b, &self.options.access())),
            None => resource(&self.a).map(Target::Resource),
        }
    }
}

fn pair(a: &Path, b: &Path, access: &Access) -> Target {
    let paths = Pair::new(a.to_owned(), b.to_owned());
    Target::Pair(Box::new(TwoSides { paths, access: access.clone() }))
}

/// Whether a word can only be a path.
fn is_path(word: &Path) -> bool {
    word.to_string_lossy().contains('/')
}

/// What the words of a command line mean, by the table above.
///
/// # Errors
/// Exit code 2: a path among resources, or no name of a resource.
pub fn meant(words: &[PathBuf], all: bool, access: &Access) -> Result<Target, Failure> {
    if all {
        return Ok(Target::Several(Wanted::All));
    }
    match words {
        [] => Err(Failure::usage("say what it is about: a resource, several, two sides, or --all")),
        [one] => resource(one).map(Target::Resource),
        [a, b] if access.peer.is_none() || is_path(b) => Ok(pair(a, b, access)),
        several => {
            if let Some(path) = several.iter().find(|word| is_path(word)) {
                return Err(Failure::usage(format!(
                    "{} is a path, among {} words: resources are named, and of devices or images there are two",
                    path.display(),
                    several.len()
                ))
                .hint(
                    "several resources: their names and --peer; a device here and one there: A B --peer, with B absolute",
                ));
            }
            let mut names = Vec::new();
            for word in several {
                let name = resource(word)?;
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            Ok(Target::Several(Wanted::Named(names)))
        }
    }
}

/// The resource that a single word names.
///
/// # Errors
/// It is a path.
fn resource(word: &Path) -> Result<ResourceName, Failure> {
    let text = word.to_string_lossy();
    ResourceName::new(&text).map_err(|_| {
        Failure::usage(format!(
            "{text} is no resource's name. Two devices or images are compared with each other: give the other node's, too"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        target: TargetArgs,
    }

    fn asked(words: &[&str]) -> Result<Target, Failure> {
        let line = ["x"].iter().chain(words);
        Line::try_parse_from(line).map_err(|error| Failure::usage(error.to_string()))?.target.target()
    }

    fn named(words: &[&str]) -> Vec<String> {
        match asked(words) {
            Ok(Target::Several(Wanted::Named(names))) => names.iter().map(ToString::to_string).collect(),
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn two_words_stay_two_sides_wherever_they_were() {
        for words in [
            &["a.img", "b.img"][..],
            &["r0", "r1"],
            &["/dev/a", "/dev/b"],
            &["a.img", "/dev/b", "--peer", "ssh:n2"],
            &["/dev/a", "/dev/b", "--peer", "ssh:n2"],
            &["/dev/a", "./b", "--peer", "ssh:n2"],
        ] {
            assert!(matches!(asked(words), Ok(Target::Pair(_))), "{words:?}");
        }
    }

    #[test]
    fn names_beside_a_peer_are_resources() {
        assert_eq!(named(&["r0", "r1", "--peer", "ssh:n2"]), ["r0", "r1"]);
        assert_eq!(named(&["r2", "r0", "r2", "r1", "--peer", "ssh:n2"]), ["r2", "r0", "r1"]);
        // The peer is missed later, where the next command can be said.
        assert_eq!(named(&["r0", "r1", "r2"]), ["r0", "r1", "r2"]);
        assert!(matches!(asked(&["r0", "--peer", "ssh:n2"]), Ok(Target::Resource(_))));
        assert!(matches!(asked(&["--all"]), Ok(Target::Several(Wanted::All))));
    }

    #[test]
    fn mixtures_are_refused_with_a_hint() {
        for words in [
            &["/dev/a", "r1", "--peer", "ssh:n2"][..],
            &["r0", "/dev/a", "r1", "--peer", "ssh:n2"],
            &["/dev/a", "/dev/b", "/dev/c"],
        ] {
            let failure = asked(words).unwrap_err();
            assert_eq!(failure.code(), crate::cli::exit::USAGE, "{words:?}");
            assert!(failure.text().contains("is a path") && failure.hint.is_some(), "{}", failure.text());
        }
        for words in [&["r0", "--all"][..], &[]] {
            assert_eq!(asked(words).unwrap_err().code(), crate::cli::exit::USAGE, "{words:?}");
        }
    }
}
