"""Erase a patient: the rows of the database and the files of the portal. The runs' are `ml_engine.runs.erased_films`;
the act as a whole, with its checks and its report, is `analysis.evaluation.erasing`."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Cast
from django.utils import timezone

from portal.imaging.deidentify import pseudonym
from portal.intake import film_files, quarantine_files
from portal.intake.patient_identifiers import PatientIdentifier
from portal.intake.pseudonym_key import site_key
from portal.models import (
    AuditEvent,
    Erasure,
    Image,
    LabelEvent,
    Patient,
    QuarantinedFile,
    Site,
    Study,
    TextDecision,
    Upload,
)
from portal.people import audit, audit_chain

ERASED = "erased"  # in the place of a name of an erased film
_APPS = ("portal", "ml_engine", "analysis")


# The tombstone -------------------------------------------------------------------------------------------


def keys_of(patient: Patient, films: Sequence[Image]) -> list[str]:
    """The keyed hashes that remain: of the pseudonym, and of the pixels of each film."""
    named = [patient.pseudonym, *sorted({film.pixel_sha256 for film in films} | _pixels_before(films))]
    return [key_of(patient.site, text) for text in named]


def _pixels_before(films: Sequence[Image]) -> set[str]:
    """The hashes of pixels that the films had before text was blacked out."""
    decisions = TextDecision.objects.filter(image__in=films)
    return set(decisions.values_list("pixels_before", flat=True))


class ErasedKeys:
    """The tombstones of a site, by which a file of an erased patient is recognised when it comes again."""

    def __init__(self, site: Site) -> None:
        done = Erasure.objects.filter(site=site, state=Erasure.State.DONE)
        self._site = site
        self._known = {key for keys in done.values_list("keys", flat=True) for key in keys}

    def holds(self, identifier: PatientIdentifier, pixel_sha256: str = "") -> bool:
        """Whether a film is of an erased patient, by its identifier or its pixels, which a file that is none lacks."""
        if not self._known:
            return False
        secret = site_key(self._site)
        named = [pseudonym(secret, spelling) for spelling in identifier.spellings]
        return any(key_of(self._site, text) in self._known for text in [*named, pixel_sha256] if text)


def key_of(site: Site, text: str) -> str:
    """The keyed hash of a pseudonym, or of the hash of a film's pixels, that a tombstone keeps."""
    return hmac.new(site_key(site), f"erased:{text}".encode(), hashlib.sha256).hexdigest()[:32]


# Rows ----------------------------------------------------------------------------------------------------


def rows_of(patient: Patient) -> dict[type[Model], set[Any]]:
    """The rows of the patient by model: those that refer to the patient or a film, to one of these rows, and so on."""
    rows: dict[type[Model], set[Any]] = {
        Patient: {patient.pk},
        Image: set(patient.images.values_list("pk", flat=True)),
        Study: set(patient.studies.values_list("pk", flat=True)),
    }
    grew = True
    while grew:
        grew = False
        for model, name, of in references():
            if of not in rows:
                continue
            there = set(model._base_manager.filter(**{f"{name}__in": rows[of]}).values_list("pk", flat=True))
            if not there <= rows.get(model, set()):
                rows.setdefault(model, set()).update(there)
                grew = True
    return rows


def references() -> list[tuple[type[Model], str, type[Model]]]:
    """Every foreign key that deletes or protects: model, field, and the model that it refers to."""
    return [
        (model, field.name, field.related_model)
        for model in _models()
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey) and field.remote_field.on_delete is not models.SET_NULL
    ]


def _models() -> list[type[Model]]:
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.app_label in _APPS and model is not Erasure
    ]


def delete_rows(erasure: Erasure, quarantined: Sequence[QuarantinedFile] = (), *, report: dict[str, Any]) -> None:
    """Delete every row of the erasure's patient, those of their files in quarantine, and every mention of a film or
    file in other rows; the erasure is done then, with the `report` and the number of rows by table."""
    patient = erasure.patient
    assert patient is not None
    with transaction.atomic():
        films = list(patient.images.all())
        names = names_of(patient, films)
        names += [text for file in quarantined for text in (str(file.uuid), file.source_sha256)]
        rows = rows_of(patient)
        audit.record(
            verb="erase patient",
            site=erasure.site,
            actor=erasure.requested_by,
            target=erasure,
            after={"films": len(films)},
            reason=erasure.reason,
        )
        Erasure.objects.filter(pk=erasure.pk).update(state=Erasure.State.OPEN)
        _blank_acts(patient)
        QuarantinedFile.objects.filter(pk__in=[file.pk for file in quarantined]).delete()
        _scrub(erasure, names, set(rows))
        counts: Counter[str] = Counter()
        for model in reversed(rows):
            if model is not Patient:
                counts[model._meta.db_table] = _delete(model, rows[model])
        Erasure.objects.filter(pk=erasure.pk).update(
            state=Erasure.State.DONE,
            patient=None,
            finished_at=timezone.now(),
            report={**report, "rows": dict(sorted((+counts).items()))},
        )
        _delete(Patient, rows[Patient])
    erasure.refresh_from_db()


