//! Requirements of the RFCs, one by one, as far as no other file has them. The ledgers in `docs/rfc` say which test
//! stands for which requirement.

use std::sync::Arc;
use std::time::Duration;

use bgp_proto::wire::as_path::{AsPath, AsWidth};
use bgp_proto::wire::attribute::rule_of;
use bgp_proto::wire::capability::{Capability, GracefulRestart};
use bgp_proto::wire::check::{Class, Context, inspect};
use bgp_proto::wire::header::MessageType;
use bgp_proto::wire::open::Open;
use bgp_proto::wire::update::{MP_REACH_NLRI, Update};
use bgp_proto::*;

use crate::pair::{KEY, routes};
use crate::rfc7606::{EBGP, IBGP};
use crate::script::{MANDATORY, ROUTE, Scripted, borne, class_of, framed, open, update};
use crate::vectors::{V4, V6, external, message, peer_open, plain, told, unhex};

const SECOND: Duration = Duration::from_secs(1);

fn graceful(config: PeerConfig) -> PeerConfig {
    PeerConfig { graceful_restart: Some(30 * SECOND), ..config }
}

// ---- RFC 4271

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

/// RFC 4271 §8.2.2: the keepalive timer begins anew.
#[test]
fn an_update_stands_for_a_keepalive() {
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    scripted.now += SECOND * 7 / 2;
    scripted.speaker.set_routes(KEY, routes(0..1));
    assert_eq!(scripted.drain(id)[0].0, MessageType::Update);
    let next = scripted.speaker.poll_timeout().unwrap() - scripted.now;
    assert!(next >= SECOND * 15 / 4 && next <= SECOND * 5, "{next:?}");
}

/// RFC 4271 §4.3: the lower four bits.
#[test]
fn unused_flag_bits_say_nothing() {
    for low in 0..16 {
        let attributes = format!(
            "4{low:x}0101 00 4{low:x}0206 0201 0000fffa 4{low:x}0304 0a000001 8{low:x}0404 00000007 c{low:x}0804 fffa0001"
        );
        let octets = update(&[], &unhex(&attributes), &unhex(ROUTE));
        assert_eq!(class_of(&octets, &EBGP), Class::Accept, "{low:x}");
    }
}

fn orders(attributes: &[&str]) -> Vec<String> {
    if attributes.is_empty() {
        return vec![String::new()];
    }
    let first = |at: usize| {
        let rest = [&attributes[..at], &attributes[at + 1..]].concat();
        orders(&rest).into_iter().map(move |behind| format!("{}{behind}", attributes[at]))
    };
    (0..attributes.len()).flat_map(first).collect()
}

/// RFC 4271 §5: receivers must be prepared.
#[test]
fn attributes_are_read_in_any_order() {
    let attributes =
        ["400101 02", "400206 0201 0000fffa", "400304 0a000001", "800404 00000007", "c00804 fffa0001"];
    for order in orders(&attributes) {
        let octets = update(&[], &unhex(&order), &unhex(ROUTE));
        let read = inspect(&Update::parse(&octets[19..]).unwrap(), &EBGP);
        assert_eq!(read.verdict().class, Class::Accept, "{order}");
        assert_eq!(read.origin(), Some(2), "{order}");
        assert_eq!(read.as_path().and_then(|path| path.first()), Some(Asn(65_530)), "{order}");
        assert_eq!(read.next_hop(), Some([10, 0, 0, 1].into()), "{order}");
        assert_eq!((read.med(), read.communities().count()), (Some(7), 1), "{order}");
    }
}

