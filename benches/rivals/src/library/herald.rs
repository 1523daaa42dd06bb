//! Herald's own core: a frame, the view, the RFC 7606 verdict; writing is a whole session in memory.

use std::sync::Arc;
use std::time::Instant;

use bgp_proto::wire::as_path::{AsPath, AsWidth};
use bgp_proto::wire::check::{Class, Context, check};
use bgp_proto::wire::header::{Framer, MessageType};
use bgp_proto::wire::nlri::Nlri;
use bgp_proto::wire::update::{MpReach, MpUnreach, Update};
use bgp_proto::{Families, Family, PathAttrs, Prefix, RouteSet};
use bytes::Bytes;
use yardstick::memory::{self, PEER};
use yardstick::stream::Sums;

use super::{Addresses, add_path, add_prefixes};

const CONTEXT: Context = Context { external: true, width: AsWidth::Four, families: Families::BOTH };

/// The message, if nothing in it asks for a reset of the session.
fn decode<'a>(framer: Framer, message: &'a Bytes) -> Option<Update<'a>> {
    let frame = framer.next(message).ok()??;
    if frame.kind != MessageType::Update {
        return None;
    }
    let update = Update::parse(frame.body).ok()?;
    (check(&update, &CONTEXT).class < Class::Reset).then_some(update)
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
        walk_update(&update, &mut sums);
    }
    sums
}

fn walk_update(update: &Update<'_>, sums: &mut Sums) {
    add_all(sums, update.withdrawn, Some(Family::Ipv4Unicast));
    add_all(sums, update.nlri, Some(Family::Ipv4Unicast));
    for attribute in update.attrs().flatten() {
        match attribute.code {
            2 => {
                if let Ok(path) = AsPath::try_new(attribute.value, AsWidth::Four) {
                    add_path(sums, path.asns().map(|asn| asn.0));
                }
            }
            8 => {
                let communities = attribute.value.chunks_exact(4).filter_map(|octets| octets.first_chunk());
                sums.communities +=
                    communities.map(|octets| u64::from(u32::from_be_bytes(*octets))).sum::<u64>();
            }
            14 => {
                if let Some(reach) = MpReach::parse(attribute.value) {
                    add_all(sums, reach.nlri, Family::from_afi_safi(reach.afi, reach.safi));
                }
            }
            15 => {
                if let Some(unreach) = MpUnreach::parse(attribute.value) {
                    add_all(sums, unreach.nlri, Family::from_afi_safi(unreach.afi, unreach.safi));
                }
            }
            _ => {}
        }
    }
}

fn add_all(sums: &mut Sums, nlri: &[u8], family: Option<Family>) {
    if let Some(Ok(nlri)) = family.map(|family| Nlri::try_new(nlri, family)) {
        add_prefixes(sums, nlri.map(|prefix| prefix.len()));
    }
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
