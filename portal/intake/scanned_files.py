"""What the virus scanner says of the files of an import, one by one, before anything decodes or keeps them.

The files of a zip are scanned while they are unpacked (portal.intake.zip_uploads); all others come through here: films
just before they are decoded, tables before they are opened.
"""

from pathlib import Path

from django.conf import settings
from django.db import transaction

from portal.imaging.errors import UnusableFile
from portal.intake.virus_scan import NotScanned, signature_in
from portal.models import Dataset, Site, User
from portal.people import audit

INFECTED, TOO_LARGE = "infected", "not_scanned"  # reasons of files that quarantine does not keep
RAISE_LIMIT = "Ask your administrator to raise its StreamMaxLength, or leave the file out."


class Infected(Exception):
    """The virus scanner found something. The message is shown to the user."""

    def __init__(self, signature: str, sentence: str) -> None:
        self.signature = signature
        super().__init__(sentence)


class TooLargeToScan(Exception):
    """The message is shown to the user."""


class InfectedFilm(UnusableFile):
    def __init__(self, signature: str) -> None:
        self.signature = signature
        super().__init__(
            INFECTED,
            f"The virus scanner found {signature} in this file. It was not opened and is not kept here. Have the "
            "computer that it came from looked at, and export the film again.",
        )


def film_refusal(path: Path) -> UnusableFile | None:
    """Why the file may not be decoded; None where the scanner finds nothing, and where there is none. Raises
    ScannerAway."""
    try:
        signature = _signature(path)
    except NotScanned:
        return UnusableFile(
            TOO_LARGE,
            f"This file is larger than what the virus scanner takes, and nothing is imported unscanned. {RAISE_LIMIT}",
        )
    return InfectedFilm(signature) if signature else None


def require_clean(path: Path, *, words: str) -> None:
    """Let the file, a table or the like, through only if nothing is found in it. `words` name it in messages, which are
    stored. Raises Infected, TooLargeToScan and ScannerAway."""
    if not path.is_file():  # whoever opens it says so
        return
    try:
        signature = _signature(path)
    except NotScanned:
        raise TooLargeToScan(
            f"{words} is larger than what the virus scanner takes, and nothing is imported unscanned. {RAISE_LIMIT}"
        ) from None
    if signature:
        raise Infected(
            signature,
            f"The virus scanner found {signature} in {words}. It was not opened, and nothing was imported. Have the "
            "computer that it came from looked at, and import again with a clean copy.",
        )


def _signature(path: Path) -> str:
    return "" if settings.SCANNER is None else signature_in(path, settings.SCANNER)


def record_finding(
    *, signature: str, site: Site, author: User | None, dataset: Dataset | None = None, **facts: str
) -> None:
    """Record it in the audit; `facts` say of which upload or file."""
    with transaction.atomic():
        after = {**facts, "signature": signature}
        audit.record(verb="find virus", site=site, actor=author, target=dataset, after=after)
