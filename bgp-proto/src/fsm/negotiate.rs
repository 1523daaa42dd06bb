//! What two OPENs agree on, and what makes us refuse the peer's.

use std::time::Duration;

use crate::family::{Families, Family};
use crate::number::{Asn, HoldTime, RouterId};
use crate::peer::PeerConfig;
use crate::status::DownReason;
use crate::wire::as_path::AsWidth;
use crate::wire::capability::{Capability, GracefulRestart, forwarding_tuples};
use crate::wire::header::MAX_LEN;
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
    /// Both sides have the graceful restart capability.
    pub(crate) graceful_restart: bool,
    pub(crate) max_len: u16,
}

/// Judges the peer's OPEN.
pub(crate) fn negotiate(config: &PeerConfig, open: &Open<'_>) -> Result<Negotiated, Farewell> {
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
    let hold = proposed_hold(config).min(open.hold_time);
    let peer_restarts = open.capabilities.into_iter().any(|c| matches!(c, Capability::GracefulRestart(_)));
    Ok(Negotiated {
        remote_asn: open.asn,
        remote_router_id: open.router_id,
        external,
        width: if open.four_octet_as { AsWidth::Four } else { AsWidth::Two },
        hold,
        keepalive: hold.duration().map(|hold| config.keepalive.unwrap_or(hold / 3).min(hold / 3)),
        families,
        enhanced_refresh: open.capabilities.into_iter().any(|c| c == Capability::EnhancedRouteRefresh),
        graceful_restart: config.graceful_restart.is_some() && peer_restarts,
        max_len: MAX_LEN,
    })
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

fn proposed_hold(config: &PeerConfig) -> HoldTime {
    config.hold_time.unwrap_or(HoldTime::DEFAULT)
}

/// Appends our OPEN. `restarting` sets the R bit: this speaker was here before and has come back.
pub(crate) fn put_open(config: &PeerConfig, restarting: bool, out: &mut bytes::BytesMut) {
    let tuples = forwarding_tuples(config.families);
    let mut capabilities: Vec<Capability<'_>> = config.families.iter().map(Capability::family).collect();
    capabilities.push(Capability::RouteRefresh);
    if let Some(restart_time) = config.graceful_restart {
        let restart_time = u16::try_from(restart_time.as_secs()).unwrap_or(u16::MAX).min(RESTART_TIME_MAX);
        capabilities.push(Capability::GracefulRestart(GracefulRestart {
            restarting,
            notification: false,
            restart_time,
            tuples: &tuples,
        }));
    }
    capabilities.push(Capability::FourOctetAs(config.local_asn));
    capabilities.push(Capability::EnhancedRouteRefresh);
    OpenBuilder {
        asn: config.local_asn,
        hold_time: proposed_hold(config),
        router_id: config.router_id,
        capabilities: &capabilities,
    }
    .encode(out);
}
