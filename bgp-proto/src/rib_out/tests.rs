//! The table against a map that is fed with our own UPDATEs, as a router would read them.

use bytes::Buf;
use proptest::prelude::*;

use super::*;
use crate::number::Asn;
use crate::wire::as_path::AsWidth;
use crate::wire::header::{Framer, MAX_LEN, MessageType};
use crate::wire::nlri::Nlri;
use crate::wire::update::{MP_REACH_NLRI, MP_UNREACH_NLRI, MpReach, MpUnreach, Update};

const MED: u8 = 4;

fn class() -> PeerClass {
    PeerClass {
        style: PathStyle {
            local_asn: Asn(64_500),
            external: true,
            width: AsWidth::Four,
            only_to_customer: false,
        },
        max_len: MAX_LEN,
        next_hop_v4: Some(IpAddr::from([10, 0, 0, 11])),
        next_hop_v6: Some(Ipv6Addr::LOCALHOST),
    }
}

/// What a router knows: of each prefix the MED, by which the tests tell attributes apart.
#[derive(Default)]
struct Router {
    table: BTreeMap<Prefix, Option<u32>>,
    ends: Vec<(u16, u8)>,
    marks: Vec<RefreshKind>,
    announced: usize,
    /// Withdrawals of routes that it did not have.
    surprises: usize,
    announced_before_withdrawn: bool,
}

impl Router {
    fn read(&mut self, mut octets: &[u8]) {
        let mut announced = false;
        while let Some(frame) = Framer::default().next(octets).unwrap() {
            match frame.kind {
                MessageType::Update => {
                    let before = self.announced;
                    let withdrew = self.update(&Update::parse(frame.body).unwrap());
                    self.announced_before_withdrawn |= announced && withdrew;
                    announced |= self.announced > before;
                }
                MessageType::RouteRefresh => self.marks.push(RouteRefresh::parse(frame.body).unwrap().kind),
                MessageType::Open | MessageType::Notification | MessageType::Keepalive => unreachable!(),
            }
            octets.advance(frame.octets.len());
        }
        assert!(octets.is_empty(), "whole messages only");
    }

    fn update(&mut self, update: &Update<'_>) -> bool {
        if let Some(end) = update.end_of_rib() {
            self.ends.push(end);
            return false;
        }
        let attrs: Vec<_> = update.attrs().map(Result::unwrap).collect();
        let value =
            |code| attrs.iter().find(|attribute| attribute.code == code).map(|attribute| attribute.value);
        let med = value(MED).map(|mut value| value.get_u32());
        let mut gone: Vec<Prefix> = Nlri::try_new(update.withdrawn, Family::Ipv4Unicast).unwrap().collect();
        let mut here: Vec<Prefix> = Nlri::try_new(update.nlri, Family::Ipv4Unicast).unwrap().collect();
        if let Some(reach) = value(MP_REACH_NLRI) {
            assert_eq!(attrs[0].code, MP_REACH_NLRI, "RFC 7606 §5.1: first");
            here.extend(Nlri::try_new(MpReach::parse(reach).unwrap().nlri, Family::Ipv6Unicast).unwrap());
        }
        if let Some(unreach) = value(MP_UNREACH_NLRI) {
            gone.extend(Nlri::try_new(MpUnreach::parse(unreach).unwrap().nlri, Family::Ipv6Unicast).unwrap());
        }
        assert!(!gone.is_empty() || !here.is_empty(), "a message has a route or is an End-of-RIB");
        for prefix in &gone {
            self.surprises += usize::from(self.table.remove(prefix).is_none());
        }
        self.announced += here.len();
        self.table.extend(here.into_iter().map(|prefix| (prefix, med)));
        !gone.is_empty()
    }

    fn knows(&self, wanted: &RouteSet) {
        let wanted: Vec<_> = wanted.iter().map(|(prefix, attrs)| (prefix, attrs.med)).collect();
        let known: Vec<_> = self.table.iter().map(|(prefix, med)| (*prefix, *med)).collect();
        assert_eq!(known, wanted);
    }
}

fn advance(rib: &mut RibOut, cursor: &mut Cursor, router: &mut Router) -> usize {
    let mut out = BytesMut::new();
    rib.advance(cursor, 1, &mut out);
    assert!(out.len() <= BURST + usize::from(MAX_LEN), "one burst: {}", out.len());
    router.read(&out);
    out.len()
}

fn catch_up(rib: &mut RibOut, cursor: &mut Cursor, router: &mut Router) {
    while advance(rib, cursor, router) > 0 {}
    assert!(cursor.is_level());
}

