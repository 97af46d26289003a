"""Request an embedding map: of whole datasets, or of the films of a dataset that the filters of its grid leave."""

from collections.abc import Mapping, Sequence

from django.db.models import QuerySet

from ml_engine.core.backbone.weights import RANDOM
from ml_engine.core.config import PipelineConfig
from ml_engine.engine.study_plans import EmbeddingPlan
from ml_engine.models import Run, RunKind
from ml_engine.runs import run_forecasts
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest, check_request, check_weights, queue
from portal.models import Dataset, Image, Split
from portal.people import blinding
from portal.sets.film_filters import Filters, UnknownFilter

LEAST_FILMS = 2


def request_embedding(
    request: RunRequest,
    *,
    datasets: Sequence[Dataset],
    config: PipelineConfig,
    plan: EmbeddingPlan,
    filters: Mapping[str, str] | None = None,
) -> Run:
    """Map the films of the datasets, or those of a single one that `filters` leave when the run begins: names and
    values of the grid's query string. Raises RunRefused, and PermissionDenied for filters while the person has yet to
    read a film of the dataset blinded: which films a filter leaves tells what was said of them."""
    check_request(request, split=None)
    if not datasets:
        raise RunRefused("No dataset is chosen: choose at least one whose films the map shows.", field="datasets")
    for dataset in datasets:
        if dataset.site_id != request.site.pk:
            raise RunRefused("This dataset belongs to another site; choose one of this site.")
    kept = {name: value for name, value in (filters or {}).items() if value}
    films = mapped_films(datasets, kept)
    if kept and request.requested_by is not None:
        blinding.refuse_file(request.requested_by, datasets[0].images.all(), what="The dataset")
    if (count := films.count()) < LEAST_FILMS:
        raise RunRefused(
            f"A map needs at least {LEAST_FILMS} films, and {count} would be on it: import or choose more."
        )
    check_weights(config)
    config = config.replace(align="none", mask=False)
    run_forecasts.require_room(run_forecasts.of_embedding(films, config), config)
    return queue(
        request,
        kind=RunKind.EMBEDDING,
        datasets=datasets,
        config=config.to_json(),
        asked={"embedding": plan.to_json()} | ({"filter": kept} if kept else {}),
        seed=config.seed,
        random_weights=config.weights == RANDOM,
    )


def mapped_films(datasets: Sequence[Dataset], filters: Mapping[str, str]) -> QuerySet[Image]:
    """The films of a map. Raises RunRefused for a filter that no film can match, and for several datasets with one."""
    films = Image.objects.filter(dataset__in=datasets)
    if not filters:
        return films
    if len(datasets) != 1:
        raise RunRefused(
            f"Filters hold for one dataset, and {len(datasets)} are chosen: choose one, or leave the filters out.",
            field="filters",
        )
    try:
        chosen = Filters.exactly(filters, Split.objects.filter(datasets=datasets[0]))
    except UnknownFilter as refusal:
        raise RunRefused(str(refusal), field="filters") from refusal
    return chosen.apply(films)
