//! What happens between the two nodes, tick by tick.

use super::*;

impl State {
    pub(super) fn note(&mut self, words: impl Into<String>) {
        let line = format!("{:>4} {}", self.tick, words.into());
        self.log.push(line);
    }

    /// Both kernels log it, each in its form.
    pub(super) fn both_log(&mut self, text: &str) {
        self.note(text);
        Side::BOTH.into_iter().for_each(|side| self.kernel_logs(side, text));
    }

    pub(super) fn kernel_logs(&mut self, side: Side, text: &str) {
        let line = match self.generation {
            Generation::V84 => format!("block drbd0: {text}"),
            Generation::V9 => {
                let peer = if side == Side::A { "node2" } else { "node1" };
                format!("drbd r0/0 drbd0 {peer}: {text}")
            }
        };
        self.hosts[side].kernel.push(line);
    }

    pub(super) fn alone(&mut self, side: Side) {
        let v84 = self.generation == Generation::V84;
        let host = &mut self.hosts[side];
        host.connection = ConnectionState::StandAlone;
        host.volumes.iter_mut().for_each(|volume| volume.replication = ReplicationState::Off);
        if v84 {
            host.discard = false;
        }
    }

    /// The other end notices that it is alone, and waits.
    pub(super) fn wait_again(&mut self, side: Side) {
        let host = &mut self.hosts[side];
        if host.connection == ConnectionState::Connected {
            host.connection = ConnectionState::Connecting;
            host.volumes.iter_mut().for_each(|volume| volume.replication = ReplicationState::Off);
        }
    }

    pub(super) fn handshake(&mut self) {
        let both = |state: ConnectionState, hosts: &Pair<Host>| {
            Side::BOTH.into_iter().all(|side| hosts[side].up && hosts[side].connection == state)
        };
        if !self.link || !both(ConnectionState::Connecting, &self.hosts) {
            return;
        }
        if self.handshakes_that_break > 0 && self.rng.one_in(2) {
            self.handshakes_that_break -= 1;
            self.note("the link breaks in the handshake");
            self.hosts.a.discard = false;
            self.hosts.b.discard = false;
            return;
        }
        if self.hosts.a.policies != self.hosts.b.policies {
            self.both_log("incompatible after-sb settings");
            return Side::BOTH.into_iter().for_each(|side| self.alone(side));
        }
        if self.hosts.a.discard && self.hosts.b.discard {
            self.both_log("incompatible discard-my-data settings");
            return Side::BOTH.into_iter().for_each(|side| self.alone(side));
        }
        let mut sources = Vec::new();
        for number in 0..self.hosts.a.volumes.len() {
            let (a, b) = (&self.hosts.a.volumes[number], &self.hosts.b.volumes[number]);
            let found = row(a, b);
            let by_disk = match (a.state, b.state) {
                (DiskState::Inconsistent, DiskState::UpToDate) => Some(Side::B),
                (DiskState::UpToDate, DiskState::Inconsistent) => Some(Side::A),
                _ => None,
            };
            let nine = self.generation == Generation::V9;
            let decided = match (by_disk, found) {
                (_, Row::Unrelated) => Err("Unrelated data"),
                (Some(source), Row::Split { base: false }) => Ok(Some((source, true))),
                (Some(source), Row::Ahead { full, .. }) => Ok(Some((source, full))),
                (Some(source), _) => Ok(Some((source, false))),
                (None, Row::Equal) => Ok(None),
                // 9 turns an ordinary resync round when the newer side gives up its data; 8.4 does not.
                (None, Row::Ahead { side, full }) => {
                    let gives_up = nine && self.hosts[side].discard && !self.hosts[side.other()].discard;
                    Ok(Some((if gives_up { side.other() } else { side }, full)))
                }
                (None, Row::Split { base }) => match (self.hosts.a.discard, self.hosts.b.discard) {
                    (true, false) => Ok(Some((Side::B, nine && !base))),
                    (false, true) => Ok(Some((Side::A, nine && !base))),
                    _ => Err("Split-Brain detected but unresolved"),
                },
            };
            let target_is_primary =
                matches!(decided, Ok(Some((source, _))) if self.hosts[source.other()].role == Role::Primary);
            match decided {
                Ok(_) if target_is_primary => {
                    self.both_log("I shall become SyncTarget, but I am primary!");
                    return Side::BOTH.into_iter().for_each(|side| self.alone(side));
                }
                Ok(source) => sources.push(source),
                Err(why) => {
                    self.both_log(why);
                    return Side::BOTH.into_iter().for_each(|side| self.alone(side));
                }
            }
        }
        if self.hosts.a.role == Role::Primary && self.hosts.b.role == Role::Primary {
            self.both_log("Multiple primaries not allowed by config");
            return Side::BOTH.into_iter().for_each(|side| self.alone(side));
        }
        self.note(format!("handshake: sources {sources:?}"));
        for side in Side::BOTH {
            self.hosts[side].connection = ConnectionState::Connected;
            self.hosts[side].discard = false;
        }
        if let Some(target) = sources.iter().flatten().next().map(|(source, _)| source.other())
            && (self.hosts[target].refuses != 0 || self.exchanges_that_break > 0)
        {
            for (number, source) in sources.iter().enumerate().filter_map(|(at, one)| Some((at, (*one)?.0))) {
                self.hosts[source].volumes[number].replication = ReplicationState::WFBitMapS;
                self.hosts[source.other()].volumes[number].replication = ReplicationState::WFBitMapT;
            }
            let ticks = self.rng.below(4);
            self.exchanging = Some((ticks, target, sources));
            return;
        }
        for (number, source) in sources.into_iter().enumerate() {
            match source {
                None => {
                    for side in Side::BOTH {
                        self.hosts[side].volumes[number].replication = ReplicationState::Established;
                    }
                }
                Some((source, full)) => self.begin_resync(number, source, full),
            }
        }
        self.hosts.a.persist();
        self.hosts.b.persist();
    }