/// RFC 4271 §4.3, §5, §5.1.5 and RFC 4760 §3: flags, order, and what must be there, in whatever we say.
#[test]
fn every_update_of_ours_has_its_attributes_in_order_with_the_flags_they_must_have() {
    let attrs = Arc::new(PathAttrs {
        origin: Origin::Incomplete,
        prepend: 200,
        med: Some(5),
        local_pref: Some(200),
        communities: (0..70).map(Community).collect(),
        large_communities: vec!["64500:1:2".parse().unwrap()],
        ext_communities: vec![[0; 8]],
    });
    let names = |number: u32| [format!("192.0.2.{number}"), format!("2001:db8::{number}")];
    let table: RouteSet = (1..=30)
        .flat_map(names)
        .map(|name| (Prefix::host(name.parse().unwrap()), Arc::clone(&attrs)))
        .collect();
    let mut seen = 0;
    for (internal, four_octets, local) in
        [false, true].into_iter().flat_map(|i| [(i, true, V4), (i, true, V6), (i, false, V4)])
    {
        let remote = if internal { RemoteAs::Internal } else { RemoteAs::External };
        let next_hop_v4 = Some([10, 0, 0, 11].into());
        let next_hop_v6 = Some("2001:db8::b".parse().unwrap());
        let config = PeerConfig { remote, next_hop_v4, next_hop_v6, ..external(64_500) };
        let number = if internal { 64_500 } else { 65_530 };
        let families = Family::ALL.map(Capability::family);
        let width = if four_octets { &[Capability::FourOctetAs(Asn(number))][..] } else { &[] };
        let told = told(&config, local, &peer_open(number, &[&families[..], width].concat()), table.clone());
        for octets in &told.updates {
            let update = Update::parse(&octets[19..]).unwrap();
            let attributes: Vec<_> = update.attrs().map(Result::unwrap).collect();
            for attribute in &attributes {
                let rule = rule_of(attribute.code).expect("we say nothing that we do not know");
                let extended = if attribute.value.len() > 255 { 0x10 } else { 0 };
                assert_eq!(attribute.flags, rule.flags | extended, "{}", rule.name);
            }
            let codes: Vec<u8> = attributes.iter().map(|attribute| attribute.code).collect();
            let announced = !update.nlri.is_empty() || codes.contains(&MP_REACH_NLRI);
            if !announced {
                continue;
            }
            seen += 1;
            let behind = codes.strip_prefix(&[MP_REACH_NLRI]).unwrap_or(&codes);
            assert!(behind.is_sorted_by(|one, next| one < next), "{codes:?}");
            assert!(codes.contains(&1) && codes.contains(&2), "{codes:?}");
            assert_eq!(codes.contains(&3), !update.nlri.is_empty(), "NEXT_HOP is for the classic field");
            assert_eq!(codes.contains(&5), internal, "LOCAL_PREF");
        }
    }
    assert_eq!(seen, 12, "one UPDATE for each family of each peer");
}

/// RFC 4271 §6: what is said of a long message is cut, or the answer would be too long itself (RFC 8654 §4).
#[test]
fn an_answer_is_no_longer_than_every_peer_takes() {
    let both = [Capability::ExtendedMessage, Capability::EnhancedRouteRefresh];
    let (mut scripted, id) = Scripted::up(external(64_500), &both);
    let octets = framed(5, &[&[0, 1, 1, 1][..], &[7; 5_000]].concat());
    scripted.input(id, &octets);
    let answer = scripted.answer(id).unwrap();
    assert_eq!((answer[0], answer[1], answer.len()), (7, 1, 4096 - 19));
    assert!(octets.starts_with(&answer[2..]));
}

// ---- communities (RFC 8092 §3, RFC 4360)

#[test]
fn large_and_extended_communities_go_out_once_each() {
    let large: LargeCommunity = "64500:1:2".parse().unwrap();
    let attrs = PathAttrs {
        large_communities: vec![large, large],
        ext_communities: vec![[0, 2, 0, 0, 0, 0, 0, 1]; 3],
        ..PathAttrs::default()
    };
    let table = RouteSet::new().with(Prefix::host([192, 0, 2, 10].into()), Arc::new(attrs));
    let told = told(&external(64_500), V4, &open(&[]), table);
    let tail = unhex("c01008 0002000000000001 c0200c 0000fbf4 00000001 00000002 20c000020a");
    assert!(told.updates[0].ends_with(&tail), "{:02x?}", told.updates[0]);
}

/// RFC 1997, RFC 7999, RFC 8326, RFC 9494.
#[test]
fn communities_of_the_registry_have_their_numbers() {
    let check = |community: Community, text: &str| assert_eq!(community.to_string(), text);
    check(Community::NO_EXPORT, "65535:65281");
    check(Community::NO_ADVERTISE, "65535:65282");
    check(Community::GRACEFUL_SHUTDOWN, "65535:0");
    check(Community::NO_LLGR, "65535:7");
    check(Community::BLACKHOLE, "65535:666");
}

// ---- RFC 2918 and RFC 7313

