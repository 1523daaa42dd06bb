//! Two speakers on one node, one after the other: who of them holds the sessions, and how they change hands.
//!
//! A speaker that starts asks at a local socket whether another runs ([`Succession::begin`]). If so, it makes its plan
//! while the other goes on, and then takes over the sessions with their TCP connections: routers notice nothing. The
//! other stays as a reserve until it is told to end, and holds sessions again should its successor die. What does not
//! answer is told to step down and not waited for.
//!
//! Inside: `channel` (messages with descriptors), `message` (what is said) and `path_record` (BFD in it), `host` (the side
//! that is asked). Leaves out the sessions, which are `peering`'s: this says whose turn it is.

pub mod channel;
mod host;
pub mod message;
pub mod path_record;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use channel::{Channel, ChannelFault};
use host::{Former, Host, HostFault, Request};
use message::{Answer, GREETING_LIMIT, Hello, Order, VERSION};

/// How long the other speaker may take to answer what needs no thought.
const ANSWER: Duration = Duration::from_secs(2);

/// Between two questions to a speaker that serves another successor.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// How long a retired speaker leaves others the turn after its successor has ended, and between its looks.
const SUCCESSOR_PAUSE: Duration = Duration::from_millis(500);

/// Where speakers of one node meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The socket, in a folder that all speakers of the node share.
    pub socket: PathBuf,
    /// The node.
    pub node: String,
}

/// Whose turn it is, from the side of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is not known yet whether another speaker runs.
    Asking,
    /// Another one holds the sessions, and will hand them over once this one knows what it wants.
    Waiting,
    /// This one holds the sessions.
    Active,
    /// This one holds the sessions, and its successor is making its plan.
    Yielding,
    /// The successor holds them; this one only waits for its end, or for the successor's.
    Retired,
}

impl Role {
    /// Whether what this process says about the node is what holds.
    #[must_use]
    pub fn speaks(self) -> bool {
        match self {
            Self::Active | Self::Yielding => true,
            Self::Asking | Self::Waiting | Self::Retired => false,
        }
    }
}

/// What the other process does to our turn.
#[derive(Debug)]
pub enum Turn {
    /// Whom we waited for has gone.
    PredecessorGone,
    /// It is known now whose turn it is: the other's, which takes us as its successor, or ours.
    Answered,
    /// Our successor takes the sessions now.
    HandOver(Channel),
    /// Our successor wants the sessions closed.
    StepDown(Channel),
    /// A successor has gone without having taken the sessions.
    SuccessorLeft,
    /// Our successor has gone, which held the sessions.
    SuccessorGone,
}

#[derive(Debug)]
enum Stage {
    /// Another successor is before us; when to ask again.
    Queued {
        ask_at: Instant,
    },
    Waiting(Channel),
    /// With the socket for the next speaker, where there can be one, and the channel to the one before: as long as it is
    /// open, that one stays retired.
    Active {
        host: Option<Host>,
        before: Option<Channel>,
    },
    /// With the channel to the one after, and that to the one before, which stays retired as long as it is open. The lock
    /// keeps a third speaker from the place of the socket until the one after has put its own there.
    Retired {
        after: Channel,
        before: Option<Channel>,
        lock: Option<File>,
        /// The one after has ended; when to look for a third. A wait that is dropped and begun anew ends at the same time.
        look_at: Option<Instant>,
    },
}

/// The place of this process in the row of speakers.
#[derive(Debug)]
pub struct Succession {
    place: Option<Place>,
    stage: Stage,
    role: watch::Sender<Role>,
}

/// What came of the question whether another speaker runs.
enum Found {
    Nobody,
    /// It serves another successor, or is about to give its socket away.
    Busy,
    /// One that cannot be asked.
    Stranger,
    Willing(Channel),
    /// It was told to step down; the channel keeps it from coming back.
    Deposed(Channel),
}

impl Succession {
    /// Without a socket: nobody was before and nobody comes after.
    #[must_use]
    pub fn alone() -> Self {
        let stage = Stage::Active { host: None, before: None };
        Self { place: None, stage, role: watch::Sender::new(Role::Active) }
    }

    /// Asks for a running speaker, and listens for the next one where there is none. Takes as long as it takes to be
    /// answered, a few seconds at most when the other does not answer. While the other serves another successor it is
    /// not known yet whose turn it is: [`Self::next`] asks on.
    pub async fn begin(place: Place, role: watch::Sender<Role>) -> Self {
        let stage = Stage::Active { host: None, before: None };
        let mut succession = Self { place: Some(place), stage, role };
        succession.ask_again().await;
        succession
    }

    /// Whose turn it is.
    #[must_use]
    pub fn role(&self) -> Role {
        *self.role.borrow()
    }