    /// Both have each other's bitmap, and there it ends: the target's handler refuses, or the link breaks. 9 leaves the generations, 8.4
    /// has given the target its new one.
    fn exchange_only(&mut self, target: Side, sources: &[Option<(Side, bool)>], store: &Arc<FakeStore>) {
        if Side::BOTH.into_iter().any(|side| self.hosts[side].connection != ConnectionState::Connected) {
            return;
        }
        for (number, source) in sources.iter().enumerate() {
            let Some((source, full)) = *source else { continue };
            let target = source.other();
            let before = self.hosts[target].volumes[number].state;
            let own = self.hosts[target].volumes[number].metadata.told.current;
            if number < self.hosts[target].refuses_from && self.hosts[target].refuses != 0 {
                // Its own handler let it begin, and the first blocks were copied.
                self.begin_resync(number, source, full);
                self.copy_some(number, source, 2, store);
                continue;
            }
            if self.generation == Generation::V84 {
                self.begin_resync(number, source, full);
            } else {
                let union = self.union(number, full);
                for side in Side::BOTH {
                    self.hosts[side].volumes[number].bits.clone_from(&union);
                }
                if full {
                    self.hosts[source].volumes[number].metadata.set_bitmap_uuid(own);
                }
            }
            let inconsistent = before == DiskState::Inconsistent;
            self.hosts[target].volumes[number].state =
                if inconsistent { DiskState::Inconsistent } else { DiskState::Outdated };
        }
        let code = self.hosts[target].refuses;
        if code == 0 {
            self.exchanges_that_break = self.exchanges_that_break.saturating_sub(1);
            self.both_log("conn( Connected -> NetworkFailure )");
            Side::BOTH.into_iter().for_each(|side| self.wait_again(side));
        } else {
            self.note(format!("the handler on {target} ends with {code}"));
            let helper = "helper command: /sbin/drbdadm before-resync-target";
            self.kernel_logs(target, &format!("{helper} exit code {code} (0x{:x})", code << 8));
            self.kernel_logs(
                target,
                &format!("before-resync-target handler returned {code}, dropping connection."),
            );
            self.alone(target);
            self.wait_again(target.other());
        }
        self.hosts.a.persist();
        self.hosts.b.persist();
    }

    fn union(&self, number: usize, full: bool) -> BTreeSet<u64> {
        if full {
            return (0..self.hosts.a.volumes[number].blocks()).collect();
        }
        let bits = |side: Side| self.hosts[side].volumes[number].bits.iter().copied();
        bits(Side::A).chain(bits(Side::B)).collect()
    }

