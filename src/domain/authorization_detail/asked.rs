//! What becomes of a grant's authorization details when a token is issued on it.

use std::collections::BTreeMap;

use super::{Detail, Selection};

/// The types of details that a client may have at this moment, each with the resource servers that it is for.
pub type AllowedTypes = BTreeMap<String, Vec<String>>;

/// A grant's details, opened, and what a request wants of them.
#[derive(Clone, Debug, Default)]
pub struct AskedDetails {
    /// What was granted.
    pub granted: Vec<Detail>,
    /// The parameter `authorization_details`; none for as much as there may be.
    pub asked: Option<Vec<Detail>>,
    /// What the client may have now.
    pub allowed: AllowedTypes,
}

/// Why a token gets no details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetailsRefusal {
    /// More was asked for than was granted.
    Exceeded,
    /// What was asked for, or all that was granted, may no longer be had, or not at the token's resource servers.
    NoLongerAllowed,
}

impl AskedDetails {
    /// Whether the client may have it now, in a token for these resource servers.
    fn fits(&self, detail: &Detail, audience: &[String]) -> bool {
        let resources = self.allowed.get(detail.type_name());
        resources.is_some_and(|resources| detail.is_for(resources, audience))
    }

    /// Those of a token for these resource servers; none where the grant has none. What is named is had or refused; what
    /// is not named follows what may be had at this moment.
    pub fn select(&self, audience: &[String]) -> Result<Option<Selection>, DetailsRefusal> {
        let Some(asked) = &self.asked else {
            let left = Selection::of(&self.granted, |detail| self.fits(detail, audience));
            return Ok((!self.granted.is_empty()).then_some(left));
        };
        let selection = Selection::asked(&self.granted, asked).ok_or(DetailsRefusal::Exceeded)?;
        let selected = selection.apply(&self.granted);
        if !selected.iter().all(|detail| self.fits(detail, audience)) {
            return Err(DetailsRefusal::NoLongerAllowed);
        }
        Ok((!self.granted.is_empty()).then_some(selection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_token_gets_what_may_be_had_now_at_its_resource_servers() {
        let detail = |value| Detail::try_from(value).unwrap();
        let audience = |name: &str| vec![name.to_owned()];
        let (here, there) = (
            detail(json!({"type": "a", "locations": ["urn:x"]})),
            detail(json!({"type": "b"})),
        );
        let mut asked = AskedDetails {
            granted: vec![here.clone(), there.clone()],
            asked: None,
            allowed: [
                ("a".to_owned(), vec![]),
                ("b".to_owned(), vec!["urn:y".to_owned()]),
            ]
            .into(),
        };
        let got = |asked: &AskedDetails, name: &str| {
            let selection = asked.select(&audience(name))?;
            Ok(selection.map(|selection| selection.apply(&asked.granted)))
        };
        assert_eq!(got(&asked, "urn:x"), Ok(Some(vec![here.clone()])));
        assert_eq!(got(&asked, "urn:y"), Ok(Some(vec![there.clone()])));
        assert_eq!(got(&asked, "urn:z"), Ok(Some(vec![])));
        asked.asked = Some(vec![there.clone()]);
        assert_eq!(got(&asked, "urn:x"), Err(DetailsRefusal::NoLongerAllowed));
        assert_eq!(got(&asked, "urn:y"), Ok(Some(vec![there])));
        asked.allowed.remove("b");
        assert_eq!(got(&asked, "urn:y"), Err(DetailsRefusal::NoLongerAllowed));
        asked.asked = Some(vec![detail(json!({"type": "c"}))]);
        assert_eq!(got(&asked, "urn:x"), Err(DetailsRefusal::Exceeded));
        assert_eq!(AskedDetails::default().select(&[]), Ok(None));
    }
}
