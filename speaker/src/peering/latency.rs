//! How long events take from the watch to the wire: until the kernel took their octets, and until the router's TCP
//! acknowledged them. For each session that has to be told.
//!
//! The kernel does not say when an acknowledgment comes, so it is asked: at once after writing, and then after waits
//! that double, so that a time is at most twice too long. Nothing is asked while nothing is on the way. Leaves out where
//! times are shown (`metrics`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bgp_proto::{ConnectionId, PeerKey, Speaker, State};

use super::turn::Live;
use crate::metrics::WireTimes;
use crate::plan::Plan;

/// First wait between two questions; the runtime's timers know nothing shorter.
const FIRST_WAIT: Duration = Duration::from_millis(1);

/// The longest wait.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// After this time without an acknowledgment a connection is not asked any more.
const GIVE_UP: Duration = Duration::from_secs(30);

/// Events on the way to one router that are timed at once.
const EVENTS_MAX: usize = 128;

/// The events that are on their way.
#[derive(Debug)]
pub(super) struct Latency {
    times: WireTimes,
    /// The version of the newest plan whose events are known.
    version: u64,
    courses: BTreeMap<ConnectionId, Course>,
}

/// What is on the way on one connection.
#[derive(Debug, Default)]
struct Course {
    /// When the events came in whose octets are not all with the kernel, and how many octets it had before.
    unwritten: VecDeque<(Instant, u64)>,
    /// When the events came in whose octets are with the kernel, and up to which octet they go.
    unacknowledged: VecDeque<(Instant, u64)>,
    /// When to ask again, and how long after the last question that is.
    next: Option<(Instant, Duration)>,
}

impl Latency {
    /// Nothing is on the way.
    pub(super) fn new(times: WireTimes) -> Self {
        Self { times, version: 0, courses: BTreeMap::new() }
    }

    /// The events behind a plan that is now in force for these sessions. A session that is not up has nobody to tell.
    pub(super) fn begin(
        &mut self,
        plan: &Plan,
        news: &BTreeSet<PeerKey>,
        connections: &BTreeMap<ConnectionId, Live>,
        speaker: &Speaker,
    ) {
        let heard: Vec<Instant> = plan.heard.after(self.version).collect();
        self.version = self.version.max(plan.version);
        if heard.is_empty() {
            return;
        }
        for (id, live) in connections.iter().filter(|(_, live)| live.connection.is_open()) {
            let Some(peer) = speaker.owner(*id).filter(|peer| news.contains(peer)) else { continue };
            if speaker.session(peer).is_some_and(|session| session.state == State::Established) {
                let left_out = self.courses.entry(*id).or_default().begin(&heard, live.connection.written());
                self.times.abandoned.inc_by(left_out);
            }
        }
    }

    /// After a round of writing: what is with the kernel now.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        connections: &BTreeMap<ConnectionId, Live>,
        speaker: &Speaker,
    ) {
        let times = &self.times;
        self.courses.retain(|id, course| {
            let Some(live) = connections.get(id).filter(|live| live.connection.is_open()) else {
                times.abandoned.inc_by(course.len());
                return false;
            };
            let told = || {
                let session = speaker.owner(*id).and_then(|peer| speaker.session(peer));
                session.is_some_and(|session| session.converged)
            };
            if !course.unwritten.is_empty() && live.connection.unsent().is_empty() && told() {
                course.written(now, live.connection.written(), times);
                course.ask(now, live.connection.acknowledged(), times);
            }
            !course.is_empty()
        });
    }

    /// When to ask the kernel again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.courses.values().filter_map(|course| course.next.map(|(at, _)| at)).min()
    }

    /// Asks about the connections whose time has come.
    pub(super) fn look(&mut self, now: Instant, connections: &BTreeMap<ConnectionId, Live>) {
        for (id, course) in &mut self.courses {
            if course.next.is_some_and(|(at, _)| at <= now) {
                let acknowledged = connections.get(id).and_then(|live| live.connection.acknowledged());
                course.ask(now, acknowledged, &self.times);
            }
        }
        self.courses.retain(|_, course| !course.is_empty());
    }
}

impl Course {
    /// Events whose octets are about to be built. Says how many found no room.
    fn begin(&mut self, heard: &[Instant], written: u64) -> u64 {
        let room = usize::saturating_sub(EVENTS_MAX, self.unwritten.len() + self.unacknowledged.len());
        self.unwritten.extend(heard.iter().take(room).map(|at| (*at, written)));
        u64::try_from(heard.len().saturating_sub(room)).unwrap_or(u64::MAX)
    }

