#![no_main]
//! Any messages from the other end, to either role: a session ends, without a panic, and never says that all is well when
//! the peer made things up.
//!
//! The input is a byte for the role, then messages: two bytes for the length (low one first), then the message.

use std::collections::VecDeque;
use std::time::Duration;
use unsplit::digest::link::{LinkOptions, Question, answer, ask};
use unsplit::model::extent::ExtentSet;
use unsplit::model::side::Side;
use unsplit::ports::channel::{ChannelFault, Receiver, Sender};
use unsplit::ports::disk::{Disk, DiskFault};
use unsplit::ports::progress::Silent;

const SIZE: u64 = 70_000;

struct Stripes;

impl Disk for Stripes {
    fn name(&self) -> &str {
        "stripes"
    }
    fn size(&self) -> u64 {
        SIZE
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        for (at, byte) in (offset..).zip(buffer) {
            *byte = (at / 1000) as u8;
        }
        Ok(())
    }
}

struct Nowhere;

impl Sender for Nowhere {
    fn send(&mut self, _: &[u8]) -> Result<(), ChannelFault> {
        Ok(())
    }
    fn flush(&mut self) -> Result<(), ChannelFault> {
        Ok(())
    }
}

struct Script(VecDeque<Vec<u8>>);

impl Receiver for Script {
    fn receive(&mut self) -> Result<Vec<u8>, ChannelFault> {
        self.0.pop_front().ok_or(ChannelFault::Closed)
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((role, mut rest)) = data.split_first() else { return };
    let mut messages = VecDeque::new();
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_le_bytes(*len)).min(after.len());
        let (message, after) = after.split_at(len);
        messages.push_back(message.to_vec());
        rest = after;
    }
    let options = LinkOptions { threads: 1, pulse: Duration::from_secs(60), ..LinkOptions::default() };
    let mut script = Script(messages);
    if role % 2 == 0 {
        let _ = answer(&Stripes, &mut Nowhere, &mut script, &options, &Silent);
    } else {
        let question = Question { size: SIZE, scope: ExtentSet::whole(SIZE), side: Side::A };
        let end = ask(&Stripes, &question, &mut Nowhere, &mut script, &options, &Silent);
        assert!(end.is_err(), "the key has 32 random bytes, so nobody can have known the sums");
    }
});
