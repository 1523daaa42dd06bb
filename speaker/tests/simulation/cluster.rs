//! The API server's objects, as far as a speaker reads them, and what follows from them by an oracle of its own.
//!
//! Objects reach a speaker as the JSON that the API server would send, so that everything from decoding on is the
//! product's. The oracle ([`wanted`]) is written from the documentation, not from the code that it judges.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::json::FromJson;
use bgp_proto::Prefix;
use runtime::watch::Change;
use serde_json::{Value, json};
use speaker::watch::intake::Fact;

use crate::chance::mixed;

/// The watches of a speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Node,
    Pool,
    Peer,
    Advertisement,
    Community,
    BfdProfile,
    Secret,
    Service,
    Slice,
    /// What the speakers say of themselves; watched on demand only.
    State,
}

impl Kind {
    /// The watches that a speaker waits for.
    pub(crate) const ALL: [Self; 9] = [
        Self::Node,
        Self::Pool,
        Self::Peer,
        Self::Advertisement,
        Self::Community,
        Self::BfdProfile,
        Self::Secret,
        Self::Service,
        Self::Slice,
    ];
}

/// What an endpoint says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Ready,
    Terminating,
    Unready,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    Node {
        excluded: bool,
        network_unavailable: bool,
        leaving: bool,
    },
    Pool,
    Peer {
        hold: u16,
    },
    Advertisement {
        community: u8,
        most: Option<u16>,
    },
    Service {
        address: u8,
        local: bool,
    },
    Slice {
        v6: bool,
        endpoints: Vec<(u8, Health)>,
    },
    /// The slice of the speakers' own Service: the nodes with one that is ready.
    Speakers {
        ready: BTreeSet<u8>,
    },
    /// Whether the node's speaker says that it could follow the advertisement.
    State {
        able: bool,
    },
}

/// The number of the slice of the speakers' Service.
pub(crate) const SPEAKERS: u8 = u8::MAX;

/// A kind and the number that is part of the object's name.
pub(crate) type Key = (Kind, u8);

pub(crate) type Objects = BTreeMap<Key, Object>;

/// What a watch says.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Restarted,
    Apply(u8, Object),
    Delete(u8, Object),
    Synced,
}

/// Addresses alternate between the families.
pub(crate) fn address(number: u8) -> IpAddr {
    if is_v6(number) {
        Ipv6Addr::new(0xfd00, 0x10, 4, 0, 0, 0, 0, u16::from(number)).into()
    } else {
        Ipv4Addr::new(10, 0, 4, number).into()
    }
}

pub(crate) fn is_v6(number: u8) -> bool {
    number % 3 == 2
}

pub(crate) fn prefix(number: u8) -> Prefix {
    Prefix::host(address(number))
}

pub(crate) fn node_name(number: usize) -> String {
    format!("n{number}")
}

pub(crate) fn router_name(number: usize) -> String {
    format!("r{number}")
}

/// Whether a node is about to leave, by what the objects say.
pub(crate) fn leaves(objects: &Objects, node: usize) -> bool {
    matches!(
        objects.get(&(Kind::Node, u8::try_from(node).unwrap())),
        Some(Object::Node { leaving: true, .. })
    )
}

/// What a node could announce to a router.
pub(crate) struct Offer {
    pub(crate) service: u8,
    pub(crate) prefix: Prefix,
    pub(crate) community: u8,
    /// Which nodes count.
    hosts: Hosts,
}

/// The nodes that could serve what is offered.
enum Hosts {
    All,
    /// Those with ready endpoints.
    Ready(BTreeSet<u8>),
    /// It is not read yet which have ready endpoints.
    Unknown,
}

impl Offer {
    pub(crate) fn forget_hosts(&mut self) {
        if matches!(self.hosts, Hosts::Ready(_)) {
            self.hosts = Hosts::Unknown;
        }
    }
}

/// What a node could announce to a router if the number of nodes were not bounded, by what the objects say. `notice` says
/// that a node which leaves has begun to say so only now.
pub(crate) fn offers(objects: &Objects, node: usize, router: usize, notice: bool) -> Vec<Offer> {
    match is_peer(objects, router) {
        true => offers_to_all(objects, node, notice),
        false => Vec::new(),
    }
}

/// Whether a router is to have sessions, by what the objects say.
pub(crate) fn is_peer(objects: &Objects, router: usize) -> bool {
    objects.contains_key(&(Kind::Peer, u8::try_from(router).unwrap()))
}

