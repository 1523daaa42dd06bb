//! BFD beside the sessions: which paths are watched for which peers, and what their failure means.
//!
//! A peer with a BFD profile gets a BFD session between the addresses of its BGP session. It begins with the peer and
//! outlives BGP's connections: a path that fails takes an Established session down at once, one that is whole again is
//! dialled at once, one that is not up yet keeps nothing from coming up. Leaves out BFD itself, which is `crate::bfd`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU8;

use api::config::BfdProfile;
use bfd_proto::{DownReason, Hops, Interval, Path, SessionConfig};
use bgp_proto::{Event, PathFault, PeerKey};

use super::member::Member;
use super::roster::Roster;
use super::whereabouts::scope;
use crate::bfd::estate::Estate;
use crate::bfd::{Bfd, Turn};
use crate::plan::BfdRow;

/// The watched paths.
#[derive(Debug)]
pub(super) struct Paths {
    bfd: Bfd,
    seed: u64,
    /// Whether it is not known yet which paths there are.
    held: bool,
    /// The path of each peer that has one. Peers with one router address share it.
    of_peers: BTreeMap<PeerKey, Path>,
}

impl Paths {
    /// No path yet.
    pub(super) fn new(seed: u64) -> Self {
        Self { bfd: Bfd::new(seed), seed, held: false, of_peers: BTreeMap::new() }
    }

    /// Another process of this node has left its BFD sessions. Nothing is watched before [`Self::release`]: the paths of
    /// connections that go on are known then.
    pub(super) fn inherit(&mut self, estate: Estate) {
        self.bfd.inherit(estate);
        self.held = true;
    }

    /// All connections that go on are in their places.
    pub(super) fn release(&mut self, roster: &Roster) {
        self.held = false;
        self.serve(roster);
    }

    /// Everything that another process needs to go on; `None` when BFD does not answer.
    pub(super) async fn copy(&mut self) -> Option<Estate> {
        self.bfd.copy().await
    }

    /// Another process goes on: nothing is said to the routers.
    pub(super) async fn vanish(&mut self) {
        // Should it be our turn once more, then with other discriminators.
        self.seed = self.seed.rotate_left(1);
        self.of_peers.clear();
        std::mem::replace(&mut self.bfd, Bfd::new(self.seed)).vanish().await;
    }

    /// Watches what the roster's peers want. Of two peers with one path the first by name gives the profile.
    pub(super) fn serve(&mut self, roster: &Roster) {
        if self.held {
            return;
        }
        let before = std::mem::take(&mut self.of_peers);
        let mut wanted: BTreeMap<Path, SessionConfig> = BTreeMap::new();
        for (_, member) in roster.members() {
            let Some(profile) = &member.peer.bfd else { continue };
            let Some(local) = local_address(member, before.get(&member.key)) else { continue };
            let remote = member.target.remote;
            let path = Path { local, remote: remote.ip(), link: scope(remote), hops: hops(member) };
            self.of_peers.insert(member.key, path);
            wanted.entry(path).or_insert_with(|| session(path, profile));
        }
        let wanted: Vec<SessionConfig> = wanted.into_values().collect();
        self.bfd.want(&wanted);
    }

    /// Waits for news. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        self.bfd.changed().await;
    }

    /// What the sessions have to know of their paths since this was asked last, in order.
    pub(super) fn news(&mut self) -> Vec<Event> {
        let mut news = Vec::new();
        for (path, turn) in self.bfd.turns() {
            let peers = self.of_peers.iter().filter(|(_, of_peer)| **of_peer == path);
            news.extend(peers.filter_map(|(peer, _)| event(*peer, turn)));
        }
        news
    }

    /// How BFD stands on the way to a peer; `None` where none is wanted or it has not begun.
    pub(super) fn row(&self, peer: PeerKey) -> Option<BfdRow> {
        self.bfd.row(*self.of_peers.get(&peer)?)
    }

    /// Switches all sessions off and tells the routers so: that is no failure of the path (RFC 5882 §4.2).
    pub(super) async fn end(self) {
        self.bfd.end().await;
    }
}

/// Where BGP speaks from. Between two connections it stays what it was, so that the watch goes on without a gap.
fn local_address(member: &Member, before: Option<&Path>) -> Option<IpAddr> {
    let home: Option<IpAddr> = match member.target.remote.ip() {
        IpAddr::V4(_) => member.home.v4.map(IpAddr::from),
        IpAddr::V6(_) => member.home.v6.map(IpAddr::from),
    };
    member.local.or_else(|| before.map(|path| path.local)).or(home)
}

fn hops(member: &Member) -> Hops {
    if member.peer.ebgp_multihop { Hops::Multi } else { Hops::Single }
}

fn session(path: Path, profile: &BfdProfile) -> SessionConfig {
    SessionConfig {
        path,
        desired_min_tx: Interval::from_millis(profile.transmit_interval),
        required_min_rx: Interval::from_millis(profile.receive_interval),
        detect_multiplier: NonZeroU8::new(profile.detect_multiplier).unwrap_or(NonZeroU8::MIN),
        passive: profile.passive,
        minimum_ttl: profile.minimum_ttl,
    }
}

/// What a session hears about its path. What somebody switched off has not failed.
fn event(peer: PeerKey, turn: Turn) -> Option<Event> {
    let fault = match turn {
        Turn::Rose => return Some(Event::PathUp { peer }),
        Turn::Failed(DownReason::TimeExpired { after }) => PathFault::Silence { after },
        Turn::Failed(DownReason::SignalledDown { .. }) => PathFault::Signalled,
        Turn::Failed(DownReason::PeerAdminDown | DownReason::SwitchedOff) => return None,
    };
    Some(Event::PathDown { peer, fault })
}
