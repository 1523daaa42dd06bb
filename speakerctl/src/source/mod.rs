//! Where reports come from: the speaker's own socket, or the SpeakerState objects in the API.
//!
//! Both give `Report`s; neither prints. `node` and `slice` are what is read of a Node and of a speaker's
//! endpoint beside them.

pub(crate) mod cluster;
pub(crate) mod node;
pub(crate) mod slice;
pub(crate) mod socket;
