//! Comparing authorization details (RFC 9396 §6.1).
//!
//! A detail that is asked for is within a granted one where both have the same members, and each member has the same
//! value, or is a common one that lists what is allowed (`locations`, `actions`, `datatypes`, `privileges`; RFC 9396
//! §2.2) and the asked list is a part of the granted one that is not empty. Whether any other difference allows more or
//! less, only the API knows; so nothing else is within.
//!
//! What a token has of its grant's details is a [`Selection`]: places in lists. It has no words for more than was granted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Detail;

/// A common member that lists what is allowed (RFC 9396 §2.2): less of it allows less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListMember {
    /// Resource servers.
    Locations,
    /// Actions at the resource.
    Actions,
    /// Kinds of data.
    Datatypes,
    /// Privileges.
    Privileges,
}

impl ListMember {
    const ALL: [Self; 4] = [Self::Locations, Self::Actions, Self::Datatypes, Self::Privileges];

    /// The member's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Locations => "locations",
            Self::Actions => "actions",
            Self::Datatypes => "datatypes",
            Self::Privileges => "privileges",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|member| member.name() == name)
    }
}

/// A granted detail, or less of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selected {
    /// Its place among the granted ones, from 0.
    pub detail: u32,
    /// Of lists that are cut: the places of what is left.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub only: BTreeMap<ListMember, Vec<u32>>,
}

/// Which of a grant's details a token has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selection(pub Vec<Selected>);

impl Selection {
    /// All of the granted details that fit.
    #[must_use]
    pub fn of(granted: &[Detail], fits: impl Fn(&Detail) -> bool) -> Self {
        let places = (0_u32..).zip(granted).filter(|(_, detail)| fits(detail));
        Self(
            places
                .map(|(detail, _)| Selected {
                    detail,
                    only: BTreeMap::new(),
                })
                .collect(),
        )
    }

    /// What is asked for, where each of it is within a granted detail.
    #[must_use]
    pub fn asked(granted: &[Detail], asked: &[Detail]) -> Option<Self> {
        let mut selection = Vec::new();
        for one in asked {
            let found = (0_u32..).zip(granted).find_map(|(detail, granted)| {
                Some(Selected {
                    detail,
                    only: part_of(granted, one)?,
                })
            })?;
            if !selection.contains(&found) {
                selection.push(found);
            }
        }
        Some(Self(selection))
    }

    /// The selected details. A place that is not there selects nothing.
    #[must_use]
    pub fn apply(&self, granted: &[Detail]) -> Vec<Detail> {
        self.0
            .iter()
            .filter_map(|selected| selected.cut(granted.get(usize::try_from(selected.detail).ok()?)?))
            .collect()
    }

    /// Whether it selects nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Selected {
    /// None where nothing would be left of a list: to an API, an empty one may mean everything.
    fn cut(&self, granted: &Detail) -> Option<Detail> {
        let mut members = granted.0.clone();
        for (member, places) in &self.only {
            let list = members.get_mut(member.name())?.as_array_mut()?;
            let left: Vec<Value> = places
                .iter()
                .filter_map(|place| list.get(usize::try_from(*place).ok()?).cloned())
                .collect();
            if left.is_empty() {
                return None;
            }
            *list = left;
        }
        Some(Detail(members))
    }
}

/// Whether each of `details` is within one of `granted`.
#[must_use]
pub fn covers(granted: &[Detail], details: &[Detail]) -> bool {
    Selection::asked(granted, details).is_some()
}

/// The lists that are cut, and what is left of them, where `asked` is within `granted`.
fn part_of(granted: &Detail, asked: &Detail) -> Option<BTreeMap<ListMember, Vec<u32>>> {
    if granted.0.len() != asked.0.len() {
        return None;
    }
    let mut only = BTreeMap::new();
    for (name, asked) in &asked.0 {
        let granted = granted.0.get(name)?;
        if granted == asked {
            continue;
        }
        only.insert(
            ListMember::named(name)?,
            places(granted.as_array()?, asked.as_array()?)?,
        );
    }
    Some(only)
}

