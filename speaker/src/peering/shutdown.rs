//! GRACEFUL_SHUTDOWN and the lowest LOCAL_PREF (RFC 8326): the last thing that is said of routes that are about to be
//! withdrawn.

use std::sync::Arc;

use bgp_proto::{Community, PathAttrs, RouteSet};

/// The same routes, each with the community that asks routers to prefer any other path, and towards iBGP with the
/// LOCAL_PREF that makes them do so without a policy (RFC 8326 §4.3).
pub(super) fn marked(routes: &RouteSet) -> RouteSet {
    let mut last: Option<(&Arc<PathAttrs>, Arc<PathAttrs>)> = None;
    let marked = routes.iter().map(|(prefix, attrs)| {
        // Neighbouring routes mostly share one attribute set, and they are to share the marked one, too.
        let attrs = match &last {
            Some((before, marked)) if Arc::ptr_eq(before, attrs) => Arc::clone(marked),
            Some(_) | None => {
                let marked = Arc::new(marked_attrs(attrs));
                last = Some((attrs, Arc::clone(&marked)));
                marked
            }
        };
        (prefix, attrs)
    });
    marked.collect()
}

fn marked_attrs(attrs: &PathAttrs) -> PathAttrs {
    let mut communities = attrs.communities.clone();
    communities.push(Community::GRACEFUL_SHUTDOWN);
    communities.sort();
    communities.dedup();
    // eBGP is never told a LOCAL_PREF.
    PathAttrs { communities, local_pref: Some(0), ..attrs.clone() }
}

#[cfg(test)]
mod tests {
    use bgp_proto::Prefix;

    use super::*;

    #[test]
    fn every_route_is_marked_once_and_shared_attributes_stay_shared() {
        let attrs = Arc::new(PathAttrs { communities: vec![Community::NO_EXPORT], ..PathAttrs::default() });
        let host = |last| Prefix::host([10, 0, 4, last].into());
        let routes: RouteSet = (1..=3).map(|last| (host(last), Arc::clone(&attrs))).collect();
        let twice = marked(&marked(&routes));
        let [first, second] = [1, 2].map(|last| twice.get(&host(last)).unwrap());
        assert_eq!(first.communities, [Community::GRACEFUL_SHUTDOWN, Community::NO_EXPORT]);
        assert_eq!(first.local_pref, Some(0), "iBGP routers need no policy for the community");
        assert!(Arc::ptr_eq(first, second));
        assert_eq!(twice.len(), 3);
    }
}
