//! Client libraries that are not ours complete what a relying party does: the crate `oauth2`, and
//! [`openid`]: `openidconnect`.

mod openid;

use oauth2::basic::BasicClient;
use oauth2::{
    AsyncHttpClient, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest,
    HttpResponse, IntrospectionUrl, PkceCodeChallenge, RedirectUrl, RevocationUrl, Scope,
    StandardRevocableToken, TokenIntrospectionResponse, TokenResponse, TokenUrl,
};

use crate::flow;
use crate::harness::{TestServer, browser};

/// The library's requests, sent with reqwest.
async fn send(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let response = http.execute(request.try_into()?).await?;
    let mut builder = axum::http::Response::builder().status(response.status());
    for (name, value) in response.headers() {
        builder = builder.header(name, value);
    }
    let body = response.bytes().await?.to_vec();
    Ok(builder
        .body(body)
        .expect("a response that was received can be built"))
}

fn http_client() -> impl for<'c> AsyncHttpClient<'c, Error = oauth2::HttpClientError<reqwest::Error>> {
    let http = browser();
    move |request: HttpRequest| {
        let http = http.clone();
        async move {
            send(http, request)
                .await
                .map_err(|error| oauth2::HttpClientError::Reqwest(Box::new(error)))
        }
    }
}

#[tokio::test]
async fn the_oauth2_crate_completes_code_with_pkce_refresh_introspection_and_revocation() {
    let server = TestServer::start().await;
    let registered = flow::client_and_user(&server).await;
    let http = http_client();
    let client = BasicClient::new(ClientId::new(registered.client_id.clone()))
        .set_client_secret(ClientSecret::new(registered.client_secret.unwrap()))
        .set_auth_uri(AuthUrl::new(server.url("/oauth/authorize")).unwrap())
        .set_token_uri(TokenUrl::new(server.url("/oauth/token")).unwrap())
        .set_introspection_url(IntrospectionUrl::new(server.url("/oauth/introspect")).unwrap())
        // The library insists on https where it revokes; the request goes to the URL's path on this server.
        .set_revocation_url(
            RevocationUrl::new(server.url("/oauth/revoke").replacen("http:", "https:", 1)).unwrap(),
        )
        .set_redirect_uri(RedirectUrl::new(flow::REDIRECT_URI.to_owned()).unwrap());

    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state) = client
        .authorize_url(CsrfToken::new_random)
        .add_scope(Scope::new("view-user".to_owned()))
        .set_pkce_challenge(challenge)
        .url();
    let query: flow::Query = url.query_pairs().into_owned().collect();
    let returned = flow::authorize(&server, &browser(), &query).await;
    assert_eq!(returned["state"], *state.secret());
    assert_eq!(returned["iss"], server.base);

    let tokens = client
        .exchange_code(AuthorizationCode::new(returned["code"].clone()))
        .set_pkce_verifier(verifier)
        .request_async(&http)
        .await
        .unwrap();
    assert_eq!(tokens.expires_in().unwrap().as_secs(), 3600);
    let refreshed = client
        .exchange_refresh_token(tokens.refresh_token().unwrap())
        .request_async(&http)
        .await
        .unwrap();
    assert_ne!(
        refreshed.refresh_token().unwrap().secret(),
        tokens.refresh_token().unwrap().secret()
    );
    let state = client
        .introspect(refreshed.access_token())
        .request_async(&http)
        .await
        .unwrap();
    assert!(state.active());
    assert_eq!(state.client_id().unwrap().as_str(), registered.client_id);

    let token = StandardRevocableToken::RefreshToken(refreshed.refresh_token().unwrap().clone());
    let to_plain = |request: HttpRequest| {
        let (mut parts, body) = request.into_parts();
        parts.uri = parts
            .uri
            .to_string()
            .replacen("https:", "http:", 1)
            .parse()
            .unwrap();
        let http = browser();
        async move {
            let request = HttpRequest::from_parts(parts, body);
            send(http, request)
                .await
                .map_err(|error| oauth2::HttpClientError::Reqwest(Box::new(error)))
        }
    };
    client
        .revoke_token(token)
        .unwrap()
        .request_async(&to_plain)
        .await
        .unwrap();
    let state = client
        .introspect(refreshed.access_token())
        .request_async(&http)
        .await
        .unwrap();
    assert!(!state.active());
}
