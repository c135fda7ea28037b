#![no_main]
//! Lists of ranges: any text is a set of ranges or an error that names the line.

use unsplit::format::ranges::parse;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Ok(set) => {
            let again: String = set.iter().map(|run| format!("{} {}\n", run.start, run.len)).collect();
            assert_eq!(parse(&again), Ok(set));
        }
        Err(error) => assert!(error.to_string().starts_with("line ")),
    }
});
