//! What the speaker answers when it is asked: readiness, metrics, routes, reasons, and everything it knows.

use std::sync::Arc;

use api::herald::SpeakerReport;
use prometheus_client::registry::Registry;
use runtime::admin::{Admin, SharedAdmin};
use runtime::complaint::explain;
use runtime::log::LevelHandle;
use runtime::metrics::register_process;
use runtime::settings::Component;
use runtime::watch::Barrier;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::args::Settings;
use crate::metrics::{Counters, States};
use crate::peering::connected_networks;
use crate::plan::{Plan, SessionPhase, SessionTable, Verdict};
use crate::status::answer::Answers;
use crate::status::{Inlets, report, routes};
use crate::takeover::Role;
use crate::watch::question::Asker;

/// All answers of a speaker.
pub(crate) fn shared_admin(
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
