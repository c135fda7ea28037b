//! What was compared, of how much, and what that proves: the same words on every screen and in every report.

use super::screen::Screen;
use crate::model::delta::{Coverage, Uncertain};
use crate::model::size::human;

/// Why blocks that nobody marked may differ all the same.
pub const NO_PROOF: &str = "No marks are no proof: DRBD has left marks out before (LINBIT/drbd#145).";

/// What was compared, in a sentence.
#[must_use]
pub fn scope(seen: Coverage) -> String {
    let (compared, size) = (human(seen.compared), human(seen.size));
    match (seen.whole(), seen.nothing()) {
        (true, _) if seen.compared >= seen.size => format!("Compared all {size} of both sides."),
        (true, _) => format!("Compared {compared} of {size}: the rest could not be read."),
        (false, true) => format!("Compared 0 B of {size}: nothing is marked."),
        (false, false) => format!("Compared the {compared} that either side marked as changed, of {size}."),
    }
}

/// The same with what it does not prove.
#[must_use]
pub fn scope_and_proof(seen: Coverage) -> String {
    if seen.whole() { scope(seen) } else { format!("{} {NO_PROOF}", scope(seen)) }
}

/// The same on a screen, indented.
///
/// # Errors
/// When standard output is closed.
pub fn show(screen: &mut Screen, indent: &str, seen: Coverage) -> std::io::Result<()> {
    screen.line(format!("{indent}{}", scope(seen)))?;
    if seen.whole() { Ok(()) } else { screen.line(format!("{indent}{NO_PROOF}")) }
}

/// The headline over a comparison that found no difference.
#[must_use]
pub fn nothing_differs(seen: Coverage) -> String {
    if seen.nothing() {
        return "Nothing was compared: neither side marks a block as changed.".to_owned();
    }
    if seen.whole() && seen.compared >= seen.size {
        return "The contents are equal.".to_owned();
    }
    format!("What was compared is equal: {} of {}.", human(seen.compared), human(seen.size))
}

/// Why a side may have written what only the other one marked: the end of a sentence.
#[must_use]
pub fn why_doubtful(why: Uncertain) -> &'static str {
    match why {
        Uncertain::HotLog => "its activity log was hot there",
        Uncertain::NoCommonBase => "the two bitmaps do not start from the same generation",
    }
}

/// What a mark proves: who wrote, or, without a common base, no more than who marked.
#[must_use]
pub fn wrote(why: Uncertain) -> &'static str {
    match why {
        Uncertain::HotLog => "written",
        Uncertain::NoCommonBase => "marked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::delta::Scope;

    /// "Equal" without a limit stands only where everything was compared.
    #[test]
    fn equal_is_said_of_what_was_compared() {
        let seen = |scope, compared| Coverage { scope, compared, size: 64 << 20 };
        for (coverage, headline, says) in [
            (
                seen(Scope::Everything, 64 << 20),
                "The contents are equal.",
                "Compared all 64 MiB of both sides.",
            ),
            (
                seen(Scope::Everything, 63 << 20),
                "What was compared is equal: 63 MiB of 64 MiB.",
                "could not be read",
            ),
            (
                seen(Scope::Candidates, 4096),
                "What was compared is equal: 4 KiB of 64 MiB.",
                "of 64 MiB. No marks are no proof",
            ),
            (
                seen(Scope::Candidates, 0),
                "Nothing was compared:",
                "0 B of 64 MiB: nothing is marked. No marks are no proof",
            ),
        ] {
            assert!(nothing_differs(coverage).starts_with(headline), "{}", nothing_differs(coverage));
            assert!(scope_and_proof(coverage).contains(says), "{}", scope_and_proof(coverage));
        }
        let (all, none) = (seen(Scope::Everything, 64 << 20), seen(Scope::Candidates, 0));
        assert!(all.and(&all).whole() && !all.and(&none).whole() && none.and(&none).nothing());
    }
}
