use std::net::{Ipv4Addr, TcpListener};

use super::*;

/// Both loopback addresses, or the one that this machine has.
fn localhosts() -> Vec<IpAddr> {
    let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    both.into_iter().filter(|ip| TcpListener::bind((*ip, 0)).is_ok()).collect()
}

/// Connects to a listener that wants `theirs` with `ours`, and says whether TCP came up.
fn connects(host: IpAddr, theirs: Option<&[u8]>, ours: Option<&[u8]>) -> bool {
    let listener = TcpListener::bind((host, 0)).unwrap();
    if let Some(key) = theirs {
        set_md5_key(&listener, host, key).unwrap();
    }
    let remote = listener.local_addr().unwrap();
    let socket = Socket::new(socket2::Domain::for_address(remote), socket2::Type::STREAM, None).unwrap();
    if let Some(key) = ours {
        set_md5_key(&socket, host, key).unwrap();
    }
    let outcome = socket.connect_timeout(&remote.into(), Duration::from_millis(300));
    if let Err(fault) = &outcome {
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut, "an unsigned SYN is dropped, not refused");
    }
    outcome.is_ok()
}

#[test]
fn equal_keys_connect() {
    if !kernel_has_md5() {
        return;
    }
    for host in localhosts() {
        assert!(connects(host, Some(b"herald"), Some(b"herald")));
        assert!(connects(host, Some(&[0xA5; MD5_KEY_MAX]), Some(&[0xA5; MD5_KEY_MAX])), "the longest key");
    }
}

#[test]
fn a_key_of_a_network_signs_its_addresses_until_it_is_taken_away() {
    if !kernel_has_md5() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = listener.local_addr().unwrap();
    let network: IpNet = "127.0.0.0/8".parse().unwrap();
    let connects = |key: Option<&[u8]>| {
        let socket = stream_socket(remote).unwrap();
        socket.set_nonblocking(false).unwrap();
        if let Some(key) = key {
            set_md5_key(&socket, remote.ip(), key).unwrap();
        }
        socket.connect_timeout(&remote.into(), Duration::from_millis(300)).is_ok()
    };
    set_md5_key_of(&listener, network, b"herald").unwrap();
    assert!(connects(Some(b"herald")));
    assert!(!connects(None));
    clear_md5_key(&listener, network).unwrap();
    assert!(connects(None));
    assert!(!connects(Some(b"herald")));
}

#[test]
fn packets_with_a_lower_ttl_are_not_taken() {
    for host in localhosts() {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let remote = listener.local_addr().unwrap();
        require_ttl(&listener, host, NonZeroU8::MIN).unwrap();
        let connects = |ttl: u32| {
            let socket = stream_socket(remote).unwrap();
            socket.set_nonblocking(false).unwrap();
            match host {
                IpAddr::V4(_) => socket.set_ttl_v4(ttl).unwrap(),
                IpAddr::V6(_) => socket.set_unicast_hops_v6(ttl).unwrap(),
            }
            socket.connect_timeout(&remote.into(), Duration::from_millis(300)).is_ok()
        };
        assert!(connects(255));
        assert!(!connects(254));
    }
}

#[test]
fn different_missing_and_unexpected_keys_do_not_connect() {
    if !kernel_has_md5() {
        return;
    }
    for host in localhosts() {
        assert!(!connects(host, Some(b"herald"), Some(b"heralds")));
        assert!(!connects(host, Some(b"herald"), None));
        assert!(!connects(host, None, Some(b"herald")));
    }
}

#[test]
fn keys_that_tcp_cannot_carry_are_refused_in_words() {
    let socket = stream_socket(([127, 0, 0, 1], 179).into()).unwrap();
    let say = |key: &[u8]| set_md5_key(&socket, Ipv4Addr::LOCALHOST.into(), key).unwrap_err().to_string();
    assert_eq!(say(&[b'x'; 81]), "the password has 81 octets; TCP MD5 takes at most 80");
    assert_eq!(say(&[b'x'; 70_000]), "the password has 70000 octets; TCP MD5 takes at most 80");
    assert_eq!(say(b""), "the password is empty; TCP MD5 needs 1 to 80 octets");
}

#[test]
fn what_the_other_side_acknowledged_is_told_from_what_waits() {
    use std::io::{Read, Write};

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut theirs, _) = listener.accept().unwrap();
    // More than the two kernel buffers hold, so that some of it can only wait.
    ours.set_nonblocking(true).unwrap();
    while ours.write(&[0; 65_536]).is_ok() {}
    assert!(unacknowledged(&ours).unwrap() > 0);
    theirs.set_nonblocking(true).unwrap();
    let mut octets = vec![0; 1 << 20];
    let patience = std::time::Instant::now() + Duration::from_secs(20);
    while unacknowledged(&ours).unwrap() > 0 {
        assert!(std::time::Instant::now() < patience, "everything was read and is not acknowledged");
        // Nothing to read for a moment is no end.
        let _ = theirs.read(&mut octets);
    }
    assert!(unacknowledged(&std::fs::File::open("/dev/null").unwrap()).is_err());
}

