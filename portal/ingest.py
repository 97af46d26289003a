"""A file becomes a checked, de-identified Image, or a quarantine row that says why not.

An import can be repeated at any time: a file that is there already is seen by its hash, and only what its CSV row
says differently now is appended. A killed import goes on where it was when it is run again.
"""

import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from portal import audit, storage
from portal.imaging.decoding import Decoder
from portal.imaging.deidentify import pseudonym
from portal.imaging.errors import UnusableFile
from portal.imaging.pixels import Film, pack, pixel_sha256, preview
from portal.importers.plain_csv import Box, CsvRow
from portal.labelling import append
from portal.models import (
    Dataset,
    Image,
    LabelEvent,
    LabelSource,
    Patient,
    QuarantinedFile,
    Site,
    Study,
    Upload,
    User,
)

IMAGE_ENDINGS = frozenset({".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ""})
SECONDS_BETWEEN_BEATS = 2.0
_SAID = {
    "imported": "films imported",
    "there already": "films were there already",
    "label events": "label events appended for what the CSV says differently now",
    "kept as imported": (
        "films whose patient, projection or split the CSV now gives otherwise: "
        "these are written once, so import into a new dataset to change them"
    ),
    "quarantined": "files in quarantine, each with its reason",
    "quarantined already": "files were in quarantine already",
    "not in the CSV": "files left aside, since the CSV does not name them",
}


@dataclass(frozen=True)
class Entry:
    """One file of an import. `name` is the path inside the folder or zip, as a CSV names it; without a CSV it is
    not kept, since it may hold a patient's name."""

    path: Path
    name: str
    row: CsvRow | None = None
    boxes: tuple[Box, ...] = ()


@dataclass
class Report:
    """What an import did, in numbers; `sentences` says it to a curator."""

    counts: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {**self.counts, "missing": len(self.missing)}

    def sentences(self) -> list[str]:
        lines = [f"{self.counts[name]} {words}" for name, words in _SAID.items() if self.counts[name]]
        if self.missing:
            lines.append(f"{len(self.missing)} files that the CSV names are not there (the first: {self.missing[0]})")
        return lines or ["Nothing to import: no film was found"]


def entries_of_folder(
    folder: Path, rows: Mapping[str, CsvRow] | None, boxes: Mapping[str, tuple[Box, ...]], report: Report
) -> list[Entry]:
    """The files of a folder that an import takes, in a stable order; with a CSV, those that it names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if rows is None:
        return [
            Entry(path, path.relative_to(folder).as_posix(), boxes=boxes.get(path.name, ()))
            for path in files
            if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".")
        ]
    return match_rows({path.relative_to(folder).as_posix(): path for path in files}, rows, boxes, report)


def match_rows(
    files: Mapping[str, Path],
    rows: Mapping[str, CsvRow],
    boxes: Mapping[str, tuple[Box, ...]],
    report: Report,
) -> list[Entry]:
    """A CSV may name a file by its path or, where that is unambiguous, by its last part."""
    by_last: dict[str, list[str]] = {}
    for name in files:
        by_last.setdefault(name.rsplit("/", 1)[-1], []).append(name)
    entries, used = [], set()
    for row in rows.values():
        last = by_last.get(row.filename, [])
        name = row.filename if row.filename in files else (last[0] if len(last) == 1 else None)
        if name is None:
            report.missing.append(row.filename)
            continue
        used.add(name)
        entries.append(Entry(files[name], row.filename, row, boxes.get(row.filename, ())))
    others = [name for name in files if name not in used and not name.lower().endswith((".csv", ".md", ".txt"))]
    report.counts["not in the CSV"] += len(others)
    return entries


def import_entries(
    *,
    upload: Upload,
    entries: Sequence[Entry],
    report: Report,
    actor: User | None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Import every entry into the upload's dataset and close the upload."""
    Upload.objects.filter(pk=upload.pk).update(
        state=Upload.State.IMPORTING, total=len(entries), done=0, heartbeat_at=timezone.now()
    )
    beat = time.monotonic()
    with Decoder() as decoder:
        for done, entry in enumerate(entries, start=1):
            report.counts[_import_one(upload, entry, decoder, report)] += 1
            if time.monotonic() - beat >= SECONDS_BETWEEN_BEATS or done == len(entries):
                beat = time.monotonic()
                Upload.objects.filter(pk=upload.pk).update(done=done, heartbeat_at=timezone.now())
                on_progress(done, len(entries))
    _close(upload, report, actor)
    return report


def _close(upload: Upload, report: Report, actor: User | None) -> None:
    with transaction.atomic():
        Upload.objects.filter(pk=upload.pk).update(
            state=Upload.State.DONE,
            counts=report.to_json(),
            message="; ".join(report.sentences()) + ".",
            finished_at=timezone.now(),
        )
        audit.record(
            verb="import films", site=upload.dataset.site, actor=actor, target=upload.dataset, after=report.to_json()
        )


def _import_one(upload: Upload, entry: Entry, decoder: Decoder, report: Report) -> str:
    """Import one file; the answer is the name of the count that it adds to."""
    dataset = upload.dataset
    source = _sha256_of_file(entry.path)
    if QuarantinedFile.objects.filter(dataset=dataset, source_sha256=source).exists():
        return "quarantined already"
    image = dataset.images.filter(source_sha256=source).first()
    if image is None:
        try:
            film, header = decoder.decode(entry.path)
        except UnusableFile as unusable:
            _quarantine(upload, entry, source, unusable)
            return "quarantined"
        image = dataset.images.filter(pixel_sha256=pixel_sha256(film.stored)).first()
        if image is None:
            _store(dataset, entry, source, film, header)
            return "imported"
    _append_what_changed(image, entry, report)
    return "there already"


def _quarantine(upload: Upload, entry: Entry, source: str, unusable: UnusableFile) -> None:
    QuarantinedFile.objects.create(
        upload=upload,
        dataset=upload.dataset,
        source_sha256=source,
        name=entry.name if entry.row else "",
        reason=unusable.reason,
        sentence=unusable.sentence,
    )


def _store(dataset: Dataset, entry: Entry, source: str, film: Film, header: dict[str, str]) -> Image:
    pixels = pixel_sha256(film.stored)
    storage.write_once(storage.pixel_path(pixels), pack(film.stored))
    row = entry.row or CsvRow(filename=entry.name)
    with transaction.atomic():
        patient = _patient(dataset.site, row, header, pixels)
        image = Image(
            dataset=dataset,
            patient=patient,
            study=_study(patient, header),
            source_sha256=source,
            pixel_sha256=pixels,
            rows=film.stored.shape[0],
            columns=film.stored.shape[1],
            facts=film.facts.to_json(),
            header={key: value for key, value in header.items() if not key.startswith("identifier:")},
            view_position=row.projection or header.get("view_position", "")[:8],
            laterality=header.get("laterality", "")[:2],
            warning=header.get("warning", "")[:200],
            original_name=entry.name if entry.row else "",
            csv_split=row.split,
            extra=dict(row.extra),
        )
        storage.write_once(storage.preview_path(image), preview(film))
        image.save(force_insert=True)
        _append_label(image, entry)
    return image


def _append_label(image: Image, entry: Entry) -> None:
    if entry.row is None or not entry.row.label:
        return
    append(
        [
            LabelEvent(
                image=image,
                value=entry.row.label,
                findings=list(entry.row.findings),
                boxes=[box.to_json() for box in entry.boxes],
                source=LabelSource.IMPORT,
            )
        ]
    )


def _append_what_changed(image: Image, entry: Entry, report: Report) -> None:
    """A corrected CSV is a new opinion of the import: it is appended, and replaces the earlier one of the import."""
    if entry.row is None:
        return
    if _fixed_facts_differ(image, entry.row):
        report.counts["kept as imported"] += 1
    if not entry.row.label:
        return
    last = image.label_events.filter(source=LabelSource.IMPORT).order_by("created_at", "pk").last()
    now = (entry.row.label, list(entry.row.findings), [box.to_json() for box in entry.boxes])
    if last is not None and (last.value, last.findings, last.boxes) == now:
        return
    with transaction.atomic():
        _append_label(image, entry)
    report.counts["label events"] += 1


def _fixed_facts_differ(image: Image, row: CsvRow) -> bool:
    if row.projection and row.projection != image.view_position:
        return True
    if row.split != image.csv_split:
        return True
    return bool(row.patient_id) and pseudonym(site_key(image.dataset.site), row.patient_id) != image.patient.pseudonym


def _patient(site: Site, row: CsvRow, header: Mapping[str, str], pixels: str) -> Patient:
    identifier = row.patient_id or header.get("identifier:patient_id", "")
    # A film without a patient identifier is its own patient.
    name = pseudonym(site_key(site), identifier or f"film {pixels}")
    patient, _ = Patient.objects.get_or_create(
        site=site,
        pseudonym=name,
        defaults={
            "sex": header.get("patient_sex", "")[:1],
            "age_band": age_band(header.get("age_years", "")),
            "identified": bool(identifier),
        },
    )
    return patient


def _study(patient: Patient, header: Mapping[str, str]) -> Study | None:
    uid = header.get("identifier:study_uid", "")
    if not uid:
        return None
    study, _ = Study.objects.get_or_create(patient=patient, pseudonym=pseudonym(site_key(patient.site), uid))
    return study


def site_key(site: Site) -> bytes:
    """The key of a site's pseudonyms, derived from the installation's secret; it is never stored."""
    return hmac.new(settings.PSEUDONYM_SECRET.encode(), site.uuid.bytes, hashlib.sha256).digest()


def age_band(age_years: str) -> str:
    """ "47" -> "40-49"; above 89 -> "90+"; blank stays blank."""
    if not age_years.isdigit():
        return ""
    decade = int(age_years) // 10 * 10
    return "90+" if decade >= 90 else f"{decade}-{decade + 9}"


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
