//! TLS settings from PEM text, and the two ways to judge a server's certificate.
//!
//! Leaves out when the text is read again: the dialler does that for each new connection.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::endpoint::{ConnectError, Identity, Trust};

/// What both sides call HTTP/2 when they agree on it (RFC 9113, section 3.2), and HTTP/1.1.
pub(super) const HTTP_2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The PEM text that a TLS configuration is made of, as it was read at one moment.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Material {
    roots: Vec<u8>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Material {
    /// Reads everything; files give what they hold now.
    pub(super) fn read(trust: &Trust, identity: Option<&Identity>) -> Result<Self, ConnectError> {
        let roots = match trust {
            Trust::Roots(pem) => pem.read("the cluster's root certificate")?,
            Trust::Anything | Trust::Plain => Vec::new(),
        };
        let identity = match identity {
            Some(one) => Some((one.certificate.read("client certificate")?, one.key.read("client key")?)),
            None => None,
        };
        Ok(Self { roots, identity })
    }
}

/// Makes the TLS configuration of new connections.
pub(super) fn configure(trust: &Trust, material: &Material) -> Result<ClientConfig, ConnectError> {
    let wrong = |what, reason: String| ConnectError::Certificate { what, reason };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("TLS versions", error.to_string()))?;
    let builder = match trust {
        Trust::Roots(_) => builder.with_root_certificates(roots(&material.roots)?),
        Trust::Anything | Trust::Plain => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
        }
    };
    let mut config = match &material.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("client certificate", certificate)?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| wrong("client key", format!("no key in it ({error})")))?;
            let made = builder.with_client_auth_cert(chain, key);
            made.map_err(|error| wrong("client certificate", error.to_string()))?
        }
    };
    config.alpn_protocols = [HTTP_2, HTTP_1_1].map(<[u8]>::to_vec).into();
    Ok(config)
}

fn roots(pem: &[u8]) -> Result<RootCertStore, ConnectError> {
    const WHAT: &str = "the cluster's root certificate";
    let mut store = RootCertStore::empty();
    for certificate in certificates(WHAT, pem)? {
        let added = store.add(certificate);
        added.map_err(|error| ConnectError::Certificate { what: WHAT, reason: error.to_string() })?;
    }
    Ok(store)
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let wrong = |reason| ConnectError::Certificate { what, reason };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong("no certificate in it".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Accepts every certificate, as `insecure-skip-tls-verify` asks; signatures are still checked, so that the peer at
/// least holds the key of what it shows.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
