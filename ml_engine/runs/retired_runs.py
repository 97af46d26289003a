"""What retiring has to know of runs: what depends on one, and on a dataset, and when one cannot be retired."""

from ml_engine.models import Run, RunState
from portal.models import Dataset, Retired
from portal.retention.retiring import Retirable, counted, depends_also, retire_also


def register() -> None:
    """Called once, when the app is ready."""
    retire_also(Retirable(Retired.Kind.RUN, Run, "ml_engine:run", lambda run: run.site, _obstacles))
    depends_also(Retired.Kind.RUN, _of_run)
    depends_also(Retired.Kind.DATASET, _of_dataset)


def _obstacles(run: Run) -> list[str]:
    if run.has_ended:
        return []
    return [f"“{run.name}” is {run.get_state_display().lower()}: wait until it has ended, or cancel it."]


def _of_run(run: Run) -> list[str]:
    """Runs that took its model or its scores, or wait for it."""
    names: list[str] = []
    for made in ("alignment_made", "detector_made", "head_made"):
        if model := getattr(run, made, None):
            names += model.used_by.order_by("pk").values_list("name", flat=True)
    for field in ("followers", "rescored_by", "heads_requested"):
        names += getattr(run, field).order_by("pk").values_list("name", flat=True)
    return counted("run", dict.fromkeys(names))


def _of_dataset(dataset: Dataset) -> list[str]:
    """Runs on the dataset, and on splits with films of it."""
    runs = Run.objects.filter(split__datasets=dataset) | Run.objects.filter(datasets=dataset)
    waiting = runs.filter(state__in=[RunState.QUEUED, RunState.RUNNING]).distinct().count()
    under_way = [f"{waiting} of these runs {'are' if waiting > 1 else 'is'} queued or running, and will end"]
    return [*counted("run", runs.distinct().order_by("pk").values_list("name", flat=True)), *under_way * bool(waiting)]
