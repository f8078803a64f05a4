// oauth4webapi (npm) against a running Grantlog: discovery, code + PKCE, refresh, introspection, revocation,
// client credentials, OpenID Connect, DPoP, private_key_jwt, device grant. Usage: node oauth4webapi.mjs DEV_JSON
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as oauth from 'oauth4webapi';
import { Browser } from './browser.mjs';

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const insecure = { [oauth.allowInsecureRequests]: true }; // plain http on loopback
const issuer = new URL(dev.issuer);
const server = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }),
);

async function codeFlow(registration, authentication) {
  const client = { client_id: registration.client_id };
  const redirectUri = registration.redirect_uris[0];
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const request = new URL(server.authorization_endpoint);
  request.search = new URLSearchParams({
    response_type: 'code',
    client_id: client.client_id,
    redirect_uri: redirectUri,
    scope: 'view-user',
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  }).toString();
  const callback = await new Browser(dev).approve(request);
  const parameters = oauth.validateAuthResponse(server, client, callback, state);
  const tokens = await oauth.processAuthorizationCodeResponse(
    server,
    client,
    await oauth.authorizationCodeGrantRequest(server, client, authentication, parameters, redirectUri, verifier, insecure),
  );
  const user = await oauth.protectedResourceRequest(
    tokens.access_token, 'GET', new URL('/api/user', issuer), undefined, undefined, insecure);
  assert.equal((await user.json()).username, dev.users[0].username);
  const next = await oauth.processRefreshTokenResponse(
    server,
    client,
    await oauth.refreshTokenGrantRequest(server, client, authentication, tokens.refresh_token, insecure),
  );
  assert.notEqual(next.refresh_token, tokens.refresh_token);
  return { client, tokens: next };
}

// The library checks the ID token: issuer, audience, expiry, nonce, auth_time, and its signature by the key set.
async function openidFlow(registration, authentication) {
  const provider = await oauth.processDiscoveryResponse(
    issuer,
    await oauth.discoveryRequest(issuer, { algorithm: 'oidc', ...insecure }),
  );
  const client = { client_id: registration.client_id };
  const redirectUri = registration.redirect_uris[0];
  const verifier = oauth.generateRandomCodeVerifier();
  const nonce = oauth.generateRandomNonce();
  const request = new URL(provider.authorization_endpoint);
  request.search = new URLSearchParams({
    response_type: 'code',
    client_id: client.client_id,
    redirect_uri: redirectUri,
    scope: 'openid profile email',
    nonce,
    max_age: '3600',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  }).toString();
  const callback = await new Browser(dev).approve(request);
  const parameters = oauth.validateAuthResponse(provider, client, callback, oauth.expectNoState);
  const response = await oauth.authorizationCodeGrantRequest(
    provider, client, authentication, parameters, redirectUri, verifier, insecure);
  const tokens = await oauth.processAuthorizationCodeResponse(
    provider, client, response, { expectedNonce: nonce, maxAge: 3600, requireIdToken: true });
  await oauth.validateApplicationLevelSignature(provider, response, insecure);
  const claims = oauth.getValidatedIdTokenClaims(tokens);
  assert.deepEqual(claims.amr, ['pwd']);
  const user = await oauth.processUserInfoResponse(
    provider, client, claims.sub,
    await oauth.userInfoRequest(provider, client, tokens.access_token, insecure));
  assert.equal(user.preferred_username, dev.users[0].username);
  assert.equal(user.email_verified, false);
  const refreshed = await oauth.processRefreshTokenResponse(
    provider, client,
    await oauth.refreshTokenGrantRequest(provider, client, authentication, tokens.refresh_token, insecure));
  assert.equal(oauth.getValidatedIdTokenClaims(refreshed).sub, claims.sub);
}

// With DPoP: a pushed request, whose key the code is bound to, and every later request with a proof. The library knows
// no nonce at first, is told one, and tries again.
async function dpopFlow(registration, authentication) {
  const client = { client_id: registration.client_id };
  const redirectUri = registration.redirect_uris[0];
  const verifier = oauth.generateRandomCodeVerifier();
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
  const options = { ...insecure, DPoP };
  let told = 0;
  const proved = async (attempt) => {
    try {
      return await attempt();
    } catch (error) {
      if (!oauth.isDPoPNonceError(error)) throw error;
      told += 1;
      return attempt();
    }
  };
  const pushed = await proved(async () =>
    oauth.processPushedAuthorizationResponse(
      server, client,
      await oauth.pushedAuthorizationRequest(server, client, authentication, {
        response_type: 'code',
        redirect_uri: redirectUri,
        scope: 'view-user',
        code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
      }, options)));
  const request = new URL(server.authorization_endpoint);
  request.search = new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri }).toString();
  const callback = await new Browser(dev).approve(request);
  const parameters = oauth.validateAuthResponse(server, client, callback, oauth.expectNoState);
  const tokens = await proved(async () =>
    oauth.processAuthorizationCodeResponse(
      server, client,
      await oauth.authorizationCodeGrantRequest(
        server, client, authentication, parameters, redirectUri, verifier, options)));
  assert.equal(tokens.token_type, 'dpop');
  const me = new URL('/api/user', issuer);
  const user = await proved(() =>
    oauth.protectedResourceRequest(tokens.access_token, 'GET', me, undefined, undefined, options));
  assert.equal((await user.json()).username, dev.users[0].username);
  await assert.rejects(
    oauth.protectedResourceRequest(tokens.access_token, 'GET', me, undefined, undefined, insecure),
    (error) => error instanceof oauth.WWWAuthenticateChallengeError
      && error.cause.some(({ scheme }) => scheme === 'dpop'),
  );
  const next = await proved(async () =>
    oauth.processRefreshTokenResponse(
      server, client,
      await oauth.refreshTokenGrantRequest(server, client, authentication, tokens.refresh_token, options)));
  assert.equal(next.token_type, 'dpop');
  assert.equal(told, 1);
}