/// The same to whatever router there is.
pub(crate) fn offers_to_all(objects: &Objects, node: usize, notice: bool) -> Vec<Offer> {
    let mut offers = Vec::new();
    let number = |value: usize| u8::try_from(value).unwrap();
    let Some(Object::Node { excluded: false, network_unavailable: false, leaving }) =
        objects.get(&(Kind::Node, number(node)))
    else {
        return offers;
    };
    let left = *leaving && !notice;
    if !objects.contains_key(&(Kind::Pool, 0)) {
        return offers;
    }
    let Some(Object::Advertisement { community, .. }) = objects.get(&(Kind::Advertisement, 0)) else {
        return offers;
    };
    for ((_, service), object) in objects.range((Kind::Service, 0)..=(Kind::Service, u8::MAX)) {
        let Object::Service { address, local } = object else { continue };
        let Some(Object::Slice { v6, endpoints }) = objects.get(&(Kind::Slice, *service)) else { continue };
        if *v6 != is_v6(*address) {
            continue;
        }
        let any = |health: Health, here: bool| {
            endpoints.iter().any(|(host, is)| *is == health && (!here || *host == number(node)))
        };
        let serves = if *local {
            any(Health::Ready, true) || (!any(Health::Ready, false) && any(Health::Terminating, true))
        } else {
            any(Health::Ready, false) || any(Health::Terminating, false)
        };
        let elsewhere = endpoints.iter().any(|(host, is)| *is == Health::Ready && *host != number(node));
        // The last way to a Service stays, as long as it serves.
        let stays = !left || (*local && !elsewhere);
        if serves && stays {
            let ready = endpoints.iter().filter(|(_, is)| *is == Health::Ready).map(|(host, _)| *host);
            let hosts = if *local { Hosts::Ready(ready.collect()) } else { Hosts::All };
            offers.push(Offer { service: *service, prefix: prefix(*address), community: *community, hosts });
        }
    }
    offers
}

/// The community that a node must show a router on each address, by what the objects say. An address that is not here
/// must not be announced. `candidates` are the nodes known to be able to; `notice` as above.
pub(crate) fn wanted(
    objects: &Objects,
    candidates: &BTreeSet<u8>,
    node: usize,
    router: usize,
    notice: bool,
) -> BTreeMap<Prefix, u8> {
    let offers = offers(objects, node, router, notice);
    communities(&chosen(objects, candidates, &offers, node))
}

/// The same when everybody knows of everybody: who could is not what the speakers say, but what the objects do.
pub(crate) fn truth(objects: &Objects, node: usize, router: usize) -> BTreeMap<Prefix, u8> {
    let able = |object: &Object| {
        matches!(object, Object::Node { excluded: false, network_unavailable: false, leaving: false })
    };
    let nodes = objects.range((Kind::Node, 0)..=(Kind::Node, u8::MAX));
    let able = nodes.filter(|(_, object)| able(object)).map(|((_, node), _)| *node).collect();
    communities(&chosen(objects, &able, &offers(objects, node, router, false), node))
}

/// The nodes that are known to be able to announce: their speaker is ready, and says so.
pub(crate) fn candidates(objects: &Objects) -> BTreeSet<u8> {
    let Some(Object::Speakers { ready }) = objects.get(&(Kind::Slice, SPEAKERS)) else {
        return BTreeSet::new();
    };
    let able = |node: &u8| matches!(objects.get(&(Kind::State, *node)), Some(Object::State { able: true }));
    ready.iter().copied().filter(able).collect()
}

/// What a node is to announce of what it could.
pub(crate) fn chosen<'a>(
    objects: &Objects,
    candidates: &BTreeSet<u8>,
    offers: &'a [Offer],
    node: usize,
) -> Vec<&'a Offer> {
    let ours = |offer: &&Offer| {
        let places = places(objects, candidates, offer);
        places.is_none_or(|places| places.contains(&u8::try_from(node).unwrap()))
    };
    offers.iter().filter(ours).collect()
}

pub(crate) fn communities(offers: &[&Offer]) -> BTreeMap<Prefix, u8> {
    offers.iter().map(|offer| (offer.prefix, offer.community)).collect()
}

/// The nodes that are to announce, if they are bounded and any is known to be able: the best by rendezvous hashing.
pub(crate) fn places(objects: &Objects, candidates: &BTreeSet<u8>, offer: &Offer) -> Option<BTreeSet<u8>> {
    let Some(Object::Advertisement { most: Some(most), .. }) = objects.get(&(Kind::Advertisement, 0)) else {
        return None;
    };
    let able = |node: &u8| match &offer.hosts {
        Hosts::All => true,
        Hosts::Ready(hosts) => hosts.contains(node),
        Hosts::Unknown => false,
    };
    let mut able: Vec<u8> = candidates.iter().copied().filter(able).collect();
    able.sort_by_key(|node| std::cmp::Reverse(score(&offer.prefix, *node)));
    able.truncate((*most).into());
    (!able.is_empty()).then(|| able.into_iter().collect())
}

/// The score of a node for a prefix, as it is promised: FNV-1a of both texts, mixed as SplitMix64 does it.
fn score(prefix: &Prefix, node: u8) -> u64 {
    let fnv = |text: String| {
        let step = |hash: u64, octet: u8| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
        text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
    };
    mixed(fnv(prefix.to_string()) ^ mixed(fnv(node_name(node.into()))))
}

