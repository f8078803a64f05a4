// openid-client (npm) against a running Grantlog: registration, discovery, code + PKCE, refresh, UserInfo, PAR, DPoP,
// private_key_jwt, FAPI 2.0 Message Signing, device grant, RP-initiated logout, introspection, revocation. Usage: node openid_client.mjs DEV_JSON
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as client from 'openid-client';
import { exportJWK, generateKeyPair } from 'jose';
import { Browser } from './browser.mjs';

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = new URL(dev.issuer);
const options = { execute: [client.allowInsecureRequests] }; // plain http on loopback
const BACK = 'https://app.example/bye';
const CALLBACK = 'https://app.example/callback';
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const { username } = dev.users[0];

const { confidential, public: native, machine } = dev.clients;
const discover = (registered, authentication, metadata) =>
  client.discovery(issuer, registered.client_id, metadata, authentication, options);

// Registers a client, which is then configured with what it was told.
const register = (metadata, authentication) =>
  client.dynamicClientRegistration(
    issuer,
    {
      client_name: 'openid-client', redirect_uris: [CALLBACK], post_logout_redirect_uris: [BACK],
      grant_types: ['authorization_code', 'refresh_token'], scope: 'openid profile offline_access', ...metadata,
    },
    authentication,
    options,
  );

// A code and its tokens; the library checks state, iss, nonce and the ID token.
async function login(config, { redirectUri = CALLBACK, scope, DPoP, pushed = false }) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()];
  const parameters = {
    redirect_uri: redirectUri, scope, state: expectedState, nonce: expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256',
  };
  const url = pushed
    ? await client.buildAuthorizationUrlWithPAR(config, parameters, { DPoP })
    : client.buildAuthorizationUrl(config, parameters);
  assert.equal(url.searchParams.has('request_uri'), pushed);
  const callback = await new Browser(dev).approve(url);
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: scope.includes('openid') };
  return client.authorizationCodeGrant(config, callback, checks, undefined, { DPoP });
}

async function codeFlow(config, redirectUri) {
  client.enableNonRepudiationChecks(config);
  const tokens = await login(config, { redirectUri, scope: 'openid profile offline_access' });
  const { sub } = tokens.claims();
  const user = await client.fetchUserInfo(config, tokens.access_token, sub);
  assert.equal(user.preferred_username, username);
  const next = await client.refreshTokenGrant(config, tokens.refresh_token);
  assert.notEqual(next.refresh_token, tokens.refresh_token);
  assert.equal(next.claims().sub, sub);
  return next;
}

async function introspectionAndRevocation(config, tokens) {
  assert.equal((await client.tokenIntrospection(config, tokens.access_token)).active, true);
  await client.tokenRevocation(config, tokens.refresh_token);
  assert.equal((await client.tokenIntrospection(config, tokens.access_token)).active, false);
}

// A pushed request with the key's proof; the library is told a nonce and comes again by itself.
async function dpopFlow(config, redirectUri) {
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'));
  const tokens = await login(config, { redirectUri, scope: 'openid view-user', DPoP, pushed: true });
  assert.equal(tokens.token_type, 'dpop');
  const me = new URL('/api/user', issuer);
  const user = await client.fetchProtectedResource(config, tokens.access_token, me, 'GET', null, undefined, { DPoP });
  assert.equal((await user.json()).username, username);
  await assert.rejects(client.fetchProtectedResource(config, tokens.access_token, me, 'GET'), (error) =>
    error instanceof client.WWWAuthenticateChallengeError && error.status === 401);
  const next = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
  assert.equal(next.token_type, 'dpop');
}

async function privateKeyJwt() {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const authentication = client.PrivateKeyJwt({ key: privateKey, kid: 'own' });
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'own', alg: 'ES256', use: 'sig' }] };
  const config = await register({ token_endpoint_auth_method: 'private_key_jwt', jwks }, authentication);
  await introspectionAndRevocation(config, await codeFlow(config));
  const stranger = client.PrivateKeyJwt({ key: (await generateKeyPair('ES256')).privateKey, kid: 'own' });
  const forged = await discover({ client_id: config.clientMetadata().client_id }, stranger);
  await assert.rejects(client.refreshTokenGrant(forged, 'glr_x'), (error) => error.error === 'invalid_client');
}

