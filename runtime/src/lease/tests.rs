//! Who leads when: the state machine on made-up time.

use std::time::{Duration, Instant};

use super::decide::{Action, Candidate, Record};
use super::{Leadership, LeaseSettings, identity};

const SECOND: Duration = Duration::from_secs(1);

struct Clock(Instant);

impl Clock {
    fn at(&self, seconds: u64) -> Instant {
        self.0 + Duration::from_secs(seconds)
    }
}

fn clock() -> Clock {
    Clock(Instant::now())
}

fn candidate(identity: &str) -> Candidate {
    Candidate::new(&LeaseSettings::new("metallb-system", "herald-controller", identity))
}

fn record(holder: &str, version: &str) -> Record {
    Record { holder: holder.to_owned(), duration: 10 * SECOND, transitions: 4, version: version.to_owned() }
}

fn take(version: &str) -> Action {
    Action::Hold { version: version.to_owned(), transitions: 5, taking_over: true }
}

fn renew(version: &str) -> Action {
    Action::Hold { version: version.to_owned(), transitions: 4, taking_over: false }
}

#[test]
fn without_a_lease_it_is_created() {
    assert_eq!(candidate("a").observe(clock().at(0), None), Action::Create);
}

#[test]
fn a_lease_that_nobody_holds_is_taken_at_once() {
    assert_eq!(candidate("a").observe(clock().at(0), Some(record("", "1"))), take("1"));
}

#[test]
fn a_living_holder_is_waited_for_and_a_silent_one_is_replaced_after_the_duration() {
    let clock = clock();
    let mut candidate = candidate("a");
    let wait = Action::Wait { time: SECOND };
    assert_eq!(candidate.observe(clock.at(0), Some(record("b", "1"))), wait);
    assert_eq!(candidate.observe(clock.at(8), Some(record("b", "1"))), wait);
    // The wait ends exactly when the holder's time is over.
    let almost = clock.at(9) + SECOND / 2;
    assert_eq!(candidate.observe(almost, Some(record("b", "1"))), Action::Wait { time: SECOND / 2 });
    assert_eq!(candidate.observe(clock.at(10), Some(record("b", "1"))), take("1"));
}

/// A standby looks at its own pace and a little later, so it may see the last renewal late, and late that its time is over.
#[test]
fn a_standby_has_the_lease_of_a_dead_leader_12_s_after_its_last_renewal_whenever_it_looks() {
    let clock = clock();
    for offset in (0..1_200).step_by(50) {
        let mut standby = candidate("b");
        let pause = |time: Duration, standby: &Candidate| time + standby.spread();
        // It looked last just before the renewal at second 20, at which the leader dies.
        let mut now = clock.at(20) - Duration::from_millis(offset);
        let (mut seen, alive) = (record("a", "1"), clock.at(20));
        while let Action::Wait { time } = standby.observe(now, Some(seen.clone())) {
            now += pause(time, &standby);
            if now >= alive {
                seen = record("a", "2");
            }
        }
        let took = now - alive;
        assert!(took <= 12 * SECOND, "{took:?} after the last renewal, with a look {offset} ms before it");
        assert!(took >= 10 * SECOND, "{took:?}: the leader may still write");
    }
}

#[test]
fn every_change_of_the_record_starts_the_wait_again() {
    let clock = clock();
    let mut candidate = candidate("a");
    for renewal in 0..20_u64 {
        let seen = candidate.observe(clock.at(9 * renewal), Some(record("b", &renewal.to_string())));
        assert_eq!(seen, Action::Wait { time: SECOND }, "renewal {renewal}");
    }
}

#[test]
fn the_age_of_a_record_counts_from_our_first_look_not_from_its_own_time() {
    // A record that is hours old on the wall clock is waited for like any other.
    let clock = clock();
    let mut late = candidate("a");
    assert_eq!(late.observe(clock.at(100_000), Some(record("b", "1"))), Action::Wait { time: SECOND });
    assert_eq!(late.observe(clock.at(100_009), Some(record("b", "1"))), Action::Wait { time: SECOND });
}

#[test]
fn a_leader_leads_until_the_renew_deadline_after_the_start_of_its_last_write() {
    let clock = clock();
    let mut candidate = candidate("a");
    assert_eq!(candidate.observe(clock.at(0), Some(record("", "1"))), take("1"));
    assert_eq!(candidate.leadership(clock.at(0)), Leadership::Standby, "nothing is written yet");
    candidate.held(clock.at(1), record("a", "2"));
    assert_eq!(candidate.leadership(clock.at(3)), Leadership::Leader { until: clock.at(8) });
    assert!(candidate.leadership(clock.at(7)).holds(clock.at(7)));
    assert!(!candidate.leadership(clock.at(7)).holds(clock.at(8)), "the deadline itself is too late");
    assert_eq!(candidate.leadership(clock.at(8)), Leadership::Standby);
}

