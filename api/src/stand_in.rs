//! How a type that reads only a part of an object, or the object in an older version, stands for its kind in the API.

/// Implements [`kube::Resource`] for a type that has the field `metadata`: it is found where the full type is. `version`
/// gives another one than the full type's.
///
/// ```
/// use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
///
/// struct Named {
///     metadata: ObjectMeta,
/// }
/// api::stands_for!(Named, k8s_openapi::api::core::v1::Node);
/// assert_eq!(<Named as kube::Resource>::url_path(&(), None), "/api/v1/nodes");
/// ```
#[macro_export]
macro_rules! stands_for {
    ($slim:ty, $full:ty) => {
        $crate::stands_for!($slim, $full, version <$full as ::kube::Resource>::version(&()));
    };
    ($slim:ty, $full:ty, version $version:expr) => {
        impl ::kube::Resource for $slim {
            type DynamicType = ();
            type Scope = <$full as ::kube::Resource>::Scope;

            fn kind((): &()) -> ::std::borrow::Cow<'_, str> {
                <$full as ::kube::Resource>::kind(&())
            }

            fn group((): &()) -> ::std::borrow::Cow<'_, str> {
                <$full as ::kube::Resource>::group(&())
            }

            fn version((): &()) -> ::std::borrow::Cow<'_, str> {
                $version
            }

            fn plural((): &()) -> ::std::borrow::Cow<'_, str> {
                <$full as ::kube::Resource>::plural(&())
            }

            fn meta(&self) -> &::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
