//! What two speakers make of each other.

use std::sync::Arc;
use std::time::Duration;

use bgp_proto::*;
use proptest::prelude::*;

use crate::pair::{KEY, Pair, attrs, config, prefix, routes};

const SECOND: Duration = Duration::from_secs(1);

fn passive(config: PeerConfig) -> PeerConfig {
    PeerConfig { passive: true, ..config }
}

#[test]
fn a_session_comes_up_and_carries_routes_both_ways() {
    let mut pair = Pair::up();
    pair.set_routes(0, routes(0..5_000));
    let v6 = Prefix::host("2001:db8::53".parse().unwrap());
    pair.set_routes(1, Arc::new(RouteSet::new().with(v6, attrs(3))));
    pair.run(SECOND);
    assert_eq!(pair.tables[1].len(), 5_000);
    assert_eq!(pair.tables[0].get(&v6), Some(&3));
    assert_eq!(pair.ends_of_rib, [2, 2]);
    let status = pair.status(0);
    assert_eq!((status.prefixes_sent, status.converged, status.established_count), (5_000, true, 1));
    assert_eq!((status.hold, status.keepalive), (Some(HoldTime::DEFAULT), Some(5 * SECOND)));
    assert_eq!((status.remote_asn, status.families), (Some(Asn(65_530)), Families::BOTH));
    assert_eq!(status.end_of_rib_received, Families::BOTH);
}

#[test]
fn a_session_stays_up_for_a_day() {
    let mut pair = Pair::up();
    pair.run(24 * 3600 * SECOND);
    assert_eq!(pair.log, [["up"], ["up"]]);
    let sent = pair.status(0).counters.sent.keepalives;
    assert!((17_280..=23_100).contains(&sent), "one every 3.75 to 5 s: {sent}");
}

#[test]
fn a_changed_table_says_only_what_changed() {
    let mut pair = Pair::up();
    let first = routes(0..1_000);
    pair.set_routes(0, Arc::clone(&first));
    pair.run(SECOND);
    let before = pair.status(0).counters.sent.updates;
    pair.set_routes(0, Arc::new(first.with(prefix(3), attrs(9)).without(&prefix(4))));
    pair.run(SECOND);
    assert_eq!(pair.status(0).counters.sent.updates - before, 2);
    assert_eq!((pair.tables[1].get(&prefix(3)), pair.tables[1].get(&prefix(4))), (Some(&9), None));
}

#[test]
fn silence_for_longer_than_the_hold_time_ends_the_session() {
    let mut pair = Pair::up();
    pair.cut();
    pair.run(13 * SECOND);
    assert_eq!(pair.states(), [State::Established; 2]);
    pair.listens = [false; 2];
    pair.run(2 * SECOND);
    assert_eq!(pair.log[0][..2], ["up", "down: hold timer expired: nothing heard for 15 s"]);
    assert_eq!(pair.log[1][..2], ["up", "down: hold timer expired: nothing heard for 15 s"]);
}

#[test]
fn hold_time_zero_bears_any_silence() {
    let off = |config: PeerConfig| PeerConfig { hold_time: Some(HoldTime::OFF), ..config };
    let mut pair = Pair::new([&off(config(64_500, 65_530, 11)), &passive(config(65_530, 64_500, 1))]);
    pair.run(SECOND);
    let before = pair.status(0).counters.sent.keepalives;
    pair.cut();
    pair.run(100_000 * SECOND);
    assert_eq!(pair.states(), [State::Established; 2]);
    assert_eq!(pair.status(0).counters.sent.keepalives, before);
}

#[test]
fn the_smaller_hold_time_wins_and_bounds_the_keepalive_interval() {
    let ours = PeerConfig {
        hold_time: Some(HoldTime::try_new(180).unwrap()),
        keepalive: Some(60 * SECOND),
        ..config(64_500, 65_530, 11)
    };
    let theirs = PeerConfig { hold_time: Some(HoldTime::try_new(9).unwrap()), ..config(65_530, 64_500, 1) };
    let mut pair = Pair::new([&ours, &passive(theirs)]);
    pair.run(SECOND);
    assert_eq!((pair.status(0).hold.unwrap().seconds(), pair.status(0).keepalive), (9, Some(3 * SECOND)));
}

#[test]
fn ibgp_comes_up_between_speakers_of_one_as() {
    let internal = |id| PeerConfig { remote: RemoteAs::Internal, ..config(64_500, 0, id) };
    let mut pair = Pair::new([&internal(11), &passive(internal(1))]);
    pair.set_routes(0, routes(0..3));
    pair.run(SECOND);
    assert_eq!(pair.tables[1].len(), 3);
}

