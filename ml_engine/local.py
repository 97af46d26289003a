"""What an installation with a single worker does with its runs when it stops."""

from django.db.models import F

from ml_engine.models import Run, RunState


def give_back_runs() -> int:
    """Put the running runs back in the queue once their only worker was stopped on purpose: such a stop is no
    loss, so it counts for no attempt. Returns how many."""
    return Run.objects.filter(state=RunState.RUNNING).update(
        state=RunState.QUEUED, attempt=F("attempt") - 1, lease_owner="", lease_until=None, published_at=None
    )
