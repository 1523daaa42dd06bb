//! Changes of parameters: told at once, in force when that is safe, never a flap (RFC 5880 §6.8.3).

use std::time::Duration;

use bfd_proto::*;

use crate::world::{World, millis};

const BOTH: Duration = Duration::from_secs(5);

fn up(seed: u64) -> World {
    let mut world = World::usual(seed);
    world.run_until(BOTH, |world| world.both_are(State::Up));
    world.run(millis(2000));
    assert!(world.ends.iter().all(|end| !end.status().polling), "the poll of coming up is over");
    world
}

#[test]
fn a_slower_pace_is_agreed_on_before_it_is_used() {
    let mut world = up(1);
    world.edit(0, |config| config.desired_min_tx = Interval::from_millis(2000));
    assert_eq!(world.ends[0].status().transmit_interval, Some(millis(300)), "not before the answer");
    world.run_until(BOTH, |world| !world.ends[0].status().polling);
    assert_eq!(world.ends[0].status().transmit_interval, Some(millis(2000)));
    assert_eq!(world.ends[1].status().detection_time, Some(millis(6000)));
    world.run(Duration::from_secs(60));
    assert!(world.both_are(State::Up) && world.ends.iter().all(|end| end.downs().is_empty()));
}

#[test]
fn a_shorter_patience_is_agreed_on_before_it_is_used() {
    let mut world = up(2);
    world.edit(1, |config| config.desired_min_tx = Interval::from_millis(50));
    world.run(BOTH);
    world.edit(0, |config| config.required_min_rx = Interval::from_millis(50));
    assert_eq!(world.ends[0].status().detection_time, Some(millis(900)), "not before the answer");
    world.run_until(BOTH, |world| !world.ends[0].status().polling);
    assert_eq!(world.ends[0].status().detection_time, Some(millis(150)));
    world.run(Duration::from_secs(60));
    assert!(world.both_are(State::Up) && world.ends.iter().all(|end| end.downs().is_empty()));
}

#[test]
fn a_faster_pace_and_a_longer_patience_hold_at_once() {
    let mut world = up(3);
    world.edit(0, |config| config.required_min_rx = Interval::from_millis(1000));
    assert_eq!(world.ends[0].status().detection_time, Some(millis(3000)));
    let mut world = up(3);
    world.edit(1, |config| config.required_min_rx = Interval::from_millis(10));
    world.run(BOTH);
    world.edit(0, |config| config.desired_min_tx = Interval::from_millis(100));
    assert_eq!(world.ends[0].status().transmit_interval, Some(millis(100)));
    assert!(world.ends[0].status().polling);
}

#[test]
fn a_multiplier_needs_no_poll() {
    let mut world = up(4);
    world.edit(0, |config| config.detect_multiplier = 5.try_into().unwrap());
    assert!(!world.ends[0].status().polling);
    world.run(millis(700));
    assert_eq!(world.ends[1].status().detection_time, Some(millis(1500)));
}

#[test]
fn a_second_change_during_a_poll_waits_for_an_answer_of_its_own() {
    let mut world = up(5);
    world.edit(0, |config| config.desired_min_tx = Interval::from_millis(600));
    world.edit(0, |config| config.desired_min_tx = Interval::from_millis(5000));
    let answers = |world: &World| world.ends[1].sent.iter().filter(|(_, packet)| packet.answers_poll).count();
    let before = answers(&world);
    world.run_until(BOTH, |world| !world.ends[0].status().polling);
    assert_eq!(answers(&world) - before, 2);
    assert_eq!(world.ends[0].status().transmit_interval, Some(millis(5000)));
}

#[test]
fn no_edit_at_any_moment_and_no_lost_packet_makes_a_session_flap() {
    for seed in 0..200_u64 {
        let mut world = up(seed);
        // One packet in ten is lost, never two of one end in a row.
        let mut last = [0_u64; 2];
        world.lose(move |end, count| {
            let lost = (count ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) % 10 == 0 && count - last[end] > 8;
            if lost {
                last[end] = count;
            }
            lost
        });
        for step in 0..20_u64 {
            let draw = (seed * 31 + step).wrapping_mul(0xD134_2543_DE82_EF95) >> 33;
            let interval = Interval::from_millis(u32::try_from(50 + draw % 2000).unwrap());
            world.edit(usize::try_from(draw % 2).unwrap(), |config| {
                if draw % 3 == 0 {
                    config.desired_min_tx = interval
                } else {
                    config.required_min_rx = interval
                }
            });
            world.run(millis(draw % 1500));
        }
        world.run(Duration::from_secs(30));
        assert!(world.ends.iter().all(|end| end.downs().is_empty()), "seed {seed}");
        assert!(world.ends.iter().all(|end| !end.status().polling), "seed {seed}");
    }
}
