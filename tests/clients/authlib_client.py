"""Authlib (PyPI) against a running Grantlog: code + PKCE, refresh, introspection, revocation, OpenID Connect,
private_key_jwt, device grant. Usage: python authlib_client.py DEV_JSON"""

import json
import os
import sys
import time

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey, KeySet, RSAKey

from browser import Browser

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http on loopback

with open(sys.argv[1], encoding="utf-8") as file:
    DEV = json.load(file)
ISSUER = DEV["issuer"]
USERNAME = DEV["users"][0]["username"]
METADATA = requests.get(f"{ISSUER}/.well-known/openid-configuration", timeout=10).json()
JWKS = KeySet.import_key_set(requests.get(METADATA["jwks_uri"], timeout=10).json())
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
VERIFIER = "a" * 43 + "-authlib"


def login(session, nonce=None):
    """A code and its tokens."""
    url, _state = session.create_authorization_url(
        METADATA["authorization_endpoint"], code_verifier=VERIFIER, **({"nonce": nonce} if nonce else {})
    )
    returned = Browser(DEV).visit(url)
    return session.fetch_token(METADATA["token_endpoint"], authorization_response=returned, code_verifier=VERIFIER)


def is_active(session, token):
    """What introspection says."""
    return session.introspect_token(METADATA["introspection_endpoint"], token=token).json()["active"]


def id_token(tokens, client_id, nonce=None):
    """The claims of an ID token: signature, issuer, audience, times, nonce and at_hash are checked."""
    token = jwt.decode(tokens["id_token"], JWKS, algorithms=["RS256", "ES256"])
    claims = CodeIDToken(
        token.claims,
        token.header,
        options={
            "iss": {"essential": True, "value": ISSUER},
            "aud": {"essential": True, "value": client_id},
            "at_hash": {"essential": True},
        },
        params={"nonce": nonce, "client_id": client_id, "access_token": tokens["access_token"]},
    )
    claims.validate()
    return claims


def oauth(client, **changes):
    """A session of a client."""
    settings = {"redirect_uri": client["redirect_uris"][0], "code_challenge_method": "S256", **changes}
    return OAuth2Session(client["client_id"], settings.pop("secret", client.get("client_secret")), **settings)


def code_flow():
    """Code with PKCE, the API, refresh, introspection, revocation."""
    session = oauth(DEV["clients"]["confidential"], scope="view-user")
    token = login(session)
    user = session.get(f"{ISSUER}/api/user").json()
    assert user["username"] == USERNAME, user
    refreshed = session.refresh_token(METADATA["token_endpoint"], refresh_token=token["refresh_token"])
    assert refreshed["refresh_token"] != token["refresh_token"]
    assert is_active(session, refreshed["access_token"])
    session.revoke_token(METADATA["revocation_endpoint"], token=refreshed["refresh_token"])
    assert not is_active(session, refreshed["access_token"])


def openid_connect():
    """Discovery, ID token, UserInfo, refreshed ID token."""
    OpenIDProviderMetadata(METADATA).validate()
    client = DEV["clients"]["confidential"]
    session = oauth(client, scope="openid profile offline_access")
    tokens = login(session, "n-0S6")
    claims = id_token(tokens, client["client_id"], "n-0S6")
    user = session.get(METADATA["userinfo_endpoint"]).json()
    assert (user["sub"], user["preferred_username"]) == (claims["sub"], USERNAME), user
    refreshed = session.refresh_token(METADATA["token_endpoint"], refresh_token=tokens["refresh_token"])
    assert id_token(refreshed, client["client_id"])["sub"] == claims["sub"]
    header, _, signature = tokens["id_token"].split(".")
    try:
        jwt.decode(f"{header}.e30.{signature}", JWKS, algorithms=["RS256"])
    except BadSignatureError:
        return
    raise AssertionError("a forged ID token was accepted")


def private_key_jwt():
    """Registration, and authentication with a key of each kind at the token, introspection and revocation endpoints."""
    for alg, key in [("RS256", RSAKey.generate_key(2048)), ("ES256", ECKey.generate_key("P-256"))]:
        metadata = {
            "redirect_uris": ["https://app.example/callback"],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "private_key_jwt",
            "scope": "openid profile",
            "jwks": {"keys": [key.as_dict(private=False)]},
        }
        registered = requests.post(METADATA["registration_endpoint"], json=metadata, timeout=10)
        assert registered.status_code == 201, registered.text
        client = registered.json()
        signing = dict.fromkeys(["token_endpoint_auth_method", "revocation_endpoint_auth_method"], "private_key_jwt")
        session = oauth(client, secret=key, scope="openid profile", **signing)
        session.register_client_auth_method(PrivateKeyJWT(METADATA["token_endpoint"], alg=alg))
        tokens = login(session)
        id_token(tokens, client["client_id"])
        assert is_active(session, tokens["access_token"])
        session.revoke_token(METADATA["revocation_endpoint"], token=tokens["refresh_token"])
        assert not is_active(session, tokens["access_token"])


def device():
    """The device grant: pending, then approved."""
    client = DEV["clients"]["public"]
    form = {"client_id": client["client_id"], "scope": "openid profile"}
    begun = requests.post(METADATA["device_authorization_endpoint"], data=form, timeout=10).json()
    session = oauth(client, scope="openid profile", token_endpoint_auth_method="none")
    poll = {"grant_type": DEVICE, "device_code": begun["device_code"]}
    try:
        session.fetch_token(METADATA["token_endpoint"], **poll)
        raise AssertionError("tokens before an answer")
    except OAuthError as error:
        assert error.error == "authorization_pending", error
    assert "The device is connected" in Browser(DEV).visit(begun["verification_uri_complete"])
    time.sleep(begun["interval"])
    id_token(session.fetch_token(METADATA["token_endpoint"], **poll), client["client_id"])


CLAIMS = [code_flow, openid_connect, private_key_jwt, device]
for claim in CLAIMS:
    claim()
    print(f"ok {claim.__doc__}")
print(f"{len(CLAIMS)} passed, 0 failed")
