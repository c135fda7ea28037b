//! A kernel made of captures: answers questions, loses and damages them on demand, and sends notifications.

use crate::Node;
use drbd_sys::netlink::{command, generic as sys};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;
use unsplit::edge::drbd::netlink::socket::{Open, Wire, WireFault};

/// What a socket gives.
#[derive(Debug, Clone)]
pub enum Given {
    Bytes(Vec<u8>),
    Lost,
    Silence,
}

/// A request, as the kernel sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub family: u16,
    pub command: u8,
    pub sequence: u32,
    /// Of the controller: the second family is asked for.
    pub second: bool,
}

/// Where the second family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    Beside,
    Alone,
}

type Answer = Box<dyn FnMut(Asked, &World) -> Vec<Given>>;

#[derive(Default)]
pub struct World {
    /// The loaded module.
    pub loaded: Option<Node>,
    /// What the module says of its own version.
    pub version: Option<&'static str>,
    /// The second family is there, too, or alone.
    pub second: Option<Second>,
    /// Added to the captured family and group ids, as loading again does.
    pub shift: u16,
    /// Every request so far.
    pub asked: Vec<Asked>,
    /// Groups that somebody joined.
    pub joined: Vec<u32>,
    /// What the joined sockets hear.
    pub multicast: VecDeque<Given>,
    /// How many sockets were opened.
    pub opened: usize,
}

/// Patches numbers into captured messages: sequence of the request, shifted family.
pub fn patched(mut bytes: Vec<u8>, sequence: u32, shift: u16) -> Vec<u8> {
    let mut at = 0;
    while at + 16 <= bytes.len() {
        let length = u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let family = u16::from_ne_bytes(bytes[at + 4..at + 6].try_into().unwrap());
        if family > sys::GENL_ID_CTRL {
            bytes[at + 4..at + 6].copy_from_slice(&(family + shift).to_ne_bytes());
        }
        bytes[at + 8..at + 12].copy_from_slice(&sequence.to_ne_bytes());
        at += length.next_multiple_of(4);
    }
    bytes
}

/// A control message.
pub fn control(kind: u16, errno: i32, sequence: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&20u32.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&0u16.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    out.extend_from_slice(&(-errno).to_ne_bytes());
    out
}

/// The description of a family as that of the second one: its name fits into the same place.
fn second(mut family: Vec<u8>) -> Vec<u8> {
    let name = b"\x09\0\x02\0drbd\0\0\0\0";
    let at = family.windows(name.len()).position(|run| run == name).unwrap();
    family[at..at + name.len()].copy_from_slice(b"\x0a\0\x02\0drbd2\0\0\0");
    family
}

impl World {
    /// What a kernel with the loaded module answers.
    pub fn honest(&self, asked: Asked) -> Vec<Given> {
        let refuse = |errno| vec![Given::Bytes(control(sys::NLMSG_ERROR, errno, asked.sequence))];
        let Some(node) = self.loaded else { return refuse(sys::ENOENT) };
        if asked.family == sys::GENL_ID_CTRL {
            let there = if asked.second { self.second.is_some() } else { self.second != Some(Second::Alone) };
            if !there {
                return refuse(sys::ENOENT);
            }
            let family = self.family(asked.sequence);
            return vec![Given::Bytes(if asked.second { second(family) } else { family })];
        }
        let captured = crate::captures::family(node);
        if asked.family != captured.id + self.shift {
            return refuse(sys::ENOENT);
        }
        let file = match asked.command {
            command::GET_RESOURCES => "get-resources.bin",
            command::GET_DEVICES => "get-devices.bin",
            command::GET_CONNECTIONS => "get-connections.bin",
            command::GET_PEER_DEVICES => "get-peer-devices.bin",
            command::GET_INITIAL_STATE => "get-initial-state.bin",
            // Not captured: empty.
            command::GET_PATHS | command::GET_STATUS => {
                return vec![Given::Bytes(control(sys::NLMSG_DONE, 0, asked.sequence))];
            }
            _ => return refuse(sys::EOPNOTSUPP),
        };
        // One datagram for each message, as a dump may come.
        let bytes = patched(node.bytes(file), asked.sequence, self.shift);
        let mut parts = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let length = u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            parts.push(Given::Bytes(bytes[at..at + length].to_vec()));
            at += length.next_multiple_of(4);
        }
        parts
    }

    /// The controller's description of the loaded module, as an answer or (with number 0) as an announcement.
    pub fn family(&self, sequence: u32) -> Vec<u8> {
        let node = self.loaded.unwrap();
        let mut bytes = patched(node.bytes("getfamily.bin"), sequence, 0);
        // The family id stands behind the name, the group id and name at the end.
        let captured = crate::captures::family(node);
        let id_at = bytes
            .windows(6)
            .position(|run| run[..4] == [6, 0, 1, 0] && run[4..] == captured.id.to_ne_bytes());
        let id_at = id_at.unwrap() + 4;
        bytes[id_at..id_at + 2].copy_from_slice(&(captured.id + self.shift).to_ne_bytes());
        let group = captured.groups[0].1;
        let group_at = bytes.len() - 12 - 4;
        assert_eq!(bytes[group_at..group_at + 4], group.to_ne_bytes());
        bytes[group_at..group_at + 4].copy_from_slice(&(group + u32::from(self.shift)).to_ne_bytes());
        bytes
    }
}

