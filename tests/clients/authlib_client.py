"""Authlib (PyPI) against a running Grantlog. Usage: python authlib_client.py DEV_JSON"""

import json
import os
import re
import sys
import urllib.parse

import requests
from authlib.integrations.requests_client import OAuth2Session

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http on loopback

with open(sys.argv[1], encoding="utf-8") as file:
    DEV = json.load(file)
ISSUER = DEV["issuer"]
METADATA = requests.get(f"{ISSUER}/.well-known/oauth-authorization-server", timeout=10).json()


def approve(url):
    """What a browser does: cookies, forms, redirects."""
    browser = requests.Session()
    response = browser.get(url, allow_redirects=False, timeout=10)
    for _ in range(6):
        if response.status_code == 303:
            target = urllib.parse.urljoin(url, response.headers["location"])
            if not target.startswith(ISSUER):
                return target
            url = target
            response = browser.get(url, allow_redirects=False, timeout=10)
            continue
        assert response.status_code == 200, response.text
        form = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', response.text))
        if 'name="password"' in response.text:
            form.update(DEV["users"][0])
        else:
            form["decision"] = "approve"
        response = browser.post(url, data=form, headers={"origin": ISSUER}, allow_redirects=False, timeout=10)
    raise AssertionError("too many steps")


def main():
    client = DEV["clients"]["confidential"]
    session = OAuth2Session(
        client["client_id"],
        client["client_secret"],
        scope="view-user",
        redirect_uri=client["redirect_uris"][0],
        code_challenge_method="S256",
    )
    verifier = "a" * 43 + "-authlib"
    url, _state = session.create_authorization_url(METADATA["authorization_endpoint"], code_verifier=verifier)
    token = session.fetch_token(
        METADATA["token_endpoint"], authorization_response=approve(url), code_verifier=verifier
    )
    user = session.get(f"{ISSUER}/api/user").json()
    assert user["username"] == DEV["users"][0]["username"], user
    refreshed = session.refresh_token(METADATA["token_endpoint"], refresh_token=token["refresh_token"])
    assert refreshed["refresh_token"] != token["refresh_token"]
    active = session.introspect_token(METADATA["introspection_endpoint"], token=refreshed["access_token"]).json()
    assert active["active"] is True, active
    session.revoke_token(METADATA["revocation_endpoint"], token=refreshed["refresh_token"])
    active = session.introspect_token(METADATA["introspection_endpoint"], token=refreshed["access_token"]).json()
    assert active["active"] is False, active
    print("1 passed, 0 failed")


main()
