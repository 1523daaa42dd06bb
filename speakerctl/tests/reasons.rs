//! Every "no" that a speaker decides or the controller writes down has its place in the chain of `speakerctl why`, its
//! sentence and its word, and is the first line that does not hold.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread;

use api::herald::{WhyReason, WhyReport};
use api::names::annotation;
use api::service::{
    Ingress, IpFamily, Port, Protocol, ServiceCondition, ServiceKey, ServiceType, ServiceView,
};
use bgp_proto::Prefix;
use controller::alloc::{Denied, Hindrance, Obstacle, Tried};
use speaker::decide::Explanation;
use speaker::decide::announcer::{Announcer, Synced};
use speaker::decide::snapshot::{ExcludeLabel, Leaving};
use speaker::decide::verdict::{AddressFamily, Reason, Verdict};
use speaker::decide::why::{Finding, Step};
use speaker::decide::width::Choice;
use speaker::plan::{Plan, SessionTable};
use speaker::status::why::why;
use speaker::watch::convert::service_facts;

#[test]
fn every_refusal_of_the_decision_is_a_link_of_the_chain_with_word_and_sentence() {
    let told = Told::start();
    let mut kinds = BTreeSet::new();
    let mut each = Some(Reason::ServiceDeleted);
    while let Some(reason) = each {
        let kind = reason.kind();
        let known = kinds.insert(kind);
        assert!(known || matches!(reason, Reason::NodeLeaves(_)), "{reason:?} comes twice");
        let steps = vec![
            Step { address: None, outcome: Ok(Finding::LoadBalancer) },
            Step { address: None, outcome: Err(reason.clone()) },
        ];
        let explanation = Explanation { verdict: Verdict::withhold(reason.clone()), steps };
        let report = why("pi", &key(), Some(&explanation), &Plan::unsynced(), &SessionTable::default());
        told.check(&report, &format!("  NO  {:<7}  {reason} ({})", kind.subject(), kind.word()));
        each = after(&reason);
    }
}

/// The reasons one after the other: a new variant does not compile until it has its place here.
fn after(reason: &Reason) -> Option<Reason> {
    let pool = || "home".to_owned();
    let address = IpAddr::from([10, 0, 4, 1]);
    Some(match reason {
        Reason::ServiceDeleted => Reason::NotLoadBalancer,
        Reason::NotLoadBalancer => Reason::NoIpAllocated(None),
        Reason::NoIpAllocated(_) => Reason::InvalidIp("lb.example.com".to_owned()),
        Reason::InvalidIp(_) => Reason::IpNotAllowed(address),
        Reason::IpNotAllowed(_) => Reason::LoadBalancerIpChanged,
        Reason::LoadBalancerIpChanged => Reason::NotOwner { pool: pool() },
        Reason::NotOwner { .. } => Reason::NoMatchingAdvertisement { pool: pool() },
        Reason::NoMatchingAdvertisement { .. } => Reason::AdvertisementWithheld {
            advertisement: "all".to_owned(),
            refusal: "the community is unknown".to_owned(),
        },
        Reason::AdvertisementWithheld { .. } => Reason::ConflictingAdvertisements {
            field: "localPref",
            first: "one".to_owned(),
            second: "two".to_owned(),
            prefix: Prefix::host(address),
        },
        Reason::ConflictingAdvertisements { .. } => Reason::NodeNetworkUnavailable,
        Reason::NodeNetworkUnavailable => Reason::NodeLabeledExcludeBalancers,
        Reason::NodeLabeledExcludeBalancers => Reason::NodeLeaves(Leaving::Deleted),
        Reason::NodeLeaves(leaving) => match leaving {
            Leaving::Deleted => Reason::NodeLeaves(Leaving::Autoscaler),
            Leaving::Autoscaler => Reason::NodeLeaves(Leaving::Karpenter),
            Leaving::Karpenter => Reason::NodeLeaves(Leaving::OutOfService),
            Leaving::OutOfService => Reason::NodeLeaves(Leaving::ShuttingDown),
            Leaving::ShuttingDown => Reason::NoLocalEndpoints(AddressFamily::V6),
        },
        Reason::NoLocalEndpoints(_) => Reason::NoEndpoints(AddressFamily::V4),
        Reason::NoEndpoints(_) => Reason::NotChosen(Choice { most: 1, able: 2, chosen: vec!["nas".into()] }),
        Reason::NotChosen(_) => return None,
    })
}

#[test]
fn every_refusal_of_the_controller_is_told_where_the_address_is_missing() {
    let told = Told::start();
    let mut words = BTreeSet::new();
    let mut each = Some(Denied::NoPools);
    while let Some(denied) = each {
        assert!(words.insert(denied.word()), "{denied:?} comes twice");
        let condition = ServiceCondition {
            holds: false,
            reason: denied.word().to_owned(),
            message: denied.to_string(),
            since: None,
        };
        let without = ServiceView {
            key: key(),
            service_type: ServiceType::LoadBalancer,
            condition: Some(condition),
            ..ServiceView::default()
        };
        told.check(
            &explained(&without),
            &format!("  NO  address  the Service has no address: {denied} (noIPAllocated)"),
        );
        // It has one family of two.
        let partly = ServiceView { ingress: Ingress::Addresses(vec![[10, 0, 4, 1].into()]), ..without };
        let words = format!("  NO  address  not all is well with its addresses: {denied} (noIPAllocated)");
        told.check(&explained(&partly), &words);
        each = denied_after(&denied);
    }
}

