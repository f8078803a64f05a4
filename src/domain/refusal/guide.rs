//! What helps with a refusal: likely causes, what to do, how to keep it from happening again.

use schemars::JsonSchema;
use serde::Serialize;

/// Reasons that are helped with the same advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guide {
    /// The request cannot be read.
    Malformed,
    /// The client is not recognised.
    Client,
    /// A client's assertion is not good.
    Assertion,
    /// A client's certificate is not good.
    Certificate,
    /// The client is blocked.
    ClientBlocked,
    /// The grant type is not for this client.
    GrantType,
    /// The code or refresh token is not one that this client was given.
    Credential,
    /// A code was used twice.
    CodeReplay,
    /// A code came too late.
    CodeExpired,
    /// A device code is not good, or not yet.
    DeviceCode,
    /// A user code is not good.
    UserCode,
    /// The redirect URI does not match.
    RedirectUri,
    /// PKCE does not add up.
    Pkce,
    /// A refresh token was used twice.
    RefreshReplay,
    /// A token cannot be exchanged.
    Exchange,
    /// Another server's assertion is not good.
    GrantAssertion,
    /// The grant is over.
    GrantOver,
    /// The scope is not acceptable.
    Scope,
    /// The resource is not acceptable.
    Resource,
    /// The authorization details are not acceptable.
    AuthorizationDetails,
    /// A DPoP proof is not good.
    DpopProof,
    /// A DPoP proof needs a nonce.
    DpopNonce,
    /// A restricted scope is not approved.
    Approval,
    /// The request asks for what this server does not do.
    Unsupported,
    /// A pushed authorization request is not good.
    PushedRequest,
    /// A signed request object is not good, or missing.
    RequestObject,
    /// A page would have had to be shown.
    Silent,
    /// Access was denied.
    Denied,
    /// A form was not ours.
    PageForm,
    /// A login failed.
    Login,
    /// The access token is not good.
    AccessToken,
    /// The access token lacks a scope.
    TokenScope,
    /// The token's owner may not.
    Permission,
    /// There is no such thing.
    NotFound,
    /// A call of the administration API is not good.
    Administration,
    /// A request about an event stream is not good.
    EventStream,
    /// A token that opens client registration is not good.
    RegistrationToken,
    /// What was to be registered of a client is not acceptable.
    Registration,
    /// A software statement is not good.
    SoftwareStatement,
    /// Too much in too short a time.
    RateLimit,
    /// The server's own trouble.
    Server,
}

/// How much a refusal weighs for whoever runs the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "RefusalSeverity")]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Part of normal life.
    Low,
    /// One user is affected, or a login helps.
    Medium,
    /// The client cannot work, or somebody may be attacking.
    High,
}

/// The advice, in sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Advice {
    /// How much it weighs.
    pub severity: Severity,
    /// What usually causes it.
    pub causes: &'static [&'static str],
    /// What to do now.
    pub resolution: &'static [&'static str],
    /// What keeps it from happening again.
    pub prevention: &'static [&'static str],
}

macro_rules! advice {
    ($( $Guide:ident $Severity:ident {
        causes: [$($cause:literal),* $(,)?],
        resolution: [$($step:literal),* $(,)?],
        prevention: [$($tip:literal),* $(,)?] $(,)?
    } )*) => {
        impl Guide {
            /// The advice.
            #[must_use]
            pub const fn text(self) -> Advice {
                match self { $(
                    Self::$Guide => Advice {
                        severity: Severity::$Severity,
                        causes: &[$($cause),*],
                        resolution: &[$($step),*],
                        prevention: &[$($tip),*],
                    },
                )* }
            }
        }
    };
}

