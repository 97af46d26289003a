"""/readyz: whether this installation can serve people now, for a load balancer or a monitor."""

from cachetools import TTLCache, cached
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET

from portal.project.condition import READY, Condition

KEPT: TTLCache[tuple[()], tuple[Condition, ...]] = TTLCache(
    maxsize=1, ttl=5
)  # seconds: the workers are asked each time


@cached(KEPT)
def conditions() -> tuple[Condition, ...]:
    return tuple(check() for check in READY)


@login_not_required
@require_GET
def readyz(request: HttpRequest) -> JsonResponse:
    """Respond with 200, or 503 where something is missing, and a word for each part: ok, or what is wrong."""
    states = {condition.name: condition.fault or "ok" for condition in conditions()}
    if states.get("disk", "ok") != "ok":
        states["disk"] = "Less space is free than HILUM_FREE_DISK_GIB keeps."  # to strangers, without paths
    return JsonResponse(states, status=200 if set(states.values()) == {"ok"} else 503)
