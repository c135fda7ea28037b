//! Who does what next: threads that compare, and behind them requests in flight.
//!
//! A portion that is at hand is read and compared by one thread in one go. Any other goes up: both its
//! sides become requests, which threads of their own wait for, so that how many requests a device has to
//! choose from does not depend on how many processors may compare. These threads are made when the first
//! such portion is met, and do nothing but wait. (Rings of the kernel would save them; threads work with any
//! disk, and reach what raw direct reads reach: docs/performance.md, cold.)

use super::aligned::Aligned;
use super::batch::lock;
use super::load::Load;
use super::portion::{FAR_REQUESTS, NEAR_REQUESTS, Portion, Portions};
use super::route::Route;
use super::tally::{Ledger, Tally};
use crate::model::extent::Extent;
use crate::model::side::{Pair, Side};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Buffers of requests in flight may hold this many bytes, less what comparing threads need.
const MEMORY: usize = 40 << 20;
/// A comparing thread's stack, and what the allocator keeps for it.
const THREAD: usize = 96 << 10;
/// Most portions in flight. Long ones are bounded by [`MEMORY`].
const MOST_UP: usize = 32;
/// Findings of at most this many portions wait for an earlier one.
const AHEAD: u64 = 128;
/// So many portions at hand, one after the other, let the next be expected to be, too.
const NEAR_ENOUGH: u32 = 8;
/// Requests up to this many bytes get a buffer of just their size; longer ones share buffers of one size.
const SMALL: usize = 128 << 10;

/// One side of a portion, to be read.
pub(super) struct Request {
    index: u64,
    side: Side,
    route: Arc<Route>,
    buffer: Aligned,
}

/// A portion of which both sides were read.
pub(super) struct Landed {
    pub(super) portion: Portion,
    pub(super) route: Arc<Route>,
    pub(super) loads: Pair<Load>,
    memory: usize,
}

/// A portion in flight.
struct Flight {
    portion: Portion,
    route: Arc<Route>,
    loads: Pair<Option<Load>>,
    memory: usize,
}

/// What a comparing thread is to do.
pub(super) enum Task {
    /// Look at a portion. The number: bytes that needed no look before it.
    Fresh(u64, Option<Portion>),
    /// Compare what was read.
    Landed(Box<Landed>),
    /// Read: nobody else does.
    Read(Request),
    /// Go home.
    Done,
}

struct State<I> {
    portions: Portions<I>,
    /// No further portion will be taken.
    drained: bool,
    taken: u64,
    /// Portions at hand since one was not.
    near: u32,
    ledger: Ledger,
    /// To go up as soon as there is memory.
    parked: VecDeque<(Portion, Arc<Route>)>,
    requests: VecDeque<Request>,
    flights: BTreeMap<u64, Flight>,
    landed: VecDeque<Flight>,
    /// Portions and bytes between going up and being compared.
    up: usize,
    memory: usize,
    free: Vec<Aligned>,
    readers: usize,
    idle: usize,
    no_more_readers: bool,
    /// Threads that wait for a task.
    waiting: usize,
    over: bool,
}

pub(super) struct Floor<I> {
    state: Mutex<State<I>>,
    tasks: Condvar,
    requests: Condvar,
    /// Bytes of a buffer that is shared.
    large: usize,
    /// Most bytes in flight.
    memory: usize,
}

impl<I: Iterator<Item = Extent>> Floor<I> {
    /// `limit`: most bytes that a portion reads of a side. `threads` compare, at most 256.
    pub(super) fn new(runs: I, limit: usize, threads: usize) -> Self {
        let state = State {
            portions: Portions::new(runs, limit as u64),
            drained: false,
            taken: 0,
            near: 0,
            ledger: Ledger::new(),
            parked: VecDeque::new(),
            requests: VecDeque::new(),
            flights: BTreeMap::new(),
            landed: VecDeque::new(),
            up: 0,
            memory: 0,
            free: Vec::new(),
            readers: 0,
            idle: 0,
            no_more_readers: false,
            waiting: 0,
            over: false,
        };
        Floor {
            state: Mutex::new(state),
            tasks: Condvar::new(),
            requests: Condvar::new(),
            large: limit,
            memory: MEMORY - threads.min(256) * THREAD,
        }
    }

