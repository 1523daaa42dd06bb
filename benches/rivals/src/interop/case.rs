//! The cases.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::collision;
use super::network::Network;
use super::router::{Family, Kind, Router, Setup};
use super::spokesman::{Mission, Spokesman};

use crate::pause;

/// How long something may take to come true.
const PATIENCE: Duration = Duration::from_secs(15);
/// Routes of each family.
const ROUTES: u32 = 10;
/// What operators tell each other.
const TEXT: &str = "maintenance until noon";

/// How a case ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All was seen.
    Passed,
    /// The router cannot do it.
    NotPossible(&'static str),
    /// Something was not as it should be.
    Failed(String),
}

/// One row of the table.
pub(super) struct Case {
    /// Its name.
    pub(super) name: &'static str,
    /// What has to be seen.
    pub(super) asks: &'static str,
    setup: Setup,
    mission: Mission,
    then: Then,
}

/// What happens after the session was started.
#[derive(Clone, Copy)]
enum Then {
    /// All routes arrive.
    Arrive,
    /// All routes arrive, in few messages.
    LongMessages,
    /// The session stays down.
    StaysDown,
    /// Herald is killed and comes back; the routes stay.
    Restart,
    /// The router asks for everything once more.
    Refresh,
    /// The router closes with a text.
    RouterLeaves,
    /// Herald is removed for good.
    HeraldLeaves,
    /// Both dial at once, Herald by this identifier, and one connection stays.
    Collide(&'static str),
}

const SETUP: Setup = Setup {
    over_v6: false,
    internal: false,
    password: None,
    two_octet: false,
    near_only: false,
    dials: false,
};
const V4: Mission = Mission { v4: ROUTES, v6: 0, dual: false, password: None, called: None };
const V6: Mission = Mission { v4: 0, v6: ROUTES, dual: false, password: None, called: None };
const BOTH: Mission = Mission { v4: ROUTES, v6: ROUTES, dual: true, password: None, called: None };

/// All of them.
pub(super) const CASES: [Case; 16] = [
    Case {
        name: "IPv4, eBGP",
        asks: "a session over IPv4 brings ten /32",
        setup: SETUP,
        mission: V4,
        then: Then::Arrive,
    },
    Case {
        name: "IPv6, eBGP",
        asks: "a session over IPv6 brings ten /128",
        setup: Setup { over_v6: true, ..SETUP },
        mission: V6,
        then: Then::Arrive,
    },
    Case {
        name: "both families, over IPv4",
        asks: "one session brings ten /32 and ten /128",
        setup: SETUP,
        mission: BOTH,
        then: Then::Arrive,
    },
    Case {
        name: "both families, over IPv6",
        asks: "one session brings ten /32 and ten /128",
        setup: Setup { over_v6: true, ..SETUP },
        mission: BOTH,
        then: Then::Arrive,
    },
    Case {
        name: "iBGP",
        asks: "both ends in one AS, ten routes of each family arrive",
        setup: Setup { internal: true, ..SETUP },
        mission: BOTH,
        then: Then::Arrive,
    },
    Case {
        name: "MD5",
        asks: "with the same password at both ends ten routes arrive",
        setup: Setup { password: Some("secret"), ..SETUP },
        mission: Mission { password: Some("secret"), ..V4 },
        then: Then::Arrive,
    },
    Case {
        name: "MD5, wrong password",
        asks: "with another password at Herald no route arrives and the session is not Established after four seconds",
        setup: Setup { password: Some("secret"), ..SETUP },
        mission: Mission { password: Some("other"), ..V4 },
        then: Then::StaysDown,
    },
    Case {
        name: "TTL security",
        asks: "the router takes packets with a TTL of 255 only (RFC 5082), ten routes arrive",
        setup: Setup { near_only: true, ..SETUP },
        mission: V4,
        then: Then::Arrive,
    },
    Case {
        name: "two-octet AS",
        asks: "the router offers no four-octet AS numbers, ten routes of each family arrive",
        setup: Setup { two_octet: true, ..SETUP },
        mission: BOTH,
        then: Then::Arrive,
    },
    Case {
        name: "extended messages",
        asks: "2000 /32 arrive in at most three UPDATEs with the End-of-RIBs, which needs messages of more than 4096 octets",
        setup: SETUP,
        mission: Mission { v4: 2_000, ..V4 },
        then: Then::LongMessages,
    },
    Case {
        name: "graceful restart",
        asks: "Herald is killed; two seconds later all routes are there; it comes back and three seconds later they still are",
        setup: SETUP,
        mission: V4,
        then: Then::Restart,
    },
    Case {
        name: "route refresh",
        asks: "the router asks for everything once more, Herald sends its UPDATEs again, the session stays up",
        setup: SETUP,
        mission: V4,
        then: Then::Refresh,
    },
    Case {
        name: "shutdown text from the router",
        asks: "the router closes with a text (RFC 9003), and Herald's last error holds it",
        setup: SETUP,
        mission: V4,
        then: Then::RouterLeaves,
    },
    Case {
        name: "removal of Herald",
        asks: "Herald is told to leave for good, and no route is left at the router although graceful restart was negotiated",
        setup: SETUP,
        mission: V4,
        then: Then::HeraldLeaves,
    },
    Case {
        name: "connection collision, Herald's identifier is lower",
        asks: collision::ASKS,
        setup: Setup { dials: true, ..SETUP },
        mission: V4,
        then: Then::Collide(collision::LOWER),
    },
    Case {
        name: "connection collision, Herald's identifier is higher",
        asks: "the same, and it is Herald's connection that stays",
        setup: Setup { dials: true, ..SETUP },
        mission: V4,
        then: Then::Collide(collision::HIGHER),
    },
];

impl Case {
    /// Runs it; router and Herald are gone afterwards.
    pub(super) fn run(&self, kind: Kind, network: &Network, program: &Path) -> Outcome {
        match self.impossible(kind) {
            Some(why) => Outcome::NotPossible(why),
            None => self
                .attempt(kind, network, program)
                .map_or_else(|fault| Outcome::Failed(format!("{fault:#}")), |()| Outcome::Passed),
        }
    }

