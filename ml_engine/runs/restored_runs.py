"""What backups have to know of runs: the files that their rows name, and what becomes of them in a restore."""

from collections.abc import Iterator
from pathlib import Path

from ml_engine.models import AlignmentModel, DetectorModel, HeadModel, Run, RunKind, RunState, WithdrawnModel
from ml_engine.runs import lifecycle, paths
from portal.backups.erasure_list import ErasedPatient


def named_files() -> Iterator[tuple[str, Path]]:
    for kind, name in ((AlignmentModel, "alignment"), (DetectorModel, "detector"), (HeadModel, "head")):
        withdrawn = WithdrawnModel.objects.filter(**{f"{name}__isnull": False}).values(name)
        for sha256 in kind.objects.exclude(pk__in=withdrawn).values_list("sha256", flat=True):
            yield f"a fitted {name}", paths.model_path(sha256)
    for uuid in Run.objects.filter(kind=RunKind.SCORE, state=RunState.DONE).values_list("uuid", flat=True):
        yield "the scores of a run", paths.run_folder(uuid) / "scores.csv"


def go_on(erased: list[ErasedPatient]) -> Iterator[str]:
    """Runs that were executing when the backup was made are queued again, and every queued one is sent to the new
    broker; they go on after the last stage that the backup has."""
    running = lifecycle.hand_back_all()
    queued = Run.objects.filter(state=RunState.QUEUED).update(published_at=None)
    yield f"Runs that go on once workers run: {queued}, of which {running} were executing."
