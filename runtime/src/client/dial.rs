//! How a new connection comes about: TCP with timeouts, then TLS with the certificates that are on disk at that moment.
//!
//! Leaves out HTTP, and who shares a connection (`pool`). An old connection keeps the certificates it was made with until it
//! ends.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
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
    /// Without one the server is spoken to without TLS.
    name: Option<ServerName<'static>>,
    current: Mutex<Current>,
}

/// The certificates that were read last, and what is made of them.
struct Current {
    material: Material,
    config: Arc<ClientConfig>,
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
        let name = match &trust {
            Trust::Plain => None,
            Trust::Roots(_) | Trust::Anything => Some(name_in_certificate(&host, server_name)?),
        };
        let material = Material::read(&trust, identity.as_ref())?;
        let config = Arc::new(configure(&trust, &material)?);
        let current = Mutex::new(Current { material, config });
        Ok(Self { trust, identity, host, port: base.port(), name, current })
    }

    /// A new connection, within ten seconds.
    pub(super) async fn dial(&self) -> Result<Dialled, DialFault> {
        timeout(WHOLE_LIMIT, self.dial_at_leisure()).await.unwrap_or(Err(DialFault::TimedOut))
    }

    async fn dial_at_leisure(&self) -> Result<Dialled, DialFault> {
        let stream = open(&self.host, self.port).await?;
        let Some(name) = &self.name else {
            return Ok(Dialled { stream: Box::new(stream), is_http2: false });
        };
        let tls = TlsConnector::from(self.fresh());
        let stream = tls.connect(name.clone(), stream).await.map_err(DialFault::Tls)?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        Ok(Dialled { stream: Box::new(stream), is_http2 })
    }

    /// What TLS sessions are made with, made anew when the files have changed.
    fn fresh(&self) -> Arc<ClientConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match Material::read(&self.trust, self.identity.as_ref()) {
            Ok(material) if material == current.material => {}
            Ok(material) => match configure(&self.trust, &material) {
                Ok(config) => {
                    tracing::info!("certificates for the API server have changed: new connections use them");
                    *current = Current { material, config: Arc::new(config) };
                }
                Err(error) => tracing::warn!(%error, "new certificates cannot be used: the old ones stay"),
            },
            Err(error) => tracing::warn!(%error, "certificates cannot be read again: the old ones stay"),
        }
        Arc::clone(&current.config)
    }
}

/// The name that the server's certificate has to hold: its own, or the one that the kubeconfig gives in its place.
fn name_in_certificate(host: &str, instead: Option<String>) -> Result<ServerName<'static>, ConnectError> {
    match instead {
        Some(name) => ServerName::try_from(name).map_err(|error| ConnectError::Certificate {
            what: "tls-server-name",
            reason: error.to_string(),
        }),
        None => ServerName::try_from(host.to_owned())
            .map_err(|_| ConnectError::Server { server: host.to_owned() }),
    }
}

/// A TCP connection to whichever address of the host answers first.
async fn open(host: &str, port: u16) -> Result<TcpStream, DialFault> {
    let unknown = |error| DialFault::NoAddress { name: host.to_owned(), error };
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(unknown)?.take(ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(unknown(io::ErrorKind::NotFound.into()));
    }
    let stream = timeout(TCP_LIMIT, first_of(&addresses)).await;
    let stream =
        stream.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())).map_err(DialFault::Tcp)?;
    tune(&stream);
    Ok(stream)
}

/// They are tried in the resolver's order: the next one when the last has failed, or has not answered for a moment, so that a family
/// that leads nowhere costs a moment only.
pub(super) async fn first_of(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut rest = addresses.iter();
    let mut tries = FuturesUnordered::new();
    let mut fault = io::ErrorKind::NotFound.into();
    loop {
        tries.extend(rest.next().map(TcpStream::connect));
        match timeout(HEAD_START, tries.next()).await {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => fault = error,
            Ok(None) => return Err(fault),
            Err(_elapsed) => {}
        }
    }
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
