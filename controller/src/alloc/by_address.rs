//! A map by address, in the order of addresses: IPv4 first.
//!
//! A search in a large map is nothing but comparisons, and the standard library compares IPv6 addresses group by group.
//! Here each family has a map of its own with plain numbers as keys, which need less room, too. Leaves out what is kept.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ByAddress<V> {
    v4: BTreeMap<u32, V>,
    v6: BTreeMap<u128, V>,
}

impl<V> Default for ByAddress<V> {
    fn default() -> Self {
        Self { v4: BTreeMap::new(), v6: BTreeMap::new() }
    }
}

impl<V> ByAddress<V> {
    pub(crate) fn get(&self, address: IpAddr) -> Option<&V> {
        match address {
            IpAddr::V4(v4) => self.v4.get(&v4.to_bits()),
            IpAddr::V6(v6) => self.v6.get(&v6.to_bits()),
        }
    }

    /// What is kept for the address; made if nothing is there.
    pub(crate) fn or_default(&mut self, address: IpAddr) -> &mut V
    where
        V: Default,
    {
        match address {
            IpAddr::V4(v4) => self.v4.entry(v4.to_bits()).or_default(),
            IpAddr::V6(v6) => self.v6.entry(v6.to_bits()).or_default(),
        }
    }

    /// Changes what is kept for the address, if something is; it goes where `change` says that it is not to stay. Returns
    /// whether it went.
    pub(crate) fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut V) -> bool) -> bool {
        match address {
            IpAddr::V4(v4) => change_at(self.v4.entry(v4.to_bits()), change),
            IpAddr::V6(v6) => change_at(self.v6.entry(v6.to_bits()), change),
        }
    }

    pub(crate) fn insert(&mut self, address: IpAddr, value: V) -> Option<V> {
        match address {
            IpAddr::V4(v4) => self.v4.insert(v4.to_bits(), value),
            IpAddr::V6(v6) => self.v6.insert(v6.to_bits(), value),
        }
    }

    pub(crate) fn remove(&mut self, address: IpAddr) -> Option<V> {
        match address {
            IpAddr::V4(v4) => self.v4.remove(&v4.to_bits()),
            IpAddr::V6(v6) => self.v6.remove(&v6.to_bits()),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.v4.clear();
        self.v6.clear();
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = IpAddr> {
        self.v4.keys().copied().map(v4).chain(self.v6.keys().copied().map(v6))
    }

    /// The highest entry of the family at or below `address`.
    pub(crate) fn last_up_to(&self, address: IpAddr) -> Option<(IpAddr, &V)> {
        match address {
            IpAddr::V4(at) => {
                self.v4.range(..=at.to_bits()).next_back().map(|(bits, value)| (v4(*bits), value))
            }
            IpAddr::V6(at) => {
                self.v6.range(..=at.to_bits()).next_back().map(|(bits, value)| (v6(*bits), value))
            }
        }
    }

    /// The lowest entry of `first..=last`, two addresses of one family.
    pub(crate) fn first_between(&self, first: IpAddr, last: IpAddr) -> Option<(IpAddr, &V)> {
        match (first, last) {
            _ if first > last => None,
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                let mut between = self.v4.range(first.to_bits()..=last.to_bits());
                between.next().map(|(bits, value)| (v4(*bits), value))
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                let mut between = self.v6.range(first.to_bits()..=last.to_bits());
                between.next().map(|(bits, value)| (v6(*bits), value))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }
}

fn change_at<K: Ord, V>(entry: Entry<'_, K, V>, change: impl FnOnce(&mut V) -> bool) -> bool {
    let Entry::Occupied(mut there) = entry else {
        return false;
    };
    let goes = !change(there.get_mut());
    if goes {
        there.remove();
    }
    goes
}

fn v4(bits: u32) -> IpAddr {
    Ipv4Addr::from_bits(bits).into()
}

fn v6(bits: u128) -> IpAddr {
    Ipv6Addr::from_bits(bits).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_addresses() {
        let texts = [
            "0.0.0.0",
            "10.0.0.255",
            "10.0.1.0",
            "255.255.255.255",
            "::",
            "::1",
            "1::",
            "ff::",
            "2001:db8::ff",
        ];
        let all: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let mut map = ByAddress::default();
        for (number, address) in all.iter().enumerate().rev() {
            assert_eq!(map.insert(*address, number), None);
        }
        assert_eq!(map.keys().collect::<Vec<_>>(), all);
        for (number, address) in all.iter().enumerate() {
            assert_eq!(map.last_up_to(*address), Some((*address, &number)));
            assert_eq!(map.first_between(*address, *address), Some((*address, &number)));
        }
    }

    #[test]
    fn families_are_worlds_of_their_own() {
        let (v4, v6): (IpAddr, IpAddr) = ("255.255.255.255".parse().unwrap(), "::".parse().unwrap());
        let mut map = ByAddress::default();
        map.insert(v4, "old");
        assert_eq!(map.last_up_to(v6), None);
        assert_eq!(map.first_between(v4, v6), None);
        assert_eq!(
            map.first_between(v4, IpAddr::from([1, 1, 1, 1])),
            None,
            "nothing lies in a range that is upside down"
        );
    }

    #[test]
    fn what_changes_may_go() {
        let address = IpAddr::from([10, 0, 0, 1]);
        let mut map: ByAddress<u8> = ByAddress::default();
        *map.or_default(address) += 1;
        assert!(!map.change(address, |number| std::mem::replace(number, 2) == 1));
        assert_eq!(map.get(address), Some(&2));
        assert!(map.change(address, |_| false));
        assert!(!map.change(address, |_| false), "it is gone");
        assert_eq!(map.remove(address), None);
    }
}
