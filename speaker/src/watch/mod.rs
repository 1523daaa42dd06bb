//! Follows the API server and keeps the plan: facts come in from the watches, are reduced at once, and the plan that
//! follows from them goes out.
//!
//! One task owns everything here. `convert`, `node` and `endpoints` reduce objects to facts, `configuration` keeps the
//! configuration objects, `intake` holds all of it together with the deciding core. No object outlives its event,
//! apart from the few configuration objects. Nothing is planned before every watch has been complete once, and losing
//! the API server changes nothing: only a newer fact does. Leaves out what happens to the plan.

pub mod configuration;
pub mod convert;
pub mod endpoints;
mod farewell;
mod hosting;
pub mod intake;
pub mod node;
mod on_demand;
pub mod question;
mod resource;
mod speakers;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::names::label;
use api::v1beta1::{BFDProfile, BGPAdvertisement, Community, IPAddressPool};
use api::v1beta2::BGPPeer;
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use kube::{Api, Client};
use runtime::chance::Jitter;
use runtime::watch::{Barrier, Guarded, Query, watch};
use tokio::sync::watch::{Receiver, Sender};

use crate::decide::snapshot::ExcludeLabel;
use crate::journal::Journal;
use crate::plan::Plan;
use configuration::ConfigReport;
use intake::{Fact, Intake, SliceUse};
use node::NodeView;
use on_demand::while_wanted;
use question::Questions;

/// Facts that are taken in before the plan is looked at, when they come all at once.
const BATCH: u64 = 64;

/// The first lists begin within this time.
const START_SPREAD: Duration = Duration::from_millis(300);

/// What the watch side has to know.
#[derive(Clone, Debug)]
pub struct WatchSettings {
    /// Name of the own Node.
    pub node: String,
    /// Herald's own namespace, where its configuration is.
    pub namespace: String,
    /// The load balancer class that is served; `None` serves Services without a class.
    pub class: Option<String>,
    /// Whether the exclusion label on the Node counts.
    pub exclude_label: ExcludeLabel,
    /// Spreads retries; different in each process.
    pub seed: u64,
}

/// Where the watch side says what it knows. Each holds a complete state.
#[derive(Debug)]
pub struct Outlets {
    /// The plan; unsynced until all watches have been complete.
    pub plan: Sender<Arc<Plan>>,
    /// What was made of the configuration objects.
    pub config: Sender<Arc<ConfigReport>>,
    /// The own Node; `None` until it has been seen.
    pub node: Sender<Option<NodeView>>,
    /// How often the own Node was read completely: each time but the first, the API server may have other data than before.
    pub reads: Sender<u64>,
}

/// Registers what has to be complete with the barrier, and returns the task that follows the API server for ever.
/// (Two steps, so that whoever asks the barrier before the task runs is told to wait.)
pub fn follow(
    client: Client,
    settings: WatchSettings,
    barrier: &Barrier,
    outlets: Outlets,
    mut journal: Journal,
    mut questions: Questions,
) -> impl Future<Output = ()> + use<> {
    let mut intake = Intake::new(&settings, barrier);
    async move {
        // A thousand speakers that start at one moment must not list everything at one moment.
        let spread = Jitter::new(settings.seed).between(Duration::ZERO, START_SPREAD);
        tokio::time::sleep(spread).await;
        let (want_slices, slices_wanted) = tokio::sync::watch::channel(Some(SliceUse::Counts));
        let (want_states, states_wanted) = tokio::sync::watch::channel(None);
        let mut facts = facts(&client, &settings, slices_wanted, states_wanted);
        loop {
            let fact = tokio::select! {
                fact = facts.next() => fact,
                () = until(intake.due(Instant::now())) => None,
                Some(question) = questions.recv() => {
                    question.answer(|service| intake.explain(service));
                    continue;
                }
            };
            let heard = Instant::now();
            let mut taken = 0;
            let (mut about_endpoints, mut about_services) = (false, false);
            if let Some(fact) = fact {
                taken += 1;
                about_endpoints = matches!(fact, Fact::Slice(_));
                about_services = matches!(fact, Fact::Service(_));
                intake.take(fact);
            }
            // What has already arrived belongs to the same plan; nothing is waited for.
            while taken < BATCH {
                let Some(Some(fact)) = facts.next().now_or_never() else { break };
                about_endpoints |= matches!(fact, Fact::Slice(_));
                about_services |= matches!(fact, Fact::Service(_));
                intake.take(fact);
                taken += 1;
            }
            journal.count_updates(taken);
            if let Some(planned) = intake.plan(heard) {
                let before = Arc::clone(&outlets.plan.borrow());
                let mut plan = planned.plan.clone();
                plan.heard = before.heard.clone();
                // What the first lists hold is no event.
                if before.synced && (about_endpoints || about_services) && plan.moves_routes(&before) {
                    plan.heard = plan.heard.with(plan.version, heard);
                }
                outlets.plan.send_replace(Arc::new(plan));
                if about_endpoints {
                    journal.time_endpoints(heard.elapsed());
                }
                journal.record(&planned, |service| intake.uid_of(service));
                journal.record_node(intake.node().is_some());
            }
            let needed = intake.slices_needed();
            want_slices.send_if_modified(|wanted| std::mem::replace(wanted, needed) != needed);
            let needed = intake.needs_states().then_some(());
            want_states.send_if_modified(|wanted| std::mem::replace(wanted, needed) != needed);
            if let Some(report) = intake.take_report() {
                journal.record_config(&report);
                outlets.config.send_replace(Arc::new(report));
            }
            outlets.node.send_if_modified(|node| {
                let changed = node.as_ref() != intake.node();
                if changed {
                    *node = intake.node().cloned();
                }
                changed
            });
            let count = intake.node_reads();
            outlets.reads.send_if_modified(|reads| std::mem::replace(reads, count) != count);
        }
    }
}

