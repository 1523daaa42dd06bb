//! A Kubernetes client for a person at a terminal: what kubectl's kubeconfig files say, contexts, several files joined
//! in `KUBECONFIG` and credentials from a login program included, or the Pod's own service account.
//!
//! Leaves out what only a long life needs (rotated certificates, dead-path detection) and says so where a kubeconfig
//! asks for what is not here.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::ByteString;
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tower::{BoxError, Layer, ServiceExt};

use crate::args::ReachArgs;

/// For the TCP connection alone; the whole request has the limit of `--request-timeout`.
const TCP_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientFault {
    #[error("there is no kubeconfig, and this is not a Pod")]
    Nowhere,
    #[error("there is no usable context \"{0}\" in the kubeconfig")]
    NoContext(String),
    #[error("{0}")]
    Kubeconfig(String),
    #[error("the kubeconfig {} cannot be read: {reason}", .path.display())]
    NoKubeconfig { path: PathBuf, reason: String },
    #[error("the credentials cannot be had: {0}")]
    Credentials(#[source] kube::Error),
    #[error("the {what} cannot be used: {reason}")]
    Certificate { what: &'static str, reason: String },
    #[error("the kubeconfig's {field} is not supported")]
    Unsupported { field: &'static str },
    #[error("the kubeconfig names no certificate-authority for an https server")]
    NoRoots,
}

impl ClientFault {
    fn from_kubeconfig(error: &KubeconfigError) -> Self {
        if let KubeconfigError::LoadContext(name) = error {
            return Self::NoContext(name.clone());
        }
        if let KubeconfigError::ReadConfig(reason, path) = error {
            return Self::NoKubeconfig { path: path.clone(), reason: reason.to_string() };
        }
        // The parser goes on to quote the file, which holds secrets.
        Self::Kubeconfig(error.to_string().lines().next().unwrap_or_default().to_owned())
    }

    /// What to do next, in one line.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Nowhere => {
                "give --kubeconfig (or set KUBECONFIG), or run this in a speaker's container to ask it through its socket"
            }
            Self::NoContext(_) => "list the contexts with: kubectl config get-contexts",
            Self::NoKubeconfig { .. } => "give the path of the file: --kubeconfig FILE, or KUBECONFIG",
            Self::Kubeconfig(_) | Self::Certificate { .. } | Self::NoRoots => {
                "compare with what kubectl reads: kubectl config view --minify"
            }
            Self::Credentials(_) => "does kubectl get the same user's credentials? try: kubectl auth whoami",
            Self::Unsupported { .. } => {
                "give a kubeconfig without that field, or ask a speaker through its socket"
            }
        }
    }
}

/// Builds the client; the server is not asked yet. A login program that the kubeconfig names runs here.
///
/// # Errors
/// `ClientFault`, which says what in the configuration cannot be used.
pub(crate) async fn connect(reach: &ReachArgs) -> Result<Client, ClientFault> {
    let config = configuration(reach).await?;
    if config.proxy_url.is_some() {
        return Err(ClientFault::Unsupported { field: "proxy-url" });
    }
    let http = Http::builder(TokioExecutor::new()).build(connector(&config)?);
    let http = ServiceExt::<Request<Body>>::map_err(http, BoxError::from);
    let authorization = config.auth_layer().map_err(ClientFault::Credentials)?;
    let address = config.base_uri_layer();
    let namespace = config.default_namespace.clone();
    Ok(match authorization {
        Some(authorization) => Client::new(address.layer(authorization.layer(http)), namespace),
        None => Client::new(address.layer(http), namespace),
    })
}

/// `--kubeconfig`, then what kubectl reads without it, then the Pod's service account.
async fn configuration(reach: &ReachArgs) -> Result<Config, ClientFault> {
    let options = KubeConfigOptions { context: reach.context.clone(), ..KubeConfigOptions::default() };
    let read = match &reach.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let explicit = reach.kubeconfig.is_some() || reach.context.is_some();
    match read {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| ClientFault::from_kubeconfig(&error)),
        Err(error) if !explicit && is_absent(&error) => Config::incluster().map_err(|_| ClientFault::Nowhere),
        Err(error) => Err(ClientFault::from_kubeconfig(&error)),
    }
}

