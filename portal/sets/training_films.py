"""Films whose verdicts trained a semi-supervised model. No film of their patients evaluates it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from uuid import UUID

from portal.models import Image, Part, TrainingFilm

NEVER_IN_TEST = "in test, of a patient whose films trained a semi-supervised head"
_BATCH = 1000


def remember(*, images: Iterable[int], source: UUID) -> None:
    """Note that the films with these primary keys trained the model `source`. Call within its transaction."""
    TrainingFilm.objects.bulk_create(
        [TrainingFilm(image_id=image, source=source) for image in images], batch_size=_BATCH, ignore_conflicts=True
    )


def out_of_test(
    films: Sequence[Image], parts: Mapping[int, str], *, joined: Callable[[Collection[int]], set[int]] = set
) -> tuple[list[Image], dict[str, int]]:
    """The films without those of patients in test of whom a film trained any model, and how many were left out, by
    reason. `parts` are parts by patient id; `joined` adds the patients who count as one person with given ones."""
    datasets = {film.dataset_id for film in films}
    rows = TrainingFilm.objects.filter(image__patient__site__datasets__in=datasets)
    trained = joined(set(rows.values_list("image__patient_id", flat=True)))
    kept = [film for film in films if parts.get(film.patient_id) != Part.TEST or film.patient_id not in trained]
    left = len(films) - len(kept)
    return kept, {NEVER_IN_TEST: left} if left else {}


def patients_of_model(source: UUID) -> set[int]:
    """The ids of the patients with a film that trained the model `source`."""
    return set(TrainingFilm.objects.filter(source=source).values_list("image__patient_id", flat=True))
