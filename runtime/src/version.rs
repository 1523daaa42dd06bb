//! `resourceVersion`s, which are numbers of any length written as text (KEP-5504).
//!
//! Leaves out what follows from an order: two versions of different data have none.

/// Whether the resource version `left` is older than `right`, both of one history.
#[must_use]
pub fn is_older(left: &str, right: &str) -> bool {
    (left.len(), left) < (right.len(), right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_versions_compare_as_numbers() {
        assert!(is_older("9", "10"));
        assert!(is_older("10", "11"));
        assert!(!is_older("11", "11"));
        assert!(!is_older("100", "99"));
    }
}
