//! From what was built to what is written: the conditions that each object should show, and a ConfigurationState.
//!
//! Nothing is written here. The daemons compare the answer with what an object shows and write where it differs; a
//! condition's transition time is kept as long as its status stays the same, so an unchanged verdict is no change.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};

use crate::config::{Config, Kind, Notice, ObjectRef, Rejection, RejectionReason, Resources};
use crate::names::condition::{ConditionReason, ConditionType};
use crate::v1beta1::ConfigurationStateStatus;

/// Most objects that one summary names.
pub const MAX_SUMMARY_LINES: usize = 50;
/// Longest message of a condition and longest line of a summary, in characters.
pub const MAX_MESSAGE_CHARS: usize = 1024;

/// Who reports. The controller may not read Secrets, and therefore says nothing about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporter {
    /// The controller: conditions on all objects, and the ConfigurationState `controller`.
    Controller,
    /// A node's speaker: its own ConfigurationState.
    Speaker,
}

impl Reporter {
    const fn condition(self) -> ConditionType {
        match self {
            Self::Controller => ConditionType::PoolReconcilerValid,
            Self::Speaker => ConditionType::ConfigReconcilerValid,
        }
    }

    /// Whether it can judge this: the controller cannot where a Secret is concerned.
    #[must_use]
    pub fn speaks_of(self, rejection: &Rejection) -> bool {
        match (self, &rejection.reason) {
            (Self::Controller, RejectionReason::PeerRefused(refusal)) => !refusal.is_about_secret(),
            (Self::Controller | Self::Speaker, _) => true,
        }
    }
}

/// A condition without the time at which it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedCondition {
    /// What it is about.
    pub type_: ConditionType,
    /// Whether it holds; `None` is Unknown.
    pub holds: Option<bool>,
    /// One word that says why.
    pub reason: &'static str,
    /// A sentence for people, at most [`MAX_MESSAGE_CHARS`].
    pub message: String,
    /// Generation of the object that was judged.
    pub observed_generation: Option<i64>,
}

impl WantedCondition {
    fn new(
        type_: ConditionType,
        holds: bool,
        reason: &'static str,
        message: &str,
        meta: &ObjectMeta,
    ) -> Self {
        Self {
            type_,
            holds: Some(holds),
            reason,
            message: shortened(message),
            observed_generation: meta.generation,
        }
    }

    /// The condition as the object should show it: an equal status keeps its time, a new one begins now.
    #[must_use]
    pub fn settle(&self, shown: &[Condition], now: &Time) -> Condition {
        let status = match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let before = shown.iter().find(|condition| condition.type_ == self.type_.as_str());
        let since = before
            .filter(|condition| condition.status == status)
            .map(|condition| &condition.last_transition_time);
        Condition {
            type_: self.type_.as_str().to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message.clone(),
            observed_generation: self.observed_generation,
            last_transition_time: since.unwrap_or(now).clone(),
        }
    }
}

/// All wanted conditions as the object should show them; equal to `shown` when nothing has to be written.
#[must_use]
pub fn settle(wanted: &[WantedCondition], shown: &[Condition], now: &Time) -> Vec<Condition> {
    wanted.iter().map(|condition| condition.settle(shown, now)).collect()
}

/// The conditions that each object should show, by object.
#[must_use]
pub fn conditions(
    resources: &Resources,
    config: &Config,
    rejections: &[Rejection],
    reporter: Reporter,
) -> BTreeMap<ObjectRef, Vec<WantedCondition>> {
    let objects = metas(resources);
    let verdicts = objects.into_iter().map(|(object, meta)| {
        let (against, unknown): (Vec<&Rejection>, Vec<&Rejection>) = rejections
            .iter()
            .filter(|rejection| rejection.object == object)
            .partition(|rejection| reporter.speaks_of(rejection));
        let notices: Vec<&Notice> =
            config.notices.iter().filter(|(on, _)| *on == object).map(|(_, notice)| notice).collect();
        let conditions = match against.first() {
            None if !unknown.is_empty() => secret_unread(meta),
            None => accepted(&notices, meta),
            Some(first) => rejected(first, &against, meta),
        };
        (object, conditions)
    });
    verdicts.collect()
}

fn accepted(notices: &[&Notice], meta: &ObjectMeta) -> Vec<WantedCondition> {
    let words = joined(notices.iter().map(|notice| notice.to_string()));
    let inactive = notices.iter().find(|notice| notice.means_inactive());
    let said = inactive.or_else(|| notices.first());
    let reason = said.map_or(ConditionReason::Accepted.as_str(), |notice| notice.word());
    let message = if words.is_empty() { "in force as written" } else { words.as_str() };
    let plain = ConditionReason::Accepted.as_str();
    vec![
        WantedCondition::new(ConditionType::Accepted, true, plain, message, meta),
        WantedCondition::new(ConditionType::InForce, inactive.is_none(), reason, message, meta),
    ]
}

