//! A router: the same BGP core as protocol engine, and around it what makes a router of it: a table, and the rules of
//! RFC 4724 §4.2 and RFC 8538 for the routes of a neighbour that went away.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bgp_proto::wire::header::{EXTENDED_MAX_LEN, Framer, MessageType};
use bgp_proto::{
    Asn, ConnectionId, DownReason, Families, Family, HoldTime, PeerConfig, PeerKey, Prefix, RemoteAs,
    RouterId, Speaker, SpeakerEvent,
};

use crate::node::Micros;
use crate::witness;

/// How long stale routes are kept at most once the session is back (FRR's default).
const STALE_PATH_TIME: Micros = 360_000_000;

#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) bgp: Option<Speaker>,
    /// The host is gone until then: nobody answers.
    pub(crate) off_until: Micros,
    /// The process is gone until then: the host refuses.
    pub(crate) down_until: Micros,
    /// Nothing is read, and no timer runs, until then.
    pub(crate) stuck_until: Micros,
    pub(crate) ribs: Vec<Rib>,
    pub(crate) generation: u64,
    opens: BTreeMap<ConnectionId, Option<(u16, bool)>>,
}

/// What a router has of one neighbour.
#[derive(Debug, Default)]
pub(crate) struct Rib {
    pub(crate) routes: BTreeMap<Prefix, Held>,
    /// The connection of the session that is up.
    pub(crate) session: Option<ConnectionId>,
    /// When stale routes go.
    pub(crate) stale_until: Option<Micros>,
    /// Families whose End-of-RIB has come in this session.
    pub(crate) complete: Vec<Family>,
    graceful: Option<(u16, bool)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) community: Option<u8>,
    pub(crate) next_hop: Option<IpAddr>,
    pub(crate) stale: bool,
}

/// Why a route left the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Withdrawn,
    /// It was not told again before End-of-RIB.
    Swept,
    /// The neighbour stayed away for too long.
    StaleTimer,
    /// The session ended in a way that keeps nothing.
    SessionLost(String),
    /// The neighbour came back and says that it did not keep forwarding.
    NotKept,
}

#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) node: usize,
    pub(crate) prefix: Prefix,
    pub(crate) cause: Cause,
}

