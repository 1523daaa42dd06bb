//! Requirements of the RFCs, one by one, as far as no other file has them. The ledgers in `docs/rfc` say which test
//! stands for which requirement.

use std::time::Duration;

use bgp_proto::wire::as_path::AsWidth;
use bgp_proto::wire::capability::{Capability, GracefulRestart};
use bgp_proto::wire::check::{Class, Context};
use bgp_proto::wire::header::MessageType;
use bgp_proto::*;

use crate::rfc7606::EBGP;
use crate::script::{ROUTE, Scripted, class_of, open, update};
use crate::vectors::{external, message, unhex};

const SECOND: Duration = Duration::from_secs(1);

fn graceful(config: PeerConfig) -> PeerConfig {
    PeerConfig { graceful_restart: Some(30 * SECOND), ..config }
}

/// RFC 4271 §4.4.
#[test]
fn keepalives_are_never_closer_than_a_second() {
    for (hold, keepalive) in [(3, None), (3, Some(SECOND / 10)), (15, Some(SECOND)), (15, Some(SECOND / 3))] {
        let hold_time = Some(HoldTime::try_new(hold).unwrap());
        let config = PeerConfig { hold_time, keepalive, ..external(64_500) };
        let (mut scripted, id) = Scripted::up(config, &[]);
        let mut last = scripted.now;
        for _ in 0..200 {
            let due = scripted.speaker.poll_timeout().unwrap();
            let third = SECOND * u32::from(hold) / 3;
            assert!(due - last >= SECOND && due - last <= third, "{hold} s, {keepalive:?}: {:?}", due - last);
            (scripted.now, last) = (due, due);
            scripted.speaker.handle_timeout(due);
            assert_eq!(scripted.drain(id), [(MessageType::Keepalive, Vec::new())]);
            scripted.input(id, &message("0013 04"));
        }
    }
}

/// RFC 4724 §3.
#[test]
fn of_several_graceful_restart_capabilities_the_last_one_counts() {
    let config = PeerConfig { keep_after_notification: true, ..graceful(external(64_500)) };
    let tuples = unhex("00010180");
    let offer = |notification| {
        let (restarting, restart_time) = (false, 120);
        Capability::GracefulRestart(GracefulRestart {
            restarting,
            notification,
            restart_time,
            tuples: &tuples,
        })
    };
    for (offered, expected) in [([true, false], [6, 2]), ([false, true], [6, 9])] {
        let (mut scripted, id) = Scripted::up(config.clone(), &offered.map(offer));
        scripted.speaker.stop(scripted.now, Stop::AdminShutdown("bye".to_owned()));
        assert_eq!(scripted.answer(id).unwrap()[..2], expected, "{offered:?}");
    }
}

/// RFC 4724 §5: only a peer that keeps some family comes back on a new connection while the old one looks alive.
#[test]
fn a_peer_that_keeps_no_family_cannot_replace_its_own_session() {
    for (tuples, is_refused) in [("", true), ("00010180", false)] {
        let tuples = unhex(tuples);
        let restart =
            GracefulRestart { restarting: false, notification: false, restart_time: 120, tuples: &tuples };
        let capabilities = [Capability::GracefulRestart(restart)];
        let (mut scripted, _) = Scripted::up(graceful(external(64_500)), &capabilities);
        let second = scripted.accept();
        scripted.drain(second);
        scripted.input(second, &open(&capabilities));
        let answer = scripted.answer(second);
        assert_eq!(answer, is_refused.then(|| vec![6, 7]), "{tuples:?}");
    }
}

/// RFC 6793 §6, RFC 7607 §2.
#[test]
fn the_second_path_and_the_aggregators_are_discarded_when_they_are_malformed() {
    let two = Context { width: AsWidth::Two, ..EBGP };
    let check = |attribute: &str, context: &Context, expected: Class| {
        let path = if context.width == AsWidth::Two { "400204 0201 fffa" } else { "400206 0201 0000fffa" };
        let attributes = unhex(&format!("400101 00 {path} 400304 0a000001 {attribute}"));
        assert_eq!(class_of(&update(&[], &attributes, &unhex(ROUTE)), context), expected, "{attribute}");
    };
    check("c01106 0201 0000fffa", &two, Class::Accept);
    check("c01100", &two, Class::Discard);
    check("c01102 0200", &two, Class::Discard);
    check("c01104 0201 fffa", &two, Class::Discard);
    check("c01106 0501 0000fffa", &two, Class::Discard);
    check("c01106 0301 0000fffa", &two, Class::Discard);
    check("c01106 0201 00000000", &two, Class::Discard);
    check("c01208 0000fffa 0a000001", &two, Class::Accept);
    check("c01207 0000fffa 0a0000", &two, Class::Discard);
    check("c01208 00000000 0a000001", &two, Class::Discard);
    check("c00706 fffa 0a000001", &two, Class::Accept);
    check("c00706 0000 0a000001", &two, Class::Discard);
    check("c00708 0000fffa 0a000001", &EBGP, Class::Accept);
    check("c00708 00000000 0a000001", &EBGP, Class::Discard);
    check("c01106 0201 0000fffa", &EBGP, Class::Discard);
    check("c01208 0000fffa 0a000001", &EBGP, Class::Discard);
}
