//! The loop of one watch: read everything, follow, resume, read anew. One `Stage` at a time, one step after the other.
//!
//! Leaves out what the objects mean and what trouble is worth logging (`health`). All but `changes` knows no kind: a dozen of
//! them share this code (`Reader`).

use std::time::Duration;

use api::json::FromJson;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use kube::Api;
use kube::api::{ListParams, WatchParams};
use kube::core::Status;
use tokio::time::{Instant, sleep, timeout};

use super::events::{Event, EventFault, Events, Text};
use super::health::Health;
use super::page::{After, Shelf, Texts};
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

struct Watch {
    shelf: Shelf,
    query: Query,
    jitter: Jitter,
    health: Health,
    /// This watch reads in pages, because the server refused or ignored a streaming list.
    paged: bool,
    /// Since when nobody answers.
    away_since: Option<Instant>,
    stage: Stage,
}

enum Stage {
    /// Nothing is known: everything has to be read.
    Start,
    /// A paged list is under way; these objects of its current page are still to be said.
    Page { texts: Texts, after: After },
    /// A streaming list is under way.
    Initial { events: Events },
    /// Everything up to `version` has been said; the watch has to be opened from there.
    Resume { version: String },
    /// The watch is open.
    Follow { version: String, events: Events, heard: bool, overdue: Duration },
}

/// A change without its object, which the reader has.
enum Step {
    Apply,
    Delete,
    Restarted,
    Synced,
}

/// Reads objects of one kind and keeps the last one.
trait Reader: Send {
    /// Reads an object.
    ///
    /// # Errors
    /// What is wrong with a text that does not have the form of the kind.
    fn read(&mut self, text: &str) -> Result<(), String>;

    /// The version of the last one.
    fn version(&self) -> Option<&str>;
}

struct Last<K>(Option<K>);

impl<K: kube::Resource + FromJson + Send> Reader for Last<K> {
    fn read(&mut self, text: &str) -> Result<(), String> {
        self.0 = Some(K::from_json(text).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn version(&self) -> Option<&str> {
        self.0.as_ref()?.meta().resource_version.as_deref()
    }
}

/// See [`super::watch`].
pub(super) fn changes<K>(api: Api<K>, query: Query, seed: u64) -> impl Stream<Item = Change<K>> + Send + Unpin
where
    K: kube::Resource + Clone + FromJson + Send + 'static,
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
    futures::stream::unfold((watch, Last(None)), |(mut watch, mut last)| async move {
        loop {
            let change = match watch.step_boxed(&mut last).await {
                Some(Step::Apply) => last.0.take().map(Change::Apply),
                Some(Step::Delete) => last.0.take().map(Change::Delete),
                Some(Step::Restarted) => Some(Change::Restarted),
                Some(Step::Synced) => Some(Change::Synced),
                None => None,
            };
            if let Some(change) = change {
                return Some((change, (watch, last)));
            }
        }
    })
    .boxed()
}

impl Watch {
    /// A step of which the program that awaits it holds no second copy.
    fn step_boxed<'a>(&'a mut self, reader: &'a mut dyn Reader) -> BoxFuture<'a, Option<Step>> {
        Box::pin(self.step(reader))
    }

    /// One step; `None` when there is nothing to say yet. The stage is taken out and each arm puts the next one back.
    async fn step(&mut self, reader: &mut dyn Reader) -> Option<Step> {
        match std::mem::replace(&mut self.stage, Stage::Start) {
            Stage::Start if self.paged || tally::only_paged() => self.read_page(None).await,
            Stage::Start => self.start_streaming().await,
            Stage::Page { mut texts, after } => match (texts.next(), after) {
                (Some(text), after) => {
                    let step = self.read(reader, text, Step::Apply);
                    self.stage = Stage::Page { texts, after };
                    step
                }
                (None, After::NextPage { token }) => self.read_page(Some(token)).await,
                (None, After::Watch { version }) => {
                    self.works();
                    self.stage = Stage::Resume { version };
                    Some(Step::Synced)
                }
            },
            Stage::Initial { events } => self.read_initial(reader, events).await,
            Stage::Resume { version } => self.resume(version).await,
            Stage::Follow { version, events, heard, overdue } => {
                self.follow(reader, version, events, heard, overdue).await
            }
        }
    }

    async fn start_streaming(&mut self) -> Option<Step> {
        let (params, _) = self.watch_params();
        // Without a version the server answers with the latest state; with "0" it might go back in time.
        match call(START_LIMIT, self.shelf.watch(&params.initial_events(), "")).await {
            Ok(events) => {
                self.stage = Stage::Initial { events };
                Some(Step::Restarted)
            }
            Err(error) if refuses_streaming(&error) => {
                self.paged = true;
                None
            }
            Err(error) => self.wait_after(&error).await,
        }
    }

