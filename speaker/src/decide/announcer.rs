//! Keeps the plan up to date: facts go in as they change, and only the Services they touch are decided again.
//!
//! The cost of a change is that of the Services and prefixes it concerns; a change of configuration or Node decides
//! all Services again. Equal to [`super::full::announcements`] of the same facts, which a property test holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use api::config::Config;
use api::service::ServiceKey;

use super::known::Known;
use super::ledger::Ledger;
use super::linger::Lingering;
use super::rules::Rules;
use super::snapshot::{
    Circumstances, EndpointFacts, ExcludeLabel, NodeFacts, ServiceFacts, Snapshot, Surroundings,
};
use super::verdict::{Reason, Verdict};
use super::verdicts::Verdicts;
use super::width::{Fleet, Hosts};
use super::{Explanation, decide, explain};
use crate::plan::{PeerPlan, Plan};

/// Proof that every watch has been complete once. Whoever makes one answers for it: before that moment nothing may
/// be planned, because what was not looked at yet would be withdrawn.
#[derive(Clone, Copy, Debug)]
pub struct Synced(());

impl Synced {
    /// For the watch side's barrier, and for tests that set up complete facts.
    #[must_use]
    pub fn all_watches() -> Self {
        Self(())
    }
}

/// The facts, the plan that follows from them, and what has to be looked at again.
#[derive(Debug)]
pub struct Announcer {
    known: Known,
    around: Surroundings,
    rules: Option<Rules>,
    dirty: Dirty,
    ledger: Ledger,
    verdicts: Verdicts,
    peers: BTreeMap<String, PeerPlan>,
    able: Arc<BTreeSet<String>>,
    lingering: Lingering,
    version: u64,
}

/// What the next plan has to look at.
#[derive(Debug)]
enum Dirty {
    Services(BTreeSet<ServiceKey>),
    Everything,
}

/// A plan that differs from the one before, and how.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The new plan.
    pub plan: Plan,
    /// What became of the Services whose verdict changed, sorted.
    pub transitions: Vec<Transition>,
}

/// The change of one Service's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The Service.
    pub service: ServiceKey,
    /// Its verdict in the plan before; `None` when it was not there.
    pub before: Option<Arc<Verdict>>,
    /// Its verdict now; `None` when it is gone.
    pub after: Option<Arc<Verdict>>,
}

impl Transition {
    /// Whether the Service was announced before and is so now.
    #[must_use]
    pub fn announced(&self) -> (bool, bool) {
        let announced =
            |verdict: &Option<Arc<Verdict>>| verdict.as_ref().is_some_and(|v| v.reason().is_none());
        (announced(&self.before), announced(&self.after))
    }

    /// Why the Service, or the addresses that it had, is no longer announced; `None` if it was not, or still is.
    #[must_use]
    pub fn withdrawal(&self) -> Option<Reason> {
        let before = self.before.as_ref()?;
        match self.after.as_deref() {
            None if before.reason().is_none() => Some(Reason::ServiceDeleted),
            None => None,
            Some(Verdict::Withhold(reason)) if before.reason().is_none() => Some(Reason::clone(reason)),
            Some(Verdict::Withhold(_)) => None,
            Some(after @ Verdict::Announce { withheld, .. }) => {
                let lost = before.addresses().difference(&after.addresses()).next().copied()?;
                let held = withheld.iter().find(|(address, _)| *address == lost);
                Some(held.map_or(Reason::LoadBalancerIpChanged, |(_, reason)| reason.clone()))
            }
        }
    }
}

impl Announcer {
    /// Without any facts.
    #[must_use]
    pub fn new(exclude_label: ExcludeLabel) -> Self {
        Self {
            known: Known::default(),
            around: Surroundings {
                fleet: Fleet::default(),
                own: Box::default(),
                node: None,
                config: Arc::new(Config::default()),
                exclude_label,
            },
            rules: None,
            dirty: Dirty::Everything,
            ledger: Ledger::default(),
            verdicts: Verdicts::default(),
            peers: BTreeMap::new(),
            able: Arc::default(),
            lingering: Lingering::default(),
            version: 0,
        }
    }