fn denied_after(denied: &Denied) -> Option<Denied> {
    let pool = || "home".to_owned();
    let field = annotation::LOAD_BALANCER_IPS;
    let why = Hindrance::Full { family: IpFamily::V4, used: 512, capacity: 512 };
    let address = IpAddr::from([10, 0, 4, 1]);
    let addresses = || vec![address, "fd00::1".parse().expect("an address")];
    Some(match denied {
        Denied::NoPools => Denied::Exhausted { tried: vec![Tried { pool: pool(), why }], more: 3 },
        Denied::Exhausted { .. } => Denied::PoolExhausted { pool: pool(), why },
        Denied::PoolExhausted { .. } => Denied::PoolHasNoPair { pool: pool(), why },
        Denied::PoolHasNoPair { .. } => Denied::UnknownPool { pool: pool(), known: vec!["lab".to_owned()] },
        Denied::UnknownPool { .. } => Denied::OutsidePools { addresses: addresses() },
        Denied::OutsidePools { .. } => Denied::AcrossPools { addresses: addresses(), whole: pool() },
        Denied::AcrossPools { .. } => {
            Denied::AvoidedAddress { address, pool: pool(), why: Obstacle::Excluded }
        }
        Denied::AvoidedAddress { .. } => Denied::PoolDisabled { pool: pool() },
        Denied::PoolDisabled { .. } => Denied::PoolNotForService { pool: pool() },
        Denied::PoolNotForService { .. } => {
            Denied::RequestedFamily { field, addresses: addresses(), families: vec![IpFamily::V4] }
        }
        Denied::RequestedFamily { .. } => Denied::RequestedPool { addresses: addresses(), pool: pool() },
        Denied::RequestedPool { .. } => {
            Denied::InUse { service: key(), address, others: vec![ServiceKey::new("shop", "db")] }
        }
        Denied::InUse { .. } => {
            let port = Port { protocol: Protocol::Tcp, port: 80 };
            Denied::PortInUse { port, address, other: ServiceKey::new("shop", "db") }
        }
        Denied::PortInUse { .. } => Denied::NoClusterIps,
        Denied::NoClusterIps => Denied::NotEnoughClusterIps,
        Denied::NotEnoughClusterIps => Denied::RequestedTwice { annotation: field },
        Denied::RequestedTwice { .. } => Denied::RequestNotAnAddress { field, text: "home".to_owned() },
        Denied::RequestNotAnAddress { .. } => Denied::RequestTooLong { field, addresses: addresses() },
        Denied::RequestTooLong { .. } => Denied::RequestSameFamily { field, addresses: addresses() },
        Denied::RequestSameFamily { .. } => return None,
    })
}

/// What a speaker without any configuration answers about the Service.
fn explained(view: &ServiceView) -> WhyReport {
    let mut announcer = Announcer::new(ExcludeLabel::Honoured);
    announcer.set_service(key(), Some(&service_facts(view.clone())));
    let plan = announcer.plan(Synced::all_watches()).expect("the first plan").plan;
    why("pi", &key(), announcer.explain(&key()).as_ref(), &plan, &SessionTable::default())
}

#[test]
fn every_reason_that_says_what_to_look_at_says_so() {
    let told = Told::start();
    for reason in WhyReason::ALL {
        let links = vec![api::herald::WhyLink::fails(reason, "the sentence")];
        let text = told.ask(&WhyReport { node: "pi".to_owned(), service: key().to_string(), links });
        let by_design = reason == WhyReason::PeerNotSelected;
        let mark = if by_design { "--" } else { "NO" };
        let line = format!("  {mark}  {}  the sentence ({})", reason.subject(), reason.word());
        assert_eq!(text.lines().nth(1), Some(line.as_str()));
        // There is nothing to look at in these.
        let says_all = by_design
            || matches!(
                reason,
                WhyReason::Usage | WhyReason::ServiceDeleted | WhyReason::LoadBalancerIpChanged
            );
        assert_eq!(text.lines().nth(2).is_some_and(|next| next.starts_with("  next: ")), !says_all, "{text}");
    }
}

fn key() -> ServiceKey {
    ServiceKey::new("shop", "web")
}

/// The built program, and a speaker's socket that says what it is told to.
struct Told {
    folder: tempfile::TempDir,
}

impl Told {
    fn start() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for sockets") }
    }

    /// The line is the first one that does not hold.
    fn check(&self, report: &WhyReport, line: &str) {
        let text = self.ask(report);
        let broken = text.lines().skip(1).find(|line| !line.starts_with("  ok  "));
        assert_eq!(broken, Some(line), "{text}");
    }

    fn ask(&self, report: &WhyReport) -> String {
        let socket = self.folder.path().join("speaker.sock");
        std::fs::remove_file(&socket).ok();
        let listener = UnixListener::bind(&socket).expect("a socket");
        let body = serde_json::to_string(report).expect("a report has a JSON form");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let speaker = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a question");
            let mut question = Vec::new();
            let mut octets = [0; 1024];
            while !question.ends_with(b"\r\n\r\n") {
                match stream.read(&mut octets) {
                    Ok(count) if count > 0 => question.extend_from_slice(&octets[..count]),
                    Ok(_) | Err(_) => break,
                }
            }
            stream.write_all(format!("{head}{body}").as_bytes()).expect("an answer");
        });
        let output = Command::new(env!("CARGO_BIN_EXE_speakerctl"))
            .args(["why", "shop/web", "--socket"])
            .arg(&socket)
            .env_clear()
            .output()
            .expect("the built program runs");
        speaker.join().expect("it answered");
        String::from_utf8(output.stdout).expect("text")
    }
}
