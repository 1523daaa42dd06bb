//! Tells the client where the slim types live in the API.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};

use super::convert::{SlimNode, SlimSecret, SlimSlice, SlimState};
use crate::termination::wish::{Place, SlimDaemonSet};

macro_rules! resource {
    ($slim:ty, $scope:ty, $group:literal, $kind:literal, $plural:literal) => {
        resource!($slim, $scope, $group, "v1", $kind, $plural);
    };
    ($slim:ty, $scope:ty, $group:literal, $version:literal, $kind:literal, $plural:literal) => {
        impl kube::Resource for $slim {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> Cow<'_, str> {
                $version.into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(SlimSlice, NamespaceResourceScope, "discovery.k8s.io", "EndpointSlice", "endpointslices");
resource!(
    SlimState,
    NamespaceResourceScope,
    "metallb.io",
    "v1beta1",
    "ConfigurationState",
    "configurationstates"
);
resource!(SlimNode, ClusterResourceScope, "", "Node", "nodes");
resource!(SlimSecret, NamespaceResourceScope, "", "Secret", "secrets");
resource!(SlimDaemonSet, NamespaceResourceScope, "apps", "DaemonSet", "daemonsets");
resource!(Place, ClusterResourceScope, "", "Node", "nodes");