/// What the watch of a kind hands to the speaker.
pub(crate) fn fact(kind: Kind, news: &News) -> Fact {
    match kind {
        Kind::Node => Fact::Node(change(kind, news)),
        Kind::Pool => Fact::Pool(change(kind, news)),
        Kind::Peer => Fact::Peer(change(kind, news)),
        Kind::Advertisement => Fact::Advertisement(change(kind, news)),
        Kind::Community => Fact::Community(change(kind, news)),
        Kind::BfdProfile => Fact::BfdProfile(change(kind, news)),
        Kind::Secret => Fact::Secret(change(kind, news)),
        Kind::Service => Fact::Service(change(kind, news)),
        Kind::Slice => Fact::Slice(change(kind, news)),
        Kind::State => Fact::State(change(kind, news)),
    }
}

fn change<K: FromJson>(kind: Kind, news: &News) -> Change<K> {
    let read =
        |number: u8, object: &Object| K::from_json(&as_json(kind, number, object).to_string()).unwrap();
    match news {
        News::Restarted => Change::Restarted,
        News::Apply(number, object) => Change::Apply(read(*number, object)),
        News::Delete(number, object) => Change::Delete(read(*number, object)),
        News::Synced => Change::Synced,
    }
}

fn as_json(kind: Kind, number: u8, object: &Object) -> Value {
    let configured = |version: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": format!("metallb.io/{version}"), "kind": format!("{kind:?}"),
            "metadata": {"name": name, "namespace": "metallb-system", "resourceVersion": "7"}, "spec": spec,
        })
    };
    match object {
        Object::Node { excluded, network_unavailable, leaving } => {
            let labels = if *excluded {
                json!({"node.kubernetes.io/exclude-from-external-load-balancers": ""})
            } else {
                json!({})
            };
            let status = if *network_unavailable { "True" } else { "False" };
            let taints = if *leaving {
                json!([{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule", "value": "1700000000"}])
            } else {
                json!([])
            };
            json!({
                "metadata": {"name": node_name(number.into()), "uid": "uid", "labels": labels},
                "spec": {"taints": taints},
                "status": {"conditions": [{"type": "NetworkUnavailable", "status": status}]},
            })
        }
        Object::Pool => {
            configured("v1beta1", "pool", json!({"addresses": ["10.0.4.0/24", "fd00:10:4::/112"]}))
        }
        Object::Peer { hold } => configured(
            "v1beta2",
            &router_name(number.into()),
            json!({
                "myASN": 64500, "peerASN": 65530, "peerAddress": format!("10.0.2.{}", 100 + number),
                "holdTime": format!("{hold}s"), "enableGracefulRestart": true, "dualStackAddressFamily": true,
            }),
        ),
        Object::Advertisement { community, most } => {
            let communities = [format!("64500:{community}")];
            configured("v1beta1", "all", json!({"communities": communities, "maxNodes": most}))
        }
        Object::Service { address: number_of_address, local } => json!({
            "metadata": {"name": format!("s{number}"), "namespace": "default", "uid": format!("s{number}")},
            "spec": {
                "type": "LoadBalancer",
                "externalTrafficPolicy": if *local { "Local" } else { "Cluster" },
            },
            "status": {"loadBalancer": {"ingress": [{"ip": address(*number_of_address)}]}},
        }),
        Object::Slice { v6, endpoints } => {
            let endpoints: Vec<Value> = endpoints
                .iter()
                .map(|(node, health)| {
                    json!({
                        "addresses": ["10.244.0.1"], "nodeName": node_name((*node).into()), "conditions": {
                            "ready": *health == Health::Ready, "serving": *health != Health::Unready,
                            "terminating": *health == Health::Terminating,
                        },
                    })
                })
                .collect();
            json!({
                "metadata": {
                    "name": format!("s{number}-x"), "namespace": "default",
                    "labels": {"kubernetes.io/service-name": format!("s{number}")},
                },
                "addressType": if *v6 { "IPv6" } else { "IPv4" }, "endpoints": endpoints,
            })
        }
        Object::Speakers { ready } => {
            let endpoints = ready.iter().map(|node| {
                json!({"addresses": ["10.0.2.1"], "nodeName": node_name((*node).into()), "conditions": {"ready": true}})
            });
            json!({
                "metadata": {
                    "name": "herald-speakers-x", "namespace": "metallb-system",
                    "labels": {"kubernetes.io/service-name": "herald-speakers"},
                },
                "addressType": "IPv4", "endpoints": endpoints.collect::<Vec<Value>>(),
            })
        }
        Object::State { able } => {
            let annotations = if *able { json!({"herald-lb.io/able": "all"}) } else { json!({}) };
            let node = node_name(number.into());
            json!({"metadata": {
                "name": format!("speaker-{node}"), "namespace": "metallb-system",
                "labels": {"metallb.io/component-type": "speaker", "metallb.io/node-name": node},
                "annotations": annotations,
            }})
        }
    }
}
