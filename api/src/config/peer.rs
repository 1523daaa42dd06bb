//! Peers: routers and the sessions with them.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::router::{BGP_PORT, RouterAt, address, connect_mode, filled, listen_port, ttl_security};
use super::{
    BfdProfile, Kind, Notice, ObjectRef, Rejection, RejectionReason, SessionKey, TcpAoFault, Work, by_age,
    name_of,
};
use crate::duration;
use crate::selector::{Labels, Selectors};
use crate::service::IpFamily;
use crate::v1beta2::{BGPPeer, BGPPeerSpec, ConnectMode, DynamicAsn};

/// A peer in its checked form. What is written down of it leaves out the key and the refusal: whoever keeps peers
/// decides where a key may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Name of the object.
    pub name: String,
    /// When the object was made: of two peers with one router, the older runs.
    pub created: Option<Time>,
    /// AS number that we show: `localASN` where it is set, else `myASN`.
    pub local_asn: u32,
    /// AS number that the router must show.
    pub remote_asn: RemoteAsn,
    /// Where the router is.
    pub router: RouterAt,
    /// TCP port of the router, where we dial.
    pub port: u16,
    /// Who dials.
    pub connect: ConnectMode,
    /// TCP port on which we wait for the router, unless `connect` is `Active`.
    pub listen_port: u16,
    /// How many hops the router's packets may have come over (RFC 5082); `None` is any number.
    pub ttl_security: Option<NonZeroU8>,
    /// Whether received routes are checked.
    pub inspect: bool,
    /// Our address, where one is asked for. It is of the router's family.
    pub source: Option<IpAddr>,
    /// Hold time to propose, in seconds: 0 is off, `None` leaves it to the default.
    pub hold_time: Option<u16>,
    /// Interval of our KEEPALIVEs, in seconds; `None` is a third of the hold time.
    pub keepalive: Option<u16>,
    /// Longest wait between two attempts to connect, in seconds.
    pub connect_time: Option<u16>,
    /// Our BGP identifier, where one is asked for; never 0.
    pub router_id: Option<Ipv4Addr>,
    /// Nodes that open the session.
    pub node_selectors: Selectors,
    /// What signs the session.
    #[serde(skip)]
    pub key: Option<SessionKey>,
    /// Whether graceful restart is offered.
    pub graceful_restart: bool,
    /// Whether IPv4 and IPv6 routes go over this one session.
    pub dual_stack: bool,
    /// `ebgpMultiHop`: BFD, where it runs, expects routers in between.
    pub ebgp_multihop: bool,
    /// The profile of the BFD session beside this one; `None` where no BFD is wanted.
    pub bfd: Option<BfdProfile>,
    /// Why the session must stay down, if so.
    #[serde(skip)]
    pub refused: Option<PeerRefusal>,
}

/// AS number that a router must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RemoteAsn {
    /// This one.
    Exactly(u32),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

/// Why a sound peer must stay down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum PeerRefusal {
    /// The Secret does not exist.
    #[error(
        "there is no Secret {secret:?} of type kubernetes.io/basic-auth (one of another type does not count); the session stays down until there is one"
    )]
    NoSecret {
        /// Name of the Secret.
        secret: String,
    },
    /// The Secret is of another type.
    #[error(
        "Secret {secret:?} is of type {found:?}; make one of type kubernetes.io/basic-auth. The session stays down until then"
    )]
    SecretOfWrongType {
        /// Name of the Secret.
        secret: String,
        /// Its type.
        found: String,
    },
    /// The Secret has no password.
    #[error("Secret {secret:?} has no key \"password\"; the session stays down until it has one")]
    SecretWithoutPassword {
        /// Name of the Secret.
        secret: String,
    },
    /// The password cannot be used.
    #[error(
        "the password in Secret {secret:?} has {octets} octets; TCP MD5 takes 1 to 80. The session stays down until then"
    )]
    SecretUnusable {
        /// Name of the Secret.
        secret: String,
        /// Length of the password.
        octets: usize,
    },
    /// The Secret is there and is no key for TCP-AO.
    #[error("Secret {secret:?} cannot be used for TCP-AO: {fault}. The session stays down until it can")]
    TcpAoSecretUnusable {
        /// Name of the Secret.
        secret: String,
        /// What it lacks.
        fault: TcpAoFault,
    },
    /// The BFD profile does not exist.
    #[error("BFDProfile {profile:?} does not exist; the session stays down until it does")]
    UnknownBfdProfile {
        /// Name of the profile.
        profile: String,
    },
    /// A peer in a routing instance.
    #[error(
        "this version does not open sessions in a VRF ({vrf:?}); remove vrf to use the main routing table"
    )]
    VrfUnsupported {
        /// The routing instance.
        vrf: String,
    },
}

