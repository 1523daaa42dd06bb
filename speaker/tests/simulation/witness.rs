//! Reads what goes over the wire, in the words of the judge.

use std::net::IpAddr;

use bgp_proto::wire::capability::Capability;
use bgp_proto::wire::community::communities;
use bgp_proto::wire::nlri::Nlri;
use bgp_proto::wire::open::Open;
use bgp_proto::wire::update::{MP_REACH_NLRI, MP_UNREACH_NLRI, MpReach, MpUnreach, Update};
use bgp_proto::{Community, Family, Prefix};

const NEXT_HOP: u8 = 3;
const COMMUNITIES: u8 = 8;

/// What one UPDATE does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) withdrawn: Vec<Prefix>,
    pub(crate) announced: Vec<Prefix>,
    pub(crate) next_hop: Option<IpAddr>,
    /// The number in the second half of the one community that the advertisement gives.
    pub(crate) community: Option<u8>,
    /// The route is marked: its speaker is about to go (RFC 8326).
    pub(crate) shutting_down: bool,
    pub(crate) end_of_rib: Option<Family>,
}

pub(crate) fn update(body: &[u8]) -> Told {
    let update = Update::parse(body).unwrap();
    let mut told = Told {
        withdrawn: Nlri::try_new(update.withdrawn, Family::Ipv4Unicast).unwrap().collect(),
        announced: Nlri::try_new(update.nlri, Family::Ipv4Unicast).unwrap().collect(),
        ..Told::default()
    };
    told.end_of_rib = update.end_of_rib().and_then(|(afi, safi)| Family::from_afi_safi(afi, safi));
    for attribute in update.attrs().map(Result::unwrap) {
        match attribute.code {
            NEXT_HOP => {
                let octets: [u8; 4] = attribute.value.try_into().unwrap();
                told.next_hop = Some(octets.into());
            }
            COMMUNITIES => {
                for Community(value) in communities(attribute.value) {
                    told.shutting_down |= Community(value) == Community::GRACEFUL_SHUTDOWN;
                    if value >> 16 == 64500 {
                        told.community = u8::try_from(value & 0xFFFF).ok();
                    }
                }
            }
            MP_REACH_NLRI => {
                let reach = MpReach::parse(attribute.value).unwrap();
                let octets: [u8; 16] = reach.next_hop.get(..16).unwrap().try_into().unwrap();
                told.next_hop = Some(octets.into());
                told.announced.extend(Nlri::try_new(reach.nlri, Family::Ipv6Unicast).unwrap());
            }
            MP_UNREACH_NLRI => {
                let unreach = MpUnreach::parse(attribute.value).unwrap();
                told.withdrawn.extend(Nlri::try_new(unreach.nlri, Family::Ipv6Unicast).unwrap());
            }
            _ => {}
        }
    }
    told
}

/// The graceful restart capability of an OPEN: how long its sender may be away, and whether it kept forwarding.
pub(crate) fn graceful_restart(body: &[u8]) -> Option<(u16, bool)> {
    let open = Open::parse(body).unwrap();
    open.capabilities.into_iter().find_map(|capability| {
        let Capability::GracefulRestart(graceful) = capability else { return None };
        let kept = graceful.families().all(|(_, _, flags)| flags & 0x80 != 0);
        Some((graceful.restart_time, kept))
    })
}
