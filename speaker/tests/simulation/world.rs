//! The whole cluster on virtual time: one queue of happenings, and everybody's deadlines between them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::cluster::{Kind, News, Object, Objects, is_v6};
use crate::fleet::KUBELET_LOOKS;
use crate::judge::Judge;
use crate::node::{Micros, Node, Process, Stream};
use crate::router::Router;
use crate::scenario::Scenario;
use crate::wire::Wire;

pub(crate) const MILLI: Micros = 1_000;
pub(crate) const SECOND: Micros = 1_000_000;

/// After the last fault: restart time, the longest hold time, the longest pause between two dials, and some more.
const SETTLE: Micros = 130 * SECOND;
/// At the end of that nobody has anything left to say.
pub(crate) const QUIET: Micros = 20 * SECOND;
/// How often the judge looks at all tables.
const LOOK: Micros = 500 * MILLI;

#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// The scenario's event of this number.
    Event(usize),
    Watch {
        node: usize,
        generation: u64,
        kind: Kind,
    },
    ApiBack {
        node: usize,
    },
    Start {
        node: usize,
    },
    End {
        node: usize,
        generation: u64,
    },
    StartRouter {
        router: usize,
    },
    Dialled {
        node: usize,
        generation: u64,
        router: usize,
        dial: u64,
        began: Micros,
    },
    Accept {
        wire: u64,
    },
    Arrive {
        wire: u64,
        to: usize,
    },
    Probe {
        wire: u64,
    },
    Path {
        node: usize,
        router: usize,
        sides: [bool; 2],
        up: bool,
    },
    Kubelet {
        node: usize,
    },
    Look,
}

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) chance: Chance,
    pub(crate) now: Micros,
    pub(crate) objects: Objects,
    pub(crate) nodes: Vec<Node>,
    pub(crate) routers: Vec<Router>,
    /// Until when nothing passes between a node and a router.
    pub(crate) links: Vec<Vec<Micros>>,
    pub(crate) wires: BTreeMap<u64, Wire>,
    pub(crate) next_wire: u64,
    pub(crate) next_dial: u64,
    pub(crate) judge: Judge,
    epoch: Instant,
    queue: BTreeMap<(Micros, u64), Happening>,
    sequence: u64,
    /// What happened to the objects of each kind.
    logs: BTreeMap<Kind, Vec<News>>,
}

/// What a run was worth, so that a test can say that something happened in it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) updates: u64,
    pub(crate) sessions: u64,
    pub(crate) routes_lost: u64,
    pub(crate) takeovers: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.updates += other.updates;
        self.sessions += other.sessions;
        self.routes_lost += other.routes_lost;
        self.takeovers += other.takeovers;
    }
}

