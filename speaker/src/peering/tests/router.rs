//! A router of few words for the driver's tests: it speaks just enough BGP, by hand, to see what arrives.
//!
//! Bytes are written and read here independently of `bgp_proto`, so that both cannot be wrong together.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The AS of every test router.
pub(super) const ROUTER_ASN: u32 = 65_530;

/// How long a test waits before it is called failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// A listening router.
pub(super) struct Router {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}

/// One accepted connection.
pub(super) struct RouterSession {
    pub(super) stream: TcpStream,
    inbox: Vec<u8>,
    /// What the peer has announced and not withdrawn.
    pub(super) routes: BTreeSet<String>,
    /// Whether an UPDATE carried the community GRACEFUL_SHUTDOWN.
    pub(super) was_marked: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Open,
    Keepalive,
    Update { announced: Vec<String>, withdrawn: Vec<String>, next_hop: Option<IpAddr> },
    EndOfRib,
    Notification { code: u8, subcode: u8, data: Vec<u8> },
    Closed,
}

impl Router {
    pub(super) async fn bind(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// The next connection, before any BGP.
    pub(super) async fn accept(&self) -> RouterSession {
        let (stream, _) = within("a connection", self.listener.accept()).await.unwrap();
        RouterSession::over(stream)
    }

    /// The next session, Established.
    pub(super) async fn establish(&self) -> RouterSession {
        let mut session = self.accept().await;
        session.establish().await;
        session
    }

    /// Whether somebody has connected and was not accepted yet.
    pub(super) async fn has_caller(&self) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(self.listener.poll_accept(context).is_ready()))
            .await
    }
}

/// Dials the node from this address, before any BGP.
pub(super) async fn call(from: IpAddr, node: SocketAddr) -> std::io::Result<RouterSession> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = within("an answer of TCP", socket.connect(node)).await?;
    Ok(RouterSession::over(stream))
}

impl RouterSession {
    pub(super) fn over(stream: TcpStream) -> Self {
        Self { stream, inbox: Vec::new(), routes: BTreeSet::new(), was_marked: false }
    }

    /// Speaks first, as to somebody who wants to know who calls.
    pub(super) async fn introduce_itself(&mut self) {
        self.say(1, &open_body()).await;
        assert_eq!(self.hear().await, Heard::Open);
        self.say(4, &[]).await;
        assert_eq!(self.hear().await, Heard::Keepalive);
    }

    pub(super) async fn say_open(&mut self) {
        self.say(1, &open_body()).await;
    }

    pub(super) async fn establish(&mut self) {
        assert_eq!(self.hear().await, Heard::Open);
        self.say(1, &open_body()).await;
        self.say(4, &[]).await;
        assert_eq!(self.hear().await, Heard::Keepalive);
    }

    pub(super) async fn say(&mut self, kind: u8, body: &[u8]) {
        let mut message = vec![0xFF; 16];
        message.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
        message.push(kind);
        message.extend(body);
        self.stream.write_all(&message).await.unwrap();
    }

    /// The next message.
    pub(super) async fn hear(&mut self) -> Heard {
        within("a message", async {
            loop {
                if let Some(heard) = self.take_message() {
                    return heard;
                }
                match self.stream.read_buf(&mut self.inbox).await {
                    Ok(0) | Err(_) => return Heard::Closed,
                    Ok(_) => {}
                }
            }
        })
        .await
    }

    /// Listens until the routes are as expected.
    pub(super) async fn hear_until(&mut self, what: &str, done: impl Fn(&BTreeSet<String>) -> bool) {
        within(what, async {
            while !done(&self.routes) {
                let heard = self.hear().await;
                assert!(!matches!(heard, Heard::Closed | Heard::Notification { .. }), "{what}: {heard:?}");
            }
        })
        .await;
    }

