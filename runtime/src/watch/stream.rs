//! The loop of one watch: read everything, follow, resume, read anew. One `Stage` at a time, one step after the other.
//!
//! Leaves out what the objects mean and what trouble is worth logging (`health`).

use std::fmt::Debug;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Status;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use super::health::Health;
use super::page::{After, Events, Page, Shelf, Text};
use super::tally;
use super::trouble::Asked;
use super::{Change, Query};
use crate::chance::Jitter;
use crate::client::{CallError, call};
use crate::version::is_older;

/// Objects in one page of a list.
const PAGE: u32 = 500;
/// From asking to the start of a watch, and for one whole page of a list.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Silence within a streaming list after which paged lists are tried.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// Seconds after which the server ends a watch; spread, so that a thousand speakers do not come back together.
const WATCH_SECONDS: (u64, u64) = (280, 290);
/// The server should have ended the watch this long ago: the path must be dead.
const OVERDUE: Duration = Duration::from_secs(5);
/// A resumed watch that stands this long without an error works, even if nothing happens.
const STEADY: Duration = Duration::from_secs(5);
/// From the break of a watch to the answer to the first try, which comes within a second. If it does not come by then, the
/// server was away, and may be back with the data of a backup. It takes a version that it has not given out yet, or has given
/// out anew for something else, without a word, so nothing is resumed there.
const LONGEST_GAP: Duration = Duration::from_millis(1500);

struct Watch<K> {
    shelf: Shelf,
    query: Query,
    jitter: Jitter,
    health: Health,
    /// This watch reads in pages, because the server refused or ignored a streaming list.
    paged: bool,
    /// Since when nobody answers.
    away_since: Option<Instant>,
    stage: Stage<K>,
}

enum Stage<K> {
    /// Nothing is known: everything has to be read.
    Start,
    /// A paged list is under way; these objects of its current page are still to be said.
    Page { objects: std::vec::IntoIter<K>, after: After },
    /// A streaming list is under way.
    Initial { events: Events },
    /// Everything up to `version` has been said; the watch has to be opened from there.
    Resume { version: String },
    /// The watch is open.
    Follow { version: String, events: Events, heard: bool, overdue: Duration },
}

/// See [`super::watch`].
pub(super) fn changes<K>(api: Api<K>, query: Query, seed: u64) -> impl Stream<Item = Change<K>> + Send + Unpin
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let watch = Watch {
        shelf: Shelf::of(&api),
        query,
        jitter: Jitter::new(seed),
        health: Health::new(Asked::of::<K>(), seed ^ 1),
        paged: false,
        away_since: None,
        stage: Stage::Start,
    };
    futures::stream::unfold(watch, |mut watch| async move {
        loop {
            if let Some(change) = watch.step().await {
                return Some((change, watch));
            }
        }
    })
    .boxed()
}