/// Where the asked values are in the granted list; none where one of them is not, or nothing is asked for.
fn places(granted: &[Value], asked: &[Value]) -> Option<Vec<u32>> {
    let mut places = Vec::with_capacity(asked.len());
    for value in asked {
        let place = granted.iter().position(|known| known == value)?;
        places.push(u32::try_from(place).ok()?);
    }
    places.sort_unstable();
    places.dedup();
    (!places.is_empty()).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn detail(value: Value) -> Detail {
        Detail::try_from(value).unwrap()
    }

    #[test]
    fn a_detail_is_within_a_granted_one_where_its_lists_of_what_is_allowed_are() {
        let granted = [detail(json!({
            "type": "files", "actions": ["read", "write", "list"], "locations": ["urn:a"], "except": ["x", "y"], "limit": 5,
        }))];
        let asked = |patch: Value| {
            let mut members = granted[0].0.clone();
            for (name, value) in patch.as_object().unwrap() {
                if value.is_null() {
                    members.remove(name);
                } else {
                    members.insert(name.clone(), value.clone());
                }
            }
            Selection::asked(&granted, &[Detail(members)])
        };
        assert_eq!(asked(json!({})), Some(Selection::of(&granted, |_| true)));
        let narrow = asked(json!({"actions": ["list", "read", "list"]})).unwrap();
        assert_eq!(
            serde_json::to_value(&narrow).unwrap(),
            json!([{"detail": 0, "only": {"actions": [0, 2]}}])
        );
        assert_eq!(narrow.apply(&granted)[0].0["actions"], json!(["read", "list"]));
        for wider in [
            json!({"actions": ["read", "delete"]}),
            // An API may take an empty or absent list for everything, and another list for exceptions.
            json!({"actions": []}),
            json!({"actions": null}),
            json!({"except": ["x"]}),
            json!({"limit": 4}),
            json!({"more": true}),
            json!({"type": "file"}),
            json!({"actions": "read"}),
        ] {
            assert_eq!(asked(wider.clone()), None, "{wider}");
        }
        let nothing: Selection = serde_json::from_value(json!([
            {"detail": 7}, {"detail": 0, "only": {"actions": [9]}}, {"detail": 0, "only": {"privileges": [0]}}
        ]))
        .unwrap();
        assert!(nothing.apply(&granted).is_empty());
    }

    fn details() -> impl Strategy<Value = Vec<Detail>> {
        let list = || proptest::collection::vec("[abc]", 0..4);
        let one = (
            "[tu]",
            proptest::option::of(list()),
            proptest::option::of(list()),
            list(),
            0..2_u8,
        );
        let one = one.prop_map(|(name, actions, locations, other, number)| {
            let mut value = json!({"type": name, "other": other, "number": number});
            for (member, list) in [("actions", actions), ("locations", locations)] {
                if let Some(list) = list {
                    value[member] = json!(list);
                }
            }
            detail(value)
        });
        proptest::collection::vec(one, 0..4)
    }

    /// The rule, in other words than the code's.
    fn is_within(granted: &Detail, asked: &Detail) -> bool {
        let names = |detail: &Detail| -> Vec<String> { detail.0.keys().cloned().collect() };
        let (mut left, mut right) = (names(granted), names(asked));
        left.sort();
        right.sort();
        left == right
            && asked.0.iter().all(|(name, value)| {
                let known = &granted.0[name];
                let is_part = || {
                    let (Some(known), Some(value)) = (known.as_array(), value.as_array()) else {
                        return false;
                    };
                    !value.is_empty() && value.iter().all(|one| known.contains(one))
                };
                known == value || (ListMember::named(name).is_some() && is_part())
            })
    }

    proptest! {
        #[test]
        fn what_is_selected_is_never_wider_than_what_was_granted(granted in details(), asked in details()) {
            let possible = asked.iter().all(|one| granted.iter().any(|known| is_within(known, one)));
            let selection = Selection::asked(&granted, &asked);
            prop_assert_eq!(selection.is_some(), possible);
            let Some(selection) = selection else { return Ok(()) };
            let selected = selection.apply(&granted);
            for one in &selected {
                prop_assert!(granted.iter().any(|known| is_within(known, one)), "{:?}", one.0);
                prop_assert!(asked.iter().any(|asked| is_within(one, asked) && is_within(asked, one)));
            }
            prop_assert_eq!(selected.is_empty(), asked.is_empty());
            prop_assert!(covers(&granted, &selected));
        }

        #[test]
        fn no_selection_of_any_ledger_is_wider_than_what_was_granted(
            granted in details(),
            picks in proptest::collection::vec((0..6_u32, proptest::option::of(proptest::collection::vec(0..6_u32, 0..4))), 0..4),
        ) {
            let selection = Selection(picks.into_iter().map(|(detail, actions)| Selected {
                detail,
                only: actions.map(|places| (ListMember::Actions, places)).into_iter().collect(),
            }).collect());
            for one in selection.apply(&granted) {
                prop_assert!(granted.iter().any(|known| is_within(known, &one)), "{:?}", one.0);
            }
        }
    }
}
