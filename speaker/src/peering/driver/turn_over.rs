//! How the driver's sessions change hands between two processes of one node.
//!
//! While a hand-over runs nothing else does: neither side reads or writes a socket, so that what is handed over is what
//! there is. That lasts milliseconds, and is bounded. Leaves out whose turn it is (`crate::takeover`).

use std::net::TcpStream as StdStream;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bgp_proto::{AdoptFault, ConnectionId, Speaker, Stop};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{info, warn};

use super::super::connection::Connection;
use super::super::gather::Gathering;
use super::super::roster::Roster;
use super::super::turn::Live;
use super::super::wake::now;
use super::Driver;
use crate::bfd::estate::Estate;
use crate::plan::{Plan, StopHow};
use crate::takeover::channel::{Channel, ChannelFault};
use crate::takeover::message::{
    Answer, EARS_LIMIT, GREETING_LIMIT, Order, PATH_LIMIT, SESSION_LIMIT, SESSIONS_LIMIT, SessionRecord,
};
use crate::takeover::{Role, Turn, no_answer};

/// How long the sessions may stand still until the successor has them. Far below the shortest hold time, 3 s.
const STANDSTILL: Duration = Duration::from_secs(1);

/// How long is looked for a commitment that may have come while this process was stopped.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// How long a successor waits for sessions that were promised.
const ANSWER: Duration = Duration::from_secs(2);

/// How often a successor tries before it has the sessions closed.
const TRIES: usize = 3;

/// How long an ordinary end waits for a successor that is making its plan; part of the grace period of a Pod.
pub(super) const SUCCESSOR_WAIT: Duration = Duration::from_secs(10);

/// Why the sessions did not change hands.
#[derive(Debug, thiserror::Error)]
enum TurnFault {
    #[error(transparent)]
    Channel(#[from] ChannelFault),
    #[error("the other speaker answers out of turn")]
    OutOfTurn,
    #[error("the other speaker took too long and goes on")]
    Aborted,
    #[error("a session came without its socket")]
    NoSocket,
    #[error("{0} sessions were announced")]
    TooMany(usize),
}

/// What one process leaves to the next.
struct Legacy {
    sessions: Vec<(SessionRecord, OwnedFd)>,
    bfd: Estate,
}

impl Driver {
    /// A plan: for the sessions when they are ours, for the hand-over when that is what waits for it.
    pub(super) async fn receive_plan(&mut self, plan: Arc<Plan>) {
        if !plan.synced {
            return;
        }
        self.latest = Some(Arc::clone(&plan));
        match self.succession.role() {
            Role::Active | Role::Yielding => self.handle_plan(plan),
            Role::Waiting => self.take_over().await,
            Role::Asking | Role::Retired => {}
        }
    }

    pub(super) async fn handle_turn(&mut self, turn: Turn) {
        match turn {
            Turn::HandOver(channel) => self.hand_over(channel).await,
            Turn::StepDown(channel) => self.step_down(channel).await,
            Turn::PredecessorGone => {
                info!("the speaker before this one has ended");
                self.succession.ask_again().await;
                self.take_over_with_plan().await;
            }
            Turn::Answered => self.take_over_with_plan().await,
            Turn::SuccessorLeft => {
                if self.put_off_until.take().is_some() {
                    self.handle_stop(StopHow::Restart);
                }
            }
            Turn::SuccessorGone => {
                warn!("the speaker after this one has ended: dialling again");
                self.start();
            }
        }
    }

    /// Whether an ordinary end is put off because a successor is about to take the sessions over.
    pub(super) fn puts_off(&mut self, now: Instant, how: &StopHow) -> bool {
        let waits = *how == StopHow::Restart
            && self.succession.role() == Role::Yielding
            && self.put_off_until.is_none();
        if waits {
            info!("a successor is making its plan: the end waits for it");
            self.put_off_until = Some(now + SUCCESSOR_WAIT);
        }
        waits
    }

