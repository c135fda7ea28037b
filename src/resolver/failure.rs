//! Why a use case did not come to its end, what kind of reason that is, and what to do next.

/// What kind of reason. The command line has an exit code for each; a daemon parks, waits or reports by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for makes no sense, or a policy file is wrong.
    Usage,
    /// The policy holds or refuses: a person must decide.
    Held,
    /// Evidence is missing, damaged or stale.
    Evidence,
    /// Somebody else may write: fencing or quiescence is not proven.
    NotFenced,
    /// The incident is parked and waits for a person.
    Parked,
    /// Something went wrong inside unsplit or its state directory.
    Internal,
}

/// It failed: the kind, the error with its causes, and what to do next.
#[derive(Debug)]
pub struct Failure {
    /// What kind of reason.
    pub kind: Kind,
    /// What went wrong.
    pub error: anyhow::Error,
    /// What a person can do, where there is something: each line of it can be pasted by itself.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Failure { kind, error: error.into(), hint: None }
    }

    /// A failure of unsplit itself or its state directory.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        Failure::new(Kind::Internal, error)
    }

    /// Evidence is missing, damaged or stale.
    pub fn evidence(error: impl Into<anyhow::Error>) -> Self {
        Failure::new(Kind::Evidence, error)
    }

    /// What was asked for makes no sense.
    #[must_use]
    pub fn usage(text: impl Into<String>) -> Self {
        Failure::new(Kind::Usage, anyhow::Error::msg(text.into()))
    }

    /// The same, with what to do next. Each line of it can be pasted by itself.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