#[test]
fn an_equal_peer_gets_the_bursts_of_the_first_one() {
    let mut rib = RibOut::new(class());
    let mut cursors = [Cursor::new(false), Cursor::new(false), Cursor::new(false)];
    let mut told: [BytesMut; 3] = Default::default();
    let versions = [table((0..20_000).map(|n| (n, n % 2))), table((5_000..30_000).map(|n| (n, 0)))];
    for version in versions {
        for (cursor, out) in cursors.iter_mut().zip(&mut told) {
            cursor.retarget(Arc::clone(&version));
            let mut updates = 0;
            while !cursor.is_level() {
                updates += rib.advance(cursor, 3, out).updates;
            }
            assert!(updates > 0);
        }
        assert_eq!(rib.echoes.len(), 0, "what all have heard is forgotten");
    }
    assert!(told[0] == told[1] && told[1] == told[2]);
    for out in told {
        let mut router = Router::default();
        router.read(&out);
        router.knows(&cursors[0].target);
    }
}

#[test]
fn bursts_that_nobody_asks_for_are_bounded() {
    let (mut rib, mut router) = (RibOut::new(class()), Router::default());
    let mut cursor = Cursor::new(false);
    for round in 0..20 {
        cursor.retarget(table((0..20_000).map(|n| (n, round))));
        let mut out = BytesMut::new();
        while !cursor.is_level() {
            rib.advance(&mut cursor, 2, &mut out);
        }
        router.read(&out);
        assert!(rib.echoes.octets() <= 1024 * 1024, "{}", rib.echoes.octets());
    }
    router.knows(&cursor.target);
}

fn prefix(number: u32) -> Prefix {
    if number.is_multiple_of(3) {
        Prefix::host(Ipv6Addr::from_bits((0x2001_0DB8 << 96) + u128::from(number)).into())
    } else {
        Prefix::host(Ipv4Addr::from_bits(0x0A00_0000 + number).into())
    }
}

fn attrs(med: u32) -> Arc<PathAttrs> {
    Arc::new(PathAttrs { med: Some(med), ..PathAttrs::default() })
}

fn table(routes: impl IntoIterator<Item = (u32, u32)>) -> Arc<RouteSet> {
    let mut shared: BTreeMap<u32, Arc<PathAttrs>> = BTreeMap::new();
    let mut share = |med| Arc::clone(shared.entry(med).or_insert_with(|| attrs(med)));
    Arc::new(routes.into_iter().map(|(number, med)| (prefix(number), share(med))).collect())
}

