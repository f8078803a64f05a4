// The requests of the second server: HTTP Basic, JSON bodies, answers in camelCase.
// Usage: node five_tables.mjs DEV_JSON
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Browser } from '../clients/browser.mjs';

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const client_id = 'abcdefgh';
const client_secret = 'ijklmnop-qrst:uvwx';
const user = { username: 'yussuf', password: 'correct horse 123456' };
let passed = 0;
const sample = async (name, body) => {
  await body();
  passed += 1;
  console.log(`ok ${name}`);
};

const post = (body, authorization = `Basic ${btoa(`${encodeURIComponent(client_id)}:${encodeURIComponent(client_secret)}`)}`) =>
  fetch(`${dev.issuer}/oauth/token`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(authorization && { Authorization: authorization }) },
    body: JSON.stringify(body),
  });

const issued = async (response, scope) => {
  const body = await response.json();
  assert.equal(response.status, 200, JSON.stringify(body));
  assert.equal(body.tokenType, 'Bearer');
  assert.equal(body.expiresIn, 3600);
  assert.equal(typeof body.accessToken, 'string');
  assert.equal(typeof body.refreshToken, 'string');
  assert.deepEqual(body.scope.split(' ').sort(), scope.split(' ').sort());
  assert.deepEqual(Object.keys(body).sort(), ['accessToken', 'expiresIn', 'refreshToken', 'scope', 'tokenType']);
  return body;
};
const refused = async (response, status, error) => {
  const body = await response.json();
  assert.equal(response.status, status, JSON.stringify(body));
  assert.equal(body.error, error);
};
const algorithm = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url')).alg;

// "Full access" is everything that is not restricted: detail-user is.
const full = 'get_user_profile view-user';

await sample('client_credentials, with a refresh token', async () => {
  const named = await issued(await post({ grant_type: 'client_credentials', scope: 'get_user_profile' }), 'get_user_profile');
  assert.equal(algorithm(named.accessToken), 'HS256');
  const omitted = await issued(await post({ grant_type: 'client_credentials' }), full);
  await issued(await post({ grant_type: 'refresh_token', refresh_token: omitted.refreshToken }), full);
});

await sample('password, of a confidential and of a public client', async () => {
  await issued(await post({ grant_type: 'password', ...user, scope: 'get_user_profile' }), 'get_user_profile');
  await issued(await post({ grant_type: 'password', ...user }), full);
  await issued(await post({ grant_type: 'password', client_id: 'abcdefgh-mobile', ...user }, null), full);
});

await sample('authorization_code, and refreshing with less scope', async () => {
  const url = new URL(`${dev.issuer}/oauth/authorize`);
  url.search = 'client_id=abcdefgh&response_type=code&state=testing&redirect_uri=https%3A%2F%2Frevenuemonster.my&scope=get_user_profile%20view-user';
  const { location, parameters } = await new Browser({ ...dev, users: [user] }).visit(url);
  assert.match(location, /^https:\/\/revenuemonster\.my\?code=[^&]+&state=testing/);
  const code = parameters.get('code');
  const redeem = () => post({ grant_type: 'authorization_code', code, redirect_uri: 'https://revenuemonster.my' });
  let tokens = await issued(await redeem(), full);
  tokens = await issued(
    await post({ grant_type: 'refresh_token', refresh_token: tokens.refreshToken, scope: 'get_user_profile' }), 'get_user_profile');
  // What was left out once may be had again: it is still granted.
  tokens = await issued(await post({ grant_type: 'refresh_token', refresh_token: tokens.refreshToken }), full);
  await refused(
    await post({ grant_type: 'refresh_token', refresh_token: tokens.refreshToken, scope: `${full} detail-user` }), 400, 'invalid_scope');
  await refused(await redeem(), 400, 'invalid_grant');
});

await sample('what is refused', async () => {
  await refused(await post({ grant_type: 'client_credentials' }, `Basic ${btoa('abcdefgh:wrong')}`), 401, 'invalid_client');
  await refused(await post({ grant_type: 'client_credentials' }, null), 401, 'invalid_client');
  await refused(await post({ grant_type: 'password', ...user, password: 'wrong' }), 400, 'invalid_grant');
  await refused(await post({ grant_type: 'password', username: 'yussuf' }), 400, 'invalid_request');
  await refused(await post({ grant_type: 'client_credentials', scope: ['get_user_profile'] }), 400, 'invalid_request');
  await refused(await post({ grant_type: 'client_credentials', scope: 'detail-user' }), 400, 'invalid_scope');
});

console.log(`five tables: ${passed} passed`);
