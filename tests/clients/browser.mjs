// What a browser does with the authorization endpoint: cookies, forms, redirects by hand.
import assert from 'node:assert/strict';

export class Browser {
  cookies = new Map();

  constructor({ issuer, users: [user] }) {
    this.issuer = new URL(issuer);
    this.user = user;
  }

  async fetch(url, form) {
    const response = await fetch(url, {
      method: form ? 'POST' : 'GET',
      redirect: 'manual',
      headers: {
        cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(form && { 'content-type': 'application/x-www-form-urlencoded', origin: this.issuer.origin }),
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

  // Logs in where that is asked, decides, and returns where the browser is sent, or the page it is left on.
  async visit(url, decision = 'approve') {
    const hidden = (page) =>
      Object.fromEntries([...page.matchAll(/type="hidden" name="([^"]+)" value="([^"]*)"/g)].map((m) => [m[1], m[2]]));
    let response = await this.fetch(url);
    for (let step = 0; step < 6; step++) {
      if (response.status === 303) {
        const location = response.headers.get('location');
        const target = new URL(location, url);
        if (target.origin !== this.issuer.origin) return { location, parameters: target.searchParams };
        url = target;
        response = await this.fetch(url);
        continue;
      }
      if (response.status !== 200) return { status: response.status, page: await response.text() };
      const page = await response.text();
      // Nothing is left to answer.
      if (!page.includes('<form')) return { status: 200, page };
      const fields = page.includes('name="password"')
        ? { username: this.user.username, password: this.user.password }
        : { decision };
      response = await this.fetch(url, { ...hidden(page), ...fields });
    }
    throw new Error('too many steps');
  }

  async approve(url) {
    const { location, page } = await this.visit(url);
    assert.ok(location, page);
    return new URL(location);
  }
}