/// Sound as written; whether it runs is known where its Secret is read.
fn secret_unread(meta: &ObjectMeta) -> Vec<WantedCondition> {
    let reason = ConditionReason::SecretReadBySpeakers.as_str();
    let message = "only the speakers read the Secret: `speakerctl peers` and the SpeakerState objects say whether \
                   each of them has found it";
    let accepted = ConditionReason::Accepted.as_str();
    let written = WantedCondition::new(ConditionType::Accepted, true, accepted, "sound as written", meta);
    let mut in_force = WantedCondition::new(ConditionType::InForce, false, reason, message, meta);
    in_force.holds = None;
    vec![written, in_force]
}

fn rejected(first: &Rejection, all: &[&Rejection], meta: &ObjectMeta) -> Vec<WantedCondition> {
    let words = joined(all.iter().map(|rejection| rejection.reason.to_string()));
    let in_force = all.iter().any(|rejection| rejection.in_force);
    let (reason, runs) = if in_force {
        (
            ConditionReason::LastGood.as_str(),
            "the last good version, or the part that is sound, stays in force",
        )
    } else {
        (first.reason.word(), words.as_str())
    };
    vec![
        WantedCondition::new(ConditionType::Accepted, false, first.reason.word(), &words, meta),
        WantedCondition::new(ConditionType::InForce, in_force, reason, runs, meta),
    ]
}

/// What a ConfigurationState should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedState {
    /// Valid, Invalid or Unknown.
    pub result: &'static str,
    /// One line for each rejected object, at most [`MAX_SUMMARY_LINES`].
    pub error_summary: String,
    /// The verdict as a condition.
    pub condition: WantedCondition,
}

impl WantedState {
    /// What the ConfigurationState says about these rejections.
    #[must_use]
    pub fn of(reporter: Reporter, rejections: &[Rejection]) -> Self {
        let spoken: Vec<&Rejection> =
            rejections.iter().filter(|rejection| reporter.speaks_of(rejection)).collect();
        let valid = spoken.is_empty();
        let reason = if valid { ConditionReason::Reconciled } else { ConditionReason::ConfigurationError };
        let message = match spoken.len() {
            0 => "all objects are accepted".to_owned(),
            1 => "1 fault; see errorSummary".to_owned(),
            number => format!("{number} faults; see errorSummary"),
        };
        Self {
            result: if valid { "Valid" } else { "Invalid" },
            error_summary: summary(&spoken),
            condition: WantedCondition {
                type_: reporter.condition(),
                holds: Some(valid),
                reason: reason.as_str(),
                message,
                observed_generation: None,
            },
        }
    }

    /// What the ConfigurationState says while the objects cannot be read.
    #[must_use]
    pub fn unreadable(reporter: Reporter, message: &str) -> Self {
        Self {
            result: "Unknown",
            error_summary: shortened(message),
            condition: WantedCondition {
                type_: reporter.condition(),
                holds: None,
                reason: ConditionReason::InfraError.as_str(),
                message: shortened(message),
                observed_generation: None,
            },
        }
    }

    /// The status to show; equal to `shown` when nothing has to be written.
    #[must_use]
    pub fn settle(&self, shown: &ConfigurationStateStatus, now: &Time) -> ConfigurationStateStatus {
        ConfigurationStateStatus {
            result: self.result.to_owned(),
            error_summary: self.error_summary.clone(),
            conditions: vec![self.condition.settle(&shown.conditions, now)],
        }
    }
}

/// One line for each rejection, in the order given.
fn summary(rejections: &[&Rejection]) -> String {
    let mut lines: Vec<String> = rejections
        .iter()
        .take(MAX_SUMMARY_LINES)
        .map(|rejection| shortened(&format!("{}: {}", rejection.object, rejection.reason)))
        .collect();
    let left_out = rejections.len().saturating_sub(MAX_SUMMARY_LINES);
    if left_out > 0 {
        lines.push(format!("and {left_out} more"));
    }
    lines.join("\n")
}

fn joined(sentences: impl Iterator<Item = String>) -> String {
    sentences.collect::<Vec<_>>().join("; ")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        None => text.to_owned(),
        Some(_) => text.chars().take(MAX_MESSAGE_CHARS - 1).chain(['…']).collect(),
    }
}

