#![no_main]
//! Policy and case files: any text is either a policy (or cases that can be decided) or a list of errors with a place.

use unsplit::format::policy::{case, load};
use unsplit::judge::policy::{Policy, decide};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let policy = match load(text, "fuzz") {
        Ok(policy) => policy,
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            assert!(errors.errors.iter().all(|error| error.line > 0 && error.column > 0));
            assert!(!errors.to_string().is_empty());
            Policy::drbd_defaults()
        }
    };
    if let Ok(cases) = case::load(text, "fuzz") {
        for written in cases {
            let settings = policy.settings_for(&written.resource);
            if let Ok(case) = written.case(settings) {
                assert!(!decide(settings, &case).trace().reasons().is_empty());
            }
        }
    }
});