    pub(super) fn begin_resync(&mut self, number: usize, source: Side, full: bool) {
        let target = source.other();
        // Once the two were equal, and as long as the survivor holds nothing that only it wrote, it may be behind by right.
        let by_right = self.joined.contains(&number) && self.hosts[target].volumes[number].own.is_empty();
        if target == self.survivor && !self.turned_by_others && !by_right {
            self.broken.push(format!("volume {number}: the survivor is overwritten"));
        }
        let union = self.union(number, full);
        let sync = uuid(&mut self.rng);
        {
            let from = &mut self.hosts[source].volumes[number];
            from.push_history(from.metadata.bitmap_uuid());
            from.metadata.set_bitmap_uuid(sync);
            from.bits.clone_from(&union);
            from.replication = ReplicationState::SyncSource;
        }
        let to = &mut self.hosts[target].volumes[number];
        to.metadata.told.current = sync;
        to.metadata.set_bitmap_uuid(GenerationUuid::UNSET);
        to.bits = union;
        to.state = DiskState::Inconsistent;
        to.replication = ReplicationState::SyncTarget;
    }

    pub(super) fn copy(&mut self, number: usize, source: Side, block: u64, store: &Arc<FakeStore>) {
        let new = self.hosts[source].volumes[number].block(block);
        self.overwrite(number, source.other(), block, &new, true, store);
    }

    /// A block of a node is overwritten with what its peer holds: by a resync, or because a guest of the peer writes there, who means it.
    /// If it held something of its own, or a resync takes what no guest wrote over, that must have been kept.
    pub(super) fn overwrite(
        &mut self,
        number: usize,
        target: Side,
        block: u64,
        new: &[u8],
        by_resync: bool,
        store: &Arc<FakeStore>,
    ) {
        let volume = &mut self.hosts[target].volumes[number];
        let old = volume.block(block);
        volume.put(block, new);
        volume.truth[at(block * BLOCK)..at((block + 1) * BLOCK)].copy_from_slice(new);
        if old == new {
            return;
        }
        self.overwritten += 1;
        let own = self.hosts[target].volumes[number].own.contains(&block);
        let rewritten = self.late.contains(&(number, block)) || self.joined.contains(&number);
        // What somebody else lets DRBD do to the survivor is not unsplit's.
        let others_do = self.turned_by_others && target == self.survivor;
        let precious = self.undoing || (!others_do && (own || (by_resync && !rewritten)));
        if precious && !is_kept(&store.certain(), number, block, &old) {
            let words =
                format!("volume {number}: block {block} of {target} was overwritten and is in no salvage");
            self.note(words.clone());
            self.broken.push(words);
        }
        self.hosts[target].volumes[number].own.remove(&block);
    }

    fn copy_some(&mut self, number: usize, source: Side, many: usize, store: &Arc<FakeStore>) {
        let some: Vec<u64> = self.hosts[source].volumes[number].bits.iter().copied().take(many).collect();
        for block in some {
            self.copy(number, source, block, store);
            self.hosts.a.volumes[number].bits.remove(&block);
            self.hosts.b.volumes[number].bits.remove(&block);
        }
    }

    pub(super) fn resync(&mut self, store: &Arc<FakeStore>) {
        if self.hosts.a.connection != ConnectionState::Connected {
            return;
        }
        for number in 0..self.hosts.a.volumes.len() {
            let of = |side: Side| self.hosts[side].volumes[number].replication;
            let Some(source) = Side::BOTH.into_iter().find(|side| of(*side) == ReplicationState::SyncSource)
            else {
                continue;
            };
            if source != self.survivor && self.held_back > 0 {
                self.held_back -= 1;
                continue;
            }
            let many = 1 + at(self.rng.below(24));
            self.copy_some(number, source, many, store);
            if self.hosts[source].volumes[number].bits.is_empty() {
                self.note(format!("volume {number}: resync done"));
                self.joined.insert(number);
                let from = &mut self.hosts[source].volumes[number];
                let sync = from.metadata.bitmap_uuid();
                from.push_history(sync);
                from.metadata.set_bitmap_uuid(GenerationUuid::UNSET);
                from.replication = ReplicationState::Established;
                from.own.clear();
                let (current, history) = (from.metadata.told.current, from.metadata.told.history.clone());
                let to = &mut self.hosts[source.other()].volumes[number];
                to.metadata.told.current = current;
                to.metadata.told.history = history;
                to.state = DiskState::UpToDate;
                to.replication = ReplicationState::Established;
                to.own.clear();
            }
        }
        self.hosts.a.persist();
        self.hosts.b.persist();
    }