#[test]
fn a_router_of_another_as_is_refused_with_both_numbers() {
    let mut pair = Pair::new([&config(64_500, 65_531, 11), &passive(config(65_530, 64_500, 1))]);
    pair.run(SECOND / 2);
    assert_eq!(pair.log[0], ["down: router is in AS 65530, configured is AS 65531"]);
    assert_eq!(pair.log[1], ["down: router sent NOTIFICATION: OPEN Message Error / Bad Peer AS"]);
}

#[test]
fn equal_router_ids_are_refused_inside_one_as_only() {
    let internal = PeerConfig { remote: RemoteAs::Internal, ..config(64_500, 0, 11) };
    let mut pair = Pair::new([&internal, &passive(internal.clone())]);
    pair.run(SECOND / 2);
    let fault = "down: router has our own router ID 10.0.0.11 in our own AS: give one of the two another ID";
    assert_eq!(pair.log, [[fault], [fault]]);
    let mut pair = Pair::new([&config(64_500, 65_530, 11), &passive(config(65_530, 64_500, 11))]);
    pair.run(SECOND / 2);
    assert_eq!(pair.states(), [State::Established; 2]);
}

#[test]
fn peers_without_a_common_family_say_which_capability_is_missing() {
    let only = |families, config: PeerConfig| PeerConfig { families, ..config };
    let mut pair = Pair::new([
        &only(Families::IPV6, config(64_500, 65_530, 11)),
        &passive(only(Families::IPV4, config(65_530, 64_500, 1))),
    ]);
    pair.run(SECOND / 2);
    assert!(pair.notifications.iter().flatten().all(|code| *code == (2, 7)));
    assert!(pair.log[0][0].contains("none of the configured address families"), "{:?}", pair.log);
}

/// Both dial at the same moment; the connection that `expected` dialled stays.
fn collide(configs: [PeerConfig; 2], expected: usize) {
    let mut pair = Pair::new([&configs[0], &configs[1]]);
    pair.listens = [true; 2];
    pair.delay_dials = true;
    pair.run(Duration::ZERO);
    pair.release_dials();
    pair.run(5 * SECOND);
    assert_eq!(pair.states(), [State::Established; 2], "{:?}", pair.log);
    assert_eq!(pair.dialled_by(), [expected], "one of two connections stays");
    assert_eq!(pair.log, [["up"], ["up"]], "without a flap");
}

#[test]
fn when_both_dial_the_higher_router_id_keeps_its_connection() {
    collide([config(64_500, 65_530, 11), config(65_530, 64_500, 1)], 0);
    collide([config(64_500, 65_530, 1), config(65_530, 64_500, 11)], 1);
}

#[test]
fn when_both_dial_with_equal_router_ids_the_higher_as_keeps_its_connection() {
    collide([config(64_500, 65_530, 1), config(65_530, 64_500, 1)], 1);
    collide([config(65_530, 64_500, 1), config(64_500, 65_530, 1)], 0);
}

#[test]
fn when_both_dial_and_can_restart_gracefully_one_session_stays() {
    let graceful = |config: PeerConfig| PeerConfig { graceful_restart: Some(30 * SECOND), ..config };
    collide([graceful(config(64_500, 65_530, 11)), graceful(config(65_530, 64_500, 1))], 0);
}

#[test]
fn a_router_that_does_not_read_is_given_up_by_the_send_hold_timer() {
    let hold_time = Some(HoldTime::try_new(300).unwrap());
    let ours = PeerConfig { send_hold: Some(30 * SECOND), hold_time, ..config(64_500, 65_530, 11) };
    let mut pair = Pair::new([&ours, &passive(PeerConfig { hold_time, ..config(65_530, 64_500, 1) })]);
    pair.run(SECOND);
    pair.reads[1] = false;
    pair.listens = [false; 2];
    pair.set_routes(0, routes(0..100_000));
    pair.run(29 * SECOND);
    assert_eq!(pair.status(0).state, State::Established);
    assert!(pair.status(0).prefixes_sent < 100_000);
    pair.run(2 * SECOND);
    assert_eq!(pair.log[0][..2], ["up", "down: send hold timer expired: the router took nothing for 30 s"]);
}

#[test]
fn hold_time_zero_turns_the_send_hold_timer_off() {
    let off = PeerConfig { hold_time: Some(HoldTime::OFF), ..config(65_530, 64_500, 1) };
    let mut pair = Pair::new([&config(64_500, 65_530, 11), &passive(off)]);
    pair.run(SECOND);
    pair.reads[1] = false;
    pair.set_routes(0, routes(0..100_000));
    pair.run(10_000 * SECOND);
    assert_eq!(pair.states(), [State::Established; 2]);
}

