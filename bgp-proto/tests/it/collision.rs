//! Two connections that were both open before either OPEN was read, as real routers leave them when both sides dial at
//! once: what one of them has gone on to be does not hide that the router has chosen by identifier. What happens
//! on virtual time is in `sim`, a call from behind a session in `hostile`.

use std::time::Duration;

use bgp_proto::wire::capability::{Capability, GracefulRestart};
use bgp_proto::*;

use crate::pair::KEY;
use crate::script::{Scripted, open};
use crate::vectors::{external, message, unhex};

/// Our dial and the router's call, whose identifier is 10.0.0.1; the one that has to stay comes first.
fn meeting(ours: [u8; 4]) -> (Scripted, ConnectionId, ConnectionId) {
    let router_id = RouterId::try_new(ours.into()).unwrap();
    let graceful_restart = Some(Duration::from_secs(30));
    let mut scripted = Scripted::new(PeerConfig { router_id, graceful_restart, ..external(64_500) });
    let (dialled, called) = (scripted.connect(), scripted.accept());
    for id in [dialled, called] {
        scripted.drain(id);
    }
    if ours[0] > 10 { (scripted, dialled, called) } else { (scripted, called, dialled) }
}

/// The OPEN of a router that keeps routes over a restart.
fn restarting_open() -> Vec<u8> {
    let tuples = unhex("00010180");
    let restart =
        GracefulRestart { restarting: false, notification: false, restart_time: 30, tuples: &tuples };
    open(&[Capability::GracefulRestart(restart)])
}

fn established(scripted: &Scripted) -> (State, u32) {
    let session = scripted.speaker.session(KEY).unwrap();
    (session.state, session.established_count)
}

const IDENTIFIERS: [[u8; 4]; 2] = [[9, 0, 0, 1], [11, 0, 0, 1]];

#[test]
fn a_session_that_is_up_already_is_not_given_up_for_the_connection_that_lost() {
    for ours in IDENTIFIERS {
        let (mut scripted, stays, goes) = meeting(ours);
        // All that the router says on the one is there before anything of the other is read.
        scripted.input(stays, &[restarting_open(), message("0013 04")].concat());
        assert_eq!(established(&scripted), (State::Established, 1));
        let last = [restarting_open(), message("0015 03 06 07")].concat();
        scripted.input(goes, &last);
        assert_eq!(scripted.answer(goes), Some(vec![6, 7]));
        scripted.input(stays, &message("0013 04"));
        assert_eq!(established(&scripted), (State::Established, 1), "{ours:?}");
    }
}

#[test]
fn the_connection_that_has_to_go_goes_also_when_its_keepalive_came_first() {
    for ours in IDENTIFIERS {
        let (mut scripted, stays, goes) = meeting(ours);
        scripted.input(goes, &[restarting_open(), message("0013 04")].concat());
        scripted.input(stays, &restarting_open());
        assert_eq!(scripted.answer(goes), Some(vec![6, 7]), "{ours:?}");
        scripted.input(stays, &message("0013 04"));
        assert_eq!(established(&scripted), (State::Established, 2));
    }
}

#[test]
fn a_call_from_behind_the_session_is_a_router_that_came_back() {
    for ours in IDENTIFIERS {
        let (mut scripted, first, other) = meeting(ours);
        let event = Event::Closed { connection: other, reason: CloseCause::Eof };
        scripted.speaker.handle_event(scripted.now, event);
        scripted.input(first, &[restarting_open(), message("0013 04")].concat());
        let second = scripted.accept();
        scripted.input(second, &[restarting_open(), message("0013 04")].concat());
        assert_eq!(established(&scripted), (State::Established, 2));
        assert_eq!(scripted.answer(second), None);
    }
}

/// The router has called and its session is up, while our own dial has not come through yet.
fn called_before_our_dial() -> (Scripted, ConnectionId) {
    let graceful_restart = Some(Duration::from_secs(30));
    let mut scripted = Scripted::new(PeerConfig { graceful_restart, ..external(64_500) });
    let called = scripted.accept();
    scripted.input(called, &[restarting_open(), message("0013 04")].concat());
    assert_eq!(established(&scripted), (State::Established, 1));
    scripted.drain(called);
    (scripted, called)
}

#[test]
fn our_own_late_dial_is_no_second_call() {
    let (mut scripted, called) = called_before_our_dial();
    let late = scripted.connect();
    let events: Vec<_> = std::iter::from_fn(|| scripted.speaker.poll_event()).collect();
    let hung_up = SpeakerEvent::HangUp { connection: late, how: HangUp::Abort };
    assert!(events.contains(&hung_up), "{events:?}");
    assert_eq!(scripted.drain(late), [], "the router must not read it as the call of one that came back");
    scripted.input(late, &[restarting_open(), message("0013 04")].concat());
    scripted.input(called, &message("0013 04"));
    assert_eq!(established(&scripted), (State::Established, 1));
}

#[test]
fn a_dial_that_is_under_way_ends_with_the_session_that_came_up_without_it() {
    let (mut scripted, _called) = called_before_our_dial();
    // The path is found whole, which dials anew where the first SYN was lost.
    scripted.now += Duration::from_secs(5);
    scripted.speaker.handle_event(scripted.now, Event::PathUp { peer: KEY });
    let events: Vec<_> = std::iter::from_fn(|| scripted.speaker.poll_event()).collect();
    assert_eq!(events, []);
    assert_eq!(established(&scripted), (State::Established, 1));
}
