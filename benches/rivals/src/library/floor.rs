//! The yardstick, message by message.

use bytes::Bytes;
use yardstick::floor;
use yardstick::stream::Sums;

use super::{ATTRIBUTES, Addresses};

pub(super) fn parse(messages: &[Bytes]) -> u64 {
    messages.iter().map(|message| u64::from(floor::check(message))).sum()
}

pub(super) fn walk(messages: &[Bytes]) -> Sums {
    let mut sums = Sums::default();
    for message in messages {
        floor::walk_message(message, &mut sums);
    }
    sums
}

pub(super) fn write(addresses: &Addresses) -> Vec<u8> {
    let mut out = Vec::with_capacity(addresses.len() * 6);
    floor::pack(&ATTRIBUTES, addresses.iter().copied(), &mut out);
    out
}