// A request that is signed and pushed, an answer that is signed, and a refresh token that stays.
async function messageSigning() {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const own = { key: privateKey, kid: 'own' };
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'own', alg: 'ES256', use: 'sig' }] };
  const profile = 'fapi2-message-signing';
  const metadata = { profile, jwks, token_endpoint_auth_method: 'private_key_jwt', require_pkce: true };
  const config = await register(metadata, client.PrivateKeyJwt(own));
  assert.equal(config.clientMetadata().authorization_signed_response_alg, 'ES256');
  client.useJwtResponseMode(config);
  client.enableNonRepudiationChecks(config);
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'));
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()];
  const parameters = {
    redirect_uri: CALLBACK, scope: 'openid profile', state: expectedState, nonce: expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256',
  };
  const signed = await client.buildAuthorizationUrlWithJAR(config, parameters, own);
  await assert.rejects(client.buildAuthorizationUrlWithPAR(config, parameters, { DPoP }), (error) =>
    error.error === 'invalid_request');
  const url = await client.buildAuthorizationUrlWithPAR(config, signed.searchParams, { DPoP });
  const callback = await new Browser(dev).approve(url);
  assert.deepEqual([...callback.searchParams.keys()], ['response']);
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true };
  const tokens = await client.authorizationCodeGrant(config, callback, checks, undefined, { DPoP });
  assert.equal(tokens.token_type, 'dpop');
  const user = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, { DPoP });
  assert.equal(user.preferred_username, username);
  for (let times = 0; times < 2; times += 1) {
    const next = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
    assert.equal(next.refresh_token, undefined);
  }
}

async function deviceFlow(config) {
  const begun = await client.initiateDeviceAuthorization(config, { scope: 'openid profile' });
  const answered = new Browser(dev).visit(new URL(begun.verification_uri_complete));
  const tokens = await client.pollDeviceAuthorizationGrant(config, begun);
  assert.match((await answered).page, /The device is connected/);
  assert.equal((await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)).preferred_username, username);
  const denied = await client.initiateDeviceAuthorization(config, { scope: 'openid' });
  await new Browser(dev).visit(new URL(denied.verification_uri_complete), 'deny');
  await assert.rejects(client.pollDeviceAuthorizationGrant(config, denied), (error) => error.error === 'access_denied');
}

async function logout() {
  const config = await register({ token_endpoint_auth_method: 'client_secret_post' });
  const browser = new Browser(dev);
  const authorize = (extra) => client.buildAuthorizationUrl(config, {
    redirect_uri: CALLBACK, scope: 'openid', nonce: 'n', code_challenge_method: 'S256', ...extra,
  });
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const code_challenge = await client.calculatePKCECodeChallenge(pkceCodeVerifier);
  const callback = await browser.approve(authorize({ code_challenge }));
  const tokens = await client.authorizationCodeGrant(config, callback, { pkceCodeVerifier, expectedNonce: 'n' });
  const silent = authorize({ code_challenge, prompt: 'none' });
  assert.equal((await browser.approve(silent)).searchParams.get('error'), null);
  const end = client.buildEndSessionUrl(config, {
    id_token_hint: tokens.id_token, post_logout_redirect_uri: BACK, state: 'left',
  });
  const returned = await browser.approve(end);
  assert.equal(returned.href, `${BACK}?state=left`);
  assert.equal((await browser.approve(silent)).searchParams.get('error'), 'login_required');
}

let passed = 0;
async function claim(name, work) {
  await work();
  console.log(`ok ${name}`);
  passed += 1;
}

const web = await discover(confidential, client.ClientSecretBasic(confidential.client_secret));
const app = await discover(native, client.None());
await claim('confidential client: code + PKCE, UserInfo, refresh, introspection, revocation', async () =>
  introspectionAndRevocation(web, await codeFlow(web, confidential.redirect_uris[0])));
await claim('public client: code + PKCE, UserInfo, refresh', () => codeFlow(app, native.redirect_uris[0].replace('/callback', ':8481/callback')));
await claim('DPoP with a pushed request, API and refresh, for both clients', async () => {
  await dpopFlow(web, confidential.redirect_uris[0]);
  await dpopFlow(app, native.redirect_uris[0].replace('/callback', ':8481/callback'));
});
await claim('pushed request without DPoP', () =>
  login(web, { redirectUri: confidential.redirect_uris[0], scope: 'openid', pushed: true }));
await claim('registration, and private_key_jwt at every endpoint', privateKeyJwt);
await claim('FAPI 2.0 Message Signing: JAR, PAR, JARM, DPoP, private_key_jwt', messageSigning);
await claim('device grant, approved and denied', () => deviceFlow(app));
await claim('RP-initiated logout and the way back', logout);
await claim('client credentials', async () => {
  const config = await discover(machine, client.ClientSecretPost(machine.client_secret));
  const tokens = await client.clientCredentialsGrant(config, { scope: machine.scopes[0] });
  assert.equal(tokens.scope, machine.scopes[0]);
});
console.log(`${passed} passed, 0 failed`);
