"""/metrics: numbers for Prometheus. What a state of the database is comes from the database, so that it does not matter
which process answers; what happens in requests is counted by each web process, in files that they share
(portal.project.shared_counts). Labels are names of views, states and queues, and nothing of films or people.
"""

import hmac
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cachetools import TTLCache, cached
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.signals import user_login_failed
from django.db import DatabaseError
from django.db.models import Count, Max, Min
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.utils import timezone
from django.views.decorators.http import require_GET
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from portal.models import AuditEvent, Image, Upload
from portal.project.condition import QUEUES, broker, queues_served

LOOPBACK = ("127.0.0.1", "::1")
COUNTED = CollectorRegistry()
REQUESTS = Histogram(
    "hilum_request_seconds",
    "Time to answer a request.",
    ["view", "method", "status"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=COUNTED,
)
FAILED_LOG_INS = Counter("hilum_failed_log_ins", "Log-ins that failed.", registry=COUNTED)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True)
class Measured:
    """A number by the values of a label, or alone under the label ""."""

    name: str
    words: str
    values: Mapping[str, float]
    label: str = ""


Source = Callable[[], Iterator[Measured]]
_sources: list[Source] = []
_KEPT: TTLCache[tuple[()], list[Measured]] = TTLCache(maxsize=1, ttl=10)  # seconds


def measure_also(source: Source) -> None:
    """Add the numbers that `source` reads from the database; an app calls it once, when it is ready."""
    _sources.append(source)


@login_not_required
@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """For this machine itself, and for whoever has the token of HILUM_METRICS_TOKEN."""
    if not _may_read(request):
        return HttpResponseForbidden(
            "Metrics are for requests from this machine that no proxy has passed on, and for those with the header "
            "“Authorization: Bearer” and the token of HILUM_METRICS_TOKEN.",
            content_type="text/plain; charset=utf-8",
        )
    registry = CollectorRegistry()
    registry.register(_Gauges())
    counted = generate_latest(_counted())
    return HttpResponse(counted + generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    header = request.headers.get("Authorization", "")
    if settings.METRICS_TOKEN and hmac.compare_digest(header.encode(), f"Bearer {settings.METRICS_TOKEN}".encode()):
        return True
    is_direct = "X-Forwarded-For" not in request.headers and "Forwarded" not in request.headers
    return is_direct and request.META.get("REMOTE_ADDR") in LOOPBACK


def _counted() -> CollectorRegistry:
    """What all web processes of this server have counted."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return COUNTED
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry


class _Gauges:
    def collect(self) -> Iterable[GaugeMetricFamily]:
        for measured in _measured():
            family = GaugeMetricFamily(measured.name, measured.words, labels=[measured.label] if measured.label else [])
            for value, number in measured.values.items():
                family.add_metric([value] if measured.label else [], number)
            yield family


@cached(_KEPT)
def _measured() -> list[Measured]:
    served = queues_served()
    numbers = [
        Measured(
            "hilum_disk_free_bytes", "Free on the disk of the data.", {"": shutil.disk_usage(settings.DATA_DIR).free}
        ),
        Measured("hilum_broker_up", "Whether the broker answers.", {"": not broker().fault}),
        Measured(
            "hilum_workers",
            "Workers that answer, by what they work on.",
            {words: served.get(queue, 0) for queue, words in QUEUES.items()},
            label="queue",
        ),
    ]
    try:
        from_database = [number for source in [_of_portal, *_sources] for number in source()]
    except DatabaseError:
        return [*numbers, _database_up(0)]
    return [*numbers, _database_up(1), *from_database]


def _database_up(is_up: int) -> Measured:
    return Measured("hilum_database_up", "Whether the database answers.", {"": is_up})


def _of_portal() -> Iterator[Measured]:
    states = dict.fromkeys(Upload.State.values, 0)
    states |= dict(Upload.objects.order_by().values_list("state").annotate(Count("pk")))
    yield Measured("hilum_imports", "Imports by state.", states, label="state")
    oldest = Upload.objects.filter(state=Upload.State.RECEIVED).aggregate(Min("created_at"))["created_at__min"]
    yield Measured("hilum_imports_oldest_waiting_seconds", "Since when the oldest import waits.", {"": age_of(oldest)})
    yield Measured("hilum_films", "Films.", {"": Image.objects.count()})
    unsealed = AuditEvent.objects.filter(seal__isnull=True).count()
    yield Measured("hilum_audit_unsealed", "Events of the audit that wait for their seal.", {"": unsealed})
    last = AuditEvent.objects.filter(site=None, verb="back up").aggregate(Max("created_at"))["created_at__max"]
    yield Measured(
        "hilum_last_backup_timestamp_seconds", "When the last backup ended.", {"": last.timestamp() if last else 0}
    )


def age_of(moment: Any) -> float:
    """Seconds since then; 0 for None."""
    return max(0.0, (timezone.now() - moment).total_seconds()) if moment else 0.0


def time_requests(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: counts each answer and how long it took."""

    def middleware(request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = get_response(request)
        match = request.resolver_match
        view = (match.view_name if match else "") or "none"
        method = request.method if request.method in _METHODS else "other"
        REQUESTS.labels(view, method, str(response.status_code)).observe(time.perf_counter() - started)
        return response

    return middleware


def _count_failure(**_: Any) -> None:
    FAILED_LOG_INS.inc()


user_login_failed.connect(_count_failure, dispatch_uid="hilum metrics")
