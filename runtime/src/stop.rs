//! The request to end: SIGTERM and SIGINT ask once, the second one ends the process at once.
//!
//! Leaves out what an orderly end consists of; each daemon decides that.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// A request to end that any number of tasks can wait for.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// The other side of a [`Stop`]: whoever holds it may ask for the end.
#[derive(Debug)]
pub struct StopTrigger(watch::Sender<bool>);

impl Stop {
    /// A stop that is asked for by the program itself and not by signals.
    #[must_use]
    pub fn manual() -> (StopTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (StopTrigger(sender), Self(receiver))
    }

    /// Ends when the end has been asked for; at once if that was earlier. Never ends when nobody can ask any more.
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|requested| *requested).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether the end has been asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

impl StopTrigger {
    /// Asks for the end. Asking again changes nothing.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

/// Turns SIGTERM and SIGINT into a [`Stop`]; a second signal ends the process with exit code 1.
///
/// Must be called inside a tokio runtime. Where the handlers cannot be installed, the signals keep their default
/// effect (the process ends at once) and the reason is logged.
#[must_use]
pub fn on_signals() -> Stop {
    let (trigger, stop) = Stop::manual();
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => {
            tokio::spawn(listen(terminate, interrupt, trigger));
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signal handlers cannot be installed: SIGTERM will end the process at once");
        }
    }
    stop
}

async fn listen(mut terminate: Signal, mut interrupt: Signal, trigger: StopTrigger) {
    let name = either(&mut terminate, &mut interrupt).await;
    tracing::info!(signal = name, "asked to stop");
    trigger.request();
    let name = either(&mut terminate, &mut interrupt).await;
    tracing::warn!(signal = name, "asked to stop a second time: ending at once");
    end_at_once();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the second request does not wait for anything, destructors included"
)]
fn end_at_once() -> ! {
    std::process::exit(1)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn everyone_who_waits_hears_the_request() {
        let (trigger, stop) = Stop::manual();
        let other = stop.clone();
        assert!(!stop.is_requested());
        let waiting = tokio::spawn(async move { other.requested().await });
        trigger.request();
        trigger.request();
        waiting.await.unwrap();
        stop.requested().await;
        assert!(stop.is_requested());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_trigger_is_no_request() {
        let (trigger, stop) = Stop::manual();
        drop(trigger);
        let waited = tokio::time::timeout(Duration::from_secs(3600), stop.requested()).await;
        assert!(waited.is_err());
        assert!(!stop.is_requested());
    }
}
