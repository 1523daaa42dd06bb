//! Peers: each rule by itself, passwords, and two peers with one router.

use std::net::Ipv4Addr;
use std::num::NonZeroU8;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::*;
use crate::v1beta2::{ConnectMode, DynamicAsn, GatewayFamily};

fn check(change: impl FnOnce(&mut BGPPeerSpec), expected: &str) {
    let resources = Resources { peers: vec![peer("r", 1, change)], ..Resources::default() };
    let texts: Vec<String> =
        build(&resources).1.iter().map(|rejection| rejection.reason.to_string()).collect();
    let expected: Vec<&str> = Some(expected).filter(|text| !text.is_empty()).into_iter().collect();
    assert_eq!(texts, expected);
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn the_router_must_be_known() {
    check(|_| {}, "");
    check(
        |spec| spec.my_asn = 0,
        "missing local ASN; set myASN to the AS number of the nodes, for example 64500",
    );
    check(
        |spec| spec.peer_asn = None,
        "missing peer ASN and dynamicASN; set peerASN to the router's AS number",
    );
    check(
        |spec| spec.peer_asn = Some(0),
        "missing peer ASN and dynamicASN; set peerASN to the router's AS number",
    );
    check(
        |spec| spec.dynamic_asn = Some(DynamicAsn::External),
        "both peer ASN and dynamicASN specified; remove one of them",
    );
    check(
        |spec| spec.peer_address = text("router"),
        "invalid BGPPeer address \"router\"; write an IPv4 or IPv6 address",
    );
    check(
        |spec| spec.peer_address = None,
        "peer has no Address or Interface specified; set peerAddress to the router's address",
    );
    check(
        |spec| spec.interface = text("eth0"),
        "peer has both Address and Interface specified; remove one of them",
    );
    check(|spec| spec.source_address = text("me"), "invalid source IP \"me\"; write an address of the node");
    check(
        |spec| spec.source_address = text("fd00::1"),
        "invalid source IP \"fd00::1\": the router's address \"10.0.2.1\" is of the other family",
    );
    check(
        |spec| spec.router_id = text("fd00::1"),
        "invalid router ID \"fd00::1\"; write an IPv4 address, or leave it out for one of each node's own",
    );
    check(
        |spec| spec.router_id = text("0.0.0.0"),
        "invalid router ID \"0.0.0.0\"; write an IPv4 address, or leave it out for one of each node's own",
    );
    check(
        |spec| {
            spec.peer_asn = Some(64500);
            spec.ebgp_multi_hop = Some(true);
        },
        "invalid ebgp-multihop parameter set for an ibgp peer; remove ebgpMultiHop or correct peerASN",
    );
}

fn check_timers(
    hold: Option<&str>,
    keepalive: Option<&str>,
    expected: Result<(Option<u16>, Option<u16>), &str>,
) {
    let object = peer("r", 1, |spec| {
        spec.hold_time = hold.map(str::to_owned);
        spec.keepalive_time = keepalive.map(str::to_owned);
    });
    let (config, rejections) = build(&Resources { peers: vec![object], ..Resources::default() });
    let got = match rejections.first() {
        Some(rejection) => Err(rejection.reason.to_string()),
        None => {
            Ok(config.peers.get("r").map(|peer| (peer.hold_time, peer.keepalive)).expect("an accepted peer"))
        }
    };
    assert_eq!(got, expected.map_err(str::to_owned), "hold {hold:?}, keepalive {keepalive:?}");
}

#[test]
fn timers_are_whole_seconds_rounded_down() {
    check_timers(None, None, Ok((None, None)));
    check_timers(Some("90s"), None, Ok((Some(90), None)));
    check_timers(Some("3.9s"), Some("1.9s"), Ok((Some(3), Some(1))));
    check_timers(Some("0s"), Some("0s"), Ok((Some(0), None)));
    check_timers(Some("9s"), Some("0s"), Ok((Some(9), None)));
    check_timers(None, Some("30s"), Ok((Some(90), Some(30))));
    check_timers(Some("65535s"), None, Ok((Some(65535), None)));
    check_timers(Some("2s"), None, Err("invalid hold time \"2s\": must be 0 or >=3s, and at most 65535s"));
    check_timers(
        Some("65536s"),
        None,
        Err("invalid hold time \"65536s\": must be 0 or >=3s, and at most 65535s"),
    );
    check_timers(Some("90"), None, Err("invalid hold time: \"90\" is not a duration; write 90s or 1m30s"));
    check_timers(
        Some("9s"),
        Some("10s"),
        Err(
            "invalid keepaliveTime \"10s\": must be lower than holdTime \"9s\"; leave it out for a third of it",
        ),
    );
}

#[test]
fn connect_time_is_whole_seconds() {
    check(|spec| spec.connect_time = text("10s"), "");
    check(
        |spec| spec.connect_time = text("0s"),
        "invalid connect time \"0s\": must be whole seconds from 1s to 65535s",
    );
    check(
        |spec| spec.connect_time = text("1500ms"),
        "invalid connect time \"1500ms\": must be whole seconds from 1s to 65535s",
    );
}

#[test]
fn what_is_written_is_what_the_session_gets() {
    let object = peer("r", 1, |spec| {
        spec.local_asn = Some(64499);
        spec.peer_address = text("::ffff:10.0.2.9");
        spec.peer_port = Some(1790);
        spec.source_address = text("10.0.2.11");
        spec.router_id = text("10.0.2.11");
        spec.enable_graceful_restart = Some(false);
        spec.dual_stack_address_family = Some(true);
    });
    let (config, rejections) = build(&Resources { peers: vec![object], ..Resources::default() });
    assert_eq!(rejections, []);
    let peer = &config.peers["r"];
    assert_eq!((peer.local_asn, peer.remote_asn), (64499, RemoteAsn::Exactly(65530)));
    assert_eq!((&peer.router, peer.port), (&RouterAt::Address(Ipv4Addr::new(10, 0, 2, 9).into()), 1790));
    assert_eq!(peer.router_id, Some(Ipv4Addr::new(10, 0, 2, 11)));
    assert!(!peer.graceful_restart && peer.dual_stack);
    assert_eq!(peer.refused, None);
}

#[test]
fn unset_means_port_179_and_graceful_restart() {
    let (config, _) = build(&Resources {
        peers: vec![peer("r", 1, |spec| spec.peer_port = Some(0))],
        ..Resources::default()
    });
    assert_eq!((config.peers["r"].port, config.peers["r"].graceful_restart), (179, true));
}

fn check_secret(found: Option<PasswordSecret>, expected: &str) {
    let resources = Resources {
        peers: vec![peer("r", 1, |spec| spec.password_secret = secret("pw"))],
        secrets: found.map(|found| ("pw".to_owned(), found)).into_iter().collect(),
        ..Resources::default()
    };
    // The password that was good before must not be used any more.
    let good = Resources {
        secrets: [("pw".to_owned(), PasswordSecret::Password(Password::try_new("old").expect("short")))]
            .into(),
        ..resources.clone()
    };
    let (config, _) = Config::build(&resources, &build(&good).0);
    let refused = config.peers["r"].refused.as_ref().map(ToString::to_string);
    assert_eq!(refused.unwrap_or_default(), expected);
    assert_eq!(config.peers["r"].key.is_some(), expected.is_empty());
}

#[test]
fn a_peer_without_its_password_stays_down_and_says_why() {
    check_secret(Password::try_new("guess").map(PasswordSecret::Password), "");
    check_secret(
        None,
        "there is no Secret \"pw\" of type kubernetes.io/basic-auth (one of another type does not count); the session stays \
         down until there is one",
    );
    check_secret(
        Some(PasswordSecret::WrongType("Opaque".to_owned())),
        "Secret \"pw\" is of type \"Opaque\"; make one of type kubernetes.io/basic-auth. The session stays down until \
         then",
    );
    check_secret(
        Some(PasswordSecret::MissingKey),
        "Secret \"pw\" has no key \"password\"; the session stays down until it has one",
    );
    check_secret(
        Some(PasswordSecret::UnusableLength(81)),
        "the password in Secret \"pw\" has 81 octets; TCP MD5 takes 1 to 80. The session stays down until then",
    );
}

#[test]
fn a_secret_is_read_by_its_type_and_key() {
    let secret = |type_: &str, key: &str, value: &str| {
        PasswordSecret::from_secret(&Secret {
            type_: text(type_),
            data: Some([(key.to_owned(), ByteString(value.into()))].into()),
            ..Secret::default()
        })
    };
    let password = Password::try_new("guess").expect("short");
    assert_eq!(
        secret("kubernetes.io/basic-auth", "password", "guess"),
        PasswordSecret::Password(password.clone())
    );
    assert_eq!(secret("Opaque", "password", "guess"), PasswordSecret::WrongType("Opaque".to_owned()));
    assert_eq!(secret("kubernetes.io/basic-auth", "pass", "guess"), PasswordSecret::MissingKey);
    assert_eq!(secret("kubernetes.io/basic-auth", "password", ""), PasswordSecret::UnusableLength(0));
    assert_eq!(format!("{password:?}"), "Password(hidden)");
}

#[test]
fn an_empty_secret_reference_is_none() {
    check(|spec| spec.password_secret = Some(SecretReference::default()), "");
    check(
        |spec| {
            spec.password_secret = secret("pw");
            spec.password = text("guess");
        },
        "both password and passwordSecret specified; keep passwordSecret",
    );
}

/// A Secret for TCP-AO with these values, missing ones left out.
fn tcp_ao(type_: &str, values: [(&str, Option<&str>); 4]) -> Result<TcpAo, TcpAoFault> {
    let data =
        values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), ByteString(value?.into()))));
    TcpAo::from_secret(&Secret { type_: text(type_), data: Some(data.collect()), ..Secret::default() })
}

