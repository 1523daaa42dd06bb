//! Where routers are that are not written down: the node's default gateway, and the router that advertises itself on an
//! interface.
//!
//! Both are known to the kernel and asked for without a capability: gateways stand in the main routing table, and a
//! router advertisement (RFC 4861 §6) leaves a neighbour that is marked as a router, whether or not the node takes
//! routes from it. The answers are kept and asked for anew at intervals; another place is then another
//! session, and no answer is none as long as the session is up. Leaves out
//! telling routers of ourselves, which is `advert`.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use api::config::RouterAt;
use api::service::IpFamily;

use super::netlink;

/// How often to ask again while a router is not found.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// How often to ask again where it was found: routes and routers change.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// How long a default route may be missing under a session that is up: as long as a session bears silence.
const GATEWAY_MISSED: Duration = Duration::from_secs(15);

/// Why a router is not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotFound {
    /// There is no default route with a gateway.
    #[error("this node has no {0} default route with a gateway; the session begins when there is one")]
    NoGateway(IpFamily),
    /// There is no such interface.
    #[error("there is no interface {0} on this node; the session begins when there is one")]
    NoInterface(String),
    /// No router advertises itself there.
    #[error(
        "no router advertises itself on {0} (ICMPv6 router advertisements); the session begins when one does"
    )]
    NoRouter(String),
    /// The kernel does not tell.
    #[error("the kernel does not answer: {0}")]
    Kernel(String),
}

impl From<io::Error> for NotFound {
    fn from(fault: io::Error) -> Self {
        Self::Kernel(fault.to_string())
    }
}

/// An address and, for a link-local one, its interface.
pub(super) type Place = (IpAddr, u32);

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    known: BTreeMap<RouterAt, Result<Place, NotFound>>,
    /// Since when looks have not found a router whose session is up, and which is known where it was before.
    missed: BTreeMap<RouterAt, Instant>,
}

impl Whereabouts {
    /// Where the router is, as was found last; asked now if it never was. `None` for a network: its routers call.
    pub(super) fn of(&mut self, router: &RouterAt, port: u16) -> Option<Result<SocketAddr, NotFound>> {
        let place = match router {
            RouterAt::Address(address) => Ok((*address, 0)),
            RouterAt::Gateway(_) | RouterAt::Interface(_) => {
                self.known.entry(router.clone()).or_insert_with(|| search(router, None)).clone()
            }
            RouterAt::Range(_) => return None,
        };
        Some(place.map(|(address, scope)| socket_address(address, scope, port)))
    }

    /// Asks where a router is with which another process of this node has a session, at `remote`: of several that
    /// advertise themselves it is that one, as long as it does, and where none is found as well: the session is up.
    pub(super) fn look_near(&mut self, router: &RouterAt, remote: SocketAddr) {
        self.look_near_by(router, remote, search);
    }

    fn look_near_by(
        &mut self,
        router: &RouterAt,
        remote: SocketAddr,
        mut search: impl FnMut(&RouterAt, Option<Place>) -> Result<Place, NotFound>,
    ) {
        if let RouterAt::Gateway(_) | RouterAt::Interface(_) = router {
            let place = (remote.ip(), scope(remote));
            self.known.insert(router.clone(), search(router, Some(place)).or(Ok(place)));
        }
    }

    /// Forgets routers that nobody asks for any more.
    pub(super) fn keep(&mut self, wanted: impl Fn(&RouterAt) -> bool) {
        self.known.retain(|router, _| wanted(router));
        self.missed.retain(|router, _| wanted(router));
    }

    /// Asks anew for all; says whether an answer differs. That a router whose session is up is not found ends nothing at
    /// once: another place does, and otherwise BGP and BFD know better.
    pub(super) fn look_again(&mut self, now: Instant, is_up: impl Fn(&RouterAt) -> bool) -> bool {
        self.look_again_by(now, is_up, search)
    }

