"""The installation's secret is exchanged for another; pseudonyms stay as they are.

Hilum keeps no identifier from which it could compute pseudonyms under another key. So each site's key stays, encrypted
under the new secret, and files in quarantine are encrypted again. The former secret then opens nothing of the database
and the data folder as they are from now on. It still opens copies from before: backups, and dumps of the database.
"""

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import transaction

from portal.backups.making import fingerprint
from portal.intake.encrypted_files import NotDecrypted, encrypt_again
from portal.intake.pseudonym_key import has_other_key, sealed_under
from portal.intake.quarantine_files import kept_path, preview_path, row_path
from portal.models import QuarantinedFile, Site
from portal.people import audit


class CannotRotate(Exception):
    """Why the secret was not exchanged, as a sentence."""


def rotate(secret: str) -> tuple[int, int]:
    """Exchange the installation's secret for ``secret``. Returns how many sites keep their keys under it, and how many
    files were encrypted again. Raises CannotRotate, and OSError of the disk; begun again, it goes on.

    Nothing else may run meanwhile. Until the setting has the new secret, imports are refused at every site.
    """
    sites = list(Site.objects.order_by("name"))
    for site in sites:
        if has_other_key(site):
            raise CannotRotate(
                f"HILUM_PSEUDONYM_SECRET is not the secret that the films of {site.name} came in with. If an earlier "
                "call of this command has ended, set it to the new secret and start Hilum; otherwise restore the "
                "former one. Nothing was changed."
            )
    count = 0
    for path in _kept_files():
        try:
            count += encrypt_again(path, secret)
        except NotDecrypted as problem:
            raise CannotRotate(
                f"The file in quarantine {path} is damaged, or of another secret: remove it on its page, and call "
                f"this again. {count} files were encrypted again, and no key was."
            ) from problem
    with transaction.atomic():
        for site in sites:
            Site.objects.filter(pk=site.pk).update(sealed_key=sealed_under(secret, site))
        audit.record(
            verb="rotate pseudonym secret",
            site=None,
            actor=None,
            before={"fingerprint": fingerprint(settings.PSEUDONYM_SECRET)},
            after={"fingerprint": fingerprint(secret), "sites": len(sites), "files": count},
        )
    return len(sites), count


def _kept_files() -> Iterator[Path]:
    for file in QuarantinedFile.objects.exclude(kept_at=None).select_related("dataset").order_by("pk").iterator():
        yield from (path for path in (kept_path(file), row_path(file), preview_path(file)) if path.exists())
