//! Herald's own core: a frame, the view, the one pass of RFC 7606; writing is a whole session in memory.

use std::sync::Arc;
use std::time::Instant;

use bgp_proto::wire::as_path::AsWidth;
use bgp_proto::wire::check::{Class, Context, inspect};
use bgp_proto::wire::header::{Framer, MessageType};
use bgp_proto::wire::update::Update;
use bgp_proto::{Families, PathAttrs, Prefix, RouteSet};
use bytes::{Bytes, BytesMut};
use yardstick::memory::{self, PEER};
use yardstick::stream::Sums;

use super::{Addresses, Encoder, add_path, add_prefixes, room};

const CONTEXT: Context =
    Context { external: true, width: AsWidth::Four, families: Families::BOTH, extended_next_hop: false };

#[inline]
fn update_of<'a>(framer: Framer, message: &'a Bytes) -> Option<Update<'a>> {
    let frame = framer.next(message).ok()??;
    if frame.kind == MessageType::Update { Update::parse(frame.body).ok() } else { None }
}

/// Accepts what does not ask for a reset of the session.
pub(super) fn parse(messages: &[Bytes]) -> u64 {
    let framer = Framer::default();
    let is_sound = |message: &Bytes| {
        update_of(framer, message)
            .is_some_and(|update| inspect(&update, &CONTEXT).verdict().class < Class::Reset)
    };
    messages.iter().map(|message| u64::from(is_sound(message))).sum()
}

pub(super) fn walk(messages: &[Bytes]) -> Sums {
    let framer = Framer::default();
    let mut sums = Sums::default();
    for message in messages {
        let update = inspect(&update_of(framer, message).expect("an UPDATE"), &CONTEXT);
        assert!(update.verdict().class < Class::Reset, "a sound message");
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

/// Its own values are a table of routes and a session that is Established; what it writes is the whole way from
/// [`bgp_proto::Speaker::set_routes`] on.
pub(super) fn encoder(addresses: &Addresses) -> Encoder {
    let attrs = Arc::new(PathAttrs::default());
    let host = |address: &[u8; 4]| (Prefix::host((*address).into()), Arc::clone(&attrs));
    let routes: Arc<RouteSet> = Arc::new(addresses.iter().map(host).collect());
    let room = room(addresses);
    let now = Instant::now();
    let mut speaker = memory::established(now);
    Box::new(move || {
        let mut out = BytesMut::with_capacity(room);
        speaker.set_routes(PEER, Arc::clone(&routes));
        memory::drain_into(&mut speaker, now, &mut out);
        out.into()
    })
}