    fn look_again_by(
        &mut self,
        now: Instant,
        is_up: impl Fn(&RouterAt) -> bool,
        mut search: impl FnMut(&RouterAt, Option<Place>) -> Result<Place, NotFound>,
    ) -> bool {
        let mut differs = false;
        for (router, known) in &mut self.known {
            let found = search(router, known.as_ref().ok().copied());
            match &found {
                // A look that failed says nothing about the router.
                Err(NotFound::Kernel(_)) if known.is_ok() => continue,
                Err(_) if known.is_ok() && is_up(router) => {
                    let since = *self.missed.entry(router.clone()).or_insert(now);
                    if is_borne(router, now.saturating_duration_since(since)) {
                        continue;
                    }
                }
                Ok(_) | Err(_) => {}
            }
            self.missed.remove(router);
            differs |= found != *known;
            *known = found;
        }
        differs
    }

    /// When to ask anew; `None` when there is nothing to ask.
    pub(super) fn interval(&self) -> Option<Duration> {
        if self.known.is_empty() {
            return None;
        }
        let all_found = self.known.values().all(Result::is_ok);
        let all_stay = self.missed.keys().all(|router| is_borne(router, Duration::MAX));
        Some(if all_found && all_stay { CHECK_EVERY } else { SEARCH_EVERY })
    }
}

/// Whether a session goes on though its router has not been found for so long. The table of neighbours is a cache, which
/// a cable that is out for a second empties; the routing table says where the node's answers to clients go.
fn is_borne(router: &RouterAt, missed: Duration) -> bool {
    match router {
        RouterAt::Interface(_) => true,
        RouterAt::Gateway(_) => missed < GATEWAY_MISSED,
        RouterAt::Address(_) | RouterAt::Range(_) => false,
    }
}

/// The interface that a link-local address is on; zero for every other address.
pub(super) fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => v6.scope_id(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => 0,
    }
}

fn socket_address(address: IpAddr, scope: u32, port: u16) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, port, 0, scope).into(),
        IpAddr::V4(_) | IpAddr::V6(_) => SocketAddr::new(address, port),
    }
}

fn search(router: &RouterAt, before: Option<Place>) -> Result<Place, NotFound> {
    match router {
        RouterAt::Gateway(family) => gateway(*family)?.ok_or(NotFound::NoGateway(*family)),
        RouterAt::Interface(name) => {
            let link = link(name)?.ok_or_else(|| NotFound::NoInterface(name.clone()))?;
            let routers = routers_on(link.index)?;
            choose(&routers, before).ok_or_else(|| NotFound::NoRouter(name.clone()))
        }
        RouterAt::Address(address) => Ok((*address, 0)),
        RouterAt::Range(range) => Ok((range.network(), 0)),
    }
}

/// Of several routers on one link the one before, as long as it is there; else the first.
fn choose(routers: &[Place], before: Option<Place>) -> Option<Place> {
    before.filter(|place| routers.contains(place)).or_else(|| routers.first().copied())
}

// Numbers of linux/rtnetlink.h, linux/if_link.h and linux/neighbour.h.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
const LINK_HEAD: usize = 16;
const ROUTE_HEAD: usize = 12;
const NEIGHBOUR_HEAD: usize = 12;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const NDA_DST: u16 = 1;
const RTN_UNICAST: u8 = 1;
const MAIN_TABLE: u32 = 254;
const NTF_ROUTER: u8 = 0x80;
const NUD_FAILED: u16 = 0x20;
/// A hop of a route with several: its length, flags, weight and interface.
const NEXT_HOP_HEAD: usize = 8;

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Its index.
    pub(super) index: u32,
    /// Its Ethernet address; all zeros where it has another kind or none.
    pub(super) hardware: [u8; 6],
}

/// The interface of this name.
pub(super) fn link(name: &str) -> io::Result<Option<Link>> {
    let mut found = None;
    netlink::dump(RTM_GETLINK, &[0; LINK_HEAD], |kind, body| {
        if kind == RTM_NEWLINK {
            found = found.or_else(|| read_link(body, name));
        }
    })?;
    Ok(found)
}