def empty_write_ahead_log() -> None:
    """SQLite's log of changes holds the pages that they were made in, with what was deleted from them since."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _delete(model: type[Model], keys: Iterable[Any]) -> int:
    rows = model._base_manager.filter(pk__in=list(keys))
    return int(rows._raw_delete(rows.db) or 0)  # None where there is no row


def names_of(patient: Patient, films: Sequence[Image]) -> list[str]:
    """The texts by which other rows and files may name the patient or a film."""
    studies = list(patient.studies.all())
    texts = [patient.pseudonym, *(study.pseudonym for study in studies)]
    texts += [text for film in films for text in (film.pixel_sha256, film.source_sha256)]
    texts += sorted(_pixels_before(films))
    texts += [str(row.uuid) for row in (patient, *films, *studies)]
    return list(dict.fromkeys(texts))


def _blank_acts(patient: Patient) -> None:
    """The audit of an act of labelling names no film, but says the label. It stays where the act was on others too."""
    labels = LabelEvent.objects.filter(image__patient=patient).values_list("batch", flat=True)
    of_others = LabelEvent.objects.filter(batch__in=labels).exclude(image__patient=patient)
    acts = [str(act) for act in set(labels) - set(of_others.values_list("batch", flat=True))]
    events = AuditEvent.objects.filter(Q(after__act__in=acts) | Q(before__act__in=acts))
    _blank(events, before=None, after=None, reason="")


def _blank(events: QuerySet[AuditEvent], **values: Any) -> None:
    changed = list(events.values_list("pk", flat=True))
    audit_chain.forget_keys(changed)
    AuditEvent.objects.filter(pk__in=changed).update(**values)


def _scrub(erasure: Erasure, names: Sequence[str], erased: set[type[Model]]) -> None:
    """Take the names out of the rows of tables that are not about single films."""
    events = AuditEvent.objects.filter(target_uuid__in=[name for name in names if len(name) == 36])
    _blank(events, target_uuid=erasure.uuid, before=None, after=None, reason="")
    for model in _models():
        if model in erased or any(of in (Image, Patient) for one, _, of in references() if one is model):
            continue
        for field in model._meta.concrete_fields:
            if isinstance(field, models.JSONField | models.TextField) or type(field) is models.CharField:
                _scrub_field(model, field, names)


def _scrub_field(model: type[Model], field: Any, names: Sequence[str]) -> None:
    named = Q()
    for name in names:
        named |= Q(written__contains=name)
    rows = model._base_manager.annotate(written=Cast(field.name, models.TextField())).filter(named)
    if model is AuditEvent:
        audit_chain.forget_keys(rows.values_list("pk", flat=True))
    for pk, value in list(rows.values_list("pk", field.name)):
        model._base_manager.filter(pk=pk).update(**{field.name: without(value, names)})


def without(value: Any, names: Sequence[str]) -> Any:
    """JSON, or a text, without the names: entries and items that hold one are left out, texts say *erased*."""
    if isinstance(value, dict):
        return {key: without(one, names) for key, one in value.items() if not _holds(key, names)}
    if isinstance(value, list):
        return [without(one, names) for one in value if not _is_about(one, names)]
    if isinstance(value, str):
        for name in names:
            value = value.replace(name, ERASED)
    return value


def _is_about(item: Any, names: Sequence[str]) -> bool:
    """Whether an item of a list is about an erased film: the name of one, or an object with it."""
    texts = item.values() if isinstance(item, dict) else [item]
    return any(isinstance(text, str) and _holds(text, names) for text in texts)


def _holds(text: str, names: Sequence[str]) -> bool:
    return any(name in text for name in names)


# Files ---------------------------------------------------------------------------------------------------


def delete_files(patient: Patient, quarantined: Sequence[QuarantinedFile] = ()) -> Counter[str]:
    """Delete the portal's files of the patient: previews, pixels that no other film has, files in quarantine, the names
    that uploads could not match, and mentions in logs. Running it twice is harmless."""
    films = list(patient.images.all())
    counts: Counter[str] = Counter()
    for file in quarantined:
        counts["files in quarantine"] += _unlink(quarantine_files.kept_path(file))
        quarantine_files.remove(file)
    for film in films:
        counts["previews"] += _unlink(film_files.preview_path(film))
        if not Image.objects.filter(pixel_sha256=film.pixel_sha256).exclude(patient=patient).exists():
            counts["pixel files"] += film_files.remove_pixels(film.pixel_sha256)
    datasets = {film.dataset_id for film in films}
    for address in Upload.objects.filter(dataset__in=datasets).values_list("uuid", flat=True):
        counts["lists of names"] += _unlink(film_files.upload_path(f"names-{address}.json"))
    counts["logs"] = sum(overwrite(path, names_of(patient, films)) for path in _logs())
    return +counts


def _unlink(path: Path) -> bool:
    is_there = path.exists()
    path.unlink(missing_ok=True)
    return is_there


def _logs() -> list[Path]:
    folder = Path(settings.DATA_DIR) / "logs"
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


def overwrite(path: Path, names: Sequence[str]) -> bool:
    """Overwrite the names in a text file where they stand, since another process may be appending to it. Returns
    whether there were any."""
    text = path.read_bytes()
    places = [(at, len(name)) for name in names for at in _places(text, name.encode())]
    with path.open("r+b") as file:
        for at, length in places:
            file.seek(at)
            file.write(b"x" * length)
        file.flush()
        os.fsync(file.fileno())
    return bool(places)


def _places(text: bytes, name: bytes) -> list[int]:
    places, at = [], text.find(name)
    while at >= 0:
        places.append(at)
        at = text.find(name, at + len(name))
    return places
