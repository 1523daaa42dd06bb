//! Where connections come from: a TCP port, or a unix socket with its folder, its left-overs and its mode.
//!
//! Leaves out trying again, which is the server's.

use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// Owner and group may connect.
const SOCKET_MODE: u32 = 0o660;
/// The folder of the socket, when we make it.
const FOLDER_MODE: u32 = 0o755;

/// What octets go through, both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection of either kind: the HTTP below it is there once for both.
pub(super) type Connection = Box<dyn Duplex>;

/// A place to listen at.
pub(super) trait Place: fmt::Display + Send + Sync {
    type Listener: Send + Sync;
    /// Starts to listen.
    fn open(&self) -> impl Future<Output = io::Result<Self::Listener>> + Send;
    /// The next connection.
    fn accept(&self, listener: &Self::Listener) -> impl Future<Output = io::Result<Connection>> + Send;
}

#[derive(Debug)]
pub(super) struct Tcp(SocketAddr);

impl Tcp {
    pub(super) const fn new(addr: SocketAddr) -> Self {
        Self(addr)
    }
}

impl fmt::Display for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Place for Tcp {
    type Listener = TcpListener;

    async fn open(&self) -> io::Result<TcpListener> {
        TcpListener::bind(self.0).await
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<Connection> {
        listener.accept().await.map(|(stream, _)| Box::new(stream) as Connection)
    }
}

#[derive(Debug)]
pub(super) struct Unix(PathBuf);

/// A socket that we listen on; its file goes with it.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Only tidiness: a socket that stays is found to be dead at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

impl Unix {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Removes a socket on which nobody listens any more. Anything else at the path stays, and listening fails.
    async fn remove_left_over(&self) -> io::Result<()> {
        let Ok(metadata) = fs::symlink_metadata(&self.0) else { return Ok(()) };
        if !metadata.file_type().is_socket() {
            return Ok(());
        }
        match UnixStream::connect(&self.0).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(&self.0),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl fmt::Display for Unix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Place for Unix {
    type Listener = Socket;

    async fn open(&self) -> io::Result<Socket> {
        if let Some(folder) = self.0.parent().filter(|folder| !folder.exists()) {
            fs::create_dir_all(folder)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE))?;
        }
        self.remove_left_over().await?;
        let socket = Socket { listener: UnixListener::bind(&self.0)?, path: self.0.clone() };
        fs::set_permissions(&self.0, fs::Permissions::from_mode(SOCKET_MODE))?;
        Ok(socket)
    }

    async fn accept(&self, socket: &Socket) -> io::Result<Connection> {
        socket.listener.accept().await.map(|(stream, _)| Box::new(stream) as Connection)
    }
}
