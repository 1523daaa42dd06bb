//! The running speaker's side: a socket at which a successor announces itself.
//!
//! One successor at a time; who is not of our user or group, or not of our node, is sent away. What a successor wants is
//! passed on as a [`Request`]; the sessions themselves are the driver's.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use super::Place;
use super::channel::{Channel, ChannelFault};
use super::message::{Answer, GREETING_LIMIT, Hello, Order, VERSION};

/// How long a caller may take to say who it is.
const GREETING_WAIT: Duration = Duration::from_secs(2);

/// Between two tries to accept when the kernel has no descriptor to give.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// For owner and group: they are who may take sessions over.
const SOCKET_MODE: u32 = 0o660;

/// What is known of the speaker whose socket may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Former {
    /// It has given its turn away, or was told to: its socket is left over.
    Over,
    /// Nothing: a socket at which somebody listens is not ours to take.
    Unknown,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostFault {
    /// Another speaker listens there.
    #[error("another speaker listens there")]
    Alive,
    /// The folder cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a successor wants.
#[derive(Debug)]
pub(super) enum Request {
    /// One has come and is making its plan.
    Arrived,
    /// It went without having taken anything.
    Left,
    /// It takes the sessions over now.
    HandOver(Channel),
    /// It cannot take them over, and asks to have them closed.
    StepDown(Channel),
}

/// The socket. Dropping it stops listening and takes the file away.
#[derive(Debug)]
pub(super) struct Host {
    requests: mpsc::Receiver<Request>,
    task: AbortHandle,
    path: PathBuf,
    inode: Option<u64>,
}

impl Host {
    /// Listens, in the place of a speaker that is gone or has given its turn away. Of several that start in one moment
    /// one does.
    ///
    /// # Errors
    /// [`HostFault`].
    pub(super) fn open(place: &Place, former: Former) -> Result<Self, HostFault> {
        let path = place.socket.clone();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Held while the one socket takes the place of the other. A speaker that has given its turn away has it, too.
        let lock = lock(&path)?;
        if lock.is_none() && former == Former::Unknown {
            return Err(HostFault::Alive);
        }
        if fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
            if former == Former::Unknown && StdStream::connect(&path).is_ok() {
                return Err(HostFault::Alive);
            }
            fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(SOCKET_MODE))?;
        let inode = fs::symlink_metadata(&path).map(|found| found.ino()).ok();
        let (sender, requests) = mpsc::channel(4);
        let task = tokio::spawn(serve(listener, place.node.clone(), sender)).abort_handle();
        Ok(Self { requests, task, path, inode })
    }

    /// The next request. Cancel-safe.
    pub(super) async fn next(&mut self) -> Request {
        match self.requests.recv().await {
            Some(request) => request,
            // The task ends with the host only.
            None => std::future::pending().await,
        }
    }
}

/// The lock beside the socket; `None` while another speaker has it, which is about to listen or has let another do so.
pub(super) fn lock(socket: &Path) -> io::Result<Option<File>> {
    let path = socket.with_extension("lock");
    let file = match File::options().append(true).create(true).mode(SOCKET_MODE).open(&path) {
        // Left there by a speaker of another user.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::remove_file(&path)?;
            File::options().append(true).create(true).mode(SOCKET_MODE).open(&path)?
        }
        opened => opened?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
        // A successor may have put its own socket there.
        let found = fs::symlink_metadata(&self.path).map(|found| found.ino()).ok();
        if found.is_some() && found == self.inode {
            let _ = fs::remove_file(&self.path);
        }
    }
}

type Waiting = BoxFuture<'static, (Channel, Result<Order, ChannelFault>)>;

