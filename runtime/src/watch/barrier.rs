//! `Barrier`: nothing is said to the outside before every watch has been read completely once.
//!
//! Leaves out what a component does with the answer; `/readyz` and the daemons' first output ask here.

use std::collections::BTreeSet;

use tokio::sync::watch;

/// Counts the components that have not seen their complete state yet. Clones share the count.
#[derive(Clone, Debug)]
pub struct Barrier(watch::Sender<BTreeSet<&'static str>>);

/// The handle of one component that the [`Barrier`] waits for.
#[derive(Debug)]
pub struct Synced {
    name: &'static str,
    waiting: watch::Sender<BTreeSet<&'static str>>,
}

impl Default for Barrier {
    fn default() -> Self {
        Self::new()
    }
}

impl Barrier {
    /// A barrier that waits for nobody yet. Register all components before anybody asks.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(BTreeSet::new()))
    }

    /// Adds a component to wait for; names are unique within a process.
    #[must_use]
    pub fn register(&self, name: &'static str) -> Synced {
        self.0.send_modify(|waiting| {
            waiting.insert(name);
        });
        Synced { name, waiting: self.0.clone() }
    }

    /// Whether all components are synced.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The components that are still waited for, sorted.
    #[must_use]
    pub fn waiting(&self) -> Vec<&'static str> {
        self.0.borrow().iter().copied().collect()
    }

    /// The same as a readiness check: an error that names who is waited for.
    ///
    /// # Errors
    /// A sentence with the names of the components that are not synced.
    pub fn check(&self) -> Result<(), String> {
        match self.waiting() {
            waiting if waiting.is_empty() => Ok(()),
            waiting => Err(format!("waiting for the first complete read of: {}", waiting.join(", "))),
        }
    }

    /// Ends when all components are synced.
    pub async fn synced(&self) {
        let mut waiting = self.0.subscribe();
        // The sender lives in `self`, so the wait cannot fail for the lack of one.
        let _ = waiting.wait_for(BTreeSet::is_empty).await;
    }
}

impl Synced {
    /// This component has seen its complete state. Saying it again changes nothing.
    pub fn mark(&self) {
        self.waiting.send_if_modified(|waiting| waiting.remove(self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_barrier_opens_with_the_last_component() {
        let barrier = Barrier::new();
        let (services, nodes) = (barrier.register("services"), barrier.register("nodes"));
        assert_eq!(
            barrier.check().unwrap_err(),
            "waiting for the first complete read of: nodes, services",
            "the message names everyone who is missing"
        );
        services.mark();
        services.mark();
        assert_eq!(barrier.waiting(), ["nodes"]);
        let waiter = {
            let barrier = barrier.clone();
            tokio::spawn(async move { barrier.synced().await })
        };
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        nodes.mark();
        waiter.await.unwrap();
        assert!(barrier.is_synced());
        barrier.check().unwrap();
    }
}
