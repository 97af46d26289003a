"""Import studies of a PACS: fetch their films to the disk, then import them like a folder.

A killed import goes on: films that are on the disk are not fetched again. They and the list of studies, whose
identifiers the database does not hold, are removed when the import ends.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.utils import timezone

from portal.dicomweb.client import InstanceFound, PacsClient, PacsError, PacsUnreachable, StudyFound, StudyQuery, is_uid
from portal.dicomweb.targets import PacsTarget
from portal.imaging.deidentify import RADIOGRAPH_MODALITIES
from portal.intake import film_files
from portal.intake.entries import entries_of_folder
from portal.intake.films import SECONDS_BETWEEN_HEARTBEATS, import_entries
from portal.intake.import_plans import ImportPlan, PlanKind
from portal.intake.import_report import ImportReport
from portal.intake.patient_identifiers import PatientSource
from portal.intake.planned_imports import begin_planned
from portal.intake.quotas import require_room
from portal.models import Dataset, Site, Upload, User
from portal.people import audit
from portal.people.access import require

T = TypeVar("T")
MOST_STUDIES_LISTED = 200
MOST_STUDIES = 5_000  # of one import
TRIES = 3
UNREACHABLE_IN_A_ROW = 3  # after which the rest is not asked for


class InvalidPacsRequest(Exception):
    """A sentence for the person who searches or imports."""


def targets_of(site: Site) -> list[PacsTarget]:
    return [target for target in settings.PACS_TARGETS if target.is_of(site.name)]


def target_named(name: str, site: Site) -> PacsTarget:
    """Raises InvalidPacsRequest."""
    targets = targets_of(site)
    target = next((target for target in targets if target.name == name), None)
    if target is None:
        names = ", ".join(target.name for target in targets) or "none; an administrator lists them in HILUM_PACS_FILE"
        raise InvalidPacsRequest(f"{site.name} has no PACS {name[:40]!r}; it has: {names}.")
    return target


@dataclass(frozen=True)
class FoundStudies:
    """At most MOST_STUDIES_LISTED studies, the latest first. `has_more`: the PACS has others."""

    studies: list[StudyFound]
    has_more: bool


def search(*, target: PacsTarget, query: StudyQuery, site: Site, author: User | None) -> FoundStudies:
    """The studies that have radiographs, as far as the PACS states modalities. What was searched for is recorded, but
    not the patient. Raises PacsError and InvalidPacsRequest."""
    if author is not None:
        require(author, "import films", site)
    if query.first_day and query.last_day and query.first_day > query.last_day:
        raise InvalidPacsRequest(f"The first day, {query.first_day}, is after the last, {query.last_day}.")
    if not (query.first_day or query.last_day or query.patient_id):
        raise InvalidPacsRequest("Nothing narrows the search; enter days or the identifier of a patient.")
    if any(sign in query.patient_id for sign in "*?\\\0") or len(query.patient_id) > 64:
        raise InvalidPacsRequest("The identifier of a patient has at most 64 characters, and none of * ? and \\.")
    if query.modality and query.modality not in RADIOGRAPH_MODALITIES:
        known = ", ".join(sorted(RADIOGRAPH_MODALITIES))
        raise InvalidPacsRequest(f"The modality is {query.modality[:20]!r}; the modalities of radiographs are {known}.")
    with PacsClient(target) as client:
        studies = client.studies(query, limit=MOST_STUDIES_LISTED + 1)
    after = {
        "pacs": target.name,
        "first day": str(query.first_day or ""),
        "last day": str(query.last_day or ""),
        "modality": query.modality,
        "by patient": bool(query.patient_id),
        "studies": len(studies),
    }
    audit.record(verb="search PACS", site=site, actor=author, after=after)
    listed = studies[:MOST_STUDIES_LISTED]
    radiographs = [one for one in listed if not one.modalities or RADIOGRAPH_MODALITIES.intersection(one.modalities)]
    return FoundStudies(radiographs, has_more=len(studies) > MOST_STUDIES_LISTED)


def plan_of(*, target: PacsTarget, studies: Sequence[str]) -> ImportPlan:
    """Raises InvalidPacsRequest."""
    chosen = list(dict.fromkeys(studies))
    if not chosen:
        raise InvalidPacsRequest("No study is chosen; choose those to import.")
    if len(chosen) > MOST_STUDIES:
        raise InvalidPacsRequest(f"{len(chosen)} studies are chosen; import at most {MOST_STUDIES} at once.")
    if wrong := [study for study in chosen if not is_uid(study)]:
        raise InvalidPacsRequest(f"{len(wrong)} of the chosen studies have no valid UID: expected digits and points.")
    return ImportPlan(PlanKind.PACS, [target.name, *chosen])


def import_studies(
    upload: Upload, items: Sequence[str], *, on_progress: Callable[[int, int], None] | None = None
) -> None:
    """Fetch and import. `items`: the name of the PACS and UIDs of studies. Raises PacsError where nothing could be
    fetched, InvalidPacsRequest where the PACS is not listed any more, and OSError."""
    target = target_named(items[0], upload.dataset.site)
    report = ImportReport(patients_of=PatientSource(upload.patients))
    folder = fetched_folder(upload)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for unfinished in folder.glob("*.part"):  # of an import that was killed
        unfinished.unlink()
    with PacsClient(target) as client:
        fetching = _Fetching(upload, client, target, report)
        fetching.fetch(items[1:])
    if fetching.failure is not None and not any(folder.glob("*.dcm")):
        raise fetching.failure
    entries = entries_of_folder(folder, None, None, report)
    actor, shown = upload.uploaded_by, on_progress or (lambda done, total: None)
    import_entries(upload=upload, entries=entries, report=report, actor=actor, on_progress=shown)


def fetched_folder(upload: Upload) -> Path:
    return film_files.upload_path(f"{upload.uuid}.fetched")


def forget_fetched(upload: Upload) -> None:
    shutil.rmtree(fetched_folder(upload), ignore_errors=True)


class _Fetching:
    """The films of an import's studies, written into a folder; what could not be fetched is counted in the report."""

    def __init__(self, upload: Upload, client: PacsClient, target: PacsTarget, report: ImportReport) -> None:
        self._upload, self._client, self._report = upload, client, report
        self._folder = fetched_folder(upload)
        self._bytes = sum(path.stat().st_size for path in self._folder.glob("*.dcm"))
        self._beat = _Beat(upload, target)
        self._unreachable = 0  # times in a row
        self.failure: PacsError | None = None

    def fetch(self, studies: Sequence[str]) -> None:
        """Raises QuotaReached and OSError."""
        for number, study in enumerate(studies):
            self._beat.total = self._beat.done + len(studies) - number
            films = self._films(study)
            self._beat.total += len(films) - 1
            for film in films:
                self._beat.step()
                self._film(film)
        self._beat.end()

    def _films(self, study: str) -> list[InstanceFound]:
        instances = self._tried(lambda: self._client.instances(study), otherwise="studies not fetched")
        if instances is None:
            return []
        films = [one for one in instances if one.modality in RADIOGRAPH_MODALITIES or not one.modality]
        self._report.counts["other modalities"] += len(instances) - len(films)
        self._report.counts["studies empty"] += not instances
        return films

    def _film(self, film: InstanceFound) -> None:
        path = self._folder / f"{hashlib.sha256(film.uid.encode()).hexdigest()[:32]}.dcm"
        if path.exists():  # fetched before the import was killed
            return
        size = self._tried(lambda: self._client.fetch(film, path, beat=self._beat.live), otherwise="not fetched")
        if size is not None:
            self._bytes += size
            require_room(self._upload.dataset.site, self._bytes, what="This import")

    def _tried(self, ask: Callable[[], T], *, otherwise: str) -> T | None:
        """What the PACS answers, at once or at a later try; else None, with the count `otherwise` increased. A PACS
        that was silent several times in a row is not asked any more."""
        for _ in range(TRIES if self._unreachable < UNREACHABLE_IN_A_ROW else 0):
            self._beat.live()
            try:
                answer = ask()
            except PacsUnreachable as error:
                self.failure = error
            except PacsError as error:
                self.failure, self._unreachable = error, 0
                break
            else:
                self._unreachable = 0
                return answer
        else:
            self._unreachable += 1
        self._report.counts[otherwise] += 1
        return None


class _Beat:
    """The progress of the import, and that it lives."""

    def __init__(self, upload: Upload, target: PacsTarget) -> None:
        self.done, self.total = 0, 0
        self._rows = Upload.objects.filter(pk=upload.pk)
        self._at = 0.0
        self._rows.update(message=f"Fetching from {target.name}")

    def step(self) -> None:
        self.done += 1
        self.live()

    def end(self) -> None:
        self._rows.update(message="", done=0, total=0)

    def live(self) -> None:
        if time.monotonic() - self._at >= SECONDS_BETWEEN_HEARTBEATS:
            self._at = time.monotonic()
            self._rows.update(done=self.done, total=max(self.total, self.done), heartbeat_at=timezone.now())


def begin_import(*, dataset: Dataset, target: PacsTarget, studies: Sequence[str], author: User) -> Upload:
    """Queue an import of the studies. Raises InvalidPacsRequest."""
    plan = plan_of(target=target, studies=studies)
    return begin_planned(dataset=dataset, plan=plan, verb="import from PACS", author=author)
