//! Tells the client where the slim types live in the API.

use api::v1beta1::ConfigurationState;
use api::{from_json, stands_for};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::convert::{SlimSecret, SlimSlice, SlimState};
use super::node::SlimNode;
use crate::termination::wish::SlimDaemonSet;

stands_for!(SlimSlice, EndpointSlice);
stands_for!(SlimState, ConfigurationState);
stands_for!(SlimNode, Node);
stands_for!(SlimSecret, Secret);
stands_for!(SlimDaemonSet, DaemonSet);

from_json!(SlimSlice, SlimState, SlimNode, SlimSecret);