impl PeerRefusal {
    /// The refusal in one word, as a condition's reason.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoSecret { .. } => "NoSecret",
            Self::SecretOfWrongType { .. } => "SecretOfWrongType",
            Self::SecretWithoutPassword { .. } => "SecretWithoutPassword",
            Self::SecretUnusable { .. } => "InvalidPassword",
            Self::TcpAoSecretUnusable { .. } => "InvalidTCPAOSecret",
            Self::UnknownBfdProfile { .. } => "UnknownBFDProfile",
            Self::VrfUnsupported { .. } => "VRFNotImplemented",
        }
    }

    /// Whether the refusal is about the contents of a Secret, which not every process may read.
    #[must_use]
    pub const fn is_about_secret(&self) -> bool {
        match self {
            Self::NoSecret { .. }
            | Self::SecretOfWrongType { .. }
            | Self::SecretWithoutPassword { .. }
            | Self::SecretUnusable { .. }
            | Self::TcpAoSecretUnusable { .. } => true,
            Self::UnknownBfdProfile { .. } | Self::VrfUnsupported { .. } => false,
        }
    }
}

/// The peers of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeersOnNode<'a> {
    /// Peers whose session belongs to the node, those that must stay down included; sorted by name.
    pub peers: Vec<&'a Peer>,
    /// Peers that would open a second session to a router that an older peer has on this node; sorted by name.
    pub duplicates: Vec<Rejection>,
}

impl super::Config {
    /// The peers of a node with these labels. Of two peers with one address and port, the older one runs.
    #[must_use]
    pub fn peers_on(&self, node_labels: &Labels) -> PeersOnNode<'_> {
        let mut selected: Vec<&Peer> =
            self.peers.values().filter(|peer| peer.node_selectors.matches(node_labels)).collect();
        selected.sort_by(|a, b| a.age().cmp(&b.age()));
        let mut on_node = PeersOnNode::default();
        for peer in selected {
            match on_node.peers.iter().find(|older| peer.same_router(older)) {
                Some(older) => on_node.duplicates.push(peer.duplicate_of(older)),
                None => on_node.peers.push(peer),
            }
        }
        on_node.peers.sort_by(|a, b| a.name.cmp(&b.name));
        on_node.duplicates.sort();
        on_node
    }
}

impl Peer {
    fn age(&self) -> (Option<&Time>, &str) {
        (self.created.as_ref(), &self.name)
    }

    /// Whether both would open a session with the same router, or could not tell whose call they take.
    fn same_router(&self, other: &Self) -> bool {
        let in_vrf = |peer: &Self| matches!(peer.refused, Some(PeerRefusal::VrfUnsupported { .. }));
        if in_vrf(self) || in_vrf(other) || self.router != other.router {
            return false;
        }
        let (dial, listen) = (ConnectMode::dials, ConnectMode::listens);
        let both_dial = dial(self.connect) && dial(other.connect) && self.port == other.port;
        let both_listen =
            listen(self.connect) && listen(other.connect) && self.listen_port == other.listen_port;
        both_dial || both_listen
    }

    /// Whether both certainly run on a common node, whatever labels the nodes have.
    fn shares_nodes(&self, other: &Self) -> bool {
        self.node_selectors.is_empty()
            || other.node_selectors.is_empty()
            || self.node_selectors == other.node_selectors
    }

    fn duplicate_of(&self, older: &Self) -> Rejection {
        Rejection {
            object: ObjectRef::new(Kind::BGPPeer, self.name.as_str()),
            reason: RejectionReason::DuplicatePeer {
                other: older.name.clone(),
                address: match self.router {
                    RouterAt::Address(address) => std::net::SocketAddr::new(address, self.port).to_string(),
                    RouterAt::Gateway(_) | RouterAt::Interface(_) | RouterAt::Range(_) => {
                        self.router.to_string()
                    }
                },
            },
            in_force: false,
        }
    }
}

