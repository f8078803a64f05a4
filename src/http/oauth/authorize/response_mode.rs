//! How an answer reaches the client (OAuth 2.0 Multiple Response Type Encoding Practices §2.1, OAuth 2.0 Form Post
//! Response Mode, JARM §2.3).

use crate::domain::client::ClientMetadata;

/// The `response_mode` parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseMode {
    /// In the redirect URI's query: the default for `code`.
    #[default]
    Query,
    /// In the redirect URI's fragment.
    Fragment,
    /// In a form that the browser posts to the redirect URI.
    FormPost,
    /// Signed, the default way for `code`: in the query.
    Jwt,
    /// Signed, in the query.
    QueryJwt,
    /// Signed, in the fragment.
    FragmentJwt,
    /// Signed, in a form.
    FormPostJwt,
}

/// What carries an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Query,
    Fragment,
    Form,
}

impl ResponseMode {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Query,
        Self::Fragment,
        Self::FormPost,
        Self::Jwt,
        Self::QueryJwt,
        Self::FragmentJwt,
        Self::FormPostJwt,
    ];

    /// The wire name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Fragment => "fragment",
            Self::FormPost => "form_post",
            Self::Jwt => "jwt",
            Self::QueryJwt => "query.jwt",
            Self::FragmentJwt => "fragment.jwt",
            Self::FormPostJwt => "form_post.jwt",
        }
    }

    /// The mode of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// The mode of a request of this client that names none.
    #[must_use]
    pub fn default_of(client: &ClientMetadata) -> Self {
        if client.requires_signed_responses() {
            Self::Jwt
        } else {
            Self::Query
        }
    }

    /// Whether the answer is a JWT.
    #[must_use]
    pub fn is_signed(self) -> bool {
        match self {
            Self::Query | Self::Fragment | Self::FormPost => false,
            Self::Jwt | Self::QueryJwt | Self::FragmentJwt | Self::FormPostJwt => true,
        }
    }

    pub(super) fn carrier(self) -> Carrier {
        match self {
            Self::Query | Self::Jwt | Self::QueryJwt => Carrier::Query,
            Self::Fragment | Self::FragmentJwt => Carrier::Fragment,
            Self::FormPost | Self::FormPostJwt => Carrier::Form,
        }
    }
}
