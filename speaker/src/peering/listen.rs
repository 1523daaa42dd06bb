//! Doors: the ports on which routers may call, open only while a peer asks for one.
//!
//! One listener serves all peers of its address and port; each peer's key lies on it. A door that cannot be
//! opened says why in words and is tried again, for as long as it is wanted. Leaves out who may come in, which is
//! `roster`, and what is said then.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use api::config::SessionKey;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};

use super::sockopt::{self, KeyFault};

/// How long a door that did not open is left alone.
const RETRY: Duration = Duration::from_secs(2);

/// Calls that wait to be answered; a router has one or two.
const BACKLOG: u32 = 32;

/// After a call that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who may call where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entrance {
    /// The address and port of ours; an unspecified address is all of them.
    pub(super) at: SocketAddr,
    /// The router, or the network of routers.
    pub(super) from: IpNet,
    /// What they sign with.
    pub(super) key: Option<SessionKey>,
}

/// Why a door is shut.
#[derive(Debug, thiserror::Error)]
pub(super) enum DoorFault {
    /// Somebody else listens there.
    #[error(
        "cannot listen on {0}: another program on this node, a BGP speaker perhaps, has that port. It is tried again every {every} s; listenPort names another one",
        every = RETRY.as_secs()
    )]
    Taken(SocketAddr),
    /// A port below 1024 without the capability.
    #[error(
        "cannot listen on port {0}: that needs the capability NET_BIND_SERVICE. Give it to the speaker, or set listenPort to 1024 or more"
    )]
    Forbidden(u16),
    /// `sourceAddress` belongs to nobody here.
    #[error("cannot listen on {0}: the address is not on this node")]
    NoAddress(SocketAddr),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// Whatever else the kernel says.
    #[error("cannot listen on {0}: {1}")]
    Kernel(SocketAddr, io::Error),
}

/// A door.
#[derive(Debug)]
struct Door {
    listener: Option<TcpListener>,
    /// The keys that lie on the listener.
    keys: BTreeMap<IpNet, SessionKey>,
    fault: Option<(Instant, String)>,
    retry_at: Option<Instant>,
}

/// All doors.
#[derive(Debug, Default)]
pub(super) struct Doors {
    doors: BTreeMap<SocketAddr, Door>,
}

impl Doors {
    /// Opens what is wanted and is not open, shuts what is no longer wanted, and changes keys.
    pub(super) fn serve(&mut self, now: Instant, wanted: &[Entrance]) {
        let everywhere: BTreeSet<SocketAddr> =
            wanted.iter().map(|entrance| entrance.at).filter(|at| at.ip().is_unspecified()).collect();
        let mut keys_at: BTreeMap<SocketAddr, BTreeMap<IpNet, SessionKey>> = BTreeMap::new();
        for entrance in wanted {
            let keys = keys_at.entry(door_for(entrance.at, &everywhere)).or_default();
            keys.extend(entrance.key.clone().map(|key| (entrance.from, key)));
        }
        self.doors.retain(|at, _| keys_at.contains_key(at));
        for (at, keys) in keys_at {
            let shut = || Door { listener: None, keys: BTreeMap::new(), fault: None, retry_at: None };
            self.doors.entry(at).or_insert_with(shut).serve(now, at, &keys);
        }
    }

