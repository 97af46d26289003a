"""What an authenticator app computes (RFC 6238), written out, and a security key that nobody holds."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData


def code_of(secret: str, *, at: float | None = None) -> str:
    counter = int(time.time() if at is None else at) // 30
    digest = hmac.new(base64.b32decode(secret), counter.to_bytes(8, "big"), hashlib.sha1).digest()
    start = digest[-1] & 15
    return str(int.from_bytes(digest[start : start + 4], "big") % 2**31 % 10**6).zfill(6)


def made_up_key(
    name: bytes = b"a key of the tests", private: ec.EllipticCurvePrivateKey | None = None
) -> dict[str, Any]:
    """What a browser sends of a new security key, of which nobody, or the caller, has the `private` part."""
    public = ES256.from_cryptography_key((private or ec.generate_private_key(ec.SECP256R1())).public_key())
    of_key = AttestedCredentialData.create(bytes(16), name, public)
    facts = AuthenticatorData.create(hashlib.sha256(b"testserver").digest(), AuthenticatorData.FLAG.AT, 0, of_key)
    client = b'{"type":"webauthn.create","challenge":"AAAA","origin":"https://testserver"}'
    return {
        "type": "public-key",
        "id": websafe_encode(name),
        "rawId": websafe_encode(name),
        "response": {
            "clientDataJSON": websafe_encode(client),
            "attestationObject": websafe_encode(AttestationObject.create("none", facts, {})),
        },
        "clientExtensionResults": {},
    }