impl Work<'_> {
    /// Accepts peers from the oldest to the youngest, so that of two with one router the older one runs.
    pub(super) fn build_peers(&mut self) {
        for object in by_age(&self.resources.peers, |peer| &peer.metadata) {
            let name = name_of(&object.metadata);
            match self.check_peer(object).and_then(|peer| self.refuse_duplicate(peer)) {
                Ok(peer) => {
                    self.note_peer(name, &object.spec, &peer);
                    self.config.peers.insert(name.to_owned(), peer);
                }
                Err(reason) => {
                    let last_good = self.last_good.peers.get(name).cloned();
                    let last_good = last_good.and_then(|peer| self.refuse_duplicate(peer).ok());
                    self.reject(Kind::BGPPeer, name, reason, last_good.is_some());
                    self.config.peers.extend(last_good.map(|peer| (name.to_owned(), peer)));
                }
            }
        }
    }

    fn refuse_duplicate(&self, peer: Peer) -> Result<Peer, RejectionReason> {
        let older =
            self.config.peers.values().find(|older| peer.same_router(older) && peer.shares_nodes(older));
        match older {
            Some(older) => Err(peer.duplicate_of(older).reason),
            None => Ok(peer),
        }
    }

    /// Says what an accepted peer's owner should know.
    fn note_peer(&mut self, name: &str, spec: &BGPPeerSpec, peer: &Peer) {
        let mut notices = Vec::new();
        if let Some(refusal) = &peer.refused {
            self.reject(Kind::BGPPeer, name, RejectionReason::PeerRefused(refusal.clone()), false);
        }
        if spec.disable_mp == Some(true) {
            notices.push(Notice::DisableMpIgnored);
        }
        if peer.ebgp_multihop {
            notices.push(Notice::MultihopWithoutEffect);
        }
        if peer.hold_time == Some(0) {
            notices.push(Notice::HoldTimeOff);
        }
        if filled(spec.password.as_deref()).is_some() {
            notices.push(Notice::PasswordInObject);
        }
        if peer.router_id.is_some() && peer.node_selectors.is_empty() {
            notices.push(Notice::RouterIdOnAllNodes);
        }
        for notice in notices {
            self.notice(Kind::BGPPeer, name, notice);
        }
    }

    fn check_peer(&self, object: &BGPPeer) -> Result<Peer, RejectionReason> {
        let spec = &object.spec;
        let (local_asn, remote_asn) = asns(spec)?;
        let router = RouterAt::try_new(spec)?;
        let timers = Timers::try_new(spec)?;
        let (key, secret_refusal) = self.session_key(spec)?;
        let ebgp_multihop = spec.ebgp_multi_hop.unwrap_or_default();
        if ebgp_multihop && spec.peer_asn == Some(spec.my_asn) {
            return Err(RejectionReason::MultihopInternal);
        }
        let vrf = filled(spec.vrf.as_deref()).map(|vrf| PeerRefusal::VrfUnsupported { vrf: vrf.to_owned() });
        Ok(Peer {
            name: name_of(&object.metadata).to_owned(),
            created: object.metadata.creation_timestamp.clone(),
            local_asn,
            remote_asn,
            port: spec.peer_port.filter(|port| *port != 0).unwrap_or(BGP_PORT),
            connect: connect_mode(spec, &router)?,
            listen_port: listen_port(spec)?,
            ttl_security: ttl_security(spec)?,
            inspect: spec.inspect_updates.unwrap_or_default(),
            source: source(spec, &router)?,
            router,
            hold_time: timers.hold,
            keepalive: timers.keepalive,
            connect_time: timers.connect,
            router_id: router_id(spec)?,
            node_selectors: Selectors::try_new(&spec.node_selectors)
                .map_err(|fault| RejectionReason::Selector { field: "nodeSelectors", fault })?,
            key,
            graceful_restart: spec.enable_graceful_restart.unwrap_or(true),
            dual_stack: spec.dual_stack_address_family.unwrap_or_default(),
            ebgp_multihop,
            bfd: self.bfd_profile(spec).cloned(),
            // The Secret comes last, because the controller cannot read it and still sees the others.
            refused: vrf.or_else(|| self.bfd_refusal(spec)).or(secret_refusal),
        })
    }

    fn bfd_refusal(&self, spec: &BGPPeerSpec) -> Option<PeerRefusal> {
        let profile = filled(spec.bfd_profile.as_deref())?;
        let known = self.bfd_profile(spec).is_some();
        (!known).then(|| PeerRefusal::UnknownBfdProfile { profile: profile.to_owned() })
    }

    fn bfd_profile(&self, spec: &BGPPeerSpec) -> Option<&BfdProfile> {
        self.config.bfd_profiles.get(filled(spec.bfd_profile.as_deref())?)
    }
}

fn asns(spec: &BGPPeerSpec) -> Result<(u32, RemoteAsn), RejectionReason> {
    if spec.my_asn == 0 {
        return Err(RejectionReason::MissingLocalAsn);
    }
    let local = match spec.local_asn {
        Some(0) => {
            return Err(RejectionReason::OutOfRange {
                field: "localASN",
                value: 0,
                low: 1,
                high: u32::MAX.into(),
            });
        }
        Some(asn) => asn,
        None => spec.my_asn,
    };
    match (spec.peer_asn.filter(|asn| *asn != 0), spec.dynamic_asn) {
        (Some(_), Some(_)) => Err(RejectionReason::BothPeerAsns),
        (None, None) => Err(RejectionReason::MissingPeerAsn),
        (Some(asn), None) => Ok((local, RemoteAsn::Exactly(asn))),
        (None, Some(DynamicAsn::Internal)) => Ok((local, RemoteAsn::Internal)),
        (None, Some(DynamicAsn::External)) => Ok((local, RemoteAsn::External)),
    }
}

