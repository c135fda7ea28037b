//! The stages of the incident line, which every plan goes through in this order, whatever it heals.

use serde::{Deserialize, Serialize};

/// Where on the line a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The peer is proven unable to write.
    Fence,
    /// Writers are kept out.
    Quiesce,
    /// What the plan rests on is looked at again.
    CheckBasis,
    /// What will be overwritten is copied and read back.
    Preserve,
    /// From here on a side may have been changed.
    Overwrite,
    /// The result is compared.
    Verify,
    /// What was changed for the healing's sake is put in order: metadata, policies, roles.
    Tidy,
    /// The incident is closed.
    Record,
}

/// What a step is called, and its stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct StepName {
    /// For people.
    pub word: String,
    /// For everybody else.
    pub stage: Stage,
}

impl StepName {
    /// A step of that stage.
    #[must_use]
    pub fn new(word: &str, stage: Stage) -> StepName {
        StepName { word: word.to_owned(), stage }
    }
}

/// As it stands in a journal. Up to 0.1 no stage was written.
#[derive(Deserialize)]
struct Written {
    word: String,
    stage: Option<Stage>,
}

impl TryFrom<Written> for StepName {
    type Error = String;

    fn try_from(written: Written) -> Result<StepName, String> {
        let Written { word, stage } = written;
        match stage.or_else(|| of_old_word(&word)) {
            Some(stage) => Ok(StepName { word, stage }),
            None => Err(format!("no version wrote a step `{word}` without its stage")),
        }
    }
}

/// The stage of the steps that versions without stages knew. Closed: later steps write theirs.
fn of_old_word(word: &str) -> Option<Stage> {
    Some(match word {
        "quiesce" | "isolate" | "demote" | "promote" => Stage::Quiesce,
        "check-basis" => Stage::CheckBasis,
        "preserve" => Stage::Preserve,
        "mark-inconsistent" | "overwrite" | "invalidate" | "reconnect" | "resync" | "write-back" => {
            Stage::Overwrite
        }
        "verify-relation" | "verify-content" => Stage::Verify,
        "settle-metadata" | "restore-metadata" | "restore-policies" | "connect-others" | "step-down" => {
            Stage::Tidy
        }
        "record" => Stage::Record,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_journals_are_read_and_what_nobody_wrote_is_refused() {
        let read = |text: &str| serde_json::from_str::<StepName>(text);
        assert_eq!(read(r#"{"word":"write-back"}"#).unwrap().stage, Stage::Overwrite);
        assert_eq!(read(r#"{"word":"write-back","stage":"tidy"}"#).unwrap().stage, Stage::Tidy);
        assert_eq!(read(r#"{"word":"new","stage":"fence"}"#).unwrap().stage, Stage::Fence);
        assert!(read(r#"{"word":"new"}"#).unwrap_err().to_string().contains("`new` without its stage"));
        assert!(read(r#"{"word":"quiesce","stage":"else"}"#).is_err());
    }

    #[test]
    fn the_stages_ascend() {
        use Stage::*;
        let line = [Fence, Quiesce, CheckBasis, Preserve, Overwrite, Verify, Tidy, Record];
        assert!(line.is_sorted());
    }
}
