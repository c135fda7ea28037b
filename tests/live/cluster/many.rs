//! Two nodes with several resources: each resource is a cluster of its own, and the nodes put them together as a real one does.

use super::*;
use unsplit::model::id::ResourceName;
use unsplit::resolver::both::Both;

/// Both nodes, and their resources by name.
pub struct Nodes {
    pub resources: Vec<(String, Arc<Cluster>)>,
    /// Only the first node has these.
    pub one_sided: Vec<String>,
    /// How often a node was asked for its report.
    pub reports: Mutex<u64>,
}

impl Nodes {
    pub fn new(resources: Vec<(&str, Arc<Cluster>)>) -> Arc<Nodes> {
        let resources = resources.into_iter().map(|(name, cluster)| (name.to_owned(), cluster)).collect();
        Arc::new(Nodes { resources, one_sided: Vec::new(), reports: Mutex::new(0) })
    }

    pub fn cluster(&self, name: &str) -> &Arc<Cluster> {
        &self.resources.iter().find(|(known, _)| known == name).unwrap().1
    }

    /// As the commands reach them. Whoever waits lets time pass.
    pub fn both(self: &Arc<Nodes>) -> Both {
        let node = |side: Side| -> Arc<dyn Operated> { Arc::new(ManyNode { nodes: Arc::clone(self), side }) };
        let clock = Arc::clone(self);
        let pause = move |_| clock.resources.iter().for_each(|(_, cluster)| cluster.pass());
        Both::of(Pair::from_fn(node), "ssh:node2".parse().unwrap(), Arc::new(pause))
    }
}

/// One of them.
pub struct ManyNode {
    nodes: Arc<Nodes>,
    side: Side,
}

/// Minors of a resource begin here, times its number.
const MINORS: u32 = 10;

impl ManyNode {
    fn at(&self, place: usize) -> FakeNode {
        FakeNode { cluster: Arc::clone(&self.nodes.resources[place].1), side: self.side }
    }

    fn of(&self, resource: &ResourceName) -> FakeNode {
        let place = self.nodes.resources.iter().position(|(name, _)| name == resource.as_str());
        self.at(place.unwrap())
    }

    fn by_minor(&self, minor: u32) -> (FakeNode, u32) {
        (self.at((minor / MINORS) as usize), minor % MINORS)
    }
}

fn of_act(act: &NodeAct) -> &ResourceName {
    match act {
        NodeAct::Disconnect(toward)
        | NodeAct::Connect { toward, .. }
        | NodeAct::Reconnect(toward)
        | NodeAct::RestorePolicies { toward, .. } => &toward.resource,
        NodeAct::Demote { resource }
        | NodeAct::Promote { resource }
        | NodeAct::Invalidate { resource, .. } => resource,
    }
}

impl Node for ManyNode {
    fn name(&self) -> &NodeName {
        let (_, first) = &self.nodes.resources[0];
        &first.names[self.side]
    }

    fn report(&self) -> Result<NodeReport, Unseen> {
        *self.nodes.reports.lock().unwrap() += 1;
        Ok(NodeReport { state: self.state()?, configured: Ok(Vec::new()), log: Ok(Vec::new()) })
    }

    fn log(&self) -> Result<Result<Vec<LogLine>, Why>, Unseen> {
        self.at(0).log()
    }

    fn state(&self) -> Result<NodeState, Unseen> {
        let mut whole: Option<NodeState> = None;
        for (place, (name, _)) in self.nodes.resources.iter().enumerate() {
            if self.side == Side::B && self.nodes.one_sided.contains(name) {
                continue;
            }
            let mut state = self.at(place).state()?;
            let DrbdSeen::Told(live) = &mut state.drbd else { panic!() };
            for resource in &mut live.resources {
                resource.name.clone_from(name);
                for device in &mut resource.devices {
                    device.minor = device.minor.map(|minor| minor + MINORS * place as u32);
                    let below = &mut device.disk_options.as_mut().unwrap().backing_device;
                    *below = below.as_ref().map(|path| format!("/{place}{path}"));
                }
            }
            match &mut whole {
                None => whole = Some(state),
                Some(whole) => {
                    let (DrbdSeen::Told(all), DrbdSeen::Told(more)) = (&mut whole.drbd, state.drbd) else {
                        panic!()
                    };
                    all.resources.extend(more.resources);
                }
            }
        }
        Ok(whole.unwrap())
    }

    fn users(&self, minor: u32) -> Result<Vec<DeviceUser>, Unseen> {
        let (node, minor) = self.by_minor(minor);
        node.users(minor)
    }

    fn replica(&self, backing: &Backing) -> Result<Box<dyn Replica>, Unseen> {
        let (place, path) = backing.data[1..].split_once('/').unwrap();
        let node = self.at(place.parse().unwrap());
        node.replica(&Backing { data: format!("/{path}"), ..backing.clone() })
    }
}

impl Operated for ManyNode {
    fn act(&self, act: &NodeAct, permit: &Permit<'_>) -> End {
        self.of(of_act(act)).act(act, permit)
    }

    fn discard(&self, toward: &Toward, still: &Standstill, kept: &[Preserved], permit: &Permit<'_>) -> End {
        self.of(&toward.resource).discard(toward, still, kept, permit)
    }

    fn invalidate(
        &self,
        volume: u32,
        minor: u32,
        still: &Standstill,
        kept: &[Preserved],
        permit: &Permit<'_>,
    ) -> End {
        self.of(&still.toward().resource).invalidate(volume, minor % MINORS, still, kept, permit)
    }

    fn promote(&self, peer: &FencedPeer, permit: &Permit<'_>) -> End {
        self.of(peer.resource()).promote(peer, permit)
    }

    fn device(&self, minor: u32, permit: &Permit<'_>) -> Result<Arc<dyn DiskMut>, Unseen> {
        let (node, minor) = self.by_minor(minor);
        node.device(minor, permit)
    }
}
