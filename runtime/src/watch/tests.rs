//! What a reader of a watch relies upon: no gap, nothing forgotten, whatever order things come in.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;

use super::Mirror;
use super::health::Health;
use super::trouble::Asked;
use crate::chance::Jitter;
use crate::client::CallError;

#[test]
fn a_restart_shows_everything_old_until_the_state_is_complete() {
    let mut mirror = Mirror::new();
    mirror.begin();
    mirror.apply("a", Some(1));
    mirror.apply("b", Some(1));
    assert!(!mirror.is_synced());
    assert_eq!(mirror.sweep(), Vec::<&str>::new());
    assert!(mirror.is_synced());

    mirror.begin();
    assert!(mirror.is_synced(), "a restart does not take the first read back");
    assert_eq!(mirror.iter().collect::<Vec<_>>(), [(&"a", &1), (&"b", &1)]);
    mirror.apply("b", Some(2));
    assert_eq!(mirror.get(&"a"), Some(&1));
    assert_eq!(mirror.sweep(), ["a"]);
    assert_eq!(mirror.iter().collect::<Vec<_>>(), [(&"b", &2)]);
}

#[test]
fn a_restart_within_a_restart_counts_only_the_last_one() {
    let mut mirror = Mirror::new();
    mirror.begin();
    mirror.apply("a", Some(1));
    mirror.sweep();
    mirror.begin();
    mirror.apply("a", Some(2));
    mirror.begin();
    mirror.apply("b", Some(1));
    assert_eq!(mirror.sweep(), ["a"], "the second read did not name it");
}

#[test]
fn an_unreadable_object_keeps_its_last_good_value_over_a_restart() {
    let mut mirror = Mirror::new();
    mirror.begin();
    mirror.apply("a", Some(1));
    mirror.sweep();
    mirror.begin();
    assert!(mirror.keep(&"a"));
    assert!(!mirror.keep(&"never seen"));
    assert!(mirror.sweep().is_empty());
    assert_eq!(mirror.get(&"a"), Some(&1));
}

#[test]
fn apply_tells_what_was_there_before() {
    let mut mirror = Mirror::new();
    assert_eq!(mirror.apply("a", Some(1)), None);
    assert_eq!(mirror.apply("a", Some(2)), Some(1));
    assert_eq!(mirror.apply("a", None), Some(2));
    assert_eq!(mirror.apply("a", None), None);
    assert!(mirror.is_empty());
}

/// Whatever happens in whatever order, after a complete read the mirror equals the server, the swept keys are exactly
/// those that vanished unseen, and no key that the server still has is ever missing in between.
#[test]
fn after_each_complete_read_the_mirror_equals_the_server() {
    for seed in 0..500 {
        let mut chance = Jitter::new(seed);
        let mut server: BTreeMap<u64, u64> = BTreeMap::new();
        let mut mirror: Mirror<u64, u64> = Mirror::new();
        for round in 0..8 {
            // Unseen changes, while the watch was away.
            for _ in 0..chance.up_to(10) {
                change(&mut server, &mut chance, round);
            }
            mirror.begin();
            let mut listed: Vec<(u64, u64)> = server.iter().map(|(key, value)| (*key, *value)).collect();
            if chance.up_to(3) == 0 {
                // The read breaks off in the middle and starts again.
                for (key, value) in listed.iter().take(listed.len() / 2) {
                    mirror.apply(*key, Some(*value));
                }
                mirror.begin();
            }
            if chance.up_to(1) == 0 {
                listed.reverse();
            }
            let known: Vec<u64> = mirror.iter().map(|(key, _)| *key).collect();
            for (key, value) in listed {
                mirror.apply(key, Some(value));
                assert!(
                    known.iter().all(|key| mirror.get(key).is_some()),
                    "seed {seed}: a gap while reading"
                );
            }
            let swept = mirror.sweep();
            let expected: Vec<u64> = known.into_iter().filter(|key| !server.contains_key(key)).collect();
            assert_eq!(swept, expected, "seed {seed}");
            // Seen changes, while the watch is open.
            for _ in 0..chance.up_to(10) {
                let (key, value) = change(&mut server, &mut chance, round);
                mirror.apply(key, value);
            }
            let mirrored: BTreeMap<u64, u64> = mirror.iter().map(|(key, value)| (*key, *value)).collect();
            assert_eq!(mirrored, server, "seed {seed}, round {round}");
            assert_eq!(mirror.len(), server.len());
        }
    }
}

fn change(server: &mut BTreeMap<u64, u64>, chance: &mut Jitter, round: u64) -> (u64, Option<u64>) {
    let key = chance.up_to(12);
    if chance.up_to(2) == 0 {
        server.remove(&key);
        (key, None)
    } else {
        let value = round * 1000 + chance.up_to(999);
        server.insert(key, value);
        (key, Some(value))
    }
}

fn refusal() -> CallError {
    CallError::Refused(Box::default())
}

#[test]
fn a_broken_watch_waits_longer_each_time_and_starts_anew_after_five_refusals() {
    let mut health = Health::new(Asked::of::<Service>(), 1);
    let mut last = Duration::ZERO;
    for failure in 1..=5 {
        assert!(!health.wants_fresh_start(), "before failure {failure}");
        let wait = health.failed(&refusal());
        assert!(wait >= last.min(Duration::from_secs(12)), "failure {failure}: {wait:?} after {last:?}");
        last = wait;
    }
    assert!(health.wants_fresh_start());
    health.works();
    assert!(!health.wants_fresh_start());
    assert!(health.failed(&refusal()) <= Duration::from_millis(1600), "a success starts the times again");
}

#[test]
fn a_server_that_was_away_for_long_is_noticed_within_seconds() {
    let mut health = Health::new(Asked::of::<Service>(), 1);
    for _ in 0..100 {
        let away = [
            CallError::Unreachable("refused".to_owned()),
            CallError::TimedOut { limit: Duration::from_secs(1) },
        ];
        for error in away {
            assert!(health.failed(&error) <= Duration::from_secs(2));
        }
    }
    // The first thing that it says when it is back is often a refusal.
    assert!(health.failed(&refusal()) <= Duration::from_millis(1600));
}

#[test]
fn the_servers_wish_to_wait_is_honoured() {
    let mut health = Health::new(Asked::of::<Service>(), 1);
    let status = serde_json::json!({"code": 429, "details": {"retryAfterSeconds": 20}});
    let busy = CallError::Refused(serde_json::from_value(status).unwrap());
    assert_eq!(health.failed(&busy), Duration::from_secs(20));
}

#[test]
fn forgotten_history_is_read_again_soon() {
    let mut health = Health::new(Asked::of::<Service>(), 1);
    assert!(health.outdated() <= Duration::from_millis(400));
}
