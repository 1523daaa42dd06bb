//! A session that goes from one process to the next: the other side notices nothing.

use std::time::Duration;

use bfd_proto::*;

use crate::world::{A, B, World, config, millis};

const SOON: Duration = Duration::from_secs(5);

/// The end at A becomes that of another process, which was busy for so long before it went on.
fn hand_over(world: &mut World, pause: Duration) {
    let images = world.ends[0].endpoint.images(world.now);
    let [image] = images.as_slice() else { panic!("{images:?}") };
    let mut next = Endpoint::new(0xFEED);
    world.pause(0, pause);
    next.adopt(world.now, image).unwrap();
    world.ends[0].endpoint = next;
    world.ends[0].sent.clear();
    let wanted = world.ends[0].config;
    world.edit(0, |config| *config = wanted);
}

#[test]
fn the_other_side_notices_nothing_of_a_hand_over_at_any_moment() {
    for seed in 0..200 {
        let mut world = World::usual(seed);
        world.run_until(SOON, |world| world.both_are(State::Up));
        world.run(millis(1000 + 7 * seed));
        let number = world.ends[0].sent[0].1.my_discriminator;
        let before = world.ends[0].status();
        // Less than what is left of three packets, at the worst moment.
        let pause = millis(seed % 300);
        hand_over(&mut world, pause);
        assert_eq!(world.ends[0].sent.len(), 1, "its first word is said at once");
        world.run(Duration::from_secs(30));
        let [ours, theirs] = &world.ends;
        assert!(world.both_are(State::Up) && ours.downs().is_empty() && theirs.downs().is_empty());
        assert_eq!((theirs.status().ups, theirs.status().downs), (1, 0), "seed {seed}");
        assert!(ours.sent.iter().all(|(_, packet)| packet.my_discriminator == number));
        assert!(ours.sent.iter().all(|(_, packet)| packet.state == State::Up && !packet.poll));
        let after = ours.status();
        assert_eq!((after.ups, after.since), (1, before.since + pause));
        assert_eq!(after.detection_time, Some(millis(900)));
        assert!(after.received > before.received && after.sent > before.sent);
    }
}

#[test]
fn a_path_that_fails_in_the_middle_of_a_hand_over_is_noticed_by_the_next_process() {
    let mut world = World::usual(3);
    world.run_until(SOON, |world| world.both_are(State::Up));
    world.run(millis(2000));
    world.lose(|_, _| true);
    let cut = world.now;
    hand_over(&mut world, millis(100));
    world.run(millis(1100));
    let (at, reason) = world.ends[0].downs()[0];
    assert!(at - cut <= millis(1001), "{:?}", at - cut);
    assert_eq!(reason, DownReason::TimeExpired { after: millis(900) });
    assert_eq!(world.ends[0].status().downs, 1);
}

#[test]
fn another_configuration_of_the_next_process_is_agreed_on_by_a_poll() {
    let mut world = World::usual(5);
    world.run_until(SOON, |world| world.both_are(State::Up));
    world.run(millis(2000));
    world.ends[0].config.desired_min_tx = Interval::from_millis(1000);
    world.ends[0].config.required_min_rx = Interval::from_millis(1000);
    hand_over(&mut world, millis(10));
    assert!(world.ends[0].status().polling, "it asks before it sends less often");
    world.run(Duration::from_secs(10));
    assert_eq!(world.ends[1].status().detection_time, Some(millis(3000)));
    assert!(world.ends.iter().all(|end| end.downs().is_empty()) && world.both_are(State::Up));
}

#[test]
fn a_poll_that_is_under_way_is_asked_to_its_end() {
    for pause in [0, 1, 2, 50] {
        let mut world = World::usual(6);
        world.run_until(SOON, |world| world.both_are(State::Up));
        world.run(millis(2000));
        world.edit(0, |config| config.desired_min_tx = Interval::from_millis(600));
        assert!(world.ends[0].status().polling);
        hand_over(&mut world, millis(pause));
        world.run(Duration::from_secs(10));
        let status = world.ends[0].status();
        assert_eq!((status.polling, status.transmit_interval), (false, Some(millis(600))), "{pause} ms");
        assert!(world.ends.iter().all(|end| end.downs().is_empty()));
    }
}

#[test]
fn a_session_that_the_next_process_does_not_want_is_switched_off_and_no_failure() {
    let mut world = World::usual(7);
    world.run_until(SOON, |world| world.both_are(State::Up));
    let images = world.ends[0].endpoint.images(world.now);
    let mut next = Endpoint::new(1);
    next.adopt(world.now, &images[0]).unwrap();
    world.ends[0].endpoint = next;
    world.remove(0);
    world.run(millis(500));
    assert_eq!(world.ends[1].downs()[0].1, DownReason::PeerAdminDown);
    assert_eq!(world.ends[0].endpoint.images(world.now), [], "and whoever comes next does not get it");
}

#[test]
fn a_session_that_was_not_up_comes_up_in_the_next_process() {
    let mut world = World::usual(8);
    world.lose(|_, _| true);
    world.run(millis(3000));
    hand_over(&mut world, millis(10));
    world.lose(|_, _| false);
    world.run_until(SOON, |world| world.both_are(State::Up));
}

#[test]
fn what_contradicts_itself_is_not_taken_and_changes_nothing() {
    let mut world = World::usual(9);
    world.run_until(SOON, |world| world.both_are(State::Up));
    let image = world.ends[0].endpoint.images(world.now)[0];
    let now = world.now;
    let mut endpoint = Endpoint::new(2);
    let check = |endpoint: &mut Endpoint, image: SessionImage, expected: &str| {
        let fault = endpoint.adopt(now, &image).unwrap_err();
        assert_eq!(fault.to_string(), expected);
    };
    let contradiction = "what was handed over contradicts itself";
    check(&mut endpoint, SessionImage { theirs: None, ..image }, contradiction);
    let mut off = image;
    off.ours[1] &= 0x3F;
    check(&mut endpoint, off, contradiction);
    let mut garbage = image;
    garbage.ours[0] = 0;
    check(&mut endpoint, garbage, "a packet that was handed over is none: version 0 instead of 1");
    let theirs = Heard { packet: [0; PACKET_LEN], ago: millis(1) };
    check(
        &mut endpoint,
        SessionImage { theirs: Some(theirs), ..image },
        "a packet that was handed over is none: version 0 instead of 1",
    );
    assert_eq!(endpoint.sessions().count(), 0);
    endpoint.adopt(now, &image).unwrap();
    check(&mut endpoint, image, "there is a session with this router already");
    let elsewhere = SessionImage { path: config(B, A).path, ..image };
    let number = world.ends[0].sent[0].1.my_discriminator;
    check(&mut endpoint, elsewhere, &format!("a session here has discriminator {number} already"));
    assert_eq!((endpoint.sessions().count(), endpoint.poll_timeout()), (1, Some(now)));
}
