//! Reads what `drbdmeta dump-md` prints. Independent of the code under test.

use std::collections::BTreeMap;

/// A dump's content.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Dump {
    pub(crate) version: String,
    /// Scalars by keyword, comments included: `la-size-sect`, `md_size_sect`, `flags`, ...
    pub(crate) numbers: BTreeMap<String, i128>,
    /// v08: current, bitmap, history. v09: history only.
    pub(crate) uuids: Vec<u64>,
    /// v09: by node id.
    pub(crate) peers: Vec<BTreeMap<String, i128>>,
    /// 64-bit words by slot.
    pub(crate) bitmaps: Vec<Vec<u64>>,
    pub(crate) unclean: bool,
}

fn number(text: &str) -> Option<i128> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => i128::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Dump {
    pub(crate) fn parse(text: &str) -> Dump {
        let mut dump = Dump::default();
        let mut block = String::new();
        // Captures hold what went to stderr, too.
        let noise = |line: &&str| line.starts_with("ioctl(") || line.starts_with("Found meta data");
        for line in text.lines().filter(|line| !noise(line)).map(str::trim) {
            let (comment, body) = match line.strip_prefix('#') {
                Some(rest) => (true, rest.trim()),
                None => (false, line.split('#').next().unwrap().trim()),
            };
            if body.starts_with("This_is_an_unclean") {
                dump.unclean = true;
            } else if body.ends_with('{') {
                block = body.trim_end_matches('{').trim().to_owned();
                if block.starts_with("peer[") {
                    dump.peers.push(BTreeMap::new());
                } else if block.starts_with("bm") || block.starts_with("bitmap") {
                    dump.bitmaps.push(Vec::new());
                }
            } else if body == "}" {
                block.clear();
            } else if comment {
                let mut words = body.trim_end_matches(';').split_whitespace();
                if let (Some(key), Some(value), None) = (words.next(), words.next(), words.next())
                    && let Some(value) = number(value)
                {
                    dump.numbers.insert(key.to_owned(), value);
                }
            } else {
                for statement in body.split(';').map(str::trim).filter(|word| !word.is_empty()) {
                    dump.statement(&block, statement);
                }
            }
        }
        dump
    }

    fn statement(&mut self, block: &str, statement: &str) {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let in_bitmap = block.starts_with("bm") || block.starts_with("bitmap");
        match words.as_slice() {
            ["version", quoted] => self.version = quoted.trim_matches('"').to_owned(),
            [count, "times", word] if in_bitmap => {
                let word = number(word).unwrap() as u64;
                let bitmap = self.bitmaps.last_mut().unwrap();
                bitmap.resize(bitmap.len() + count.parse::<usize>().unwrap(), word);
            }
            [word] if in_bitmap => self.bitmaps.last_mut().unwrap().push(number(word).unwrap() as u64),
            [word] if block == "uuid" || block == "history-uuids" => {
                self.uuids.push(number(word).unwrap() as u64);
            }
            [key, value] if block.starts_with("peer[") => {
                self.peers.last_mut().unwrap().insert((*key).to_owned(), number(value).unwrap());
            }
            [key, value] => {
                self.numbers.insert((*key).to_owned(), number(value).unwrap());
            }
            other => panic!("unknown statement in a dump: {other:?}"),
        }
    }

    pub(crate) fn get(&self, key: &str) -> i128 {
        *self.numbers.get(key).unwrap_or_else(|| panic!("the dump has no `{key}`"))
    }

    /// Numbers of the bits set in a slot, as far as they mean something (`apply-al` marks whole 4 MiB extents, also
    /// behind the end).
    pub(crate) fn set_bits(&self, slot: usize) -> Vec<u64> {
        let sectors = u64::try_from(self.get("la-size-sect")).unwrap();
        let limit = if sectors == 0 { u64::MAX } else { sectors.div_ceil(8) };
        let mut bits = Vec::new();
        for (i, word) in self.bitmaps[slot].iter().enumerate() {
            bits.extend((0..64).filter(|bit| word >> bit & 1 == 1).map(|bit| i as u64 * 64 + bit));
        }
        bits.retain(|bit| *bit < limit);
        bits
    }
}
