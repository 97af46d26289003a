"""A small OpenID Connect provider on the loopback interface: discovery, keys, authorisation with PKCE, tokens signed
with RS256, facts about the person. Whoever asks is logged in as `person`."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from portal.project import environment

CLIENT, SECRET = "hilum", "a secret of the tests"


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class IdentityProvider:
    def __init__(self) -> None:
        self.person: dict[str, Any] = {"sub": "7", "preferred_username": "kim", "name": "Kim Lee"}
        self.key = self.signing_key = new_key()
        self.claims: dict[str, Any] = {}  # instead of what belongs in the ID token
        self.subject_of_facts: str | None = None
        self.cancels = False
        self.algorithm = "RS256"
        self.codes: dict[str, dict[str, str]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "userinfo_endpoint": f"{self.address}/userinfo",
            "jwks_uri": f"{self.address}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }

    def keys(self) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [public | {"kid": "1", "alg": "RS256", "use": "sig"}]}

    def authorize(self, query: dict[str, str]) -> str:
        """The address that the browser is sent back to."""
        assert query["client_id"] == CLIENT and query["response_type"] == "code"
        assert "openid" in query["scope"].split() and query["code_challenge_method"] == "S256"
        if self.cancels:
            return f"{query['redirect_uri']}?{urlencode({'error': 'access_denied', 'state': query['state']})}"
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        query = self.codes.pop(form["code"], None)
        if authorization != f"Basic {basic}" or query is None or query["redirect_uri"] != form["redirect_uri"]:
            return None
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != query["code_challenge"]:
            return None
        now = int(time.time())
        claims = {"iss": self.address, "aud": CLIENT, "sub": self.person["sub"], "iat": now, "exp": now + 60}
        key: Any = self.signing_key if self.algorithm == "RS256" else "a shared secret that is long enough"
        signed = jwt.encode(claims | self.claims, key, algorithm=self.algorithm, headers={"kid": "1"})
        return {"access_token": "of the tests", "token_type": "Bearer", "expires_in": 60, "id_token": signed}

    def userinfo(self) -> dict[str, Any]:
        return self.person | ({"sub": self.subject_of_facts} if self.subject_of_facts else {})


def _handler_of(provider: IdentityProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            if url.path == "/.well-known/openid-configuration":
                self._answer(provider.discovery())
            elif url.path == "/keys":
                self._answer(provider.keys())
            elif url.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", provider.authorize(query))
                self.end_headers()
            elif url.path == "/userinfo" and self.headers["Authorization"] == "Bearer of the tests":
                self._answer(provider.userinfo())
            else:
                self.send_error(401)

        def do_POST(self) -> None:
            sent = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            form = {name: values[0] for name, values in sent.items()}
            tokens = provider.token(form, self.headers["Authorization"] or "")
            self._answer(tokens or {"error": "invalid_grant"}, 200 if tokens else 400)

        def _answer(self, facts: dict[str, Any], status: int = 200) -> None:
            body = json.dumps(facts).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    return Handler


@contextmanager
def running() -> Generator[IdentityProvider]:
    provider = IdentityProvider()
    thread = threading.Thread(target=provider.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.server.shutdown()
        provider.server.server_close()
        thread.join()


def settings_for(provider: IdentityProvider) -> dict[str, Any]:
    """SOCIALACCOUNT_PROVIDERS as the environment makes them."""
    names = {
        "HILUM_OIDC_URL": provider.address,
        "HILUM_OIDC_NAME": "Ward log-in",
        "HILUM_OIDC_CLIENT_ID": CLIENT,
        "HILUM_OIDC_CLIENT_SECRET": SECRET,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        return environment.single_sign_on(production=False)