    /// A guest on a Primary writes a block.
    pub fn write(&mut self, side: Side, number: usize, block: u64, bytes: &[u8], store: &Arc<FakeStore>) {
        let connected = self.hosts[side].connection == ConnectionState::Connected;
        // While the bitmaps are exchanged a source marks what it writes, and sends none of it.
        let mirrored = connected
            && self.hosts[side.other()].connection == ConnectionState::Connected
            && self.exchanging.is_none();
        {
            let rng = &mut self.rng;
            let volume = &mut self.hosts[side].volumes[number];
            volume.put(block, bytes);
            volume.truth[at(block * BLOCK)..at((block + 1) * BLOCK)].copy_from_slice(bytes);
            volume.written += 8;
            if side == self.survivor && self.running {
                self.late.insert((number, block));
            }
            if !mirrored {
                volume.bits.insert(block);
                volume.own.insert(block);
                let began = volume.begin_generation(rng);
                if side != self.survivor {
                    self.victim_wrote = true;
                } else if began {
                    self.survivor_moved = true;
                }
            }
        }
        if mirrored {
            self.overwrite(number, side.other(), block, bytes, false, store);
            let there = &mut self.hosts[side.other()].volumes[number];
            there.written += 8;
            there.bits.remove(&block);
            self.hosts[side].volumes[number].bits.remove(&block);
        }
        self.hosts[side].persist();
        self.hosts[side.other()].persist();
    }

    pub(super) fn scribble(&mut self, side: Side, many: u64, store: &Arc<FakeStore>) {
        for _ in 0..many {
            let number = at(self.rng.below(self.hosts[side].volumes.len() as u64));
            let block = self.rng.below(self.hosts[side].volumes[number].blocks());
            let mut bytes = self.hosts[side].volumes[number].block(block);
            self.rng.fill(&mut bytes[..64]);
            self.write(side, number, block, &bytes, store);
        }
    }

