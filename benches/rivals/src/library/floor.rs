//! The yardstick, message by message.

use bytes::Bytes;
use yardstick::floor;
use yardstick::stream::Sums;

use super::{ATTRIBUTES, Addresses, Encoder, room};

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

pub(super) fn encoder(addresses: &Addresses) -> Encoder {
    let addresses = addresses.to_vec();
    Box::new(move || {
        let mut out = Vec::with_capacity(room(&addresses));
        floor::pack(&ATTRIBUTES, addresses.iter().copied(), &mut out);
        out
    })
}