    /// On the node of that name, by which nodes are chosen where not all announce.
    #[must_use]
    pub fn on(mut self, node: &str) -> Self {
        self.around.own = node.into();
        self
    }

    /// The time; what lingers until then goes with the next plan. Without it nothing lingers.
    pub fn set_time(&mut self, now: Instant) {
        let over = self.lingering.set_time(now);
        self.touch(over);
    }

    /// When time alone will change the plan.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.lingering.due()
    }

    /// What the speakers of the cluster say about themselves.
    pub fn set_fleet(&mut self, fleet: &Fleet) {
        if self.around.fleet != *fleet {
            self.around.fleet = fleet.clone();
            if self.bounds_any() {
                self.dirty = Dirty::Everything;
            }
        }
    }

    /// The nodes with ready endpoints of a Service; none where they are not known.
    pub fn set_hosts(&mut self, key: ServiceKey, hosts: Hosts) {
        let news = self.known.set_hosts(key, hosts);
        self.touch(news);
    }

    /// Whether some advertisement on this node is for a bounded number of nodes, by the last plan.
    #[must_use]
    pub fn bounds_any(&self) -> bool {
        self.rules.as_ref().is_some_and(Rules::bounds_any)
    }

    /// All facts as they were last told, written out for whoever decides from scratch.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.known.snapshot(self.around.clone())
    }

    /// A Service of this speaker's class as it is now; `None` when it is gone.
    pub fn set_service(&mut self, key: ServiceKey, service: Option<&ServiceFacts>) {
        let news = self.known.set_service(key, service);
        self.touch(news);
    }

    /// The facts of a Service, as they were last told.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<ServiceFacts> {
        self.known.service(key)
    }

    /// The endpoint counts of a Service as they are now; zeros when it has no slices.
    pub fn set_endpoints(&mut self, key: ServiceKey, endpoints: EndpointFacts) {
        let news = self.known.set_endpoints(key, endpoints);
        self.touch(news);
    }

    /// The endpoint counts of a Service, as they were last told, and its key as it is kept here: a copy of that one costs no
    /// memory.
    #[must_use]
    pub fn endpoints(&self, key: ServiceKey) -> (ServiceKey, EndpointFacts) {
        self.known.endpoints(key)
    }

    /// This node as it is now; `None` when there is no such Node object.
    pub fn set_node(&mut self, node: Option<NodeFacts>) {
        if self.around.node != node {
            self.around.node = node;
            self.dirty = Dirty::Everything;
        }
    }

    /// The configuration as it is now.
    pub fn set_config(&mut self, config: Arc<Config>) {
        if *self.around.config != *config {
            self.around.config = config;
            self.dirty = Dirty::Everything;
        }
    }

    /// The plan that follows from the facts, if it differs from the last one that this gave.
    pub fn plan(&mut self, _: Synced) -> Option<Planned> {
        let dirty = std::mem::replace(&mut self.dirty, Dirty::Services(BTreeSet::new()));
        let mut rules_changed = false;
        let rules = match (self.rules.take(), &dirty) {
            (Some(rules), Dirty::Services(_)) => rules,
            (before, Dirty::Everything | Dirty::Services(_)) => {
                rules_changed = true;
                Rules::new(&self.around, before.as_ref())
            }
        };
        let (keys, everything) = match dirty {
            Dirty::Services(keys) => (keys, false),
            Dirty::Everything => {
                self.known.fill();
                let known = self.verdicts.iter().map(|(key, _)| key.clone());
                (known.chain(self.known.services().cloned()).collect(), true)
            }
        };
        let mut transitions = Vec::with_capacity(keys.len());
        transitions.extend(keys.into_iter().filter_map(|key| self.decide_again(key, &rules)));
        if everything {
            self.ledger.fill();
        }
        let settled = rules_changed || self.ledger.is_touched();
        let mut changed = !transitions.is_empty() || self.version == 0;
        if settled {
            let peers = self.ledger.settle(&rules, &self.peers);
            changed |= !same_peers(&self.peers, &peers);
            self.peers = peers;
        }
        if rules_changed {
            let able = rules.able();
            if *self.able != able {
                self.able = Arc::new(able);
                changed = true;
            }
        }
        self.rules = Some(rules);
        changed.then(|| {
            self.version += 1;
            let plan = Plan {
                peers: self.peers.clone(),
                verdicts: Arc::new(self.verdicts.clone()),
                synced: true,
                version: self.version,
                able: Arc::clone(&self.able),
                ..Plan::unsynced()
            };
            Planned { plan, transitions }
        })
    }

    /// The verdicts of the last plan.
    #[must_use]
    pub fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// Whether any decision may come as far as asking for endpoints: there are Services, and advertisements on this node.
    /// Where there are none, endpoints that become known change nothing, and their lack withdraws nothing.
    #[must_use]
    pub fn reads_endpoints(&self) -> bool {
        let offers = self.rules.as_ref().is_none_or(Rules::offers_any);
        offers && self.known.has_services()
    }

    /// How the last plan came to its verdict on a Service: the same rules, asked once more. `None` for a Service that is
    /// not known, and before the first plan.
    #[must_use]
    pub fn explain(&self, key: &ServiceKey) -> Option<Explanation> {
        let service = self.known.service(key)?;
        let around = Circumstances { lingers: self.lingering.stays(key), ..self.known.circumstances(key) };
        Some(explain(&service, &around, self.rules.as_ref()?))
    }

    fn touch(&mut self, news: impl IntoIterator<Item = ServiceKey>) {
        match &mut self.dirty {
            Dirty::Services(keys) => keys.extend(news),
            Dirty::Everything => {}
        }
    }

    /// The verdict as the facts have it, or the one of a Service that lingers: others were chosen for what it had.
    fn verdict(&mut self, key: &ServiceKey, rules: &Rules) -> Option<Verdict> {
        let Some(service) = self.known.service(key) else {
            self.lingering.forget(key);
            return None;
        };
        let around = self.known.circumstances(key);
        let plain = decide(&service, &around, rules);
        if plain.left_to_others().next().is_none() {
            self.lingering.forget(key);
            return Some(plain);
        }
        let had = self.verdicts.get(key).map(Verdict::addresses).unwrap_or_default();
        let loses = plain.left_to_others().any(|address| match address {
            Some(address) => had.contains(&address),
            None => !had.is_empty(),
        });
        let lingers = self.lingering.leave(key, loses);
        Some(if lingers { decide(&service, &Circumstances { lingers, ..around }, rules) } else { plain })
    }

    fn decide_again(&mut self, key: ServiceKey, rules: &Rules) -> Option<Transition> {
        let after = self.verdict(&key, rules);
        let before = self.verdicts.shared(&key).cloned();
        if before.as_deref() == after.as_ref() {
            return None;
        }
        let after = after.map(Arc::new);
        // First what comes, then what goes: a contribution that stays never drops to nothing in between.
        for announcement in after.iter().flat_map(|verdict| verdict.announcements()) {
            self.ledger.add(announcement);
        }
        for announcement in before.iter().flat_map(|verdict| verdict.announcements()) {
            self.ledger.remove(announcement);
        }
        match &after {
            Some(verdict) => self.verdicts.set(key.clone(), Arc::clone(verdict)),
            None => self.verdicts.remove(&key),
        }
        Some(Transition { service: key, before, after })
    }
}

fn same_peers(before: &BTreeMap<String, PeerPlan>, after: &BTreeMap<String, PeerPlan>) -> bool {
    let same = |one: &PeerPlan, other: &PeerPlan| {
        Arc::ptr_eq(&one.peer, &other.peer) && Arc::ptr_eq(&one.routes, &other.routes)
    };
    before.len() == after.len()
        && before
            .iter()
            .zip(after)
            .all(|((name, one), (other_name, other))| name == other_name && same(one, other))
}
