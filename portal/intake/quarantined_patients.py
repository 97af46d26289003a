"""Files in quarantine of a patient who is erased: they are kept as they came, so whose they are has to be looked up."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from portal.imaging.decoding import Decoder
from portal.imaging.deidentify import pseudonym
from portal.imaging.errors import UnusableFile
from portal.imaging.unusable_patient import HEAD_BYTES
from portal.intake import quarantine_files
from portal.intake.encrypted_files import NotDecrypted
from portal.intake.patient_identifiers import spellings_of_number
from portal.intake.pseudonym_key import site_key
from portal.models import Patient, QuarantinedFile, Site


@dataclass(frozen=True)
class QuarantinedOf:
    """The kept files that table or header say are of a patient, and the number of those of which neither says whose
    they are."""

    files: list[QuarantinedFile]
    nameless: int


def kept_at(site: Site) -> int:
    """The number of files in quarantine of the site whose bytes are kept."""
    return QuarantinedFile.objects.filter(dataset__site=site, kept_at__isnull=False).count()


def quarantined_of(patient: Patient) -> QuarantinedOf:
    """What is kept in quarantine of the patient, by the identifiers of rows and headers."""
    files: list[QuarantinedFile] = []
    secret, nameless = site_key(patient.site), 0
    for file, identifiers in _with_identifiers(patient.site):
        spellings = {spelling for identifier in identifiers for spelling in spellings_of_number(identifier)}
        if any(pseudonym(secret, spelling) == patient.pseudonym for spelling in spellings):
            files.append(file)
        nameless += not identifiers
    return QuarantinedOf(files, nameless)


def _with_identifiers(site: Site) -> Iterator[tuple[QuarantinedFile, set[str]]]:
    """Each kept file of the site, with the raw identifiers of its row and its header."""
    kept = QuarantinedFile.objects.filter(dataset__site=site, kept_at__isnull=False).select_related("dataset")
    files = list(kept.order_by("pk"))
    if not files:
        return
    with Decoder() as decoder, tempfile.TemporaryDirectory() as folder:
        head = Path(folder) / "head"
        for file in files:
            identifiers: set[str] = set()
            with suppress(OSError, NotDecrypted, UnusableFile):
                row = quarantine_files.row_of(file)
                identifiers.add(row.patient_id if row else "")
                quarantine_files.write_head(file, head, size_bytes=HEAD_BYTES)
                identifiers.add(decoder.patient_of_unusable(head))
            yield file, identifiers - {""}
