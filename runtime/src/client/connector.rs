//! How a new connection comes about: TCP with timeouts, then TLS with the certificates that are on disk at that moment.
//!
//! Leaves out pooling and HTTP. An old connection keeps the certificates it was made with until it ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use super::endpoint::{ConnectError, Identity, Trust};
use super::tls::{Material, configure};

/// TCP connect.
const TCP_LIMIT: Duration = Duration::from_secs(5);
/// TCP and TLS together: a peer that accepts and then says nothing must not hold us.
const WHOLE_LIMIT: Duration = Duration::from_secs(10);
/// First TCP keepalive probe after this much silence.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Sent data that nobody acknowledges for this long ends the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

type Https = HttpsConnector<HttpConnector>;

/// Makes connections to one API server.
#[derive(Clone)]
pub(super) struct Connector {
    credentials: Arc<Credentials>,
    current: Arc<Mutex<Current>>,
}

struct Credentials {
    trust: Trust,
    identity: Option<Identity>,
    server_name: Option<ServerName<'static>>,
}

struct Current {
    material: Material,
    https: Https,
}

impl Connector {
    /// Reads the certificates once, so that what is wrong with them is said at start.
    pub(super) fn try_new(
        trust: Trust,
        identity: Option<Identity>,
        server_name: Option<String>,
    ) -> Result<Self, ConnectError> {
        let server_name = match server_name {
            Some(name) => Some(ServerName::try_from(name).map_err(|error| ConnectError::Certificate {
                what: "tls-server-name",
                reason: error.to_string(),
            })?),
            None => None,
        };
        let credentials = Credentials { trust, identity, server_name };
        let material = credentials.read()?;
        let https = credentials.connector(&material)?;
        Ok(Self {
            credentials: Arc::new(credentials),
            current: Arc::new(Mutex::new(Current { material, https })),
        })
    }

    /// The connector for a new connection, made anew when the files have changed.
    fn fresh(&self) -> Https {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match self.credentials.read() {
            Ok(material) if material == current.material => {}
            Ok(material) => match self.credentials.connector(&material) {
                Ok(https) => {
                    tracing::info!("certificates for the API server have changed: new connections use them");
                    *current = Current { material, https };
                }
                Err(error) => tracing::warn!(%error, "new certificates cannot be used: the old ones stay"),
            },
            Err(error) => tracing::warn!(%error, "certificates cannot be read again: the old ones stay"),
        }
        current.https.clone()
    }
}

impl Credentials {
    fn read(&self) -> Result<Material, ConnectError> {
        Material::read(&self.trust, self.identity.as_ref())
    }

    fn connector(&self, material: &Material) -> Result<Https, ConnectError> {
        let builder = HttpsConnectorBuilder::new().with_tls_config(configure(&self.trust, material)?);
        let builder = match self.trust {
            Trust::Plain => builder.https_or_http(),
            Trust::Roots(_) | Trust::Anything => builder.https_only(),
        };
        let builder = match &self.server_name {
            Some(name) => {
                builder.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name.clone()))
            }
            None => builder,
        };
        Ok(builder.enable_all_versions().wrap_connector(tcp()))
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(TCP_LIMIT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(2));
    tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
    tcp
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
enum ConnectionFault {
    #[error("no connection within {WHOLE_LIMIT:?}")]
    TimedOut,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let connecting = self.fresh().call(server);
        Box::pin(async move {
            match tokio::time::timeout(WHOLE_LIMIT, connecting).await {
                Ok(result) => result,
                Err(_elapsed) => Err(ConnectionFault::TimedOut.into()),
            }
        })
    }
}
