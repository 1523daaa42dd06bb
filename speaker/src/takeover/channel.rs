//! Messages over a local socket, each with at most one descriptor: length, JSON, and the descriptor beside the length.
//!
//! Everything is bounded: lengths by the caller, times by the caller. Leaves out what the messages mean.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The octets of a length.
const HEADER: usize = 4;

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum ChannelFault {
    /// The other process closed the socket, or ended.
    #[error("the other speaker closed the connection")]
    Closed,
    /// The message is longer than one of its kind can be.
    #[error("a message of {octets} octets was announced")]
    TooLong {
        /// The announced length.
        octets: usize,
    },
    /// What came is no message of this protocol.
    #[error("a message cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
}

/// A connected socket.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
}

impl Channel {
    /// Over this socket.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self { stream }
    }

    /// Whether the other process is one of those that the folder was given to: of our user, or of our group. A speaker
    /// that needs capabilities is root, and its group is that of the others.
    #[must_use]
    pub fn is_of_our_kind(&self) -> bool {
        self.stream.peer_cred().is_ok_and(|other| {
            other.uid() == rustix::process::geteuid().as_raw()
                || other.gid() == rustix::process::getegid().as_raw()
        })
    }

    /// Sends a message, and with it a copy of a descriptor.
    ///
    /// # Errors
    /// When the socket fails or the message is larger than a length can say.
    pub async fn send(
        &self,
        message: &impl Serialize,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), ChannelFault> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).map_err(|_| ChannelFault::TooLong { octets: body.len() })?;
        let header = length.to_be_bytes();
        self.stream
            .async_io(Interest::WRITABLE, || send_header(self.stream.as_fd(), header, descriptor))
            .await?;
        let mut rest = body.as_slice();
        while !rest.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(rest) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The next message of at most `limit` octets, and the descriptor that came with it. Not cancel-safe: a message of
    /// which a part was read is lost with the call.
    ///
    /// # Errors
    /// [`ChannelFault`]; the channel is of no use after one.
    pub async fn receive<T: DeserializeOwned>(
        &self,
        limit: usize,
    ) -> Result<(T, Option<OwnedFd>), ChannelFault> {
        let mut header = [0; HEADER];
        let mut descriptor = None;
        let mut have = 0;
        while have < HEADER {
            let room = header.get_mut(have..).unwrap_or_default();
            let stream = &self.stream;
            let got = stream
                .async_io(Interest::READABLE, || receive_header(stream.as_fd(), room, &mut descriptor))
                .await?;
            if got == 0 {
                return Err(ChannelFault::Closed);
            }
            have += got;
        }
        let octets = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
        if octets > limit {
            return Err(ChannelFault::TooLong { octets });
        }
        let mut body = vec![0; octets];
        let mut rest = body.as_mut_slice();
        while !rest.is_empty() {
            self.stream.readable().await?;
            match self.stream.try_read(rest) {
                Ok(0) => return Err(ChannelFault::Closed),
                Ok(read) => rest = rest.get_mut(read..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((api::json::from_octets(&body)?, descriptor))
    }

    /// Until the other process closes the socket or ends. What it says meanwhile is dropped. Cancel-safe.
    pub async fn closed(&self) {
        let mut octets = [0; 64];
        loop {
            if self.stream.readable().await.is_err() {
                return;
            }
            match self.stream.try_read(&mut octets) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_gone) => return,
            }
        }
    }
}

/// Sends the length in one piece; a socket that takes less than four octets is as good as full.
fn send_header(
    socket: BorrowedFd<'_>,
    header: [u8; HEADER],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|descriptor| [descriptor]);
    if let Some(descriptors) = &descriptors {
        // The buffer has room for exactly this.
        let _ = control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let sent = sendmsg(socket, &[IoSlice::new(&header)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == HEADER { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Reads octets of a length; a descriptor comes with the first of them. More descriptors than one are closed by the
/// kernel, for want of room.
fn receive_header(
    socket: BorrowedFd<'_>,
    room: &mut [u8],
    descriptor: &mut Option<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(room)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            *descriptor = descriptors.last().or_else(|| descriptor.take());
        }
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use tokio::io::AsyncWriteExt;

    use super::*;

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::new(one), Channel::new(other))
    }

    #[tokio::test]
    async fn messages_arrive_in_order_each_with_its_descriptor() {
        let (one, other) = pair();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut caller = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (answered, _) = listener.accept().unwrap();
        let long = "x".repeat(1_000_000);
        let sending = async {
            one.send(&"first", None).await.unwrap();
            one.send(&long, Some(answered.as_fd())).await.unwrap();
            one.send(&"last", None).await.unwrap();
        };
        let receiving = async {
            let (text, descriptor) = other.receive::<String>(100).await.unwrap();
            assert_eq!((text.as_str(), descriptor.is_none()), ("first", true));
            let (text, descriptor) = other.receive::<String>(2_000_000).await.unwrap();
            assert_eq!(text.len(), long.len());
            let (last, none) = other.receive::<String>(100).await.unwrap();
            assert_eq!((last.as_str(), none.is_none()), ("last", true));
            descriptor.unwrap()
        };
        let ((), descriptor) = tokio::join!(sending, receiving);
        drop(answered);
        let mut passed = std::net::TcpStream::from(descriptor);
        caller.write_all(b"still here").unwrap();
        let mut heard = [0; 10];
        passed.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"still here", "the connection outlives the copy that was closed");
    }

    #[tokio::test]
    async fn garbage_is_refused_with_words() {
        let refused = |octets: &'static [u8]| async move {
            let (mut one, other) = UnixStream::pair().unwrap();
            one.write_all(octets).await.unwrap();
            drop(one);
            Channel::new(other).receive::<String>(100).await.unwrap_err().to_string()
        };
        assert_eq!(refused(b"GET / HTTP/1.1\r\n").await, "a message of 1195725856 octets was announced");
        assert_eq!(
            refused(&[0, 0, 0, 3, b'a', b'b', b'c']).await.split(':').next(),
            Some("a message cannot be read")
        );
        assert_eq!(refused(&[0, 0, 0, 9, b'a']).await, "the other speaker closed the connection");
        assert_eq!(refused(&[0]).await, "the other speaker closed the connection");
    }
}
