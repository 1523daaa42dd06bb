//! What happens in a run: the set-up and the list of events, made from a seed or written by hand, and made shorter
//! when a run fails.

use std::fmt;

use crate::chance::Chance;
use crate::cluster::Health;

/// Milliseconds since the run began.
pub(crate) type Millis = u64;

/// A world and what befalls it.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) routers: usize,
    pub(crate) services: u8,
    /// Hold time that the speakers propose, in seconds.
    pub(crate) hold: u16,
    /// Whether BFD watches the links.
    pub(crate) bfd: bool,
    /// Services 0 and 1 share an address.
    pub(crate) shared: bool,
    /// How many nodes announce, where that is bounded.
    pub(crate) width: Option<u16>,
    /// Octets that a connection takes before its writer has to wait.
    pub(crate) pipe: usize,
    pub(crate) events: Vec<(Millis, Happens)>,
}

/// One event. Durations are in milliseconds: every fault ends by itself.
#[derive(Clone, Debug)]
pub(crate) enum Happens {
    Endpoint { service: u8, node: usize, health: Option<Health> },
    ServiceMade { service: u8, local: bool },
    ServiceGone { service: u8 },
    AllServicesGone,
    Excluded { node: usize, excluded: bool },
    NetworkUnavailable { node: usize, unavailable: bool },
    Leaves { node: usize, leaving: bool },
    Community { community: u8 },
    Width { most: Option<u16> },
    PeerRemoved { router: usize },
    PeerConfigured { router: usize, hold: u16 },
    PowerOff { node: usize, lasts: Millis },
    LinkDown { node: usize, router: usize, lasts: Millis },
    SpeakerKilled { node: usize, away: Millis },
    SpeakerRestarts { node: usize, away: Millis },
    SpeakerRemoved { node: usize, away: Millis },
    NodeSuspended { node: usize, lasts: Millis },
    RouterKilled { router: usize, away: Millis },
    RouterPowerOff { router: usize, away: Millis },
    RouterStopsReading { router: usize, lasts: Millis },
    ApiAway { node: Option<usize>, lasts: Millis, history_lost: bool },
    TakeOver { node: usize },
    StoreRestored { seed: u64 },
}

impl Scenario {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let nodes = 1 + chance.below(3);
        let routers = 1 + chance.below(2);
        let services = 1 + u8::try_from(chance.below(6)).unwrap();
        let mut scenario = Self {
            seed,
            nodes,
            routers,
            services,
            hold: [3, 9, 15, 30][chance.below(4)],
            bfd: chance.once_in(3),
            shared: chance.once_in(3),
            pipe: if chance.once_in(3) { 1 } else { 128 * 1024 },
            width: if chance.once_in(3) { Some(1 + u16::from(chance.once_in(2))) } else { None },
            events: Vec::new(),
        };
        let mut at = 0;
        for _ in 0..chance.between(2, 24) {
            // Often close together, so that one event falls into the consequences of another.
            at += if chance.once_in(2) { chance.between(0, 300) } else { chance.between(300, 12_000) };
            let event = scenario.event(&mut chance);
            scenario.events.push((at, event));
        }
        scenario
    }

    fn event(&self, chance: &mut Chance) -> Happens {
        let node = chance.below(self.nodes);
        let router = chance.below(self.routers);
        let service = u8::try_from(chance.below(self.services.into())).unwrap();
        let short = chance.between(20, 3_000);
        let long = chance.between(500, 70_000);
        let flag = chance.once_in(2);
        match chance.below(35) {
            0..=6 => Happens::Endpoint { service, node, health: health(chance) },
            7 => Happens::ServiceMade { service, local: flag },
            8 => Happens::ServiceGone { service },
            9 if flag => Happens::AllServicesGone,
            9 | 10 => Happens::Excluded { node, excluded: flag },
            11 => Happens::NetworkUnavailable { node, unavailable: flag },
            12 if flag && self.width.is_some() => {
                Happens::Width { most: [None, Some(1), Some(2)][chance.below(3)] }
            }
            12 => Happens::Community { community: u8::try_from(chance.below(5)).unwrap() },
            13 if flag => Happens::PeerRemoved { router },
            13 => Happens::PeerConfigured { router, hold: [3, 9, 20][chance.below(3)] },
            14 | 15 => Happens::PowerOff { node, lasts: long },
            16 => Happens::LinkDown { node, router, lasts: short },
            17 => Happens::LinkDown { node, router, lasts: long },
            18 | 19 => Happens::SpeakerKilled { node, away: if flag { short } else { long } },
            20 | 21 => Happens::SpeakerRestarts { node, away: if flag { short } else { long } },
            22 => Happens::SpeakerRemoved { node, away: long },
            23 => Happens::NodeSuspended { node, lasts: if flag { short } else { long } },
            24 => Happens::RouterKilled { router, away: if flag { short } else { long } },
            25 => Happens::RouterPowerOff { router, away: if flag { short } else { long } },
            26 => Happens::RouterStopsReading { router, lasts: if flag { short } else { long } },
            27 => Happens::StoreRestored { seed: chance.next() },
            28 => Happens::ApiAway { node: None, lasts: long, history_lost: flag },
            29..=31 => Happens::TakeOver { node },
            32 | 33 => Happens::Leaves { node, leaving: !chance.once_in(3) },
            _ => Happens::ApiAway { node: Some(node), lasts: long, history_lost: flag },
        }
    }

    /// Leaves out events as long as the run still fails: what is left is what matters.
    pub(crate) fn shortened(&self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut best = self.clone();
        let mut at = 0;
        while at < best.events.len() {
            let mut shorter = best.clone();
            shorter.events.remove(at);
            if fails(&shorter) {
                best = shorter;
            } else {
                at += 1;
            }
        }
        best
    }
}

fn health(chance: &mut Chance) -> Option<Health> {
    [None, Some(Health::Ready), Some(Health::Ready), Some(Health::Terminating), Some(Health::Unready)]
        [chance.below(5)]
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, routers, services, hold, bfd, shared, width, pipe, events } = self;
        writeln!(
            f,
            "Scenario {{ seed: {seed}, nodes: {nodes}, routers: {routers}, services: {services}, hold: {hold}, \
             bfd: {bfd}, shared: {shared}, width: {width:?}, pipe: {pipe}, events: vec!["
        )?;
        for (at, event) in events {
            writeln!(f, "    ({at}, {event:?}),")?;
        }
        writeln!(f, "] }}")
    }
}
