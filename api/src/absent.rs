//! A `spec` that may be left out: `kind: BGPAdvertisement` with a name and nothing else is a whole object.
//!
//! The types that the CRD derive makes require the field. A spec that reads itself from an option is read from a
//! missing field too.

/// Lets a spec be absent or null. The spec derives its serde code with `remote = "Self"`.
macro_rules! may_be_absent {
    ($spec:ident) => {
        impl<'de> serde::Deserialize<'de> for $spec {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Present($spec);

                impl<'de> serde::Deserialize<'de> for Present {
                    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                        // The function that serde derived, not the trait's.
                        $spec::deserialize(deserializer).map(Self)
                    }
                }

                let present = <Option<Present> as serde::Deserialize>::deserialize(deserializer)?;
                Ok(present.map(|Present(spec)| spec).unwrap_or_default())
            }
        }

        impl serde::Serialize for $spec {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $spec::serialize(self, serializer)
            }
        }
    };
}

pub(crate) use may_be_absent;
