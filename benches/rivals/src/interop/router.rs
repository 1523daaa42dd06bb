//! A real router at the other end: started for one case, asked through its own client.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::network::{HERALD_V4, HERALD_V6, ROUTER_V4, ROUTER_V6};
use super::{bird, exabgp, frr, gobgp};
use crate::daemon::{Process, Speaker};

/// The AS of the router, unless it is in Herald's.
const ROUTER_ASN: u32 = 65_530;
/// The AS of Herald.
pub(super) const HERALD_ASN: u32 = 64_500;

/// Which router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// FRR's bgpd.
    Frr,
    /// BIRD 2.
    Bird,
    /// GoBGP.
    Gobgp,
    /// ExaBGP.
    Exabgp,
}

/// What the session of a case is to be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setup {
    /// The session runs over IPv6.
    pub(super) over_v6: bool,
    /// Both are in one AS.
    pub(super) internal: bool,
    /// TCP MD5 at the router.
    pub(super) password: Option<&'static str>,
    /// The router does not know four-octet AS numbers.
    pub(super) two_octet: bool,
    /// The router takes nothing that came through another router (RFC 5082).
    pub(super) near_only: bool,
    /// The router dials, too, and soon after a failure again.
    pub(super) dials: bool,
}

impl Setup {
    /// The router's AS.
    pub(super) fn router_asn(&self) -> u32 {
        if self.internal { HERALD_ASN } else { ROUTER_ASN }
    }

    /// Herald's end of the session.
    pub(super) fn herald(&self) -> &'static str {
        if self.over_v6 { HERALD_V6 } else { HERALD_V4 }
    }

    /// The router's end of the session.
    pub(super) fn router(&self) -> &'static str {
        if self.over_v6 { ROUTER_V6 } else { ROUTER_V4 }
    }
}

/// A routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4 unicast.
    V4,
    /// IPv6 unicast.
    V6,
}

/// A running one.
pub(super) struct Router {
    kind: Kind,
    setup: Setup,
    process: Process,
    namespace: String,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Frr, Self::Bird, Self::Gobgp, Self::Exabgp];

    /// Name and version.
    pub(super) fn title(self) -> String {
        match self {
            Self::Frr => Speaker::Frr,
            Self::Bird => Speaker::Bird,
            Self::Gobgp => Speaker::Gobgp,
            Self::Exabgp => Speaker::Exabgp,
        }
        .title()
    }

    /// Starts it in a namespace.
    pub(super) fn start(self, namespace: &str, setup: Setup) -> Result<Router> {
        let process = match self {
            Self::Frr => frr::start(namespace, &setup),
            Self::Bird => bird::start(namespace, &setup),
            Self::Gobgp => gobgp::start(namespace, &setup),
            Self::Exabgp => exabgp::start(namespace, &setup),
        }?;
        Ok(Router { kind: self, setup, process, namespace: namespace.to_owned() })
    }
}

impl Router {
    /// How many of Herald's routes are in its table.
    pub(super) fn count(&self, family: Family) -> Result<usize> {
        match self.kind {
            Kind::Frr => frr::count(self, family),
            Kind::Bird => bird::count(self, family),
            Kind::Gobgp => gobgp::count(self, family),
            Kind::Exabgp => exabgp::count(self, family),
        }
    }

    /// Asks Herald for everything once more.
    pub(super) fn refresh(&self) -> Result<()> {
        match self.kind {
            Kind::Frr => frr::refresh(self),
            Kind::Bird => bird::refresh(self),
            Kind::Gobgp | Kind::Exabgp => bail!("it has no command for that"),
        }
    }

    /// Closes the session with a text for Herald's operator.
    pub(super) fn shut_down(&self, text: &str) -> Result<()> {
        match self.kind {
            Kind::Frr => frr::shut_down(self, text),
            Kind::Bird => bird::shut_down(self, text),
            Kind::Gobgp => gobgp::shut_down(self, text),
            Kind::Exabgp => bail!("it has no command for that"),
        }
    }

    /// What it was set up as.
    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Its process.
    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// What a client program inside its namespace prints.
    pub(super) fn ask(&self, words: &[&str]) -> Result<String> {
        let done = Command::new("ip")
            .args(["netns", "exec", &self.namespace])
            .args(words)
            .current_dir(self.process.folder())
            .output()
            .context("starting ip netns exec")?;
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        ensure!(done.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&done.stderr).trim());
        Ok(text)
    }
}