#[test]
fn a_socket_that_is_no_tcp_refuses_the_key() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let fault = set_md5_key(&socket, Ipv4Addr::LOCALHOST.into(), b"herald").unwrap_err();
    assert!(matches!(fault, KeyFault::Kernel(_)), "{fault}");
}

#[test]
fn datagrams_come_with_their_addresses_and_their_ttl() {
    for host in localhosts() {
        let socket =
            Socket::new(socket2::Domain::for_address((host, 0).into()), socket2::Type::DGRAM, None).unwrap();
        label_datagrams(&socket, host.is_ipv4()).unwrap();
        socket.bind(&SocketAddr::new(host, 0).into()).unwrap();
        let mut buffer = [0; 8];
        let empty = receive_labelled(&socket, &mut buffer).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        let sender = std::net::UdpSocket::bind((host, 0)).unwrap();
        if host.is_ipv4() {
            sender.set_ttl(77).unwrap();
        } else {
            socket2::SockRef::from(&sender).set_unicast_hops_v6(77).unwrap();
        }
        let there = socket.local_addr().unwrap().as_socket().unwrap();
        for (sent, length) in [(&b"bfd"[..], 3), (b"more than fits", 8), (b"", 0)] {
            sender.send_to(sent, there).unwrap();
            let expected = Labelled { length, from: host, to: host, link: 0, ttl: 77 };
            assert_eq!(receive_labelled(&socket, &mut buffer).unwrap(), Some(expected));
            assert_eq!(buffer[..length], sent[..length]);
        }
    }
}

#[test]
fn a_link_local_datagram_says_by_which_interface_it_came() {
    let labels = |to: &str| {
        let to: Ipv6Addr = to.parse().unwrap();
        let value = [&to.octets()[..], &3_u32.to_ne_bytes(), &[0; 4]].concat();
        let numbers = [libc::IPPROTO_IPV6.to_ne_bytes(), libc::IPV6_PKTINFO.to_ne_bytes()].concat();
        Labels::read(&[&(CONTROL_HEAD + 20).to_ne_bytes()[..], &numbers, &value].concat())
    };
    assert_eq!(labels("fe80::1"), Labels { to: Some("fe80::1".parse().unwrap()), ttl: None, link: 3 });
    assert_eq!(labels("fd00::1").link, 0, "its address alone says where it is");
}

#[test]
fn control_messages_that_lie_about_their_length_end_the_reading() {
    let message = |length: usize, level: i32, kind: i32, value: &[u8]| {
        let numbers = [level.to_ne_bytes(), kind.to_ne_bytes()].concat();
        [&length.to_ne_bytes()[..], &numbers, value].concat()
    };
    let ttl = |length| message(length, libc::IPPROTO_IP, libc::IP_TTL, &[255, 0, 0, 0, 0, 0, 0, 0]);
    let good = ttl(CONTROL_HEAD + 4);
    assert_eq!(Labels::read(&good), Labels { to: None, ttl: Some(255), link: 0 });
    for cut in 0..CONTROL_HEAD + 4 {
        assert_eq!(Labels::read(&good[..cut]), Labels::default(), "cut at {cut}");
    }
    for length in [0, 1, CONTROL_HEAD - 1, 4096, usize::MAX, usize::MAX - 7] {
        assert_eq!(Labels::read(&ttl(length)), Labels::default(), "{length}");
    }
    let foreign = message(CONTROL_HEAD + 8, 1, 2, &[0; 8]);
    assert_eq!(Labels::read(&[foreign, good].concat()).ttl, Some(255));
}

#[test]
fn options_that_the_kernel_does_not_know_are_named_and_cost_nothing() {
    // A local socket is no TCP: the kernel answers for TCP's and IP's options as an old one does.
    let socket = Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let unknown = prepare(&socket, IpAddr::from([127, 0, 0, 1]), None).unwrap();
    assert_eq!(unknown, ["TCP_NODELAY", "TCP_USER_TIMEOUT", "IP_TTL", "IP_TOS"]);
}

#[test]
fn prepared_sockets_carry_the_options() {
    for host in localhosts() {
        let socket = stream_socket((host, 179).into()).unwrap();
        prepare(&socket, host, Some(Duration::from_secs(30))).unwrap();
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBED_AFTER);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), PROBED_AFTER);
        let class = if host.is_ipv4() { socket.tos_v4() } else { socket.tclass_v6() };
        assert_eq!(class.unwrap(), 0xC0);
        let ttl = if host.is_ipv4() { socket.ttl_v4() } else { socket.unicast_hops_v6() };
        assert_eq!(ttl.unwrap(), 255);
        assert!(socket.recv_buffer_size().unwrap() <= 2 * KERNEL_BUFFER);
        assert!(socket.send_buffer_size().unwrap() <= 2 * KERNEL_BUFFER);
        let patient = stream_socket((host, 179).into()).unwrap();
        prepare(&patient, host, None).unwrap();
        assert!(!patient.keepalive().unwrap(), "nothing bounds a session without a hold time");
    }
}

