// Headless Chromium against a running Grantlog: the login, consent, device, logout and account pages, with JavaScript on
// and off. Usage: node chromium.mjs DEV_JSON CHROMIUM
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import puppeteer from 'puppeteer-core';

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { issuer, users: [user], clients } = dev;
const PASSWORD_MADE_HERE = 'a horse, a battery, a staple';

// The relying party: notes with what the browser comes back, and shows a page.
const returns = [];
const app = createServer((request, response) => {
  const url = new URL(request.url, 'http://app.example');
  if (url.pathname === '/callback') returns.push(url);
  response.setHeader('content-type', 'text/html');
  response.end('<!doctype html><html lang="en"><title>Back</title><h1>Back at the application</h1>');
});
await new Promise((resolve) => app.listen(0, '127.0.0.1', resolve));
const callback = `http://127.0.0.1:${app.address().port}/callback`;

const browser = await puppeteer.launch({
  executablePath: process.argv[3],
  // Where tests run as root, in a container, Chromium's own sandbox does not start.
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
});

// What a page says against itself: errors, and what its policy refused.
function complaints(page) {
  const heard = [];
  page.on('pageerror', (error) => heard.push(`error: ${error.message}`));
  page.on('console', (message) => {
    // A favicon is nobody's complaint; a refused form answers 4xx, which Chromium writes to the console.
    const failed = /Failed to load resource: the server responded with a status of/.test(message.text());
    if (message.type() === 'error' && !failed) heard.push(`console: ${message.text()}`);
  });
  return heard;
}

// Checks what holds for every page: it is painted with our style, nothing complains, each input has a label and each
// button a name, there is one heading of the first level, a language and a title.
async function look(page, heard, title) {
  assert.equal(await page.title(), title);
  const tree = await page.accessibility.snapshot({ interestingOnly: true });
  const unnamed = [];
  let headings = 0;
  const walk = (node) => {
    const named = ['textbox', 'button', 'link', 'checkbox', 'combobox', 'heading'].includes(node.role);
    if (named && !node.name) unnamed.push(node.role);
    if (node.role === 'heading' && node.level === 1) headings += 1;
    (node.children ?? []).forEach(walk);
  };
  walk(tree);
  assert.deepEqual(unnamed, [], `${title}: without a name`);
  assert.equal(headings, 1, `${title}: headings of the first level`);
  const measured = await page.evaluate(() => {
    const inputs = [...document.querySelectorAll('input:not([type=hidden])')];
    const main = document.querySelector('main').getBoundingClientRect();
    return {
      unlabelled: inputs.filter((input) => input.labels.length === 0).map((input) => input.name),
      lang: document.documentElement.lang,
      drawn: main.width > 100 && main.height > 50,
      wide: document.documentElement.scrollWidth > window.innerWidth,
      // The page's own style was let through by its policy.
      styled: getComputedStyle(document.querySelector('main')).maxWidth !== 'none',
      scripts: document.scripts.length,
    };
  });
  assert.deepEqual(measured, { unlabelled: [], lang: 'en', drawn: true, wide: false, styled: true, scripts: 0 }, title);
  const picture = await page.screenshot({ optimizeForSpeed: true });
  assert.ok(picture.length > 2000, `${title}: nothing was painted`);
  assert.deepEqual(heard, [], title);
}

// Presses a button by its name, and waits for the page that it leads to.
async function press(page, name) {
  const button = await page.waitForSelector(`::-p-aria([name="${name}"][role="button"])`, { timeout: 5000 });
  await Promise.all([page.waitForNavigation({ waitUntil: 'load' }), button.click()]);
}

async function fill(page, values) {
  for (const [label, value] of Object.entries(values)) {
    const field = await page.waitForSelector(`::-p-aria([name="${label}"][role="textbox"])`, { timeout: 5000 });
    await field.evaluate((input) => { input.value = ''; });
    await field.type(value);
  }
}

const logIn = async (page, password) => {
  await fill(page, { 'User name': user.username, Password: password });
  await press(page, 'Log in');
};

function authorize(scope) {
  const verifier = randomBytes(32).toString('base64url');
  const url = new URL('/oauth/authorize', issuer);
  url.search = new URLSearchParams({
    response_type: 'code', client_id: clients.public.client_id, redirect_uri: callback, scope, state: 's',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
  });
  return { url: url.href, verifier };
}