    /// Listens until the peer ends the session; returns its NOTIFICATION, if there was one.
    pub(super) async fn hear_end(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let mut last_words = None;
        loop {
            match self.hear().await {
                Heard::Closed => return last_words,
                Heard::Notification { code, subcode, data } => last_words = Some((code, subcode, data)),
                Heard::Open | Heard::Keepalive | Heard::Update { .. } | Heard::EndOfRib => {}
            }
        }
    }

    fn take_message(&mut self) -> Option<Heard> {
        let header = self.inbox.get(..19)?;
        assert_eq!(header[..16], [0xFF; 16], "marker");
        let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
        let kind = header[18];
        self.inbox.get(..length)?;
        let message: Vec<u8> = self.inbox.drain(..length).collect();
        let body = &message[19..];
        Some(match kind {
            1 => Heard::Open,
            2 => self.update(body),
            3 => Heard::Notification { code: body[0], subcode: body[1], data: body[2..].to_vec() },
            4 => Heard::Keepalive,
            other => panic!("message type {other}"),
        })
    }

    fn update(&mut self, body: &[u8]) -> Heard {
        let (withdrawn, rest) = counted(body);
        let (mut attributes, nlri) = counted(rest);
        let mut withdrawn = prefixes(withdrawn, false);
        let mut announced = prefixes(nlri, false);
        let mut next_hop = None;
        let mut end_of_rib = body.len() == 4;
        while let [flags, code, tail @ ..] = attributes {
            let (value, after) = match flags & 0x10 {
                0 => tail[1..].split_at(usize::from(tail[0])),
                _ => counted(tail),
            };
            match code {
                3 => next_hop = Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).unwrap()).into()),
                8 => self.was_marked |= value.chunks(4).any(|community| community == [0xFF, 0xFF, 0, 0]),
                14 => {
                    let hop = &value[4..4 + usize::from(value[3])];
                    next_hop = Some(Ipv6Addr::from(<[u8; 16]>::try_from(&hop[..16]).unwrap()).into());
                    announced.extend(prefixes(&value[5 + hop.len()..], true));
                }
                15 => {
                    withdrawn.extend(prefixes(&value[3..], true));
                    end_of_rib = value.len() == 3;
                }
                _ => {}
            }
            attributes = after;
        }
        if end_of_rib {
            return Heard::EndOfRib;
        }
        for prefix in &withdrawn {
            self.routes.remove(prefix);
        }
        self.routes.extend(announced.iter().cloned());
        Heard::Update { announced, withdrawn, next_hop }
    }
}

/// Splits off what a leading u16 counts.
fn counted(octets: &[u8]) -> (&[u8], &[u8]) {
    octets[2..].split_at(usize::from(u16::from_be_bytes([octets[0], octets[1]])))
}

fn prefixes(mut octets: &[u8], v6: bool) -> Vec<String> {
    let mut found = Vec::new();
    while let [bits, rest @ ..] = octets {
        let (significant, after) = rest.split_at(usize::from(bits.div_ceil(8)));
        let mut address = [0; 16];
        address[..significant.len()].copy_from_slice(significant);
        let ip: IpAddr = if v6 { address.into() } else { <[u8; 4]>::try_from(&address[..4]).unwrap().into() };
        found.push(format!("{ip}/{bits}"));
        octets = after;
    }
    found
}

/// OPEN of a router that speaks both families, four-octet AS numbers and graceful restart as a helper.
fn open_body() -> Vec<u8> {
    let asn = ROUTER_ASN.to_be_bytes();
    let capabilities = [
        &[1, 4, 0, 1, 0, 1][..],
        &[1, 4, 0, 2, 0, 1],
        &[2, 0],
        &[65, 4, asn[0], asn[1], asn[2], asn[3]],
        &[64, 2, 0, 120],
    ]
    .concat();
    let length = u8::try_from(capabilities.len()).unwrap();
    let mut body = vec![4, asn[2], asn[3], 0, 90, 192, 0, 2, 1, length + 2, 2, length];
    body.extend(capabilities);
    body
}
