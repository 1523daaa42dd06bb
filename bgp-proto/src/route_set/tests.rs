use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<Prefix, Arc<PathAttrs>>;

fn prefix(number: u16) -> Prefix {
    let [high, low] = number.to_be_bytes();
    Prefix::host(std::net::Ipv4Addr::new(10, 0, high, low).into())
}

fn attrs(med: u8) -> Arc<PathAttrs> {
    Arc::new(PathAttrs { med: Some(med.into()), ..PathAttrs::default() })
}

fn routes(of: &RouteSet) -> Vec<Route> {
    of.iter().map(|(prefix, attrs)| (prefix, Arc::clone(attrs))).collect()
}

fn assert_sound(set: &RouteSet) {
    let all = routes(set);
    assert!(all.is_sorted_by(|(a, _), (b, _)| a < b), "strictly ascending");
    assert_eq!(all.len(), set.len());
    assert!(set.branches.iter().all(|branch| (1..=NODE_MAX).contains(&branch.len())));
    assert!(set.chunks().all(|chunk| (1..=NODE_MAX).contains(&chunk.routes().len())));
}

fn edits() -> impl Strategy<Value = Vec<(u16, Option<u8>)>> {
    proptest::collection::vec((0..600_u16, proptest::option::of(0..4_u8)), 0..400)
}

fn edited(set: &RouteSet, model: &mut Model, edits: &[(u16, Option<u8>)]) -> RouteSet {
    let mut set = set.clone();
    for (number, change) in edits {
        let prefix = prefix(*number);
        if let Some(med) = change {
            set = set.with(prefix, attrs(*med));
            model.insert(prefix, attrs(*med));
        } else {
            set = set.without(&prefix);
            model.remove(&prefix);
        }
    }
    set
}

proptest! {
    #[test]
    fn edits_agree_with_a_map(start in edits(), later in edits()) {
        let mut model = Model::new();
        let set = edited(&RouteSet::new(), &mut model, &start);
        let set = edited(&set, &mut model, &later);
        assert_sound(&set);
        prop_assert_eq!(routes(&set), model.clone().into_iter().collect::<Vec<_>>());
        prop_assert_eq!(&set, &model.into_iter().collect::<RouteSet>());
    }

    #[test]
    fn a_diff_turns_the_old_set_into_the_new_one(start in edits(), later in edits(), after in proptest::option::of(0..600_u16)) {
        let mut model = Model::new();
        let old = edited(&RouteSet::new(), &mut model, &start);
        let new = edited(&old, &mut model, &later);
        let apply = |set: &RouteSet, change: Change<'_>| match change {
            Change::Set(prefix, attrs) => set.with(prefix, Arc::clone(attrs)),
            Change::Unset(prefix) => set.without(&prefix),
        };
        prop_assert_eq!(&RouteSet::diff(&old, &new).fold(old.clone(), |set, change| apply(&set, change)), &new);
        prop_assert_eq!(RouteSet::diff(&new, &new.clone()).count(), 0);
        let after = after.map(prefix);
        let place = |change: &Change<'_>| match change { Change::Set(prefix, _) | Change::Unset(prefix) => Some(*prefix) };
        let whole: Vec<_> = RouteSet::diff(&old, &new).filter(|change| place(change) > after).collect();
        prop_assert_eq!(RouteSet::steps_after(&old, &new, after).map(|step| step.prefix).collect::<Vec<_>>(), whole.iter().filter_map(place).collect::<Vec<_>>());
        prop_assert!(RouteSet::steps_after(&old, &new, after).all(|step| step.old == old.get(&step.prefix) && step.new.first().map(|(_, attrs)| attrs) == new.get(&step.prefix)));
        prop_assert_eq!(new.runs_after(after).flat_map(|run| run.routes).count(), new.iter().filter(|(prefix, _)| Some(*prefix) > after).count());
    }

    #[test]
    fn a_splice_is_the_head_of_one_and_the_tail_of_the_other(start in edits(), later in edits(), at in 0..600_u16) {
        let mut model = Model::new();
        let tail = edited(&RouteSet::new(), &mut model, &start);
        let head = edited(&tail, &mut model, &later);
        let at = prefix(at);
        let spliced = RouteSet::spliced(&head, at, &tail);
        assert_sound(&spliced);
        let expected: Vec<Route> = routes(&head).into_iter().filter(|(prefix, _)| *prefix <= at)
            .chain(routes(&tail).into_iter().filter(|(prefix, _)| *prefix > at)).collect();
        prop_assert_eq!(routes(&spliced), expected);
    }
}

