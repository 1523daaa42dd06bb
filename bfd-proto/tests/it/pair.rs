//! Two ends on virtual time: coming up, silence, recovery, restarts, ends.

use std::time::Duration;

use bfd_proto::*;

use crate::world::{A, B, World, config, millis};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn both_come_up_within_two_seconds_and_then_hold_the_agreed_pace() {
    for seed in 0..100 {
        let mut world = World::usual(seed);
        let took = world.run_until(SOON, |world| world.both_are(State::Up));
        assert!(took <= millis(2000), "seed {seed}: {took:?}");
        world.run(millis(2000));
        for end in &world.ends {
            let status = end.status();
            assert_eq!(status.detection_time, Some(millis(900)));
            assert_eq!(status.transmit_interval, Some(millis(300)));
            assert_eq!((status.ups, status.downs, status.heard), (1, 0, true));
        }
    }
}

#[test]
fn four_hours_pass_without_a_flap_and_with_jitter_in_its_bounds() {
    let mut world = World::usual(9);
    world.run(Duration::from_secs(5));
    world.ends[0].sent.clear();
    world.run(Duration::from_secs(4 * 60 * 60));
    assert!(world.ends.iter().all(|end| end.downs().is_empty()));
    let times: Vec<_> = world.ends[0].sent.iter().map(|(at, _)| *at).collect();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (millis(225)..=millis(300)).contains(gap)), "{:?}", gaps.iter().max());
}

#[test]
fn a_session_that_is_not_up_sends_at_most_once_in_three_quarters_of_a_second() {
    let mut world = World::usual(4);
    world.lose(|_, _| true);
    world.run(Duration::from_secs(60));
    let sent = world.ends[0].sent.len();
    assert!((60..=81).contains(&sent), "{sent} packets in a minute");
    assert!(
        world.ends[0].sent.iter().all(|(_, packet)| packet.desired_min_tx == Interval::from_millis(1000))
    );
}

#[test]
fn silence_is_noticed_within_the_detection_time_and_recovery_follows_within_two_seconds() {
    for seed in 0..100 {
        let mut world = World::usual(seed);
        world.run_until(SOON, |world| world.both_are(State::Up));
        world.run(millis(2000 + seed));
        world.lose(|_, _| true);
        let cut = world.now;
        world.run(millis(902));
        for end in &world.ends {
            let (at, reason) = end.downs()[0];
            assert!(at - cut >= millis(599) && at - cut <= millis(902), "seed {seed}: {:?}", at - cut);
            assert_eq!(reason, DownReason::TimeExpired { after: millis(900) });
        }
        world.run(Duration::from_secs(10));
        world.lose(|_, _| false);
        let took = world.run_until(SOON, |world| world.both_are(State::Up));
        assert!(took <= millis(2000), "seed {seed}: {took:?}");
    }
}

#[test]
fn loss_of_one_direction_is_told_by_the_end_that_hears_nothing() {
    let mut world = World::usual(6);
    world.run(SOON);
    world.lose(|end, _| end == 1);
    let took =
        world.run_until(SOON, |world| world.both_are(State::Down) || world.ends[1].state() != State::Up);
    assert!(took <= millis(902), "{took:?}");
    let (_, reason) = world.ends[1].downs()[0];
    assert_eq!(reason, DownReason::SignalledDown { diagnostic: Diagnostic::TIME_EXPIRED });
}

#[test]
fn two_lost_packets_are_borne_and_three_are_not() {
    for seed in 0..50 {
        let check = |losses: u64, flaps: bool| {
            let mut world = World::usual(seed);
            world.run(SOON);
            let mut left = losses;
            world.lose(move |end, _| {
                let lost = end == 0 && left > 0;
                left -= u64::from(lost);
                lost
            });
            world.run(SOON);
            assert_eq!(!world.ends[1].downs().is_empty(), flaps, "seed {seed}, {losses} lost");
        };
        check(2, false);
        // Three intervals of at least 225 ms each, and a fourth: longer than 900 ms only with the next one.
        check(4, true);
    }
}

