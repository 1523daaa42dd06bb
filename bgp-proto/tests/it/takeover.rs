//! One process goes on where another stopped: the peer notices nothing, and is told what changed and nothing else.

use std::sync::Arc;
use std::time::Duration;

use bgp_proto::wire::header::{EXTENDED_MAX_LEN, Framer, MessageType};
use bgp_proto::*;
use bytes::BytesMut;
use proptest::prelude::*;

use crate::pair::{KEY, Pair, attrs, config, prefix, routes};

const SECOND: Duration = Duration::from_secs(1);

fn ours() -> PeerConfig {
    config(64_500, 65_530, 11)
}

/// A new speaker in the place of the first, on the same connection. The octets that were read and not understood and
/// those on their way stay where they are: they are the driver's.
fn take_over(
    pair: &mut Pair,
    config: &PeerConfig,
    wanted: Option<Arc<RouteSet>>,
) -> Result<SessionImage, AdoptFault> {
    let connection = pair.connection(0);
    let image = pair.ends[0].image(pair.now, connection).unwrap();
    let mut next = Speaker::new(99, true);
    next.set_peers(pair.now, std::slice::from_ref(config));
    if let Some(wanted) = wanted {
        next.set_routes(KEY, wanted);
    }
    next.adopt(pair.now, KEY, connection, &image)?;
    pair.ends[0] = next;
    Ok(image)
}

#[test]
fn a_session_that_is_taken_over_goes_on_and_repeats_nothing() {
    let mut pair = Pair::up();
    let table = routes(0..5_000);
    pair.set_routes(0, Arc::clone(&table));
    pair.run(61 * SECOND);
    let before = pair.status(0);
    // A new process builds its own table: equal, and nowhere the same allocation.
    take_over(&mut pair, &ours(), Some(routes(0..5_000))).unwrap();
    let after = pair.status(0);
    assert_eq!(
        (after.state, after.since, after.prefixes_sent, after.established_count, after.hold),
        (State::Established, before.since, 5_000, 1, before.hold)
    );
    assert_eq!((after.remote_asn, after.remote_router_id), (before.remote_asn, before.remote_router_id));
    pair.run(300 * SECOND);
    assert_eq!(pair.log, [["up"], ["up"]], "nobody noticed, and nothing was dialled");
    assert_eq!(pair.status(0).counters.sent.updates, before.counters.sent.updates);
    assert!(pair.status(0).converged);
    assert_eq!((pair.tables[1].len(), pair.ends_of_rib[1]), (5_000, 2));
}

#[test]
fn only_the_difference_is_told() {
    let mut pair = Pair::up();
    pair.set_routes(0, routes(0..1_000));
    pair.run(SECOND);
    let changed = Arc::new(routes(0..1_000).with(prefix(3), attrs(9)).without(&prefix(4)));
    let image = take_over(&mut pair, &ours(), Some(changed)).unwrap();
    pair.run(SECOND);
    assert_eq!(pair.status(0).counters.sent.updates - image.counters.sent.updates, 2);
    assert_eq!((pair.tables[1].get(&prefix(3)), pair.tables[1].get(&prefix(4))), (Some(&9), None));
}

#[test]
fn a_speaker_that_does_not_know_yet_what_it_wants_takes_over_in_silence() {
    let mut pair = Pair::up();
    pair.set_routes(0, routes(0..100));
    pair.run(SECOND);
    take_over(&mut pair, &ours(), None).unwrap();
    pair.run(60 * SECOND);
    assert_eq!((pair.tables[1].len(), pair.log[1].len()), (100, 1));
    pair.set_routes(0, routes(50..150));
    pair.run(SECOND);
    assert_eq!(pair.tables[1].len(), 100);
    assert_eq!((pair.tables[1].get(&prefix(149)), pair.tables[1].get(&prefix(49))), (Some(&0), None));
    assert_eq!(pair.ends_of_rib[1], 2, "both families, once");
}

#[test]
fn end_of_rib_that_was_never_released_is_said_by_the_successor() {
    let mut pair = Pair::up();
    pair.run(SECOND);
    assert_eq!(pair.ends_of_rib[1], 0);
    take_over(&mut pair, &ours(), Some(routes(0..3))).unwrap();
    pair.run(SECOND);
    assert_eq!((pair.tables[1].len(), pair.ends_of_rib[1]), (3, 2));
}

#[test]
fn timers_go_on_and_do_not_start_anew() {
    let mut pair = Pair::up();
    pair.set_routes(0, routes(0..3));
    pair.run(SECOND);
    pair.cut();
    pair.listens = [false; 2];
    pair.run(12 * SECOND);
    take_over(&mut pair, &ours(), Some(routes(0..3))).unwrap();
    pair.run(3 * SECOND);
    assert_eq!(pair.log[0][1], "down: hold timer expired: nothing heard for 15 s");
}

/// What the peer is told when the session does not fit.
fn refusal(change: impl FnOnce(PeerConfig) -> PeerConfig) -> (AdoptFault, [u8; 2]) {
    let mut pair = Pair::up();
    pair.set_routes(0, routes(0..3));
    pair.run(SECOND);
    let fault = take_over(&mut pair, &change(ours()), Some(routes(0..3))).unwrap_err();
    let mut out = BytesMut::new();
    fault.last_words(&mut out);
    let frame = Framer::new(EXTENDED_MAX_LEN).next(&out).unwrap().unwrap();
    assert_eq!((frame.kind, frame.octets.len()), (MessageType::Notification, out.len()));
    let said = [frame.body[0], frame.body[1]];
    (fault, said)
}