impl<K> Watch<K>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// One step; `None` when there is nothing to say yet. The stage is taken out and each arm puts the next one back.
    async fn step(&mut self) -> Option<Change<K>> {
        match std::mem::replace(&mut self.stage, Stage::Start) {
            Stage::Start if self.paged || tally::only_paged() => self.read_page(None).await,
            Stage::Start => self.start_streaming().await,
            Stage::Page { mut objects, after } => match (objects.next(), after) {
                (Some(object), after) => {
                    self.stage = Stage::Page { objects, after };
                    Some(Change::Apply(object))
                }
                (None, After::NextPage { token }) => self.read_page(Some(token)).await,
                (None, After::Watch { version }) => {
                    self.works();
                    self.stage = Stage::Resume { version };
                    Some(Change::Synced)
                }
            },
            Stage::Initial { events } => self.read_initial(events).await,
            Stage::Resume { version } => self.resume(version).await,
            Stage::Follow { version, events, heard, overdue } => {
                self.follow(version, events, heard, overdue).await
            }
        }
    }

    async fn start_streaming(&mut self) -> Option<Change<K>> {
        let (params, _) = self.watch_params();
        // Without a version the server answers with the latest state; with "0" it might go back in time.
        match call(START_LIMIT, self.shelf.watch(&params.initial_events(), "")).await {
            Ok(events) => {
                self.stage = Stage::Initial { events };
                Some(Change::Restarted)
            }
            Err(error) if refuses_streaming(&error) => {
                self.paged = true;
                None
            }
            Err(error) => self.wait_after(&error).await,
        }
    }

    async fn read_initial(&mut self, mut events: Events) -> Option<Change<K>> {
        match timeout(SILENCE_LIMIT, events.next()).await {
            Ok(Some(Ok(WatchEvent::Added(text) | WatchEvent::Modified(text)))) => {
                self.stage = Stage::Initial { events };
                self.read(&text).map(Change::Apply)
            }
            Ok(Some(Ok(WatchEvent::Deleted(text)))) => {
                self.stage = Stage::Initial { events };
                self.read(&text).map(Change::Delete)
            }
            Ok(Some(Ok(WatchEvent::Bookmark(mark)))) => {
                if !mark.metadata.annotations.contains_key("k8s.io/initial-events-end") {
                    self.stage = Stage::Initial { events };
                    return None;
                }
                self.works();
                let version = mark.metadata.resource_version;
                self.stage =
                    Stage::Follow { version, events, heard: true, overdue: overdue(WATCH_SECONDS.1) };
                Some(Change::Synced)
            }
            Ok(Some(Ok(WatchEvent::Error(status)))) => {
                let error = CallError::Refused(status);
                if refuses_streaming(&error) {
                    self.paged = true;
                    return None;
                }
                self.wait_after(&error).await
            }
            Ok(Some(Err(error))) => match unreadable(error) {
                Ok(error) => {
                    self.health.skipped(error);
                    self.stage = Stage::Initial { events };
                    None
                }
                Err(error) => self.wait_after(&error).await,
            },
            Ok(None) => self.wait_after(&ended()).await,
            Err(_elapsed) => {
                self.paged = true;
                None
            }
        }
    }

    async fn read_page(&mut self, token: Option<String>) -> Option<Change<K>> {
        let first = token.is_none();
        let params = ListParams {
            label_selector: self.query.label_selector.clone(),
            field_selector: self.query.field_selector.clone(),
            limit: Some(PAGE),
            continue_token: token,
            ..ListParams::default()
        };
        let page: Page<K> = match call(START_LIMIT, self.shelf.read(&params)).await {
            Ok(page) => page,
            Err(error) if error.code() == Some(410) => return self.start_anew().await,
            Err(error) => return self.wait_after(&error).await,
        };
        if first && self.paged && tally::remember_paged() {
            self.health.fell_back();
        }
        for error in page.unreadable {
            self.health.skipped(error);
        }
        self.stage = Stage::Page { objects: page.objects.into_iter(), after: page.after };
        first.then_some(Change::Restarted)
    }

    async fn resume(&mut self, version: String) -> Option<Change<K>> {
        if self.was_away_for_long() {
            return self.doubt();
        }
        let (params, seconds) = self.watch_params();
        match call(START_LIMIT, self.shelf.watch(&params, &version)).await {
            // The answer itself may have taken that long.
            Ok(_) if self.was_away_for_long() => self.doubt(),
            Ok(events) => {
                if self.away_since.is_some() {
                    // Somebody else may have answered in its place.
                    match call(START_LIMIT, self.shelf.version()).await {
                        Ok(now) if is_older(&now, &version) => return self.doubt(),
                        Ok(_) => {}
                        Err(error) => return self.wait_then_resume(version, &error).await,
                    }
                }
                self.stage = Stage::Follow { version, events, heard: false, overdue: overdue(seconds) };
                None
            }
            Err(error) if forgets(&error) => self.start_anew().await,
            Err(error) => self.wait_then_resume(version, &error).await,
        }
    }

    async fn follow(
        &mut self,
        version: String,
        mut events: Events,
        heard: bool,
        overdue: Duration,
    ) -> Option<Change<K>> {
        let patience = if heard { overdue } else { STEADY };
        let event = match timeout(patience, events.next()).await {
            Ok(event) => event,
            Err(_elapsed) if !heard => {
                self.works();
                self.stage = Stage::Follow { version, events, heard: true, overdue };
                return None;
            }
            Err(_elapsed) => {
                return self.wait_then_resume(version, &CallError::TimedOut { limit: overdue }).await;
            }
        };
        match event {
            Some(Ok(WatchEvent::Added(text) | WatchEvent::Modified(text))) => {
                let object = self.read(&text);
                self.heard(object.as_ref(), version, events, overdue);
                object.map(Change::Apply)
            }
            Some(Ok(WatchEvent::Deleted(text))) => {
                let object = self.read(&text);
                self.heard(object.as_ref(), version, events, overdue);
                object.map(Change::Delete)
            }
            Some(Ok(WatchEvent::Bookmark(mark))) => {
                self.works();
                let version = mark.metadata.resource_version;
                self.stage = Stage::Follow { version, events, heard: true, overdue };
                None
            }
            Some(Ok(WatchEvent::Error(status))) => {
                let error = CallError::Refused(status);
                if forgets(&error) {
                    return self.start_anew().await;
                }
                self.wait_then_resume(version, &error).await
            }
            Some(Err(error)) => match unreadable(error) {
                Ok(error) => {
                    self.health.skipped(error);
                    self.stage = Stage::Follow { version, events, heard, overdue };
                    None
                }
                Err(error) => self.wait_then_resume(version, &error).await,
            },
            // The server ends every watch after a while; that is no trouble, unless it does so at once.
            None if heard => {
                self.stage = Stage::Resume { version };
                None
            }
            None => self.wait_then_resume(version, &ended()).await,
        }
    }

    /// One that cannot be read is told and skipped.
    fn read(&mut self, text: &Text) -> Option<K> {
        text.read().map_err(|error| self.health.skipped(error)).ok()
    }

    /// Goes on after an object: the next watch starts behind it, or behind the last one that could be read.
    fn heard(&mut self, object: Option<&K>, version: String, events: Events, overdue: Duration) {
        self.works();
        let version = object.and_then(|object| object.meta().resource_version.clone()).unwrap_or(version);
        self.stage = Stage::Follow { version, events, heard: true, overdue };
    }

    /// Everything is read anew, because the server has forgotten the point where we stood.
    async fn start_anew(&mut self) -> Option<Change<K>> {
        self.stage = Stage::Start;
        sleep(self.health.outdated()).await;
        None
    }

    /// The first read failed: it starts again.
    async fn wait_after(&mut self, error: &CallError) -> Option<Change<K>> {
        self.stage = Stage::Start;
        sleep(self.health.failed(error)).await;
        None
    }

    fn works(&mut self) {
        self.away_since = None;
        self.health.works();
    }

    fn was_away_for_long(&self) -> bool {
        self.away_since.is_some_and(|since| since.elapsed() > LONGEST_GAP)
    }

    /// The server may have other data than before: everything is read anew.
    fn doubt(&mut self) -> Option<Change<K>> {
        self.stage = Stage::Start;
        self.away_since = None;
        self.health.doubts();
        None
    }

    async fn wait_then_resume(&mut self, version: String, error: &CallError) -> Option<Change<K>> {
        match error {
            CallError::Unreachable(_) => _ = self.away_since.get_or_insert_with(Instant::now),
            // Nobody knows since when.
            CallError::TimedOut { limit } => {
                let now = Instant::now();
                self.away_since.get_or_insert_with(|| now.checked_sub(*limit).unwrap_or(now));
            }
            CallError::Refused(_) | CallError::Unreadable(_) | CallError::NotSent(_) => {}
        }
        let wait = self.health.failed(error);
        let anew = error.code().is_some() && self.health.wants_fresh_start();
        self.stage = if anew { Stage::Start } else { Stage::Resume { version } };
        sleep(wait).await;
        None
    }

    /// Parameters of a watch, and the seconds after which the server will end it.
    fn watch_params(&mut self) -> (WatchParams, u64) {
        let (least, most) = WATCH_SECONDS;
        let seconds = least + self.jitter.up_to(most - least);
        let params = WatchParams {
            label_selector: self.query.label_selector.clone(),
            field_selector: self.query.field_selector.clone(),
            timeout: u32::try_from(seconds).ok(),
            bookmarks: true,
            send_initial_events: false,
        };
        (params, seconds)
    }
}