async fn serve(listener: UnixListener, node: String, requests: mpsc::Sender<Request>) {
    let mut guest: Option<Waiting> = None;
    loop {
        let step = tokio::select! {
            accepted = listener.accept() => Err(accepted),
            done = async { guest.as_mut()?.await.into() }, if guest.is_some() => Ok(done),
        };
        let request = match step {
            Err(Ok((stream, _))) => match greet(stream, &node, guest.is_some()).await {
                Some(channel) => {
                    guest = Some(order(channel).boxed());
                    Request::Arrived
                }
                None => continue,
            },
            Err(Err(error)) => {
                warn!(%error, "a successor could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
            Ok(done) => {
                guest = None;
                match done {
                    Some((channel, Ok(Order::Ready))) => Request::HandOver(channel),
                    Some((channel, Ok(Order::StepDown))) => Request::StepDown(channel),
                    Some((_, Ok(Order::Hello(_) | Order::Commit))) => {
                        warn!("a successor spoke out of turn and was sent away");
                        Request::Left
                    }
                    Some((_, Err(fault))) => {
                        info!(%fault, "the successor has gone");
                        Request::Left
                    }
                    None => continue,
                }
            }
        };
        if requests.send(request).await.is_err() {
            return;
        }
    }
}

/// Waits for what a guest wants, however long its plan takes: as long as it is there it is its turn.
async fn order(channel: Channel) -> (Channel, Result<Order, ChannelFault>) {
    let order = channel.receive::<Order>(GREETING_LIMIT).await.map(|(order, _)| order);
    (channel, order)
}

/// Finds out who calls. Only one that may stay gets its channel back; it has been answered then.
async fn greet(stream: UnixStream, node: &str, taken: bool) -> Option<Channel> {
    let channel = Channel::new(stream);
    if !channel.is_of_our_kind() {
        warn!("a process of another user and group asked for the sessions and was sent away");
        return None;
    }
    let hello = match timeout(GREETING_WAIT, channel.receive::<Order>(GREETING_LIMIT)).await {
        Ok(Ok((Order::Hello(hello), _))) => hello,
        Ok(Ok((Order::Ready | Order::Commit | Order::StepDown, _))) => {
            warn!("a successor did not say who it is and was sent away");
            return None;
        }
        Ok(Err(fault)) => {
            warn!(%fault, "a successor could not be understood and was sent away");
            return None;
        }
        Err(_elapsed) => {
            warn!("a successor said nothing and was sent away");
            return None;
        }
    };
    let (answer, stays) = judge(&hello, node, taken);
    let refusal = if let Answer::Refused { reason } = &answer { Some(reason.as_str()) } else { None };
    info!(version = hello.build, busy = taken, refusal, "another speaker of this node has started");
    let sent = timeout(GREETING_WAIT, channel.send(&answer, None)).await;
    (stays && matches!(sent, Ok(Ok(())))).then_some(channel)
}

/// What a caller is told, and whether it stays: one that cannot take over may still ask us to step down.
fn judge(hello: &Hello, node: &str, taken: bool) -> (Answer, bool) {
    if hello.node != node {
        let reason = format!("this is the speaker of node {node:?}, not of {:?}", hello.node);
        return (Answer::Refused { reason }, false);
    }
    if taken {
        return (Answer::Busy, false);
    }
    if !(hello.oldest..=hello.newest).contains(&VERSION) {
        let reason = format!(
            "the running speaker hands sessions over in version {VERSION}, the new one understands {} to {}",
            hello.oldest, hello.newest
        );
        return (Answer::Refused { reason }, true);
    }
    (Answer::Welcome { version: VERSION, build: env!("CARGO_PKG_VERSION").to_owned() }, true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;

    use super::*;

    #[tokio::test]
    async fn a_socket_at_which_somebody_listens_is_taken_only_from_who_was_told_to_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { socket: folder.path().join("takeover.sock"), node: "n1".to_owned() };
        // What a crash leaves behind is nobody's.
        drop(StdListener::bind(&place.socket).unwrap());
        let host = Host::open(&place, Former::Unknown).unwrap();
        assert!(matches!(Host::open(&place, Former::Unknown), Err(HostFault::Alive)));
        assert!(StdStream::connect(&place.socket).is_ok(), "it is still there");
        let next = Host::open(&place, Former::Over).unwrap();
        drop(host);
        assert!(StdStream::connect(&place.socket).is_ok(), "who lets go late leaves the next one's alone");
        drop(next);
        assert!(!place.socket.exists());
    }

    #[tokio::test]
    async fn between_two_sockets_nobody_else_puts_a_third_there() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { socket: folder.path().join("takeover.sock"), node: "n1".to_owned() };
        let retired = lock(&place.socket).unwrap();
        assert!(retired.is_some());
        assert!(matches!(Host::open(&place, Former::Unknown), Err(HostFault::Alive)));
        assert!(Host::open(&place, Former::Over).is_ok(), "the one that it gave its turn to");
        drop(retired);
        assert!(Host::open(&place, Former::Unknown).is_ok());
    }
}
