//! A password that changes while its session is up: the connection is signed with the new one from then on (RFC 2385 §2 allows it).
//!
//! The router drops what it cannot verify until it has the new password too; within the hold time nothing is lost, unless the
//! router ends the session for its own edit (FRR does). Only a session that is up is worth that: any other is dialled anew at
//! once. Leaves out TCP-AO, whose keys have names of their own.

use api::config::SessionKey;
use bgp_proto::{PeerKey, State};
use tracing::{info, warn};

use super::Driver;
use crate::plan::Plan;

impl Driver {
    /// Gives the connections of sessions whose password differs in the plan the new one. Where the kernel does not take it
    /// the session begins anew, as with any other change of what TCP sees.
    pub(super) fn rekey(&mut self, plan: &Plan) {
        for (peer, password) in self.roster.new_passwords(plan) {
            if self.speaker.session(peer).is_none_or(|session| session.state != State::Established) {
                continue;
            }
            let name = self.roster.name(peer);
            match self.sign_with(peer, &password) {
                Ok(()) => {
                    info!(
                        peer = name,
                        "the password has changed: the session goes on, signed with the new one"
                    );
                    if let Some(member) = self.roster.member_mut(peer) {
                        member.target.key = Some(password);
                    }
                }
                Err(fault) => {
                    warn!(peer = name, %fault, "the password has changed: the session begins anew");
                }
            }
        }
    }

    fn sign_with(&self, peer: PeerKey, password: &SessionKey) -> std::io::Result<()> {
        let mut of_peer = self.connections.iter().filter(|(id, _)| self.speaker.owner(**id) == Some(peer));
        of_peer.try_for_each(|(_, live)| live.connection.sign_with(password))
    }
}
