//! Where reports come from: the speaker's own socket, or the SpeakerState objects in the API.
//!
//! Both give `Report`s; neither prints.

pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod socket;
