//! Watches that never end: the complete state first, then every change, through every kind of trouble.
//!
//! Also holds what a reader of a watch needs: [`Mirror`] keeps its state by epoch, [`Barrier`] says when everything has
//! been read once. Leaves out what the objects mean. There is no cache here: each object is handed over once.
//!
//! An object that cannot be read is skipped, counted and logged; it never ends the stream. For kinds whose types are
//! strict, watch `Api<Guarded<K>>` instead: then an unreadable object arrives as an error with its metadata, and its
//! last good version can be kept.

mod backoff;
mod barrier;
mod events;
mod guarded;
mod health;
mod mirror;
mod page;
mod stream;
mod tally;
mod trouble;

use api::json::FromJson;
use futures::Stream;
use kube::Api;

pub use backoff::Backoff;
pub use barrier::{Barrier, Synced};
pub use guarded::{Guarded, Unreadable};
pub use mirror::Mirror;
pub use tally::register_metrics;
pub use trouble::not_installed;

/// What a watch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<K> {
    /// The complete state follows as [`Change::Apply`], ended by [`Change::Synced`]. What is not named in between is
    /// gone. May come again at any time, also before `Synced`.
    Restarted,
    /// This object exists and looks like this.
    Apply(K),
    /// This object is gone, or does not match the query any more.
    Delete(K),
    /// The state is complete.
    Synced,
}

/// Which objects are wanted; selected by the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Such as `spec.type=LoadBalancer`; the server knows only a few fields of each kind.
    pub field_selector: Option<String>,
    /// Such as `app=web`.
    pub label_selector: Option<String>,
}

impl Query {
    /// Everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// The objects that a field selector picks.
    #[must_use]
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { field_selector: Some(selector.into()), label_selector: None }
    }

    /// The objects that a label selector picks.
    #[must_use]
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { field_selector: None, label_selector: Some(selector.into()) }
    }
}

/// Watches the objects of `api` that `query` picks. The stream never ends and never fails; `seed` spreads its retries
/// and re-watches.
///
/// Reading starts with a streaming list (KEP-3157) of the latest state; where the server refuses it, the process falls
/// back to lists of 500 objects a page. A broken watch is resumed where it stood if the server answers the first try and is
/// not behind. Otherwise it may have other data, and everything is read anew, as it is when the server has forgotten that
/// point (410). Tries are 0.5 s to 2 s apart while nobody answers, else up to 30 s. Trouble and recovery are logged once each.
pub fn watch<K>(api: Api<K>, query: Query, seed: u64) -> impl Stream<Item = Change<K>> + Send + Unpin + use<K>
where
    K: kube::Resource + Clone + FromJson + Send + 'static,
    K::DynamicType: Default,
{
    stream::changes(api, query, seed)
}

#[cfg(test)]
mod tests;
