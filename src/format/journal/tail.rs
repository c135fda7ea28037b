//! Whether what stands at a journal's end can be one record torn by a crash.

use super::{Flaw, MAX_LINE, first_line, intact};

/// `rest` begins with a line that is not intact: line `number`, after record `last`. Fine if one torn append
/// explains it.
///
/// One append writes one line, so the stretch is no longer than a line, and no line of it is a record. A
/// line that only *begins* like a later record was itself begun after the first one had been acknowledged:
/// then the first one is not torn but altered.
pub(super) fn is_torn(rest: &[u8], number: u64, last: u64) -> Result<(), Flaw> {
    // A record after the stretch is better news for whoever repairs the file than the stretch's length.
    for (index, line) in rest.split(|byte| *byte == b'\n').enumerate().skip(1) {
        let fits = line.len() < MAX_LINE;
        if fits && (intact(line).is_some() || begins_later_record(line, last)) {
            return Err(Flaw::Altered { follower: number.saturating_add(index as u64) });
        }
    }
    if rest.len() > MAX_LINE {
        return Err(Flaw::TooLong);
    }
    let (line, _) = first_line(rest);
    if whole_record_in(line).is_some_and(|len| rest.len() > len + 1) {
        return Err(Flaw::Joined);
    }
    Ok(())
}

/// How many bytes at the beginning of the line are a whole record, if some are. Of an append, one more byte
/// may follow: its newline, or what stands in its place.
fn whole_record_in(line: &[u8]) -> Option<usize> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let (seq, check, chain) = (fields.next()?, fields.next()?, fields.next()?);
    let json = fields.next()?;
    let head = line.len() - json.len();
    let mut crc = [seq, b" ", chain, b" "].into_iter().fold(0, crc32c::crc32c_append);
    let mut from = 0;
    // The check at every brace that could be the last one, without reading anything twice.
    for (at, _) in json.iter().enumerate().filter(|(_, byte)| **byte == b'}') {
        crc = crc32c::crc32c_append(crc, &json[from..=at]);
        from = at + 1;
        if format!("{crc:08x}").as_bytes() == check {
            return Some(head + at + 1).filter(|len| intact(&line[..*len]).is_some());
        }
    }
    None
}

/// Whether the line starts with the number of a record that could only be written after record `last + 1`.
fn begins_later_record(line: &[u8], last: u64) -> bool {
    let digits = line.iter().take(21).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || line.get(digits).is_some_and(|byte| *byte != b' ') {
        return false;
    }
    let number: Option<u64> = std::str::from_utf8(&line[..digits]).ok().and_then(|text| text.parse().ok());
    let cut_off = digits == line.len();
    // A number that is itself cut off may be the beginning of any larger one.
    number.is_some_and(|seq| cut_off || seq > last.saturating_add(1))
}
