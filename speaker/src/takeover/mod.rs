//! Two speakers on one node, one after the other: who of them holds the sessions, and how they change hands.
//!
//! A speaker that starts asks at a local socket whether another runs ([`Succession::begin`]). If so, it makes its plan
//! while the other goes on, and then takes over the sessions with their TCP connections: routers notice nothing. The
//! other stays as a reserve until it is told to end, and holds sessions again should its successor die. What does not
//! answer is told to step down and not waited for.
//!
//! Inside: `channel` (messages with descriptors), `message` (what is said), `host` (the side that is asked). Leaves out
//! the sessions, which are `peering`'s: this says whose turn it is.

pub mod channel;
mod host;
pub mod message;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use channel::{Channel, ChannelFault};
use host::{Host, Request};
use message::{Answer, GREETING_LIMIT, Hello, Order, VERSION};

/// How long the other speaker may take to answer what needs no thought.
const ANSWER: Duration = Duration::from_secs(2);

/// How often a speaker is asked that serves another successor, and how long between.
const BUSY_TRIES: u32 = 10;
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
    /// Our successor takes the sessions now.
    HandOver(Channel),
    /// Our successor wants the sessions closed.
    StepDown(Channel),
    /// Our successor has gone: the sessions are ours again.
    SuccessorGone,
}

#[derive(Debug)]
enum Stage {
    Waiting(Channel),
    /// With the socket for the next speaker, where there can be one, and the channel to the one before: as long as it is
    /// open, that one stays retired.
    Active {
        host: Option<Host>,
        before: Option<Channel>,
    },
    /// With the channel to the one after, and that to the one before, which stays retired as long as it is open.
    Retired {
        after: Channel,
        before: Option<Channel>,
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
    /// answered, a few seconds at most when the other does not answer, ten when it is busy with another.
    pub async fn begin(place: Place, role: watch::Sender<Role>) -> Self {
        let found = look_for(&place).await;
        let stage = Stage::Active { host: None, before: None };
        let mut succession = Self { place: Some(place), stage, role };
        match found {
            Found::Nobody => succession.activate(None),
            Found::Willing(channel) => {
                succession.stage = Stage::Waiting(channel);
                succession.role.send_replace(Role::Waiting);
            }
            Found::Deposed(channel) => succession.activate(Some(channel)),
        }
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
                Stage::Waiting(channel) => {
                    channel.closed().await;
                    return Turn::PredecessorGone;
                }
                Stage::Retired { after, .. } => {
                    after.closed().await;
                    if let Some(place) = &self.place {
                        until_nobody_answers(place).await;
                    }
                    return Turn::SuccessorGone;
                }
                Stage::Active { host: None, .. } => std::future::pending::<()>().await,
                Stage::Active { host: Some(host), .. } => match host.next().await {
                    Request::Arrived => drop(self.role.send_replace(Role::Yielding)),
                    Request::Left => drop(self.role.send_replace(Role::Active)),
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
            Stage::Active { .. } | Stage::Retired { .. } => None,
        }
    }

    /// The sessions are ours, and the next speaker may come. Where that cannot be (a folder that is not writable), the
    /// next one restarts the sessions.
    pub fn take_the_turn(&mut self) {
        let before = self.leave();
        self.activate(before);
    }

    /// Gives up the socket and the channel to the successor; the channel to the speaker before this one is the caller's,
    /// because that one stays retired as long as it is open.
    fn leave(&mut self) -> Option<Channel> {
        match std::mem::replace(&mut self.stage, Stage::Active { host: None, before: None }) {
            Stage::Waiting(channel) => Some(channel),
            Stage::Active { before, .. } | Stage::Retired { before, .. } => before,
        }
    }

    /// Asks again for a running speaker, after a hand-over that failed. Afterwards it is known whose turn it is.
    pub async fn ask_again(&mut self) {
        let Some(place) = self.place.clone() else { return };
        // The channel of the failed one first, so that the other is not busy with it.
        self.stage = Stage::Active { host: None, before: None };
        match look_for(&place).await {
            Found::Nobody => self.activate(None),
            Found::Willing(channel) => self.stage = Stage::Waiting(channel),
            Found::Deposed(channel) => self.activate(Some(channel)),
        }
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
        let before = self.leave();
        self.stage = Stage::Retired { after: successor, before };
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

    fn activate(&mut self, before: Option<Channel>) {
        let host = self.place.as_ref().and_then(|place| match Host::open(place) {
            Ok(host) => Some(host),
            Err(error) => {
                let socket = place.socket.display();
                warn!(%socket, %error, "no socket for a successor: the next speaker of this node restarts the sessions");
                None
            }
        });
        self.stage = Stage::Active { host, before };
        self.role.send_replace(Role::Active);
    }
}

/// A third speaker may hold the sessions, or be about to find out that it has to: it goes first.
async fn until_nobody_answers(place: &Place) {
    loop {
        tokio::time::sleep(SUCCESSOR_PAUSE).await;
        match UnixStream::connect(&place.socket).await {
            Err(error) if is_gone(&error) => return,
            Ok(_) | Err(_) => {}
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn look_for(place: &Place) -> Found {
    for _ in 0..BUSY_TRIES {
        let channel = match UnixStream::connect(&place.socket).await {
            Ok(stream) => Channel::new(stream),
            Err(error) => {
                if !is_gone(&error) {
                    let socket = place.socket.display();
                    warn!(%socket, %error, "whether another speaker runs on this node cannot be asked");
                }
                return Found::Nobody;
            }
        };
        let own = rustix::process::geteuid().as_raw();
        if channel.user().ok() != Some(own) {
            warn!(socket = %place.socket.display(), "the socket for speakers belongs to another user and is not used");
            return Found::Nobody;
        }
        match greet(&channel, &place.node).await {
            Ok(Answer::Welcome { version, build }) => {
                info!(version, build, "another speaker of this node runs: its sessions will be taken over");
                return Found::Willing(channel);
            }
            Ok(Answer::Busy) => {
                info!("another speaker of this node runs and serves another successor: asking again");
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Ok(Answer::Refused { reason }) => {
                warn!(reason, "sessions cannot be taken over: they are restarted");
                step_down(&channel).await;
                return Found::Deposed(channel);
            }
            Ok(Answer::Sessions { .. } | Answer::Session(_) | Answer::Done | Answer::Aborted) => {
                warn!("the running speaker answers out of turn: its sessions are restarted");
                step_down(&channel).await;
                return Found::Deposed(channel);
            }
            Err(ChannelFault::Closed) => return Found::Nobody,
            Err(fault) => {
                warn!(%fault, "the running speaker cannot be understood: its sessions are restarted");
                step_down(&channel).await;
                return Found::Deposed(channel);
            }
        }
    }
    warn!("the running speaker was busy for too long: dialling beside it");
    Found::Nobody
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
