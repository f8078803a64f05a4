"""A receiver of shared signals: by push and by poll, each token verified with joserfc. Usage: shared_signals.py GRANTLOG DATA"""

import http.server
import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import requests
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

from browser import Browser

GRANTLOG, DATA = sys.argv[1], sys.argv[2]
DEV = json.loads((Path(DATA) / "dev.json").read_text())
ISSUER = DEV["issuer"]
TRANSMITTER = requests.get(f"{ISSUER}/.well-known/ssf-configuration", timeout=10).json()
JWKS = KeySet.import_key_set(requests.get(TRANSMITTER["jwks_uri"], timeout=10).json())
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
VERIFICATION = "https://schemas.openid.net/secevent/ssf/event-type/verification"
REDIRECT_URI = "https://receiver.example/cb"
VERIFIER = "a" * 43 + "-receiver"
CAME = queue.Queue()


def grantlog(*arguments, text=None):
    """What a command answers."""
    command = [GRANTLOG, "--data-dir", DATA, *arguments, *([] if "--json" in arguments else ["--json"])]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return json.loads(done.stdout)


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Takes what is pushed, the second time that it comes."""

    refused = set()

    def do_POST(self):
        """RFC 8935 §2."""
        token = self.rfile.read(int(self.headers["content-length"])).decode()
        assert self.headers["content-type"] == "application/secevent+jwt"
        assert self.headers["authorization"] == "Bearer the-receiver"
        jti = verified(token)["jti"]
        again = jti in self.refused
        self.refused.add(jti)
        if again:
            CAME.put(token)
        self.send_response(202 if again else 503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Says nothing."""


def verified(token):
    """The claims of a Security Event Token."""
    decoded = jwt.decode(token, JWKS, algorithms=["RS256"])
    assert decoded.header["typ"] == "secevent+jwt", decoded.header
    claims = decoded.claims
    assert claims["iss"] == ISSUER == TRANSMITTER["issuer"]
    assert claims["aud"] == CLIENT["client_id"]
    assert "sub" not in claims and "exp" not in claims and len(claims["events"]) == 1
    return claims


def event(claims):
    """Its type, and what it says."""
    return next(iter(claims["events"].items()))


def log_in():
    """The demo's user at the receiver."""
    session = OAuth2Session(
        CLIENT["client_id"],
        CLIENT["client_secret"],
        scope="openid view-user",
        redirect_uri=REDIRECT_URI,
        code_challenge_method="S256",
    )
    url, _ = session.create_authorization_url(f"{ISSUER}/oauth/authorize", code_verifier=VERIFIER)
    returned = Browser(DEV).visit(url)
    session.fetch_token(f"{ISSUER}/oauth/token", authorization_response=returned, code_verifier=VERIFIER)


def call(method, url, **arguments):
    """A request of the receiver's."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    return requests.request(method, url, headers=headers, timeout=30, **arguments)


for scope in ("ssf.manage", "ssf.read"):
    grantlog("scope", "define", scope, "--description", "Signals about users", "--restricted")
METADATA = {
    "client_name": "Receiver",
    "redirect_uris": [REDIRECT_URI],
    "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
    "token_endpoint_auth_method": "any",
    "scope": "openid view-user ssf.manage ssf.read",
    "default_scopes": "view-user",
}
CLIENT = grantlog("client", "create", "--json", "/dev/stdin", text=json.dumps(METADATA))
grantlog("client", "approve-scope", CLIENT["client_id"], "ssf.manage", "--reason", "a test")
AUTH = (CLIENT["client_id"], CLIENT["client_secret"])
FORM = {"grant_type": "client_credentials", "scope": "ssf.manage"}
TOKEN = requests.post(f"{ISSUER}/oauth/token", data=FORM, auth=AUTH, timeout=10).json()["access_token"]

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
threading.Thread(target=server.serve_forever, daemon=True).start()
delivery = {
    "method": "urn:ietf:rfc:8935",
    "endpoint_url": f"http://127.0.0.1:{server.server_port}/events",
    "authorization_header": "Bearer the-receiver",
}
push = call("POST", TRANSMITTER["configuration_endpoint"], json={"delivery": delivery})
assert push.status_code == 201, push.text
poll = call("POST", TRANSMITTER["configuration_endpoint"], json={}).json()
asked = {"stream_id": push.json()["stream_id"], "state": "c29tZSBzdGF0ZQ"}
assert call("POST", TRANSMITTER["verification_endpoint"], json=asked).status_code == 204
assert event(verified(CAME.get(timeout=30))) == (VERIFICATION, {"state": asked["state"]})

log_in()
user = DEV["users"][0]["username"]
grantlog("user", "disable", user, "--reason", "private words")
grantlog("user", "enable", user)
expected = [RISC + "account-disabled", CAEP + "session-revoked", RISC + "account-enabled"]
pushed = [verified(CAME.get(timeout=30)) for _ in expected]
assert [event(claims)[0] for claims in pushed] == expected, pushed
assert all(claims["sub_id"]["format"] == "iss_sub" for claims in pushed), pushed
assert "private words" not in json.dumps(pushed)

answer = call("POST", poll["delivery"]["endpoint_url"], json={"maxEvents": 2}).json()
assert len(answer["sets"]) == 2 and answer["moreAvailable"], answer
rest = call("POST", poll["delivery"]["endpoint_url"], json={"ack": list(answer["sets"])}).json()
polled = [verified(token) for token in [*answer["sets"].values(), *rest["sets"].values()]]
assert sorted(event(claims)[0] for claims in polled) == sorted(expected), polled
began = time.monotonic()
threading.Timer(1, lambda: grantlog("user", "disable", user, "--reason", "a test")).start()
late = call("POST", poll["delivery"]["endpoint_url"], json={"ack": list(rest["sets"])}).json()
assert late["sets"] and time.monotonic() - began > 1, late
time.sleep(1)
grantlog("user", "enable", user)
print("ok: a receiver of shared signals, by push and poll")