    /// What to do next. `skip`: see [`Portions::next`].
    pub(super) fn next(&self, mut skip: impl FnMut(u64) -> u64) -> Task {
        let mut state = lock(&self.state);
        loop {
            if state.over {
                return Task::Done;
            }
            self.rise(&mut state);
            if let Some(flight) = state.landed.pop_front() {
                return Task::Landed(Box::new(flight.land()));
            }
            let room = state.taken < state.ledger.next() + AHEAD;
            if !state.drained && state.parked.is_empty() && room {
                let most = if state.near < NEAR_ENOUGH { FAR_REQUESTS } else { NEAR_REQUESTS };
                let (skipped, portion) = state.portions.next(most, &mut skip);
                match &portion {
                    Some(_) => state.taken += 1,
                    None => state.drained = true,
                }
                return Task::Fresh(skipped, portion);
            }
            if (state.no_more_readers || state.readers == 0)
                && let Some(request) = state.requests.pop_front()
            {
                return Task::Read(request);
            }
            if state.drained && state.ledger.next() == state.taken {
                // Also for those who only wait for requests.
                state.over = true;
                self.tasks.notify_all();
                self.requests.notify_all();
                return Task::Done;
            }
            state.waiting += 1;
            state = self.tasks.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// A portion that is not at hand.
    pub(super) fn send_up(&self, portion: Portion, route: Route) {
        let mut state = lock(&self.state);
        state.near = 0;
        state.parked.push_back((portion, Arc::new(route)));
        self.rise(&mut state);
    }

    /// Sends up what is parked, as far as memory allows.
    fn rise(&self, state: &mut State<I>) {
        while let Some((_, route)) = state.parked.front() {
            let sizes = Pair::from_fn(|side| self.buffer_for(route, side));
            let memory = sizes.a + sizes.b;
            if state.up > 0 && (state.up >= MOST_UP || state.memory + memory > self.memory) {
                return;
            }
            let Some((portion, route)) = state.parked.pop_front() else { return };
            state.up += 1;
            state.memory += memory;
            let index = portion.index;
            let mut loads = Pair::new(None, None);
            for side in Side::BOTH {
                let buffer = match state.free.pop() {
                    Some(buffer) if sizes[side] == self.large => buffer,
                    other => {
                        state.free.extend(other);
                        Aligned::new(sizes[side])
                    }
                };
                if sizes[side] == 0 {
                    loads[side] = Some(Load { buffer, bad: Vec::new() });
                } else {
                    state.requests.push_back(Request { index, side, route: route.clone(), buffer });
                    self.requests.notify_one();
                }
            }
            let flight = Flight { portion, route, loads, memory };
            // At least one side is read: a portion without any is at hand.
            state.flights.insert(index, flight);
        }
    }

    #[allow(clippy::cast_possible_truncation)] // never more than `large`
    fn buffer_for(&self, route: &Route, side: Side) -> usize {
        match route.bytes(side) as usize {
            small if small <= SMALL => small,
            _ => self.large,
        }
    }

    /// Whether another thread should be made that waits for requests; then it must be made, or refused.
    pub(super) fn wants_reader(&self) -> bool {
        let mut state = lock(&self.state);
        let wanted = !state.over
            && !state.no_more_readers
            && state.requests.len() > state.idle
            && state.readers < 2 * MOST_UP;
        if wanted {
            state.readers += 1;
        }
        wanted
    }

    /// A thread that was wanted could not be made.
    pub(super) fn reader_refused(&self) {
        let mut state = lock(&self.state);
        state.readers -= 1;
        state.no_more_readers = true;
        self.tasks.notify_all();
    }

    /// The next request, for a thread that only reads; nothing when all is over.
    pub(super) fn request(&self) -> Option<Request> {
        let mut state = lock(&self.state);
        loop {
            if state.over {
                return None;
            }
            if let Some(request) = state.requests.pop_front() {
                return Some(request);
            }
            state.idle += 1;
            state = self.requests.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// A request was read.
    pub(super) fn arrived(&self, index: u64, side: Side, load: Load) {
        let mut state = lock(&self.state);
        let Some(flight) = state.flights.get_mut(&index) else { return };
        flight.loads[side] = Some(load);
        if flight.loads.a.is_some() && flight.loads.b.is_some() {
            if let Some(flight) = state.flights.remove(&index) {
                state.landed.push_back(flight);
            }
            self.tasks.notify_one();
        }
    }

    /// What landed was compared: its buffers are free.
    pub(super) fn unload(&self, landed: Landed) {
        let mut state = lock(&self.state);
        state.up -= 1;
        state.memory -= landed.memory;
        let Pair { a, b } = landed.loads;
        let large = self.large;
        state.free.extend([a.buffer, b.buffer].into_iter().filter(|buffer| buffer.as_slice().len() == large));
        self.wake(&state);
    }

    /// The findings of a portion that was at hand.
    pub(super) fn enter_near(&self, index: u64, tally: Tally) {
        let mut state = lock(&self.state);
        state.near = state.near.saturating_add(1);
        state.ledger.enter(index, tally);
        self.wake(&state);
    }

    /// The findings of a portion.
    pub(super) fn enter(&self, index: u64, tally: Tally) {
        let mut state = lock(&self.state);
        state.ledger.enter(index, tally);
        self.wake(&state);
    }

    fn wake(&self, state: &MutexGuard<'_, State<I>>) {
        if state.waiting > 0 {
            self.tasks.notify_all();
        }
    }

    /// Everybody goes home.
    pub(super) fn close(&self) {
        lock(&self.state).over = true;
        self.tasks.notify_all();
        self.requests.notify_all();
    }

    pub(super) fn into_ledger(self) -> Ledger {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).ledger
    }
}

impl Flight {
    fn land(self) -> Landed {
        let empty = || Load { buffer: Aligned::new(0), bad: Vec::new() };
        let Flight { portion, route, loads, memory } = self;
        Landed { portion, route, loads: loads.map(|load| load.unwrap_or_else(empty)), memory }
    }
}

impl Request {
    /// Reads it.
    pub(super) fn carry_out(self, disks: Pair<&dyn crate::ports::disk::Disk>) -> (u64, Side, Load) {
        let Request { index, side, route, buffer } = self;
        (index, side, Load::read(disks[side], side, &route, buffer))
    }
}

/// Closes the floor when its thread panics, so that nobody waits for it.
pub(super) struct CloseOnPanic<'f, I: Iterator<Item = Extent>>(pub(super) &'f Floor<I>);

impl<I: Iterator<Item = Extent>> Drop for CloseOnPanic<'_, I> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}
