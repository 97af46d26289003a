"""What an installation with a single worker does with its runs when it stops."""

from ml_engine.models import Run, RunState


def give_back_runs() -> int:
    """Put the running runs back in the queue once their only worker was stopped on purpose: such a stop is no
    loss, so it does not count as one. Returns how many."""
    return Run.objects.filter(state=RunState.RUNNING).update(
        state=RunState.QUEUED, lease_owner="", lease_until=None, published_at=None
    )
