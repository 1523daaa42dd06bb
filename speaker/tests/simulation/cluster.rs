//! The API server's objects, as far as a speaker reads them, and what follows from them by an oracle of its own.
//!
//! Objects reach a speaker as the JSON that the API server would send, so that everything from decoding on is the
//! product's. The oracle ([`wanted`]) is written from the documentation, not from the code that it judges.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bgp_proto::Prefix;
use runtime::watch::Change;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use speaker::watch::intake::Fact;

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
}

impl Kind {
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
    Node { excluded: bool, network_unavailable: bool, leaving: bool },
    Pool,
    Peer { hold: u16 },
    Advertisement { community: u8 },
    Service { address: u8, local: bool },
    Slice { v6: bool, endpoints: Vec<(u8, Health)> },
}

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

/// The community that a node must show a router on each address, by what the objects say. An address that is not here
/// must not be announced. `notice` says that a node which leaves has begun to say so only now.
pub(crate) fn wanted(objects: &Objects, node: usize, router: usize, notice: bool) -> BTreeMap<Prefix, u8> {
    let mut wanted = BTreeMap::new();
    let number = |value: usize| u8::try_from(value).unwrap();
    let Some(Object::Node { excluded: false, network_unavailable: false, leaving }) =
        objects.get(&(Kind::Node, number(node)))
    else {
        return wanted;
    };
    let left = *leaving && !notice;
    if !objects.contains_key(&(Kind::Peer, number(router))) || !objects.contains_key(&(Kind::Pool, 0)) {
        return wanted;
    }
    let Some(Object::Advertisement { community }) = objects.get(&(Kind::Advertisement, 0)) else {
        return wanted;
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
        // The last way to a Service stays.
        let stays = !left || (*local && any(Health::Ready, true) && !elsewhere);
        if serves && stays {
            wanted.insert(prefix(*address), *community);
        }
    }
    wanted
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
    }
}

fn change<K: DeserializeOwned>(kind: Kind, news: &News) -> Change<K> {
    let read = |number: u8, object: &Object| {
        serde_json::from_str(&as_json(kind, number, object).to_string()).unwrap()
    };
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
        Object::Advertisement { community } => {
            configured("v1beta1", "all", json!({"communities": [format!("64500:{community}")]}))
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
    }
}
