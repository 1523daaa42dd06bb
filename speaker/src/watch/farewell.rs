//! The stages of a drain: when a node that leaves goes from asking routers to avoid it to withdrawing. Pure; time is an
//! argument.

use std::time::{Duration, Instant};

use crate::decide::snapshot::{Drain, DrainStage, Leaving};

/// How long routers have to find another way before the routes are withdrawn. Machines that leave by a taint or a
/// deletion have minutes, and a shutdown waits for the Pods first.
const NOTICE: Duration = Duration::from_secs(5);

/// What is known of the node's farewell.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    leaving: Option<Leaving>,
    /// When the routes are withdrawn; `None` while nothing was told to any router that would have to be taken back.
    over_at: Option<Instant>,
}

impl Farewell {
    /// What the Node object says now.
    pub(super) fn hear(&mut self, leaving: Option<Leaving>) {
        self.leaving = leaving;
        if leaving.is_none() {
            self.over_at = None;
        }
    }

    /// How far the drain is. A speaker that starts on a node that leaves already has told nobody anything
    /// (`told` is false), and begins with the end.
    pub(super) fn drain(&mut self, now: Instant, told: bool) -> Option<Drain> {
        let leaving = self.leaving?;
        let over_at = *self.over_at.get_or_insert_with(|| if told { now + NOTICE } else { now });
        let stage = if now >= over_at { DrainStage::Over } else { DrainStage::Notice };
        Some(Drain { leaving, stage })
    }

    /// When to ask again, if time alone will change the answer.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.over_at.filter(|over_at| *over_at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_get_notice_before_the_withdrawal_and_only_once() {
        let start = Instant::now();
        let mut farewell = Farewell::default();
        assert_eq!(farewell.drain(start, true), None);
        farewell.hear(Some(Leaving::Autoscaler));
        let drain = |stage| Some(Drain { leaving: Leaving::Autoscaler, stage });
        assert_eq!(farewell.drain(start, true), drain(DrainStage::Notice));
        assert_eq!(farewell.due(start), Some(start + NOTICE));
        farewell.hear(Some(Leaving::Autoscaler));
        assert_eq!(
            farewell.drain(start + NOTICE, true),
            drain(DrainStage::Over),
            "more news prolong nothing"
        );
        assert_eq!(farewell.due(start + NOTICE), None);
        farewell.hear(None);
        assert_eq!(farewell.drain(start + NOTICE, true), None, "a node that stays after all");
    }

    #[test]
    fn a_speaker_that_starts_on_a_leaving_node_announces_nothing_first() {
        let start = Instant::now();
        let mut farewell = Farewell::default();
        farewell.hear(Some(Leaving::Deleted));
        assert_eq!(farewell.drain(start, false).map(|drain| drain.stage), Some(DrainStage::Over));
        assert_eq!(farewell.drain(start, true).map(|drain| drain.stage), Some(DrainStage::Over));
    }
}
