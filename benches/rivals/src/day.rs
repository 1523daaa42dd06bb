//! A thousand sessions on a virtual clock: routers that answer every KEEPALIVE with one, and a table that changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bgp_proto::{
    Asn, ConnectionId, Event, Families, HoldTime, PathAttrs, PeerConfig, PeerKey, Prefix, RemoteAs, RouterId,
    Speaker, State,
};
use bytes::BytesMut;
use yardstick::{memory, router};

use crate::goal::Goal;
use crate::markdown::figure;

const SESSIONS: u32 = 1_000;
const DAY: Duration = Duration::from_secs(86_400);
/// How often the driver looks: late for each deadline, early enough for all.
const STEP: Duration = Duration::from_secs(5);
/// How often one route comes or goes, at all peers.
const CHANGE: Duration = Duration::from_secs(60);
/// Routes of the table.
const ROUTES: usize = 100;
/// What a simulated day may take.
const TARGET: Duration = Duration::from_secs(60);

/// Prints what happened; returns what became of the goal.
pub(crate) fn run() -> Goal {
    let start = Instant::now();
    let mut now = start;
    let mut speaker = established(now);
    let tables = [memory::routes(ROUTES), more()];
    let (mut out, mut keepalives, mut updates) = (BytesMut::new(), 0_u64, 0_u64);
    let mut versions = tables.iter().cycle();
    let mut change_at = now;
    while now < start + DAY {
        now += STEP;
        speaker.handle_timeout(now);
        if now >= change_at {
            change_at += CHANGE;
            let table = versions.next().expect("they come again and again");
            (0..SESSIONS).for_each(|number| speaker.set_routes(PeerKey(number), Arc::clone(table)));
        }
        for number in 0..SESSIONS {
            let connection = ConnectionId(number.into());
            out.clear();
            while speaker.poll_transmit(now, connection, &mut out) {}
            for message in cut(&out) {
                match message.get(18) {
                    Some(4) => {
                        keepalives += 1;
                        let answer = router::keepalive();
                        assert_eq!(speaker.handle_input(now, connection, &answer), answer.len());
                    }
                    Some(2) => updates += 1,
                    other => panic!("message type {other:?} is not due"),
                }
            }
        }
        while speaker.poll_event().is_some() {}
    }
    let up = speaker
        .sessions()
        .filter(|status| status.state == State::Established && status.established_count == 1);
    assert_eq!(up.count(), SESSIONS as usize, "every session lasted all day");
    let taken = start.elapsed();
    println!(
        "### {SESSIONS} sessions, one simulated day\n\nHold Time 90 s, {ROUTES} routes each, one of them coming or \
         going at all peers once a minute: {keepalives} KEEPALIVEs and {updates} UPDATEs were sent, {keepalives} \
         KEEPALIVEs read, no session ended. It took {} s*.\n",
        figure(taken.as_secs_f64())
    );
    Goal::new(
        "state machine and table of 1,000 sessions on a virtual clock: one day",
        "seconds (< 60 s)",
        format!("{} s*", figure(taken.as_secs_f64())),
        taken < TARGET,
    )
}

fn established(now: Instant) -> Speaker {
    let router_id = RouterId::try_new([192, 0, 2, 7].into()).expect("not zero");
    let config = |number| PeerConfig {
        hold_time: Some(HoldTime::try_new(90).expect("three seconds or more")),
        families: Families::IPV4,
        ..PeerConfig::new(PeerKey(number), Asn(memory::NODE_ASN), RemoteAs::External, router_id)
    };
    let peers: Vec<PeerConfig> = (0..SESSIONS).map(config).collect();
    let mut speaker = Speaker::new(11, false);
    speaker.set_peers(now, &peers);
    let hello = [router::open_with(90), router::keepalive()].concat();
    let (local, remote) = ([192, 0, 2, 7].into(), [192, 0, 2, 1].into());
    let mut out = BytesMut::new();
    for number in 0..SESSIONS {
        let (peer, connection) = (PeerKey(number), ConnectionId(number.into()));
        speaker.handle_event(now, Event::Connected { peer, connection, local, remote });
        assert_eq!(speaker.handle_input(now, connection, &hello), hello.len());
        while speaker.poll_transmit(now, connection, &mut out) {}
    }
    while speaker.poll_event().is_some() {}
    speaker
}

fn more() -> Arc<bgp_proto::RouteSet> {
    let route = Prefix::host([172, 16, 0, 1].into());
    Arc::new(memory::routes(ROUTES).with(route, Arc::new(PathAttrs::default())))
}

fn cut(mut octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_be_bytes(*octets.get(16..)?.first_chunk()?));
        let (message, behind) = octets.split_at_checked(length)?;
        octets = behind;
        Some(message)
    })
}