    async fn take_over_with_plan(&mut self) {
        if self.latest.is_some() {
            self.take_over().await;
        }
    }

    /// Takes the sessions of the speaker before us, now that it is known what is wanted; without one that is asked for
    /// them it dials, and where another successor goes first it does nothing.
    async fn take_over(&mut self) {
        for _ in 0..TRIES {
            let Some(channel) = self.succession.predecessor() else { break };
            match claim(channel).await {
                Ok(legacy) => {
                    self.succession.take_the_turn();
                    self.go_on_with(legacy);
                    return;
                }
                Err(fault) => {
                    warn!(%fault, "the sessions could not be taken over");
                    self.succession.ask_again().await;
                }
            }
        }
        if self.succession.predecessor().is_some() {
            self.succession.depose().await;
        }
        if self.succession.role() == Role::Active {
            self.start();
        }
    }

    /// From nothing, by the latest plan.
    fn start(&mut self) {
        if let Some(plan) = self.latest.clone() {
            self.handle_plan(plan);
        }
    }

    fn go_on_with(&mut self, Legacy { sessions, bfd }: Legacy) {
        let now = now();
        self.paths.inherit(bfd);
        // Of several routers on one link it is the one that knows us already.
        if let Some(plan) = &self.latest {
            for (record, _) in &sessions {
                self.roster.expect_router(plan, &record.peer, record.identity.remote);
            }
        }
        self.waiting_plan.clone_from(&self.latest);
        self.pass_on_plan(now);
        // Routers of a network are known by having called; these called the process before us.
        let mut callers = false;
        for (record, _) in &sessions {
            callers |= self.roster.expect_caller(&record.peer, record.identity.remote);
        }
        if callers {
            self.settle(now);
        }
        for (record, socket) in sessions {
            let peer = record.peer.clone();
            match self.go_on(now, record, socket) {
                Ok(Ok(())) => info!(peer, "session taken over"),
                Ok(Err(reason)) => warn!(peer, %reason, "session not taken over: it starts anew"),
                Err(error) => warn!(peer, %error, "a socket that was handed over cannot be used"),
            }
        }
        self.paths.release(&self.roster);
        self.report_at = Some(now);
    }

    /// One session. What does not fit is ended with the words that a change of its configuration has.
    fn go_on(
        &mut self,
        now: Instant,
        record: SessionRecord,
        socket: OwnedFd,
    ) -> std::io::Result<Result<(), AdoptFault>> {
        let stream = StdStream::from(socket);
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream)?;
        let (local, remote) = (stream.local_addr()?.ip(), stream.peer_addr()?.ip());
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let fits = remote.to_canonical() == record.identity.remote.ip().to_canonical()
            && local.to_canonical() == record.local();
        let adopted = if fits { self.adopt(now, id, &record) } else { Err(AdoptFault::Unreadable) };
        let mut connection = Connection::resumed(stream, &record.unread, &record.unsent);
        if let Err(fault) = &adopted {
            fault.last_words(connection.outbox());
            connection.end_after_flush(now);
        }
        self.connections.insert(id, Live::resumed(connection));
        Ok(adopted)
    }

    fn adopt(&mut self, now: Instant, id: ConnectionId, record: &SessionRecord) -> Result<(), AdoptFault> {
        let image = record.image().map_err(|_| AdoptFault::Unreadable)?;
        let found = self.roster.members().find(|(name, _)| *name == record.peer);
        let (_, member) = found.ok_or(AdoptFault::UnknownPeer)?;
        if member.target.identity() != record.identity {
            return Err(AdoptFault::ConfigurationChanged);
        }
        if record.unread.len() > Connection::UNREAD_MAX {
            return Err(AdoptFault::Unreadable);
        }
        let key = member.key;
        self.speaker.adopt(now, key, id, &image)?;
        if let Some(member) = self.roster.member_mut(key) {
            member.local = Some(image.local);
        }
        Ok(())
    }

