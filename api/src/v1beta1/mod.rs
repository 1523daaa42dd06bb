//! The kinds of `metallb.io/v1beta1`, field by field as MetalLB names them.
//!
//! The doc comment of a field is its description in the CRD. Bounds and CEL rules are added when the CRD files are
//! made; what a field means for an address or a route is decided in [`crate::config`].

mod bfd_profile;
mod bgp_advertisement;
mod bgp_peer;
mod community;
mod configuration_state;
mod ip_address_pool;
mod l2_advertisement;
mod service_bgp_status;
mod service_l2_status;

pub use bfd_profile::{BFDProfile, BFDProfileSpec, BFDProfileStatus};
pub use bgp_advertisement::{
    BGPAdvertisement, BGPAdvertisementSpec, BGPAdvertisementStatus, LinkBandwidth, WithoutEndpoints,
};
pub use bgp_peer::BGPPeer;
pub use community::{Community, CommunityAlias, CommunitySpec, CommunityStatus};
pub use configuration_state::{ConfigurationState, ConfigurationStateSpec, ConfigurationStateStatus};
pub use ip_address_pool::{
    EditPolicy, IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, Reservation, RestingAddress,
    Selection, ServiceAllocation,
};
pub use l2_advertisement::{
    L2Advertisement, L2AdvertisementSpec, L2AdvertisementStatus, PreferredNodeSelector,
};
pub use service_bgp_status::{ServiceBGPStatus, ServiceBGPStatusSpec, ServiceBGPStatusStatus};
pub use service_l2_status::{L2Interface, ServiceL2Status, ServiceL2StatusSpec, ServiceL2StatusStatus};