    fn impossible(&self, kind: Kind) -> Option<&'static str> {
        match (self.then, kind) {
            (_, Kind::Frr) if self.setup.two_octet => Some("it leaves out all capabilities or none"),
            (_, Kind::Gobgp) if self.setup.two_octet => Some("it has no setting for that"),
            (Then::LongMessages, Kind::Gobgp) => Some("it does not offer them"),
            (Then::Restart, Kind::Exabgp) => Some("it keeps no table"),
            (Then::Refresh, Kind::Exabgp) => Some("it asks only through a program of its own"),
            (Then::Refresh, Kind::Gobgp) => Some("its soft reset works on its own copy and asks for nothing"),
            (Then::RouterLeaves, Kind::Gobgp) => {
                Some("its client takes a text, and its NOTIFICATION leaves without one")
            }
            (Then::RouterLeaves, Kind::Exabgp) => Some("it sends no text of the operator's"),
            // Seen in its debug log: "BGP_Stop (Established->Clearing)" right behind the NOTIFICATION for the loser.
            (Then::Collide(collision::HIGHER), Kind::Frr) => Some(
                "it keeps the right connection and closes the other one, and then its own event for that closes the one \
                 that it kept, too; the session is back a second later",
            ),
            (Then::Collide(_), Kind::Gobgp) => Some(
                "a call that it takes ends its own dialling, so that it never says two OPENs whose collision it could settle",
            ),
            (Then::Collide(_), Kind::Exabgp) => Some(
                "it drops its own call as soon as one comes in, before any OPEN and whatever the identifiers",
            ),
            _ => None,
        }
    }

