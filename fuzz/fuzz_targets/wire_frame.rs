#![no_main]
//! Any bytes as what a peer sends: a greeting, a frame, a request, a reply, packed contents. Nothing panics, nothing is
//! longer than it may be, and what is understood says the same when it is sent again.

use unsplit::format::wire::content::{Coding, pack, unpack};
use unsplit::format::wire::control::{Reply, Request, document_bytes, parse_document};
use unsplit::format::wire::frame::{HEADER, LONGEST_PAYLOAD, header_for, parse_header};
use unsplit::format::wire::hello::{LONGEST, PREAMBLE, hello_bytes, parse_hello, parse_preamble};

/// Objects in a document.
const OBJECTS: usize = 1000;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((preamble, rest)) = data.split_first_chunk::<PREAMBLE>() {
        if let Ok((_, len)) = parse_preamble(preamble) {
            assert!(len <= LONGEST + 4);
        }
        if let Ok(hello) = parse_hello(preamble, rest) {
            let bytes = hello_bytes(&hello);
            let (preamble, rest) = bytes.split_first_chunk::<PREAMBLE>().expect("it is longer");
            assert_eq!(parse_hello(preamble, rest), Ok(hello));
        }
    }
    if let Some((header, payload)) = data.split_first_chunk::<HEADER>()
        && let Ok(header) = parse_header(header)
    {
        assert!(header.len <= LONGEST_PAYLOAD);
        if header.check(payload).is_ok() {
            let again = header_for(header.id, header.kind, payload).expect("it was one");
            assert_eq!(again[..], data[..HEADER]);
        }
    }
    if let Ok((request, beside)) = parse_document::<Request>(data.to_vec(), OBJECTS) {
        let again = document_bytes(&request, &beside).expect("what was read can be written");
        let read = parse_document::<Request>(again, OBJECTS).expect("what was written can be read");
        assert_eq!(read, (request, beside));
    }
    if let Ok((reply, beside)) = parse_document::<Reply>(data.to_vec(), OBJECTS) {
        let again = document_bytes(&reply, &beside).expect("what was read can be written");
        let read = parse_document::<Reply>(again, OBJECTS).expect("what was written can be read");
        assert_eq!(read, (reply, beside));
    }
    let Some((how, packed)) = data.split_first() else { return };
    let mut out = vec![0; usize::from(*how) * 257];
    for coding in [Coding::Raw, Coding::Zero, Coding::Sparse, Coding::Zstd] {
        let _ = unpack(coding, packed, &mut out);
    }
    let (coding, sent, _) = pack(packed, how % 2 == 0);
    let mut back = vec![1; packed.len()];
    unpack(coding, &sent, &mut back).expect("what was packed unpacks");
    assert!(back == packed);
});
