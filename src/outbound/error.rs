//! Why a request that the server made came to no answer.

/// Why a request that the server made came to no answer. No variant quotes the other side: what it sent is nobody's
/// business but its own.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// Not an absolute URL with a host, or one with a user name or password.
    #[error("it is not a URL with a host and without a user name")]
    Url,
    /// Neither https nor, for hosts on the allow-list, http.
    #[error("it must be an https URL")]
    Scheme,
    /// The host is, or has, an address that is not of the public internet, and is not on the allow-list.
    #[error("the host has an address that is not public (see the setting outbound_allow)")]
    Address,
    /// The host's name has no address.
    #[error("the host's name cannot be resolved")]
    Unresolved,
    /// Nobody accepts connections there.
    #[error("no connection: {0}")]
    Connect(std::io::ErrorKind),
    /// TLS was not established, because of the certificate for instance.
    #[error("TLS was not established")]
    Tls(#[source] std::io::Error),
    /// What came was not HTTP/1.1, or broke off.
    #[error("the answer is not HTTP or broke off")]
    Protocol(#[source] hyper::Error),
    /// The answer is longer than the caller takes.
    #[error("the answer is too long")]
    TooLarge,
    /// Not answered in time, the wait for a turn included.
    #[error("there was no answer in time")]
    Timeout,
}

impl OutboundError {
    /// A word for events, metrics and administrators.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url => "url_invalid",
            Self::Scheme => "scheme_refused",
            Self::Address => "address_refused",
            Self::Unresolved => "name_unresolved",
            Self::Connect(_) => "connection_failed",
            Self::Tls(_) => "tls_failed",
            Self::Protocol(_) => "answer_broken",
            Self::TooLarge => "answer_too_large",
            Self::Timeout => "timeout",
        }
    }
}
