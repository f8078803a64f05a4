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
    /// The `post_logout_redirect_uri` is not registered for the client, or no client is named.
    PostLogoutRedirectUriNotRegistered "post_logout_redirect_uri_not_registered" RedirectUri,
    /// The `claims` parameter is not the JSON that it should be, or is too long.
    ClaimsMalformed "claims_malformed" Malformed,
    /// The `grant_management_action` is missing where there must be one.
    GrantActionMissing "grant_management_action_missing" Malformed,
    /// The `grant_management_action` is not one of this server's, or the `grant_id` does not go with it.
    GrantActionInvalid "grant_management_action_invalid" Malformed,
    /// The `grant_id` is not that of a live grant of this client and user.
    GrantIdInvalid "grant_id_invalid" Malformed,
    /// There is a `request_uri` beside a `request` (RFC 9101 §5).
    RequestAndRequestUri "request_and_request_uri" Malformed,
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
    /// The client assertion is signed with no key of the client for that algorithm, or with one that it may not use.
    AssertionSignature "assertion_signature" Assertion,
    /// The client assertion's `aud` names another server, or what `assertion_audience` does not accept.
    AssertionAudience "assertion_audience" Assertion,
    /// The client assertion is over, has not begun, or lives longer than an hour.
    AssertionTime "assertion_time" Assertion,
    /// The client assertion was used before.
    AssertionReplayed "assertion_replayed" Assertion,
    /// The client is registered for `client_secret_jwt`, which this server does not allow.
    ClientSecretJwtNotAllowed "client_secret_jwt_not_allowed" Client,
    /// The request came with no certificate, or none that can be read, where the client needs one.
    CertificateMissing "certificate_missing" Certificate,
    /// The client's certificate has expired, or its time has not begun.
    CertificateTime "certificate_time" Certificate,
    /// The client's certificate is not of an authority that this server trusts for clients.
    CertificateUntrusted "certificate_untrusted" Certificate,
    /// The client's certificate is not for the name that the client is registered with.
    CertificateSubject "certificate_subject" Certificate,
    /// The client's certificate is of no key in the client's `jwks`.
    CertificateUnknown "certificate_unknown" Certificate,
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
    /// The code or token is bound to a key that the request did not prove to hold.
    OtherKey "other_key" Credential,
    /// The code had been redeemed before; everything that came of it was revoked.
    CodeReplayed "code_replayed" CodeReplay,
    /// The code's time is over.
    CodeExpired "code_expired" CodeExpired,
    /// The device code had been redeemed before; everything that came of it was revoked.
    DeviceCodeReplayed "device_code_replayed" DeviceCode,
    /// The device code's time is over.
    DeviceCodeExpired "device_code_expired" DeviceCode,
    /// Nobody has approved or denied the device yet. It is told to the device, and not recorded.
    DevicePending "device_pending" DeviceCode,
    /// The device polls sooner than it was told to. It is told to the device, and not recorded.
    DevicePollsTooFast "device_polls_too_fast" DeviceCode,
    /// No device waits under the user code that was entered, or its time is over.
    UserCodeUnknown "user_code_unknown" UserCode,
    /// The device under the user code that was entered had its answer before.
    UserCodeAnswered "user_code_answered" UserCode,
    /// The user code was looked up more often than one user needs to answer it.
    UserCodeOverused "user_code_overused" UserCode,
    /// Too many wrong user codes came from this address, or from this user, within a minute.
    TooManyUserCodes "too_many_user_codes" UserCode,
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
    /// The user's password was changed since, or the account was disabled meanwhile.
    PasswordChanged "password_changed" GrantOver,
    /// The user has withdrawn the consent since.
    ConsentWithdrawn "consent_withdrawn" GrantOver,
    /// The user has logged out since, and the grant ended with the login.
    SessionEnded "session_ended" GrantOver,
    /// A grant with this fresh id exists already.
    GrantExists "grant_exists" Server,

    // Token exchange (RFC 8693).
    /// The `subject_token_type` or `actor_token_type` cannot be exchanged here, or stands without its token.
    TokenTypeUnsupported "token_type_unsupported" Exchange,
    /// The `requested_token_type` is not an access token.
    RequestedTypeUnsupported "requested_type_unsupported" Exchange,
    /// The subject token is not one of this server's, or its time is over, or it is not active any more.
    SubjectTokenInactive "subject_token_inactive" Exchange,
    /// The actor token is not one of this server's, or its time is over, or it is not active any more.
    ActorTokenInactive "actor_token_inactive" Exchange,
    /// The actor token was issued to another client than the one that acts.
    ActorOtherClient "actor_other_client" Exchange,
    /// The subject or actor token is bound to a key (`cnf`), which the exchange did not prove.
    TokenKeyUnproven "token_key_unproven" Exchange,
    /// No rule lets the client exchange tokens of the subject token's client in this mode.
    ExchangeNotAllowed "exchange_not_allowed" Exchange,
    /// The subject token says who may act (`may_act`), and it is somebody else.
    ActorNotAllowed "actor_not_allowed" Exchange,
    /// The tokens were exchanged too often already.
    TooManyExchanges "too_many_exchanges" Exchange,

    // Assertions as grants (RFC 7523 §2.1).
    /// The `assertion` is not a signed JWT with the claims that it needs.
    GrantAssertionMalformed "grant_assertion_malformed" GrantAssertion,
    /// The issuer of the assertion is not trusted for this client.
    IssuerNotTrusted "issuer_not_trusted" GrantAssertion,
    /// The assertion is signed with no key of its issuer for that algorithm.
    GrantAssertionSignature "grant_assertion_signature" GrantAssertion,
    /// The client's profile does not let an assertion be signed with this algorithm.
    GrantAssertionAlgorithm "grant_assertion_algorithm" GrantAssertion,
    /// The assertion's `aud` is not this server alone.
    GrantAssertionAudience "grant_assertion_audience" GrantAssertion,
    /// The assertion is over, has not begun, or lives longer than an hour.
    GrantAssertionTime "grant_assertion_time" GrantAssertion,
    /// The assertion was used before.
    GrantAssertionReplayed "grant_assertion_replayed" GrantAssertion,
    /// The assertion's subject is not among those of the trust, or its claims name no user here.
    GrantAssertionSubject "grant_assertion_subject" GrantAssertion,

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

    // Authorization details (RFC 9396).
    /// The `authorization_details` are not a list of JSON objects with a `type`, are too large, or have what cannot be shown.
    DetailsMalformed "authorization_details_malformed" AuthorizationDetails,
    /// An authorization detail is of a type that is not defined here, or retired.
    DetailTypeUnknown "authorization_detail_type_unknown" AuthorizationDetails,
    /// An authorization detail is of a type that the client is not registered for.
    DetailTypeNotAllowed "authorization_detail_type_not_allowed" AuthorizationDetails,
    /// An authorization detail does not conform to the schema of its type.
    DetailInvalid "authorization_detail_invalid" AuthorizationDetails,
    /// An authorization detail is for a resource server that its type, or the client, does not have.
    DetailLocationNotAllowed "authorization_detail_location_not_allowed" AuthorizationDetails,
    /// A token request asked for authorization details that are not within the granted ones.
    DetailsExceeded "authorization_details_exceeded" AuthorizationDetails,
    /// Granted authorization details may no longer be had by this client, or not at the token's resource servers.
    DetailsNoLongerAllowed "authorization_details_no_longer_allowed" AuthorizationDetails,
    /// A grant type was used with `authorization_details` that took none (earlier builds).
    DetailsNotTaken "authorization_details_not_taken" AuthorizationDetails,

    // DPoP (RFC 9449).
    /// The request has no DPoP proof, and the client's registration, or the scheme of its token, asks for one.
    DpopProofMissing "dpop_proof_missing" DpopProof,
    /// There is more than one `DPoP` header.
    DpopHeaderDoubled "dpop_header_doubled" DpopProof,
    /// The DPoP proof is signed with an algorithm that the client's profile does not let it use.
    DpopAlgorithm "dpop_algorithm" DpopProof,
    /// The DPoP proof is not a JWT of the type `dpop+jwt` with a public key, an algorithm that is supported, and the claims that it needs.
    DpopMalformed "dpop_malformed" DpopProof,
    /// The DPoP proof is not signed with the key in its header.
    DpopSignature "dpop_signature" DpopProof,
    /// The DPoP proof's `htm` is not the request's method.
    DpopMethod "dpop_method" DpopProof,
    /// The DPoP proof's `htu` is not the request's address at the issuer.
    DpopUri "dpop_uri" DpopProof,
    /// The DPoP proof's `iat` is too long ago, or too far ahead.
    DpopTime "dpop_time" DpopProof,
    /// The DPoP proof's `ath` is not the hash of the access token that came with it.
    DpopTokenHash "dpop_token_hash" DpopProof,
    /// The DPoP proof was used before.
    DpopReplayed "dpop_replayed" DpopProof,
    /// The DPoP proof has no `nonce`, or one that is over or not this server's; the answer gave a new one.
    DpopNonce "dpop_nonce" DpopNonce,
    /// The access token is bound to another key than that of the DPoP proof, or to none.
    DpopOtherKey "dpop_other_key" DpopProof,
    /// The access token is bound to a key, and came as a bearer token.
    BoundToken "bound_token" DpopProof,
    /// The `dpop_jkt` is not a SHA-256 thumbprint in base64url.
    DpopJktMalformed "dpop_jkt_malformed" Malformed,
    /// The `dpop_jkt` of a pushed request is not the key of its DPoP proof.
    DpopJktMismatch "dpop_jkt_mismatch" DpopProof,
    /// There is a `dpop_jkt`, and the client's tokens are bound to its certificate.
    DpopJktOfCertificateClient "dpop_jkt_of_certificate_client" Malformed,

    // The authorization endpoint and its pages.
    /// `client_id` or `redirect_uri` is there more than once.
    ClientOrRedirectUriDoubled "client_or_redirect_uri_doubled" Malformed,
    /// The `redirect_uri` is not registered for the client.
    RedirectUriNotRegistered "redirect_uri_not_registered" RedirectUri,
    /// The `redirect_uri` is missing, and the client has not exactly one.
    RedirectUriMissing "redirect_uri_missing" RedirectUri,
    /// The `response_type` is not `code`.
    ResponseTypeUnsupported "response_type_unsupported" Unsupported,
    /// The `response_mode` is not `query`, `fragment` or `form_post`, nor one of their signed kin.
    ResponseModeUnsupported "response_mode_unsupported" Unsupported,
    /// The `prompt` has a value that is not known here.
    PromptUnknown "prompt_unknown" Unsupported,
    /// The `prompt` has `none` together with another value.
    PromptNoneWithOthers "prompt_none_with_others" Unsupported,
    /// The request object is not a signed JWT of the right type whose claims are parameters.
    RequestObjectMalformed "request_object_malformed" RequestObject,
    /// The request object is not signed with an algorithm that the client may use.
    RequestObjectAlgorithm "request_object_algorithm" RequestObject,
    /// The request object is signed with no key of the client.
    RequestObjectSignature "request_object_signature" RequestObject,
    /// The request object's `iss` or `client_id` is not the client, or a parameter beside it says otherwise.
    RequestObjectClient "request_object_client" RequestObject,
    /// The request object's `aud` is not the issuer.
    RequestObjectAudience "request_object_audience" RequestObject,
    /// The request object is over, has not begun, or lives longer than the client's profile lets it.
    RequestObjectTime "request_object_time" RequestObject,
    /// The request object has a `request` or `request_uri` itself.
    RequestObjectNested "request_object_nested" RequestObject,
    /// The request is not a signed request object, and the client or the server requires that.
    RequestNotSigned "request_not_signed" RequestObject,
    /// The client's profile requires signed responses, and the `response_mode` asks for others.
    ResponseNotSigned "response_not_signed" Unsupported,
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
    /// No access token came in the Authorization header, or another scheme than Bearer and DPoP.
    NoBearerToken "no_bearer_token" AccessToken,
    /// An access token came in the Authorization header and in the form.
    TwoAccessTokens "two_access_tokens" Malformed,
    /// The access token's time is over.
    TokenExpired "token_expired" AccessToken,
    /// The access token is not one that this server issued.
    NotOurToken "not_our_token" AccessToken,
    /// The access token is for another audience than this server's API.
    OtherAudience "other_audience" AccessToken,
    /// The access token's `jti` is not an address of the ledger.
    NoAddress "no_address" AccessToken,
    /// The key that signed the access token is retired.
    KeyRetired "key_retired" AccessToken,
    /// The access token is revoked, or what it rested on is gone.
    TokenRevoked "token_revoked" AccessToken,
    /// The access token is bound to another certificate than the request came with, if any.
    OtherCertificate "other_certificate" Certificate,
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
    /// There is no grant with that id, it is over, or what was pasted leads to none.
    NoSuchGrant "no_such_grant" NotFound,
    /// The evidence log has no such entries, or not yet.
    NoSuchEntries "no_such_entries" NotFound,
    /// The client has no such event stream.
    NoSuchStream "no_such_stream" NotFound,

    // Administration.
    /// What the administration API was asked to show or change is not there.
    NoSuchResource "no_such_resource" NotFound,
    /// A call of the administration API has a parameter or a body that is not acceptable; its answer said which.
    AdministrationInvalid "administration_invalid" Administration,
    /// The state of what an administrator wanted to change does not allow it; the answer said why.
    AdministrationConflict "administration_conflict" Administration,
    /// It concerns the clients and scopes that administer, which only the scope `admin` changes.
    AdministrationOfAdministrators "administration_of_administrators" Administration,
    /// A costly call of the administration API came while this node was busy with another.
    AdministrationBusy "administration_busy" RateLimit,

    // Shared signals.
    /// What is said of an event stream, or asked of it, is not acceptable.
    StreamRequest "stream_request" EventStream,
    /// The client has as many event streams as it may have.
    TooManyStreams "too_many_streams" EventStream,
    /// The last verification of the event stream is too near.
    VerificationTooSoon "verification_too_soon" RateLimit,

    // Client registration.
    /// No initial access token came where one is needed to register a client.
    InitialTokenMissing "initial_token_missing" RegistrationToken,
    /// The initial access token is not one that was issued here.
    InitialTokenUnknown "initial_token_unknown" RegistrationToken,
    /// The initial access token is revoked.
    InitialTokenRevoked "initial_token_revoked" RegistrationToken,
    /// The initial access token's time is over.
    InitialTokenExpired "initial_token_expired" RegistrationToken,
    /// As many clients as the initial access token allows were registered with it.
    InitialTokenSpent "initial_token_spent" RegistrationToken,
    /// The registration access token is not the client's, or there is no such client (any more).
    RegistrationTokenWrong "registration_token_wrong" RegistrationToken,
    /// A redirect URI that was to be registered is missing or not acceptable.
    RegistrationRedirectUri "registration_redirect_uri" Registration,
    /// Other metadata that was to be registered is not acceptable.
    RegistrationMetadata "registration_metadata" Registration,
    /// The document of the sector could not be read, or does not list every redirect URI.
    RegistrationSector "registration_sector" Registration,
    /// A registration needs a software statement and came without one.
    SoftwareStatementMissing "software_statement_missing" SoftwareStatement,
    /// The software statement is malformed, not signed by its issuer, for another server, or over.
    SoftwareStatementInvalid "software_statement_invalid" SoftwareStatement,
    /// The software statement is of an issuer that is not trusted here, or not of the one of before.
    SoftwareStatementUnapproved "software_statement_unapproved" SoftwareStatement,
    /// One address registered more clients within a minute than the server allows.
    TooManyRegistrations "too_many_registrations" RateLimit,

    // Limits, and the server's own trouble.
    /// Too many failed attempts came from this source, or for this account, within a minute.
    TooManyFailures "too_many_failures" RateLimit,
    /// A policy throttled the client, and it asked for more tokens, device codes or pushed requests than it gets.
    ClientThrottled "client_throttled" RateLimit,
    /// A policy throttled the network, and it made more logins, pushed requests or requests for tokens than it gets.
    NetworkThrottled "network_throttled" RateLimit,
    /// The access token was used more often within a minute than the server allows.
    RateLimitExceeded "rate_limit_exceeded" RateLimit,
    /// Readers of `/admin/events` hold all connections that this node has for them.
    TooManyEventStreams "too_many_event_streams" RateLimit,
    /// Public clients at one address began more device authorizations within a minute than the server allows.
    TooManyDeviceRequests "too_many_device_requests" RateLimit,
    /// Public clients at one address pushed more authorization requests within a minute than the server allows.
    TooManyPushedRequests "too_many_pushed_requests" RateLimit,
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
