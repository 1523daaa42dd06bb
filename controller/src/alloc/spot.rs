//! An address as a key of the allocator's maps.
//!
//! Leaves out what is kept under it.

use std::cmp::Ordering;
use std::net::IpAddr;

/// An address, in the order of [`IpAddr`]. Compared as one number: the standard library compares IPv6 addresses group by
/// group, and a search in a large map is nothing but comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot(pub(crate) IpAddr);

impl Ord for Spot {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0, other.0) {
            (IpAddr::V4(one), IpAddr::V4(other)) => one.to_bits().cmp(&other.to_bits()),
            (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits().cmp(&other.to_bits()),
            (IpAddr::V4(_), IpAddr::V6(_)) => Ordering::Less,
            (IpAddr::V6(_), IpAddr::V4(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Spot {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
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
            "2001:db8::ff",
            "ff::",
        ];
        let all: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        for one in &all {
            for other in &all {
                assert_eq!(Spot(*one).cmp(&Spot(*other)), one.cmp(other), "{one} and {other}");
            }
        }
    }
}