fn source(spec: &BGPPeerSpec, router: &RouterAt) -> Result<Option<IpAddr>, RejectionReason> {
    let Some(text) = filled(spec.source_address.as_deref()) else { return Ok(None) };
    let Some(source) = address(text) else {
        return Err(RejectionReason::InvalidSource { text: text.to_owned() });
    };
    match router.family() {
        None => Err(RejectionReason::InvalidField {
            field: "sourceAddress",
            text: text.to_owned(),
            advice: "an unnumbered session speaks from the link-local address of its interface; remove sourceAddress",
        }),
        Some(family) if family != IpFamily::of(source) => Err(RejectionReason::SourceOfOtherFamily {
            source_ip: source.to_string(),
            peer: router.to_string(),
        }),
        Some(_) => Ok(Some(source)),
    }
}

fn router_id(spec: &BGPPeerSpec) -> Result<Option<Ipv4Addr>, RejectionReason> {
    let Some(text) = filled(spec.router_id.as_deref()) else { return Ok(None) };
    match text.parse::<Ipv4Addr>() {
        Ok(id) if !id.is_unspecified() => Ok(Some(id)),
        Ok(_) | Err(_) => Err(RejectionReason::InvalidRouterId { text: text.to_owned() }),
    }
}

/// The timers in whole seconds.
struct Timers {
    hold: Option<u16>,
    keepalive: Option<u16>,
    connect: Option<u16>,
}

impl Timers {
    fn try_new(spec: &BGPPeerSpec) -> Result<Self, RejectionReason> {
        let hold = timer("hold", spec.hold_time.as_deref())?;
        let keepalive = timer("keepalive", spec.keepalive_time.as_deref())?;
        let (hold, keepalive) = match (hold, keepalive) {
            (None, None) => (None, None),
            (Some(hold), None) => (Some(hold_seconds(hold, spec.hold_time.as_deref())?), None),
            // Only the keepalive time is written: the hold time is three of it, as the router expects.
            (None, Some(keepalive)) => {
                let hold = hold_seconds(keepalive.saturating_mul(3), spec.keepalive_time.as_deref())?;
                (Some(hold), whole(keepalive))
            }
            (Some(hold), Some(keepalive)) if keepalive > hold => {
                return Err(RejectionReason::KeepaliveAboveHold {
                    keepalive: duration::format(keepalive),
                    hold: duration::format(hold),
                });
            }
            (Some(hold), Some(keepalive)) => {
                (Some(hold_seconds(hold, spec.hold_time.as_deref())?), whole(keepalive))
            }
        };
        Ok(Self { hold, keepalive, connect: connect_seconds(spec.connect_time.as_deref())? })
    }
}

fn timer(timer: &'static str, text: Option<&str>) -> Result<Option<Duration>, RejectionReason> {
    let Some(text) = filled(text) else { return Ok(None) };
    let parsed = duration::parse(text).map_err(|fault| RejectionReason::InvalidTimer { timer, fault })?;
    Ok(Some(parsed))
}

/// Whole seconds, rounded down; nothing is left of less than one second.
fn whole(keepalive: Duration) -> Option<u16> {
    u16::try_from(keepalive.as_secs()).ok().filter(|seconds| *seconds != 0)
}

fn hold_seconds(hold: Duration, text: Option<&str>) -> Result<u16, RejectionReason> {
    match u16::try_from(hold.as_secs()) {
        Ok(seconds) if seconds == 0 || seconds >= 3 => Ok(seconds),
        Ok(_) | Err(_) => {
            Err(RejectionReason::HoldTimeOutOfRange { text: text.unwrap_or_default().to_owned() })
        }
    }
}

fn connect_seconds(text: Option<&str>) -> Result<Option<u16>, RejectionReason> {
    let Some(connect) = timer("connect", text)? else { return Ok(None) };
    match u16::try_from(connect.as_secs()) {
        Ok(seconds) if seconds != 0 && connect.subsec_nanos() == 0 => Ok(Some(seconds)),
        Ok(_) | Err(_) => {
            Err(RejectionReason::ConnectTimeOutOfRange { text: text.unwrap_or_default().to_owned() })
        }
    }
}
