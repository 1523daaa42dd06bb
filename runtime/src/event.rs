//! Events (`events.k8s.io/v1`): told to people, never relied upon.
//!
//! A bounded queue and one task of its own: whoever publishes never waits, and while it has something to write that
//! matters more, events wait. Equal events within some minutes become one; what does not fit is dropped and counted. Leaves
//! out which event is worth telling.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::names::event::EventReason;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::client::call;

/// Events that may wait for the API server: one for each of some thousand Services that come at once. Room is taken only
/// while they wait, about 500 octets each.
const QUEUE: usize = 4096;
/// Equal events within this time are told once.
const QUIET: Duration = Duration::from_secs(300);
/// How many of the last events are remembered for that.
const REMEMBERED: usize = 512;
/// Longer than this no event waits for what matters more.
const LONGEST_HOLD: Duration = Duration::from_secs(10);
/// One write.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// The API server takes at most 1024 octets of text.
const LONGEST_NOTE: usize = 1024;

/// The object that an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regarding {
    /// Such as `v1` or `metallb.io/v1beta1`.
    pub api_version: String,
    /// Such as `Service`.
    pub kind: String,
    /// `None` for objects without a namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its uid, where known: `kubectl describe` finds events by it.
    pub uid: Option<String>,
}

impl Regarding {
    /// A Service.
    #[must_use]
    pub fn service(namespace: impl Into<String>, name: impl Into<String>, uid: impl Into<String>) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            namespace: Some(namespace.into()),
            name: name.into(),
            uid: Some(uid.into()),
        }
    }

    /// The Pod that the process runs in; `None` where that is not known, as outside of Pods.
    #[must_use]
    pub fn own_pod(namespace: &str, name: Option<&str>, uid: Option<&str>) -> Option<Self> {
        Some(Self {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name?.to_owned(),
            uid: Some(uid?.to_owned()),
        })
    }

    /// Any object that kube knows the type of.
    #[must_use]
    pub fn object<K>(object: &K) -> Self
    where
        K: kube::Resource,
        K::DynamicType: Default,
    {
        let kind = K::DynamicType::default();
        let meta = object.meta();
        Self {
            api_version: K::api_version(&kind).into_owned(),
            kind: K::kind(&kind).into_owned(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone(),
        }
    }
}

/// Good news or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// `Normal`
    Normal,
    /// `Warning`
    Warning,
}

impl EventType {
    /// The text in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Takes events and writes them in its own time. Clones share one queue.
#[derive(Clone, Debug)]
pub struct EventRecorder {
    queue: mpsc::Sender<(Instant, News)>,
    held: Arc<watch::Sender<bool>>,
    dropped: Arc<AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct News {
    regarding: Regarding,
    kind: EventType,
    reason: &'static str,
    note: String,
}

impl EventRecorder {
    /// Starts the recorder. `controller` and `instance` say who tells: such as `metallb-controller` and the Pod's name;
    /// events about objects without a namespace are kept in `default`, as the API demands. Must be called inside a
    /// tokio runtime; it ends when the last clone is dropped.
    #[must_use]
    pub fn start(client: Client, controller: &'static str, instance: String) -> Self {
        let (queue, news) = mpsc::channel(QUEUE);
        let (held, hold) = watch::channel(false);
        let writer = Writer { client, controller, instance, recent: VecDeque::new(), failing: false };
        tokio::spawn(writer.run(news, hold));
        Self { queue, held: Arc::new(held), dropped: Arc::new(AtomicU64::new(0)) }
    }

    /// Tells an event. Never waits; when the queue is full the event is dropped and counted. A note that is too long is
    /// cut.
    pub fn publish(
        &self,
        regarding: Regarding,
        kind: EventType,
        reason: EventReason,
        note: impl Into<String>,
    ) {
        let news = News { regarding, kind, reason: reason.as_str(), note: cut(note.into()) };
        if self.queue.try_send((Instant::now(), news)).is_err()
            && self.dropped.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!("events come faster than the API server takes them: some are dropped");
        }
    }

    /// Whether something more important is being written: events wait until that is over, each for ten seconds at most.
    pub fn hold(&self, held: bool) {
        self.held.send_if_modified(|before| std::mem::replace(before, held) != held);
    }

    /// How many events were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

struct Writer {
    client: Client,
    controller: &'static str,
    instance: String,
    recent: VecDeque<(Instant, News)>,
    failing: bool,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<(Instant, News)>, mut hold: watch::Receiver<bool>) {
        while let Some((published, news)) = queue.recv().await {
            turn(published, &mut hold).await;
            if remember(&mut self.recent, Instant::now(), &news) {
                self.write(&news).await;
            }
        }
    }

