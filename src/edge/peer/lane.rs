//! Channels beside the requests of a line: each message needs room that the receiving side gave.

use super::line::{Gone, Line, MAX_LANES};
use crate::format::wire::frame::Kind;
use crate::ports::channel::{ChannelFault, LONGEST_MESSAGE, Receiver, Sender};
use std::collections::VecDeque;
use std::sync::Arc;

/// Messages that may be under way in one direction before the receiving side has taken any.
pub(super) const WINDOW: u32 = 8;

/// One channel, as the line knows it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) inbox: VecDeque<Vec<u8>>,
    /// Messages that may still be sent.
    pub(super) room: u32,
    /// Taken, and not yet told.
    taken: u32,
    pub(super) ended: bool,
    /// What was started on it has ended, or never began: the reply has come.
    pub(super) over: bool,
    /// Nobody receives any more.
    pub(super) deaf: bool,
    halves: u8,
}

/// The sending half of a channel on a line.
pub struct LaneSender {
    line: Arc<Line>,
    id: u32,
}

/// The receiving half.
pub struct LaneReceiver {
    line: Arc<Line>,
    id: u32,
}

/// Opens a channel with this number.
///
/// # Errors
/// [`ChannelFault`], also when too many are open.
pub fn open_lane(line: &Arc<Line>, id: u32) -> Result<(LaneSender, LaneReceiver), ChannelFault> {
    let mut state = line.lock();
    if let Some(gone) = state.gone.clone() {
        return Err(gone.into());
    }
    if state.lanes.len() >= MAX_LANES || state.lanes.contains_key(&id) {
        return Err(ChannelFault::Corrupt("too many channels are open".to_owned()));
    }
    let lane = Lane {
        inbox: VecDeque::new(),
        room: WINDOW,
        taken: 0,
        ended: false,
        over: false,
        deaf: false,
        halves: 2,
    };
    state.lanes.insert(id, lane);
    drop(state);
    Ok((LaneSender { line: Arc::clone(line), id }, LaneReceiver { line: Arc::clone(line), id }))
}

impl Sender for LaneSender {
    fn send(&mut self, message: &[u8]) -> Result<(), ChannelFault> {
        if message.len() > LONGEST_MESSAGE {
            return Err(ChannelFault::TooLong(message.len() as u64));
        }
        let mut state = self.line.lock();
        loop {
            if let Some(gone) = state.gone.clone() {
                return Err(gone.into());
            }
            let Some(lane) = state.lanes.get_mut(&self.id) else { return Err(ChannelFault::Closed) };
            if lane.room > 0 {
                lane.room -= 1;
                state.moved(self.id);
                break;
            }
            // Nobody is left who could take any.
            if lane.over {
                return Err(ChannelFault::Closed);
            }
            state = self.line.wait(state);
        }
        drop(state);
        Ok(self.line.send_frame(self.id, Kind::Message, message, false)?)
    }

    fn flush(&mut self) -> Result<(), ChannelFault> {
        // The writing thread lets nothing lie.
        self.line.gone().map_or(Ok(()), |gone| Err(gone.into()))
    }
}

impl Receiver for LaneReceiver {
    fn receive(&mut self) -> Result<Vec<u8>, ChannelFault> {
        let mut state = self.line.lock();
        loop {
            let Some(lane) = state.lanes.get_mut(&self.id) else { return Err(ChannelFault::Closed) };
            if let Some(message) = lane.inbox.pop_front() {
                lane.taken += 1;
                let told = if lane.taken >= WINDOW / 2 { std::mem::take(&mut lane.taken) } else { 0 };
                drop(state);
                if told > 0 {
                    // A line that is gone is noticed by the next message.
                    let _ = self.line.send_frame(self.id, Kind::Credit, &told.to_le_bytes(), true);
                }
                return Ok(message);
            }
            if lane.ended || lane.over {
                return Err(ChannelFault::Closed);
            }
            if let Some(gone) = state.gone.clone() {
                return Err(gone.into());
            }
            state = self.line.wait(state);
        }
    }
}

impl Drop for LaneSender {
    fn drop(&mut self) {
        let _ = self.line.send_frame(self.id, Kind::End, &[], true);
        half_gone(&self.line, self.id);
    }
}

impl Drop for LaneReceiver {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        let mut room = 0;
        if let Some(lane) = state.lanes.get_mut(&self.id) {
            lane.deaf = true;
            room = lane.taken + u32::try_from(lane.inbox.len()).unwrap_or(WINDOW);
            lane.inbox.clear();
        }
        drop(state);
        if room > 0 {
            let _ = self.line.send_frame(self.id, Kind::Credit, &room.to_le_bytes(), true);
        }
        half_gone(&self.line, self.id);
    }
}

fn half_gone(line: &Line, id: u32) {
    let mut state = line.lock();
    if let Some(lane) = state.lanes.get_mut(&id) {
        lane.halves -= 1;
        if lane.halves == 0 {
            state.lanes.remove(&id);
        }
    }
    drop(state);
    line.wake();
}

impl From<Gone> for String {
    fn from(gone: Gone) -> String {
        gone.to_string()
    }
}
