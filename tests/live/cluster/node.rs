//! A node of the cluster as the engine sees it, and its device.

use super::*;

/// A node of the cluster.
pub struct FakeNode {
    pub cluster: Arc<Cluster>,
    pub side: Side,
}

fn unseen(words: &str) -> Unseen {
    Unseen(words.to_owned().into())
}

impl FakeNode {
    fn answers(&self) -> Result<MutexGuard<'_, State>, Unseen> {
        if self.cluster.faults.is_off() {
            return Err(unseen("the power is off"));
        }
        let state = self.cluster.lock();
        if state.hosts[self.side].deaf_until > state.tick {
            return Err(unseen("the agent does not answer"));
        }
        Ok(state)
    }

    /// An act: it may be cut off before or after it was carried out, and then nobody knows.
    fn perform(&self, act: &NodeAct) -> End {
        self.cluster.pass();
        if let Err(error) = self.answers().map(drop) {
            return End::Unknown(Why(error.to_string()));
        }
        let words = format!("{} {act:?}", self.side);
        let end = match self.cluster.faults.next(Op::Write, || words.clone()) {
            Err(error) => End::Unknown(Why(error.to_string())),
            Ok(None) => self.cluster.lock().act(self.side, act),
            Ok(Some(mut verdict)) => {
                let done = verdict.whole || verdict.rng.one_in(2);
                if done {
                    let _ = self.cluster.lock().act(self.side, act);
                }
                End::Unknown(Why(verdict.error.to_string()))
            }
        };
        let mut state = self.cluster.lock();
        state.note(format!("{words}: {end:?}"));
        state.pass(&self.cluster.store);
        end
    }
}

struct Nobody;

impl Claimant for Nobody {
    fn claim(&self) -> Result<Box<dyn Hold>, Unseen> {
        Err(unseen("a live replica is never claimed"))
    }
}

impl Node for FakeNode {
    fn name(&self) -> &NodeName {
        &self.cluster.names[self.side]
    }

    fn state(&self) -> Result<NodeState, Unseen> {
        let state = self.answers()?;
        let host = &state.hosts[self.side];
        let resources = if host.up { vec![state.told(self.side)] } else { Vec::new() };
        Ok(NodeState {
            host: self.name().to_string(),
            machine: Some(host.machine.clone()),
            boot: (!host.hides).then(|| format!("boot-{}", host.boot)),
            taken_at: Stamp(0),
            drbd: DrbdSeen::Told(Live { generation: state.generation, resources }),
        })
    }

    fn log(&self) -> Result<Result<Vec<LogLine>, Why>, Unseen> {
        let state = self.answers()?;
        let lines = (1..).zip(&state.hosts[self.side].kernel);
        Ok(Ok(lines.map(|(at, text)| LogLine { at, text: text.clone() }).collect()))
    }

    fn report(&self) -> Result<NodeReport, Unseen> {
        let AfterSb { zero, one, two } = self.answers()?.hosts[self.side].configured;
        let option = |name: &str, value: AfterSplitBrain| ConfiguredOption {
            name: name.to_owned(),
            value: value.to_string(),
        };
        let configured = Configured {
            resource: "r0".to_owned(),
            volumes: Vec::new(),
            peers: Vec::new(),
            net: vec![
                option("after-sb-0pri", zero),
                option("after-sb-1pri", one),
                option("after-sb-2pri", two),
            ],
        };
        Ok(NodeReport { state: self.state()?, configured: Ok(vec![configured]), log: Ok(Vec::new()) })
    }

    fn users(&self, _: u32) -> Result<Vec<DeviceUser>, Unseen> {
        let state = self.answers()?;
        if state.hosts[self.side].users_unknown {
            return Err(unseen("/proc cannot be read"));
        }
        let user =
            DeviceUser { who: "mounted on /srv".to_owned(), ends_with: Some("umount /srv".to_owned()) };
        Ok(if state.hosts[self.side].held { vec![user] } else { Vec::new() })
    }

