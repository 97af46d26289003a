"""Numbers of runs for Prometheus."""

from collections.abc import Iterator

from django.db.models import Count, Min

from ml_engine.models import Run, RunState
from portal.project.metrics import Measured, age_of


def run_metrics() -> Iterator[Measured]:
    states = dict.fromkeys(RunState.values, 0) | dict(Run.objects.order_by().values_list("state").annotate(Count("pk")))
    yield Measured("hilum_runs", "Runs by state.", states, label="state")
    oldest = Run.objects.filter(state=RunState.QUEUED).aggregate(Min("queued_at"))["queued_at__min"]
    yield Measured("hilum_runs_oldest_waiting_seconds", "Since when the oldest queued run waits.", {"": age_of(oldest)})
