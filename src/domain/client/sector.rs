//! Sectors and pairwise subjects (OpenID Connect Core §8, Dynamic Client Registration §2 and §5).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{ClientMetadata, Registration};
use crate::domain::redirect_uri;

/// Where a client runs (OpenID Connect Dynamic Client Registration §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationType {
    /// On a server: its redirect URIs are https.
    Web,
    /// On its user's device: a private-use scheme, a loopback address, or an https address that it claims there.
    Native,
}

/// Which `sub` a client knows its users by (OpenID Connect Core §8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectType {
    /// The same as every other client.
    #[default]
    Public,
    /// One that no client outside of its sector knows.
    Pairwise,
}

impl SubjectType {
    /// All of them.
    pub const NAMES: [&'static str; 2] = ["public", "pairwise"];

    /// Whether it is [`Self::Public`].
    #[must_use]
    pub fn is_public(&self) -> bool {
        *self == Self::Public
    }
}

/// Why a client cannot have pairwise subjects, or its application type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SectorRefusal {
    /// Several hosts, or none, and nothing says which the sector is.
    #[error(
        "pairwise subjects need a sector_identifier_uri where the redirect URIs are not all on one https host"
    )]
    Ambiguous,
    /// OpenID Connect Dynamic Client Registration §5.
    #[error("it is not a URL of the web without credentials and fragment")]
    MalformedUri,
    /// A web application's codes go over https to a server.
    #[error("those of a web application are https, and not on localhost")]
    NotWeb,
    /// A native application's stay on its device.
    #[error(
        "those of a native application are https, of a private-use scheme, or http to a loopback address"
    )]
    NotNative,
}

/// The URL of a sector's document, where it may be one. That it is https is seen to by whoever fetches it: an operator may
/// allow a host of the house to be called by http.
pub fn sector_identifier_uri(text: &str) -> Result<Url, SectorRefusal> {
    let url = Url::parse(text).map_err(|_| SectorRefusal::MalformedUri)?;
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if matches!(url.scheme(), "https" | "http") && url.host().is_some() && bare && text.len() <= 2000 {
        Ok(url)
    } else {
        Err(SectorRefusal::MalformedUri)
    }
}

impl ClientMetadata {
    /// The sector identifier (OpenID Connect Core §8.1): the host of the sector's document, else the one host of the
    /// redirect URIs.
    pub fn sector(&self) -> Result<String, SectorRefusal> {
        if let Some(uri) = &self.sector_identifier_uri {
            return host(&sector_identifier_uri(uri)?).ok_or(SectorRefusal::MalformedUri);
        }
        let mut hosts = self.redirect_uris.iter().map(|uri| {
            let url = Url::parse(uri).ok().filter(|url| url.scheme() == "https")?;
            host(&url).filter(|_| !redirect_uri::is_native(uri))
        });
        let first = hosts.next().flatten().ok_or(SectorRefusal::Ambiguous)?;
        let one = hosts.all(|host| host.as_deref() == Some(first.as_str()));
        one.then_some(first).ok_or(SectorRefusal::Ambiguous)
    }

    /// Checks what is said of sector and application type against the redirect URIs.
    pub fn check_sector(&self) -> Result<(), (&'static str, SectorRefusal)> {
        if let Some(uri) = &self.sector_identifier_uri {
            sector_identifier_uri(uri).map_err(|refusal| ("sector_identifier_uri", refusal))?;
        }
        if self.subject_type == SubjectType::Pairwise {
            self.sector().map_err(|refusal| ("subject_type", refusal))?;
        }
        let refusal = match self.application_type {
            None => return Ok(()),
            Some(ApplicationType::Web) => SectorRefusal::NotWeb,
            Some(ApplicationType::Native) => SectorRefusal::NotNative,
        };
        let fits = |uri: &String| match self.application_type {
            Some(ApplicationType::Web) => {
                is_https(uri) && !redirect_uri::is_native(uri) && !is_localhost(uri)
            }
            Some(ApplicationType::Native) => is_https(uri) || redirect_uri::is_native(uri),
            None => true,
        };
        if self.redirect_uris.iter().all(fits) {
            Ok(())
        } else {
            Err(("redirect_uris", refusal))
        }
    }
}