const BASIC: &str = "kubernetes.io/basic-auth";

#[test]
fn a_tcp_ao_secret_is_read_whole_or_says_what_it_lacks() {
    let read = |key, send, recv, algorithm| {
        tcp_ao(BASIC, [("password", key), ("sendID", send), ("recvID", recv), ("algorithm", algorithm)])
    };
    for algorithm in TcpAoAlgorithm::ALL {
        let found =
            read(Some("master"), Some("0"), Some("255\n"), Some(algorithm.word())).expect("it is whole");
        assert_eq!(found.key.octets(), b"master");
        assert_eq!((found.send_id, found.recv_id, found.algorithm), (0, 255, algorithm));
        assert!(!format!("{found:?}").contains("master"), "no log shows the key");
    }
    let fault = |found: Result<TcpAo, TcpAoFault>| found.expect_err("a fault").to_string();
    let good = "hmac-sha-1-96";
    assert_eq!(fault(read(None, Some("1"), Some("1"), Some(good))), "it has no key \"password\"");
    assert_eq!(fault(read(Some("k"), None, Some("1"), Some(good))), "it has no key \"sendID\"");
    assert_eq!(fault(read(Some("k"), Some("1"), None, Some(good))), "it has no key \"recvID\"");
    assert_eq!(fault(read(Some("k"), Some("1"), Some("1"), None)), "it has no key \"algorithm\"");
    for text in ["", "256", "-1", "one"] {
        assert_eq!(
            fault(read(Some("k"), Some("1"), Some(text), Some(good))),
            "its recvID is not a number from 0 to 255"
        );
    }
    let long = "x".repeat(81);
    for (key, octets) in [("", 0), (long.as_str(), 81)] {
        assert_eq!(
            fault(read(Some(key), Some("1"), Some("1"), Some(good))),
            format!("its password, the master key, has {octets} octets; TCP-AO takes 1 to 80")
        );
    }
    assert_eq!(
        fault(read(Some("k"), Some("1"), Some("1"), Some("md5"))),
        "its algorithm is none of hmac-sha-1-96, aes-128-cmac-96 and hmac-sha-256-96"
    );
    let none = [("password", None), ("sendID", None), ("recvID", None), ("algorithm", None)];
    assert_eq!(tcp_ao("Opaque", none), Err(TcpAoFault::WrongType("Opaque".to_owned())));
}