    /// Waits for what the other process does. Cancel-safe.
    pub async fn next(&mut self) -> Turn {
        loop {
            match &mut self.stage {
                Stage::Queued { ask_at } => {
                    sleep_until(*ask_at).await;
                    self.ask_again().await;
                    if !matches!(self.stage, Stage::Queued { .. }) {
                        return Turn::Answered;
                    }
                }
                Stage::Waiting(channel) => {
                    channel.closed().await;
                    return Turn::PredecessorGone;
                }
                Stage::Retired { after, lock, look_at, .. } => {
                    let due = match *look_at {
                        Some(due) => due,
                        None => {
                            after.closed().await;
                            *look_at.insert(Instant::now() + SUCCESSOR_PAUSE)
                        }
                    };
                    sleep_until(due).await;
                    // A third speaker may hold the sessions, or be about to find out that it has to: it goes first.
                    let answered = match &self.place {
                        Some(place) => is_answered(place).await,
                        None => false,
                    };
                    *look_at = Some(Instant::now() + SUCCESSOR_PAUSE);
                    if answered {
                        continue;
                    }
                    drop(lock.take());
                    if self.activate(Former::Unknown) {
                        return Turn::SuccessorGone;
                    }
                }
                Stage::Active { host: None, .. } => std::future::pending::<()>().await,
                Stage::Active { host: Some(host), .. } => match host.next().await {
                    Request::Arrived => drop(self.role.send_replace(Role::Yielding)),
                    Request::Left => {
                        self.role.send_replace(Role::Active);
                        return Turn::SuccessorLeft;
                    }
                    Request::HandOver(channel) => return Turn::HandOver(channel),
                    Request::StepDown(channel) => return Turn::StepDown(channel),
                },
            }
        }
    }

    /// The channel to the speaker that holds the sessions, if one does.
    #[must_use]
    pub fn predecessor(&self) -> Option<&Channel> {
        match &self.stage {
            Stage::Waiting(channel) => Some(channel),
            Stage::Queued { .. } | Stage::Active { .. } | Stage::Retired { .. } => None,
        }
    }

    /// The sessions are ours, and the next speaker may come. Where that cannot be (a folder that is not writable), the
    /// next one restarts the sessions.
    pub fn take_the_turn(&mut self) {
        self.activate(Former::Over);
    }

    /// Gives up the socket and the channel to the successor; the channel to the speaker before this one is the caller's,
    /// because that one stays retired as long as it is open.
    fn leave(&mut self) -> Option<Channel> {
        match std::mem::replace(&mut self.stage, Stage::Active { host: None, before: None }) {
            Stage::Waiting(channel) => Some(channel),
            Stage::Queued { .. } => None,
            Stage::Active { before, .. } | Stage::Retired { before, .. } => before,
        }
    }

    /// Asks (again) for a running speaker. Afterwards it is known whose turn it is, unless the other serves another
    /// successor. Cancel-safe: who was asked sees us leave, and is asked anew.
    pub async fn ask_again(&mut self) {
        let Some(place) = self.place.clone() else { return };
        let was_queued = matches!(self.stage, Stage::Queued { .. });
        // The channel of a hand-over that failed goes first, so that the other is not busy with it.
        self.stage = Stage::Queued { ask_at: Instant::now() + BUSY_PAUSE };
        match look_for(&place).await {
            Found::Nobody => drop(self.activate(Former::Unknown)),
            Found::Busy => {
                if !was_queued {
                    info!(
                        "another speaker of this node serves another successor: asking until it is our turn"
                    );
                }
            }
            Found::Stranger => self.stage = Stage::Active { host: None, before: None },
            Found::Willing(channel) => self.stage = Stage::Waiting(channel),
            Found::Deposed(channel) => {
                self.stage = Stage::Waiting(channel);
                self.take_the_turn();
            }
        }
        let role = match &self.stage {
            Stage::Queued { .. } => Role::Asking,
            Stage::Waiting(_) => Role::Waiting,
            Stage::Active { .. } => Role::Active,
            Stage::Retired { .. } => Role::Retired,
        };
        self.role.send_if_modified(|known| std::mem::replace(known, role) != role);
    }

    /// Makes the speaker that holds the sessions close them without a word, waits for that a moment, and takes the turn.
    pub async fn depose(&mut self) {
        if let Some(channel) = self.predecessor() {
            step_down(channel).await;
        }
        self.take_the_turn();
    }

    /// The sessions are the successor's, who holds the other end of the channel.
    pub fn retire(&mut self, successor: Channel) {
        let lock = self.place.as_ref().and_then(|place| host::lock(&place.socket).ok()?);
        let before = self.leave();
        self.stage = Stage::Retired { after: successor, before, lock, look_at: None };
        self.role.send_replace(Role::Retired);
    }

    /// Tells the successor that the sessions are its own.
    pub async fn tell_done(&self) {
        if let Stage::Retired { after: channel, .. } = &self.stage {
            // One that does not hear it holds them all the same.
            let _ = timeout(ANSWER, channel.send(&Answer::Done, None)).await;
        }
    }

    /// The hand-over failed and the sessions are still ours.
    pub fn go_on(&mut self) {
        self.role.send_replace(Role::Active);
    }

