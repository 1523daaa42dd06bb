//! The testbed's own client: kube over rustls. Not the product's stack, so that a fault there cannot hide here.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use hyper::body::Body as HttpBody;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use kube::{Client, Config};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tower::{Layer as _, ServiceExt as _};

/// Requests to the API server, one HTTP/2 connection at a time.
pub(crate) type Transport<B> = HttpClient<hyper_rustls::HttpsConnector<HttpConnector>, B>;

/// Whatever carries requests to an API server whose certificate is in the file.
pub(crate) fn transport<B>(authority: &Path) -> Result<Transport<B>>
where
    B: HttpBody + Send + 'static + Unpin,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(authority).context("reading the API server's certificate")?;
    roots.add_parsable_certificates(certificates.flatten());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choosing the TLS versions")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // A request goes out in two writes, and the second must not wait for the acknowledgment of the first, which the kernel
    // delays by 40 ms: whoever compares with these requests would compare with that.
    tcp.set_nodelay(true);
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http2().wrap_connector(tcp);
    Ok(HttpClient::builder(TokioExecutor::new())
        .http2_only(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .timer(hyper_util::rt::TokioTimer::new())
        .build(connector))
}

/// A client of the API server on the host's loopback.
pub(super) fn connect(port: u16, authority: &Path, token: &str) -> Result<Client> {
    let transport = transport::<Body>(authority)?;
    let config =
        Config::new(format!("https://127.0.0.1:{port}").parse().context("the API server's address")?);
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).context("the token as a header")?;
    let transport = transport.map_request(move |mut request: Request<Body>| {
        request.headers_mut().insert(AUTHORIZATION, bearer.clone());
        request
    });
    let service = config.base_uri_layer().layer(transport);
    Ok(Client::new(service, "default"))
}
