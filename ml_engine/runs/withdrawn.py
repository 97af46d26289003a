"""Models that were fitted on films of an erased patient start no run."""

from collections.abc import Iterable

from django.db.models import Q

from ml_engine.models import AlignmentModel, DetectorModel, HeadModel, WithdrawnModel
from ml_engine.runs.lifecycle import RunRefused


def withdrawn_models(models: Iterable[AlignmentModel | DetectorModel | HeadModel | None]) -> list[WithdrawnModel]:
    """The withdrawals of these models, and of the alignments of the detectors among them."""
    asked = Q(pk__in=[])
    for model in models:
        if isinstance(model, AlignmentModel):
            asked |= Q(alignment=model)
        elif isinstance(model, HeadModel):
            asked |= Q(head=model)
        elif model is not None:
            asked |= Q(detector=model)
    related = ("alignment__run", "detector__run", "head__run", "fitted_again")
    return list(WithdrawnModel.objects.filter(asked).select_related(*related))


def refuse_withdrawn(*models: AlignmentModel | DetectorModel | HeadModel | None) -> None:
    """Raises RunRefused."""
    for withdrawn in withdrawn_models(models):
        name = type(withdrawn.model).__name__.removesuffix("Model").lower()
        again = f" It is fitted again by “{withdrawn.fitted_again.name}”." if withdrawn.fitted_again else ""
        raise RunRefused(
            f"The {name} “{withdrawn.model.run.name}” was fitted on films of a patient who was erased since, and "
            f"starts no run any more: fit it again.{again}"
        )