fn overdue(seconds: u64) -> Duration {
    Duration::from_secs(seconds) + OVERDUE
}

fn ended() -> CallError {
    CallError::Unreadable("the watch ended as soon as it had begun".to_owned())
}

/// Tells an event that cannot be read (`Ok`, with the reason) from a watch that broke (`Err`). kube tries to read such
/// an event as an error answer; as those have no required field, that gives one without any content.
fn unreadable(error: kube::Error) -> Result<String, CallError> {
    match CallError::from(error) {
        CallError::Unreadable(reason) => Ok(reason),
        CallError::Refused(status) if status.code == 0 && status.status.is_none() => {
            Ok("it does not have the form of its kind".to_owned())
        }
        error @ (CallError::Refused(_)
        | CallError::TimedOut { .. }
        | CallError::Unreachable(_)
        | CallError::NotSent(_)) => Err(error),
    }
}

/// The words of a server that has streaming lists switched off or does not know them (400, 422), or whose etcd is too
/// old to say how recent its cache is (500, naming `RequestWatchProgress`).
fn refuses_streaming(error: &CallError) -> bool {
    match error {
        CallError::Refused(status) => match status.code {
            400 | 422 => true,
            500 => status.message.contains("RequestWatchProgress"),
            _ => false,
        },
        CallError::TimedOut { .. }
        | CallError::Unreachable(_)
        | CallError::Unreadable(_)
        | CallError::NotSent(_) => false,
    }
}

/// The server has no history back to where we stood, or is behind it (restored from a backup).
fn forgets(error: &CallError) -> bool {
    match error {
        CallError::Refused(status) => match status.code {
            410 | 400 => true,
            504 => too_large(status),
            _ => false,
        },
        CallError::TimedOut { .. }
        | CallError::Unreachable(_)
        | CallError::Unreadable(_)
        | CallError::NotSent(_) => false,
    }
}

fn too_large(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| details.causes.iter());
    causes.any(|cause| cause.reason == "ResourceVersionTooLarge")
        || status.message.contains("Too large resource version")
}
