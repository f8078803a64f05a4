//! Which check refused a request: every reason that this build knows, in one place. A reason is written on the
//! ledger and is never told to the caller.

use super::guide::Guide;

/// Declares the reasons: what is written on the ledger, the guide that helps with it, and the check that failed,
/// which is the variant's documentation too.
macro_rules! reasons {
    ($( #[doc = $check:literal] $Variant:ident $name:literal $guide:ident, )*) => {
        /// The precise reason of a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RefusalReason {
            $( #[doc = $check] $Variant, )*
        }

        impl RefusalReason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$( Self::$Variant, )*];

            /// Its name on the ledger.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$Variant => $name, )* }
            }

            /// The check that failed, in a sentence.
            #[must_use]
            pub fn check(self) -> &'static str {
                match self { $( Self::$Variant => $check.trim_ascii(), )* }
            }

            /// What helps.
            #[must_use]
            pub const fn guide(self) -> Guide {
                match self { $( Self::$Variant => Guide::$guide, )* }
            }

            /// The reason of that name; none where it is from a newer build.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name { $( $name => Some(Self::$Variant), )* _ => None }
            }
        }
    };
}

reasons! {
    // The request's form.
    /// The body's content type is not `application/x-www-form-urlencoded`.
    WrongContentType "wrong_content_type" Malformed,
    /// The content type names a charset other than UTF-8.
    WrongCharset "wrong_charset" Malformed,
    /// The body is larger than the server accepts.
    BodyTooLarge "body_too_large" Malformed,
    /// The body could not be read to its end.
    UnreadableBody "unreadable_body" Malformed,
    /// A form's body is not a form in UTF-8, or has a parameter twice.
    MalformedBody "malformed_body" Malformed,
    /// The query is not UTF-8, has a NUL, or has too many parameters.
    MalformedQuery "malformed_query" Malformed,
    /// The form is not UTF-8, or has a broken escape.
    NotUtf8 "not_utf8" Malformed,
    /// The form has a NUL character.
    NulCharacter "nul_character" Malformed,
    /// The JSON body is not a flat object of strings.
    NotFlatJson "not_flat_json" Malformed,
    /// The form has more parameters than any request needs.
    TooManyParameters "too_many_parameters" Malformed,
    /// A parameter is there more than once.
    ParameterDoubled "parameter_doubled" Malformed,
    /// A required parameter is missing or empty.
    ParameterMissing "parameter_missing" Malformed,
    /// The `state` is longer than 4096 bytes.
    StateTooLong "state_too_long" Malformed,
    /// The `nonce` is longer than 512 characters.
    NonceTooLong "nonce_too_long" Malformed,
    /// The `max_age` is not a number of seconds.
    MaxAgeMalformed "max_age_malformed" Malformed,
    /// The `id_token_hint` is not an ID token of this client, or its key is no longer published.
    IdTokenHintInvalid "id_token_hint_invalid" Malformed,
    /// The `claims` parameter is not the JSON that it should be, or is too long.
    ClaimsMalformed "claims_malformed" Malformed,
    /// The `response_type` is missing.
    ResponseTypeMissing "response_type_missing" Malformed,
    /// An id in the address is not a UUID.
    MalformedId "malformed_id" Malformed,

    // Who the client is.
    /// No client with that `client_id` is registered.
    UnknownClient "unknown_client" Client,
    /// The client did not authenticate at all.
    ClientAuthenticationMissing "client_authentication_missing" Client,
    /// The Authorization header is not HTTP Basic with an id and a secret.
    MalformedAuthorizationHeader "malformed_authorization_header" Client,
    /// The client authenticated with another method than it is registered for.
    OtherAuthenticationMethod "other_authentication_method" Client,
    /// The client secret is wrong, or its time is over.
    WrongClientSecret "wrong_client_secret" Client,
    /// The `client_assertion` is not a signed JWT with the claims that it needs, or of another type.
    AssertionMalformed "assertion_malformed" Assertion,
    /// The client assertion's `iss` and `sub` are not both the client's id.
    AssertionSubject "assertion_subject" Assertion,
    /// The client assertion is signed with no key that the client has registered for that algorithm.
    AssertionSignature "assertion_signature" Assertion,
    /// The client assertion's `aud` names another server, or what `assertion_audience` does not accept.
    AssertionAudience "assertion_audience" Assertion,
    /// The client assertion is over, has not begun, or lives longer than an hour.
    AssertionTime "assertion_time" Assertion,
    /// The client assertion was used before.
    AssertionReplayed "assertion_replayed" Assertion,
    /// A public client asked for what only a client with a secret may.
    PublicClient "public_client" Client,
    /// There is more than one Authorization header.
    TwoAuthorizationHeaders "two_authorization_headers" Malformed,
    /// The client authenticated in the header and in the body at once.
    TwoAuthenticationMethods "two_authentication_methods" Client,
    /// The header and the body name different clients.
    TwoClientIds "two_client_ids" Client,
    /// The authorization request has no `client_id`.
    ClientIdMissing "client_id_missing" Client,
    /// The client is suspended.
    ClientSuspended "client_suspended" ClientBlocked,
    /// The client is revoked for good.
    ClientRevoked "client_revoked" ClientBlocked,
    /// The client is not registered for this grant type.
    GrantTypeNotAllowed "grant_type_not_allowed" GrantType,
    /// The client is registered for HS256 access tokens, which this server does not allow.
    Hs256NotAllowed "hs256_not_allowed" GrantType,
    /// The grant began with client credentials, and the client may no longer refresh those.
    NotRefreshable "not_refreshable" GrantType,
    /// The server does not offer this grant type.
    UnsupportedGrantType "unsupported_grant_type" GrantType,

    // Codes and refresh tokens.
    /// No code or refresh token like the presented one was ever issued.
    UnknownCredential "unknown_credential" Credential,
    /// The code or token was issued to another client.
    OtherClient "other_client" Credential,
    /// The code had been redeemed before; everything that came of it was revoked.
    CodeReplayed "code_replayed" CodeReplay,
    /// The code's time is over.
    CodeExpired "code_expired" CodeExpired,
    /// The `redirect_uri` is not the one of the authorization request.
    RedirectUriChanged "redirect_uri_changed" RedirectUri,
    /// The code was issued with a `code_challenge`, but the `code_verifier` is missing.
    PkceVerifierMissing "pkce_verifier_missing" Pkce,
    /// A `code_verifier` came for a code that was issued without a `code_challenge`.
    PkceVerifierUnexpected "pkce_verifier_unexpected" Pkce,
    /// The `code_challenge` or `code_verifier` is not 43 to 128 unreserved characters.
    PkceMalformed "pkce_malformed" Pkce,
    /// The `code_verifier` does not prove the `code_challenge`.
    PkceMismatch "pkce_mismatch" Pkce,
    /// The authorization request has no `code_challenge`.
    PkceMissing "pkce_missing" Pkce,
    /// The `code_challenge_method` is not one that this client may use.
    PkceMethodUnsupported "pkce_method_unsupported" Pkce,
    /// The refresh token had been used before; the whole grant was revoked.
    RefreshReplayed "refresh_replayed" RefreshReplay,
    /// The refresh token's time is over.
    RefreshExpired "refresh_expired" GrantOver,
    /// The grant has reached its maximum lifetime.
    GrantExpired "grant_expired" GrantOver,
    /// The grant is revoked.
    GrantRevoked "grant_revoked" GrantOver,
    /// The user has changed the password since.
    PasswordChanged "password_changed" GrantOver,
    /// The user has withdrawn the consent since.
    ConsentWithdrawn "consent_withdrawn" GrantOver,
    /// A grant with this fresh id exists already.
    GrantExists "grant_exists" Server,

    // Scopes.
    /// The scope parameter is not scope names separated by single spaces.
    ScopeMalformed "scope_malformed" Scope,
    /// No scope was asked for, and the client has no default.
    ScopeMissing "scope_missing" Scope,
    /// A scope is not defined here, or is retired.
    ScopeUnknown "scope_unknown" Scope,
    /// A scope is not among those that the client may ask for.
    ScopeNotAllowed "scope_not_allowed" Scope,
    /// A refresh asked for a scope that was never granted.
    ScopeExceeded "scope_exceeded" Scope,
    /// A scope that was granted may not be used by this client any more.
    ScopeNoLongerAllowed "scope_no_longer_allowed" Scope,
    /// A restricted scope has no approval for this client at this moment.
    ScopeNotApproved "scope_not_approved" Approval,

    // Resources.
    /// A `resource` is not an absolute URI without a fragment.
    ResourceMalformed "resource_malformed" Resource,
    /// A `resource` is not among the audience that the client is registered for.
    ResourceNotAllowed "resource_not_allowed" Resource,
    /// A token request asked for a `resource` that the grant is not for.
    ResourceExceeded "resource_exceeded" Resource,
    /// The client may no longer have tokens for the `resource`, or for any that was granted.
    ResourceNoLongerAllowed "resource_no_longer_allowed" Resource,

    // The authorization endpoint and its pages.
    /// `client_id` or `redirect_uri` is there more than once.
    ClientOrRedirectUriDoubled "client_or_redirect_uri_doubled" Malformed,
    /// The `redirect_uri` is not registered for the client.
    RedirectUriNotRegistered "redirect_uri_not_registered" RedirectUri,
    /// The `redirect_uri` is missing, and the client has not exactly one.
    RedirectUriMissing "redirect_uri_missing" RedirectUri,
    /// The `response_type` is not `code`.
    ResponseTypeUnsupported "response_type_unsupported" Unsupported,
    /// The `response_mode` is not `query`, `fragment` or `form_post`.
    ResponseModeUnsupported "response_mode_unsupported" Unsupported,
    /// The `prompt` has a value that is not known here.
    PromptUnknown "prompt_unknown" Unsupported,
    /// The `prompt` has `none` together with another value.
    PromptNoneWithOthers "prompt_none_with_others" Unsupported,
    /// The request is a request object (RFC 9101), which is not supported.
    RequestObject "request_object" Unsupported,
    /// The request is named by a `request_uri`, which is not supported.
    RequestUri "request_uri" Unsupported,
    /// The `request_uri` is not one of this server's, or its time is over, or it was answered.
    RequestUriUnknown "request_uri_unknown" PushedRequest,
    /// The `request_uri` was pushed by another client.
    RequestUriOtherClient "request_uri_other_client" PushedRequest,
    /// A pushed request names a `request_uri` itself.
    RequestUriPushed "request_uri_pushed" PushedRequest,
    /// The request was not pushed, and the client or the server requires that.
    NotPushed "not_pushed" PushedRequest,
    /// The request carries a client's registration, which is not supported.
    Registration "registration" Unsupported,
    /// The request calls an `acr` essential that no login at this server has.
    AcrUnmet "acr_unmet" Unsupported,
    /// `prompt=none`, and nobody is logged in, or not the user or not as recently as was asked.
    LoginRequired "login_required" Silent,
    /// `prompt=none`, and the user has not consented to all of it.
    ConsentRequired "consent_required" Silent,
    /// The login ended before the user answered the consent page.
    SessionExpired "session_expired" Denied,
    /// The client is in development, and the user is not its owner.
    ClientNotLive "client_not_live" Denied,
    /// The user said no.
    UserDenied "user_denied" Denied,
    /// A form did not carry the token of its page: it was out of date, or came from elsewhere.
    FormTokenWrong "form_token_wrong" PageForm,
    /// What the consent page had shown was changed before the user approved.
    ConsentOutdated "consent_outdated" PageForm,
    /// The browser said that the form came from another site.
    CrossSiteForm "cross_site_form" PageForm,
    /// The user was erased while the password was being changed.
    PasswordNotTaken "password_not_taken" PageForm,
    /// The password is wrong.
    WrongPassword "wrong_password" Login,
    /// There is no user of that name.
    UnknownUser "unknown_user" Login,
    /// The user is disabled or erased.
    UserDisabled "user_disabled" Login,
    /// The user changed while the request was on its way.
    UserChanged "user_changed" Login,

    // The API.
    /// No access token came in the Authorization header, or another scheme than Bearer.
    NoBearerToken "no_bearer_token" AccessToken,
    /// An access token came in the Authorization header and in the form.
    TwoAccessTokens "two_access_tokens" Malformed,
    /// The access token's time is over.
    TokenExpired "token_expired" AccessToken,
    /// The access token is not a JWT that this server signed.
    NotOurToken "not_our_token" AccessToken,
    /// The access token is for another audience than this server's API.
    OtherAudience "other_audience" AccessToken,
    /// The access token's `jti` is not an address of the ledger.
    NoAddress "no_address" AccessToken,
    /// The key that signed the access token is retired.
    KeyRetired "key_retired" AccessToken,
    /// The access token is revoked, or what it rested on is gone.
    TokenRevoked "token_revoked" AccessToken,
    /// The user was erased.
    UserErased "user_erased" AccessToken,
    /// The access token lacks the scope that the resource needs.
    InsufficientScope "insufficient_scope" TokenScope,
    /// A client's own token was used where a user's is needed.
    NoUser "no_user" Permission,
    /// A user's token was used where a client's own is needed.
    NoClientToken "no_client_token" Permission,
    /// A user's token asked for another user.
    OtherUser "other_user" Permission,
    /// There is no user with that id, or the user was erased.
    NoSuchUser "no_such_user" NotFound,
    /// No refusal with that request id is recorded.
    NoSuchRefusal "no_such_refusal" NotFound,

    // Limits, and the server's own trouble.
    /// Too many failed attempts came from this source, or for this account, within a minute.
    TooManyFailures "too_many_failures" RateLimit,
    /// The access token was used more often within a minute than the server allows.
    RateLimitExceeded "rate_limit_exceeded" RateLimit,
    /// Too many passwords were being hashed at once.
    HashingOverloaded "hashing_overloaded" Server,
    /// A password could not be hashed.
    HashingFailed "hashing_failed" Server,
    /// The database could not be reached.
    LedgerUnavailable "ledger_unavailable" Server,
    /// The ledger failed the request.
    LedgerError "ledger_error" Server,
    /// A decision came to an outcome that its command cannot have.
    UnexpectedOutcome "unexpected_outcome" Server,
}

impl std::fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_an_explanation() {
        let names: BTreeSet<_> = RefusalReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), RefusalReason::ALL.len());
        for reason in RefusalReason::ALL {
            assert_eq!(RefusalReason::named(reason.name()), Some(*reason));
            assert!(reason.check().ends_with('.'), "{reason}");
            let guide = reason.guide().text();
            for advice in [guide.causes, guide.resolution, guide.prevention] {
                assert!(!advice.is_empty(), "{reason}");
                assert!(
                    advice.iter().all(|line| line.ends_with('.')),
                    "{reason}: {advice:?}"
                );
            }
        }
        assert_eq!(RefusalReason::named("of_tomorrow"), None);
    }
}