/// Sleeps until then; for ever without a time.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then.into()).await,
        None => std::future::pending().await,
    }
}

fn facts(
    client: &Client,
    settings: &WatchSettings,
    slices_wanted: Receiver<Option<SliceUse>>,
    states_wanted: Receiver<Option<()>>,
) -> SelectAll<BoxStream<'static, Fact>> {
    let namespace = settings.namespace.as_str();
    let mut seed = settings.seed;
    let mut next_seed = || {
        seed = seed.wrapping_add(1);
        seed
    };
    let all = Query::everything;
    let services = Query::fields("spec.type=LoadBalancer");
    let own_node = Query::fields(format!("metadata.name={}", settings.node));
    let passwords = Query::fields(format!("type={}", api::names::PASSWORD_SECRET_TYPE));
    let mut facts = SelectAll::new();
    // The small ones first: they are complete by the time the large ones are.
    facts.push(watch(Api::all(client.clone()), own_node, next_seed()).map(Fact::Node).boxed());
    facts.push(
        watch(Api::<Guarded<IPAddressPool>>::namespaced(client.clone(), namespace), all(), next_seed())
            .map(Fact::Pool)
            .boxed(),
    );
    facts.push(
        watch(Api::<Guarded<BGPPeer>>::namespaced(client.clone(), namespace), all(), next_seed())
            .map(Fact::Peer)
            .boxed(),
    );
    facts.push(
        watch(Api::<Guarded<BGPAdvertisement>>::namespaced(client.clone(), namespace), all(), next_seed())
            .map(Fact::Advertisement)
            .boxed(),
    );
    facts.push(
        watch(Api::<Guarded<Community>>::namespaced(client.clone(), namespace), all(), next_seed())
            .map(Fact::Community)
            .boxed(),
    );
    facts.push(
        watch(Api::<Guarded<BFDProfile>>::namespaced(client.clone(), namespace), all(), next_seed())
            .map(Fact::BfdProfile)
            .boxed(),
    );
    facts.push(
        watch(Api::namespaced(client.clone(), namespace), passwords, next_seed()).map(Fact::Secret).boxed(),
    );
    facts.push(watch(Api::all(client.clone()), services, next_seed()).map(Fact::Service).boxed());
    let speakers = Query::labels(format!("{}={}", label::COMPONENT_TYPE, label::COMPONENT_SPEAKER));
    let (states, mut state_seeds) = (Api::namespaced(client.clone(), namespace), Jitter::new(next_seed()));
    let states = move || watch(states.clone(), speakers.clone(), state_seeds.draw()).map(Fact::State).boxed();
    facts.push(while_wanted(states_wanted, states, || Fact::StatesForgotten).boxed());
    let (client, mut slice_seeds) = (client.clone(), Jitter::new(next_seed()));
    let slices = move || {
        let query = Query::labels(label::SERVICE_NAME);
        watch(Api::all(client.clone()), query, slice_seeds.draw()).map(Fact::Slice).boxed()
    };
    facts.push(while_wanted(slices_wanted, slices, || Fact::SlicesForgotten).boxed());
    facts
}
