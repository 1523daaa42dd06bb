//! Herald's own core: a frame, the view, the one pass of RFC 7606; writing is a whole session in memory.

use std::sync::Arc;
use std::time::Instant;

use bgp_proto::wire::as_path::AsWidth;
use bgp_proto::wire::check::{Class, Context, Inspected, inspect};
use bgp_proto::wire::header::{Framer, MessageType};
use bgp_proto::wire::update::Update;
use bgp_proto::{Families, PathAttrs, Prefix, RouteSet};
use bytes::Bytes;
use yardstick::memory::{self, PEER};
use yardstick::stream::Sums;

use super::{Addresses, add_path, add_prefixes};

const CONTEXT: Context =
    Context { external: true, width: AsWidth::Four, families: Families::BOTH, extended_next_hop: false };

/// The message, if nothing in it asks for a reset of the session.
fn decode(framer: Framer, message: &Bytes) -> Option<Inspected<'_>> {
    let frame = framer.next(message).ok()??;
    if frame.kind != MessageType::Update {
        return None;
    }
    let inspected = inspect(&Update::parse(frame.body).ok()?, &CONTEXT);
    (inspected.verdict().class < Class::Reset).then_some(inspected)
}

pub(super) fn parse(messages: &[Bytes]) -> u64 {
    let framer = Framer::default();
    messages.iter().filter_map(|message| decode(framer, message)).map(|_| 1).sum()
}

pub(super) fn walk(messages: &[Bytes]) -> Sums {
    let framer = Framer::default();
    let mut sums = Sums::default();
    for message in messages {
        let update = decode(framer, message).expect("a sound message");
        sums.messages += 1;
        add_prefixes(&mut sums, update.announced().map(|prefix| prefix.len()));
        add_prefixes(&mut sums, update.withdrawn().map(|prefix| prefix.len()));
        if let Some((_, routes)) = update.reached() {
            add_prefixes(&mut sums, routes.map(|prefix| prefix.len()));
        }
        if let Some(routes) = update.unreached() {
            add_prefixes(&mut sums, routes.map(|prefix| prefix.len()));
        }
        if let Some(path) = update.as_path() {
            add_path(&mut sums, path.asns().map(|asn| asn.0));
        }
        sums.communities += update.communities().map(|community| u64::from(community.0)).sum::<u64>();
    }
    sums
}

/// From a list of addresses to the octets of an Established session: the table is built, too.
pub(super) fn write(addresses: &Addresses) -> Vec<u8> {
    let attrs = Arc::new(PathAttrs::default());
    let host = |address: &[u8; 4]| (Prefix::host((*address).into()), Arc::clone(&attrs));
    let routes: Arc<RouteSet> = Arc::new(addresses.iter().map(host).collect());
    let now = Instant::now();
    let mut speaker = memory::established(now);
    speaker.set_routes(now, PEER, routes);
    memory::drain(&mut speaker, now).0.into()
}