    /// When a shut door is to be tried again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.doors.values().filter_map(|door| door.retry_at).min()
    }

    /// Why nobody can come in at this entrance, and since when.
    pub(super) fn fault(&self, entrance: &Entrance) -> Option<(Instant, &str)> {
        let (at, text) = self.door(entrance.at)?.fault.as_ref()?;
        Some((*at, text))
    }

    /// Whether whoever came in at this entrance had to sign with its key, if it has one.
    pub(super) fn asks_for_key(&self, entrance: &Entrance) -> bool {
        let lies_there = self.door(entrance.at).and_then(|door| door.keys.get(&entrance.from));
        entrance.key.as_ref() == lies_there
    }

    /// Shuts all doors.
    pub(super) fn shut(&mut self) {
        self.doors.clear();
    }

    /// The next caller, with its address. Cancel-safe.
    pub(super) async fn caller(&self) -> (TcpStream, SocketAddr) {
        loop {
            let call = poll_fn(|context| {
                let open = self.doors.values().filter_map(|door| door.listener.as_ref());
                for listener in open {
                    if let Poll::Ready(call) = listener.poll_accept(context) {
                        return Poll::Ready(call);
                    }
                }
                Poll::Pending
            })
            .await;
            match call {
                Ok(call) => return call,
                // The caller is gone already, or descriptors are lacking, which ends by itself and wakes nobody.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn door(&self, at: SocketAddr) -> Option<&Door> {
        self.doors.get(&at).or_else(|| self.doors.get(&SocketAddr::new(unspecified(at.ip()), at.port())))
    }
}

impl Door {
    fn serve(&mut self, now: Instant, at: SocketAddr, keys: &BTreeMap<IpNet, SessionKey>) {
        if self.listener.is_none() && self.retry_at.is_none_or(|due| due <= now) {
            match listen(at, keys) {
                Ok(listener) => {
                    (self.listener, self.retry_at, self.fault) = (Some(listener), None, None);
                    self.keys.clone_from(keys);
                }
                Err(fault) => self.fail(now, &fault),
            }
        }
        if let Err(fault) = self.set_keys(keys) {
            // Better no caller than one who did not sign.
            (self.listener, self.keys) = (None, BTreeMap::new());
            self.fail(now, &fault);
        }
    }

    fn fail(&mut self, now: Instant, fault: &DoorFault) {
        let text = fault.to_string();
        if self.fault.as_ref().is_none_or(|(_, before)| *before != text) {
            tracing::warn!(reason = text, "routers cannot call");
            self.fault = Some((now, text));
        }
        self.retry_at = Some(now + RETRY);
    }

    fn set_keys(&mut self, wanted: &BTreeMap<IpNet, SessionKey>) -> Result<(), DoorFault> {
        let Some(listener) = &self.listener else { return Ok(()) };
        if *wanted == self.keys {
            return Ok(());
        }
        for (from, old) in &self.keys {
            if sockopt::has_to_go(old, wanted.get(from)) {
                sockopt::clear_key(listener, *from, old)?;
            }
        }
        for (from, key) in wanted.iter().filter(|(from, key)| self.keys.get(from) != Some(key)) {
            sockopt::set_key(listener, *from, key)?;
        }
        // Who called before the key lay there has signed nothing, and may call again.
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..BACKLOG {
            match listener.poll_accept(&mut context) {
                Poll::Ready(unsigned) => drop(unsigned),
                Poll::Pending => break,
            }
        }
        self.keys.clone_from(wanted);
        Ok(())
    }
}

/// A listener on all addresses takes the calls to each of them, and leaves no room for a second one.
fn door_for(at: SocketAddr, everywhere: &BTreeSet<SocketAddr>) -> SocketAddr {
    let all = SocketAddr::new(unspecified(at.ip()), at.port());
    if everywhere.contains(&all) { all } else { at }
}

/// "All addresses" of the family.
pub(super) fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The keys lie on the socket before anybody can call.
fn listen(at: SocketAddr, keys: &BTreeMap<IpNet, SessionKey>) -> Result<TcpListener, DoorFault> {
    let in_words = |fault: io::Error| match fault.raw_os_error() {
        Some(libc::EADDRINUSE) => DoorFault::Taken(at),
        Some(libc::EACCES | libc::EPERM) => DoorFault::Forbidden(at.port()),
        Some(libc::EADDRNOTAVAIL) => DoorFault::NoAddress(at),
        Some(_) | None => DoorFault::Kernel(at, fault),
    };
    let open = || {
        let socket = sockopt::stream_socket(at)?;
        // Connections of before a restart must not keep the port shut.
        socket.set_reuse_address(true)?;
        if at.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        sockopt::prepare(&socket, at.ip(), None)?;
        let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
        socket.bind(at)?;
        Ok(socket)
    };
    let socket = open().map_err(in_words)?;
    for (from, key) in keys {
        sockopt::set_key(&socket, *from, key)?;
    }
    socket.listen(BACKLOG).map_err(in_words)
}

#[cfg(test)]
mod tests {
    use api::config::Password;

    use super::*;

    fn free_port() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    fn entrance(at: SocketAddr, key: Option<&str>) -> Entrance {
        let from = "127.0.0.2/32".parse().unwrap();
        Entrance { at, from, key: key.map(|key| SessionKey::Md5(Password::try_new(key).unwrap())) }
    }

    #[tokio::test]
    async fn a_door_opens_while_it_is_wanted_and_is_shut_afterwards() {
        let mut doors = Doors::default();
        let at = free_port();
        doors.serve(Instant::now(), &[entrance(at, None)]);
        let _caller = TcpStream::connect(at).await.unwrap();
        let (_, from) = doors.caller().await;
        assert_eq!(from.ip(), at.ip());
        doors.serve(Instant::now(), &[]);
        assert!(TcpStream::connect(at).await.is_err());
    }

    #[tokio::test]
    async fn a_port_that_somebody_else_has_is_named_and_tried_again() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = other.local_addr().unwrap();
        let (mut doors, now, wanted) = (Doors::default(), Instant::now(), [entrance(at, None)]);
        doors.serve(now, &wanted);
        let (_, words) = doors.fault(&wanted[0]).unwrap();
        assert_eq!(
            words,
            format!(
                "cannot listen on {at}: another program on this node, a BGP speaker perhaps, has that port. It is tried again every 2 s; listenPort names another one"
            )
        );
        assert_eq!(doors.next_retry(), Some(now + RETRY));
        drop(other);
        doors.serve(now, &wanted);
        assert!(doors.fault(&wanted[0]).is_some(), "not before its time");
        doors.serve(now + RETRY, &wanted);
        assert_eq!((doors.fault(&wanted[0]), doors.next_retry()), (None, None));
    }

    #[tokio::test]
    async fn an_address_of_another_node_is_named() {
        let mut doors = Doors::default();
        let wanted = [entrance("192.0.2.99:1790".parse().unwrap(), None)];
        doors.serve(Instant::now(), &wanted);
        assert_eq!(
            doors.fault(&wanted[0]).unwrap().1,
            "cannot listen on 192.0.2.99:1790: the address is not on this node"
        );
    }

    #[tokio::test]
    async fn a_listener_on_all_addresses_serves_those_with_one_of_their_own() {
        let at = free_port();
        let all = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), at.port());
        let mut doors = Doors::default();
        doors.serve(Instant::now(), &[entrance(at, None), entrance(all, None)]);
        assert_eq!(doors.doors.keys().collect::<Vec<_>>(), [&all]);
        assert_eq!(doors.fault(&entrance(at, None)), None);
    }

    #[tokio::test]
    async fn a_door_with_a_key_is_at_no_moment_open_to_unsigned_callers() {
        if !sockopt::kernel_has_md5() {
            return;
        }
        let at = free_port();
        let signed = entrance(at, Some("herald"));
        let keys = [(signed.from, signed.key.clone().unwrap())].into();
        let listener = listen(at, &keys).unwrap();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let called = tokio::time::timeout(Duration::from_millis(300), socket.connect(at)).await;
        assert!(!matches!(called, Ok(Ok(_))), "its first SYN was answered");
        drop(listener);
    }

    #[tokio::test]
    async fn who_called_before_the_key_lay_on_the_door_is_not_let_in_by_it() {
        if !sockopt::kernel_has_md5() {
            return;
        }
        let (mut doors, now, at) = (Doors::default(), Instant::now(), free_port());
        doors.serve(now, &[entrance(at, None)]);
        let mut unsigned = TcpStream::connect(at).await.unwrap();
        doors.serve(now, &[entrance(at, Some("herald"))]);
        let taken = tokio::time::timeout(Duration::from_millis(300), doors.caller()).await;
        assert!(taken.is_err(), "it waited in front of the door and came in");
        let mut octet = [0];
        let end = tokio::io::AsyncReadExt::read(&mut unsigned, &mut octet);
        let end = tokio::time::timeout(Duration::from_secs(10), end).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "it is hung up on: {end:?}");
    }

    /// In a process of its own, because it takes all descriptors.
    #[tokio::test]
    async fn a_caller_who_came_while_descriptors_were_lacking_is_taken_when_there_are_some() {
        const ALONE: &str = "HERALD_TEST_TAKES_ALL_DESCRIPTORS";
        if std::env::var_os(ALONE).is_some() {
            return lack_descriptors().await;
        }
        let name = "peering::listen::tests::a_caller_who_came_while_descriptors_were_lacking_is_taken_when_there_are_some";
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(ALONE, "1")
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let status = loop {
            if let Some(status) = alone.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                alone.kill().unwrap();
                panic!("it spins");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(status.success(), "{status}");
    }

    async fn lack_descriptors() {
        let (mut doors, at) = (Doors::default(), free_port());
        doors.serve(Instant::now(), &[entrance(at, None)]);
        let caller = tokio::net::TcpSocket::new_v4().unwrap();
        let mut taken = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            taken.push(file);
        }
        let _caller = caller.connect(at).await.unwrap();
        let (mut polls, mut early) = (0, std::pin::pin!(doors.caller()));
        let counted = poll_fn(|context| {
            polls += 1;
            early.as_mut().poll(context)
        });
        let taken_early = tokio::time::timeout(5 * ACCEPT_PAUSE, counted).await;
        assert!(taken_early.is_err(), "there was no descriptor for it");
        assert!(polls < 100, "it spun: {polls} times in half a second");
        taken.clear();
        let late = tokio::time::timeout(Duration::from_secs(10), doors.caller()).await;
        assert_eq!(late.expect("nothing else wakes it").1.ip(), at.ip());
    }

    #[tokio::test]
    async fn keys_come_and_go_with_their_peers() {
        if !sockopt::kernel_has_md5() {
            return;
        }
        let (mut doors, now, at) = (Doors::default(), Instant::now(), free_port());
        let signed = entrance(at, Some("herald"));
        doors.serve(now, std::slice::from_ref(&signed));
        assert!(doors.asks_for_key(&signed));
        assert!(!doors.asks_for_key(&entrance(at, Some("another"))));
        assert!(!doors.asks_for_key(&entrance(at, None)), "a signed caller is no unsigned one");
        doors.serve(now, &[entrance(at, None)]);
        assert!(doors.asks_for_key(&entrance(at, None)));
    }
}
