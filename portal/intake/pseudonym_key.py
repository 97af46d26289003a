"""The key of a site's pseudonyms, and the guard that it stays the same.

The key follows from the installation's secret. Where that secret was exchanged (portal.backups.key_rotation), the site
keeps its key, encrypted under the new one: identifiers are not kept, so nothing could compute other pseudonyms.

With another key a patient's later films would get another pseudonym: one person would count as two, and could land in
fit and test, without a sign. So each site keeps a fingerprint of its key, and an import under another key is refused.
"""

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from portal.models import Site

_NONCE_BYTES = 12


class OtherKey(Exception):
    """The installation's pseudonym secret is not the one that the site's films came in with; a sentence."""


def site_key(site: Site) -> bytes:
    """The key of a site's pseudonyms, 32 bytes, which is never stored in the clear. Raises OtherKey where it was
    encrypted under another secret than the installation's."""
    if not site.sealed_key:
        return hmac.new(settings.PSEUDONYM_SECRET.encode(), site.uuid.bytes, hashlib.sha256).digest()
    sealed = bytes.fromhex(site.sealed_key)
    try:
        return _cipher(settings.PSEUDONYM_SECRET).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], site.uuid.bytes)
    except InvalidTag as error:
        raise OtherKey(_refusal(site)) from error


def sealed_under(secret: str, site: Site) -> str:
    """The key of a site, encrypted by AES-256-GCM under a secret, as hexadecimal digits. Raises OtherKey."""
    nonce = os.urandom(_NONCE_BYTES)
    return (nonce + _cipher(secret).encrypt(nonce, site_key(site), site.uuid.bytes)).hex()


def _cipher(secret: str) -> AESGCM:
    return AESGCM(hmac.new(secret.encode(), b"sealed keys", hashlib.sha256).digest())


def fingerprint(site: Site) -> str:
    """What tells one key from another, and nothing of the key: 16 hexadecimal digits."""
    return hmac.new(site_key(site), b"fingerprint", hashlib.sha256).hexdigest()[:16]


def has_other_key(site: Site) -> bool:
    """Whether the site's films came in with another key than that of now. Sites without an import have none."""
    try:
        return site.key_fingerprint not in ("", fingerprint(site))
    except OtherKey:
        return True


def require_same_key(site: Site) -> None:
    """Keep the fingerprint at the first import of a site; later raise OtherKey where the key is another one."""
    site.refresh_from_db(fields=["key_fingerprint", "sealed_key"])
    Site.objects.filter(pk=site.pk, key_fingerprint="").update(key_fingerprint=fingerprint(site))
    site.refresh_from_db(fields=["key_fingerprint"])
    if has_other_key(site):
        raise OtherKey(_refusal(site))


def _refusal(site: Site) -> str:
    return (
        f"HILUM_PSEUDONYM_SECRET is not the secret that the films of {site.name} came in with, so later films of a "
        "patient would count as another person's. Nothing was imported. Your administrator restores the secret that "
        "Hilum worked with last and starts Hilum again."
    )