#[test]
fn the_slower_side_sets_the_pace() {
    let slow = SessionConfig { required_min_rx: Interval::from_millis(2000), ..config(B, A) };
    let mut world = World::new(2, config(A, B), slow);
    world.run(Duration::from_secs(10));
    assert_eq!(world.ends[0].status().transmit_interval, Some(millis(2000)));
    assert_eq!(world.ends[1].status().detection_time, Some(millis(6000)));
    assert_eq!(world.ends[0].status().detection_time, Some(millis(900)));
    world.run(Duration::from_secs(600));
    assert!(world.ends.iter().all(|end| end.downs().is_empty()));
}

#[test]
fn a_side_that_restarts_is_met_again_under_its_new_number() {
    let mut world = World::usual(8);
    world.run(SOON);
    world.ends[1].endpoint = Endpoint::new(0xFEED);
    world.edit(1, |_| {});
    let took = world.run_until(SOON, |world| world.both_are(State::Up) && world.ends[0].status().ups == 2);
    assert!(took <= millis(2000), "{took:?}");
    let (_, reason) = world.ends[0].downs()[0];
    assert!(reason.is_failure());
}

/// RFC 5880 §6.3, §6.8.1.
#[test]
fn every_session_of_an_endpoint_has_a_number_of_its_own_that_is_not_zero() {
    let now = std::time::Instant::now();
    let mut endpoint = Endpoint::new(7);
    let sessions: Vec<SessionConfig> =
        (0..1_000_u16).map(|n| config(A, [10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]].into())).collect();
    endpoint.set_sessions(now, &sessions);
    let numbers: std::collections::BTreeSet<[u8; 4]> = std::iter::from_fn(|| endpoint.poll_transmit(now))
        .map(|(_, octets)| octets[4..8].try_into().unwrap())
        .collect();
    assert_eq!((numbers.len(), numbers.contains(&[0; 4])), (1_000, false));
}

#[test]
fn a_session_that_is_removed_says_so_and_is_forgotten() {
    let mut world = World::usual(7);
    world.run(SOON);
    world.remove(0);
    world.run(millis(2));
    assert_eq!(world.ends[1].downs()[0].1, DownReason::PeerAdminDown);
    assert_eq!(world.ends[0].downs()[0].1, DownReason::SwitchedOff);
    world.run(millis(2900));
    assert_eq!(world.ends[0].endpoint.sessions().count(), 0);
    assert_eq!(world.ends[0].endpoint.poll_timeout(), None);
}

#[test]
fn a_session_that_was_never_heard_is_forgotten_at_once() {
    let mut world = World::usual(7);
    world.lose(|_, _| true);
    world.remove(0);
    assert_eq!(world.ends[0].endpoint.sessions().count(), 0);
}

#[test]
fn a_session_that_is_wanted_again_during_its_farewell_comes_back() {
    let mut world = World::usual(7);
    world.run(SOON);
    world.remove(0);
    world.run(millis(100));
    world.edit(0, |_| {});
    world.run_until(SOON, |world| world.both_are(State::Up));
}

#[test]
fn two_passive_ends_never_begin() {
    let passive = |config: SessionConfig| SessionConfig { passive: true, ..config };
    let mut world = World::new(5, passive(config(A, B)), passive(config(B, A)));
    world.run(Duration::from_secs(60));
    assert!(world.both_are(State::Down) && world.ends.iter().all(|end| end.sent.is_empty()));
    let mut world = World::new(5, config(A, B), passive(config(B, A)));
    world.run_until(SOON, |world| world.both_are(State::Up));
}

#[test]
fn equal_seeds_give_equal_packets() {
    let run = |seed| {
        let mut world = World::usual(seed);
        world.run(Duration::from_secs(60));
        let start = world.start;
        world.ends[0].sent.iter().map(|(at, packet)| (*at - start, *packet)).collect::<Vec<_>>()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