    fn replica(&self, backing: &Backing) -> Result<Box<dyn Replica>, Unseen> {
        drop(self.answers()?);
        self.cluster.pass();
        let number: usize =
            backing.data.strip_prefix(&format!("/dev/{}", self.side)).unwrap().parse().unwrap();
        let disk = Arc::clone(&self.cluster.lock().hosts[self.side].volumes[number].disk);
        let place = Some(MetadataPlace::Internal);
        OfflineReplica::over(self.name().clone(), disk, None, place, Some(backing.role), Box::new(Nobody))
            .map(|replica| Box::new(replica) as Box<dyn Replica>)
            .map_err(|error| Unseen(Box::new(error)))
    }
}

impl Operated for FakeNode {
    fn act(&self, act: &NodeAct, _: &Permit<'_>) -> End {
        assert!(!act.needs_a_proof(), "{act:?} without proofs");
        self.perform(act)
    }

    fn discard(&self, toward: &Toward, _: &Standstill, _: &[Preserved], _: &Permit<'_>) -> End {
        self.perform(&NodeAct::Connect { toward: toward.clone(), how: ConnectAs::Victim })
    }

    fn invalidate(
        &self,
        volume: u32,
        minor: u32,
        still: &Standstill,
        _: &[Preserved],
        _: &Permit<'_>,
    ) -> End {
        self.perform(&NodeAct::Invalidate { resource: still.toward().resource.clone(), volume, minor })
    }

    fn promote(&self, peer: &FencedPeer, _: &Permit<'_>) -> End {
        self.perform(&NodeAct::Promote { resource: peer.resource().clone() })
    }

    fn device(&self, minor: u32, _: &Permit<'_>) -> Result<Arc<dyn DiskMut>, Unseen> {
        let state = self.answers()?;
        if state.hosts[self.side].role != Role::Primary {
            return Err(unseen("/dev/drbd0: wrong medium type"));
        }
        let number = minor as usize;
        let below = Arc::clone(&state.hosts[self.side].volumes[number].disk);
        Ok(Arc::new(FakeDevice { cluster: Arc::clone(&self.cluster), side: self.side, number, below }))
    }
}

/// `/dev/drbdN` of a Primary.
struct FakeDevice {
    cluster: Arc<Cluster>,
    side: Side,
    number: usize,
    below: Arc<FakeDisk>,
}

impl FakeDevice {
    fn fault(&self, offset: u64, len: usize, words: String) -> DiskFault {
        DiskFault::Io {
            disk: self.below.name().to_owned(),
            act: "write",
            extent: Extent { start: offset, len: len as u64 },
            source: std::io::Error::other(words),
        }
    }
}

impl Disk for FakeDevice {
    fn name(&self) -> &str {
        self.below.name()
    }

    fn size(&self) -> u64 {
        self.cluster.lock().hosts[self.side].volumes[self.number].size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.below.read_at(offset, buffer)
    }
}

impl DiskMut for FakeDevice {
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
        for (index, bytes) in (0..).zip(buffer.chunks(at(BLOCK))) {
            let verdict = self.cluster.faults.next(Op::Write, || format!("device {offset}"));
            let failed = match verdict {
                Ok(None) => None,
                Ok(Some(verdict)) => Some(verdict.error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = failed {
                return Err(self.fault(offset, buffer.len(), why));
            }
            let mut state = self.cluster.lock();
            if state.hosts[self.side].role != Role::Primary {
                drop(state);
                return Err(self.fault(offset, buffer.len(), "not Primary".to_owned()));
            }
            if state.hosts[self.side.other()].role == Role::Primary && state.unflushed.is_empty() {
                state.broken.push("undo: the peer is Primary, and the first block is written".to_owned());
            }
            let block = offset / BLOCK + index;
            for side in Side::BOTH {
                let old = state.hosts[side].volumes[self.number].block(block);
                state.unflushed.push((side, self.number, block, old));
            }
            let old = state.hosts[self.side].volumes[self.number].block(block);
            if old != bytes && !is_kept(&self.cluster.store.certain(), self.number, block, &old) {
                let words = format!("undo: block {block} of volume {} was not kept before", self.number);
                state.broken.push(words);
            }
            state.write(self.side, self.number, block, bytes, &self.cluster.store);
        }
        self.cluster.pass();
        Ok(())
    }

    fn flush(&self) -> Result<(), DiskFault> {
        let mut state = self.cluster.lock();
        state.unflushed.retain(|(_, number, ..)| *number != self.number);
        Ok(())
    }

    fn as_disk(&self) -> &dyn Disk {
        self
    }
}
