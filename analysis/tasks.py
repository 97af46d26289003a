"""Celery tasks of `analysis`. Each may run twice."""

from celery import shared_task

from analysis.evaluation.set_evaluation import advance, due


@shared_task
def advance_set_evaluations() -> None:
    """Go on with every evaluation of a set whose next step can be done."""
    for uuid in due().values_list("uuid", flat=True):
        advance(uuid)
