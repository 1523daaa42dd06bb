//! Callers at the doors, routers that come and go with the network around the node, and what received UPDATEs lack.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bgp_proto::{Event, State};
use socket2::SockRef;
use tokio::net::TcpStream;
use tracing::{info, warn};

use super::Driver;
use crate::peering::roster::{Callee, Roster};
use crate::peering::sockopt;
use crate::peering::wake::now;

/// A line about a caller whom nobody waits for, at most.
const STRANGER_EVERY: Duration = Duration::from_secs(60);

impl Driver {
    /// A router has called. Whoever no peer waits for is hung up on without a word.
    pub(super) fn handle_call(&mut self, stream: TcpStream, from: SocketAddr) {
        let now = now();
        let Ok(local) = stream.local_addr() else { return };
        let mut callee = self.roster.callee(from, local);
        if callee == Callee::Full && self.retire(now, Duration::ZERO) {
            callee = self.roster.callee(from, local);
        }
        let peer = match callee {
            Callee::Member(peer) => peer,
            Callee::Nobody => return self.note_stranger(now, from, "no BGPPeer waits for calls from there"),
            Callee::Full => {
                return self.note_stranger(now, from, "its peerRange has as many routers as one node takes");
            }
        };
        let Some(member) = self.roster.member(peer) else { return };
        if !member.entrance().is_some_and(|entrance| self.doors.asks_for_key(&entrance)) {
            return self.note_stranger(now, from, "its key does not lie on the door yet");
        }
        let socket = SockRef::from(&stream);
        let prepared = sockopt::prepare(&socket, from.ip(), member.target.dead_after);
        let limited = member.target.hops.map(|hops| sockopt::require_ttl(&stream, from.ip(), hops));
        if prepared.is_err() || limited.is_some_and(|limited| limited.is_err()) {
            // The caller is gone already.
            return;
        }
        let is_new = self.speaker.session(peer).is_none();
        if is_new {
            info!(peer = self.roster.name(peer), "a router of a network has called");
            self.settle(now);
        }
        let Some(connection) = self.take_stream(peer, stream, local) else { return };
        self.speaker
            .handle_event(now, Event::Accepted { peer, connection, local: local.ip(), remote: from.ip() });
        self.paths.serve(&self.roster);
        self.report_soon(now);
    }

    /// Looks for routers that are not written down, advertises this node on unnumbered links, and forgets routers of
    /// networks that have gone.
    pub(super) fn look_around(&mut self, now: Instant) {
        self.look_at = None;
        self.adverts.send(&self.roster.unnumbered());
        let speaker = &self.speaker;
        let is_up = |peer| speaker.session(peer).is_some_and(|session| session.state == State::Established);
        let differs = self.roster.look_again(now, is_up);
        if differs {
            self.roster.apply_again(now);
        }
        if self.retire(now, Roster::idle_time()) || differs {
            self.settle(now);
        }
        self.look_at = self.roster.look_interval().map(|interval| now + interval);
    }

    fn retire(&mut self, now: Instant, idle: Duration) -> bool {
        let connected: BTreeSet<_> =
            self.connections.keys().filter_map(|id| self.speaker.owner(*id)).collect();
        self.roster.retire(now, |peer| connected.contains(&peer), idle)
    }

    /// One line for each fault of a received UPDATE, as far as they are kept.
    pub(super) fn tell_faults(&mut self) {
        let told = &mut self.faults_told;
        for (name, member) in self.roster.members().filter(|(_, member)| member.peer.inspect) {
            for fault in self.speaker.faults(member.key) {
                if told.get(&member.key).is_some_and(|last| fault.at <= *last) {
                    continue;
                }
                told.insert(member.key, fault.at);
                let octets: String = fault.octets().iter().map(|octet| format!("{octet:02x}")).collect();
                warn!(peer = name, verdict = %fault.verdict, octets, "the router sent a faulty UPDATE");
            }
        }
        told.retain(|peer, _| self.roster.contains(*peer));
    }

    fn note_stranger(&mut self, now: Instant, from: SocketAddr, reason: &str) {
        if self.stranger_at.is_none_or(|last| now.saturating_duration_since(last) >= STRANGER_EVERY) {
            self.stranger_at = Some(now);
            warn!(%from, reason, "a BGP connection was not taken");
        }
    }
}