impl Registration {
    /// The sector that its users' subjects are derived for; none where they are public.
    #[must_use]
    pub fn pairwise_sector(&self) -> Option<String> {
        self.pairwise_sector_with(&self.metadata)
    }

    /// Whether its users would be known by other subjects with this metadata.
    pub(super) fn changes_sector(&self, metadata: &ClientMetadata) -> bool {
        self.pairwise_sector() != self.pairwise_sector_with(metadata)
    }

    fn pairwise_sector_with(&self, metadata: &ClientMetadata) -> Option<String> {
        match metadata.subject_type {
            SubjectType::Public => None,
            // Registration makes sure that there is one; if not, the client is a sector of its own.
            SubjectType::Pairwise => Some(metadata.sector().unwrap_or_else(|_| self.client_id.clone())),
        }
    }
}

/// Whether its host is `localhost`, with a final dot or a name below it (RFC 6761 §6.3).
fn is_localhost(uri: &str) -> bool {
    let url = Url::parse(uri).ok();
    let name = url.as_ref().and_then(Url::domain).unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

fn is_https(uri: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| url.scheme() == "https")
}

fn host(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain(name) => Some(name.to_owned()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata(redirect_uris: &[&str], extra: &serde_json::Value) -> ClientMetadata {
        let mut document = json!({
            "client_name": "x", "redirect_uris": redirect_uris, "grant_types": ["authorization_code"],
            "token_endpoint_auth_method": "none", "scope": [], "default_scopes": [], "audience": [],
            "introspects": [], "legacy": false, "access_token_algorithm": "ES256", "access_token_lifetime": 60,
            "refresh_token_lifetime": 60, "refresh_grace": null, "allowed_origins": [], "home_page_url": null,
            "logo_url": null, "privacy_policy_url": null, "is_live": true, "owner": null,
        });
        document
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn the_sector_is_the_documents_host_or_the_one_host_of_the_redirect_uris() {
        let sector = |uris: &[&str]| metadata(uris, &json!({})).sector();
        let one = ["https://a.example/cb", "https://a.example:8443/other?x=1"];
        assert_eq!(sector(&one), Ok("a.example".to_owned()));
        for none in [
            &["https://a.example/cb", "https://b.example/cb"][..],
            &[],
            &["com.example.app:/cb"],
            &["http://127.0.0.1/cb"],
            &["https://localhost/cb"],
            &["https://a.example/cb", "com.example.app:/cb"],
        ] {
            assert_eq!(sector(none), Err(SectorRefusal::Ambiguous), "{none:?}");
        }
        let document = |uri: &str| {
            let extra = json!({"sector_identifier_uri": uri});
            metadata(&["https://a.example/cb", "https://b.example/cb"], &extra).sector()
        };
        assert_eq!(
            document("https://Sector.example/list.json"),
            Ok("sector.example".to_owned())
        );
        for bad in [
            "ftp://s.example/",
            "s.example",
            "https://u:p@s.example/",
            "https://s.example/#x",
        ] {
            assert_eq!(document(bad), Err(SectorRefusal::MalformedUri), "{bad}");
        }
    }

    #[test]
    fn redirect_uris_fit_the_application_type() {
        for (kind, uri, fits) in [
            ("web", "https://a.example/cb", true),
            ("web", "https://localhost/cb", false),
            ("web", "https://localhost./cb", false),
            ("web", "https://app.localhost/cb", false),
            ("web", "http://127.0.0.1/cb", false),
            ("web", "com.example.app:/cb", false),
            ("native", "com.example.app:/cb", true),
            ("native", "http://127.0.0.1/cb", true),
            ("native", "http://localhost/cb", true),
            ("native", "https://a.example/cb", true),
        ] {
            let checked = metadata(&[uri], &json!({"application_type": kind})).check_sector();
            assert_eq!(checked.is_ok(), fits, "{kind} {uri}");
        }
        assert_eq!(
            metadata(&["http://127.0.0.1/cb"], &json!({})).check_sector(),
            Ok(())
        );
    }
}