#[test]
fn a_router_that_reads_slowly_gets_the_newest_table_in_the_end() {
    let mut pair = Pair::up();
    pair.reads[1] = false;
    pair.set_routes(0, routes(0..100_000));
    pair.run(SECOND);
    pair.set_routes(0, routes(90_000..90_010));
    pair.run(SECOND);
    pair.reads[1] = true;
    pair.run(SECOND);
    assert_eq!(
        pair.tables[1].keys().copied().collect::<Vec<_>>(),
        (90_000..90_010).map(prefix).collect::<Vec<_>>()
    );
    assert!(pair.status(0).converged);
}

#[test]
fn an_edit_restarts_only_the_session_that_it_is_about() {
    let mut pair = Pair::up();
    let edited = PeerConfig { hold_time: Some(HoldTime::try_new(30).unwrap()), ..config(64_500, 65_530, 11) };
    pair.ends[0].set_peers(pair.now, &[config(64_500, 65_530, 11)]);
    pair.run(SECOND);
    assert_eq!(pair.log[0], ["up"], "an equal configuration changes nothing");
    pair.ends[0]
        .set_peers(pair.now, &[PeerConfig { connect_retry_max: SECOND, ..config(64_500, 65_530, 11) }]);
    pair.run(SECOND);
    assert_eq!(pair.log[0], ["up"], "nor does a timer that no message speaks of");
    pair.ends[0].set_peers(pair.now, &[edited]);
    pair.run(3 * SECOND);
    assert_eq!(pair.notifications[1], [(6, 6)]);
    assert_eq!(pair.log[0], ["up", "down: the configuration of this peer changed", "up"]);
}

#[test]
fn a_peer_that_is_no_longer_configured_is_told_so() {
    let mut pair = Pair::up();
    pair.ends[0].set_peers(pair.now, &[]);
    pair.run(SECOND);
    assert_eq!(pair.notifications[1], [(6, 3)]);
    assert_eq!(pair.ends[0].session(KEY), None);
    assert_eq!(pair.log[0], ["up", "down: the configuration no longer has this peer"]);
}

#[test]
fn a_planned_restart_says_nothing_and_comes_back_with_the_restart_bit() {
    let graceful = |config: PeerConfig| PeerConfig { graceful_restart: Some(30 * SECOND), ..config };
    let ours = graceful(config(64_500, 65_530, 11));
    let mut pair = Pair::new([&ours, &graceful(passive(config(65_530, 64_500, 1)))]);
    pair.set_routes(0, routes(0..10));
    pair.run(SECOND);
    pair.ends[0].stop(pair.now, Stop::Restart);
    pair.run(SECOND);
    assert_eq!(pair.notifications[1], [], "a Cease would cost the routes");
    assert_eq!(pair.log[1], ["up", "down: the router closed the connection"]);

    let mut reborn = Speaker::new(3, true);
    reborn.set_peers(pair.now, &[ours]);
    pair.ends[0] = reborn;
    pair.ends_of_rib = [0; 2];
    pair.run(SECOND);
    assert_eq!(pair.states(), [State::Established; 2]);
    assert_eq!(pair.ends_of_rib[1], 0, "End-of-RIB waits for the first table");
    pair.set_routes(0, routes(0..10));
    pair.run(SECOND);
    assert_eq!((pair.tables[1].len(), pair.ends_of_rib[1]), (10, 2));
}

#[test]
fn an_empty_first_table_still_releases_end_of_rib() {
    let mut pair = Pair::up();
    assert_eq!(pair.ends_of_rib[1], 0);
    pair.set_routes(0, Arc::default());
    pair.run(SECOND);
    assert_eq!(pair.ends_of_rib[1], 2);
}

#[test]
fn a_removal_withdraws_and_then_resets_hard() {
    let mut pair = Pair::up();
    pair.set_routes(0, routes(0..10_000));
    pair.run(SECOND);
    assert_eq!(pair.tables[1].len(), 10_000);
    pair.ends[0].stop(pair.now, Stop::Remove("node drain".to_owned()));
    pair.run(SECOND);
    assert_eq!((pair.tables[1].len(), &pair.notifications[1][..]), (0, &[(6, 9)][..]));
    let said =
        "down: router sent NOTIFICATION as Hard Reset: Cease / Administrative Shutdown (\"node drain\")";
    assert_eq!(pair.log[1], ["up", said]);
    assert_eq!(pair.status(0).state, State::Idle);
    pair.run(100 * SECOND);
    assert_eq!(pair.log[0], ["up", "down: this speaker was told to stop"], "and nothing is dialled any more");
}

#[test]
fn a_removal_does_not_wait_for_a_router_that_does_not_read() {
    let mut pair = Pair::up();
    pair.reads[1] = false;
    pair.set_routes(0, routes(0..100_000));
    pair.run(SECOND);
    pair.ends[0].stop(pair.now, Stop::Remove(String::new()));
    pair.run(4 * SECOND);
    assert_eq!(pair.status(0).state, State::Idle);
}