#[test]
fn a_peer_without_its_tcp_ao_key_stays_down_and_says_why() {
    let check = |found: Option<Result<TcpAo, TcpAoFault>>, expected: &str| {
        let resources = Resources {
            peers: vec![peer("r", 1, |spec| spec.tcp_ao_secret = secret("ao"))],
            // The same Secret may be good as a password, which is not what was asked for.
            secrets: Password::try_new("guess")
                .map(|it| ("ao".to_owned(), PasswordSecret::Password(it)))
                .into_iter()
                .collect(),
            tcp_ao_secrets: found.map(|found| ("ao".to_owned(), found)).into_iter().collect(),
            ..Resources::default()
        };
        let (config, rejections) = build(&resources);
        let peer = &config.peers["r"];
        let refused = peer.refused.as_ref().map(ToString::to_string);
        assert_eq!(refused.unwrap_or_default(), expected);
        assert_eq!(matches!(peer.key, Some(SessionKey::TcpAo(_))), expected.is_empty());
        assert_eq!((peer.key.is_some(), rejections.is_empty()), (expected.is_empty(), expected.is_empty()));
        // The controller cannot read it and must not claim to know.
        assert!(peer.refused.as_ref().is_none_or(PeerRefusal::is_about_secret));
    };
    let key = Password::try_new("master").expect("short");
    check(Some(Ok(TcpAo { key, send_id: 1, recv_id: 2, algorithm: TcpAoAlgorithm::HmacSha1 })), "");
    check(
        None,
        "there is no Secret \"ao\" of type kubernetes.io/basic-auth (one of another type does not count); the session stays \
         down until there is one",
    );
    check(
        Some(Err(TcpAoFault::Missing("sendID"))),
        "Secret \"ao\" cannot be used for TCP-AO: it has no key \"sendID\". The session stays down until it can",
    );
    check(
        Some(Err(TcpAoFault::WrongType("Opaque".to_owned()))),
        "Secret \"ao\" is of type \"Opaque\"; make one of type kubernetes.io/basic-auth. The session stays down until then",
    );
}

