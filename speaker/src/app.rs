//! Puts the parts together and ends them in order.

use std::sync::Arc;
use std::time::Duration;

use api::herald::SpeakerReport;
use kube::Client;
use prometheus_client::registry::Registry;
use runtime::admin::{Admin, SharedAdmin, serve_unix};
use runtime::chance::fresh_seed;
use runtime::client::{ConnectError, connect, warm_up};
use runtime::complaint::explain;
use runtime::event::EventRecorder;
use runtime::log::LevelHandle;
use runtime::metrics::register_process;
use runtime::settings::Component;
use runtime::stop::Stop;
use runtime::unready;
use runtime::watch::Barrier;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::args::{ServiceStatus, Settings, StatusObjects};
use crate::journal::Journal;
use crate::mark::Mark;
use crate::metrics::{Counters, States};
use crate::peering::{self, PeeringSettings, connected_networks};
use crate::plan::{Plan, SessionPhase, SessionTable, StopHow, Verdict};
use crate::state::{Ending, Memory, StateFile};
use crate::status::answer::Answers;
use crate::status::{self, Inlets, farewell, report, routes, services};
use crate::takeover::{Place, Role};
use crate::termination::judge;
use crate::termination::workload::Question;
use crate::watch::question::{self, Asker};
use crate::watch::{Outlets, WatchSettings, follow};

/// The orderly end of the sessions must be done in this time; with the look at the DaemonSet before it, it fits the grace
/// period of the Pod.
const END_LIMIT: Duration = Duration::from_secs(25);

/// Runs the speaker until it is asked to stop, and ends its sessions in order.
///
/// # Errors
/// [`ConnectError`] when the settings for the API server cannot be used. That the server is away is no error.
pub async fn run(settings: Settings, level: LevelHandle, stop: Stop) -> Result<(), ConnectError> {
    tracing::info!(version = report::VERSION, node = settings.node, "speaker starts");
    let client = connect(settings.common.kubeconfig.as_deref(), Component::Speaker.name()).await?;
    let (mark, start) = Mark::leave(&settings.state_folder());
    let seed = fresh_seed();
    let barrier = Barrier::new();
    let counters = Counters::default();
    let instance = settings.common.pod_name.clone().unwrap_or_else(|| settings.node.clone());
    let events = EventRecorder::start(client.clone(), api::names::EVENT_SOURCE_SPEAKER, instance);

    let (plan_sender, plan) = watch::channel(Arc::new(Plan::unsynced()));
    let (session_sender, sessions) = watch::channel(Arc::new(SessionTable::default()));
    let (config_sender, config) = watch::channel(Arc::default());
    let (node_sender, node) = watch::channel(None);
    let (reads_sender, reads) = watch::channel(0);
    let (stop_sender, stop_how) = watch::channel(None);
    let (role_sender, role) = watch::channel(Role::Asking);
    let (asker, questions) = question::channel();
    let (answer_sender, answer) = oneshot::channel();
    let (seen_sender, seen) = watch::channel(false);
    let inlets = Inlets { plan: plan.clone(), sessions, config, node: node.clone(), reads };

    let watching = follow(
        client.clone(),
        WatchSettings {
            node: settings.node.clone(),
            namespace: settings.common.namespace.clone(),
            class: settings.common.load_balancer_class.clone(),
            exclude_label: settings.exclude_label,
            seed,
        },
        &barrier,
        Outlets { plan: plan_sender, config: config_sender, node: node_sender, reads: reads_sender },
        Journal::new(settings.node.clone(), events.clone(), counters.clone(), start, role.clone()),
        questions,
    );
    let admin = shared_admin(&settings, level, &barrier, &counters, &inlets, asker, role.clone());
    let file = StateFile::new(&settings.state_folder(), &settings.node, settings.state_max_age);
    let answered = async { answer.await.unwrap_or(Ok(())) };
    let (memory, wanted) = Memory::start(&file, answered, barrier.clone(), plan.clone(), &role);
    let question = Question {
        client: client.clone(),
        namespace: settings.common.namespace.clone(),
        daemon_set: settings.daemon_set.clone(),
        node: settings.node.clone(),
    };
    let front = Front {
        client: client.clone(),
        settings: settings.clone(),
        inlets,
        events,
        admin,
        stop: stop.clone(),
    };
    let shown = tokio::spawn(front.clone().show(role.clone()));
    let peering_settings =
        PeeringSettings { node_name: settings.node.clone(), seed, times: counters.wire.clone() };
    let place = Place { socket: settings.takeover_socket(), node: settings.node.clone() };
    let peering = tokio::spawn(peering::run_in_turn(
        wanted,
        session_sender,
        peering_settings,
        stop_how,
        place,
        role_sender,
    ));
    // One small request first, so that everything after it shares its connection.
    let watching = tokio::spawn(async move {
        // Whoever waits for the answer may have found another way.
        let _ = answer_sender.send(warm_up(&client).await);
        watching.await;
    });
    let looking = tokio::spawn(question.clone().first_look(seen_sender));

    stop.requested().await;
    // The one before or after us may hold the sessions; then nothing that is kept for the next start is ours to change.
    let speaks = role.borrow().speaks();
    let leaving = node.borrow().as_ref().and_then(|node| node.leaving);
    let seen = *seen.borrow();
    let how = judge(settings.on_terminate, leaving, question.ask(seen).await);
    tracing::info!(?how, "speaker ends");
    for task in [shown, looking] {
        task.abort();
    }
    let ended = async {
        if tokio::time::timeout(END_LIMIT, peering).await.is_err() {
            tracing::warn!("sessions did not end in time");
        }
    };
    match &how {
        StopHow::Remove(_) => {
            // First, so that no crash on the way leaves a plan that does not hold.
            memory.end(Ending::Remove).await;
            stop_sender.send_replace(Some(how));
            if speaks {
                // Sessions end within a fraction of this; what they leave is for the API server, if it answers.
                let told = async { tokio::join!(front.say_farewell(ended), front.clear()) };
                let _ = tokio::time::timeout(END_LIMIT, told).await;
            } else {
                ended.await;
            }
            if speaks {
                mark.remove();
            }
        }
        StopHow::Restart => {
            // The end may wait for a successor: until it has the sessions, what is to be announced changes on.
            stop_sender.send_replace(Some(how));
            ended.await;
            memory.end(Ending::Keep).await;
        }
    }
    watching.abort();
    Ok(())
}

