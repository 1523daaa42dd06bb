//! BFD profiles: checked and kept, so that a peer can name one.

use serde::{Deserialize, Serialize};

use super::{Kind, Notice, RejectionReason, Work, name_of};
use crate::v1beta1::BFDProfileSpec;

/// Below this many milliseconds a busy node or a power-saving link is easily taken for a dead one.
const HASTY: u32 = 100;

/// Timers of a BFD session, with what holds where nothing is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdProfile {
    /// Name of the object.
    pub name: String,
    /// Shortest interval between packets that we can receive, in milliseconds.
    pub receive_interval: u32,
    /// Shortest interval between packets that we send, in milliseconds.
    pub transmit_interval: u32,
    /// Number of lost packets after which the session is down.
    pub detect_multiplier: u8,
    /// Whether we wait for the router to begin.
    pub passive: bool,
    /// Smallest TTL that is accepted on multihop sessions.
    pub minimum_ttl: u8,
}

impl BfdProfile {
    fn try_new(name: &str, spec: &BFDProfileSpec) -> Result<Self, RejectionReason> {
        let interval = |field, value: Option<u32>, unset| within(field, value.unwrap_or(unset), 10, 60_000);
        interval("echoInterval", spec.echo_interval, 50)?;
        let multiplier = within("detectMultiplier", spec.detect_multiplier.unwrap_or(3), 2, 255)?;
        let ttl = within("minimumTtl", spec.minimum_ttl.unwrap_or(254), 1, 254)?;
        Ok(Self {
            name: name.to_owned(),
            receive_interval: interval("receiveInterval", spec.receive_interval, 300)?,
            transmit_interval: interval("transmitInterval", spec.transmit_interval, 300)?,
            detect_multiplier: u8::try_from(multiplier).unwrap_or(u8::MAX),
            passive: spec.passive_mode.unwrap_or_default(),
            minimum_ttl: u8::try_from(ttl).unwrap_or(u8::MAX),
        })
    }
}

impl Work<'_> {
    pub(super) fn build_bfd_profiles(&mut self) {
        for object in &self.resources.bfd_profiles {
            let name = name_of(&object.metadata);
            match BfdProfile::try_new(name, &object.spec) {
                Ok(profile) => {
                    if object.spec.echo_mode == Some(true) {
                        self.notice(Kind::BFDProfile, name, Notice::BfdEchoNotOffered);
                    }
                    if profile.receive_interval.min(profile.transmit_interval) < HASTY {
                        self.notice(Kind::BFDProfile, name, Notice::BfdHasty);
                    }
                    self.config.bfd_profiles.insert(name.to_owned(), profile);
                }
                Err(reason) => {
                    let last_good = self.last_good.bfd_profiles.get(name).cloned();
                    self.reject(Kind::BFDProfile, name, reason, last_good.is_some());
                    self.config.bfd_profiles.extend(last_good.map(|profile| (name.to_owned(), profile)));
                }
            }
        }
    }
}

fn within(field: &'static str, value: u32, low: u32, high: u32) -> Result<u32, RejectionReason> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(RejectionReason::OutOfRange { field, value: value.into(), low: low.into(), high: high.into() })
    }
}