#[test]
fn a_session_is_signed_in_one_way() {
    let both = "a session is signed with a password or with TCP-AO, not both; keep password, passwordSecret or tcpAOSecret alone";
    check(
        |spec| {
            spec.tcp_ao_secret = secret("ao");
            spec.password = text("guess");
        },
        both,
    );
    check(
        |spec| {
            spec.tcp_ao_secret = secret("ao");
            spec.password_secret = secret("pw");
        },
        both,
    );
    check(|spec| spec.tcp_ao_secret = Some(SecretReference::default()), "");
}

#[test]
fn what_this_version_does_not_have_keeps_the_peer_down() {
    check(
        |spec| spec.vrf = text("red"),
        "this version does not open sessions in a VRF (\"red\"); remove vrf to use the main routing table",
    );
    check(
        |spec| spec.bfd_profile = text("fast"),
        "BFDProfile \"fast\" does not exist; the session stays down until it does",
    );
}

fn check_router(change: impl FnOnce(&mut BGPPeerSpec), expected: Result<(&str, ConnectMode), &str>) {
    let change = |spec: &mut BGPPeerSpec| {
        spec.peer_address = None;
        change(spec);
    };
    let (config, rejections) =
        build(&Resources { peers: vec![peer("r", 1, change)], ..Resources::default() });
    let got = match rejections.first() {
        Some(rejection) => Err(rejection.reason.to_string()),
        None => Ok((config.peers["r"].router.to_string(), config.peers["r"].connect)),
    };
    assert_eq!(got, expected.map(|(router, mode)| (router.to_owned(), mode)).map_err(str::to_owned));
}

#[test]
fn a_router_is_an_address_a_gateway_an_interface_or_a_network() {
    use ConnectMode::{Active, Both, Passive};
    check_router(|spec| spec.peer_address = text("fd00::1"), Ok(("fd00::1", Active)));
    check_router(
        |spec| {
            spec.peer_address = text("10.0.2.1");
            spec.connect_mode = Some(Both);
        },
        Ok(("10.0.2.1", Both)),
    );
    check_router(
        |spec| spec.default_gateway = Some(GatewayFamily::IPv4),
        Ok(("the IPv4 default gateway", Active)),
    );
    check_router(|spec| spec.interface = text("eth1"), Ok(("the router on eth1", Active)));
    check_router(|spec| spec.peer_range = text("10.0.2.9/24"), Ok(("10.0.2.0/24", Passive)));
    check_router(
        |spec| spec.peer_range = text("10.0.2.9"),
        Err("invalid peerRange \"10.0.2.9\": write a network such as 10.0.2.0/24"),
    );
    check_router(
        |spec| {
            spec.peer_range = text("10.0.2.0/24");
            spec.connect_mode = Some(Both);
        },
        Err("invalid connectMode \"Both\": routers of a peerRange dial; remove connectMode"),
    );
    check_router(
        |spec| {
            spec.peer_range = text("10.0.2.0/24");
            spec.interface = text("eth1");
        },
        Err("invalid peerRange \"10.0.2.0/24\": peerRange stands in place of peerAddress, interface and \
             defaultGateway; keep one of them"),
    );
    check_router(
        |spec| {
            spec.default_gateway = Some(GatewayFamily::IPv6);
            spec.peer_address = text("fd00::1");
        },
        Err(
            "invalid defaultGateway \"IPv6\": defaultGateway stands in place of peerAddress and interface; keep one \
             of them",
        ),
    );
    check_router(
        |spec| {
            spec.interface = text("eth1");
            spec.source_address = text("fe80::1");
        },
        Err(
            "invalid sourceAddress \"fe80::1\": an unnumbered session speaks from the link-local address of its \
             interface; remove sourceAddress",
        ),
    );
    check_router(
        |spec| {
            spec.default_gateway = Some(GatewayFamily::IPv6);
            spec.source_address = text("10.0.2.11");
        },
        Err(
            "invalid source IP \"10.0.2.11\": the router's address \"the IPv6 default gateway\" is of the other family",
        ),
    );
}

