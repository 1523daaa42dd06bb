//! TCP-AO master keys (RFC 5925 §3.1) and the Secrets they come from.
//!
//! One Secret holds the whole master key tuple, so that a new key and the numbers that name it arrive together.

use k8s_openapi::api::core::v1::Secret;
use thiserror::Error;

use super::Password;
use crate::names::{PASSWORD_SECRET_KEY, PASSWORD_SECRET_TYPE, tcp_ao_key};

/// A master key tuple for one peer: what TCP-AO signs with and how both sides name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpAo {
    /// The master key, from which TCP derives the traffic keys of each connection (RFC 5926).
    pub key: Password,
    /// The KeyID in segments that we send; the router's RecvID.
    pub send_id: u8,
    /// The KeyID in segments that we take; the router's SendID.
    pub recv_id: u8,
    /// How codes are computed.
    pub algorithm: TcpAoAlgorithm,
}

/// A message authentication code, each cut to 96 bits, with the key derivation that goes with it (RFC 5926 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TcpAoAlgorithm {
    /// HMAC-SHA-1-96, which every implementation has.
    HmacSha1,
    /// AES-128-CMAC-96, which every implementation has.
    Aes128Cmac,
    /// HMAC-SHA-256 cut to 96 bits, which is no RFC's and common.
    HmacSha256,
}

impl TcpAoAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::HmacSha1, Self::Aes128Cmac, Self::HmacSha256];

    /// Its name in the Secret.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac-sha-1-96",
            Self::Aes128Cmac => "aes-128-cmac-96",
            Self::HmacSha256 => "hmac-sha-256-96",
        }
    }

    /// The algorithm of this name.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.word() == word)
    }
}

/// Why a Secret holds no master key tuple. Never shows what the Secret holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum TcpAoFault {
    /// The Secret is of another type; the text is that type.
    #[error("it is of type {0:?}")]
    WrongType(String),
    /// A key of the Secret is not there.
    #[error("it has no key {0:?}")]
    Missing(&'static str),
    /// The master key is empty or longer than the kernel takes; the number is its length in octets.
    #[error("its password, the master key, has {0} octets; TCP-AO takes 1 to 80")]
    KeyLength(usize),
    /// An identifier is no octet.
    #[error("its {0} is not a number from 0 to 255")]
    InvalidId(&'static str),
    /// An algorithm without a meaning here.
    #[error("its algorithm is none of hmac-sha-1-96, aes-128-cmac-96 and hmac-sha-256-96")]
    UnknownAlgorithm,
}

impl TcpAo {
    /// Reads a Secret of the type that passwords come in: `password` is the master key, beside it are `sendID`, `recvID` and
    /// `algorithm`.
    ///
    /// # Errors
    /// [`TcpAoFault`] says what the Secret lacks.
    pub fn from_secret(secret: &Secret) -> Result<Self, TcpAoFault> {
        let type_ = secret.type_.as_deref().unwrap_or("Opaque");
        if type_ != PASSWORD_SECRET_TYPE {
            return Err(TcpAoFault::WrongType(type_.to_owned()));
        }
        let value = |name: &'static str| {
            let value = secret.data.as_ref().and_then(|data| data.get(name));
            value.map(|value| value.0.as_slice()).ok_or(TcpAoFault::Missing(name))
        };
        // Files often end with a line break, which belongs to no number and no name.
        let word = |name| Ok(std::str::from_utf8(value(name)?).unwrap_or_default().trim());
        let id = |name| word(name)?.parse().map_err(|_| TcpAoFault::InvalidId(name));
        let key = value(PASSWORD_SECRET_KEY)?;
        Ok(Self {
            key: Password::try_new(key).ok_or(TcpAoFault::KeyLength(key.len()))?,
            send_id: id(tcp_ao_key::SEND_ID)?,
            recv_id: id(tcp_ao_key::RECV_ID)?,
            algorithm: TcpAoAlgorithm::of_word(word(tcp_ao_key::ALGORITHM)?)
                .ok_or(TcpAoFault::UnknownAlgorithm)?,
        })
    }
}