/// Plays a scenario.
///
/// # Errors
/// What the judge has against it.
pub(crate) fn play(scenario: &Scenario) -> Result<Tally, String> {
    let mut world = World::new(scenario);
    let end = world.begin();
    world.run(end);
    world.verdict()
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let Scenario { nodes, routers, .. } = *scenario;
        Self {
            scenario: scenario.clone(),
            chance: Chance::new(scenario.seed ^ 0x5EED),
            now: 0,
            objects: Objects::new(),
            nodes: (0..nodes).map(|_| Node::default()).collect(),
            routers: (0..routers).map(|_| Router::new(nodes)).collect(),
            links: vec![vec![0; routers]; nodes],
            wires: BTreeMap::new(),
            next_wire: 0,
            next_dial: 0,
            judge: Judge::new(nodes, routers, scenario.hold),
            epoch: Instant::now(),
            queue: BTreeMap::new(),
            sequence: 0,
            logs: BTreeMap::new(),
        }
    }

    /// Sets everything up; returns when the run ends.
    fn begin(&mut self) -> Micros {
        let nodes = self.nodes.len();
        for node in 0..nodes {
            let object = Object::Node { excluded: false, network_unavailable: false, leaving: false };
            self.objects.insert((Kind::Node, u8::try_from(node).unwrap()), object);
            self.schedule(node as u64 * MILLI, Happening::Start { node });
            if self.scenario.width.is_some() {
                self.schedule(node as u64 * 300 * MILLI, Happening::Kubelet { node });
            }
        }
        for router in 0..self.routers.len() {
            let hold = self.scenario.hold;
            self.objects.insert((Kind::Peer, u8::try_from(router).unwrap()), Object::Peer { hold });
            self.schedule(0, Happening::StartRouter { router });
        }
        self.objects.insert((Kind::Pool, 0), Object::Pool);
        self.objects.insert(
            (Kind::Advertisement, 0),
            Object::Advertisement { community: 0, most: self.scenario.width },
        );
        for service in 0..self.scenario.services {
            let address = self.address_of(service);
            let local = self.chance.once_in(2);
            self.objects.insert((Kind::Service, service), Object::Service { address, local });
            let host = u8::try_from(self.chance.below(nodes)).unwrap();
            let endpoints = vec![(host, crate::cluster::Health::Ready)];
            self.objects.insert((Kind::Slice, service), Object::Slice { v6: is_v6(address), endpoints });
        }
        // The first announcements are out before the first fault.
        let lead = 5 * SECOND;
        let mut last = 0;
        for (number, (at, event)) in self.scenario.events.clone().into_iter().enumerate() {
            let at = lead + at * MILLI;
            last = last.max(at + event.lasts());
            self.schedule(at, Happening::Event(number));
        }
        self.schedule(LOOK, Happening::Look);
        self.judge.quiet_from = last.max(lead) + SETTLE - QUIET;
        self.judge.quiet_from + QUIET
    }

    fn run(&mut self, end: Micros) {
        while self.judge.fault.is_none() {
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = queued.into_iter().chain(self.deadline()).min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            // What arrives now arrives before what is due now: octets that are there are no silence.
            if let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let happening = entry.remove();
                self.handle(happening);
            } else {
                self.handle_deadlines();
            }
        }
        self.now = end;
    }

    pub(crate) fn schedule(&mut self, at: Micros, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), happening);
    }

    pub(crate) fn instant(&self) -> Instant {
        self.epoch + Duration::from_micros(self.now)
    }

    fn micros(&self, instant: Instant) -> Micros {
        Micros::try_from(instant.saturating_duration_since(self.epoch).as_nanos().div_ceil(1_000)).unwrap()
    }

    fn deadline(&self) -> Option<Micros> {
        let nodes = self.nodes.iter().filter_map(|node| {
            let due = node.process.as_ref()?.deadline()?;
            Some(self.micros(due).max(node.suspended_until))
        });
        let routers = self.routers.iter().filter_map(|router| {
            let own = router.bgp.as_ref()?.poll_timeout().map(|due| self.micros(due));
            let due = own.into_iter().chain(router.stale_deadline()).min()?;
            Some(due.max(router.stuck_until))
        });
        nodes.chain(routers).min()
    }

    fn handle_deadlines(&mut self) {
        let (at, now) = (self.now, self.instant());
        for node in 0..self.nodes.len() {
            if self.nodes[node].suspended_until > self.now {
                continue;
            }
            if let Some(process) = &mut self.nodes[node].process {
                process.handle_deadlines(at, now);
                self.drain_node(node);
                self.heed_wishes(node);
                self.write_status(node);
            }
        }
        for number in 0..self.routers.len() {
            let router = &mut self.routers[number];
            if router.stuck_until > self.now {
                continue;
            }
            let Some(bgp) = &mut router.bgp else { continue };
            bgp.handle_timeout(now);
            let lost = router.expire(self.now);
            self.judge_losses(number, &lost);
            self.drain_router(number);
        }
    }

    fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::Event(number) => {
                let (_, event) = self.scenario.events[number].clone();
                self.befall(&event);
            }
            Happening::Watch { node, generation, kind } => self.watch(node, generation, kind),
            Happening::ApiBack { node } => self.api_back(node),
            Happening::Start { node } => self.start(node),
            Happening::End { node, generation } => {
                if self.nodes[node].generation == generation {
                    self.end_process(node, true);
                }
            }
            Happening::StartRouter { router } => self.start_router(router),
            Happening::Dialled { node, generation, router, dial, began } => {
                self.dialled(node, generation, router, dial, began);
            }
            Happening::Accept { wire } => self.accept(wire),
            Happening::Probe { wire } => self.probe(wire),
            Happening::Arrive { wire, to } => self.arrive(wire, to),
            Happening::Path { node, router, sides, up } => self.path(node, router, sides, up),
            Happening::Kubelet { node } => {
                self.kubelet(node);
                self.schedule(self.now + KUBELET_LOOKS, Happening::Kubelet { node });
            }
            Happening::Look => {
                self.look();
                self.schedule(self.now + LOOK, Happening::Look);
            }
        }
    }

    fn start(&mut self, number: usize) {
        let routers = self.routers.len();
        let (seed, now) = (self.chance.next(), self.instant());
        let node = &mut self.nodes[number];
        if node.process.is_some() || node.off_until > self.now || node.start_after > self.now {
            return;
        }
        node.generation += 1;
        node.sessions_since.clear();
        node.process = Some(Process::start(now, number, routers, seed));
        if node.api_away_until <= self.now {
            self.list_everything(number);
        }
    }

    fn start_router(&mut self, number: usize) {
        let seed = self.chance.next();
        let (at, now) = (self.now, self.instant());
        let router = &mut self.routers[number];
        if router.bgp.is_none() && router.off_until <= at && router.down_until <= at {
            router.start(now, number, seed);
            self.drain_router(number);
        }
    }

    pub(crate) fn address_of(&self, service: u8) -> u8 {
        if self.scenario.shared && service == 1 { 1 } else { service + 1 }
    }

    // ---- the API server ----

    /// An object is made, changed (`Some`) or deleted.
    pub(crate) fn write(&mut self, kind: Kind, number: u8, object: Option<Object>) {
        let before = match &object {
            Some(object) => self.objects.insert((kind, number), object.clone()),
            None => self.objects.remove(&(kind, number)),
        };
        let news = match (object, before) {
            (Some(object), before) if before.as_ref() != Some(&object) => News::Apply(number, object),
            (None, Some(before)) => News::Delete(number, before),
            (Some(_), _) | (None, None) => return,
        };
        self.logs.entry(kind).or_default().push(news);
        for node in 0..self.nodes.len() {
            let delay = self.chance.between(MILLI, 40 * MILLI);
            self.wake_watch(node, kind, delay);
        }
    }

    /// Begins a list: what it holds is what there is now.
    pub(crate) fn list(&mut self, node: usize, kind: Kind) {
        let (steps, place) = (self.listed(node, kind).into(), self.end_of_log(kind));
        if let Some(process) = &mut self.nodes[node].process {
            process.streams.insert(kind, Stream::Listing(steps, place));
        }
        let delay = self.chance.between(MILLI, 300 * MILLI);
        self.wake_watch(node, kind, delay);
    }

    /// What a list says now.
    pub(crate) fn listed(&self, node: usize, kind: Kind) -> Vec<News> {
        let own = u8::try_from(node).unwrap();
        let objects = self.objects.range((kind, 0)..=(kind, u8::MAX));
        let named = objects.filter(|((_, number), _)| kind != Kind::Node || *number == own);
        let applied = named.map(|((_, number), object)| News::Apply(*number, object.clone()));
        std::iter::once(News::Restarted).chain(applied).chain([News::Synced]).collect()
    }

    pub(crate) fn end_of_log(&self, kind: Kind) -> usize {
        self.logs.get(&kind).map_or(0, Vec::len)
    }

    pub(crate) fn wake_watch(&mut self, node: usize, kind: Kind, delay: Micros) {
        let generation = self.nodes[node].generation;
        self.schedule(self.now + delay, Happening::Watch { node, generation, kind });
    }

    /// One step of a watch.
    fn watch(&mut self, number: usize, generation: u64, kind: Kind) {
        let (at, now) = (self.now, self.instant());
        let node = &mut self.nodes[number];
        if node.generation != generation || node.api_away_until > at {
            return;
        }
        let resumes = node.suspended_until;
        let Some(process) = &mut node.process else { return };
        if resumes > at {
            self.schedule(resumes, Happening::Watch { node: number, generation, kind });
            return;
        }
        let log = self.logs.get(&kind).map(Vec::as_slice).unwrap_or_default();
        let news = match process.streams.get_mut(&kind) {
            None => return,
            Some(Stream::Listing(steps, place)) => {
                let step = steps.pop_front();
                let place = *place;
                if steps.is_empty() {
                    process.streams.insert(kind, Stream::Following(place));
                }
                step
            }
            Some(Stream::Following(place)) => {
                let news = log.get(*place).cloned();
                *place += usize::from(news.is_some());
                news
            }
        };
        let Some(news) = news else { return };
        let of_others = |other: u8| kind == Kind::Node && usize::from(other) != number;
        let foreign = match &news {
            News::Apply(other, _) | News::Delete(other, _) => of_others(*other),
            News::Restarted | News::Synced => false,
        };
        if !foreign {
            process.take(at, now, kind, &news);
            self.drain_node(number);
            self.heed_wishes(number);
        }
        let delay = self.chance.between(0, 3 * MILLI);
        self.wake_watch(number, kind, delay);
    }

    fn api_back(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if node.api_away_until > self.now {
            return;
        }
        let lost = std::mem::take(&mut node.history_lost);
        let Some(process) = &node.process else { return };
        let watched: Vec<Kind> =
            Kind::ALL.into_iter().chain([Kind::State]).filter(|kind| process.watches(*kind)).collect();
        let follows = |kind: &Kind| matches!(process.streams.get(kind), Some(Stream::Following(_)));
        let again: Vec<Kind> = watched.iter().copied().filter(|kind| lost || !follows(kind)).collect();
        for kind in watched {
            if again.contains(&kind) {
                self.list(number, kind);
            } else {
                let delay = self.chance.between(MILLI, 2 * SECOND);
                self.wake_watch(number, kind, delay);
            }
        }
        self.heed_wishes(number);
    }
}
