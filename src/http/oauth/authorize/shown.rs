//! What a consent page shows, as a digest that its form carries: an approval is of that and of nothing else.

use super::request::{AuthorizationRequest, Target};
use crate::domain::value::Digest;

/// The digest of who asks, for what, and where the answer goes.
pub(super) fn digest(target: &Target, request: &AuthorizationRequest) -> Digest {
    let scopes: Vec<_> = request
        .scopes
        .iter()
        .map(|scope| (&scope.name, &scope.description))
        .collect();
    let shown = serde_json::json!([
        target.registration.metadata.client_name,
        target.back.redirect_uri,
        request.openid.individual_claims.all(),
        request.audience,
        request.resources,
        scopes,
        request
            .details
            .iter()
            .map(|asked| &asked.shown)
            .collect::<Vec<_>>(),
        request.lost.as_ref().map(|lost| {
            let scopes: Vec<_> = lost
                .scopes
                .iter()
                .map(|scope| (&scope.name, &scope.description))
                .collect();
            (scopes, &lost.claims, &lost.details)
        }),
    ]);
    Digest::of(shown.to_string().as_bytes())
}

/// What the form's token is made of: the request, and what the page showed of it.
pub(super) fn bound(query: &str, shown: &Digest) -> String {
    format!("{shown} {query}")
}

/// What a form's token field carries: the token, and the digest that it is of.
pub(super) fn read(field: Option<&str>) -> Option<(&str, Digest)> {
    let (token, shown) = field?.split_once('.')?;
    Some((token, Digest::from_hex(shown)?))
}