/// Opens sockets of a fake kernel.
#[derive(Clone)]
pub struct Fake {
    pub world: Rc<RefCell<World>>,
    answer: Rc<RefCell<Answer>>,
}

impl Fake {
    /// A kernel that answers honestly.
    pub fn honest(loaded: Option<Node>) -> Fake {
        Fake::with(loaded, |asked, world| world.honest(asked))
    }

    /// A kernel that answers as told.
    pub fn with(loaded: Option<Node>, answer: impl FnMut(Asked, &World) -> Vec<Given> + 'static) -> Fake {
        let world = World { loaded, ..World::default() };
        Fake { world: Rc::new(RefCell::new(world)), answer: Rc::new(RefCell::new(Box::new(answer))) }
    }

    pub fn commands(&self) -> Vec<u8> {
        self.world.borrow().asked.iter().map(|asked| asked.command).collect()
    }

    pub fn send_to_all(&self, given: Given) {
        self.world.borrow_mut().multicast.push_back(given);
    }
}

impl Open for Fake {
    type Wire = FakeWire;

    fn open(&mut self) -> Result<FakeWire, WireFault> {
        self.world.borrow_mut().opened += 1;
        Ok(FakeWire { fake: self.clone(), inbox: VecDeque::new(), joined: false })
    }

    fn module_version(&mut self) -> Result<Option<String>, WireFault> {
        Ok(self.world.borrow().version.map(str::to_owned))
    }
}

pub struct FakeWire {
    fake: Fake,
    inbox: VecDeque<Given>,
    joined: bool,
}

impl Wire for FakeWire {
    fn send(&mut self, message: &[u8]) -> Result<(), WireFault> {
        assert_eq!(u32::from_ne_bytes(message[..4].try_into().unwrap()) as usize, message.len());
        assert_eq!(message.len() % 4, 0);
        let asked = Asked {
            family: u16::from_ne_bytes(message[4..6].try_into().unwrap()),
            sequence: u32::from_ne_bytes(message[8..12].try_into().unwrap()),
            command: message[16],
            second: message.ends_with(b"drbd2\0\0\0"),
        };
        self.fake.world.borrow_mut().asked.push(asked);
        let given = (self.fake.answer.borrow_mut())(asked, &self.fake.world.borrow());
        self.inbox.extend(given);
        Ok(())
    }

    fn receive(&mut self, _until: Instant) -> Result<Vec<u8>, WireFault> {
        let given = if self.joined {
            self.fake.world.borrow_mut().multicast.pop_front()
        } else {
            self.inbox.pop_front()
        };
        match given {
            Some(Given::Bytes(bytes)) => Ok(bytes),
            Some(Given::Lost) => Err(WireFault::Lost),
            Some(Given::Silence) | None => Err(WireFault::TimedOut),
        }
    }

    fn join(&mut self, group: u32) -> Result<(), WireFault> {
        self.joined = true;
        self.fake.world.borrow_mut().joined.push(group);
        Ok(())
    }
}
