"""Erase a patient, for example since they withdrew their consent: films, previews, labels, readings, scores, maps, and
every mention of them in rows, run folders and logs. Models that were fitted on their films are withdrawn. What remains
is a tombstone, `portal.models.Erasure`, and in the audit log that somebody did something.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from analysis.models import Evaluation, Worklist
from ml_engine.runs import erased_films
from ml_engine.runs.erased_films import RunsOfFilms
from portal.backups import erasure_list
from portal.backups.erasure_list import ErasedPatient
from portal.intake import erased_patients, quarantined_patients
from portal.intake.import_plans import plan_path
from portal.intake.resumable import discard, part_path
from portal.intake.zip_uploads import zip_path
from portal.models import (
    AuditEvent,
    Cohort,
    Dataset,
    Erasure,
    Image,
    PartialUpload,
    Patient,
    QuarantinedFile,
    Site,
    Split,
    Upload,
    User,
)
from portal.people.access import require
from portal.people.blinding import refuse_withheld
from portal.people.downloads import VERB

LONGEST_REASON = 500
_HANDED_OUT = ("download run", "download report", "export heatmap", "export labels", "export films")
# of portal.people.downloads: files with a line or picture for each film
_FILES_OF_FILMS = (
    *("scores", "readings", "readings of a study", "parts"),
    *("heatmap as DICOM", "segmentation as DICOM"),
)
_WAITING = (Upload.State.RECEIVED, Upload.State.MAPPING, Upload.State.IMPORTING)


class CannotErase(Exception):
    """The message is shown to the user."""


@dataclass(frozen=True)
class ErasurePlan:
    """What erasing a patient means. `copies`: films of other patients with equal pixels, which stay. `handed_out`:
    archives, reports and heatmaps that were downloaded, and that nobody but their holders can delete. `quarantined`:
    files in quarantine at the site, of which those of the patient are deleted. `obstacles`: why it cannot be done
    now."""

    patient: Patient
    films: int
    runs: RunsOfFilms
    copies: int
    handed_out: Sequence[Mapping[str, Any]]
    quarantined: int
    obstacles: Sequence[str]

    @property
    def confirmation(self) -> str:
        """What a person types to confirm."""
        return confirmation_of(self.patient)


def require_manager(person: User, patient: Patient) -> None:
    """Raises PermissionDenied. In which runs and models a film is tells its label, so the patients whom a person reads
    blinded are refused."""
    require(person, "erase patients", patient.site)
    film = patient.images.first()
    if film is not None:
        refuse_withheld(person, film)


def confirmation_of(patient: Patient) -> str:
    return patient.pseudonym[:8]


def plan_erasure(patient: Patient) -> ErasurePlan:
    affected = erased_films.runs_of(patient)
    pixels = patient.images.values("pixel_sha256")
    return ErasurePlan(
        patient=patient,
        films=patient.images.count(),
        runs=affected,
        copies=Image.objects.filter(pixel_sha256__in=pixels).exclude(patient=patient).count(),
        handed_out=_handed_out(patient, affected),
        quarantined=quarantined_patients.kept_at(patient.site),
        obstacles=_obstacles(patient),
    )


def _handed_out(patient: Patient, affected: RunsOfFilms) -> list[dict[str, Any]]:
    """Who was given files with films, labels or results of the patient, without naming the films."""
    films = list(patient.images.values_list("uuid", flat=True))
    names = {run.uuid: run.name for run in affected.runs}
    names |= dict(Evaluation.objects.filter(run__in=affected.runs).values_list("uuid", "run__name"))
    names |= dict(Worklist.objects.filter(run__in=affected.runs).values_list("uuid", "name"))
    names |= dict(Dataset.objects.filter(images__patient=patient).values_list("uuid", "name"))
    names |= dict(Split.objects.filter(members__patient=patient).values_list("uuid", "name"))
    names |= dict(Cohort.objects.filter(members__image__patient=patient).values_list("uuid", "name"))
    is_file = Q(verb__in=_HANDED_OUT) | Q(verb=VERB, after__what__in=_FILES_OF_FILMS)
    events = AuditEvent.objects.filter(is_file, target_uuid__in=[*films, *names])
    return [
        {
            "what": f"{event.verb} {event.after['what']}" if event.verb == VERB and event.after else event.verb,
            "run": names.get(event.target_uuid, "") if event.target_uuid else "",
            "who": event.actor.username if event.actor else "",
            "when": f"{event.created_at:%Y-%m-%d}",
        }
        for event in events.select_related("actor").order_by("created_at")
    ]


def _obstacles(patient: Patient) -> list[str]:
    site = patient.site
    obstacles = []
    if runs := erased_films.under_way(site):
        obstacles.append(
            f"{runs} run{'s are' if runs > 1 else ' is'} queued or running at {site.name} and may use the films; wait, "
            "or cancel."
        )
    waiting = Upload.objects.filter(dataset__site=site, state__in=_WAITING)
    if count := waiting.count():
        first = waiting.select_related("dataset").first()
        assert first is not None
        obstacles.append(
            f"{count} upload{'s wait' if count > 1 else ' waits'} at {site.name}, for example in "
            f"“{first.dataset.name}”, and may hold films of the patient; import or discard."
        )
    partial = [row for row in PartialUpload.objects.filter(dataset__site=site, upload=None) if part_path(row).exists()]
    if partial:
        obstacles.append(
            f"{len(partial)} half-sent upload{'s lie' if len(partial) > 1 else ' lies'} at {site.name} and may hold "
            "films of the patient; finish or discard."
        )
    return obstacles


def erase_patient(*, patient: Patient, reason: str, confirmation: str, actor: User | None) -> Erasure:
    """Files first, then the rows: an erasure that was interrupted goes on when it is begun again. `actor` is None for a
    command on the server. Raises CannotErase and PermissionDenied, changing nothing."""
    if actor is not None:
        require_manager(actor, patient)
    _check(patient, reason, confirmation)
    plan = plan_erasure(patient)
    if plan.obstacles:
        raise CannotErase(" ".join(plan.obstacles))
    return _erase(plan, reason, actor)


def erase_again(erased: Sequence[ErasedPatient]) -> Iterator[str]:
    """At the end of a restore, while nothing works: erase the patients whom the backup has and who were erased after
    it, whatever waits at their site. Gives what was done as sentences."""
    for site in Site.objects.filter(uuid__in={one.site for one in erased}).order_by("name"):
        known = {one.keys[0]: one for one in erased if one.keys and one.site == str(site.uuid)}
        for patient in list(Patient.objects.filter(site=site).select_related("site")):
            one = known.get(erased_patients.key_of(site, patient.pseudonym))
            if one is None:
                continue
            yield from _discard_waiting(site)
            erasure = _erase(
                plan_erasure(patient), f"Erased again after a restore: {one.erasure} of {one.at[:10]}.", None
            )
            yield f"Erased again at {site.name}: a patient with {erasure.report['films']} films."


def _discard_waiting(site: Site) -> Iterator[str]:
    """When the patient was erased, no upload waited at the site. One that the backup has may hold their films."""
    for upload in Upload.objects.filter(dataset__site=site, state__in=_WAITING).select_related("dataset"):
        zip_path(upload).unlink(missing_ok=True)
        plan_path(upload).unlink(missing_ok=True)
        sentence = "Discarded when a backup was restored, since it may hold films of an erased patient; send it again."
        Upload.objects.filter(pk=upload.pk).update(
            state=Upload.State.DISCARDED, message=sentence, finished_at=timezone.now()
        )
        yield f"An upload of “{upload.dataset.name}” was discarded, since it may hold films of an erased patient."
    for partial in PartialUpload.objects.filter(dataset__site=site, upload=None):
        discard(partial)


def _erase(plan: ErasurePlan, reason: str, actor: User | None) -> Erasure:
    patient = plan.patient
    erasure = _begun(patient, reason, actor)
    evaluations = list(Evaluation.objects.filter(run__in=plan.runs.runs))
    quarantined = list(QuarantinedFile.objects.filter(uuid__in=erasure.report["quarantined"]).select_related("dataset"))
    files = erased_patients.delete_files(patient, quarantined)
    erased_films.delete_files(plan.runs, patient)
    for evaluation in evaluations:  # statistics that were kept; what is left is computed again
        shutil.rmtree(Path(settings.DATA_DIR) / "evaluations" / str(evaluation.uuid), ignore_errors=True)
    with transaction.atomic():
        erased_films.withdraw(erasure, plan.runs)
        erased_patients.delete_rows(erasure, quarantined, report=_report(plan, files, erasure.report["nameless"]))
    erased_patients.empty_write_ahead_log()
    return erasure


def _check(patient: Patient, reason: str, confirmation: str) -> None:
    if not reason.strip():
        raise CannotErase("The reason is empty; write why the patient is erased, without names.")
    if len(reason) > LONGEST_REASON:
        raise CannotErase(f"The reason has {len(reason)} characters; use at most {LONGEST_REASON}.")
    if confirmation.strip().lower() != confirmation_of(patient):
        raise CannotErase(
            f"The confirmation is {confirmation.strip()[:40]!r}; type the first 8 characters of the patient's "
            f"pseudonym, {confirmation_of(patient)}. This cannot be undone."
        )


def _begun(patient: Patient, reason: str, actor: User | None) -> Erasure:
    erasure = Erasure.objects.filter(patient=patient, state=Erasure.State.BEGUN).first()
    if erasure is None:
        erasure = Erasure(site=patient.site, patient=patient)
    erasure.reason, erasure.requested_by = reason.strip(), actor
    erasure.keys = erased_patients.keys_of(patient, list(patient.images.all()))
    quarantined = quarantined_patients.quarantined_of(patient)
    before = erasure.report.get("quarantined", [])  # whose bytes an interrupted erasure may have deleted
    erasure.report = {
        "quarantined": [*before, *(str(file.uuid) for file in quarantined.files)],
        "nameless": quarantined.nameless,
    }
    try:
        with transaction.atomic():
            erasure.save()
            erasure_list.note(erasure)
    except OSError as problem:
        raise CannotErase(
            "The list of erasures (HILUM_ERASURE_LIST) cannot be written, so that a restored backup would bring the "
            f"patient back ({problem.strerror}). Nothing was erased; your administrator makes it writable."
        ) from problem
    return erasure


def _report(plan: ErasurePlan, files: Mapping[str, int], nameless: int) -> dict[str, Any]:
    return {
        "films": plan.films,
        "files": dict(files),
        "nameless": nameless,
        "copies": plan.copies,
        "runs": [run.name for run in plan.runs.scored],
        "runs_deleted": [run.name for run in plan.runs.deleted],
        "models": [model.run.name for model in plan.runs.models],
        "handed_out": list(plan.handed_out),
    }
