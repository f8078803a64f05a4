// The requests of the first server's token endpoint and error reference: form-encoded, credentials in the body.
// Usage: node passport_style.mjs DEV_JSON WORK GRANTLOG
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Browser } from '../clients/browser.mjs';

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const grantlog = (...args) =>
  execFileSync(process.argv[4], ['--data-dir', `${process.argv[3]}/data`, ...args], { encoding: 'utf8', stdio: 'pipe' });
const client_id = '0a9f8dd9-9f13-4138-abf7-566f30886cf1';
const client_secret = 'ORgE1SbhnjX73A3NPk2zZjxN0fMJetKPxXsH7Hyu';
const redirect_uri = 'http://127.0.0.1:3090/sso/auth/callback';
const reporting = {
  client_id: '1b9f8dd9-9f13-4138-abf7-566f30886cf2',
  client_secret: 'a-chosen-secret-of-the-reporting-server',
};
let passed = 0;
const sample = async (name, body) => {
  await body();
  passed += 1;
  console.log(`ok ${name}`);
};

const token = (parameters) =>
  fetch(`${dev.issuer}/oauth/token`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-www-form-urlencoded',
    },
    body: new URLSearchParams(parameters),
  });

const issued = async (response) => {
  const body = await response.json();
  assert.equal(response.status, 200, JSON.stringify(body));
  assert.equal(body.token_type, 'Bearer');
  return body;
};

// Every refusal says what, a sentence, a message, a hint and which request it was; nothing about why it was refused.
const refused = async (response, status, error) => {
  const body = await response.json();
  assert.equal(response.status, status, JSON.stringify(body));
  assert.equal(body.error, error);
  for (const member of ['error_description', 'message', 'hint']) {
    assert.equal(typeof body[member], 'string', member);
  }
  return body;
};

const api = (path, access_token) =>
  fetch(`${dev.issuer}${path}`, { headers: access_token ? { Authorization: `Bearer ${access_token}` } : {} });
const apiRefused = async (response, status, error) => {
  const body = await response.json();
  assert.equal(response.status, status, JSON.stringify(body));
  assert.equal(body.error, error);
  if (status === 401 || status === 403) assert.match(response.headers.get('www-authenticate'), /^Bearer/);
};

const authorize = (parameters) => {
  const url = new URL(`${dev.issuer}/oauth/authorize`);
  url.search = new URLSearchParams({
    client_id, redirect_uri, response_type: 'code', state: 'testing', scope: 'view-user', ...parameters,
  }).toString();
  return url;
};
const browser = new Browser(dev);
const code = async (parameters) => (await browser.approve(authorize(parameters))).searchParams.get('code');

let tokens;
let used;
await sample('authorization code grant', async () => {
  used = await code();
  tokens = await issued(await token({
    grant_type: 'authorization_code', code: used, redirect_uri, client_id, client_secret,
  }));
  assert.equal(tokens.expires_in, 86400);
  assert.equal(tokens.scope, 'view-user');
  assert.equal(JSON.parse(Buffer.from(tokens.access_token.split('.')[0], 'base64url')).alg, 'RS256');
});

await sample('refresh token grant, the other fields left empty', async () => {
  const old = tokens.refresh_token;
  tokens = await issued(await token({
    grant_type: 'refresh_token', refresh_token: old, client_id, client_secret,
    code: '', redirect_uri: '', scope: '', code_verifier: '',
  }));
  assert.notEqual(tokens.refresh_token, old);
});

await sample('client credentials grant, with and without scope', async () => {
  const named = await issued(await token({
    grant_type: 'client_credentials', client_id, client_secret, scope: 'server-operations',
  }));
  assert.equal(named.scope, 'server-operations');
  assert.equal(named.refresh_token, undefined);
  const omitted = await issued(await token({ grant_type: 'client_credentials', client_id, client_secret }));
  assert.equal(omitted.scope, 'view-user');
});

await sample('GET, JSON and a missing parameter are refused', async () => {
  const get = await fetch(`${dev.issuer}/oauth/token?grant_type=client_credentials`);
  assert.equal(get.status, 405);
  const json = await fetch(`${dev.issuer}/oauth/token`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ grant_type: 'client_credentials', client_id, client_secret }),
  });
  await refused(json, 400, 'invalid_request');
  await refused(await token({ grant_type: 'refresh_token', client_id, client_secret }), 400, 'invalid_request');
});