#[test]
fn an_administrative_shutdown_says_why() {
    let mut pair = Pair::up();
    pair.ends[0].stop(pair.now, Stop::AdminShutdown("switch upgrade".to_owned()));
    pair.run(SECOND);
    let said = "down: router sent NOTIFICATION: Cease / Administrative Shutdown (\"switch upgrade\")";
    assert_eq!(pair.log[1], ["up", said]);
}

#[test]
fn refused_dials_slow_down_and_recover() {
    let mut pair = Pair::new([&config(64_500, 65_530, 11), &passive(config(65_530, 64_500, 1))]);
    pair.listens = [false; 2];
    pair.run(120 * SECOND);
    let attempts = pair.log[0].len();
    assert!((10..=16).contains(&attempts), "1, 2, 4, 8, 15, 15 … s: {attempts}");
    assert_eq!(pair.status(0).state, State::Active);
    pair.listens[1] = true;
    pair.run(19 * SECOND);
    assert_eq!(pair.states(), [State::Established; 2]);
}

#[test]
fn a_session_that_is_refused_in_open_each_time_slows_down_too() {
    let mut pair = Pair::new([&config(64_500, 65_531, 11), &passive(config(65_530, 64_500, 1))]);
    pair.run(120 * SECOND);
    assert!((9..=16).contains(&pair.log[0].len()), "{}", pair.log[0].len());
}

#[test]
fn the_same_seed_gives_the_same_octets_and_times() {
    let run = || {
        let mut pair = Pair::up();
        pair.set_routes(0, routes(0..1_000));
        pair.run(1_000 * SECOND);
        pair.status(0).counters
    };
    assert_eq!(run(), run());
}

/// What may happen to two speakers.
#[derive(Clone, Debug)]
enum Mishap {
    Table { end: usize, first: u32, count: u32 },
    Cut,
    Stall { end: usize },
    Resume { end: usize },
    Edit { end: usize, hold: u16 },
    Deaf { end: usize },
    Hearing { end: usize },
    Pass { millis: u64 },
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let end = 0..2_usize;
    prop_oneof![
        (end.clone(), 0..3_000_u32, 0..30_000_u32).prop_map(|(end, first, count)| Mishap::Table {
            end,
            first,
            count
        }),
        Just(Mishap::Cut),
        end.clone().prop_map(|end| Mishap::Stall { end }),
        end.clone().prop_map(|end| Mishap::Resume { end }),
        (end.clone(), 3..40_u16).prop_map(|(end, hold)| Mishap::Edit { end, hold }),
        end.clone().prop_map(|end| Mishap::Deaf { end }),
        end.prop_map(|end| Mishap::Hearing { end }),
        (0..20_000_u64).prop_map(|millis| Mishap::Pass { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn after_any_mishaps_both_sides_know_what_they_should(mishaps in proptest::collection::vec(mishap(), 1..25), graceful in any::<bool>()) {
        let restart = graceful.then_some(30 * SECOND);
        let configs = [config(64_500, 65_530, 11), config(65_530, 64_500, 1)].map(|c| PeerConfig { graceful_restart: restart, ..c });
        let mut pair = Pair::new([&configs[0], &configs[1]]);
        pair.listens = [true; 2];
        let mut wanted: [Arc<RouteSet>; 2] = Default::default();
        for end in [0, 1] {
            pair.set_routes(end, Arc::clone(&wanted[end]));
        }
        for mishap in mishaps {
            match mishap {
                Mishap::Table { end, first, count } => {
                    wanted[end] = routes(first..first + count);
                    pair.set_routes(end, Arc::clone(&wanted[end]));
                }
                Mishap::Cut => pair.cut(),
                Mishap::Stall { end } => pair.reads[end] = false,
                Mishap::Resume { end } => pair.reads[end] = true,
                Mishap::Edit { end, hold } => {
                    let edited = PeerConfig { hold_time: Some(HoldTime::try_new(hold).unwrap()), ..configs[end].clone() };
                    pair.ends[end].set_peers(pair.now, &[edited]);
                }
                Mishap::Deaf { end } => pair.listens[end] = false,
                Mishap::Hearing { end } => pair.listens[end] = true,
                Mishap::Pass { millis } => pair.run(Duration::from_millis(millis)),
            }
        }
        (pair.reads, pair.listens) = ([true; 2], [true; 2]);
        pair.run(400 * SECOND);
        prop_assert_eq!(pair.states(), [State::Established; 2], "{:?}", pair.log);
        prop_assert_eq!(pair.dialled_by().len(), 1);
        for end in [0, 1] {
            let known: Vec<Prefix> = pair.tables[1 - end].keys().copied().collect();
            prop_assert_eq!(known, wanted[end].iter().map(|(prefix, _)| prefix).collect::<Vec<_>>());
            prop_assert!(pair.status(end).converged);
        }
    }
}
