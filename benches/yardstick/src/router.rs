//! What the router of a bench says: an OPEN and a KEEPALIVE by hand.

use crate::stream::put_message;

/// The AS of the benches' router.
pub const ROUTER_ASN: u32 = 65_530;

/// OPEN: both families, route refresh, four-octet AS numbers, hold time 90 s.
#[must_use]
pub fn open() -> Vec<u8> {
    open_with(90)
}

/// The same with a hold time of `hold` seconds.
#[must_use]
pub fn open_with(hold: u16) -> Vec<u8> {
    let [_, _, high, low] = ROUTER_ASN.to_be_bytes();
    let capabilities =
        [&[1, 4, 0, 1, 0, 1][..], &[1, 4, 0, 2, 0, 1], &[2, 0], &[65, 4, 0, 0, high, low]].concat();
    let length = u8::try_from(capabilities.len()).expect("four short capabilities");
    let [hold_high, hold_low] = hold.to_be_bytes();
    let mut body = vec![4, high, low, hold_high, hold_low, 192, 0, 2, 1, length + 2, 2, length];
    body.extend(capabilities);
    message(1, &body)
}

/// KEEPALIVE.
#[must_use]
pub fn keepalive() -> Vec<u8> {
    message(4, &[])
}

/// ROUTE-REFRESH for IPv4 unicast: the answer is every route once more.
#[must_use]
pub fn refresh() -> Vec<u8> {
    message(5, &[0, 1, 0, 1])
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    put_message(&mut octets, kind, body);
    octets
}