await sample('invalid_client: wrong secret, unknown client, wrong method', async () => {
  const parameters = { grant_type: 'client_credentials' };
  await refused(await token({ ...parameters, client_id, client_secret: 'wrong' }), 401, 'invalid_client');
  await refused(await token({ ...parameters, client_id: 'nobody', client_secret }), 401, 'invalid_client');
  const basic = await fetch(`${dev.issuer}/oauth/token`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-www-form-urlencoded',
      Authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}`,
    },
    body: new URLSearchParams(parameters),
  });
  await refused(basic, 401, 'invalid_client');
});

await sample('invalid_grant: used code, other redirect URI, other client, rubbish', async () => {
  const redeem = (given) =>
    token({ grant_type: 'authorization_code', redirect_uri, client_id, client_secret, ...given });
  const fresh = await code();
  await refused(await redeem({ code: fresh, redirect_uri: `${redirect_uri}/` }), 400, 'invalid_grant');
  await refused(await redeem({ code: 'NEW_AUTHORIZATION_CODE' }), 400, 'invalid_grant');
  await refused(
    await token({ grant_type: 'refresh_token', refresh_token: 'def5020023761949f076f069874c92d8', client_id, client_secret }),
    400, 'invalid_grant');
  await refused(await redeem({ code: used }), 400, 'invalid_grant');
  // The second use of the code ended what came of the first.
  await refused(
    await token({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token, client_id, client_secret }),
    400, 'invalid_grant');
});

await sample('unauthorized_client, unsupported_grant_type, invalid_scope', async () => {
  await refused(await token({ grant_type: 'refresh_token', refresh_token: 'x', ...reporting }), 400, 'unauthorized_client');
  await refused(await token({ grant_type: 'implicit', client_id, client_secret }), 400, 'unsupported_grant_type');
  const scope = (name) => token({ grant_type: 'client_credentials', client_id, client_secret, scope: name });
  await refused(await scope('no-such-scope'), 400, 'invalid_scope');
  await refused(await scope('detail-user'), 400, 'invalid_scope'); // not approved
});

await sample('access_denied: the user says no, and state comes back', async () => {
  const { parameters } = await new Browser(dev).visit(authorize({ prompt: 'consent', state: 'xyz' }), 'deny');
  assert.equal(parameters.get('error'), 'access_denied');
  assert.equal(parameters.get('state'), 'xyz');
});

await sample('nobody is sent to an address that is not registered', async () => {
  const { status } = await new Browser(dev).visit(authorize({ redirect_uri: 'http://127.0.0.1:3090/other' }));
  assert.equal(status, 400);
});

await sample('the user API and its errors', async () => {
  grantlog('client', 'approve-scope', client_id, 'detail-user', '--reason', 'sample');
  const redeem = async (scope) => issued(await token({
    grant_type: 'authorization_code', code: await code({ scope, prompt: 'consent' }), redirect_uri, client_id, client_secret,
  }));
  const basic = await redeem('view-user');
  const detailed = await redeem('view-user detail-user');
  assert.deepEqual(detailed.scope.split(' ').sort(), ['detail-user', 'view-user']);
  const user = await (await api('/api/user', basic.access_token)).json();
  assert.equal(user.username, dev.users[0].username);
  const details = await (await api('/api/user/details', detailed.access_token)).json();
  assert.equal(details.email, 'demo@example.com');

  await apiRefused(await api('/api/user'), 401, 'unauthenticated');
  await apiRefused(await api('/api/user', 'eyJhbGciOiJSUzI1NiJ9.e30.c2ln'), 401, 'token_invalid');
  await apiRefused(await api('/api/user/details', basic.access_token), 403, 'insufficient_scope');
  await apiRefused(await api(`/api/users/${crypto.randomUUID()}`, basic.access_token), 403, 'permission_denied');
  await apiRefused(await api('/api/users/not-an-id', basic.access_token), 400, 'validation_error');
  await apiRefused(await api('/api/no-such-thing', basic.access_token), 404, 'resource_not_found');
  grantlog('client', 'withdraw-scope', client_id, 'detail-user', '--reason', 'sample');
  await apiRefused(await api('/api/user/details', detailed.access_token), 403, 'unapproved_scope');

  const short = await issued(await token({ grant_type: 'client_credentials', ...reporting }));
  assert.equal(short.expires_in, 1);
  // Until its second is over it is a token of no user.
  for (;;) {
    const response = await api('/api/user', short.access_token);
    const { error } = await response.json();
    if (error === 'token_expired') break;
    assert.equal(error, 'permission_denied');
  }
});

await sample('a refused request is explained to the operator, by its id', async () => {
  const body = await refused(
    await token({ grant_type: 'client_credentials', client_id, client_secret: 'wrong' }), 401, 'invalid_client');
  assert.match(grantlog('doctor', 'request', body.request_id), /secret/);
});

console.log(`passport style: ${passed} passed`);