    async fn write(&mut self, news: &News) {
        let namespace = news.regarding.namespace.as_deref().unwrap_or("default");
        let event = event(news, namespace, self.controller, &self.instance, Timestamp::now());
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let written = call(CALL_LIMIT, api.create(&PostParams::default(), &event)).await;
        match (&written, self.failing) {
            (Err(error), false) => tracing::warn!(%error, "events cannot be written: they are dropped"),
            (Ok(_), true) => tracing::info!("events are written again"),
            (Err(_), true) | (Ok(_), false) => {}
        }
        self.failing = written.is_err();
    }
}

/// Returns when nothing holds an event of that moment any longer. Without a recorder nobody holds anything.
async fn turn(published: Instant, hold: &mut watch::Receiver<bool>) {
    let _ = timeout_at(published + LONGEST_HOLD, hold.wait_for(|held| !held)).await;
}

/// Whether these are news: not the same as something told within the last minutes. Remembers them if so.
fn remember(recent: &mut VecDeque<(Instant, News)>, now: Instant, news: &News) -> bool {
    while recent.front().is_some_and(|(told, _)| now.duration_since(*told) >= QUIET) {
        recent.pop_front();
    }
    if recent.iter().any(|(_, old)| old == news) {
        return false;
    }
    if recent.len() == REMEMBERED {
        recent.pop_front();
    }
    recent.push_back((now, news.clone()));
    true
}

fn event(news: &News, namespace: &str, controller: &str, instance: &str, now: Timestamp) -> Event {
    let regarding = ObjectReference {
        api_version: Some(news.regarding.api_version.clone()),
        kind: Some(news.regarding.kind.clone()),
        namespace: news.regarding.namespace.clone(),
        name: Some(news.regarding.name.clone()),
        uid: news.regarding.uid.clone(),
        ..ObjectReference::default()
    };
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", short(&news.regarding.name))),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        action: Some(news.reason.to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(news.note.clone()),
        reason: Some(news.reason.to_owned()),
        regarding: Some(regarding),
        reporting_controller: Some(controller.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(news.kind.as_str().to_owned()),
        ..Event::default()
    }
}

/// Names end up in the event's own name, which has its own limit.
fn short(name: &str) -> &str {
    let end = name.char_indices().map(|(at, one)| at + one.len_utf8()).take_while(|end| *end <= 200).last();
    name.get(..end.unwrap_or(0)).unwrap_or_default().trim_end_matches(['.', '-'])
}

fn cut(note: String) -> String {
    if note.len() <= LONGEST_NOTE {
        return note;
    }
    let room = LONGEST_NOTE - "…".len();
    let end = note.char_indices().map(|(at, one)| at + one.len_utf8()).take_while(|end| *end <= room).last();
    format!("{}…", note.get(..end.unwrap_or(0)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(name: &str, note: &str) -> News {
        News {
            regarding: Regarding::service("shop", name, "u-1"),
            kind: EventType::Warning,
            reason: "AllocationFailed",
            note: note.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn equal_events_are_told_once_in_five_minutes() {
        let mut recent = VecDeque::new();
        let start = Instant::now();
        assert!(remember(&mut recent, start, &news("web", "no available IPs")));
        assert!(!remember(&mut recent, start + Duration::from_secs(299), &news("web", "no available IPs")));
        assert!(remember(&mut recent, start, &news("web", "another note")));
        assert!(remember(&mut recent, start, &news("api", "no available IPs")));
        assert!(remember(&mut recent, start + QUIET, &news("web", "no available IPs")));
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_waits_for_what_matters_more_but_not_for_ever() {
        let (held, mut hold) = watch::channel(true);
        let start = Instant::now();
        let release = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            held.send_replace(false);
        };
        tokio::join!(turn(start, &mut hold), release);
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        turn(Instant::now(), &mut hold).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2), "nothing holds it");
        held.send_replace(true);
        turn(start, &mut hold).await;
        assert_eq!(start.elapsed(), LONGEST_HOLD, "it has waited long enough since it was published");
        drop(held);
        turn(Instant::now(), &mut hold).await;
        assert_eq!(start.elapsed(), LONGEST_HOLD, "nobody is left to hold it");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_of_events_is_bounded() {
        let mut recent = VecDeque::new();
        for number in 0..2 * REMEMBERED {
            assert!(remember(&mut recent, Instant::now(), &news(&number.to_string(), "x")));
        }
        assert_eq!(recent.len(), REMEMBERED);
    }

    #[test]
    fn the_object_written_says_who_what_and_about_whom() {
        let event = event(
            &news("web", "no available IPs"),
            "shop",
            "metallb-controller",
            "pod-1",
            Timestamp::UNIX_EPOCH,
        );
        let text = serde_json::to_value(&event).unwrap();
        assert_eq!(
            text,
            serde_json::json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event",
                "metadata": {"generateName": "web-", "namespace": "shop"},
                "action": "AllocationFailed", "reason": "AllocationFailed", "type": "Warning",
                "eventTime": "1970-01-01T00:00:00.000000Z", "note": "no available IPs",
                "regarding": {"apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "web", "uid": "u-1"},
                "reportingController": "metallb-controller", "reportingInstance": "pod-1",
            })
        );
    }

    #[test]
    fn long_notes_are_cut_between_characters() {
        let note = cut("ä".repeat(1000));
        assert!(note.len() <= LONGEST_NOTE && note.ends_with("ä…"), "{} octets", note.len());
        assert_eq!(cut("short".to_owned()), "short");
        assert_eq!(short(&"a".repeat(300)).len(), 200);
        assert_eq!(short("a-"), "a");
    }
}
