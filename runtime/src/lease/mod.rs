//! The leader lease (`coordination.k8s.io/v1`): one process of several writes at a time.
//!
//! `decide` holds the rules as a pure state machine, `elector` carries them out. Leaves out what a leader does; writers
//! ask [`Leadership::holds`] before every write.

mod decide;
mod elector;

use std::time::{Duration, Instant};

pub use elector::{Elector, start};

/// Which lease, who we are, and how fast things go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// The lease's namespace.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// Our name in it; unique among all processes of all times. See [`identity`].
    pub identity: String,
    /// How long others wait after our last write before they take over.
    pub duration: Duration,
    /// How long we believe in ourselves after our last write that succeeded. Shorter than `duration`.
    pub renew_deadline: Duration,
    /// The pace of renewals.
    pub retry: Duration,
    /// The pace at which a standby looks at the lease of somebody else.
    pub look: Duration,
}

impl LeaseSettings {
    /// 10 s, 7 s, 2 s, and a look each second: whoever leads next has the lease at the latest 12 s after the last renewal,
    /// which leaves 3 s of the 15 s that a crash may cost for reading the cluster and for the first write.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(10),
            renew_deadline: Duration::from_secs(7),
            retry: Duration::from_secs(2),
            look: Duration::from_secs(1),
        }
    }
}

/// A name for this process in a lease: the Pod's name, or else the component's, and a number by chance.
#[must_use]
pub fn identity(pod_name: Option<&str>, component: &str) -> String {
    format!("{}_{:016x}", pod_name.unwrap_or(component), crate::chance::fresh_seed())
}

/// Whether we lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Somebody else leads, or nobody.
    Standby,
    /// We lead until `until`, and longer only if a renewal succeeds before it.
    Leader {
        /// After this moment nothing may be written.
        until: Instant,
    },
}

impl Leadership {
    /// Whether a write may start at `now`.
    #[must_use]
    pub fn holds(self, now: Instant) -> bool {
        match self {
            Self::Standby => false,
            Self::Leader { until } => now < until,
        }
    }

    /// Whether this is the leader's state, whatever the time.
    #[must_use]
    pub const fn is_leader(self) -> bool {
        match self {
            Self::Standby => false,
            Self::Leader { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests;
