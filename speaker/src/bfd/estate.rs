//! What another process needs to go on with the BFD sessions of this one.
//!
//! The sockets are copies: both processes have them for a moment, and what comes is read by whoever still runs. So the first
//! one says and hears nothing more before the second begins. Leaves out how it travels, which is `crate::takeover`.

use std::os::fd::OwnedFd;

use bfd_proto::SessionImage;

pub use super::listener::Ear;

/// All sessions and their sockets.
#[derive(Debug, Default)]
pub struct Estate {
    /// Each session, with the socket that it sends by, if it has sent.
    pub sessions: Vec<(SessionImage, Option<OwnedFd>)>,
    /// The sockets that are heard.
    pub ears: Vec<(Ear, OwnedFd)>,
}