fn metas(resources: &Resources) -> Vec<(ObjectRef, &ObjectMeta)> {
    let pools = resources.pools.iter().map(|object| (Kind::IPAddressPool, &object.metadata));
    let peers = resources.peers.iter().map(|object| (Kind::BGPPeer, &object.metadata));
    let advertisements =
        resources.advertisements.iter().map(|object| (Kind::BGPAdvertisement, &object.metadata));
    let communities = resources.communities.iter().map(|object| (Kind::Community, &object.metadata));
    let profiles = resources.bfd_profiles.iter().map(|object| (Kind::BFDProfile, &object.metadata));
    let l2 = resources.l2_advertisements.iter().map(|object| (Kind::L2Advertisement, &object.metadata));
    let all = pools.chain(peers).chain(advertisements).chain(communities).chain(profiles).chain(l2);
    all.map(|(kind, meta)| (ObjectRef::new(kind, meta.name.clone().unwrap_or_default()), meta)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1beta1::{IPAddressPool, IPAddressPoolSpec, L2Advertisement, L2AdvertisementSpec};

    fn time(seconds: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(seconds).expect("a time"))
    }

    fn resources() -> Resources {
        let pool = |name: &str, addresses: &str| {
            let spec =
                IPAddressPoolSpec { addresses: vec![addresses.to_owned()], ..IPAddressPoolSpec::default() };
            IPAddressPool::new(name, spec)
        };
        Resources {
            pools: vec![pool("good", "10.0.4.0/24"), pool("bad", "ten")],
            l2_advertisements: vec![L2Advertisement::new("l2", L2AdvertisementSpec::default())],
            ..Resources::default()
        }
    }

    #[test]
    fn the_controller_does_not_claim_that_a_peer_with_a_secret_is_in_force() {
        let spec = serde_json::from_value(serde_json::json!({
            "myASN": 64500, "peerASN": 65530, "peerAddress": "10.0.2.1", "passwordSecret": {"name": "unseen"},
        }));
        let peer = crate::v1beta2::BGPPeer::new("router", spec.expect("a sound spec"));
        let resources = Resources { peers: vec![peer], ..Resources::default() };
        let (config, rejections) = Config::build(&resources, &Config::default());
        let told = |reporter| -> Vec<(Option<bool>, &'static str)> {
            let all = conditions(&resources, &config, &rejections, reporter).into_values().flatten();
            all.map(|condition| (condition.holds, condition.reason)).collect()
        };
        assert_eq!(told(Reporter::Controller), [(Some(true), "Accepted"), (None, "SecretReadBySpeakers")]);
        assert_eq!(told(Reporter::Speaker).first().map(|(holds, _)| *holds), Some(Some(false)));
    }

    #[test]
    fn each_object_says_whether_it_is_accepted_and_in_force() {
        let resources = resources();
        let (config, rejections) = Config::build(&resources, &Config::default());
        let lines: Vec<String> = conditions(&resources, &config, &rejections, Reporter::Controller)
            .into_iter()
            .flat_map(|(object, all)| all.into_iter().map(move |one| (object.clone(), one)))
            .map(|(object, one)| format!("{object} {}={:?} {}", one.type_.as_str(), one.holds, one.reason))
            .collect();
        assert_eq!(
            lines,
            [
                "IPAddressPool bad Accepted=Some(false) InvalidAddresses",
                "IPAddressPool bad InForce=Some(false) InvalidAddresses",
                "IPAddressPool good Accepted=Some(true) Accepted",
                "IPAddressPool good InForce=Some(true) Accepted",
                "L2Advertisement l2 Accepted=Some(true) Accepted",
                "L2Advertisement l2 InForce=Some(false) L2NotImplemented",
            ]
        );
    }

    #[test]
    fn a_configuration_state_names_every_rejected_object() {
        let (_, rejections) = Config::build(&resources(), &Config::default());
        let state = WantedState::of(Reporter::Speaker, &rejections);
        assert_eq!(state.result, "Invalid");
        assert_eq!(
            state.error_summary,
            "IPAddressPool bad: invalid CIDR \"ten\" in pool \"bad\": write a network as 10.0.4.0/24 or a range as \
             10.0.4.1-10.0.4.99"
        );
        assert_eq!(WantedState::of(Reporter::Speaker, &[]).result, "Valid");
    }

    #[test]
    fn a_summary_is_bounded() {
        let rejection = Rejection {
            object: ObjectRef::new(Kind::IPAddressPool, "x".repeat(5000)),
            reason: RejectionReason::NoAddresses,
            in_force: false,
        };
        let state = WantedState::of(Reporter::Controller, &vec![rejection; 60]);
        assert!(state.error_summary.ends_with("\nand 10 more"));
        assert!(state.error_summary.chars().count() <= (MAX_SUMMARY_LINES + 1) * (MAX_MESSAGE_CHARS + 1));
    }

    #[test]
    fn an_unchanged_verdict_keeps_its_time() {
        let wanted = WantedState::of(Reporter::Controller, &[]);
        let first = wanted.settle(&ConfigurationStateStatus::default(), &time(1));
        assert_eq!(wanted.settle(&first, &time(2)), first);
        let unknown = WantedState::unreadable(Reporter::Controller, "the API server is away");
        let later = unknown.settle(&first, &time(3));
        assert_eq!(later.conditions.first().map(|one| one.last_transition_time.clone()), Some(time(3)));
        assert_eq!(later.result, "Unknown");
    }
}