/// Routes of both families and of all lengths, with two attribute sets that are shared and lie in long stretches.
fn alike(count: u16, change_at: u16) -> RouteSet {
    let [one, other] = [attrs(1), attrs(2)];
    let route = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let (address, len): (std::net::IpAddr, u8) = match number % 200 {
            0..150 => ([10, high, low, 0].into(), if number % 400 < 200 { 32 } else { 24 + low % 9 }),
            _ => (std::net::Ipv6Addr::new(0x2001, 0xDB8, number, 0, 0, 0, 0, 0).into(), 48 + low % 81),
        };
        let attrs = if number < change_at { &one } else { &other };
        (Prefix::try_new(address, len).unwrap(), Arc::clone(attrs))
    };
    (0..count).map(route).collect()
}

proptest! {
    #[test]
    fn what_runs_know_of_their_routes_is_what_the_routes_say(
        count in 1..900_u16, change_at in 0..900_u16, after in proptest::option::of(0..900_usize), cut in 0..64_usize,
    ) {
        let set = alike(count, change_at);
        let after = after.and_then(|at| set.iter().nth(at)).map(|(prefix, _)| prefix);
        for whole in set.runs_after(after) {
            let cut = cut.min(whole.routes.len());
            for run in [whole, whole.up_to(cut), whole.behind(cut)] {
                let Some(alike) = run.alike else { continue };
                let mut octets = Vec::new();
                for (prefix, attrs) in run.routes {
                    prop_assert!(Arc::ptr_eq(attrs, alike.attrs) && prefix.family() == alike.family);
                    octets.push(prefix.len());
                    octets.extend(prefix.significant_octets());
                }
                prop_assert_eq!(alike.image.octets(), octets);
            }
        }
        prop_assert!(count < 200 || set.runs_after(None).any(|run| run.alike.is_some()));
    }
}

#[test]
fn a_changed_version_shares_all_chunks_but_one() {
    let old: RouteSet = (0..10_000).map(|number| (prefix(number), attrs(0))).collect();
    let new = old.with(prefix(5_000), attrs(1));
    let shared = old.chunks().filter(|chunk| new.chunks().any(|other| Arc::ptr_eq(chunk, other))).count();
    assert_eq!(shared, old.chunks().count() - 1);
    let shared = old
        .branches
        .iter()
        .filter(|branch| new.branches.iter().any(|other| Arc::ptr_eq(branch, other)))
        .count();
    assert_eq!(shared, old.branches.len() - 1);
    assert_eq!(RouteSet::diff(&old, &new).collect::<Vec<_>>(), [Change::Set(prefix(5_000), &attrs(1))]);
}

#[test]
fn setting_an_equal_route_shares_everything() {
    let old: RouteSet = (0..300).map(|number| (prefix(number), attrs(0))).collect();
    assert!(old.with(prefix(7), attrs(0)).shares_all(&old));
    assert!(old.without(&prefix(9_999)).shares_all(&old));
}

#[test]
fn the_last_of_several_routes_for_one_prefix_stays() {
    let set: RouteSet =
        [(prefix(1), attrs(1)), (prefix(0), attrs(0)), (prefix(1), attrs(2)), (prefix(1), attrs(3))]
            .into_iter()
            .collect();
    assert_eq!(routes(&set), [(prefix(0), attrs(0)), (prefix(1), attrs(3))]);
}

#[test]
fn which_families_there_are_is_seen_at_the_ends() {
    let v4: Vec<Prefix> = (0..200).map(prefix).collect();
    let v6: Vec<Prefix> =
        (1..200_u128).map(|bits| Prefix::host(std::net::Ipv6Addr::from_bits(bits).into())).collect();
    let none = Vec::new();
    for (v4, v6) in [(&none, &none), (&v4, &none), (&none, &v6), (&v4, &v6)] {
        let set: RouteSet = v4.iter().chain(v6).map(|prefix| (*prefix, attrs(0))).collect();
        assert_eq!(set.has(Family::Ipv4Unicast), !v4.is_empty());
        assert_eq!(set.has(Family::Ipv6Unicast), !v6.is_empty());
    }
}
