"""The key of a site's pseudonyms, and the guard that it stays the same.

With another key a patient's later films would get another pseudonym: one person would count as two, and could land in
fit and test, without a sign. So each site keeps a fingerprint of its key, and an import under another key is refused.
"""

import hashlib
import hmac

from django.conf import settings

from portal.models import Site


class OtherKey(Exception):
    """The installation's pseudonym secret is not the one that the site's films came in with; a sentence."""


def site_key(site: Site) -> bytes:
    """Return the key of a site's pseudonyms, derived from the installation's secret and never stored."""
    return hmac.new(settings.PSEUDONYM_SECRET.encode(), site.uuid.bytes, hashlib.sha256).digest()


def fingerprint(site: Site) -> str:
    """What tells one key from another, and nothing of the key: 16 hexadecimal digits."""
    return hmac.new(site_key(site), b"fingerprint", hashlib.sha256).hexdigest()[:16]


def has_other_key(site: Site) -> bool:
    """Whether the site's films came in with another key than that of now. Sites without an import have none."""
    return site.key_fingerprint not in ("", fingerprint(site))


def require_same_key(site: Site) -> None:
    """Keep the fingerprint at the first import of a site; later raise OtherKey where the key is another one."""
    Site.objects.filter(pk=site.pk, key_fingerprint="").update(key_fingerprint=fingerprint(site))
    site.refresh_from_db(fields=["key_fingerprint"])
    if has_other_key(site):
        raise OtherKey(
            f"HILUM_PSEUDONYM_SECRET is not the secret that the films of {site.name} came in with, so later films of a "
            "patient would count as another person's. Nothing was imported. Your administrator restores the former "
            "secret and starts Hilum again."
        )