fn read_link(body: &[u8], wanted: &str) -> Option<Link> {
    let index = netlink::number(body, 4)?;
    let mut hardware = [0; 6];
    let mut is_wanted = false;
    for (kind, value) in netlink::attributes(body.get(LINK_HEAD..)?) {
        match kind {
            IFLA_IFNAME => is_wanted = value.strip_suffix(&[0]).unwrap_or(value) == wanted.as_bytes(),
            IFLA_ADDRESS => hardware = value.try_into().unwrap_or_default(),
            _ => {}
        }
    }
    is_wanted.then_some(Link { index, hardware })
}

/// The gateway of the default route with the lowest metric in the main table.
fn gateway(family: IpFamily) -> io::Result<Option<Place>> {
    let number = match family {
        IpFamily::V4 => libc::AF_INET,
        IpFamily::V6 => libc::AF_INET6,
    };
    let mut head = [0; ROUTE_HEAD];
    head[0] = u8::try_from(number).expect("address families are small numbers");
    let mut best: Option<(u32, Place)> = None;
    netlink::dump(RTM_GETROUTE, &head, |kind, body| {
        let Some((metric, place)) = (kind == RTM_NEWROUTE).then(|| read_default(body)).flatten() else {
            return;
        };
        if best.is_none_or(|(lowest, _)| metric < lowest) {
            best = Some((metric, place));
        }
    })?;
    Ok(best.map(|(_, place)| place))
}

/// Metric and gateway of a default route; of several equal hops the first.
fn read_default(body: &[u8]) -> Option<(u32, Place)> {
    let &[_family, 0, _source_length, _tos, table, _protocol, _scope, RTN_UNICAST, ..] = body else {
        return None;
    };
    let (mut table, mut metric, mut gateway, mut interface) = (u32::from(table), 0, None, 0);
    for (kind, value) in netlink::attributes(body.get(ROUTE_HEAD..)?) {
        match kind {
            RTA_TABLE => table = netlink::number(value, 0)?,
            RTA_PRIORITY => metric = netlink::number(value, 0)?,
            RTA_GATEWAY => gateway = netlink::read_ip(value),
            RTA_OIF => interface = netlink::number(value, 0)?,
            RTA_MULTIPATH => {
                interface = netlink::number(value, 4)?;
                gateway = netlink::attributes(value.get(NEXT_HOP_HEAD..)?)
                    .find(|(kind, _)| *kind == RTA_GATEWAY)
                    .and_then(|(_, value)| netlink::read_ip(value));
            }
            _ => {}
        }
    }
    (table == MAIN_TABLE).then_some((metric, (gateway?, interface)))
}

/// Link-local addresses of the neighbours on an interface that said that they are routers, sorted.
fn routers_on(index: u32) -> io::Result<Vec<Place>> {
    let mut head = [0; NEIGHBOUR_HEAD];
    head[0] = u8::try_from(libc::AF_INET6).expect("address families are small numbers");
    let mut routers = Vec::new();
    netlink::dump(RTM_GETNEIGH, &head, |kind, body| {
        if kind == RTM_NEWNEIGH {
            routers.extend(read_router(body, index).map(|address| (IpAddr::V6(address), index)));
        }
    })?;
    routers.sort_unstable();
    Ok(routers)
}

