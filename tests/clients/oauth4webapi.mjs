// oauth4webapi (npm) against a running Grantlog: discovery, code + PKCE, refresh, introspection, revocation,
// client credentials. Usage: node oauth4webapi.mjs DEV_JSON
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as oauth from 'oauth4webapi';

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const insecure = { [oauth.allowInsecureRequests]: true }; // plain http on loopback
const issuer = new URL(dev.issuer);
const server = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }),
);

// What a browser does: cookies, forms, redirects by hand.
class Browser {
  cookies = new Map();
  async fetch(url, form) {
    const response = await fetch(url, {
      method: form ? 'POST' : 'GET',
      redirect: 'manual',
      headers: {
        cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(form && { 'content-type': 'application/x-www-form-urlencoded', origin: dev.issuer }),
      },
      body: form && new URLSearchParams(form).toString(),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [pair] = cookie.split(';');
      const at = pair.indexOf('=');
      this.cookies.set(pair.slice(0, at), pair.slice(at + 1));
    }
    return response;
  }
  async approve(url) {
    const hidden = (page) =>
      Object.fromEntries([...page.matchAll(/type="hidden" name="([^"]+)" value="([^"]*)"/g)].map((m) => [m[1], m[2]]));
    let response = await this.fetch(url);
    for (let step = 0; step < 6; step++) {
      if (response.status === 303) {
        const target = new URL(response.headers.get('location'), url);
        if (target.origin !== issuer.origin) return target;
        url = target;
        response = await this.fetch(url);
        continue;
      }
      assert.equal(response.status, 200, await response.clone().text());
      const page = await response.text();
      const [user] = dev.users;
      const fields = page.includes('name="password"')
        ? { username: user.username, password: user.password }
        : { decision: 'approve' };
      response = await this.fetch(url, { ...hidden(page), ...fields });
    }
    throw new Error('too many steps');
  }
}

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
  const callback = await new Browser().approve(request);
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
console.log('3 passed, 0 failed');
