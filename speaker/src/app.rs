//! Puts the parts together and ends them in order.

use std::sync::Arc;
use std::time::Duration;

use runtime::chance::fresh_seed;
use runtime::client::{ConnectError, connect, warm_up};
use runtime::event::EventRecorder;
use runtime::log::LevelHandle;
use runtime::settings::Component;
use runtime::stop::Stop;
use runtime::watch::Barrier;
use tokio::sync::{oneshot, watch};

use crate::admin::shared_admin;
use crate::args::Settings;
use crate::front::Front;
use crate::journal::Journal;
use crate::mark::Mark;
use crate::metrics::Counters;
use crate::peering::{self, PeeringSettings};
use crate::plan::{Plan, SessionTable, StopHow};
use crate::state::{Ending, Memory, StateFile};
use crate::status::{Inlets, report};
use crate::takeover::{Place, Role};
use crate::termination::judge;
use crate::termination::look::{LastSeen, Question};
use crate::watch::question;
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
    let last = LastSeen { node: node.borrow().clone(), daemon_set: *seen.borrow() };
    let how = judge(settings.on_terminate, question.ask(last).await);
    tracing::info!(%how, "speaker ends");
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
                let farewell = async {
                    ended.await;
                    front.say_farewell().await;
                };
                let told = async { tokio::join!(farewell, front.clear()) };
                let _ = tokio::time::timeout(END_LIMIT, told).await;
                mark.remove();
            } else {
                ended.await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state;
    use crate::termination::look::LOOK_LIMIT;

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