fn read_router(body: &[u8], on: u32) -> Option<Ipv6Addr> {
    let state = u16::from_ne_bytes(*body.get(8..)?.first_chunk()?);
    let flags = *body.get(10)?;
    if netlink::number(body, 4)? != on || flags & NTF_ROUTER == 0 || state & NUD_FAILED != 0 {
        return None;
    }
    let mut attributes = netlink::attributes(body.get(NEIGHBOUR_HEAD..)?);
    match netlink::read_ip(attributes.find(|(kind, _)| *kind == NDA_DST)?.1)? {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut octets = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        octets.extend(value);
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets
    }

    fn route(bits: u8, table: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![2, bits, 0, 0, table, 0, 0, RTN_UNICAST, 0, 0, 0, 0];
        body.extend(attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)));
        body
    }

    #[test]
    fn a_default_route_of_the_main_table_names_its_gateway() {
        let (gateway, interface, metric) = ([10, 0, 2, 1], 3_u32.to_ne_bytes(), 100_u32.to_ne_bytes());
        let all: [(u16, &[u8]); 3] =
            [(RTA_GATEWAY, &gateway), (RTA_OIF, &interface), (RTA_PRIORITY, &metric)];
        let expected = Some((100, (IpAddr::from(gateway), 3)));
        assert_eq!(read_default(&route(0, 254, &all)), expected);
        assert_eq!(read_default(&route(24, 254, &all)), None, "a network");
        assert_eq!(read_default(&route(0, 10, &all)), None, "another table");
        assert_eq!(read_default(&route(0, 254, &all[1..])), None, "a route without a gateway");
        let far = (RTA_TABLE, &1000_u32.to_ne_bytes()[..]);
        assert_eq!(read_default(&route(0, 254, &[all[0], far])), None, "a table beyond 255");
        for length in 0..ROUTE_HEAD {
            assert_eq!(read_default(&route(0, 254, &all)[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn of_several_hops_the_first_is_the_gateway() {
        let mut hops = vec![16, 0, 0, 0];
        hops.extend(7_u32.to_ne_bytes());
        hops.extend(attribute(RTA_GATEWAY, &[10, 0, 2, 1]));
        let mut second = hops.clone();
        second[15] = 2;
        hops.extend(second);
        let found = read_default(&route(0, 254, &[(RTA_MULTIPATH, &hops)]));
        assert_eq!(found, Some((0, (IpAddr::from([10, 0, 2, 1]), 7))));
    }

    #[test]
    fn a_neighbour_is_a_router_by_its_flag_and_interface() {
        let address: Ipv6Addr = "fe80::1".parse().unwrap();
        let neighbour = |state: u16, flags: u8, address: Ipv6Addr| {
            let mut body = vec![10, 0, 0, 0];
            body.extend(4_u32.to_ne_bytes());
            body.extend(state.to_ne_bytes());
            body.extend([flags, 1]);
            body.extend(attribute(NDA_DST, &address.octets()));
            body
        };
        let stale = 4;
        assert_eq!(read_router(&neighbour(stale, NTF_ROUTER, address), 4), Some(address));
        assert_eq!(read_router(&neighbour(stale, NTF_ROUTER, address), 5), None, "another interface");
        assert_eq!(read_router(&neighbour(stale, 0, address), 4), None, "a host");
        assert_eq!(read_router(&neighbour(NUD_FAILED, NTF_ROUTER, address), 4), None, "gone");
        let global = "2001:db8::1".parse().unwrap();
        assert_eq!(read_router(&neighbour(stale, NTF_ROUTER, global), 4), None, "no link-local address");
    }

    #[test]
    fn the_kernel_knows_its_loopback_by_name() {
        assert_eq!(link("lo").unwrap().map(|link| link.hardware), Some([0; 6]));
        assert_eq!(link("none-such").unwrap(), None);
    }

    fn eth0() -> RouterAt {
        RouterAt::Interface("eth0".to_owned())
    }

    fn router(last: u16, on: u32) -> Place {
        (IpAddr::V6(Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, last)), on)
    }

    #[test]
    fn of_two_routers_the_one_of_the_running_session_is_kept_by_the_next_process() {
        let both = [router(1, 3), router(2, 3)];
        let mut whereabouts = Whereabouts::default();
        let (address, index) = both[1];
        let remote = socket_address(address, index, 40_000);
        whereabouts.look_near_by(&eth0(), remote, |_, before| Ok(choose(&both, before).unwrap()));
        assert_eq!(whereabouts.of(&eth0(), 179), Some(Ok(socket_address(address, index, 179))));
        // One that has stopped to advertise itself is not waited for.
        whereabouts.look_near_by(&eth0(), remote, |_, before| Ok(choose(&both[..1], before).unwrap()));
        assert_eq!(whereabouts.of(&eth0(), 179), Some(Ok(socket_address(both[0].0, 3, 179))));
        // None at all: the session is up all the same, so the router is there.
        whereabouts.look_near_by(&eth0(), remote, gone);
        assert_eq!(whereabouts.of(&eth0(), 179), Some(Ok(socket_address(address, index, 179))));
        // What is written down is not looked for.
        let written = RouterAt::Address([10, 0, 2, 1].into());
        whereabouts.look_near_by(&written, remote, |_, _| panic!("a look"));
        assert_eq!(whereabouts.of(&written, 179), Some(Ok(([10, 0, 2, 1], 179).into())));
    }

    fn gone(router: &RouterAt, _: Option<Place>) -> Result<Place, NotFound> {
        Err(match router {
            RouterAt::Gateway(family) => NotFound::NoGateway(*family),
            RouterAt::Address(_) | RouterAt::Interface(_) | RouterAt::Range(_) => {
                NotFound::NoRouter("eth0".to_owned())
            }
        })
    }

    #[test]
    fn a_neighbour_that_is_missing_ends_no_session_that_is_up() {
        let mut whereabouts = Whereabouts::default();
        let (here, there, now) = (router(1, 3), router(2, 3), Instant::now());
        whereabouts.known.insert(eth0(), Ok(here));
        for later in [0, 5, 600] {
            let now = now + Duration::from_secs(later);
            assert!(!whereabouts.look_again_by(now, |_| true, gone), "{later} s later");
        }
        assert_eq!((&whereabouts.known[&eth0()], whereabouts.interval()), (&Ok(here), Some(CHECK_EVERY)));
        assert!(whereabouts.look_again_by(now, |_| false, gone), "without a session it is looked for");
        assert!(whereabouts.look_again_by(now, |_| false, |_, _| Ok(here)));
        assert!(
            whereabouts.look_again_by(now, |_| true, |_, _| Ok(there)),
            "another router is another session"
        );
    }

    #[test]
    fn a_default_route_may_be_missing_for_as_long_as_silence_is_borne() {
        let mut whereabouts = Whereabouts::default();
        let gateway = RouterAt::Gateway(IpFamily::V4);
        let (here, begin) = ((IpAddr::from([10, 0, 2, 1]), 3), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        whereabouts.known.insert(gateway.clone(), Ok(here));
        assert!(!whereabouts.look_again_by(after(0), |_| true, gone));
        assert_eq!(whereabouts.interval(), Some(SEARCH_EVERY));
        assert!(!whereabouts.look_again_by(after(10), |_| true, gone));
        assert!(!whereabouts.look_again_by(after(14), |_| true, |_, _| Ok(here)), "a lease was renewed");
        assert!(!whereabouts.look_again_by(after(20), |_| true, gone), "counted from here on");
        assert!(!whereabouts.look_again_by(after(34), |_| true, gone));
        assert!(whereabouts.look_again_by(after(35), |_| true, gone), "the node has no way back to clients");
        assert_eq!(whereabouts.known[&gateway], Err(NotFound::NoGateway(IpFamily::V4)));
    }

    #[test]
    fn a_look_that_the_kernel_does_not_answer_says_nothing_about_a_router_that_is_known() {
        let mut whereabouts = Whereabouts::default();
        let here = router(1, 3);
        let no_answer = |_: &RouterAt, _: Option<Place>| Err(NotFound::Kernel("out of memory".to_owned()));
        let now = Instant::now();
        whereabouts.known.insert(eth0(), Ok(here));
        assert!(!whereabouts.look_again_by(now, |_| false, no_answer));
        assert_eq!(whereabouts.known[&eth0()], Ok(here), "it is dialled on");
        assert!(whereabouts.look_again_by(now, |_| false, gone), "the kernel says that it is gone");
        assert!(
            whereabouts.look_again_by(now, |_| false, no_answer),
            "and for one that is not known these are the newest words"
        );
        assert!(whereabouts.look_again_by(now, |_| false, |_, _| Ok(here)));
    }

    #[test]
    fn what_is_not_there_is_said_in_words_and_looked_for_every_second() {
        let mut whereabouts = Whereabouts::default();
        let router = RouterAt::Interface("none-such".to_owned());
        let fault = whereabouts.of(&router, 179).unwrap().unwrap_err();
        assert_eq!(
            fault.to_string(),
            "there is no interface none-such on this node; the session begins when there is one"
        );
        assert_eq!(whereabouts.interval(), Some(SEARCH_EVERY));
        assert!(!whereabouts.look_again(Instant::now(), |_| false), "still not there");
        whereabouts.keep(|_| false);
        assert_eq!(whereabouts.interval(), None);
    }
}