/// A file that is there and wrong is never passed over in silence.
fn is_absent(error: &KubeconfigError) -> bool {
    if let KubeconfigError::ReadConfig(error, _) = error {
        return error.kind() == io::ErrorKind::NotFound;
    }
    matches!(error, KubeconfigError::FindPath)
}

fn connector(config: &Config) -> Result<HttpsConnector<HttpConnector>, ClientFault> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(TCP_LIMIT));
    tcp.set_nodelay(true);
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls(config)?).https_or_http();
    let builder = match &config.tls_server_name {
        None => builder,
        Some(name) => {
            let name = ServerName::try_from(name.clone()).map_err(|error| ClientFault::Certificate {
                what: "tls-server-name",
                reason: error.to_string(),
            })?;
            builder.with_server_name_resolver(FixedServerNameResolver::new(name))
        }
    };
    Ok(builder.enable_all_versions().wrap_connector(tcp))
}

fn tls(config: &Config) -> Result<ClientConfig, ClientFault> {
    let wrong = |what: &'static str| move |reason: String| ClientFault::Certificate { what, reason };
    let is_https = config.cluster_url.scheme_str() == Some("https");
    if is_https && config.accept_invalid_certs {
        return Err(ClientFault::Unsupported { field: "insecure-skip-tls-verify" });
    }
    let roots = roots(config)?;
    if is_https && roots.is_empty() {
        return Err(ClientFault::NoRoots);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("TLS version")(error.to_string()))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = identity(config)? else { return Ok(builder.with_no_client_auth()) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
    let chain = chain.map_err(|error| wrong("client certificate")(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| wrong("client key")(error.to_string()))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| wrong("client certificate")(error.to_string()))
}

fn roots(config: &Config) -> Result<RootCertStore, ClientFault> {
    let wrong = |reason: String| ClientFault::Certificate { what: "certificate-authority", reason };
    let mut store = RootCertStore::empty();
    for der in config.root_cert.iter().flatten() {
        store.add(CertificateDer::from(der.clone())).map_err(|error| wrong(error.to_string()))?;
    }
    if let Some(path) = config.root_cert_file.as_ref().filter(|_| store.is_empty()) {
        let found = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
        for der in found {
            store
                .add(der.map_err(|error| wrong(error.to_string()))?)
                .map_err(|error| wrong(error.to_string()))?;
        }
    }
    Ok(store)
}

/// PEM text of a certificate, and of its key.
type PemPair = (Vec<u8>, Vec<u8>);

/// The client certificate and its key, if the kubeconfig has both.
fn identity(config: &Config) -> Result<Option<PemPair>, ClientFault> {
    let wrong = |reason: String| ClientFault::Certificate { what: "client certificate", reason };
    // Through its own YAML form, because that is where the texts are base64 and the key is not hidden.
    let written = serde_json::to_value(&config.auth_info).map_err(|error| wrong(error.to_string()))?;
    let identity: Identity = serde_json::from_value(written).map_err(|error| wrong(error.to_string()))?;
    let certificate = pem(identity.client_certificate_data, identity.client_certificate)?;
    let key = pem(identity.client_key_data, identity.client_key)?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(wrong("its key is missing".to_owned())),
        (None, Some(_)) => Err(wrong("there is only a key".to_owned())),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<ByteString>,
    client_key: Option<PathBuf>,
    client_key_data: Option<ByteString>,
}

/// Data wins over a file, as in kubectl.
fn pem(data: Option<ByteString>, file: Option<PathBuf>) -> Result<Option<Vec<u8>>, ClientFault> {
    match (data, file) {
        (Some(data), _) => Ok(Some(data.0)),
        (None, Some(path)) => std::fs::read(&path).map(Some).map_err(|error| ClientFault::Certificate {
            what: "client certificate",
            reason: format!("{} cannot be read: {error}", path.display()),
        }),
        (None, None) => Ok(None),
    }
}
