//! BGP messages as octets: borrowed views for reading, builders for writing.
//!
//! Readers never allocate and never look past the slice that they were given. What a message means for
//! a session is decided in `fsm`.

pub mod as_path;
pub mod attribute;
pub mod capability;
pub mod check;
pub mod community;
pub mod header;
pub mod nlri;
pub mod notification;
pub mod open;
pub(crate) mod reader;
pub mod refresh;
pub mod update;

use bytes::{BufMut, BytesMut};
use header::{HEADER_LEN, MessageType};

/// Appends one message: header, then what `body` writes. The length is taken from what was written.
pub(crate) fn put_message(out: &mut BytesMut, kind: MessageType, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_bytes(0xFF, 16);
    out.put_u16(0);
    out.put_u8(kind.code());
    body(out);
    let written = out.len().saturating_sub(start);
    debug_assert!(written >= HEADER_LEN, "a message is at least its header");
    put_length(out, start.saturating_add(16), written);
}

/// Fills in a length field of two octets that was left open at `at`.
pub(crate) fn put_length(out: &mut BytesMut, at: usize, length: usize) {
    let length = u16::try_from(length).expect("builders stay within 65535 octets");
    out.get_mut(at..at.saturating_add(2))
        .expect("the field was written before")
        .copy_from_slice(&length.to_be_bytes());
}
