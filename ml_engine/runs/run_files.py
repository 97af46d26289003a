"""The folders of runs: how much space they take, and removing those that only a retry could use."""

import os
import shutil
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone

from ml_engine.models import AlignmentModel, DetectorModel, HeadModel, Run, RunFile, RunState
from ml_engine.runs import run_bucket
from ml_engine.runs.paths import run_folder
from portal.models import Site
from portal.people import audit

_GONE = ".removed-"
ENDED_BADLY = (RunState.FAILED, RunState.CANCELLED)


def bytes_of_runs(site: Site) -> int:
    """Files that a run shares with others, such as pixels, count where they come from and not here."""
    if run_bucket.is_used():
        own = RunFile.objects.filter(run__site=site, kept_by=F("run"))
        return own.aggregate(all=Sum("size"))["all"] or 0
    return sum(_bytes(run_folder(uuid)) for uuid in Run.objects.filter(site=site).values_list("uuid", flat=True))


def remove_old() -> int:
    """Remove the folders of runs that failed or were cancelled HILUM_FAILED_RUN_DAYS ago, unless a model came from the
    run or another run waits for it. Returns their number."""
    for gone in (Path(settings.DATA_DIR) / "runs").glob(f"{_GONE}*"):  # of a process that was killed
        shutil.rmtree(gone, ignore_errors=True)
    if not settings.FAILED_RUN_DAYS:
        return 0
    before = timezone.now() - timedelta(days=settings.FAILED_RUN_DAYS)
    old = Run.objects.filter(state__in=ENDED_BADLY, finished_at__lt=before).values_list("pk", flat=True)
    return sum(_remove(pk) for pk in list(old))


def is_removed(run: Run) -> bool:
    """Whether a retry has to start from the beginning, since the run's files are gone."""
    return run.state in ENDED_BADLY and run.attempt > 0 and not run_bucket.has_folder(run)


@transaction.atomic
def _remove(pk: int) -> bool:
    """While the row is locked, nobody retries the run."""
    run = Run.objects.select_for_update(of=("self",)).select_related("site").get(pk=pk)
    folder = run_folder(run.uuid)
    is_used = any(kind.objects.filter(run=run).exists() for kind in (AlignmentModel, DetectorModel, HeadModel))
    waits = Run.objects.filter(after=run, state__in=[RunState.QUEUED, RunState.RUNNING]).exists()
    if run.state not in ENDED_BADLY or is_used or waits or not run_bucket.has_folder(run):
        return False
    size = _bytes(folder)
    if run_bucket.is_used():
        run_bucket.delete_folder(run)
    # renamed first: a folder that is half removed when the process is killed must not be taken for a whole one
    gone = folder.with_name(f"{_GONE}{run.uuid}")
    if folder.exists():
        os.replace(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
    after = {"bytes": size, "days": settings.FAILED_RUN_DAYS}
    audit.record(verb="remove files of run", site=run.site, actor=None, target=run, after=after)
    return True


def _bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                facts = os.lstat(os.path.join(parent, name))
            except OSError:  # removed in the meantime
                continue
            total += facts.st_size if facts.st_nlink == 1 else 0
    return total