impl Router {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            bgp: None,
            off_until: 0,
            down_until: 0,
            stuck_until: 0,
            ribs: (0..nodes).map(|_| Rib::default()).collect(),
            generation: 0,
            opens: BTreeMap::new(),
        }
    }

    /// Starts the process, with an empty table.
    pub(crate) fn start(&mut self, now: Instant, number: usize, seed: u64) {
        let mut bgp = Speaker::new(seed, false);
        let last = u8::try_from(100 + number).unwrap();
        let configs: Vec<PeerConfig> = (0..self.ribs.len())
            .map(|node| PeerConfig {
                hold_time: Some(HoldTime::try_new(90).unwrap()),
                families: Families::BOTH,
                graceful_restart: Some(Duration::from_secs(120)),
                passive: true,
                ..PeerConfig::new(
                    key_of(node),
                    Asn(65530),
                    RemoteAs::Exactly(Asn(64500)),
                    RouterId::try_new([10, 0, 2, last].into()).unwrap(),
                )
            })
            .collect();
        bgp.set_peers(now, &configs);
        self.bgp = Some(bgp);
        self.generation += 1;
    }

    /// The process is gone, and its table with it.
    pub(crate) fn end(&mut self) {
        self.bgp = None;
        self.opens.clear();
        self.ribs.iter_mut().for_each(|rib| *rib = Rib::default());
    }

    /// Reads whole messages, one at a time, so that what each does is seen by itself. Returns what was used up and what
    /// the core wants done; the table follows at once.
    pub(crate) fn read(
        &mut self,
        at: Micros,
        now: Instant,
        node: usize,
        connection: ConnectionId,
        octets: &[u8],
    ) -> (usize, Vec<SpeakerEvent>, Vec<Lost>) {
        let (mut used, mut events, mut lost) = (0, Vec::new(), Vec::new());
        loop {
            let rest = &octets[used..];
            let Some(frame) = Framer::new(EXTENDED_MAX_LEN).next(rest).unwrap() else { break };
            let length = frame.octets.len();
            let Some(bgp) = &mut self.bgp else { return (octets.len(), events, lost) };
            if frame.kind == MessageType::Open {
                self.opens.insert(connection, witness::graceful_restart(frame.body));
            }
            assert_eq!(bgp.handle_input(now, connection, &rest[..length]), length, "one whole message");
            let mut over = false;
            while let Some(event) = self.poll_event() {
                over |= matches!(&event, SpeakerEvent::HangUp { connection: id, .. } if *id == connection);
                self.follow(at, connection, &event, &mut lost);
                events.push(event);
            }
            let rib = &mut self.ribs[node];
            if frame.kind == MessageType::Update && rib.session == Some(connection) {
                rib.update(node, &witness::update(frame.body), &mut lost);
            }
            used += length;
            if over {
                return (octets.len(), events, lost);
            }
        }
        (used, events, lost)
    }

    /// What the core wants done, from other causes than messages.
    pub(crate) fn events(&mut self, at: Micros) -> (Vec<SpeakerEvent>, Vec<Lost>) {
        let (mut events, mut lost) = (Vec::new(), Vec::new());
        while let Some(event) = self.poll_event() {
            self.follow(at, ConnectionId(u64::MAX), &event, &mut lost);
            events.push(event);
        }
        (events, lost)
    }

    /// When stale routes have to go next.
    pub(crate) fn stale_deadline(&self) -> Option<Micros> {
        self.ribs.iter().filter_map(|rib| rib.stale_until).min()
    }

    /// Lets stale routes go whose time is up.
    pub(crate) fn expire(&mut self, at: Micros) -> Vec<Lost> {
        let mut lost = Vec::new();
        for (node, rib) in self.ribs.iter_mut().enumerate() {
            if rib.stale_until.is_some_and(|until| until <= at) {
                rib.stale_until = None;
                rib.drop_if(node, |_, held| held.stale, &Cause::StaleTimer, &mut lost);
            }
        }
        lost
    }

    fn poll_event(&mut self) -> Option<SpeakerEvent> {
        self.bgp.as_mut().and_then(Speaker::poll_event)
    }

    fn follow(&mut self, at: Micros, connection: ConnectionId, event: &SpeakerEvent, lost: &mut Vec<Lost>) {
        match event {
            SpeakerEvent::Up { peer } => {
                let node = node_of(*peer);
                let graceful = self.opens.get(&connection).copied().flatten();
                let rib = &mut self.ribs[node];
                rib.session = Some(connection);
                rib.complete.clear();
                rib.graceful = graceful;
                if rib.stale_until.is_some() {
                    if graceful.is_some_and(|(_, kept)| kept) {
                        rib.stale_until = Some(at + STALE_PATH_TIME);
                    } else {
                        rib.stale_until = None;
                        rib.drop_if(node, |_, held| held.stale, &Cause::NotKept, lost);
                    }
                }
            }
            SpeakerEvent::Down { peer, reason } => {
                let node = node_of(*peer);
                let rib = &mut self.ribs[node];
                // An attempt that failed says nothing about the session that was.
                if rib.session.take().is_none() {
                    return;
                }
                let silent = matches!(reason, DownReason::Closed(_) | DownReason::Superseded);
                match rib.graceful {
                    Some((restart_time, _)) if silent => {
                        rib.drop_if(node, |_, held| held.stale, &Cause::StaleTimer, lost);
                        rib.routes.values_mut().for_each(|held| held.stale = true);
                        rib.stale_until = Some(at + Micros::from(restart_time) * 1_000_000);
                    }
                    Some(_) | None => {
                        rib.stale_until = None;
                        rib.drop_if(node, |_, _| true, &Cause::SessionLost(reason.to_string()), lost);
                    }
                }
            }
            SpeakerEvent::Dial { .. } | SpeakerEvent::HangUp { .. } => {}
        }
    }
}

impl Rib {
    fn update(&mut self, node: usize, told: &witness::Told, lost: &mut Vec<Lost>) {
        for prefix in &told.withdrawn {
            if self.routes.remove(prefix).is_some() {
                lost.push(Lost { node, prefix: *prefix, cause: Cause::Withdrawn });
            }
        }
        for prefix in &told.announced {
            let held = Held { community: told.community, next_hop: told.next_hop, stale: false };
            self.routes.insert(*prefix, held);
        }
        if let Some(family) = told.end_of_rib {
            self.complete.push(family);
            let swept = |prefix: &Prefix, held: &Held| held.stale && prefix.family() == family;
            self.drop_if(node, swept, &Cause::Swept, lost);
            if !self.routes.values().any(|held| held.stale) {
                self.stale_until = None;
            }
        }
    }

    fn drop_if(
        &mut self,
        node: usize,
        goes: impl Fn(&Prefix, &Held) -> bool,
        cause: &Cause,
        lost: &mut Vec<Lost>,
    ) {
        let gone = self.routes.extract_if(.., |prefix, held| goes(prefix, held));
        lost.extend(gone.map(|(prefix, _)| Lost { node, prefix, cause: cause.clone() }));
    }
}

pub(crate) fn key_of(node: usize) -> PeerKey {
    PeerKey(u32::try_from(node).unwrap())
}

pub(crate) fn node_of(peer: PeerKey) -> usize {
    usize::try_from(peer.0).unwrap()
}
