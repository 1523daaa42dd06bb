//! Names for communities. They are known to all advertisements; of two definitions the older object's wins.

use std::collections::BTreeMap;

use super::{Kind, RejectionReason, Work, by_age, name_of};
use crate::community::CommunityValue;
use crate::v1beta1::CommunityAlias;

/// The names that one Community object defines.
pub type Aliases = BTreeMap<String, CommunityValue>;

impl Work<'_> {
    /// Takes each name by itself: a faulty one does not take the others of its object with it.
    pub(super) fn build_aliases(&mut self) {
        for object in by_age(&self.resources.communities, |community| &community.metadata) {
            let name = name_of(&object.metadata);
            let mut faults = Vec::new();
            let mut aliases = Aliases::new();
            for alias in &object.spec.communities {
                if let Err((reason, kept)) = self.take_alias(name, alias, &mut aliases) {
                    faults.push(reason);
                    aliases.extend(kept.map(|value| (alias.name.clone(), value)));
                }
            }
            let in_force = !aliases.is_empty();
            for reason in faults {
                self.reject(Kind::Community, name, reason, in_force);
            }
            self.config.aliases.insert(name.to_owned(), aliases);
        }
    }

    fn take_alias(
        &self,
        object: &str,
        alias: &CommunityAlias,
        aliases: &mut Aliases,
    ) -> Result<(), (RejectionReason, Option<CommunityValue>)> {
        let defined = self.config.aliases.iter().find(|(_, others)| others.contains_key(&alias.name));
        let other = if aliases.contains_key(&alias.name) {
            Some(object)
        } else {
            defined.map(|(other, _)| other.as_str())
        };
        if let Some(other) = other {
            let reason =
                RejectionReason::DuplicateCommunity { alias: alias.name.clone(), other: other.to_owned() };
            return Err((reason, None));
        }
        match CommunityValue::parse(&alias.value) {
            Ok(value) => {
                aliases.insert(alias.name.clone(), value);
                Ok(())
            }
            Err(fault) => {
                let last_good =
                    self.last_good.aliases.get(object).and_then(|old| old.get(&alias.name)).copied();
                Err((RejectionReason::InvalidCommunity(fault), last_good))
            }
        }
    }

    /// The value of a name, whichever object defines it.
    pub(super) fn alias(&self, name: &str) -> Option<CommunityValue> {
        self.config.aliases.values().find_map(|aliases| aliases.get(name)).copied()
    }
}