    /// Gives the sessions to the successor. Until it has said that it has them they are ours, and go on if it does not.
    async fn hand_over(&mut self, channel: Channel) {
        let began = now();
        let offered = if self.stopping_until.is_some() {
            Err(TurnFault::OutOfTurn)
        } else {
            let bfd = self.paths.copy().await;
            in_time(self.offer(began, &channel, bfd)).await
        };
        match offered {
            Ok(sessions) => {
                // Silent before the successor speaks; it waits for our last word.
                self.paths.vanish().await;
                self.let_go(channel).await;
                let took = now().duration_since(began);
                info!(sessions, took = %format_args!("{took:?}"), "sessions handed over to the next speaker");
            }
            Err(fault) => {
                warn!(%fault, "the sessions stay here: the next speaker did not take them");
                // It may be gone, or slow; either way it must not go on with what is ours.
                let _ = timeout(STANDSTILL, channel.send(&Answer::Aborted, None)).await;
                self.succession.go_on();
            }
        }
    }

    /// `bfd` is `None` where BFD does not answer: then what it watches over is restarted.
    async fn offer(&self, now: Instant, channel: &Channel, bfd: Option<Estate>) -> Result<usize, TurnFault> {
        let none = Estate::default();
        let sessions: Vec<(SessionRecord, &Connection)> = self
            .connections
            .iter()
            .filter_map(|(id, live)| {
                let peer = self.speaker.owner(*id)?;
                let (image, name) = (self.speaker.image(now, *id)?, self.roster.name(peer)?);
                let member = self.roster.member(peer)?;
                // A router takes the end of BFD for a failure of a BGP session that goes on.
                if member.peer.bfd.is_some() && bfd.is_none() {
                    return None;
                }
                let connection = &live.connection;
                let identity = member.target.identity();
                let record =
                    SessionRecord::new(name, identity, &image, connection.unread(), connection.unsent());
                Some((record, connection))
            })
            .collect();
        let count = sessions.len();
        let Estate { sessions: paths, ears } = bfd.as_ref().unwrap_or(&none);
        channel.send(&Answer::Sessions { count, ears: ears.len(), paths: paths.len() }, None).await?;
        for (record, connection) in sessions {
            channel.send(&Answer::Session(Box::new(record)), Some(connection.descriptor())).await?;
        }
        for (ear, socket) in ears {
            channel.send(&Answer::Ear((*ear).into()), Some(socket.as_fd())).await?;
        }
        for (image, socket) in paths {
            let socket = socket.as_ref().map(AsFd::as_fd);
            channel.send(&Answer::Path(Box::new((*image).into())), socket).await?;
        }
        match channel.receive::<Order>(GREETING_LIMIT).await? {
            (Order::Commit, _) => Ok(count),
            (Order::Hello(_) | Order::Ready | Order::StepDown, _) => Err(TurnFault::OutOfTurn),
        }
    }

    /// Closes the sessions as for a restart: the successor dials.
    async fn step_down(&mut self, channel: Channel) {
        warn!(
            "the next speaker cannot take the sessions over: they are closed, routers with graceful restart keep the routes"
        );
        self.speaker.stop(now(), Stop::Restart);
        self.drain();
        self.let_go(channel).await;
    }

    /// Forgets all sessions without touching their connections, of which the successor has copies, and retires.
    async fn let_go(&mut self, successor: Channel) {
        self.connections.retain(|_, live| !live.connection.is_open());
        self.speaker = Speaker::new(self.settings.seed, true);
        self.roster = Roster::new(&self.settings.node_name);
        self.dials.keep(|_| false);
        self.gathering = Gathering::default();
        (self.waiting_plan, self.relocate_at, self.look_at) = (None, None, None);
        self.doors.shut();
        self.paths.serve(&self.roster);
        self.report_at = Some(now());
        // The socket for successors is free before the successor is told that it may have it.
        self.succession.retire(successor);
        self.succession.tell_done().await;
        if self.put_off_until.take().is_some() {
            self.handle_stop(StopHow::Restart);
        }
    }
}

