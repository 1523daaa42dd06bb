//! Herald, the floor and the published crates, each behind the same three functions, so that one loop measures all.

mod bgpkit;
mod floor;
mod herald;
mod netgauze;
mod routecore;
mod rustbgpd;
mod zettabgp;

use bytes::Bytes;
use yardstick::stream::Sums;

/// ORIGIN, AS_PATH with one AS, NEXT_HOP: the one attribute set of the write bench.
pub(crate) const ATTRIBUTES: [u8; 20] =
    [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xFB, 0xF4, 0x40, 3, 4, 192, 0, 2, 7];
/// The AS of [`ATTRIBUTES`].
pub(crate) const ASN: u32 = yardstick::memory::NODE_ASN;
/// The next hop of [`ATTRIBUTES`].
pub(crate) const NEXT_HOP: [u8; 4] = [192, 0, 2, 7];
/// /32 that fit into one message behind [`ATTRIBUTES`]; crates that do not split get pieces of this size.
pub(crate) const PIECE: usize = (4096 - 19 - 4 - ATTRIBUTES.len()) / 5;

/// Addresses to announce as /32.
pub(crate) type Addresses = [[u8; 4]];

/// Writes UPDATEs that announce values made beforehand with [`ATTRIBUTES`], one behind the other. Asked once.
pub(crate) type Encoder = Box<dyn FnMut() -> Vec<u8>>;

/// Octets that all messages have room in.
fn room(addresses: &Addresses) -> usize {
    addresses.len() * 6
}

/// One way of reading and writing UPDATEs.
pub(crate) struct Library {
    /// Name and version.
    pub(crate) name: &'static str,
    /// Its entry point for a received message, as its documentation shows it; returns how many it accepted.
    pub(crate) parse: fn(&[Bytes]) -> u64,
    /// The same, and then every prefix, AS number and standard community is read.
    pub(crate) walk: fn(&[Bytes]) -> Sums,
    /// Makes its own values of the addresses, and what writes them.
    pub(crate) encoder: fn(&Addresses) -> Encoder,
}

/// Herald against the floor, and everybody else.
pub(crate) const LIBRARIES: [Library; 7] = [
    Library { name: FLOOR, parse: floor::parse, walk: floor::walk, encoder: floor::encoder },
    Library { name: HERALD, parse: herald::parse, walk: herald::walk, encoder: herald::encoder },
    Library {
        name: "routecore 0.7.2",
        parse: routecore::parse,
        walk: routecore::walk,
        encoder: routecore::encoder,
    },
    Library {
        name: "zettabgp 0.6.0",
        parse: zettabgp::parse,
        walk: zettabgp::walk,
        encoder: zettabgp::encoder,
    },
    Library {
        name: "rustbgpd-wire 0.27.0",
        parse: rustbgpd::parse,
        walk: rustbgpd::walk,
        encoder: rustbgpd::encoder,
    },
    Library {
        name: "netgauze-bgp-pkt 0.13.0",
        parse: netgauze::parse,
        walk: netgauze::walk,
        encoder: netgauze::encoder,
    },
    Library {
        name: "bgpkit-parser 0.23.0",
        parse: bgpkit::parse,
        walk: bgpkit::walk,
        encoder: bgpkit::encoder,
    },
];

/// The yardstick's name.
pub(crate) const FLOOR: &str = "floor";
/// Ours.
pub(crate) const HERALD: &str = "Herald";

/// Adds prefixes of these lengths.
fn add_prefixes(sums: &mut Sums, lengths: impl Iterator<Item = u8>) {
    for bits in lengths {
        sums.prefixes += 1;
        sums.bits += u64::from(bits);
    }
}

/// Adds the AS numbers of one path.
fn add_path(sums: &mut Sums, asns: impl Iterator<Item = u32>) {
    let mut sum = PathSum::default();
    asns.for_each(|asn| sum.add(asn));
    sum.add_to(sums);
}

/// The AS numbers of one path; one with AS 0 in it is malformed (RFC 7607 §2) and does not count anywhere.
#[derive(Default)]
struct PathSum {
    sum: u64,
    has_zero: bool,
}

impl PathSum {
    fn add(&mut self, asn: u32) {
        self.sum += u64::from(asn);
        self.has_zero |= asn == 0;
    }

    fn add_to(self, sums: &mut Sums) {
        if !self.has_zero {
            sums.asns += self.sum;
        }
    }
}
