//! One term of leadership: read everything, then keep Services as they should be until the lease or the process ends, or
//! Services have to be read anew.
//!
//! Leaves out every decision. All state is built anew from a consistent read, and dropped at the end of the term.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::Client;
use runtime::chance::fresh_seed;
use runtime::event::EventRecorder;
use runtime::lease::Leadership;
use runtime::stop::Stop;
use runtime::watch::Change;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::alloc::Terms;
use crate::desk::Desk;
use crate::input::{Extras, Input, inputs};
use crate::metrics::Metrics;
use crate::patch::{Job, Sent, WRITE_LIMIT, abandon, send};
use crate::report::Report;
use crate::status;

/// Writes under way at any time.
const IN_FLIGHT: usize = 16;
/// What is shown besides Services is gathered for this long.
const REPORT_PAUSE: Duration = Duration::from_millis(500);
/// A write that began in time may end this long after the renew deadline: still before anybody else can lead.
const GRACE: Duration = Duration::from_secs(2);
/// For the writes under way when the process is asked to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// What a term needs from the process around it.
#[derive(Clone)]
pub(crate) struct Office {
    /// The API server.
    pub(crate) client: Client,
    /// Where the configuration is.
    pub(crate) namespace: String,
    /// The load-balancer class that is ours.
    pub(crate) class: Option<String>,
    /// What holds for pools that say nothing else.
    pub(crate) terms: Terms,
    /// The Deployment that owns what is written.
    pub(crate) deployment: Option<String>,
    /// Where events go.
    pub(crate) recorder: EventRecorder,
    /// The counters.
    pub(crate) metrics: Metrics,
    /// What is shown; `None` until everything has been read.
    pub(crate) reports: watch::Sender<Option<Arc<Report>>>,
}

/// The end of a write.
enum Done {
    Written(Box<Job>, Sent),
    Abandoned,
}

/// Leads until the lease is lost, Services have to be read anew, or the process is asked to stop.
pub(crate) async fn lead(office: &Office, leadership: &watch::Receiver<Leadership>, stop: &Stop) {
    let extras = tokio::select! {
        extras = Extras::ask(&office.client, &office.namespace) => extras,
        () = stop.requested() => return,
        () = lost(leadership.clone()) => return,
    };
    let (class, recorder) = (office.class.clone(), office.recorder.clone());
    let mut desk = Desk::new(class, office.terms, extras, recorder, office.metrics.clone(), fresh_seed());
    let mut inputs = inputs(&office.client, &office.namespace, extras, fresh_seed());
    let mut writes: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
    let mut status = pin!(status::keep(
        office.client.clone(),
        office.namespace.clone(),
        office.deployment.clone(),
        leadership.clone(),
        office.reports.subscribe(),
    ));
    let mut lost = pin!(lost(leadership.clone()));
    let mut grown = pin!(extras.grown(&office.client, &office.namespace));
    let mut stopped = pin!(stop.requested());
    let mut report_at: Option<Instant> = None;
    let mut status_ended = false;
    loop {
        let now = Instant::now();
        fill(office, &mut desk, leadership, &mut writes, now);
        // Addresses first: a burst of events would take the API server's time from them.
        office.recorder.hold(!writes.is_empty());
        if report_at.is_none_or(|at| at <= now) {
            report_at = None;
            if let Some(report) = desk.report() {
                office.reports.send_replace(Some(Arc::new(report)));
                report_at = Some(now + REPORT_PAUSE);
            }
        }
        let wake = desk.wakes().into_iter().chain(report_at).min();
        tokio::select! {
            () = &mut stopped => break,
            () = &mut grown => {
                tracing::info!("a kind that was missing can be read: everything is read anew");
                break;
            }
            () = &mut lost => {
                // Whoever leads now decides; what is under way here is cut off.
                drop(writes);
                office.recorder.hold(false);
                office.reports.send_replace(None);
                return;
            }
            Some(done) = writes.next(), if !writes.is_empty() => match done {
                Done::Written(job, sent) => desk.written(*job, sent, Instant::now()),
                Done::Abandoned => {}
            },
            Some(input) = inputs.next() => {
                // The server may have other data than those that the desk has grown from: who holds which address, and which
                // of our writes are there.
                if desk.gives() && matches!(input, Input::Service(Change::Restarted)) {
                    tracing::info!("Services have to be read anew: a new term begins");
                    break;
                }
                desk.take(input, Instant::now());
            }
            () = &mut status, if !status_ended => status_ended = true,
            () = sleep_until(wake), if wake.is_some() => {}
        }
    }
    let drain = async { while writes.next().await.is_some() {} };
    if timeout(DRAIN_LIMIT, drain).await.is_err() {
        tracing::warn!("writes under way did not end in time");
    }
    office.recorder.hold(false);
    office.reports.send_replace(None);
}

/// Starts as many writes as may be under way. None without the lease.
fn fill(
    office: &Office,
    desk: &mut Desk,
    leadership: &watch::Receiver<Leadership>,
    writes: &mut FuturesUnordered<BoxFuture<'static, Done>>,
    now: Instant,
) {
    while writes.len() < IN_FLIGHT {
        let Some(limit) = time_left(*leadership.borrow(), now) else {
            return;
        };
        let client = office.client.clone();
        if let Some(job) = desk.next_job(now) {
            let sending = async move {
                let (job, sent) = send(client, job, limit).await;
                Done::Written(Box::new(job), sent)
            };
            writes.push(sending.boxed());
        } else if let Some((key, uid)) = desk.next_abandoned() {
            writes.push(abandon(client, key, uid, limit).map(|()| Done::Abandoned).boxed());
        } else {
            return;
        }
    }
}

/// How long a write that begins at `now` may take; `None` without the lease.
pub(crate) fn time_left(leadership: Leadership, now: Instant) -> Option<Duration> {
    match leadership {
        Leadership::Leader { until } if now < until => {
            Some((until + GRACE).saturating_duration_since(now).min(WRITE_LIMIT))
        }
        Leadership::Leader { .. } | Leadership::Standby => None,
    }
}

async fn lost(mut leadership: watch::Receiver<Leadership>) {
    // An election that has ended is a lease that nobody renews.
    let _ = leadership.wait_for(|leadership| !leadership.is_leader()).await;
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use runtime::lease::LeaseSettings;

    use super::*;

    #[test]
    fn a_write_begins_only_with_the_lease_and_ends_before_it_can_pass_on() {
        let now = Instant::now();
        let leader = |seconds| Leadership::Leader { until: now + Duration::from_secs(seconds) };
        assert_eq!(time_left(Leadership::Standby, now), None);
        assert_eq!(time_left(leader(0), now), None);
        assert_eq!(time_left(leader(10), now), Some(WRITE_LIMIT));
        let almost = Leadership::Leader { until: now + Duration::from_millis(1) };
        assert_eq!(time_left(almost, now), Some(GRACE + Duration::from_millis(1)));
        let term = LeaseSettings::new("metallb-system", "herald-controller", "a");
        assert!(term.renew_deadline + GRACE < term.duration, "the last write ends before anybody else leads");
    }
}
