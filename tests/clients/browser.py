"""What a browser does with the authorization endpoint and the page for devices: cookies, forms, redirects."""

import re
import urllib.parse

import requests


class Browser:
    """A browser, and the user who sits before it."""

    def __init__(self, dev):
        self.issuer = dev["issuer"]
        self.user = dev["users"][0]
        self.session = requests.Session()

    def visit(self, url, decision="approve"):
        """Logs in where that is asked and decides; where the browser is sent, or the page that it is left on."""
        response = self.session.get(url, allow_redirects=False, timeout=10)
        for _ in range(6):
            if response.status_code == 303:
                target = urllib.parse.urljoin(url, response.headers["location"])
                if not target.startswith(self.issuer):
                    return target
                url = target
                response = self.session.get(url, allow_redirects=False, timeout=10)
                continue
            assert response.status_code == 200, response.text
            if "<form" not in response.text:
                return response.text
            form = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', response.text))
            if 'name="password"' in response.text:
                form.update(self.user)
            else:
                form["decision"] = decision
            response = self.session.post(
                url, data=form, headers={"origin": self.issuer}, allow_redirects=False, timeout=10
            )
        raise AssertionError("too many steps")
