//! A route set in a form that can be written down and read again, for another process or a later one.
//!
//! Attributes are listed once however many routes have them, and routes that shared them share them again. Leaves out
//! where it is written to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bgp_proto::{Community, LargeCommunity, Origin, PathAttrs, Prefix, RouteSet};
use serde::{Deserialize, Serialize};

/// All routes of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteList {
    attributes: Vec<Attributes>,
    /// Address, length, and the place of the attributes in their list.
    routes: Vec<(IpAddr, u8, usize)>,
}

/// Why a list is not a route set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListFault {
    /// A prefix is longer than its address.
    #[error("{address}/{length} is no prefix")]
    Prefix {
        /// Its address.
        address: IpAddr,
        /// Its length.
        length: u8,
    },
    /// A route names attributes that are not in the list.
    #[error("a route names attributes that are not listed")]
    Attributes,
    /// An ORIGIN that does not exist.
    #[error("{0} is no ORIGIN")]
    Origin(u8),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Attributes {
    origin: u8,
    prepend: u8,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<u32>,
    large_communities: Vec<[u32; 3]>,
    ext_communities: Vec<[u8; 8]>,
}

impl RouteList {
    /// Writes a set down.
    #[must_use]
    pub fn of(set: &RouteSet) -> Self {
        let mut list = Self::default();
        let mut places: BTreeMap<&PathAttrs, usize> = BTreeMap::new();
        for (prefix, attrs) in set.iter() {
            let place = *places.entry(attrs).or_insert_with(|| {
                list.attributes.push(Attributes::of(attrs));
                list.attributes.len() - 1
            });
            list.routes.push((prefix.address(), prefix.len(), place));
        }
        list
    }

    /// The set again.
    ///
    /// # Errors
    /// [`ListFault`] when the list was damaged.
    pub fn to_set(&self) -> Result<RouteSet, ListFault> {
        let attributes: Vec<Arc<PathAttrs>> =
            self.attributes.iter().map(|attrs| attrs.to_attrs().map(Arc::new)).collect::<Result<_, _>>()?;
        let routes = self.routes.iter().map(|(address, length, place)| {
            let prefix = Prefix::try_new(*address, *length)
                .map_err(|_| ListFault::Prefix { address: *address, length: *length })?;
            let attrs = attributes.get(*place).ok_or(ListFault::Attributes)?;
            Ok((prefix, Arc::clone(attrs)))
        });
        routes.collect()
    }
}

impl Attributes {
    fn of(attrs: &PathAttrs) -> Self {
        // Whoever adds an attribute has to say here how it is written down.
        let PathAttrs { origin, prepend, med, local_pref, communities, large_communities, ext_communities } =
            attrs;
        let large = |community: &LargeCommunity| [community.global, community.local1, community.local2];
        Self {
            origin: match origin {
                Origin::Igp => 0,
                Origin::Egp => 1,
                Origin::Incomplete => 2,
            },
            prepend: *prepend,
            med: *med,
            local_pref: *local_pref,
            communities: communities.iter().map(|community| community.0).collect(),
            large_communities: large_communities.iter().map(large).collect(),
            ext_communities: ext_communities.clone(),
        }
    }

    fn to_attrs(&self) -> Result<PathAttrs, ListFault> {
        let large = |parts: &[u32; 3]| {
            let [global, local1, local2] = *parts;
            LargeCommunity { global, local1, local2 }
        };
        Ok(PathAttrs {
            origin: match self.origin {
                0 => Origin::Igp,
                1 => Origin::Egp,
                2 => Origin::Incomplete,
                other => return Err(ListFault::Origin(other)),
            },
            prepend: self.prepend,
            med: self.med,
            local_pref: self.local_pref,
            communities: self.communities.iter().copied().map(Community).collect(),
            large_communities: self.large_communities.iter().map(large).collect(),
            ext_communities: self.ext_communities.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8) -> Prefix {
        Prefix::host([10, 0, 4, last].into())
    }

    #[test]
    fn a_set_that_was_written_down_is_read_again_as_it_was() {
        let rich = Arc::new(PathAttrs {
            origin: Origin::Incomplete,
            prepend: 3,
            med: Some(7),
            local_pref: Some(200),
            communities: vec![Community::NO_EXPORT],
            large_communities: vec![LargeCommunity { global: 64_500, local1: 1, local2: 2 }],
            ext_communities: vec![[0, 2, 0, 0, 0, 0, 0, 1]],
        });
        let plain = Arc::new(PathAttrs::default());
        let v6 = Prefix::try_new("2001:db8::".parse().unwrap(), 64).unwrap();
        let set: RouteSet =
            [(host(1), Arc::clone(&rich)), (host(2), Arc::clone(&plain)), (host(3), rich), (v6, plain)]
                .into_iter()
                .collect();
        let text = serde_json::to_string(&RouteList::of(&set)).unwrap();
        let read: RouteList = serde_json::from_str(&text).unwrap();
        let again = read.to_set().unwrap();
        assert!(again.iter().eq(set.iter()));
        let [first, third] = [1, 3].map(|last| again.get(&host(last)).unwrap());
        assert!(Arc::ptr_eq(first, third), "shared attributes are shared again");
    }

    #[test]
    fn a_damaged_list_is_refused_with_words() {
        let check = |text: &str, words: &str| {
            let list: RouteList = serde_json::from_str(text).unwrap();
            assert_eq!(list.to_set().unwrap_err().to_string(), words);
        };
        check(
            r#"{"attributes":[],"routes":[["10.0.4.1",32,0]]}"#,
            "a route names attributes that are not listed",
        );
        let plain = r#"{"origin":0,"prepend":0,"med":null,"local_pref":null,"communities":[],"large_communities":[],"ext_communities":[]}"#;
        check(
            &format!(r#"{{"attributes":[{plain}],"routes":[["10.0.4.1",33,0]]}}"#),
            "10.0.4.1/33 is no prefix",
        );
        let strange = plain.replace("\"origin\":0", "\"origin\":9");
        check(&format!(r#"{{"attributes":[{strange}],"routes":[]}}"#), "9 is no ORIGIN");
    }
}
