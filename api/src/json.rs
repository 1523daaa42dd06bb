//! The ways from JSON to types: kinds come out of it in the crate that defines them, and everything comes out of text.
//!
//! What reads a kind is some thousand octets of code. Made where it is called, each program of the image would carry its own copy,
//! and so it would where some callers have text and some octets.

use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use serde::Deserialize;
use serde::de::Error as _;

use crate::herald::SpeakerState;
use crate::service::SlimService;
use crate::v1beta1::{BFDProfile, BGPAdvertisement, Community, IPAddressPool, L2Advertisement};
use crate::v1beta2::BGPPeer;

/// Reads JSON from octets.
///
/// # Errors
/// What is wrong with octets that are no text, or with a text that does not have the form of `T`.
pub fn from_octets<'a, T: Deserialize<'a>>(octets: &'a [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_str(std::str::from_utf8(octets).map_err(serde_json::Error::custom)?)
}

/// An object that can be read from JSON text.
pub trait FromJson: Sized {
    /// Reads one object.
    ///
    /// # Errors
    /// What is wrong with a text that does not have the form of the kind.
    fn from_json(text: &str) -> Result<Self, serde_json::Error>;
}

/// Makes [`FromJson`] of `Deserialize` for types of the calling crate.
///
/// ```
/// use api::json::FromJson as _;
///
/// #[derive(serde::Deserialize)]
/// struct Named {
///     name: String,
/// }
/// api::from_json!(Named);
/// assert_eq!(Named::from_json(r#"{"name": "pi"}"#).unwrap().name, "pi");
/// ```
#[macro_export]
macro_rules! from_json {
    ($($kind:ty),+) => {
        $(
            impl $crate::json::FromJson for $kind {
                fn from_json(text: &str) -> ::core::result::Result<Self, ::serde_json::Error> {
                    ::serde_json::from_str(text)
                }
            }
        )+
    };
}

crate::from_json!(
    BFDProfile,
    BGPAdvertisement,
    BGPPeer,
    Community,
    IPAddressPool,
    L2Advertisement,
    PartialObjectMeta<Namespace>,
    SlimService,
    SpeakerState
);
