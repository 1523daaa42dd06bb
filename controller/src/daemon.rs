//! The process: what it starts, in which order, and how it ends.
//!
//! Leaves out what a leader does.

use std::sync::Arc;

use api::names::{CONTROLLER_LEASE, EVENT_SOURCE_CONTROLLER};
use prometheus_client::registry::Registry;
use runtime::admin::Admin;
use runtime::client::{ConnectError, connect, warm_up};
use runtime::complaint::explain;
use runtime::event::EventRecorder;
use runtime::lease::{self, Leadership, LeaseSettings};
use runtime::log::LevelHandle;
use runtime::metrics::register_process;
use runtime::settings::Component;
use runtime::stop::Stop;
use runtime::unready;
use runtime::watch::Barrier;
use tokio::sync::watch;

use crate::args::Settings;
use crate::metrics::Metrics;
use crate::reconcile::{Office, lead};
use crate::report::Report;

/// Runs the controller until it is asked to stop. The lease is given back before it returns.
///
/// # Errors
/// [`ConnectError`] when the settings of the connection cannot be used. An API server that is away is no error.
pub async fn run(settings: Settings, level: LevelHandle, stop: Stop) -> Result<(), ConnectError> {
    let client = connect(settings.kubeconfig.as_deref(), Component::Controller.name()).await?;
    let mut registry = Registry::default();
    register_process(&mut registry, Component::Controller);
    let metrics = Metrics::register(&mut registry);
    let (reports, shown) = watch::channel(None);
    if let Err(error) = warm_up(&client).await {
        tracing::warn!(%error, "the API server does not answer yet");
    }
    let identity = lease::identity(settings.pod_name.as_deref(), Component::Controller.name());
    let recorder = EventRecorder::start(client.clone(), EVENT_SOURCE_CONTROLLER, identity.clone());
    let term = LeaseSettings::new(settings.namespace.clone(), CONTROLLER_LEASE, identity);
    let barrier = Barrier::new();
    let (mut leadership, elector) = lease::start(client.clone(), term, barrier.register("the lease"));
    let admin = admin(registry, level, barrier, leadership.clone(), shown).share();
    if let Some(pod) = settings.pod {
        tokio::spawn(unready::tell(admin.clone(), pod, recorder.clone()));
    }
    tokio::spawn(admin.clone().serve(settings.admin_addr, stop.clone()));
    if let Some(addr) = settings.metrics_addr {
        tokio::spawn(admin.serve_metrics(addr, stop.clone()));
    }
    let office = Office {
        client,
        namespace: settings.namespace,
        class: settings.class,
        terms: settings.terms,
        deployment: settings.deployment,
        recorder,
        metrics: metrics.clone(),
        reports,
    };
    while !stop.is_requested() {
        tokio::select! {
            () = stop.requested() => break,
            elected = leadership.wait_for(|leadership| leadership.is_leader()) => {
                if elected.is_err() {
                    break;
                }
            }
        }
        metrics.leading.set(1);
        lead(&office, &leadership, &stop).await;
        metrics.stand_by();
    }
    elector.release().await;
    Ok(())
}

fn admin(
    registry: Registry,
    level: LevelHandle,
    barrier: Barrier,
    leadership: watch::Receiver<Leadership>,
    shown: watch::Receiver<Option<Arc<Report>>>,
) -> Admin {
    let state = shown.clone();
    let leader = leadership.clone();
    let ready = move || {
        let leads = leadership.borrow().is_leader();
        let reading = shown.borrow().is_none();
        if leads && reading {
            return Err(explain("leading, and still reading Services and configuration"));
        }
        Ok(())
    };
    let debug = move || {
        let report = state.borrow().as_ref().map(|report| report.to_json());
        serde_json::json!({ "leader": leader.borrow().is_leader(), "state": report })
    };
    // A standby that cannot see the lease stands by for nothing.
    let lease = move || barrier.check().map_err(|waiting| explain(&waiting));
    Admin::new()
        .ready("lease", lease)
        .ready("synced-or-standby", ready)
        .metrics(registry)
        .debug_state(debug)
        .log_level(level)
}
