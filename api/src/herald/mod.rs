//! Herald's own kinds, in the API group `herald-lb.io`, and what speakers answer on their sockets.

pub mod answer;
pub mod reason;
pub mod speaker_state;

pub use answer::{RoutePeer, RouteState, RoutesReport, Told, WhyLink, WhyReport};
pub use reason::WhyReason;
pub use speaker_state::{
    MAX_NETWORKS_LISTED, SessionState, SpeakerReport, SpeakerState, SpeakerStateSpec, SpeakerStateStatus,
    WithheldService, peer_of,
};