    async fn read_initial(&mut self, reader: &mut dyn Reader, mut events: Events) -> Option<Step> {
        match timeout(SILENCE_LIMIT, events.next()).await {
            Ok(Some(Ok(Event::Applied(text)))) => {
                self.stage = Stage::Initial { events };
                self.read(reader, text.as_str(), Step::Apply)
            }
            Ok(Some(Ok(Event::Deleted(text)))) => {
                self.stage = Stage::Initial { events };
                self.read(reader, text.as_str(), Step::Delete)
            }
            Ok(Some(Ok(Event::Mark { ends_state: false, .. }))) => {
                self.stage = Stage::Initial { events };
                None
            }
            Ok(Some(Ok(Event::Mark { version, ends_state: true }))) => {
                self.works();
                self.stage =
                    Stage::Follow { version, events, heard: true, overdue: overdue(WATCH_SECONDS.1) };
                Some(Step::Synced)
            }
            Ok(Some(Ok(Event::Failed(status)))) => {
                let error = CallError::Refused(status);
                if refuses_streaming(&error) {
                    self.paged = true;
                    return None;
                }
                self.wait_after(&error).await
            }
            Ok(Some(Err(EventFault::Unreadable(reason)))) => {
                self.health.skipped(reason);
                self.stage = Stage::Initial { events };
                None
            }
            Ok(Some(Err(EventFault::Broken(error)))) => self.wait_after(&error).await,
            Ok(None) => self.wait_after(&ended()).await,
            Err(_elapsed) => {
                self.paged = true;
                None
            }
        }
    }

    async fn read_page(&mut self, token: Option<String>) -> Option<Step> {
        let first = token.is_none();
        let params = ListParams {
            label_selector: self.query.label_selector.clone(),
            field_selector: self.query.field_selector.clone(),
            limit: Some(PAGE),
            continue_token: token,
            ..ListParams::default()
        };
        let page = match call(START_LIMIT, self.shelf.read(&params)).await {
            Ok(page) => page,
            Err(error) if error.code() == Some(410) => return self.start_anew().await,
            Err(error) => return self.wait_after(&error).await,
        };
        if first && self.paged && tally::remember_paged() {
            self.health.fell_back();
        }
        self.stage = Stage::Page { texts: page.texts, after: page.after };
        first.then_some(Step::Restarted)
    }

    async fn resume(&mut self, version: String) -> Option<Step> {
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
        reader: &mut dyn Reader,
        version: String,
        mut events: Events,
        heard: bool,
        overdue: Duration,
    ) -> Option<Step> {
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
            Some(Ok(Event::Applied(text))) => self.hear(reader, &text, Step::Apply, version, events, overdue),
            Some(Ok(Event::Deleted(text))) => {
                self.hear(reader, &text, Step::Delete, version, events, overdue)
            }
            Some(Ok(Event::Mark { version, .. })) => {
                self.works();
                self.stage = Stage::Follow { version, events, heard: true, overdue };
                None
            }
            Some(Ok(Event::Failed(status))) => {
                let error = CallError::Refused(status);
                if forgets(&error) {
                    return self.start_anew().await;
                }
                self.wait_then_resume(version, &error).await
            }
            Some(Err(EventFault::Unreadable(reason))) => {
                self.health.skipped(reason);
                self.stage = Stage::Follow { version, events, heard, overdue };
                None
            }
            Some(Err(EventFault::Broken(error))) => self.wait_then_resume(version, &error).await,
            // The server ends every watch after a while; that is no trouble, unless it does so at once.
            None if heard => {
                self.stage = Stage::Resume { version };
                None
            }
            None => self.wait_then_resume(version, &ended()).await,
        }
    }

    /// One that cannot be read is told and skipped.
    fn read(&mut self, reader: &mut dyn Reader, text: &str, step: Step) -> Option<Step> {
        reader.read(text).map_err(|error| self.health.skipped(error)).ok().map(|()| step)
    }

    /// Reads an object and goes on: the next watch starts behind it, or behind the last one that could be read.
    fn hear(
        &mut self,
        reader: &mut dyn Reader,
        text: &Text,
        step: Step,
        version: String,
        events: Events,
        overdue: Duration,
    ) -> Option<Step> {
        let step = self.read(reader, text.as_str(), step);
        self.works();
        let of_object = step.as_ref().and_then(|_| reader.version().map(str::to_owned));
        let version = of_object.unwrap_or(version);
        self.stage = Stage::Follow { version, events, heard: true, overdue };
        step
    }

    /// Everything is read anew, because the server has forgotten the point where we stood.
    async fn start_anew(&mut self) -> Option<Step> {
        self.stage = Stage::Start;
        sleep(self.health.outdated()).await;
        None
    }

    /// The first read failed: it starts again.
    async fn wait_after(&mut self, error: &CallError) -> Option<Step> {
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
    fn doubt(&mut self) -> Option<Step> {
        self.stage = Stage::Start;
        self.away_since = None;
        self.health.doubts();
        None
    }

    async fn wait_then_resume(&mut self, version: String, error: &CallError) -> Option<Step> {
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
