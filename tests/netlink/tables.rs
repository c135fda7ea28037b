//! The tables of numbers, against themselves and against what both kernels sent.

use crate::captures::family;
use crate::{DUMPS, NODES};
use drbd_sys::netlink::attribute::{Kind, NESTS, nest};
use drbd_sys::netlink::{MANDATORY, Of, code, command, options, state};
use std::collections::BTreeSet;
use unsplit::format::drbdnl::frame::{Control, frames};
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::words;

#[test]
fn commands_are_those_the_kernels_list() {
    for node in NODES {
        for (number, flags) in family(node).commands {
            let command = command::named(u8::try_from(number).unwrap()).unwrap_or_else(|| panic!("{number}"));
            let other = if node.generation() == Generation::V84 { Of::V9 } else { Of::V84 };
            assert_ne!(command.of, other, "{node:?}: {}", command.name);
            let kind = match flags & 6 {
                2 if command.kind == command::Kind::Read => command::Kind::Read,
                2 => command::Kind::Change,
                4 => command::Kind::Dump,
                _ => command::Kind::DoAndDump,
            };
            assert_eq!(kind, command.kind, "{node:?}: {}", command.name);
        }
    }
}

#[test]
fn every_command_of_the_tables_is_listed_by_its_kernel() {
    for node in NODES {
        let listed: BTreeSet<u32> = family(node).commands.iter().map(|(number, _)| *number).collect();
        let of = if node.generation() == Generation::V84 { Of::V84 } else { Of::V9 };
        for known in command::COMMANDS.iter().filter(|known| known.kind != command::Kind::Notification) {
            if known.of == Of::Both || known.of == of {
                assert!(listed.contains(&u32::from(known.number)), "{node:?} has no {}", known.name);
            }
        }
    }
}

#[test]
fn numbers_stand_once_for_each_generation() {
    let mut nests = BTreeSet::new();
    for nest in NESTS {
        assert!(nests.insert(nest.number), "{}", nest.name);
        for (at, field) in nest.fields.iter().enumerate() {
            let twin = nest.fields[..at].iter().find(|other| other.number == field.number);
            assert!(
                twin.is_none_or(|twin| twin.of != field.of && twin.of != Of::Both && field.of != Of::Both),
                "{}.{}",
                nest.name,
                field.name
            );
            assert!(field.number > 0 && field.number < 0x4000);
        }
    }
    assert_eq!(nests, (1..=34).collect(), "nests have no gap");
}

/// Sizes, generations and mandatory bits of every captured attribute, walked without the decoders.
#[test]
fn captured_attributes_are_as_in_the_tables() {
    fn walk(bytes: &[u8]) -> Vec<(u16, &[u8])> {
        let (mut at, mut found) = (0, Vec::new());
        while at < bytes.len() {
            let length = usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
            found.push((u16::from_ne_bytes([bytes[at + 2], bytes[at + 3]]), &bytes[at + 4..at + length]));
            at += length.next_multiple_of(4);
        }
        found
    }
    let mut fields = 0;
    for node in NODES {
        for file in DUMPS.iter().copied().chain(["events"]) {
            let bytes = node.bytes(&format!("{file}.bin"));
            for frame in
                frames(&bytes).map(Result::unwrap).filter(|frame| frame.control() == Control::Payload)
            {
                for (kind, content) in walk(&frame.body[12..]) {
                    let nest = nest(kind & 0x3fff).unwrap();
                    for (kind, value) in walk(content) {
                        fields += 1;
                        let drbd9 = node.generation() == Generation::V9;
                        let field = nest.field(kind & 0x3fff, drbd9).unwrap();
                        let name = format!("{node:?} {file}: {}.{}", nest.name, field.name);
                        assert_ne!(field.of, if drbd9 { Of::V84 } else { Of::V9 }, "{name}");
                        let size = match field.kind {
                            Kind::Flag => 1,
                            Kind::U32 | Kind::S32 => 4,
                            Kind::U64 => 8,
                            Kind::Text => value.iter().position(|byte| *byte == 0).unwrap() + 1,
                            Kind::Bytes => value.len(),
                        };
                        assert_eq!(value.len(), size, "{name}");
                        if kind & MANDATORY != 0 {
                            assert!(field.mandatory || nest.name == "path_parms", "{name}");
                        }
                    }
                }
            }
        }
    }
    assert!(fields > 2000, "{fields}");
}

/// Every word of a table is a value of the model, and the other way round.
#[test]
fn words_of_tables_and_model_agree() {
    macro_rules! agree {
        ($($table:expr, $model:ident;)*) => { $(
            let table: BTreeSet<&str> = $table.iter().flat_map(|table: &&[(u32, &'static str)]| table.iter().map(|(_, word)| *word)).collect();
            let model: BTreeSet<&str> = words::$model::ALL.iter().filter_map(|value| value.word()).collect();
            assert_eq!(table, model, stringify!($model));
        )* };
    }
    agree! {
        [state::ROLES], Role;
        [state::DISKS_84, state::DISKS_9], DiskState;
        [state::CONNECTIONS], ConnectionState;
        [state::REPLICATIONS], ReplicationState;
        [state::WRITE_ORDERINGS], WriteOrdering;
        [state::NOTICES], NoticeKind;
        [state::REASONS_84], Reason84;
        [options::PROTOCOLS], Protocol;
        [options::AFTER_SPLIT_BRAIN], AfterSplitBrain;
        [options::RESYNC_CONFLICT], ResyncConflict;
        [options::FENCING], Fencing;
        [options::ON_IO_ERROR], OnIoError;
        [options::ON_NO_DATA], OnNoData;
        [options::ON_SUSPENDED_OUTDATED], OnSuspendedOutdated;
        [options::ON_CONGESTION], OnCongestion;
        [options::READ_BALANCING], ReadBalancing;
    }
}

/// 8.4's one row of connection states is the other two, in two words differently.
#[test]
fn rows_of_connection_states_fit() {
    for (number, word) in state::CONNECTIONS_84 {
        let nine =
            drbd_sys::netlink::word(state::CONNECTIONS, *number).filter(|_| *number < state::CONNECTED);
        let split = nine.or(drbd_sys::netlink::word(state::REPLICATIONS, *number)).unwrap();
        let renamed =
            [("WFConnection", "Connecting"), ("WFReportParams", "Off"), ("Connected", "Established")];
        assert!(*word == split || renamed.contains(&(*word, split)), "{number}: {word} {split}");
    }
}

#[test]
fn codes_have_names() {
    assert_eq!(code::name(101), Some(("", "NO_ERROR")));
    assert_eq!(code::name(125), Some(("ERR_", "NET_CONFIGURED")));
    assert_eq!(code::name(-27), Some(("SS_", "HANDSHAKE_DISCONNECT")));
    assert_eq!(code::name(999), None);
    assert!(code::is_success(101) && code::is_success(2) && !code::is_success(0) && !code::is_success(-1));
    let mut seen = BTreeSet::new();
    assert!(code::ERRORS.iter().chain(code::STATE_CHANGES).all(|(code, _)| seen.insert(code)));
}
