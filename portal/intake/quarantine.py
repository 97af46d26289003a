"""Files in quarantine: who may look at them and take them away, trying them again, and deleting them."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.intake import film_files, quarantine_files
from portal.intake.encrypted_files import NotDecrypted, decrypt, decrypted
from portal.intake.entries import Entry
from portal.intake.films import Batch, import_batches
from portal.intake.import_report import ImportReport
from portal.intake.name_matching import name_shape
from portal.intake.patient_identifiers import PatientSource
from portal.intake.sources.importing import batch_of
from portal.intake.sources.registry import SOURCES
from portal.intake.waiting import running
from portal.models import Dataset, QuarantinedFile, Site, Upload, User
from portal.people import audit, blinding
from portal.people.access import may, require


class NotInQuarantine(Exception):
    """A sentence for the person who asked."""


@dataclass(frozen=True)
class QuarantineRow:
    """A file as it is shown. `name`: what a table called it, or the shape of that for a person who reads films of the
    site blinded; blank where no table named it."""

    file: QuarantinedFile
    name: str
    may_open: bool
    shows_picture: bool
    kept_until: datetime | None


def is_closed_to(person: User, site: Site) -> bool:
    """Whether the person reads films of the site blinded: a file, or its name, may say what is on such a film."""
    return blinding.withheld_images(person).filter(dataset__site=site).exists()


def require_opening(file: QuarantinedFile, person: User) -> None:
    """Raises PermissionDenied if the person may see neither the picture nor the bytes of the file."""
    site = file.dataset.site
    require(person, "open quarantined files", site)
    if file.upload.uploaded_by_id != person.pk and is_closed_to(person, site):
        row = blinding.open_films(person).first()
        words = row.source_words if row else "a worklist"
        raise PermissionDenied(
            "Another person sent this file, and it may show or name what is on films that you have yet to read "
            f"blinded, for example in {words}. Read them first, or leave the file to the person who sent it."
        )


def open_kept(file: QuarantinedFile, person: User) -> Iterator[bytes]:
    """The file as it came, in pieces; that the person took it is recorded. Raises NotInQuarantine."""
    require_opening(file, person)
    path = quarantine_files.kept_path(file)
    if not path.exists():
        raise NotInQuarantine(
            f"The file is not kept any more: files in quarantine are kept for {settings.QUARANTINE_DAYS} days. Import "
            "it again to keep it again."
        )
    audit.record(
        verb="download quarantined file",
        site=file.dataset.site,
        actor=person,
        target=file,
        after={"dataset": str(file.dataset.uuid), "sha256": file.source_sha256, "bytes": file.bytes_kept},
    )
    return decrypted(path)


def preview_of(file: QuarantinedFile, person: User) -> bytes:
    """A JPEG of what the file shows. Raises NotInQuarantine where there is none."""
    require_opening(file, person)
    try:
        return decrypt(quarantine_files.preview_path(file))
    except (FileNotFoundError, NotDecrypted) as error:
        raise NotInQuarantine("There is no picture of this file.") from error


def kept_in(dataset: Dataset) -> QuerySet[QuarantinedFile]:
    """The files that can be tried again."""
    return dataset.quarantined.filter(kept_at__isnull=False)


def rows_of(files: Iterable[QuarantinedFile], viewer: User, site: Site) -> list[QuarantineRow]:
    """The files as pages and API show them to this person."""
    may_open = may(viewer, "open quarantined files", site)
    is_closed = is_closed_to(viewer, site)
    rows = []
    for file in files:
        is_own = file.upload.uploaded_by_id == viewer.pk
        opens = may_open and file.kept_at is not None and (is_own or not is_closed)
        rows.append(
            QuarantineRow(
                file,
                name=name_shape(file.name) if is_closed and not is_own else file.name,
                may_open=opens,
                shows_picture=opens and file.has_preview,
                kept_until=quarantine_files.kept_until(file),
            )
        )
    return rows


def import_again(upload: Upload, uuids: Sequence[str]) -> None:
    """Import these files of the upload's dataset, those that are still in quarantine, as they were sent: those of a
    published dataset under the rules of the import that brought them."""
    report = ImportReport(patients_of=PatientSource(upload.patients))
    entries: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    with film_files.unpacking_folder(upload) as folder:
        for file in kept_in(upload.dataset).filter(uuid__in=uuids).select_related("dataset", "upload").order_by("pk"):
            rules = (file.upload.source, json.dumps(file.upload.options, sort_keys=True))
            try:
                entries[rules].append(quarantine_files.entry_of(file, folder))
            except (FileNotFoundError, NotDecrypted):
                report.counts["not kept"] += 1
        batches = [_batch(source, json.loads(options), group) for (source, options), group in entries.items()]
        total = sum(batch.rows for batch in batches)
        import_batches(upload=upload, batches=batches, total=total, report=report, actor=upload.uploaded_by)


def _batch(source: str, options: Mapping[str, Any], entries: Sequence[Entry]) -> Batch:
    if source not in SOURCES:  # other files, and a source that a later release does not know
        return Batch(entries, rows=len(entries))
    published = SOURCES[source]
    return batch_of(published, published.options_of(options))(entries, len(entries))


def delete_files(files: QuerySet[QuarantinedFile], *, dataset: Dataset, reason: str, author: User) -> int:
    """Delete rows and bytes for good; the audit keeps hash, why each was in quarantine, and why it was deleted. Returns
    the number of files. Raises NotInQuarantine without a reason, and while an import is running."""
    require(author, "import films", dataset.site)
    if running().filter(dataset=dataset).exists():
        raise NotInQuarantine(f"An import into {dataset.name} is running; delete the files when it has ended.")
    reason = " ".join(reason.split())
    if not 3 <= len(reason) <= 500:
        raise NotInQuarantine("Say why the files are deleted, in 3 to 500 characters; the audit keeps the reason.")
    with transaction.atomic():
        deleted = list(files.filter(dataset=dataset).select_for_update(of=("self",)).select_related("dataset"))
        for file in deleted:
            audit.record(
                verb="delete quarantined file",
                site=dataset.site,
                actor=author,
                target=file,
                before={"dataset": str(dataset.uuid), "sha256": file.source_sha256, "reason": file.reason},
                reason=reason,
            )
        QuarantinedFile.objects.filter(pk__in=[file.pk for file in deleted]).delete()
    for file in deleted:
        quarantine_files.remove(file)
    return len(deleted)


def remove_expired() -> int:
    """Remove the bytes that were kept for long enough; their rows stay. Returns the number of files."""
    before = timezone.now() - timedelta(days=settings.QUARANTINE_DAYS)
    expired = list(QuarantinedFile.objects.filter(kept_at__lt=before).select_related("dataset__site"))
    for file in expired:
        quarantine_files.remove(file)
        QuarantinedFile.objects.filter(pk=file.pk).update(kept_at=None, bytes_kept=0, has_preview=False)
    for dataset in {file.dataset for file in expired}:
        count = sum(file.dataset == dataset for file in expired)
        after = {"files": count, "days": settings.QUARANTINE_DAYS}
        audit.record(verb="remove quarantined files", site=dataset.site, actor=None, target=dataset, after=after)
    return len(expired)
