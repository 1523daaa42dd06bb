//! What two OPENs agree on, and what makes us refuse the peer's.

use std::net::IpAddr;
use std::time::Duration;

use crate::family::{Families, Family};
use crate::number::{Asn, HoldTime, RouterId};
use crate::peer::{PeerConfig, RemoteAs, RolePolicy};
use crate::status::DownReason;
use crate::wire::as_path::AsWidth;
use crate::wire::capability::{
    Capability, GracefulRestart, IPV4_OVER_IPV6, forwarding_tuples, long_lived_tuples,
};
use crate::wire::check::Context;
use crate::wire::header::{EXTENDED_MAX_LEN, MAX_LEN};
use crate::wire::notification::ErrorCode;
use crate::wire::open::{Open, OpenBuilder};

use super::Farewell;

/// The Restart Time has twelve bits.
const RESTART_TIME_MAX: u16 = 4095;

/// What holds for a connection once OPENs are exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) remote_asn: Asn,
    pub(crate) remote_router_id: RouterId,
    /// eBGP.
    pub(crate) external: bool,
    pub(crate) width: AsWidth,
    pub(crate) hold: HoldTime,
    /// How often we send KEEPALIVE, before jitter.
    pub(crate) keepalive: Option<Duration>,
    pub(crate) families: Families,
    pub(crate) enhanced_refresh: bool,
    /// Both sides have the graceful restart capability, and the peer's names a family: it may come back on another
    /// connection while this one looks alive (RFC 4724 §5).
    pub(crate) graceful_restart: bool,
    /// Both sides set the N bit: only a Hard Reset makes the peer drop our routes (RFC 8538).
    pub(crate) keeps_after_notification: bool,
    /// IPv4 routes may have IPv6 next hops, both ways (RFC 8950).
    pub(crate) extended_next_hop: bool,
    /// Our routes are marked for the peer's customers only (RFC 9234).
    pub(crate) only_to_customer: bool,
    pub(crate) max_len: u16,
}

impl Negotiated {
    /// What of it matters for received UPDATEs.
    pub(crate) fn context(&self) -> Context {
        Context {
            external: self.external,
            width: self.width,
            families: self.families,
            extended_next_hop: self.extended_next_hop,
        }
    }
}

/// Judges the peer's OPEN.
pub(crate) fn negotiate(config: &PeerConfig, open: &Open<'_>, local: IpAddr) -> Result<Negotiated, Farewell> {
    if !config.remote.admits(open.asn, config.local_asn) {
        let reason = DownReason::WrongAs { expected: config.remote, found: open.asn };
        return Err(Farewell::say(reason, ErrorCode::BAD_PEER_AS, Vec::new()));
    }
    let external = open.asn != config.local_asn;
    if !external && open.router_id == config.router_id {
        // RFC 6286 §2.2: only inside one AS is this an error.
        let reason = DownReason::SameRouterId(open.router_id);
        return Err(Farewell::say(reason, ErrorCode::BAD_ROUTER_ID, Vec::new()));
    }
    let families = config.families.intersection(families_of(open));
    if families.is_empty() {
        // RFC 5492 §5: say which capabilities are missed.
        let mut missed = bytes::BytesMut::new();
        config.families.iter().for_each(|family| Capability::family(family).encode(&mut missed));
        return Err(Farewell::say(
            DownReason::NoCommonFamily,
            ErrorCode::UNSUPPORTED_CAPABILITY,
            missed.to_vec(),
        ));
    }
    if external {
        check_role(config, open)?;
    }
    let hold = proposed_hold(config).min(open.hold_time);
    let has = |wanted: &dyn Fn(&Capability<'_>) -> bool| open.capabilities.into_iter().any(|c| wanted(&c));
    let restart = graceful_restart_of(open).filter(|_| config.graceful_restart.is_some());
    let is_extended = config.extended_messages && has(&|c| *c == Capability::ExtendedMessage);
    Ok(Negotiated {
        remote_asn: open.asn,
        remote_router_id: open.router_id,
        external,
        width: if open.four_octet_as { AsWidth::Four } else { AsWidth::Two },
        hold,
        keepalive: hold.duration().map(|hold| config.keepalive.unwrap_or(hold / 3).min(hold / 3)),
        families,
        enhanced_refresh: has(&|c| *c == Capability::EnhancedRouteRefresh),
        graceful_restart: restart.is_some_and(|restart| restart.families().next().is_some()),
        keeps_after_notification: config.keep_after_notification
            && restart.is_some_and(|restart| restart.notification),
        extended_next_hop: offers_extended_next_hop(config, local) && has(&|c| c.is_ipv4_over_ipv6()),
        only_to_customer: external && config.role.is_some_and(|policy| policy.role.marks_only_to_customer()),
        max_len: if is_extended { EXTENDED_MAX_LEN } else { MAX_LEN },
    })
}

/// RFC 9234 §4.2. A peer that names two different roles has none that could fit.
fn check_role(config: &PeerConfig, open: &Open<'_>) -> Result<(), Farewell> {
    let Some(RolePolicy { role, strict }) = config.role else { return Ok(()) };
    let mut named = open
        .capabilities
        .into_iter()
        .filter_map(|capability| if let Capability::Role(code) = capability { Some(code) } else { None });
    let fits = |code: u8| code == role.counterpart().code();
    let found = match named.next() {
        None if !strict => return Ok(()),
        None => None,
        Some(first) if fits(first) => match named.find(|other| *other != first) {
            None => return Ok(()),
            other => other,
        },
        first => first,
    };
    let reason = DownReason::RoleMismatch { ours: role, found };
    Err(Farewell::say(reason, ErrorCode::ROLE_MISMATCH, Vec::new()))
}

/// Of several such capabilities the last one counts (RFC 4724 §3).
fn graceful_restart_of<'a>(open: &Open<'a>) -> Option<GracefulRestart<'a>> {
    let restarts = open.capabilities.into_iter().filter_map(|capability| {
        if let Capability::GracefulRestart(restart) = capability { Some(restart) } else { None }
    });
    restarts.last()
}

