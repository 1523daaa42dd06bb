//! How a new connection comes about: TCP with timeouts, then TLS with the certificates that are on disk at that moment.
//!
//! Leaves out HTTP, and who shares a connection (`pool`). An old connection keeps the certificates it was made with until it
//! ends.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, select_ok};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::endpoint::{Base, ConnectError, Identity, Trust};
use super::tls::{HTTP_2, Material, configure};

/// TCP connect, to whichever of the server's addresses answers.
const TCP_LIMIT: Duration = Duration::from_secs(5);
/// Name, TCP and TLS together: a peer that accepts and then says nothing must not hold us.
const WHOLE_LIMIT: Duration = Duration::from_secs(10);
/// How long an address is tried alone before the next one is tried, too (RFC 8305, section 8, has 250 ms).
const HEAD_START: Duration = Duration::from_millis(300);
/// More addresses of one name are not tried.
const ADDRESSES: usize = 8;
/// First TCP keepalive probe after this much silence, and the time between them.
const KEEPALIVE: Duration = Duration::from_secs(15);
const PROBES: u32 = 2;
/// Sent data that nobody acknowledges for this long ends the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes connections to one API server.
pub(super) struct Dialler {
    trust: Trust,
    identity: Option<Identity>,
    host: String,
    port: u16,
    name: ServerName<'static>,
    current: Mutex<Current>,
}

/// The certificates that were read last, and what they make; nothing where the server is spoken to without TLS.
struct Current {
    material: Material,
    tls: Option<TlsConnector>,
}

/// A connection on which nothing has been said yet.
pub(super) struct Dialled {
    pub(super) stream: Box<dyn Stream>,
    /// Whether both sides speak HTTP/2.
    pub(super) is_http2: bool,
}

/// A connection's two directions. One type for all, with and without TLS: what reads and writes HTTP is there once.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialFault {
    #[error("no connection within {WHOLE_LIMIT:?}")]
    TimedOut,
    #[error("the name {name} has no address: {error}")]
    NoAddress { name: String, error: io::Error },
    #[error("no TCP connection: {0}")]
    Tcp(io::Error),
    #[error("no TLS session: {0}")]
    Tls(io::Error),
    #[error("no HTTP: {0}")]
    Http(#[from] hyper::Error),
}

impl Dialler {
    /// Reads the certificates once, so that what is wrong with them is said at start.
    pub(super) fn try_new(
        base: &Base,
        trust: Trust,
        identity: Option<Identity>,
        server_name: Option<String>,
    ) -> Result<Self, ConnectError> {
        let host = base.host().to_owned();
        let (what, name) = match server_name {
            Some(name) => ("tls-server-name", name),
            None => ("the server's name", host.clone()),
        };
        let name = ServerName::try_from(name)
            .map_err(|error| ConnectError::Certificate { what, reason: error.to_string() })?;
        let material = Material::read(&trust, identity.as_ref())?;
        let tls = session_maker(&trust, &material)?;
        let current = Mutex::new(Current { material, tls });
        Ok(Self { trust, identity, host, port: base.port(), name, current })
    }

    /// A new connection, within ten seconds.
    pub(super) async fn dial(&self) -> Result<Dialled, DialFault> {
        timeout(WHOLE_LIMIT, self.dial_at_leisure()).await.unwrap_or(Err(DialFault::TimedOut))
    }

    async fn dial_at_leisure(&self) -> Result<Dialled, DialFault> {
        let tls = self.fresh();
        let stream = open(&self.host, self.port).await?;
        let Some(tls) = tls else { return Ok(Dialled { stream: Box::new(stream), is_http2: false }) };
        let stream = tls.connect(self.name.clone(), stream).await.map_err(DialFault::Tls)?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        Ok(Dialled { stream: Box::new(stream), is_http2 })
    }

    /// What makes TLS sessions, made anew when the files have changed.
    fn fresh(&self) -> Option<TlsConnector> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match Material::read(&self.trust, self.identity.as_ref()) {
            Ok(material) if material == current.material => {}
            Ok(material) => match session_maker(&self.trust, &material) {
                Ok(tls) => {
                    tracing::info!("certificates for the API server have changed: new connections use them");
                    *current = Current { material, tls };
                }
                Err(error) => tracing::warn!(%error, "new certificates cannot be used: the old ones stay"),
            },
            Err(error) => tracing::warn!(%error, "certificates cannot be read again: the old ones stay"),
        }
        current.tls.clone()
    }
}

fn session_maker(trust: &Trust, material: &Material) -> Result<Option<TlsConnector>, ConnectError> {
    match trust {
        Trust::Plain => Ok(None),
        Trust::Roots(_) | Trust::Anything => {
            Ok(Some(TlsConnector::from(Arc::new(configure(trust, material)?))))
        }
    }
}

/// A TCP connection to the first address that answers. They are tried in the resolver's order, each a moment after the one before,
/// so that a family that leads nowhere costs a moment only.
async fn open(host: &str, port: u16) -> Result<TcpStream, DialFault> {
    let unknown = |error| DialFault::NoAddress { name: host.to_owned(), error };
    let addresses = lookup_host((host, port)).await.map_err(unknown)?;
    let tries: Vec<BoxFuture<'_, io::Result<TcpStream>>> = (0..)
        .zip(addresses.take(ADDRESSES))
        .map(|(turn, address)| connect(HEAD_START * turn, address).boxed())
        .collect();
    if tries.is_empty() {
        return Err(unknown(io::ErrorKind::NotFound.into()));
    }
    let (stream, _others) = timeout(TCP_LIMIT, select_ok(tries))
        .await
        .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
        .map_err(DialFault::Tcp)?;
    Ok(stream)
}

async fn connect(wait: Duration, address: SocketAddr) -> io::Result<TcpStream> {
    sleep(wait).await;
    let stream = TcpStream::connect(address).await?;
    tune(&stream);
    Ok(stream)
}

/// Makes a dead path known soon. A kernel, or a sandbox, that knows an option not costs that option, never the connection.
fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(PROBES);
    let options = [
        ("TCP_NODELAY", stream.set_nodelay(true)),
        ("SO_KEEPALIVE and its times", socket.set_tcp_keepalive(&keepalive)),
        ("TCP_USER_TIMEOUT", socket.set_tcp_user_timeout(Some(USER_TIMEOUT))),
    ];
    for (option, set) in options {
        if let Err(error) = set {
            tracing::warn!(option, %error, "the connection to the API server runs without a socket option");
        }
    }
}
