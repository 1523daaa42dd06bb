//! BGP passwords (TCP MD5, RFC 2385) and the Secrets they come from.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;

use crate::names::{PASSWORD_SECRET_KEY, PASSWORD_SECRET_TYPE};

/// A password that does not show itself in logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Password(Vec<u8>);

impl Password {
    /// Longest password that the kernel takes, in octets.
    pub const MAX_OCTETS: usize = 80;

    /// A password from its octets. `None` when there are none or more than [`Self::MAX_OCTETS`].
    #[must_use]
    pub fn try_new(octets: impl Into<Vec<u8>>) -> Option<Self> {
        let octets = octets.into();
        (1..=Self::MAX_OCTETS).contains(&octets.len()).then_some(Self(octets))
    }

    /// The octets, for the socket.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// What a Secret says about a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSecret {
    /// The password.
    Password(Password),
    /// The Secret is of another type; the text is that type.
    WrongType(String),
    /// The Secret has no key `password`.
    MissingKey,
    /// The value is empty or longer than [`Password::MAX_OCTETS`]; the number is its length.
    UnusableLength(usize),
}

impl PasswordSecret {
    /// Reads a Secret.
    #[must_use]
    pub fn from_secret(secret: &Secret) -> Self {
        let type_ = secret.type_.as_deref().unwrap_or("Opaque");
        if type_ != PASSWORD_SECRET_TYPE {
            return Self::WrongType(type_.to_owned());
        }
        let Some(value) = secret.data.as_ref().and_then(|data| data.get(PASSWORD_SECRET_KEY)) else {
            return Self::MissingKey;
        };
        Password::try_new(value.0.clone()).map_or(Self::UnusableLength(value.0.len()), Self::Password)
    }
}