    /// The router has been told everything, as far as the kernel. An event that had nothing for this session (a route of
    /// a family that it does not carry) wrote nothing and is not counted.
    fn written(&mut self, now: Instant, octets: u64, times: &WireTimes) {
        for (at, before) in std::mem::take(&mut self.unwritten) {
            if octets > before {
                times.written.observe(now.saturating_duration_since(at).as_secs_f64());
                self.unacknowledged.push_back((at, octets));
            }
        }
        self.next = Some((now, Duration::ZERO));
    }

    /// So many octets are acknowledged. Where the kernel does not say, nothing is waited for.
    fn ask(&mut self, now: Instant, acknowledged: Option<u64>, times: &WireTimes) {
        let before = self.unacknowledged.len();
        while let Some((at, upto)) = self.unacknowledged.front() {
            let late = now.saturating_duration_since(*at) > GIVE_UP;
            match acknowledged {
                Some(octets) if octets >= *upto => {
                    times.acknowledged.observe(now.saturating_duration_since(*at).as_secs_f64());
                }
                Some(_) if !late => break,
                Some(_) | None => {
                    times.abandoned.inc();
                }
            }
            self.unacknowledged.pop_front();
        }
        let moves = self.unacknowledged.len() < before;
        let wait = match self.next {
            Some((_, last)) if !moves => (2 * last).clamp(FIRST_WAIT, LAST_WAIT),
            Some(_) | None => FIRST_WAIT,
        };
        self.next = (!self.unacknowledged.is_empty()).then(|| (now + wait, wait));
    }

    fn len(&self) -> u64 {
        u64::try_from(self.unwritten.len() + self.unacknowledged.len()).unwrap_or(u64::MAX)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sum and count of both histograms, to the microsecond, and what was abandoned.
    fn counted(times: &WireTimes) -> (String, u64) {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register("w", "-", times.written.clone());
        registry.register("a", "-", times.acknowledged.clone());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let figures = text.lines().filter_map(|line| {
            let (name, value) = line.split_once(' ').filter(|(name, _)| !name.contains('{'))?;
            (!name.starts_with('#')).then(|| format!("{name} {:.6}", value.parse::<f64>().unwrap()))
        });
        (figures.collect::<Vec<_>>().join(", "), times.abandoned.get())
    }

    fn figures(written: f64, acknowledged: f64, count: u32) -> String {
        let (written, acknowledged, count) =
            (format!("{written:.6}"), format!("{acknowledged:.6}"), format!("{count}.000000"));
        format!("w_sum {written}, w_count {count}, a_sum {acknowledged}, a_count {count}")
    }

    fn at(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn an_event_is_timed_until_it_is_written_and_until_it_is_acknowledged() {
        let (start, times) = (Instant::now(), WireTimes::default());
        let mut course = Course::default();
        assert_eq!(course.begin(&[start, at(start, 1)], 100), 0);
        course.written(at(start, 2), 160, &times);
        course.ask(at(start, 2), Some(100), &times);
        assert_eq!(course.next, Some((at(start, 3), FIRST_WAIT)));
        course.ask(at(start, 3), Some(159), &times);
        assert_eq!(course.next, Some((at(start, 5), 2 * FIRST_WAIT)));
        course.ask(at(start, 5), Some(160), &times);
        assert!(course.is_empty());
        assert_eq!(course.next, None, "nothing is asked while nothing is on the way");
        assert_eq!(counted(&times), (figures(0.003, 0.009, 2), 0));
    }

    #[test]
    fn an_event_that_wrote_nothing_is_not_counted() {
        let (start, times) = (Instant::now(), WireTimes::default());
        let mut course = Course::default();
        course.begin(&[start], 100);
        course.written(at(start, 1), 100, &times);
        course.ask(at(start, 1), Some(100), &times);
        assert_eq!(counted(&times), (figures(0.0, 0.0, 0), 0));
        assert!(course.is_empty());
    }

    #[test]
    fn questions_become_rare_and_end_for_a_router_that_does_not_answer() {
        let (start, times) = (Instant::now(), WireTimes::default());
        let mut course = Course::default();
        course.begin(&[start], 0);
        course.written(start, 1, &times);
        let mut asked = 0;
        course.ask(start, Some(0), &times);
        while let Some((due, wait)) = course.next {
            assert!(wait <= LAST_WAIT);
            course.ask(due, Some(0), &times);
            asked += 1;
        }
        assert!((30..50).contains(&asked), "{asked} questions in {GIVE_UP:?}");
        assert_eq!(times.abandoned.get(), 1);
    }

    #[test]
    fn what_is_timed_at_once_is_bounded_and_the_rest_is_counted() {
        let (start, times) = (Instant::now(), WireTimes::default());
        let mut course = Course::default();
        assert_eq!(course.begin(&vec![start; EVENTS_MAX - 1], 0), 0);
        assert_eq!(course.begin(&[start; 3], 0), 2);
        course.written(start, 1, &times);
        assert_eq!(course.begin(&[start], 1), 1, "what is not acknowledged has its place");
    }
}