    /// Says no, and changes nothing, when another speaker listens that nobody has told to let go.
    fn activate(&mut self, former: Former) -> bool {
        let host = match self.place.as_ref().map(|place| (place, Host::open(place, former))) {
            None => None,
            Some((_, Ok(host))) => Some(host),
            Some((_, Err(HostFault::Alive))) if former == Former::Unknown => return false,
            Some((place, Err(error))) => {
                let socket = place.socket.display();
                warn!(%socket, %error, "no socket for a successor: the next speaker of this node restarts the sessions");
                None
            }
        };
        let before = self.leave();
        self.stage = Stage::Active { host, before };
        self.role.send_replace(Role::Active);
        true
    }
}

/// Whether a speaker listens, or might.
async fn is_answered(place: &Place) -> bool {
    match UnixStream::connect(&place.socket).await {
        Err(error) => !is_gone(&error),
        Ok(_) => true,
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn look_for(place: &Place) -> Found {
    let channel = match UnixStream::connect(&place.socket).await {
        Ok(stream) => Channel::new(stream),
        Err(error) => {
            if is_gone(&error) {
                return Found::Nobody;
            }
            let socket = place.socket.display();
            warn!(%socket, %error, "whether another speaker runs on this node cannot be asked: sessions are restarted");
            return Found::Stranger;
        }
    };
    if !channel.is_of_our_kind() {
        let socket = place.socket.display();
        warn!(%socket, "the socket for speakers belongs to a process of another user and group and is not used: sessions are restarted");
        return Found::Stranger;
    }
    match greet(&channel, &place.node).await {
        Ok(Answer::Welcome { version, build }) => {
            info!(version, build, "another speaker of this node runs: its sessions will be taken over");
            Found::Willing(channel)
        }
        Ok(Answer::Busy) => {
            debug!("another speaker of this node runs and serves another successor: asking again");
            Found::Busy
        }
        Ok(Answer::Refused { reason }) => {
            warn!(reason, "sessions cannot be taken over: they are restarted");
            step_down(&channel).await;
            Found::Deposed(channel)
        }
        Ok(
            Answer::Sessions { .. }
            | Answer::Session(_)
            | Answer::Ear(_)
            | Answer::Path(_)
            | Answer::Done
            | Answer::Aborted,
        ) => {
            warn!("the running speaker answers out of turn: its sessions are restarted");
            step_down(&channel).await;
            Found::Deposed(channel)
        }
        // It ended in this moment, or has just given its socket away: the next question tells.
        Err(ChannelFault::Closed) => Found::Busy,
        Err(fault) => {
            warn!(%fault, "the running speaker cannot be understood: its sessions are restarted");
            step_down(&channel).await;
            Found::Deposed(channel)
        }
    }
}

async fn greet(channel: &Channel, node: &str) -> Result<Answer, ChannelFault> {
    let hello = Order::Hello(Hello {
        oldest: VERSION,
        newest: VERSION,
        node: node.to_owned(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
    });
    let exchange = async {
        channel.send(&hello, None).await?;
        channel.receive::<Answer>(GREETING_LIMIT).await.map(|(answer, _)| answer)
    };
    timeout(ANSWER, exchange).await.unwrap_or_else(|_| Err(no_answer()))
}

/// A speaker that hangs reads this when it wakes up, and lets go then.
async fn step_down(channel: &Channel) {
    let exchange = async {
        channel.send(&Order::StepDown, None).await?;
        channel.receive::<Answer>(GREETING_LIMIT).await
    };
    match timeout(ANSWER, exchange).await {
        Ok(Ok((Answer::Done, _))) => info!("the speaker before this one has let its sessions go"),
        Ok(Ok(_) | Err(_)) | Err(_) => {
            warn!("the speaker before this one does not answer: dialling all the same")
        }
    }
}

/// The other speaker did not answer in time.
#[must_use]
pub fn no_answer() -> ChannelFault {
    ChannelFault::Io(io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_retired_speaker_comes_back_though_something_wakes_it_all_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { socket: folder.path().join("takeover.sock"), node: "n1".to_owned() };
        let mut succession = Succession { place: Some(place), ..Succession::alone() };
        let (ours, the_successors) = UnixStream::pair().unwrap();
        succession.retire(Channel::new(ours));
        drop(the_successors);
        // As the driver waits: a plan that comes drops the wait, which begins anew.
        let mut plans = tokio::time::interval(SUCCESSOR_PAUSE / 5);
        let gone = Instant::now();
        let turn = loop {
            tokio::select! {
                turn = succession.next() => break turn,
                _ = plans.tick() => {}
            }
            assert!(gone.elapsed() < 4 * SUCCESSOR_PAUSE, "nobody dials, and nobody will");
        };
        assert!(matches!(turn, Turn::SuccessorGone), "{turn:?}");
        assert!(gone.elapsed() >= SUCCESSOR_PAUSE, "a third speaker may hold the sessions");
        assert_eq!(succession.role(), Role::Active);
    }
}