const post = async (path, form) => {
  const response = await fetch(new URL(path, issuer), {
    method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ client_id: clients.public.client_id, ...form }).toString(),
  });
  return { status: response.status, body: await response.json() };
};

async function consent(page, heard) {
  const application = '\u2068Demo Native Application\u2069';
  const denied = authorize('openid profile');
  await page.goto(denied.url);
  await look(page, heard, 'Log in');
  await logIn(page, 'wrong');
  await look(page, heard, 'Error: Log in');
  await logIn(page, user.password);
  await look(page, heard, `${application} asks for access`);
  await press(page, 'Deny');
  assert.equal(await page.title(), 'Back');
  assert.equal(returns.at(-1).searchParams.get('error'), 'access_denied');
  const { url, verifier } = authorize('openid profile');
  await page.goto(url);
  await press(page, 'Approve');
  const back = returns.at(-1).searchParams;
  assert.equal(back.get('state'), 's');
  const { status, body } = await post('/oauth/token', {
    grant_type: 'authorization_code', code: back.get('code'), redirect_uri: callback, code_verifier: verifier,
  });
  assert.equal(status, 200, JSON.stringify(body));
}

async function device(page, heard) {
  const application = '\u2068Demo Native Application\u2069';
  for (const [answer, title, status] of [
    ['Deny', 'The device was denied', 400], ['Approve', 'The device is connected', 200],
  ]) {
    const { body: begun } = await post('/oauth/device_authorization', { scope: 'openid' });
    await page.goto(begun.verification_uri);
    await look(page, heard, 'Connect a device');
    await fill(page, { Code: begun.user_code.toLowerCase() });
    await press(page, 'Continue');
    await look(page, heard, `${application} on another device asks for access`);
    await press(page, answer);
    await look(page, heard, title);
    const grant_type = 'urn:ietf:params:oauth:grant-type:device_code';
    const polled = await post('/oauth/token', { grant_type, device_code: begun.device_code });
    assert.equal(polled.status, status, JSON.stringify(polled.body));
  }
}

async function account(page, heard, [before, after]) {
  await page.goto(`${issuer}/account`);
  await look(page, heard, 'Your account');
  await page.goto(`${issuer}/account/sessions`);
  await look(page, heard, 'Where you are logged in');
  await page.goto(`${issuer}/account/applications`);
  const title = 'Applications with access to your account';
  await look(page, heard, title);
  await press(page, 'Remove the access of \u2068Demo Native Application\u2069');
  await look(page, heard, title);
  await page.goto(`${issuer}/account/password`);
  await look(page, heard, 'Change your password');
  await fill(page, { 'Current password': before, 'New password': after, 'New password again': `${after}!` });
  await press(page, 'Change password');
  await look(page, heard, 'Error: Change your password');
  await fill(page, { 'Current password': before, 'New password': after, 'New password again': after });
  await press(page, 'Change password');
  assert.doesNotMatch(await page.title(), /Error/);
  await look(page, heard, await page.title());
}

// A new password logs the browser out.
async function logout(page, heard, [, password]) {
  await page.goto(`${issuer}/account`);
  await logIn(page, password);
  await page.goto(`${issuer}/logout`);
  await look(page, heard, 'Log out?');
  await press(page, 'Log out');
  await look(page, heard, 'You are logged out');
  await page.goto(`${issuer}/account`);
  await look(page, heard, 'Log in');
}

let passed = 0;
try {
  const passwords = [user.password, PASSWORD_MADE_HERE]; // and back again
  for (const scripts of [true, false]) {
    // A browser of its own: no cookie of the one before.
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    await page.setJavaScriptEnabled(scripts);
    await page.setViewport({ width: 360, height: 740 });
    page.setDefaultTimeout(15_000);
    const heard = complaints(page);
    user.password = passwords[0];
    for (const [name, claim] of Object.entries({ consent, device, account, logout })) {
      await claim(page, heard, passwords);
      console.log(`ok ${name}, JavaScript ${scripts ? 'on' : 'off'}`);
      passed += 1;
    }
    passwords.reverse();
    await context.close();
  }
} finally {
  await browser.close();
  app.close();
}
console.log(`${passed} passed, 0 failed`);