    pub(super) fn promote(&mut self, side: Side) -> Result<(), &'static str> {
        let peer = &self.hosts[side.other()];
        let connected = self.hosts[side].connection == ConnectionState::Connected;
        if connected && peer.role == Role::Primary && !self.dual {
            return Err("(-1) Multiple primaries not allowed by config");
        }
        if self.hosts[side].volumes.iter().any(|volume| volume.state != DiskState::UpToDate) {
            return Err("(-2) Need access to UpToDate data");
        }
        let host = &mut self.hosts[side];
        host.role = Role::Primary;
        host.discard = false;
        if self.generation == Generation::V84 && !connected {
            // 8.4 begins a generation with the promotion.
            let mut moved = false;
            for volume in &mut host.volumes {
                moved |= volume.begin_generation(&mut self.rng);
            }
            if moved && side == self.survivor {
                self.survivor_moved = true;
            } else if moved {
                self.victim_wrote = true;
            }
        }
        self.hosts[side].persist();
        Ok(())
    }

    pub(super) fn meddle(&mut self, what: Meddling, store: &Arc<FakeStore>) {
        self.note(format!("meddling: {what:?}"));
        match what {
            Meddling::Link(link) => {
                self.link = link;
                if !link {
                    Side::BOTH.into_iter().for_each(|side| self.wait_again(side));
                }
            }
            Meddling::Promote(side) => {
                if self.hosts[side].up && self.promote(side).is_ok() {
                    self.scribble(side, 3, store);
                }
            }
            Meddling::Demote(side) => {
                self.hosts[side].role = Role::Secondary;
                self.hosts[side].held = false;
                self.hosts[side].persist();
            }
            Meddling::Adjust(side) => {
                if self.hosts[side].up && self.hosts[side].connection == ConnectionState::StandAlone {
                    let host = &mut self.hosts[side];
                    host.connection = ConnectionState::Connecting;
                    host.policies = host.configured;
                }
            }
            Meddling::Disconnect(side) => {
                if self.hosts[side].up {
                    self.alone(side);
                    self.wait_again(side.other());
                }
            }
            Meddling::Reboot(side) => {
                self.alone(side);
                self.wait_again(side.other());
                let host = &mut self.hosts[side];
                (host.up, host.role, host.discard, host.held) = (false, Role::Secondary, false, false);
                host.boot += 1;
                host.volumes.iter_mut().for_each(|volume| volume.written = 0);
                host.persist();
            }
            Meddling::Up(side) => {
                let host = &mut self.hosts[side];
                if !host.up {
                    host.up = true;
                    host.connection = ConnectionState::Connecting;
                    host.policies = host.configured;
                }
            }
            Meddling::Deaf(side, until) => self.hosts[side].deaf_until = self.tick + until,
            Meddling::Hold(side) => self.hosts[side].held = self.hosts[side].role == Role::Primary,
            Meddling::Release(side) => self.hosts[side].held = false,
            Meddling::Refuse(side, code) => self.hosts[side].refuses = code,
            Meddling::Break(many) => self.exchanges_that_break = many,
            Meddling::Raise(side) => {
                let _ = self.promote(side);
            }
            Meddling::Rewrite(side) => self.rewrite(side, store),
            Meddling::Turn(held_back) => self.turn(held_back),
            Meddling::Grow => Side::BOTH.into_iter().for_each(|side| self.hosts[side].grown = 1 << 20),
            Meddling::Overrun => {
                self.turn(0);
                for _ in 0..200 {
                    self.resync(store);
                }
            }
        }
    }

    /// Promoted, a block that is marked already is written to, demoted.
    fn rewrite(&mut self, side: Side, store: &Arc<FakeStore>) {
        let Some(block) = self.hosts[side].volumes[0].own.first().copied() else { return };
        if self.hosts[side].role == Role::Primary || self.promote(side).is_err() {
            return;
        }
        let mut bytes = self.hosts[side].volumes[0].block(block);
        self.rng.fill(&mut bytes);
        self.write(side, 0, block, &bytes, store);
        self.hosts[side].role = Role::Secondary;
        self.hosts[side].persist();
    }

    /// Somebody overwrites the survivor, by hand, where the two look for each other or are connected.
    fn turn(&mut self, held_back: u64) {
        let waits = |side: Side| {
            let host = &self.hosts[side];
            host.up && host.role == Role::Secondary && host.connection != ConnectionState::StandAlone
        };
        if !(self.link && waits(Side::A) && waits(Side::B)) {
            return;
        }
        (self.turned_by_others, self.held_back) = (true, held_back);
        for side in Side::BOTH {
            self.hosts[side].connection = ConnectionState::Connected;
            self.hosts[side].discard = false;
        }
        let victim = self.survivor.other();
        for number in 0..self.hosts.a.volumes.len() {
            self.begin_resync(number, victim, true);
        }
        self.hosts.a.persist();
        self.hosts.b.persist();
    }

    /// Time passes.
    pub(super) fn pass(&mut self, store: &Arc<FakeStore>) {
        self.tick += 1;
        let now = self.tick;
        let (due, later) = std::mem::take(&mut self.meddling).into_iter().partition(|(tick, _)| *tick <= now);
        self.meddling = later;
        let due: Vec<(u64, Meddling)> = due;
        for (_, what) in due {
            self.meddle(what, store);
        }
        if let Some((ticks, target, sources)) = self.exchanging.take() {
            match ticks.checked_sub(1) {
                Some(left) => self.exchanging = Some((left, target, sources)),
                None => self.exchange_only(target, &sources, store),
            }
        }
        self.resync(store);
        self.handshake();
        let survivor = self.survivor;
        if self.busy && self.hosts[survivor].role == Role::Primary && self.rng.one_in(5) {
            self.scribble(survivor, 1, store);
        }
    }

    pub(super) fn act(&mut self, side: Side, act: &NodeAct) -> End {
        let no = |why: &str| End::NotDone(Why(why.to_owned()));
        if !self.hosts[side].up {
            return no("r0 is not up on this node");
        }
        match act {
            NodeAct::Disconnect(_) => {
                if self.hosts[side].connection == ConnectionState::StandAlone {
                    return End::AlreadySo;
                }
                self.alone(side);
                self.wait_again(side.other());
                End::Done
            }
            NodeAct::Demote { .. } => {
                if self.hosts[side].role == Role::Secondary {
                    return End::AlreadySo;
                }
                if self.hosts[side].held {
                    return no("State change failed: (-12) Device is held open by someone");
                }
                self.hosts[side].role = Role::Secondary;
                self.hosts[side].persist();
                End::Done
            }
            NodeAct::Connect { how, .. } => {
                if self.hosts[side].connection == ConnectionState::Connected {
                    return no("r0 is connected already");
                }
                if *how == ConnectAs::Victim && self.hosts[side].role == Role::Primary {
                    return no("(123) --discard-my-data not allowed when primary.");
                }
                self.alone(side);
                let host = &mut self.hosts[side];
                host.policies = AfterSb::DISCONNECT;
                host.discard |= *how == ConnectAs::Victim;
                host.connection = ConnectionState::Connecting;
                End::Done
            }
            NodeAct::Reconnect(_) => no("there is no third node"),
            NodeAct::RestorePolicies { to, .. } => {
                let v84 = self.generation == Generation::V84;
                let host = &mut self.hosts[side];
                if v84 && host.connection == ConnectionState::StandAlone {
                    return End::AlreadySo;
                }
                match to {
                    Some(to) => host.policies = *to,
                    None if v84 => host.policies = host.configured,
                    None => return no("which policies there were is not known"),
                }
                End::Done
            }
            NodeAct::Invalidate { volume, .. } => {
                let host = &mut self.hosts[side];
                if host.role == Role::Primary || host.connection != ConnectionState::StandAlone {
                    return no("(-5) refused");
                }
                let volume = &mut host.volumes[*volume as usize];
                volume.bits = (0..volume.blocks()).collect();
                volume.state = DiskState::Inconsistent;
                host.persist();
                End::Done
            }
            NodeAct::Promote { .. } => {
                if self.hosts[side].role == Role::Primary {
                    return End::AlreadySo;
                }
                if !self.undoing {
                    self.broken.push("a healing promoted a node".to_owned());
                }
                self.promote(side).map_or_else(no, |()| End::Done)
            }
        }
    }

    fn toward_third(&self, side: Side, third: Third) -> Connection {
        let there = third.connected_to == side;
        let mut connection =
            Connection { peer_node_id: Some(2), name: Some("node3".to_owned()), ..Connection::default() };
        connection.info.state =
            Some(if there { ConnectionState::Connected } else { ConnectionState::StandAlone });
        connection.info.peer_role = Some(if there { third.role } else { Role::Unknown });
        for (number, _) in (0..).zip(&self.hosts[side].volumes) {
            let mut volume = PeerDevice { volume: number, ..PeerDevice::default() };
            volume.info.replication =
                Some(if there { ReplicationState::Established } else { ReplicationState::Off });
            volume.info.disk = Some(if there { DiskState::UpToDate } else { DiskState::Unknown });
            volume.statistics.out_of_sync = Some(0);
            connection.peer_devices.push(volume);
        }
        connection
    }

    pub(super) fn told(&self, side: Side) -> Resource {
        let host = &self.hosts[side];
        let v84 = self.generation == Generation::V84;
        let mut resource = Resource { name: "r0".to_owned(), ..Resource::default() };
        resource.info.role = Some(host.role);
        let id = |side: Side| u32::from(side == Side::B);
        if !v84 {
            resource.options =
                Some(ResourceOptions { node_id: Some(id(side)), ..ResourceOptions::default() });
        }
        for (number, volume) in (0..).zip(&host.volumes) {
            let mut device = Device { volume: number, minor: Some(number), ..Device::default() };
            device.info.disk = Some(volume.state);
            device.statistics.written = (!host.hides).then_some(volume.written);
            device.statistics.current = Some(volume.metadata.told.current);
            device.statistics.history = Some(volume.metadata.told.history.clone());
            device.statistics.size = Some((volume.size + host.grown) / 512);
            device.disk_options = Some(DiskOptions {
                backing_device: Some(format!("/dev/{side}{number}")),
                meta_index: Some(MetaIndex::Internal),
                ..DiskOptions::default()
            });
            resource.devices.push(device);
        }
        if let Some(third) = self.third {
            resource.connections.push(self.toward_third(side, third));
        }
        if v84 && host.connection == ConnectionState::StandAlone {
            return resource;
        }
        let peer = &self.hosts[side.other()];
        let connected = host.connection == ConnectionState::Connected;
        let mut connection =
            Connection { peer_node_id: (!v84).then_some(id(side.other())), ..Connection::default() };
        connection.info.state = Some(host.connection);
        connection.info.peer_role = Some(if connected { peer.role } else { Role::Unknown });
        connection.options = Some(NetOptions {
            after_sb_0pri: Some(host.policies.zero),
            after_sb_1pri: Some(host.policies.one),
            after_sb_2pri: Some(host.policies.two),
            ..NetOptions::default()
        });
        for (number, volume) in (0..).zip(&host.volumes) {
            let mut there = PeerDevice { volume: number, ..PeerDevice::default() };
            there.info.replication = Some(volume.replication);
            let disk = if connected { peer.volumes[number as usize].state } else { DiskState::Unknown };
            there.info.disk = Some(disk);
            there.statistics.out_of_sync = Some(volume.bits.len() as u64 * 8);
            there.statistics.bitmap = Some(volume.metadata.bitmap_uuid());
            connection.peer_devices.push(there);
        }
        resource.connections.push(connection);
        resource
    }
}