#[test]
fn a_leader_stops_before_anybody_else_can_take_over() {
    let clock = clock();
    let (mut leader, mut other) = (candidate("a"), candidate("b"));
    leader.observe(clock.at(0), Some(record("", "1")));
    leader.held(clock.at(0), record("a", "2"));
    // The other one cannot have seen the write before it was started.
    for second in 0..=60 {
        let now = clock.at(second);
        let takes = !matches!(other.observe(now, Some(record("a", "2"))), Action::Wait { .. });
        let leads = leader.leadership(now).is_leader();
        assert!(!(takes && leads), "two leaders after {second} s");
        assert_eq!(takes, second >= 10, "after {second} s");
    }
}

#[test]
fn a_leader_renews_without_reading_until_it_is_in_doubt() {
    let clock = clock();
    let mut candidate = candidate("a");
    candidate.observe(clock.at(0), Some(record("", "1")));
    assert_eq!(candidate.known(), None, "a candidate reads first");
    candidate.held(clock.at(0), record("a", "2"));
    assert_eq!(candidate.known(), Some(renew("2")));
    candidate.doubt();
    assert_eq!(candidate.known(), None, "after a failed write it reads first");
    assert!(candidate.leadership(clock.at(1)).is_leader(), "doubt alone ends nothing");
    assert_eq!(candidate.observe(clock.at(1), Some(record("a", "3"))), renew("3"));
    candidate.held(clock.at(1), record("a", "4"));
    assert_eq!(candidate.known(), Some(renew("4")));
}

#[test]
fn a_leader_that_sees_another_holder_or_no_lease_leads_no_more_at_once() {
    let clock = clock();
    for seen in [Some(record("b", "9")), Some(record("", "9")), None] {
        let mut candidate = candidate("a");
        candidate.observe(clock.at(0), Some(record("", "1")));
        candidate.held(clock.at(0), record("a", "2"));
        candidate.observe(clock.at(1), seen.clone());
        assert_eq!(candidate.leadership(clock.at(1)), Leadership::Standby, "{seen:?}");
    }
}

/// The API server came back with the data of a backup, in which the same process leads, or nobody, or nothing is.
#[test]
fn a_leader_whose_lease_went_back_in_time_begins_a_new_term() {
    let clock = clock();
    for (seen, then) in
        [(Some(record("a", "99")), renew("99")), (Some(record("", "99")), take("99")), (None, Action::Create)]
    {
        let mut candidate = candidate("a");
        candidate.held(clock.at(0), record("a", "100"));
        let pause = Action::Wait { time: candidate.retry() / 4 };
        assert_eq!(candidate.observe(clock.at(1), seen.clone()), pause, "{seen:?}");
        assert_eq!(candidate.leadership(clock.at(1)), Leadership::Standby, "{seen:?}");
        assert_eq!(candidate.known(), None, "{seen:?}");
        assert_eq!(candidate.observe(clock.at(2), seen.clone()), then, "{seen:?}");
    }
    let mut candidate = candidate("a");
    candidate.held(clock.at(0), record("a", "99"));
    assert_eq!(candidate.observe(clock.at(1), Some(record("a", "100"))), renew("100"), "our own later write");
    assert!(candidate.leadership(clock.at(1)).is_leader());
}

#[test]
fn a_call_of_a_leader_ends_with_its_leadership() {
    let clock = clock();
    let mut candidate = candidate("a");
    assert_eq!(candidate.patience(clock.at(0), 5 * SECOND), 5 * SECOND);
    candidate.held(clock.at(0), record("a", "2"));
    assert_eq!(candidate.patience(clock.at(2), 5 * SECOND), 5 * SECOND);
    assert_eq!(candidate.patience(clock.at(5), 5 * SECOND), 2 * SECOND);
    assert_eq!(candidate.patience(clock.at(30), 5 * SECOND), 5 * SECOND);
}

#[test]
fn after_a_failure_a_leader_hurries_and_whoever_was_outrun_looks_soon() {
    let clock = clock();
    let mut candidate = candidate("a");
    let retry = candidate.retry();
    assert_eq!(candidate.retry_after_failure(clock.at(0), false), (retry, retry + retry / 5));
    candidate.held(clock.at(0), record("a", "2"));
    let half = retry / 2;
    assert_eq!(candidate.retry_after_failure(clock.at(1), false), (half, half + half / 5));
    assert_eq!(candidate.retry_after_failure(clock.at(1), true), (retry / 4, retry / 4));
    assert_eq!(
        candidate.retry_after_failure(clock.at(60), false),
        (retry, retry + retry / 5),
        "its time has run out"
    );
}

#[test]
fn the_duration_of_the_holder_counts_not_ours() {
    let clock = clock();
    let mut candidate = candidate("a");
    let released = Record { duration: SECOND, ..record("b", "1") };
    assert_eq!(candidate.observe(clock.at(0), Some(released.clone())), Action::Wait { time: SECOND });
    assert_eq!(candidate.observe(clock.at(1), Some(released)), take("1"));
}

#[test]
fn two_processes_of_one_pod_have_different_identities() {
    let (first, second) =
        (identity(Some("controller-0"), "controller"), identity(Some("controller-0"), "controller"));
    assert!(first.starts_with("controller-0_") && first != second);
    assert!(identity(None, "controller").starts_with("controller_"));
}