advice! {
    Malformed High {
        causes: [
            "The application builds the request by hand and leaves a parameter out, sends it twice, or encodes it wrongly.",
            "The body was sent as JSON or multipart instead of a form, or in another charset than UTF-8.",
            "A proxy on the way changed the request.",
        ],
        resolution: [
            "Compare the request with the endpoint's parameters: each one once, spelled as documented, form-encoded in UTF-8 (or a flat JSON object, where the client is marked json_requests).",
            "Send it with the content type application/x-www-form-urlencoded where the endpoint takes a form.",
        ],
        prevention: ["Use a maintained OAuth library instead of building requests by hand."],
    }
    Client High {
        causes: [
            "The client_id is mistyped, or belongs to another installation.",
            "The client_secret is wrong, was rotated, or lost a character when it was stored.",
            "The client authenticates in the body where it is registered for HTTP Basic, or the other way round.",
            "The client is registered as public but sends a secret, or as confidential but sends none.",
        ],
        resolution: [
            "Compare the client_id with `grantlog client list`.",
            "Compare token_endpoint_auth_method in `grantlog client show` with what the application does.",
            "If the secret may be lost, make a new one with `grantlog client rotate-secret`; `--overlap` keeps the old one for a while.",
        ],
        prevention: [
            "Keep secrets in a secret store, not in code, and check at start-up that they are set.",
            "Rotate with an overlap, and watch the refusals while it runs.",
        ],
    }
    Assertion High {
        causes: [
            "The client signs with a key that is not registered, or was replaced.",
            "The assertion's aud names another server, or the token endpoint where assertion_audience asks for the issuer alone.",
            "The client's clock is wrong, or it makes assertions that live too long.",
            "The same assertion was sent twice: a retry that did not make a new one, or somebody who saw it.",
        ],
        resolution: [
            "Compare the key's kid with jwks in `grantlog client show`.",
            "Let aud be the issuer as the metadata document spells it, exp at most an hour ahead, and jti new each time.",
        ],
        prevention: [
            "Make an assertion for each request, also for a retry.",
            "When keys change, register the new one beside the old one first.",
        ],
    }
    Certificate High {
        causes: [
            "The client connected without its certificate, or to an address where none is asked for.",
            "The proxy in front does not hand the certificate on, writes it in another format, or is not in trusted_proxies.",
            "The certificate was renewed with another name, another key or by another authority, or has expired.",
            "A token that is bound to one certificate was used with another: an application that shares tokens, or a theft.",
        ],
        resolution: [
            "Compare the certificate (`openssl x509 -noout -subject -nameopt rfc2253 -ext subjectAltName -dates`) with `grantlog client show`.",
            "Check tls_client_certificates, tls_client_ca, client_certificate_header and client_certificate_format with `grantlog doctor`.",
            "Let the client get new tokens with the certificate that it has now.",
        ],
        prevention: [
            "Register the next certificate's key beside the present one before renewing.",
            "Watch when certificates expire, and let clients find mtls_endpoint_aliases in the metadata document.",
        ],
    }
    ClientBlocked High {
        causes: ["An administrator suspended the client, or revoked it for good."],
        resolution: [
            "Read when and why: `grantlog client show`, and the reason in `grantlog audit tail`.",
            "A suspended client comes back with `grantlog client reinstate`; a revoked one must be registered anew.",
        ],
        prevention: ["Let the application show a clear message when it is blocked, and tell its owners who to ask."],
    }
    GrantType High {
        causes: [
            "The client is not registered for this grant type.",
            "The grant_type is mistyped, or one that this server does not offer.",
        ],
        resolution: [
            "Compare grant_types in `grantlog client show` with what the application asks for.",
            "Add the grant type with `grantlog client update`, if the client should have it.",
        ],
        prevention: ["Read grant_types_supported from the server's metadata document instead of assuming it."],
    }
    Credential Medium {
        causes: [
            "The code or token was cut, decoded twice, or is from another installation.",
            "It belongs to another client, such as the same application's test registration.",
            "Somebody is guessing.",
        ],
        resolution: [
            "Let the user authorize again, and use what comes back unchanged and with the same client_id.",
            "Ask `grantlog grant show` about the code or token: it says whether its grant ever issued it.",
        ],
        prevention: [
            "Store tokens as they are, in a column that is long enough.",
            "Keep the tokens of test and live registrations apart.",
        ],
    }
    CodeReplay High {
        causes: [
            "The application sent the same code twice: a reloaded callback page, a retry after a time-out, two workers.",
            "The code leaked and somebody else used it; this is why everything that came of it was revoked.",
        ],
        resolution: [
            "Let the user authorize again.",
            "Compare the network digests of both redemptions in `grantlog grant show --json`: two networks point to a leak.",
        ],
        prevention: [
            "Redeem a code once, at once, and redirect away from the callback address.",
            "Use PKCE, and keep codes out of logs and referrers.",
        ],
    }
    CodeExpired Medium {
        causes: [
            "The application waited too long between the redirect and the token request.",
            "The user came back to an old callback page.",
        ],
        resolution: ["Let the user authorize again."],
        prevention: ["Redeem the code as soon as it arrives, before any other work."],
    }
    DeviceCode Medium {
        causes: [
            "The user took longer than the code lives, or never entered it.",
            "The device sent the code again after it had been given tokens: a retry after a lost answer, or two processes that poll at once.",
            "The device code leaked and somebody else redeemed it; this is why everything that came of it was revoked.",
        ],
        resolution: [
            "Let the device begin again, and show the new code.",
            "Compare the network digests of both redemptions in `grantlog grant show --json`: two networks point to a leak.",
        ],
        prevention: [
            "Poll from one place, wait for the interval that the server names, and 5 seconds more after each slow_down.",
            "Stop at the first answer that is neither authorization_pending nor slow_down.",
        ],
    }
    UserCode Medium {
        causes: [
            "The user mistyped the code, or typed one that is over or was used before.",
            "A link with a code was opened again and again, or sent to many people.",
            "Somebody is guessing codes.",
        ],
        resolution: [
            "Let the device show a fresh code.",
            "Watch for many such refusals of one user or from one network; a user who guesses is named in them.",
        ],
        prevention: ["Show the code in large letters beside the address, or as a QR code that holds both."],
    }
    RedirectUri High {
        causes: [
            "The redirect_uri differs from the registered one in scheme, host, port, path, a trailing slash or its case.",
            "The token request names another redirect_uri than the authorization request did.",
        ],
        resolution: [
            "Compare it, byte by byte, with redirect_uris in `grantlog client show`.",
            "Register the address with `grantlog client update`, if it is the application's own.",
        ],
        prevention: ["Keep the redirect URI in one setting that both requests use."],
    }
    Pkce Medium {
        causes: [
            "The code_verifier is not the one that the code_challenge was made of, such as from another tab or session.",
            "The challenge was hashed or encoded otherwise than base64url(SHA-256(verifier)) without padding.",
            "The verifier was not sent, or PKCE was switched on for one of the two requests only.",
        ],
        resolution: [
            "Store the verifier with the state, and look it up by the state that comes back.",
            "Send code_challenge_method=S256 in the authorization request and code_verifier in the token request.",
        ],
        prevention: ["Let an OAuth library do PKCE, and make a fresh verifier for each request."],
    }
    RefreshReplay High {
        causes: [
            "Two workers refreshed with the same token at once, or a retry came after the grace period.",
            "The application kept an old token although a refresh gave it a new one.",
            "The refresh token was stolen; this is why the whole grant was revoked.",
        ],
        resolution: [
            "Let the user log in again.",
            "Compare the network digests of both uses in `grantlog grant show --json`: two networks point to a theft.",
        ],
        prevention: [
            "Store the new refresh token before using the new access token, and lock the refresh per user.",
            "Allow for lost answers with refresh_grace in the client's metadata.",
        ],
    }
    GrantOver Medium {
        causes: [
            "The refresh token or its grant reached the end of its life.",
            "The user changed the password, withdrew the consent or was disabled.",
            "The user logged out, and the grant was not for offline access (see session_end_revokes).",
            "The client or an administrator revoked the grant.",
        ],
        resolution: [
            "Send the user to the authorization endpoint again.",
            "`grantlog grant show` says when the grant ended and why.",
        ],
        prevention: ["Treat a failed refresh as a logged-out user, not as an error."],
    }
    Exchange High {
        causes: [
            "No rule lets the client exchange tokens of the client that the subject token was issued to.",
            "The subject or actor token has expired or was revoked, or what it rests on is gone.",
            "The token is of another server, or its type is named wrongly.",
            "The actor token was issued to another client than the one that sends the request.",
        ],
        resolution: [
            "Look at exchanges in `grantlog client show` of the client that sends the request.",
            "Allow it with `grantlog client allow-exchange`, if the client should do so.",
            "Ask for a fresh subject token; `grantlog grant show` says what became of the old one.",
        ],
        prevention: [
            "Exchange a token when it is needed, and do not keep it for longer than the answer's expires_in.",
            "Ask for the scopes and the audience that the next service needs, and no others.",
        ],
    }
    GrantAssertion High {
        causes: [
            "The issuer is not trusted for this client, or its keys have changed.",
            "The issuer's jwks_uri cannot be fetched, or has no key of the algorithm; the server's log says why.",
            "The assertion names another audience than this server, or several.",
            "The same assertion was sent twice.",
            "The clocks differ, or the assertion lives too long.",
            "The subject is not one that the trust names, or no user here.",
        ],
        resolution: [
            "Compare the assertion's claims with `grantlog trust show` of its issuer.",
            "Let aud be the issuer as the metadata document spells it, and jti new each time.",
        ],
        prevention: [
            "Ask the issuer for an assertion for each token request.",
            "When the issuer's keys change, name the new one beside the old one first, or trust its jwks_uri.",
        ],
    }
    Scope Medium {
        causes: [
            "A scope is mistyped, or scopes are separated by commas instead of spaces.",
            "The client is not registered for a scope that it asks for, or no longer is.",
            "No scope was asked for, and the client has no default_scopes.",
            "A refresh asked for more than was granted.",
        ],
        resolution: [
            "Compare the request with scope and default_scopes in `grantlog client show`, and with `grantlog scope list`.",
            "Give the client the scope with `grantlog client update`, if it should have it; then let the user authorize again.",
        ],
        prevention: ["Ask for the scopes that the application needs and no others, from one list in its settings."],
    }
    Resource Medium {
        causes: [
            "The resource is spelled otherwise than it is registered: it is compared byte by byte.",
            "The client asks for a token of a resource server that it is not registered for.",
            "The token request names a resource that the authorization request had left out.",
            "The client's audience was changed after the user had authorized.",
        ],
        resolution: [
            "Compare the resource with audience in `grantlog client show`.",
            "Name every resource in the authorization request; the token request may only choose among them.",
        ],
        prevention: ["Keep each resource's URI in one place, and use it at both endpoints."],
    }
    AuthorizationDetails Medium {
        causes: [
            "The type is misspelled (it is compared byte by byte), not defined here, or not among the client's authorization_details_types.",
            "A detail has a member that its type does not know, lacks one, or has a value that the type's schema does not allow.",
            "A detail names locations that are not among the client's audience.",
            "A token request asks for a detail that is not a granted one with shorter lists of actions, datatypes, privileges or locations.",
        ],
        resolution: [
            "Compare the request with `grantlog authorization-detail-type show TYPE`; `check` says what is wrong with a detail.",
            "Compare types and locations with authorization_details_types and audience in `grantlog client show`.",
            "Leave the parameter out of token requests that want all that was granted.",
        ],
        prevention: ["Check details against the type's schema in the application's tests."],
    }
    DpopProof High {
        causes: [
            "The application sent one proof twice, for instance in an automatic retry.",
            "The proof was signed for another method or address: a proxy's host name instead of the issuer's, http instead of https.",
            "The application made a new key and presents a token that is bound to the old one, or presents it as a bearer token.",
            "The clock of the application's machine is wrong.",
            "Somebody presents a token that was stolen without its key.",
        ],
        resolution: [
            "Compare the proof's header and claims with RFC 9449 section 4.2, and htu with the addresses in the metadata document.",
            "Sign a new proof with a fresh jti and iat for each request, retries included.",
            "Present a bound token with `Authorization: DPoP` and a proof of the key that cnf names at introspection.",
            "If the key is lost, start the authorization again.",
        ],
        prevention: [
            "Use a maintained OAuth library that supports DPoP.",
            "Keep the key as long as the tokens that are bound to it, where nobody can export it.",
            "Synchronise clocks.",
        ],
    }
    DpopNonce Low {
        causes: [
            "It was the application's first request, or it had paused for longer than a nonce lives.",
            "The application does not keep the nonce that each answer gives.",
        ],
        resolution: [
            "Repeat the request with a new proof that has the value of the answer's DPoP-Nonce header as its nonce.",
        ],
        prevention: ["Keep the latest DPoP-Nonce of this server, and use it in the next proof."],
    }
    Approval Medium {
        causes: [
            "The scope is restricted, and nobody has asked for the client's approval yet.",
            "The approval was asked for and is not decided, was rejected, or was withdrawn.",
        ],
        resolution: [
            "Look at approvals in `grantlog client show`: state, who, when and why.",
            "Ask with `grantlog client request-scope`; an administrator decides with `approve-scope` or `reject-scope`.",
            "Until then ask for the unrestricted scopes only; the user's consent alone does not open a restricted one.",
        ],
        prevention: [
            "Ask for approvals well before a feature goes live, and say what the data is needed for.",
            "Let the application work without the restricted scope.",
        ],
    }
    Unsupported High {
        causes: ["The application uses a feature that this server does not offer, or a value that it does not know."],
        resolution: [
            "Compare the request with the server's metadata document.",
            "Switch the feature off in the application's OAuth library.",
        ],
        prevention: ["Configure the library from the metadata document instead of by hand."],
    }
    RequestObject High {
        causes: [
            "The application signs with a key or an algorithm that is not registered for it.",
            "The object's iss or client_id is not the client's id, or its aud is not the issuer.",
            "The object was kept too long before the user was sent here, or the application's clock is wrong.",
            "The application sends plain parameters although it must sign them.",
        ],
        resolution: [
            "Compare the object's kid and alg with jwks and request_object_signing_alg in `grantlog client show`.",
            "Put every parameter into the object: what stands beside it counts for nothing.",
            "Let aud be the issuer as the metadata document spells it, nbf now, exp some minutes ahead, and typ oauth-authz-req+jwt.",
        ],
        prevention: [
            "Sign a request object for each login, when it begins.",
            "When keys change, register the new one beside the old one first.",
        ],
    }
    PushedRequest Medium {
        causes: [
            "The user came back to a login page that was open for too long, or used the browser's back button after answering.",
            "The application pushed the request too long before it sent the user here, or under another client_id.",
            "The application sent its parameters in the address although it must push them.",
        ],
        resolution: [
            "Start the login again in the application.",
            "Push each request to the endpoint that the metadata names as pushed_authorization_request_endpoint, then redirect at once.",
        ],
        prevention: ["Push a request for each login, when it begins, and never keep a request_uri for later."],
    }
    Silent Low {
        causes: ["The application asked with prompt=none, but the user must log in or consent first."],
        resolution: ["Repeat the authorization request without prompt=none, so that the page can be shown."],
        prevention: ["Use prompt=none only to find out whether a login is there, and expect a no."],
    }
    Denied Low {
        causes: [
            "The user said no on the consent page.",
            "The user's login ended while the consent page was open.",
        ],
        resolution: ["Tell the user that the feature needs the access, and offer to try again."],
        prevention: ["Explain what the access is for before the user is sent here."],
    }
    PageForm Low {
        causes: [
            "The page was open for long, or the user logged in or out in another window.",
            "The browser does not send the server's cookies.",
            "Another site tried to send the form.",
        ],
        resolution: ["The page was shown afresh; filling it in again is enough."],
        prevention: ["Open the authorization endpoint as a page of its own, not in a frame, with cookies allowed."],
    }
    Login Medium {
        causes: [
            "The user mistyped the name or the password.",
            "The user is disabled, or was erased.",
            "Somebody is trying passwords.",
        ],
        resolution: [
            "Let the user try again, or set a password with `grantlog user set-password`.",
            "`grantlog user show` says whether the user is disabled.",
        ],
        prevention: ["Watch for many failures from one network; the server slows them down by itself."],
    }
    AccessToken Medium {
        causes: [
            "The access token's time is over.",
            "The token was revoked, or its user, client or consent no longer carries it.",
            "The token is cut, from another installation, or made for another audience.",
            "No token came at all, or not in an Authorization header with the scheme Bearer.",
        ],
        resolution: [
            "Refresh the token; if that fails too, let the user log in again.",
            "Send it as `Authorization: Bearer …`, once, and nowhere else.",
            "`grantlog grant show` says what became of the token's grant.",
        ],
        prevention: [
            "Refresh shortly before expires_in is over, and once more on a 401.",
            "Keep one place in the application that knows the current token.",
        ],
    }
    TokenScope Medium {
        causes: [
            "The token was issued without the scope that the resource needs.",
            "The user consented to less, or a refresh narrowed the scope.",
        ],
        resolution: [
            "WWW-Authenticate names the scope: ask for it in a new authorization request.",
            "With prompt=consent the user is asked again for sure.",
        ],
        prevention: ["Compare the scope member of each token answer with what the application is about to do."],
    }
    Permission Medium {
        causes: [
            "A user's token asked for another user's data.",
            "A client's own token was used where a user's is needed, or the other way round.",
        ],
        resolution: [
            "Use the token of the user whose data it is.",
            "For access to any user, use client_credentials with the scope that the resource documents.",
        ],
        prevention: ["Keep users' tokens and the client's own apart in the application."],
    }
    NotFound Low {
        causes: [
            "The id is mistyped, or from another installation.",
            "The user was erased.",
            "The grant was revoked, or has ended by itself.",
            "The refusal is older than what the ledger still holds, or was suppressed under load.",
        ],
        resolution: ["Check the id; treat an erased user as gone."],
        prevention: ["Drop stored ids when the server says that they are gone."],
    }
    Administration Low {
        causes: [
            "A parameter or a member of the body is unknown, missing, doubled or out of its range.",
            "What is to be changed is not in the state that the caller believes: suspended, revoked or acknowledged already, or its name is taken.",
            "A client without the scope admin wants to change a client, scope or approval that administers.",
        ],
        resolution: [
            "Read the message of the answer, and compare with /openapi.json and docs/admin-api.md.",
            "Read the resource again before it is changed.",
            "Use the scope admin, or the command line, for clients and scopes that administer.",
        ],
        prevention: ["Generate the caller from /openapi.json of the version that runs."],
    }
    EventStream Low {
        causes: [
            "The delivery names no method that is known here, or an address that is not public or not https.",
            "A property that the server supplies was sent along with another value.",
            "The receiver creates a stream each time it starts, instead of asking for the ones that it has.",
        ],
        resolution: [
            "Read the message of the answer, and compare with docs/shared-signals.md.",
            "List the streams with `GET /ssf/stream`, and delete those that are not used.",
        ],
        prevention: ["Let the receiver keep its stream_id, and change the stream that it has."],
    }
    RegistrationToken High {
        causes: [
            "The token was mistyped or truncated, is another client's, or another installation's.",
            "The initial access token is over, revoked, or has no uses left.",
            "The client was deleted, or an administrator gave it a new registration access token.",
        ],
        resolution: [
            "Compare with `grantlog client initial-access-token list`, and issue a new one with `create`.",
            "A client that lost its registration access token gets one with `grantlog client registration-token`.",
        ],
        prevention: ["Store registration_access_token and registration_client_uri with the client_id when the client is registered."],
    }
    Registration Medium {
        causes: [
            "A member has a value that this server does not support, or that clients may not give themselves.",
            "A redirect URI is not https, or does not fit the application_type.",
            "The sector's document is not reachable over https, or does not list every redirect URI.",
        ],
        resolution: [
            "error_description names the member: compare it with docs/registration.md and the metadata document.",
            "What clients may register themselves for is set by registration_scopes and registration_grant_types, or by the initial access token.",
        ],
        prevention: ["Read what the metadata document supports before registering."],
    }
    SoftwareStatement High {
        causes: [
            "The statement was changed, is over, or is for another server.",
            "Its issuer is not among software_statement_issuers, or signs with a new key.",
        ],
        resolution: [
            "Ask the publisher for a statement that is current.",
            "Operators: add the issuer, or its new key, to the file that software_statement_issuers names, and restart.",
        ],
        prevention: ["Send the statement as it came, and at each update of a client that was registered under one."],
    }
    RateLimit Medium {
        causes: [
            "A retry loop without pauses, or a job that calls the API for each row.",
            "A wrong secret or password that is tried again and again.",
            "Somebody is guessing.",
        ],
        resolution: ["Wait for the seconds that Retry-After names, then go on more slowly."],
        prevention: [
            "Retry with growing pauses, and not at all what was refused for good.",
            "Keep answers for a while instead of asking again.",
        ],
    }
    Server High {
        causes: ["The server or its database is overloaded, down, or being maintained."],
        resolution: [
            "Try again after a short while, with growing pauses.",
            "Operators: search the server's log for the request id, and run `grantlog doctor`.",
        ],
        prevention: ["Watch /readyz and the metrics; let the application live through a short outage."],
    }
}
