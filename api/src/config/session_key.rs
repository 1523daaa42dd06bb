//! What signs a session: a password for TCP MD5 (RFC 2385) or a master key for TCP-AO (RFC 5925), never both.

use super::router::filled;
use super::{Password, PasswordSecret, PeerRefusal, RejectionReason, TcpAo, TcpAoFault, Work};
use crate::v1beta2::{BGPPeerSpec, SecretReference};

/// The key of a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionKey {
    /// A TCP MD5 password.
    Md5(Password),
    /// A TCP-AO master key tuple.
    TcpAo(TcpAo),
}

/// The key, where there is one, and why the session must stay down, where there has to be one and is none.
pub(super) type Found = (Option<SessionKey>, Option<PeerRefusal>);

impl Work<'_> {
    /// The key that a peer asks for.
    pub(super) fn session_key(&self, spec: &BGPPeerSpec) -> Result<Found, RejectionReason> {
        let written = filled(spec.password.as_deref());
        let secret = secret_name(spec.password_secret.as_ref());
        match (written, secret, secret_name(spec.tcp_ao_secret.as_ref())) {
            (Some(_), Some(_), _) => Err(RejectionReason::BothPasswords),
            (Some(_), None, Some(_)) | (None, Some(_), Some(_)) => Err(RejectionReason::PasswordAndTcpAo),
            (None, None, None) => Ok((None, None)),
            (Some(text), None, None) => match Password::try_new(text) {
                Some(password) => Ok((Some(SessionKey::Md5(password)), None)),
                None => Err(RejectionReason::PasswordLength { octets: text.len() }),
            },
            (None, Some(secret), None) => Ok(match self.resources.secrets.get(secret) {
                Some(PasswordSecret::Password(password)) => (Some(SessionKey::Md5(password.clone())), None),
                other => (None, Some(password_refusal(secret, other))),
            }),
            (None, None, Some(secret)) => Ok(match self.resources.tcp_ao_secrets.get(secret) {
                Some(Ok(key)) => (Some(SessionKey::TcpAo(key.clone())), None),
                Some(Err(fault)) => (None, Some(tcp_ao_refusal(secret, fault))),
                None => (None, Some(PeerRefusal::NoSecret { secret: secret.to_owned() })),
            }),
        }
    }
}

fn secret_name(reference: Option<&SecretReference>) -> Option<&str> {
    reference.and_then(|secret| filled(secret.name.as_deref()))
}

fn password_refusal(name: &str, found: Option<&PasswordSecret>) -> PeerRefusal {
    let secret = name.to_owned();
    match found {
        Some(PasswordSecret::WrongType(found)) => {
            PeerRefusal::SecretOfWrongType { secret, found: found.clone() }
        }
        Some(PasswordSecret::MissingKey) => PeerRefusal::SecretWithoutPassword { secret },
        Some(PasswordSecret::UnusableLength(octets)) => {
            PeerRefusal::SecretUnusable { secret, octets: *octets }
        }
        Some(PasswordSecret::Password(_)) | None => PeerRefusal::NoSecret { secret },
    }
}

fn tcp_ao_refusal(name: &str, fault: &TcpAoFault) -> PeerRefusal {
    let secret = name.to_owned();
    match fault {
        TcpAoFault::WrongType(found) => PeerRefusal::SecretOfWrongType { secret, found: found.clone() },
        TcpAoFault::Missing(_)
        | TcpAoFault::KeyLength(_)
        | TcpAoFault::InvalidId(_)
        | TcpAoFault::UnknownAlgorithm => PeerRefusal::TcpAoSecretUnusable { secret, fault: fault.clone() },
    }
}
