//! The choice as a property of names, prefixes and widths.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn prefix(number: u32) -> Prefix {
    Prefix::host(Ipv4Addr::from_bits(0x0A00_0400 + number).into())
}

fn fleet(nodes: &BTreeSet<u16>) -> Fleet {
    let name = |node: &u16| format!("node-{node}").into_boxed_str();
    Fleet {
        ready: nodes.iter().map(name).collect(),
        able: nodes.iter().map(|node| (name(node), ["all".into()].into())).collect(),
    }
}

fn width(nodes: &BTreeSet<u16>, own: u16, most: u16) -> Width {
    Width::new(NonZeroU16::new(most).unwrap(), &format!("node-{own}"), "all", &fleet(nodes))
}

/// Each node decides by itself; those who say yes.
fn announcing(
    nodes: &BTreeSet<u16>,
    most: u16,
    of: &Prefix,
    hosts: Option<&BTreeSet<NodeHash>>,
) -> BTreeSet<u16> {
    nodes.iter().copied().filter(|node| width(nodes, *node, most).includes_us(of, hosts)).collect()
}

proptest! {
    #[test]
    fn exactly_so_many_announce_and_all_agree_on_whom(
        nodes in prop::collection::btree_set(0u16..500, 1..12), most in 1u16..10, number in 0u32..1000
    ) {
        let of = prefix(number);
        let yes = announcing(&nodes, most, &of, None);
        prop_assert_eq!(yes.len(), nodes.len().min(most.into()));
        let named: BTreeSet<Box<str>> = yes.iter().map(|node| format!("node-{node}").into()).collect();
        for node in &nodes {
            let choice = width(&nodes, *node, most).choice(&of, None).unwrap();
            prop_assert_eq!(choice.able, nodes.len());
            prop_assert_eq!(choice.chosen.len(), named.len().min(NAMED));
            prop_assert!(choice.chosen.iter().all(|name| named.contains(name)));
        }
    }

    #[test]
    fn a_node_that_goes_or_comes_moves_its_own_share_alone(
        nodes in prop::collection::btree_set(0u16..500, 2..12), most in 1u16..6, leaver in any::<prop::sample::Index>()
    ) {
        let leaver = *nodes.iter().nth(leaver.index(nodes.len())).unwrap();
        let mut fewer = nodes.clone();
        fewer.remove(&leaver);
        for number in 0..10 {
            let of = prefix(number);
            let (with, without) = (announcing(&nodes, most, &of, None), announcing(&fewer, most, &of, None));
            if with.contains(&leaver) {
                let stay: BTreeSet<u16> = with.iter().copied().filter(|node| *node != leaver).collect();
                prop_assert!(stay.is_subset(&without), "{:?} to {:?}", with, without);
                prop_assert!(without.difference(&stay).count() <= 1);
            } else {
                prop_assert_eq!(with, without);
            }
        }
    }

    #[test]
    fn only_nodes_with_endpoints_count_where_they_are_needed(
        nodes in prop::collection::btree_set(0u16..500, 1..12), most in 1u16..6,
        hosting in prop::collection::btree_set(0u16..500, 0..6), number in 0u32..1000
    ) {
        let hosts: BTreeSet<NodeHash> =
            hosting.iter().chain(nodes.first()).map(|node| NodeHash::of(&format!("node-{node}"))).collect();
        let able: BTreeSet<u16> =
            nodes.iter().copied().filter(|node| hosting.contains(node) || nodes.first() == Some(node)).collect();
        let yes = announcing(&nodes, most, &prefix(number), Some(&hosts));
        prop_assert!(yes.is_subset(&able));
        prop_assert_eq!(yes.len(), able.len().min(most.into()));
    }
}

#[test]
fn shares_are_even() {
    let nodes: BTreeSet<u16> = (0..10).collect();
    let mut shares = BTreeMap::new();
    for number in 0..2_000 {
        for node in announcing(&nodes, 2, &prefix(number), None) {
            *shares.entry(node).or_insert(0u32) += 1;
        }
    }
    assert!(shares.values().all(|share| (320..480).contains(share)), "{shares:?}");
}

#[test]
fn the_choice_is_the_same_in_every_version() {
    let nodes: BTreeSet<u16> = (1..=5).collect();
    let chosen = |number| announcing(&nodes, 2, &prefix(number), None).into_iter().collect::<Vec<_>>();
    assert_eq!([chosen(1), chosen(2), chosen(3), chosen(4)], EXPECTED);
}

/// Speakers of two versions run side by side during an upgrade: whoever has to change this breaks that.
const EXPECTED: [[u16; 2]; 4] = [[2, 5], [1, 3], [1, 5], [2, 3]];

#[test]
fn while_nobody_is_known_to_be_able_nobody_is_left_out() {
    let nobody = Width::new(NonZeroU16::MIN, "node-1", "all", &Fleet::default());
    assert!(nobody.includes_us(&prefix(1), None) && nobody.choice(&prefix(1), None).is_none());
    let elsewhere = Width::new(NonZeroU16::MIN, "node-1", "all", &fleet(&[2].into()));
    assert!(!elsewhere.includes_us(&prefix(1), None), "not known to be able, and somebody else is");
    let unready = Fleet { ready: BTreeSet::new(), ..fleet(&[1, 2].into()) };
    assert!(Width::new(NonZeroU16::MIN, "node-1", "all", &unready).includes_us(&prefix(1), None));
    assert!(
        Width::new(NonZeroU16::MIN, "node-1", "other", &fleet(&[2].into())).includes_us(&prefix(1), None)
    );
}

#[test]
fn a_choice_reads_as_a_sentence_and_names_a_few() {
    let names = |count: usize| (0..count).map(|node| format!("n{node}").into()).collect();
    assert_eq!(Choice { most: 2, able: 5, chosen: names(2) }.to_string(), "2 chosen of 5: n0, n1");
    assert_eq!(Choice { most: 3, able: 1, chosen: names(1) }.to_string(), "1 chosen of 1: n0");
    let long = Choice { most: 20, able: 50, chosen: names(2) }.to_string();
    assert_eq!(long, "20 chosen of 50: n0, n1 and 18 more");
}