/// What is shown to the outside, and all that it takes.
#[derive(Clone)]
struct Front {
    client: Client,
    settings: Settings,
    inlets: Inlets,
    events: EventRecorder,
    admin: SharedAdmin,
    stop: Stop,
}

impl Front {
    /// It follows whose turn it is. The addresses for health and metrics belong to the newest process, because the kubelet asks
    /// there whether it is ready; the status objects belong to the one that holds the sessions.
    async fn show(self, mut role: watch::Receiver<Role>) {
        let (mut serving, mut telling) = (None, None);
        loop {
            let now = *role.borrow_and_update();
            let serves = match now {
                Role::Waiting | Role::Active => true,
                Role::Asking | Role::Yielding | Role::Retired => false,
            };
            keep(&mut serving, serves, &|tasks| self.serve(tasks));
            keep(&mut telling, now.speaks(), &|tasks| self.tell(tasks));
            if role.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn serve(&self, tasks: &mut JoinSet<()>) {
        let Self { settings, admin, stop, .. } = self;
        if let Some(pod) = settings.common.own_pod() {
            tasks.spawn(unready::tell(admin.clone(), pod, self.events.clone()));
        }
        let addr = settings.common.admin_addr(Component::Speaker);
        tasks.spawn(SharedAdmin::serve(admin.clone(), addr, stop.clone()));
        if let Some(addr) = settings.common.metrics_addr {
            tasks.spawn(SharedAdmin::serve_metrics(admin.clone(), addr, stop.clone()));
        }
        tasks.spawn(serve_unix(admin.clone(), settings.socket.clone(), stop.clone()));
    }

    fn tell(&self, tasks: &mut JoinSet<()>) {
        let (namespace, node) = (&self.settings.common.namespace, &self.settings.node);
        match self.settings.service_bgp_status {
            ServiceStatus::On => {
                let (client, inlets) = (self.client.clone(), self.inlets.clone());
                tasks.spawn(services::run(client, namespace.clone(), node.clone(), inlets));
            }
            ServiceStatus::Off => {}
        }
        match self.settings.status_objects {
            StatusObjects::On => {
                let (client, inlets) = (self.client.clone(), self.inlets.clone());
                tasks.spawn(status::run(
                    client,
                    namespace.clone(),
                    node.clone(),
                    inlets,
                    self.events.clone(),
                ));
            }
            StatusObjects::Off => {}
        }
    }

    /// Takes back what this node said of its Services.
    async fn clear(&self) {
        match self.settings.service_bgp_status {
            ServiceStatus::On => {
                services::clear(self.client.clone(), &self.settings.common.namespace, &self.settings.node)
                    .await;
            }
            ServiceStatus::Off => {}
        }
    }

    /// Takes back what this node said of its sessions, once they have ended.
    async fn say_farewell(&self, ended: impl Future<Output = ()>) {
        ended.await;
        match self.settings.status_objects {
            StatusObjects::On => {
                let (namespace, node) = (&self.settings.common.namespace, &self.settings.node);
                let networks = connected_networks().unwrap_or_default();
                farewell::say(self.client.clone(), namespace, node, networks).await;
            }
            StatusObjects::Off => {}
        }
    }
}

/// Starts tasks that are wanted and do not run, and ends those that run and are not wanted.
fn keep(tasks: &mut Option<JoinSet<()>>, wanted: bool, start: &impl Fn(&mut JoinSet<()>)) {
    if !wanted {
        *tasks = None;
    } else if tasks.is_none() {
        start(tasks.insert(JoinSet::new()));
    }
}

fn shared_admin(
    settings: &Settings,
    level: LevelHandle,
    barrier: &Barrier,
    counters: &Counters,
    inlets: &Inlets,
    asker: Asker,
    role: watch::Receiver<Role>,
) -> SharedAdmin {
    let mut registry = Registry::default();
    register_process(&mut registry, Component::Speaker);
    counters.register(&mut registry);
    registry.register_collector(Box::new(States {
        node: settings.node.as_str().into(),
        plan: inlets.plan.clone(),
        sessions: inlets.sessions.clone(),
        config: inlets.config.clone(),
    }));
    let turn = move || match *role.borrow() {
        Role::Active | Role::Yielding => Ok(()),
        Role::Asking | Role::Waiting => {
            Err("another speaker of this node still holds the sessions".to_owned())
        }
        Role::Retired => Err("the next speaker of this node holds the sessions".to_owned()),
    };
    admin(settings.node.clone(), barrier.clone(), inlets, asker)
        .ready("turn", turn)
        .metrics(registry)
        .log_level(level)
        .share()
}

fn admin(node: String, barrier: Barrier, inlets: &Inlets, asker: Asker) -> Admin {
    let (plan, own, named) = (inlets.plan.clone(), inlets.node.clone(), node.clone());
    let has_node = move || match (own.borrow().is_some(), plan.borrow().synced) {
        (true, _) => Ok(()),
        (false, false) => Err("the Node object has not been read yet".to_owned()),
        (false, true) => Err(format!("there is no Node object named {named:?}: check --node-name")),
    };
    let (plan, sessions) = (inlets.plan.clone(), inlets.sessions.clone());
    let sessions_up = move || ready_sessions(&plan.borrow(), &sessions.borrow());
    let (for_state, for_debug, waiting) = (inlets.clone(), inlets.clone(), barrier.clone());
    let (for_routes, at) = (inlets.clone(), node.clone());
    let answers = Answers { node: node.clone(), inlets: inlets.clone(), asker };
    Admin::new()
        .json("/routes", move || {
            json!(routes::report(&at, &for_routes.plan.borrow(), &for_routes.sessions.borrow()))
        })
        .inquiry("/why", move |query| answers.clone().why(query))
        .ready("watches", move || barrier.check().map_err(|waiting| explain(&waiting)))
        .ready("node", has_node)
        .ready("sessions", sessions_up)
        .json("/state", move || json!(speaker_report(&node, &for_state)))
        .debug_state(move || debug_state(&for_debug, &waiting))
}

/// A session is up, or there is none to be up. One router that is away must not stop a rollout, all of them must.
fn ready_sessions(plan: &Plan, table: &SessionTable) -> Result<(), String> {
    let up = table.sessions.values().filter(|row| row.phase == SessionPhase::Established).count();
    if plan.peers.is_empty() || up > 0 {
        return Ok(());
    }
    let rows = table.sessions.iter().map(|(peer, row)| {
        let why = row.last_error.as_ref().map(|fault| format!(": {}", fault.text)).unwrap_or_default();
        format!("{peer} {}{why}", row.phase.word())
    });
    Err(format!("no BGP session is established ({})", rows.collect::<Vec<_>>().join("; ")))
}

fn speaker_report(node: &str, inlets: &Inlets) -> SpeakerReport {
    let status = report::status(
        &inlets.plan.borrow(),
        &inlets.sessions.borrow(),
        &connected_networks().unwrap_or_default(),
    );
    SpeakerReport { node: node.to_owned(), status }
}

/// Everything that decisions left behind, for `/debug/state`: made on demand, however large.
fn debug_state(inlets: &Inlets, barrier: &Barrier) -> Value {
    let plan = Arc::clone(&inlets.plan.borrow());
    let config = Arc::clone(&inlets.config.borrow());
    let verdicts: Vec<Value> = plan
        .verdicts
        .iter()
        .map(|(service, verdict)| match verdict {
            Verdict::Announce { announcements, withheld } => json!({
                "service": service.to_string(),
                "announced": announcements.iter().map(|announcement| json!({
                    "prefix": announcement.prefix.to_string(),
                    "advertisement": announcement.terms.advertisement,
                })).collect::<Vec<_>>(),
                "withheld": withheld.iter().map(|(address, reason)| json!({
                    "address": address, "reason": reason.word(), "message": reason.to_string(),
                })).collect::<Vec<_>>(),
            }),
            Verdict::Withhold(reason) => json!({
                "service": service.to_string(), "reason": reason.word(), "message": reason.to_string(),
            }),
        })
        .collect();
    let peers: Vec<Value> = plan
        .peers
        .iter()
        .map(|(name, peer)| {
            let routes = peer.routes.iter().map(|(prefix, attrs)| json!({
                "prefix": prefix.to_string(),
                "localPref": attrs.local_pref,
                "communities": attrs.communities.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "largeCommunities": attrs.large_communities.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }));
            json!({"peer": name, "routes": routes.collect::<Vec<_>>()})
        })
        .collect();
    json!({
        "synced": plan.synced,
        "waitingFor": barrier.waiting(),
        "planVersion": plan.version,
        "peers": peers,
        "services": verdicts,
        "notAccepted": config.complaints().map(|(object, text)| format!("{object}: {text}")).collect::<Vec<_>>(),
        "notices": config.config.notices.iter().map(|(object, notice)| format!("{object}: {notice}")).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state;
    use crate::termination::workload::LOOK_LIMIT;

    #[test]
    fn the_grace_period_of_the_manifest_is_longer_than_the_longest_end() {
        let manifest = include_str!("../../manifests/speaker.yaml");
        let line =
            manifest.lines().find_map(|line| line.trim().strip_prefix("terminationGracePeriodSeconds: "));
        let grace = Duration::from_secs(line.unwrap().parse().unwrap());
        let all = LOOK_LIMIT + END_LIMIT + state::END_LIMIT;
        assert!(all < grace, "{all:?} against {grace:?}");
        assert!(peering::LONGEST_END < END_LIMIT, "{:?}", peering::LONGEST_END);
    }
}