/// Where the kernel reads what, counted in octets from the begin of the structs in `linux/tcp.h`.
#[test]
fn options_of_tcp_ao_lie_as_the_kernel_reads_them() {
    use std::mem::offset_of;

    assert_eq!((size_of::<AddTcpAo>(), align_of::<AddTcpAo>()), (288, 8));
    let add = [
        offset_of!(AddTcpAo, address),
        offset_of!(AddTcpAo, algorithm),
        offset_of!(AddTcpAo, interface),
        offset_of!(AddTcpAo, flags),
        offset_of!(AddTcpAo, reserved),
        offset_of!(AddTcpAo, prefix_length),
        offset_of!(AddTcpAo, send_id),
        offset_of!(AddTcpAo, recv_id),
        offset_of!(AddTcpAo, code_length),
        offset_of!(AddTcpAo, key_flags),
        offset_of!(AddTcpAo, key_length),
        offset_of!(AddTcpAo, key),
    ];
    assert_eq!(add, [0, 128, 192, 196, 200, 202, 203, 204, 205, 206, 207, 208]);
    assert_eq!((size_of::<DeleteTcpAo>(), align_of::<DeleteTcpAo>()), (144, 8));
    let delete = [
        offset_of!(DeleteTcpAo, interface),
        offset_of!(DeleteTcpAo, flags),
        offset_of!(DeleteTcpAo, reserved),
        offset_of!(DeleteTcpAo, prefix_length),
        offset_of!(DeleteTcpAo, send_id),
        offset_of!(DeleteTcpAo, recv_id),
        offset_of!(DeleteTcpAo, current_key),
        offset_of!(DeleteTcpAo, next_key),
        offset_of!(DeleteTcpAo, key_flags),
    ];
    assert_eq!(delete, [128, 132, 136, 138, 139, 140, 141, 142, 143]);
}

fn tcp_ao(octets: &str, algorithm: TcpAoAlgorithm) -> SessionKey {
    let key = api::config::Password::try_new(octets).unwrap();
    SessionKey::TcpAo(TcpAo { key, send_id: 1, recv_id: 1, algorithm })
}

#[test]
fn a_kernel_without_tcp_ao_is_told_from_one_without_the_algorithm() {
    for host in localhosts() {
        let socket = stream_socket((host, 179).into()).unwrap();
        for algorithm in TcpAoAlgorithm::ALL {
            let outcome = set_key(&socket, host.into(), &tcp_ao("herald", algorithm));
            match outcome {
                Ok(()) => clear_key(&socket, host.into(), &tcp_ao("herald", algorithm)).unwrap(),
                // A kernel built without it, or one that lacks a module.
                Err(KeyFault::NoTcpAo) => assert!(!kernel_has_tcp_ao()),
                Err(KeyFault::NoAlgorithm(missing)) => {
                    assert!(kernel_has_tcp_ao() && missing == algorithm);
                }
                Err(fault) => panic!("{fault}"),
            }
            println!("{host}, {}: the kernel has TCP-AO: {}", algorithm.word(), kernel_has_tcp_ao());
        }
    }
    let local = Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let fault = set_key(
        &local,
        IpAddr::from(Ipv4Addr::LOCALHOST).into(),
        &tcp_ao("herald", TcpAoAlgorithm::HmacSha1),
    );
    assert!(matches!(fault, Err(KeyFault::KernelTcpAo(_))), "{fault:?}");
}

#[test]
fn a_tcp_ao_key_of_a_network_signs_its_addresses_until_it_is_taken_away() {
    if !kernel_has_tcp_ao() {
        println!(
            "not seen here: this kernel has no TCP-AO (CONFIG_TCP_AO); the refusal is tested beside this"
        );
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = listener.local_addr().unwrap();
    let network: IpNet = "127.0.0.0/8".parse().unwrap();
    let connects = |key: Option<&SessionKey>| {
        let socket = stream_socket(remote).unwrap();
        socket.set_nonblocking(false).unwrap();
        if let Some(key) = key {
            set_key(&socket, remote.ip().into(), key).unwrap();
        }
        socket.connect_timeout(&remote.into(), Duration::from_millis(300)).is_ok()
    };
    let herald = tcp_ao("herald", TcpAoAlgorithm::HmacSha1);
    set_key(&listener, network, &herald).unwrap();
    assert!(connects(Some(&herald)));
    assert!(!connects(Some(&tcp_ao("heralds", TcpAoAlgorithm::HmacSha1))));
    assert!(!connects(Some(&tcp_ao("herald", TcpAoAlgorithm::HmacSha256))));
    assert!(!connects(None));
    clear_key(&listener, network, &herald).unwrap();
    assert!(connects(None));
    assert!(!connects(Some(&herald)));
}
