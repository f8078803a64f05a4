//! The crate `openidconnect`: what a relying party does that logs users in.

use oauth2::{AuthorizationCode, ClientId, ClientSecret, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata, CoreUserInfoClaims};
use openidconnect::{
    AccessTokenHash, ClaimsVerificationError, IssuerUrl, Nonce, OAuth2TokenResponse, TokenResponse,
};
use serde_json::json;

use super::http_client;
use crate::flow;
use crate::harness::{TestServer, browser};
use crate::openid::define_scopes;

#[tokio::test]
async fn the_openidconnect_crate_discovers_logs_in_verifies_the_id_token_and_refreshes() {
    let server = TestServer::start().await;
    define_scopes(&server).await;
    server.user(flow::USERNAME, flow::PASSWORD).await;
    let mut metadata = flow::confidential();
    metadata["scope"] = json!("openid profile offline_access view-user");
    let registered = server.client(metadata).await;
    let http = http_client();
    let issuer = IssuerUrl::new(server.base.clone()).unwrap();
    let provider = CoreProviderMetadata::discover_async(issuer, &http).await.unwrap();
    let client = CoreClient::from_provider_metadata(
        provider,
        ClientId::new(registered.client_id.clone()),
        registered.client_secret.map(ClientSecret::new),
    )
    .set_redirect_uri(RedirectUrl::new(flow::REDIRECT_URI.to_owned()).unwrap());

    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = client
        .authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            CsrfToken::new_random,
            Nonce::new_random,
        )
        .add_scope(Scope::new("profile".to_owned()))
        .add_scope(Scope::new("offline_access".to_owned()))
        .set_pkce_challenge(challenge)
        .url();
    let query: flow::Query = url.query_pairs().into_owned().collect();
    let returned = flow::authorize(&server, &browser(), &query).await;
    assert_eq!(returned["state"], *state.secret());
    let tokens = client
        .exchange_code(AuthorizationCode::new(returned["code"].clone()))
        .unwrap()
        .set_pkce_verifier(verifier)
        .request_async(&http)
        .await
        .unwrap();

    // The library checks issuer, audience, times, nonce, and the signature by the keys that it discovered.
    let id_token = tokens.id_token().unwrap();
    let checks = client.id_token_verifier();
    let claims = id_token.claims(&checks, &nonce).unwrap();
    let hash = AccessTokenHash::from_token(
        tokens.access_token(),
        id_token.signing_alg().unwrap(),
        id_token.signing_key(&checks).unwrap(),
    )
    .unwrap();
    assert_eq!(claims.access_token_hash(), Some(&hash));
    let other = id_token.claims(&checks, &Nonce::new("another".to_owned()));
    assert!(
        matches!(other, Err(ClaimsVerificationError::InvalidNonce(_))),
        "{other:?}"
    );

    let user: CoreUserInfoClaims = client
        .user_info(tokens.access_token().clone(), Some(claims.subject().clone()))
        .unwrap()
        .request_async(&http)
        .await
        .unwrap();
    assert_eq!(user.preferred_username().unwrap().as_str(), flow::USERNAME);
    let refreshed = client
        .exchange_refresh_token(tokens.refresh_token().unwrap())
        .unwrap()
        .request_async(&http)
        .await
        .unwrap();
    assert_ne!(
        refreshed.refresh_token().unwrap().secret(),
        tokens.refresh_token().unwrap().secret()
    );
    let again = refreshed.id_token().unwrap();
    // Core §12.2: a refreshed ID token need not repeat the nonce; whose it is stays.
    let again = again.claims(&checks, |_: Option<&Nonce>| Ok(())).unwrap();
    assert_eq!(again.subject(), claims.subject());
}