/// Bulk comes from ranges, so that walks take several bursts and new targets arrive in the middle.
fn tables() -> impl Strategy<Value = Vec<(Arc<RouteSet>, usize, bool)>> {
    let range = (0..30_000_u32, 0..12_000_u32, 0..3_u32);
    // Attributes that change with every route, and attributes that whole chunks share.
    let wanted = (proptest::collection::vec(range, 0..3), prop_oneof![Just(1_u32), Just(500)]).prop_map(
        |(ranges, stretch)| {
            table(ranges.into_iter().flat_map(|(start, count, med)| {
                (start..start + count).map(move |n| (n, med + n / stretch % 2))
            }))
        },
    );
    proptest::collection::vec((wanted, 0..4_usize, any::<bool>()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_router_ends_up_with_what_is_wanted_however_slowly_it_reads(steps in tables()) {
        let (mut rib, mut cursor, mut router) = (RibOut::new(class()), Cursor::new(true), Router::default());
        for (wanted, bursts, refresh) in &steps {
            cursor.retarget(Arc::clone(wanted));
            if *refresh {
                Family::ALL.into_iter().for_each(|family| cursor.ask_refresh(family));
            }
            for _ in 0..*bursts {
                advance(&mut rib, &mut cursor, &mut router);
                prop_assert_eq!(usize::try_from(cursor.told()).unwrap(), router.table.len());
            }
        }
        catch_up(&mut rib, &mut cursor, &mut router);
        router.knows(&steps.last().unwrap().0);
        prop_assert_eq!(router.surprises, 0, "only what was told is withdrawn");
    }
}

#[test]
fn withdrawals_go_before_announcements() {
    let (mut rib, mut cursor, mut router) = (RibOut::new(class()), Cursor::new(false), Router::default());
    cursor.retarget(table((0..100).map(|n| (n, 0))));
    catch_up(&mut rib, &mut cursor, &mut router);
    cursor.retarget(table((50..200).map(|n| (n, 1))));
    catch_up(&mut rib, &mut cursor, &mut router);
    assert!(!router.announced_before_withdrawn);
    router.knows(&table((50..200).map(|n| (n, 1))));
}

#[test]
fn a_route_that_moves_to_other_attributes_is_not_withdrawn() {
    let (mut rib, mut cursor, mut router) = (RibOut::new(class()), Cursor::new(false), Router::default());
    cursor.retarget(table([(1, 0)]));
    catch_up(&mut rib, &mut cursor, &mut router);
    let mut out = BytesMut::new();
    cursor.retarget(table([(1, 7)]));
    assert_eq!(rib.advance(&mut cursor, 1, &mut out).updates, 1);
}

#[test]
fn a_slow_router_is_not_told_what_has_been_overtaken() {
    let (mut rib, mut cursor, mut router) = (RibOut::new(class()), Cursor::new(false), Router::default());
    for med in 0..100 {
        cursor.retarget(table([(1, med)]));
    }
    catch_up(&mut rib, &mut cursor, &mut router);
    assert_eq!(router.announced, 1);
    router.knows(&table([(1, 99)]));
}

#[test]
fn an_equal_table_says_nothing() {
    let (mut rib, mut cursor, mut router) = (RibOut::new(class()), Cursor::new(false), Router::default());
    cursor.retarget(table((0..500).map(|n| (n, 0))));
    catch_up(&mut rib, &mut cursor, &mut router);
    cursor.retarget(table((0..500).map(|n| (n, 0))));
    assert_eq!(advance(&mut rib, &mut cursor, &mut router), 0);
}

#[test]
fn a_refresh_tells_one_family_again_between_its_marks() {
    let (mut rib, mut cursor, mut router) = (RibOut::new(class()), Cursor::new(true), Router::default());
    cursor.retarget(table((0..300).map(|n| (n, 0))));
    catch_up(&mut rib, &mut cursor, &mut router);
    router.announced = 0;
    cursor.ask_refresh(Family::Ipv6Unicast);
    catch_up(&mut rib, &mut cursor, &mut router);
    assert_eq!((router.announced, &router.marks[..]), (100, &[RefreshKind::Begin, RefreshKind::End][..]));
}

#[test]
fn a_thousand_refreshes_in_a_row_are_two_walks_at_most() {
    let (mut rib, mut cursor, mut router) = (RibOut::new(class()), Cursor::new(false), Router::default());
    cursor.retarget(table((0..40_000).map(|n| (n, 0))));
    catch_up(&mut rib, &mut cursor, &mut router);
    router.announced = 0;
    for _ in 0..500 {
        cursor.ask_refresh(Family::Ipv4Unicast);
    }
    advance(&mut rib, &mut cursor, &mut router);
    for _ in 0..500 {
        cursor.ask_refresh(Family::Ipv4Unicast);
    }
    catch_up(&mut rib, &mut cursor, &mut router);
    let v4 = router.table.keys().filter(|prefix| prefix.family() == Family::Ipv4Unicast).count();
    assert_eq!(router.announced, 2 * v4);
}

#[test]
fn a_route_whose_attributes_fit_no_message_is_not_told_and_counted() {
    let communities = (0..2_000).map(crate::wire::community::Community).collect();
    let large = Arc::new(PathAttrs { communities, med: Some(1), ..PathAttrs::default() });
    assert!(large.fits().is_err());
    let (mut rib, mut cursor, mut router) = (RibOut::new(class()), Cursor::new(false), Router::default());
    let plain = table([(1, 0), (2, 0)]);
    cursor.retarget(Arc::clone(&plain));
    catch_up(&mut rib, &mut cursor, &mut router);
    let changed = Arc::new(plain.with(prefix(1), large));
    cursor.retarget(Arc::clone(&changed));
    catch_up(&mut rib, &mut cursor, &mut router);
    router.knows(&table([(2, 0)]));
    assert_eq!((cursor.told(), rib.too_large(&changed)), (1, 1));
    cursor.retarget(plain);
    catch_up(&mut rib, &mut cursor, &mut router);
    router.knows(&table([(1, 0), (2, 0)]));
    assert_eq!((cursor.told(), router.surprises), (2, 0));
}

#[test]
fn a_family_without_next_hop_is_not_told() {
    let mut rib = RibOut::new(PeerClass { next_hop_v6: None, ..class() });
    let (mut cursor, mut router) = (Cursor::new(false), Router::default());
    cursor.retarget(table((0..30).map(|n| (n, 0))));
    catch_up(&mut rib, &mut cursor, &mut router);
    assert!(router.table.keys().all(|prefix| prefix.family() == Family::Ipv4Unicast));
    assert_eq!((router.table.len(), cursor.told()), (20, 20));
}

#[test]
fn attributes_that_nobody_uses_are_forgotten() {
    let (mut rib, mut cursor, mut router) = (RibOut::new(class()), Cursor::new(false), Router::default());
    for med in 0..1_000 {
        cursor.retarget(table([(1, med)]));
        catch_up(&mut rib, &mut cursor, &mut router);
    }
    assert!(rib.blobs.len() <= 64, "{}", rib.blobs.len());
}