/// The sessions must not stand still for longer. A process that was stopped and goes on may see the clock before its sockets:
/// the commitment may lie there, and is looked for once more.
async fn in_time<T>(offer: impl Future<Output = Result<T, TurnFault>>) -> Result<T, TurnFault> {
    let mut offer = pin!(offer);
    match timeout(STANDSTILL, &mut offer).await {
        Ok(offered) => offered,
        Err(_elapsed) => timeout(LAST_LOOK, &mut offer).await.unwrap_or_else(|_| Err(no_answer().into())),
    }
}

/// Asks for the sessions and commits to having them.
async fn claim(channel: &Channel) -> Result<Legacy, TurnFault> {
    let legacy =
        timeout(ANSWER, receive_sessions(channel)).await.unwrap_or_else(|_| Err(no_answer().into()))?;
    timeout(ANSWER, channel.send(&Order::Commit, None)).await.unwrap_or_else(|_| Err(no_answer()))?;
    match timeout(ANSWER, channel.receive::<Answer>(GREETING_LIMIT)).await {
        Ok(Ok((Answer::Aborted, _))) => Err(TurnFault::Aborted),
        // What stands still after a commitment, or has ended, will not touch the sessions again: a speaker that wakes up
        // looks for the commitment once more after its time is over.
        Ok(Ok(_) | Err(_)) | Err(_) => Ok(legacy),
    }
}

async fn receive_sessions(channel: &Channel) -> Result<Legacy, TurnFault> {
    channel.send(&Order::Ready, None).await?;
    let (Answer::Sessions { count, ears, paths }, _) = next_answer(channel, GREETING_LIMIT).await? else {
        return Err(TurnFault::OutOfTurn);
    };
    if count > SESSIONS_LIMIT || paths > SESSIONS_LIMIT || ears > EARS_LIMIT {
        return Err(TurnFault::TooMany(count.max(paths).max(ears)));
    }
    let mut legacy = Legacy { sessions: Vec::new(), bfd: Estate::default() };
    for _ in 0..count {
        let (Answer::Session(record), socket) = next_answer(channel, SESSION_LIMIT).await? else {
            return Err(TurnFault::OutOfTurn);
        };
        legacy.sessions.push((*record, socket.ok_or(TurnFault::NoSocket)?));
    }
    for _ in 0..ears {
        let (Answer::Ear(ear), socket) = next_answer(channel, PATH_LIMIT).await? else {
            return Err(TurnFault::OutOfTurn);
        };
        legacy.bfd.ears.push((ear.into(), socket.ok_or(TurnFault::NoSocket)?));
    }
    for _ in 0..paths {
        let (Answer::Path(record), socket) = next_answer(channel, PATH_LIMIT).await? else {
            return Err(TurnFault::OutOfTurn);
        };
        legacy.bfd.sessions.push(((*record).into(), socket));
    }
    Ok(legacy)
}

/// The next message, unless the other goes on by itself.
async fn next_answer(channel: &Channel, limit: usize) -> Result<(Answer, Option<OwnedFd>), TurnFault> {
    match channel.receive::<Answer>(limit).await? {
        (Answer::Aborted, _) => Err(TurnFault::Aborted),
        answer => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_commitment_that_is_seen_just_after_the_clock_counts_and_a_later_one_does_not() {
        let committed = |after: Duration| async move {
            in_time(async {
                tokio::time::sleep(after).await;
                Ok(())
            })
            .await
            .is_ok()
        };
        assert!(committed(STANDSTILL / 2).await);
        assert!(committed(STANDSTILL + LAST_LOOK / 2).await, "both sides would hold the sessions");
        assert!(!committed(STANDSTILL + 2 * LAST_LOOK).await);
    }
}