/// An IPv6 next hop is our own address of the session, so there must be one that routers can use.
fn offers_extended_next_hop(config: &PeerConfig, local: IpAddr) -> bool {
    let has_address = match local {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => config.may_be_next_hop(v6),
    };
    config.extended_next_hop && has_address && config.families.contains(Family::Ipv4Unicast)
}

/// A peer that names no family speaks IPv4 unicast (RFC 4760 §8).
fn families_of(open: &Open<'_>) -> Families {
    let mut named = open
        .capabilities
        .into_iter()
        .filter_map(|capability| {
            if let Capability::Multiprotocol { afi, safi } = capability { Some((afi, safi)) } else { None }
        })
        .peekable();
    if named.peek().is_none() {
        return Families::IPV4;
    }
    named.filter_map(|(afi, safi)| Family::from_afi_safi(afi, safi)).collect()
}

/// Roles are for eBGP only (RFC 9234 §4.1).
fn is_external(config: &PeerConfig) -> bool {
    match config.remote {
        RemoteAs::Exactly(asn) => asn != config.local_asn,
        RemoteAs::Internal => false,
        RemoteAs::External => true,
    }
}

fn proposed_hold(config: &PeerConfig) -> HoldTime {
    config.hold_time.unwrap_or(HoldTime::DEFAULT)
}

/// Appends our OPEN. `local` is our end of the connection. `restarting` sets the R bit: this speaker was
/// here before and has come back.
pub(crate) fn put_open(config: &PeerConfig, local: IpAddr, restarting: bool, out: &mut bytes::BytesMut) {
    let tuples = forwarding_tuples(config.families);
    let long_lived = config.long_lived.filter(|_| config.graceful_restart.is_some()).map(|stale_time| {
        long_lived_tuples(config.families, u32::try_from(stale_time.as_secs()).unwrap_or(u32::MAX))
    });
    let mut capabilities: Vec<Capability<'_>> = config.families.iter().map(Capability::family).collect();
    capabilities.push(Capability::RouteRefresh);
    if offers_extended_next_hop(config, local) {
        capabilities.push(Capability::ExtendedNextHop(&IPV4_OVER_IPV6));
    }
    if config.extended_messages {
        capabilities.push(Capability::ExtendedMessage);
    }
    if let Some(RolePolicy { role, .. }) = config.role.filter(|_| is_external(config)) {
        capabilities.push(Capability::Role(role.code()));
    }
    if let Some(restart_time) = config.graceful_restart {
        let restart_time = u16::try_from(restart_time.as_secs()).unwrap_or(u16::MAX).min(RESTART_TIME_MAX);
        capabilities.push(Capability::GracefulRestart(GracefulRestart {
            restarting,
            notification: config.keep_after_notification,
            restart_time,
            tuples: &tuples,
        }));
    }
    capabilities.push(Capability::FourOctetAs(config.local_asn));
    capabilities.push(Capability::EnhancedRouteRefresh);
    if let Some(tuples) = &long_lived {
        capabilities.push(Capability::LongLivedGracefulRestart(tuples));
    }
    OpenBuilder {
        asn: config.local_asn,
        hold_time: proposed_hold(config),
        router_id: config.router_id,
        capabilities: &capabilities,
    }
    .encode(out);
}