    fn attempt(&self, kind: Kind, network: &Network, program: &Path) -> Result<()> {
        if let Then::Collide(herald) = self.then {
            return self.collide(kind, network, program, herald);
        }
        let router = kind.start(&network.router, self.setup)?;
        let start = || Spokesman::start(program, network, &self.setup, self.mission);
        let mut herald = start()?;
        if matches!(self.then, Then::StaysDown) {
            pause(Duration::from_secs(4));
            let phase = herald.state()?.phase;
            ensure!(phase != "Established", "the session is up");
            return Ok(());
        }
        eventually("the routes arrive", || self.all_there(&router)).map_err(|fault| {
            fault.context(format!("Herald: {:?}", herald.state())).context(router.process().last_words())
        })?;
        match self.then {
            Then::Arrive | Then::StaysDown | Then::Collide(_) => {}
            Then::LongMessages => {
                let updates = herald.state()?.updates;
                ensure!(updates <= 3, "{updates} UPDATEs were sent");
            }
            Then::Restart => {
                drop(herald);
                pause(Duration::from_secs(2));
                ensure!(self.all_there(&router)?, "routes are gone while Herald is away");
                herald = start()?;
                eventually("Herald is back", || Ok(herald.state()?.phase == "Established"))?;
                pause(Duration::from_secs(3));
                ensure!(self.all_there(&router)?, "routes are gone after Herald came back");
            }
            Then::Refresh => {
                let before = herald.state()?.updates;
                router.refresh()?;
                eventually("Herald answers", || Ok(herald.state()?.updates > before))?;
                ensure!(herald.state()?.phase == "Established", "the session went down");
                ensure!(self.all_there(&router)?, "routes are gone");
            }
            Then::RouterLeaves => {
                router.shut_down(TEXT)?;
                eventually("Herald knows the text", || Ok(herald.state()?.fault.contains(TEXT)))
                    .map_err(|fault| fault.context(format!("Herald: {:?}", herald.state())))?;
            }
            Then::HeraldLeaves => {
                herald.say(&format!("remove {TEXT}"))?;
                eventually("the routes are gone", || Ok(router.count(Family::V4)? == 0))?;
            }
        }
        Ok(())
    }

    /// Both dial at once; routes arrive over the connection that has to stay, and it does stay.
    fn collide(&self, kind: Kind, network: &Network, program: &Path, identifier: &'static str) -> Result<()> {
        let start = || {
            let mission = Mission { called: Some(identifier), ..self.mission };
            Spokesman::start(program, network, &self.setup, mission)
        };
        let (router, mut herald) = collision::stage(kind, network, self.setup, start)?;
        let told = |fault: anyhow::Error, herald: &mut Spokesman| {
            let state = herald.state();
            fault.context(format!("Herald is {identifier}: {state:?}")).context(router.process().last_words())
        };
        eventually("the routes arrive", || self.all_there(&router))
            .map_err(|fault| told(fault, &mut herald))?;
        let stayed = collision::only_one(network)?;
        collision::check(&stayed, identifier).map_err(|fault| told(fault, &mut herald))?;
        pause(Duration::from_secs(4));
        let state = herald.state()?;
        ensure!(collision::only_one(network)? == stayed, "it was another connection four seconds later");
        ensure!(state.phase == "Established" && state.established == 1, "it did not stay up: {state:?}");
        ensure!(self.all_there(&router)?, "routes are gone");
        Ok(())
    }

    fn all_there(&self, router: &Router) -> Result<bool> {
        let wanted = [(Family::V4, self.mission.v4), (Family::V6, self.mission.v6)];
        for (family, count) in wanted {
            if router.count(family)? != count as usize {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Asks again and again; a router that does not answer yet is asked again, too.
pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    loop {
        let answer = is_so();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            answer?;
            bail!("not so after {} s: {what}", PATIENCE.as_secs());
        }
        pause(Duration::from_millis(200));
    }
}
