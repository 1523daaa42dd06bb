//! Herald's own kinds, in the API group `herald-lb.io`.

pub mod speaker_state;

pub use speaker_state::{
    SessionState, SpeakerReport, SpeakerState, SpeakerStateSpec, SpeakerStateStatus, WithheldService,
};