#[test]
fn a_session_of_another_configuration_is_not_taken_over() {
    let hold = Some(HoldTime::try_new(30).unwrap());
    let elsewhere = Some("2001:db8::2".parse().unwrap());
    let changed = (AdoptFault::ConfigurationChanged, [6, 6]);
    assert_eq!(refusal(|config| PeerConfig { hold_time: hold, ..config }), changed);
    assert_eq!(refusal(|config| PeerConfig { local_asn: Asn(64_501), ..config }), changed);
    assert_eq!(refusal(|config| PeerConfig { families: Families::IPV4, ..config }), changed);
    assert_eq!(refusal(|config| PeerConfig { next_hop_v6: elsewhere, ..config }), changed);
    assert_eq!(refusal(|config| PeerConfig { graceful_restart: Some(30 * SECOND), ..config }), changed);
    assert_eq!(refusal(|config| PeerConfig { key: PeerKey(8), ..config }), (AdoptFault::UnknownPeer, [6, 3]));
    let (fault, said) = refusal(|config| PeerConfig { remote: RemoteAs::Exactly(Asn(1)), ..config });
    assert_eq!(fault.to_string(), "router is in AS 65530, configured is AS 1");
    assert_eq!(said, [6, 6]);
}

#[test]
fn what_no_message_speaks_of_does_not_stand_in_the_way() {
    let mut pair = Pair::up();
    pair.set_routes(0, routes(0..3));
    pair.run(SECOND);
    let changed = PeerConfig { connect_retry_max: SECOND, keepalive: Some(SECOND), ..ours() };
    take_over(&mut pair, &changed, Some(routes(0..3))).unwrap();
    pair.run(60 * SECOND);
    assert_eq!(pair.log[1], ["up"]);
}

#[test]
fn a_peer_with_a_connection_and_a_speaker_that_ends_take_nothing_over() {
    let mut pair = Pair::up();
    let connection = pair.connection(0);
    let image = pair.ends[0].image(pair.now, connection).unwrap();
    let now = pair.now;
    assert_eq!(pair.ends[0].adopt(now, KEY, ConnectionId(77), &image), Err(AdoptFault::Busy));
    pair.ends[0].stop(now, Stop::Restart);
    assert!(pair.ends[0].image(now, connection).is_none());
    assert_eq!(pair.ends[0].adopt(now, KEY, ConnectionId(77), &image), Err(AdoptFault::Busy));
}

#[test]
fn octets_that_are_no_open_are_refused_and_do_not_panic() {
    let pair = Pair::up();
    let image = pair.ends[0].image(pair.now, pair.connection(0)).unwrap();
    let adopt = |their_open: Vec<u8>| {
        let mut next = Speaker::new(1, true);
        next.set_peers(pair.now, &[ours()]);
        next.adopt(pair.now, KEY, ConnectionId(5), &SessionImage { their_open, ..image.clone() })
    };
    assert_eq!(adopt(image.their_open.clone()), Ok(()));
    for cut in 0..image.their_open.len() {
        assert_eq!(adopt(image.their_open[..cut].to_vec()), Err(AdoptFault::Unreadable));
    }
    for at in 0..image.their_open.len() {
        let mut damaged = image.their_open.clone();
        damaged[at] ^= 0xFF;
        drop(adopt(damaged));
    }
}

/// A table out of a small number, so that successive tables overlap.
fn table(seed: u32) -> Arc<RouteSet> {
    let (from, med) = (seed % 7 * 400, seed % 3);
    Arc::new(
        (from..from + 900)
            .map(|number| (prefix(number), attrs(if number % 5 == 0 { med } else { 0 })))
            .collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// At any moment, in the middle of messages and of tables, any number of times: the peer's table becomes the
    /// one that is wanted, over one session.
    #[test]
    fn a_takeover_at_any_moment_leads_to_the_wanted_table(
        steps in proptest::collection::vec((0..40_u32, 0..12_usize, any::<bool>(), 0..9_u64), 1..14),
    ) {
        let mut pair = Pair::up();
        let mut wanted = table(0);
        pair.set_routes(0, Arc::clone(&wanted));
        for (seed, turns, reads, seconds) in steps {
            pair.reads[1] = reads;
            pair.nudge(turns);
            wanted = table(seed);
            if seed % 2 == 0 {
                pair.set_routes(0, table(seed + 1));
                pair.nudge(turns);
            }
            take_over(&mut pair, &ours(), Some(Arc::clone(&wanted))).unwrap();
            pair.reads[1] = true;
            pair.run(Duration::from_secs(seconds));
        }
        pair.run(5 * SECOND);
        let expected: Vec<_> = wanted.iter().map(|(prefix, attrs)| (prefix, attrs.med.unwrap())).collect();
        let found: Vec<_> = pair.tables[1].iter().map(|(prefix, med)| (*prefix, *med)).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(&pair.log[1], &["up"]);
        prop_assert_eq!(usize::try_from(pair.status(0).prefixes_sent).unwrap(), wanted.len());
        prop_assert!(pair.status(0).converged);
    }
}