/// RFC 7313 §4: never a mark before End-of-RIB of the same family.
#[test]
fn a_refresh_during_the_first_table_begins_behind_end_of_rib() {
    let mut scripted = Scripted::new(graceful(external(64_500)));
    scripted.speaker.set_routes(KEY, routes(0..3));
    let id = scripted.connect();
    let tuples = unhex("00010180");
    let restart =
        GracefulRestart { restarting: false, notification: false, restart_time: 120, tuples: &tuples };
    let capabilities = [Capability::GracefulRestart(restart), Capability::EnhancedRouteRefresh];
    scripted.input(id, &open(&capabilities));
    scripted.input(id, &message("0013 04"));
    scripted.input(id, &message("0017 05 0001 00 01"));
    let said = scripted.drain(id);
    let at = |kind, body: &[u8]| said.iter().position(|message| *message == (kind, body.to_vec()));
    let end_of_rib = at(MessageType::Update, &[0; 4]).expect("End-of-RIB");
    let begin = at(MessageType::RouteRefresh, &[0, 1, 1, 1]).expect("the begin of the refresh");
    let end = at(MessageType::RouteRefresh, &[0, 1, 2, 1]).expect("its end");
    assert!(end_of_rib < begin && begin + 1 < end, "{said:?}");
}

/// RFC 7313 §4: marks only for those who know them; RFC 2918 §4: the request is answered all the same.
#[test]
fn a_peer_without_enhanced_refresh_gets_its_table_without_marks() {
    let (mut scripted, id) = Scripted::up(external(64_500), &[Capability::RouteRefresh]);
    scripted.speaker.set_routes(KEY, routes(0..3));
    scripted.drain(id);
    scripted.input(id, &message("0017 05 0001 00 01"));
    let kinds: Vec<MessageType> = scripted.drain(id).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [MessageType::Update]);
}

/// RFC 2918 §4.
#[test]
fn a_request_for_a_family_that_we_did_not_offer_is_ignored() {
    let config = PeerConfig { families: Families::IPV4, ..external(64_500) };
    // Between speakers that mark, an answer would show even where there is no route to repeat.
    let both = [Capability::RouteRefresh, Capability::EnhancedRouteRefresh];
    let (mut scripted, id) = Scripted::up(config, &both);
    scripted.speaker.set_routes(KEY, routes(0..3));
    scripted.drain(id);
    scripted.input(id, &message("0017 05 0002 00 01"));
    assert_eq!(scripted.drain(id), []);
    assert_eq!(scripted.state(), State::Established);
}

// ---- RFC 4724 and RFC 8538

