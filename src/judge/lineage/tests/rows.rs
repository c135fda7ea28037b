//! Single rows whose condition or meaning nothing else would miss.

use super::super::compare;
use super::{A, B, C, settings, v08, v09};
use crate::model::lineage::Relation;

/// Each side knows the other's generation as a past one: none is the successor. What else they share decides.
#[test]
fn histories_that_contradict_each_other_make_nobody_the_successor() {
    let found = compare(&v09(A, 0, &[B, 0]), &v09(B, 0, &[A, 0]), &settings()).unwrap();
    assert_eq!((found.name.as_str(), found.relation), ("history-both", Relation::Unrelated), "{found:#?}");
    let found = compare(&v09(A, 0, &[B, C]), &v09(B, 0, &[A, C]), &settings()).unwrap();
    assert_eq!((found.name.as_str(), found.relation), ("history-both", Relation::Diverged), "{found:#?}");
    assert!(!found.common_base);
    // One of them alone is a successor.
    let found = compare(&v09(A, 0, &[B, 0]), &v09(B, 0, &[C, 0]), &settings()).unwrap();
    assert_eq!((found.name.as_str(), found.relation), ("history-self", Relation::Ahead), "{found:#?}");
}

/// Equal generations that DRBD connects have a base in common, which their marks count from; two fresh disks have none.
#[test]
fn a_connection_without_a_sync_has_a_common_base_unless_both_are_fresh() {
    for (pair, name, base) in [
        ((v09(A, 0, &[0, 0]), v09(A, 0, &[0, 0])), "both-off", true),
        ((v09(4, 0, &[0, 0]), v09(4, 0, &[0, 0])), "just-created-both", false),
        ((v08(A, 0, &[0, 0]), v08(A, 0, &[0, 0])), "equal-no-crash", true),
        ((v08(4, 0, &[0, 0]), v08(4, 0, &[0, 0])), "just-created-both", false),
    ] {
        let found = compare(&pair.0, &pair.1, &settings()).unwrap();
        assert_eq!((found.name.as_str(), found.common_base, found.relation), (name, base, Relation::InSync));
    }
}