// A client that registered itself with its key: a pushed request, tokens, introspection and revocation, each with an
// assertion of its own.
async function signingFlow() {
  const { privateKey, publicKey } = await oauth.generateKeyPair('ES256', { extractable: true });
  const jwk = { ...(await crypto.subtle.exportKey('jwk', publicKey)), kid: 'own' };
  const redirectUri = 'https://app.example/callback';
  const client = await oauth.processDynamicClientRegistrationResponse(
    await oauth.dynamicClientRegistrationRequest(server, {
      redirect_uris: [redirectUri], scope: 'openid', token_endpoint_auth_method: 'private_key_jwt',
      grant_types: ['authorization_code', 'refresh_token'], jwks: { keys: [jwk] },
    }, insecure));
  const authentication = oauth.PrivateKeyJwt({ key: privateKey, kid: 'own' });
  const verifier = oauth.generateRandomCodeVerifier();
  const pushed = await oauth.processPushedAuthorizationResponse(
    server, client,
    await oauth.pushedAuthorizationRequest(server, client, authentication, {
      response_type: 'code', redirect_uri: redirectUri, scope: 'openid',
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    }, insecure));
  const request = new URL(server.authorization_endpoint);
  request.search = new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri }).toString();
  const callback = await new Browser(dev).approve(request);
  const parameters = oauth.validateAuthResponse(server, client, callback, oauth.expectNoState);
  const tokens = await oauth.processAuthorizationCodeResponse(
    server, client,
    await oauth.authorizationCodeGrantRequest(
      server, client, authentication, parameters, redirectUri, verifier, insecure));
  const active = async () => (await oauth.processIntrospectionResponse(
    server, client,
    await oauth.introspectionRequest(server, client, authentication, tokens.access_token, insecure))).active;
  assert.equal(await active(), true);
  await oauth.processRevocationResponse(
    await oauth.revocationRequest(server, client, authentication, tokens.refresh_token, insecure));
  assert.equal(await active(), false);
}

async function deviceFlow({ client_id }) {
  const client = { client_id };
  const begun = await oauth.processDeviceAuthorizationResponse(
    server, client,
    await oauth.deviceAuthorizationRequest(server, client, oauth.None(), { scope: 'view-user' }, insecure));
  const poll = async () => oauth.processDeviceCodeResponse(
    server, client, await oauth.deviceCodeGrantRequest(server, client, oauth.None(), begun.device_code, insecure));
  await assert.rejects(poll, (error) => error.error === 'authorization_pending');
  await new Browser(dev).visit(new URL(begun.verification_uri_complete));
  await new Promise((resolve) => setTimeout(resolve, begun.interval * 1000));
  const tokens = await poll();
  assert.equal(tokens.scope, 'view-user');
  await assert.rejects(poll, (error) => error.error === 'invalid_grant');
}

const { confidential, machine } = dev.clients;
const authentication = oauth.ClientSecretBasic(confidential.client_secret);
const { client, tokens } = await codeFlow(confidential, authentication);
const introspect = async (token) =>
  oauth.processIntrospectionResponse(
    server, client, await oauth.introspectionRequest(server, client, authentication, token, insecure));
assert.equal((await introspect(tokens.access_token)).active, true);
await oauth.processRevocationResponse(
  await oauth.revocationRequest(server, client, authentication, tokens.refresh_token, insecure));
assert.equal((await introspect(tokens.access_token)).active, false);
console.log('ok confidential client: code + PKCE, API, refresh, introspection, revocation');

await codeFlow(dev.clients.public, oauth.None());
console.log('ok public client: code + PKCE, API, refresh');

await openidFlow(confidential, authentication);
await openidFlow(dev.clients.public, oauth.None());
console.log('ok OpenID Connect: discovery, ID token, UserInfo, refreshed ID token, for both clients');

assert.ok(server.dpop_signing_alg_values_supported.includes('ES256'));
await dpopFlow(confidential, authentication);
await dpopFlow(dev.clients.public, oauth.None());
console.log('ok DPoP: nonce, pushed request, code, API, no bearer token, refresh, for both clients');

await signingFlow();
console.log('ok private_key_jwt: registration, pushed request, code, introspection, revocation');

await deviceFlow(dev.clients.public);
console.log('ok device grant: pending, approved, once');

const credentials = (secret) =>
  oauth.clientCredentialsGrantRequest(
    server, { client_id: machine.client_id }, oauth.ClientSecretBasic(secret), { scope: machine.scopes[0] }, insecure);
await assert.rejects(
  async () =>
    oauth.processClientCredentialsResponse(server, { client_id: machine.client_id }, await credentials('wrong')),
  (error) => error instanceof oauth.ResponseBodyError || error instanceof oauth.WWWAuthenticateChallengeError,
);
const granted = await oauth.processClientCredentialsResponse(
  server, { client_id: machine.client_id }, await credentials(machine.client_secret));
assert.equal(granted.scope, machine.scopes[0]);
console.log('ok machine client: client credentials, and a wrong secret refused');
console.log('7 passed, 0 failed');