/// RFC 4724 §3: flags, time and families are as we mean them, and nothing else is set.
#[test]
fn our_graceful_restart_capability_has_no_stray_bit_and_comes_once() {
    let head = |config: &PeerConfig, restarting: bool| {
        let mut speaker = Speaker::new(1, restarting);
        let now = crate::pair::epoch();
        speaker.set_peers(now, std::slice::from_ref(config));
        let connection = ConnectionId(1);
        speaker.handle_event(now, Event::Connected { peer: KEY, connection, local: V4, remote: V4 });
        let mut out = bytes::BytesMut::new();
        assert!(speaker.poll_transmit(now, connection, &mut out));
        let count = Open::parse(&out[19..]).unwrap().capabilities.filter(|c| c.code() == 64).count();
        assert_eq!(count, 1);
        let at = out.windows(2).position(|octets| octets == [64, 10]).unwrap();
        out[at + 2..at + 12].to_vec()
    };
    let config = graceful(external(64_500));
    let families = unhex("00010180 00020180");
    assert_eq!(head(&config, false), [&[0x00, 30][..], &families].concat());
    assert_eq!(head(&config, true), [&[0x80, 30][..], &families].concat());
    let keeping = PeerConfig { keep_after_notification: true, ..config };
    assert_eq!(head(&keeping, true), [&[0xC0, 30][..], &families].concat());
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

// ---- RFC 5492

/// RFC 5492 §5.
#[test]
fn a_missing_family_is_named_in_the_answer() {
    let mut scripted = Scripted::new(PeerConfig { families: Families::IPV6, ..external(64_500) });
    let id = scripted.connect();
    scripted.input(id, &peer_open(65_530, &[Capability::family(Family::Ipv4Unicast)]));
    assert_eq!(scripted.answer(id), Some(unhex("02 07 0104 00020001")));
}

// ---- RFC 6793 and RFC 7607

/// RFC 6793 §4.2.2.
#[test]
fn a_number_that_fits_two_octets_needs_no_second_path() {
    let told = told(&external(64_500), V4, &peer_open(65_530, &[]), plain(&["192.0.2.10"]));
    let update = "002e 02 0000 0012 400101 00 400204 0201 fbf4 400304 0a00000b 20c000020a";
    assert_eq!(told.updates[0], message(update));
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

/// RFC 5065 §5.3, RFC 4271 §9.1.2.2.
#[test]
fn segments_of_confederations_do_not_lengthen_a_path() {
    let octets = unhex("0302 0000fde8 0000fde9 0201 0000fffa 0103 00000001 00000002 00000003 0401 0000fdea");
    let path = AsPath::try_new(&octets, AsWidth::Four).unwrap();
    assert_eq!((path.hops(), path.asns().count()), (2, 7), "one of the sequence, one for the set");
}

// ---- RFC 7606

/// A good UPDATE in which one attribute is replaced, or added.
fn class_with(attribute: &str, context: &Context) -> Class {
    let octets = unhex(attribute);
    let own = ["400101 00", "400206 0201 0000fffa", "400304 0a000001", "400504 00000064"];
    let all = if context.external { &own[..3] } else { &own };
    let kept = all.iter().map(|hex| unhex(hex)).filter(|other| other[1] != octets[1]);
    let attributes: Vec<u8> = kept.flatten().chain(octets.iter().copied()).collect();
    class_of(&update(&[], &attributes, &unhex(ROUTE)), context)
}

/// RFC 7606 §7, RFC 8092 §5, RFC 9234 §5: section, attribute, and what it costs from an eBGP and an iBGP peer.
#[test]
fn each_attribute_costs_what_its_section_says() {
    use Class::{Accept, Discard, Reset, Withdraw};
    let eleven = "00".repeat(11);
    let nineteen = "00".repeat(19);
    let rows = [
        ("7.1", "400100".to_owned(), Withdraw, Withdraw),
        ("7.1", "400102 0000".to_owned(), Withdraw, Withdraw),
        ("7.1", "400101 03".to_owned(), Withdraw, Withdraw),
        ("7.2", "400203 020100".to_owned(), Withdraw, Withdraw),
        ("7.3", "400303 0a0000".to_owned(), Withdraw, Withdraw),
        ("7.3", "400305 0a00000100".to_owned(), Withdraw, Withdraw),
        ("7.3", "400304 00000001".to_owned(), Withdraw, Withdraw),
        ("7.3", "400304 7f000001".to_owned(), Withdraw, Withdraw),
        ("7.3", "400304 e0000001".to_owned(), Withdraw, Withdraw),
        ("7.4", "800403 000001".to_owned(), Withdraw, Withdraw),
        ("7.4", "800405 0000000001".to_owned(), Withdraw, Withdraw),
        ("7.5", "400504 00000064".to_owned(), Discard, Accept),
        ("7.5", "400503 000064".to_owned(), Discard, Withdraw),
        ("7.6", "400600".to_owned(), Accept, Accept),
        ("7.6", "400601 00".to_owned(), Discard, Discard),
        ("7.7", "c00706 fffa0a000001".to_owned(), Discard, Discard),
        ("7.7", "c00709 0000fffa0a00000100".to_owned(), Discard, Discard),
        ("7.8", "c00800".to_owned(), Withdraw, Withdraw),
        ("7.8", "c00803 000000".to_owned(), Withdraw, Withdraw),
        ("7.9", "800904 0a000001".to_owned(), Discard, Accept),
        ("7.9", "800903 0a0000".to_owned(), Discard, Withdraw),
        ("7.10", "800a08 0a0000010a000002".to_owned(), Discard, Accept),
        ("7.10", "800a00".to_owned(), Discard, Withdraw),
        ("7.10", "800a03 000000".to_owned(), Discard, Withdraw),
        ("7.11", "800e04 0002 01 11".to_owned(), Reset, Reset),
        ("7.12", "800f02 0002".to_owned(), Reset, Reset),
        ("7.14", "c01000".to_owned(), Withdraw, Withdraw),
        ("7.14", "c01007 00000000000000".to_owned(), Withdraw, Withdraw),
        ("7.15", "c01900".to_owned(), Withdraw, Withdraw),
        ("7.15", format!("c01913 {nineteen}"), Withdraw, Withdraw),
        ("8092 5", "c02000".to_owned(), Withdraw, Withdraw),
        ("8092 5", format!("c0200b {eleven}"), Withdraw, Withdraw),
        ("9234 5", "c02303 000001".to_owned(), Withdraw, Withdraw),
    ];
    for (section, attribute, external, internal) in &rows {
        assert_eq!(class_with(attribute, &EBGP), *external, "§{section} {attribute} from an eBGP peer");
        assert_eq!(class_with(attribute, &IBGP), *internal, "§{section} {attribute} from an iBGP peer");
    }
}

/// RFC 7606 §3 c.
#[test]
fn flags_that_contradict_an_attribute_withdraw() {
    for attribute in [
        "c00101 00",
        "000101 00",
        "c00206 0201 0000fffa",
        "800304 0a000001",
        "400404 00000001",
        "c00404 00000001",
        "c00600",
        "400708 0000fffa0a000001",
        "800804 00000001",
        "401008 0000000000000000",
        "80200c 000000000000000000000000",
        "802304 0000fffa",
    ] {
        assert_eq!(class_with(attribute, &EBGP), Class::Withdraw, "{attribute}");
    }
    assert_eq!(class_with("c00504 00000064", &IBGP), Class::Withdraw, "LOCAL_PREF");
    assert_eq!(
        class_with("e00804 00000001", &EBGP),
        Class::Accept,
        "somebody did not know it, which is legal"
    );
}

/// RFC 7606 §3 h, i.
#[test]
fn of_several_faults_the_gravest_counts() {
    let (discard, withdraw) = ("400601 00", "800403 000001");
    for faults in [format!("{discard}{withdraw}"), format!("{withdraw}{discard}")] {
        let attributes = unhex(&format!("{MANDATORY}{faults}"));
        assert_eq!(class_of(&update(&[], &attributes, &unhex(ROUTE)), &EBGP), Class::Withdraw, "{faults}");
        assert_eq!(class_of(&update(&[], &attributes, &unhex("21 0a000000 00")), &EBGP), Class::Reset);
    }
    let attributes = unhex(&format!("{MANDATORY}{discard}"));
    assert_eq!(class_of(&update(&[], &attributes, &unhex(ROUTE)), &EBGP), Class::Discard);
}

/// RFC 7606 §3 i.
#[test]
fn withdrawn_routes_are_checked_as_announced_ones_are() {
    for broken in ["21 0a00000000", "20 0a0000", "ff"] {
        assert_eq!(class_of(&update(&unhex(broken), &[], &[]), &EBGP), Class::Reset, "{broken}");
    }
    assert_eq!(class_of(&update(&unhex("00 20c000020a 09 0aff"), &[], &[]), &EBGP), Class::Accept);
}

/// Not as RFC 7606 §5.2 has it: no route can be stale here, so nothing is worth the session.
#[test]
fn an_attribute_at_fault_without_routes_costs_no_session() {
    for attribute in ["400101 07", "800403 000001", "c00803 000000", "400206 0201 00000000"] {
        let octets = update(&[], &unhex(attribute), &[]);
        assert_eq!(class_of(&octets, &EBGP), Class::Withdraw, "{attribute}");
        borne(&octets);
    }
}

// ---- RFC 9687

#[test]
fn the_send_hold_timer_is_eight_minutes_or_twice_the_hold_time() {
    for (hold, expected) in [(15, 480), (240, 480), (241, 482), (65_535, 131_070)] {
        let mut scripted = Scripted::new(PeerConfig {
            hold_time: Some(HoldTime::try_new(u16::MAX).unwrap()),
            ..external(64_500)
        });
        let id = scripted.connect();
        let theirs = u16::to_be_bytes(hold);
        let open = [&unhex("04 fffa")[..], &theirs, &unhex("0a000001 00")].concat();
        scripted.input(id, &framed(1, &open));
        scripted.input(id, &message("0013 04"));
        scripted.drain(id);
        scripted.speaker.handle_event(scripted.now, Event::WriteBlocked { connection: id });
        let start = scripted.now;
        let seconds_up = |scripted: &Scripted| (scripted.now - start).as_secs();
        while scripted.state() == State::Established {
            assert!(seconds_up(&scripted) < expected, "{hold} s");
            scripted.now += SECOND;
            scripted.input(id, &message("0013 04"));
            scripted.speaker.handle_timeout(scripted.now);
        }
        assert_eq!(seconds_up(&scripted), expected, "{hold} s");
    }
}