#[test]
fn the_session_listens_on_its_port_and_counts_hops_as_written() {
    let object = peer("r", 1, |spec| {
        spec.connect_mode = Some(ConnectMode::Passive);
        spec.listen_port = Some(1790);
        spec.ttl_security = Some(2);
        spec.inspect_updates = Some(true);
    });
    let (config, _) =
        build(&Resources { peers: vec![object, peer("plain", 2, |_| {})], ..Resources::default() });
    let peer = &config.peers["r"];
    assert_eq!((peer.connect, peer.listen_port, peer.inspect), (ConnectMode::Passive, 1790, true));
    assert_eq!(peer.ttl_security.map(NonZeroU8::get), Some(2));
    check(|spec| spec.ttl_security = Some(255), "invalid ttlSecurity 255: must be between 1 and 254");
}

#[test]
fn one_router_id_for_all_nodes_is_noticed() {
    let noticed = |change: fn(&mut BGPPeerSpec)| {
        let resources = Resources { peers: vec![peer("r", 1, change)], ..Resources::default() };
        build(&resources).0.notices.iter().any(|(_, notice)| *notice == Notice::RouterIdOnAllNodes)
    };
    assert!(noticed(|spec| spec.router_id = text("10.0.2.11")));
    assert!(!noticed(|_| {}));
    assert!(!noticed(|spec| {
        spec.router_id = text("10.0.2.11");
        spec.node_selectors = vec![selecting("kubernetes.io/hostname", "n1")];
    }));
}

#[test]
fn one_router_may_be_dialled_by_one_peer_and_waited_for_by_one_other() {
    let rejected = |one: fn(&mut BGPPeerSpec), other: fn(&mut BGPPeerSpec)| {
        let peers = vec![peer("a", 1, one), peer("b", 2, other)];
        build(&Resources { peers, ..Resources::default() }).1.len()
    };
    let passive = |spec: &mut BGPPeerSpec| spec.connect_mode = Some(ConnectMode::Passive);
    let both = |spec: &mut BGPPeerSpec| spec.connect_mode = Some(ConnectMode::Both);
    assert_eq!(rejected(|_| {}, passive), 0);
    assert_eq!(rejected(passive, passive), 1);
    assert_eq!(rejected(both, |_| {}), 1);
    assert_eq!(rejected(both, passive), 1);
    assert_eq!(
        rejected(passive, |spec| {
            spec.connect_mode = Some(ConnectMode::Passive);
            spec.listen_port = Some(1790);
        }),
        0
    );
}

#[test]
fn of_two_peers_with_one_router_the_older_runs() {
    let resources = Resources {
        peers: vec![
            peer("a", 2, |_| {}),
            peer("b", 1, |_| {}),
            peer("other-port", 3, |spec| spec.peer_port = Some(180)),
        ],
        ..Resources::default()
    };
    let (config, rejections) = build(&resources);
    assert_eq!(config.peers.keys().collect::<Vec<_>>(), ["b", "other-port"]);
    assert_eq!(
        said(&rejections),
        [
            "BGPPeer a (out of force): peer b already exists with address 10.0.2.1:179, and may run on the same nodes; \
          remove one of them or give them nodeSelectors that keep them apart"
        ]
    );
}

#[test]
fn one_router_address_in_two_racks_is_two_peers_and_one_on_each_node() {
    let in_rack = |name: &str, age, rack: &str| {
        peer(name, age, |spec| spec.node_selectors = vec![selecting("rack", rack), selecting("both", "yes")])
    };
    let resources =
        Resources { peers: vec![in_rack("a", 2, "1"), in_rack("b", 1, "2")], ..Resources::default() };
    let (config, rejections) = build(&resources);
    assert_eq!(rejections, []);
    let on = |key, value| {
        let node = labels(key, value);
        let on_node = config.peers_on(&node);
        let names: Vec<String> = on_node.peers.iter().map(|peer| peer.name.clone()).collect();
        (names.join(","), said(&on_node.duplicates).len())
    };
    assert_eq!(on("rack", "1"), ("a".to_owned(), 0));
    assert_eq!(on("rack", "2"), ("b".to_owned(), 0));
    assert_eq!(on("both", "yes"), ("b".to_owned(), 1));
    assert_eq!(on("rack", "3"), (String::new(), 0));
}
