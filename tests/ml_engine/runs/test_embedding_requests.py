"""Embedding maps in the portal: requested by form and API, refused, carried out by the real engine, opened again."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from ml_engine.engine.embedding_folder import NoMap
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.study_plans import EmbeddingPlan
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs import lifecycle, paths, run_forecasts, supervisor, write_folder
from ml_engine.runs.embedding_maps import newest_map, open_map, points_for, similar_films
from ml_engine.runs.embedding_requests import request_embedding
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest
from portal.models import AuditEvent, Dataset, Image, Role, Site, User
from portal.people import blinding
from tests.ml_engine import made
from tests.ml_engine.engine.costs import COSTS
from tests.portal import factories

pytestmark = pytest.mark.django_db
PLAN = EmbeddingPlan(neighbours=3, epochs=10)
FORM = {"preset": "default", "backbone": "resnet18", "weights": "random", "size": "64", "seed": "0"}
FORM |= {"neighbours_kept": "3", "epochs": "10"}


@pytest.fixture(autouse=True)
def _nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)


@pytest.fixture
def site(data_dir: Path) -> Site:
    return made.site()


@pytest.fixture
def ana(site: Site) -> User:
    return made.person("ana", at=site, role=Role.ANALYST)


@pytest.fixture
def dataset(site: Site) -> Dataset:
    return Dataset.objects.create(site=site, name="Films")


@pytest.fixture
def films(dataset: Dataset) -> list[Image]:
    films = [made.film(dataset, number=k, label="") for k in range(5)]
    for film in films:
        factories.event(film, "abnormal" if film == films[-1] else "normal")
    return films


def requested(dataset: Dataset, *, by: User | None = None, **more: Any) -> Run:
    request = RunRequest(site=dataset.site, name="Map", requested_by=by)
    return request_embedding(request, datasets=[dataset], config=made.small_config(), plan=PLAN, **more)


def read_blinded_by(person: User, film: Image) -> None:
    source = factories.somewhere()
    blinding.open_for(person=person, images=[film], source=source, words="a list", days=1)


# Requests ---------------------------------------------------------------------------------------------


def test_a_map_is_queued_as_requested(dataset: Dataset, films: list[Image], ana: User) -> None:
    run = requested(dataset, by=ana)

    assert (run.kind, run.split, list(run.datasets.all())) == (RunKind.EMBEDDING, None, [dataset])
    assert run.asked == {"embedding": {"neighbours": 3, "epochs": 10}}
    assert (run.config["align"], run.config["mask"], run.random_weights) == ("none", False, True)
    assert AuditEvent.objects.get(verb="request run").after["asked"] == run.asked


def test_the_folder_has_all_films_without_labels(dataset: Dataset, films: list[Image]) -> None:
    folder = write_folder.write_folder(requested(dataset), tick=lambda: None)

    assert [film.image for film in write_folder.films_of(Run.objects.get())] == films
    assert "normal" not in (folder / "images.csv").read_text()
    spec = RunSpec.from_json(json.loads((folder / "run.json").read_text()))
    assert spec.asked == {"embedding": PLAN.to_json()}


def test_filters_of_the_grid_choose_the_films(dataset: Dataset, films: list[Image]) -> None:
    run = requested(dataset, filters={"label": "normal", "view": ""})

    assert run.asked["filter"] == {"label": "normal"}
    assert [film.image for film in write_folder.films_of(run)] == films[:4]


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({"label": "purple"}, "which no film of this dataset can have"),
        ({"colour": "red"}, "There is no filter 'colour'"),
        ({"label": "abnormal"}, "A map needs at least 2 films, and 1 would be on it"),
    ],
)
def test_a_filter_that_leaves_nothing_to_map_is_refused(
    dataset: Dataset, films: list[Image], filters: dict[str, str], sentence: str
) -> None:
    with pytest.raises(RunRefused, match=sentence):
        requested(dataset, filters=filters)


def test_what_cannot_be_mapped_is_refused(site: Site, dataset: Dataset, films: list[Image]) -> None:
    request = RunRequest(site=site, name="Map")
    other = Dataset.objects.create(site=made.site("Busan"), name="Films")
    more = Dataset.objects.create(site=site, name="More")
    config = made.small_config()
    with pytest.raises(RunRefused, match="No dataset is chosen"):
        request_embedding(request, datasets=[], config=config, plan=PLAN)
    with pytest.raises(RunRefused, match="belongs to another site"):
        request_embedding(request, datasets=[other], config=config, plan=PLAN)
    with pytest.raises(RunRefused, match="Filters hold for one dataset, and 2 are chosen"):
        request_embedding(request, datasets=[dataset, more], config=config, plan=PLAN, filters={"label": "normal"})


def test_filters_are_refused_to_a_person_who_reads_a_film_blinded(
    dataset: Dataset, films: list[Image], ana: User
) -> None:
    read_blinded_by(ana, films[0])
    with pytest.raises(PermissionDenied, match="you have yet to read blinded"):
        requested(dataset, by=ana, filters={"label": "normal"})
    assert requested(dataset, by=ana)


def test_the_form_and_its_clone_ask_for_the_same(
    client: Client, dataset: Dataset, films: list[Image], ana: User
) -> None:
    client.force_login(ana)
    address = reverse("ml_engine:run-new", args=["embedding"])
    grid = client.get(reverse("portal:dataset", args=[dataset.uuid]), {"label": "normal"}).content.decode()
    assert f"{address}?dataset={dataset.uuid}&amp;label=normal" in grid
    page = client.get(address, {"dataset": dataset.uuid, "label": "normal"}).content.decode()
    assert "label=normal" in page
    fields = FORM | {"name": "By form", "datasets": [str(dataset.uuid)], "filters": "label=normal"}
    assert client.post(address, fields).status_code == 302
    run = Run.objects.get()
    assert (run.asked["embedding"], run.asked["filter"]) == (PLAN.to_json(), {"label": "normal"})
    clone = client.get(address, {"clone": run.uuid}).context["form"].initial
    assert (clone["filters"], clone["neighbours_kept"], clone["backbone"]) == ("label=normal", 3, "resnet18")
    shown = client.get(reverse("ml_engine:run", args=[run.uuid])).content.decode()
    assert "label normal" in shown


def test_the_form_forecasts_the_run(
    client: Client, dataset: Dataset, films: list[Image], ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(ana)
    address = reverse("ml_engine:run-forecast", args=["embedding"])
    fields = FORM | {"name": "x", "datasets": [str(dataset.uuid)]}
    assert run_forecasts.NOT_MEASURED in client.post(address, fields).content.decode()
    monkeypatch.setattr(run_forecasts, "costs_of", lambda config: COSTS)
    assert "GiB of memory" in client.post(address, fields).content.decode()
    refused = client.post(address, fields | {"filters": "label=purple"}).content.decode()
    assert "which no film of this dataset can have" in refused
    queued = run_forecasts.of_queued(requested(dataset))
    assert queued is not None and list(queued.stages)[2:5] == ["pool", "neighbours", "layout"]


def test_the_form_says_what_is_wrong(client: Client, dataset: Dataset, films: list[Image], ana: User) -> None:
    client.force_login(ana)
    address = reverse("ml_engine:run-new", args=["embedding"])
    wrong = client.post(address, FORM | {"name": "x", "datasets": [str(dataset.uuid)], "filters": "label=purple"})
    assert wrong.status_code == 400
    assert "which no film of this dataset can have" in wrong.content.decode()


def test_the_api_requests_the_same(dataset: Dataset, films: list[Image], ana: User) -> None:
    api = APIClient()
    api.force_authenticate(ana)
    settings = {name: FORM[name] for name in ("backbone", "weights", "size")}
    body = {"name": "By API", "datasets": [str(dataset.uuid)], "settings": settings, "neighbours": 3, "epochs": 10}
    answer = api.post(reverse("api-new-embedding"), body, format="json")
    assert answer.status_code == 201, answer.json()
    assert Run.objects.get().asked == {"embedding": PLAN.to_json()}
    wrong = api.post(reverse("api-new-embedding"), body | {"neighbours": 1}, format="json")
    assert "neighbours is 1" in wrong.json()["detail"]


# The finished map -------------------------------------------------------------------------------------


@pytest.fixture
def mapped(dataset: Dataset, films: list[Image]) -> Run:
    run = requested(dataset)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.state == RunState.DONE, (run.message, run.detail)
    return run


def test_the_engine_makes_a_map_that_is_opened_as_a_person_may_see_it(
    mapped: Run, dataset: Dataset, films: list[Image], ana: User
) -> None:
    assert newest_map(dataset) == mapped
    points = points_for(ana, mapped, open_map(mapped))
    assert points.films.tolist() == [film.pk for film in films]
    assert points.omitted == 0
    near = similar_films(ana, mapped, films[0], count=3)
    assert near is not None
    assert len(near) == 3 and films[0] not in [one.image for one in near]
    assert [one.similarity for one in near] == sorted((one.similarity for one in near), reverse=True)

    read_blinded_by(ana, films[2])
    blinded = points_for(ana, mapped, open_map(mapped))
    assert films[2].pk not in blinded.films.tolist()
    assert (len(blinded.films), blinded.omitted) == (4, 1)
    assert blinded.fingerprint != points.fingerprint
    shown = similar_films(ana, mapped, films[0], count=9)
    assert shown is not None and films[2] not in [one.image for one in shown]

    later = made.film(dataset, number=9)
    assert similar_films(ana, mapped, later, count=3) is None
    newer = Run.objects.create(
        site=mapped.site, name="Gone", kind="embedding", state="done", finished_at=timezone.now() + timedelta(days=1)
    )
    newer.datasets.add(dataset)
    assert newest_map(dataset) == mapped  # the newer one's folder was deleted
    (paths.run_folder(mapped.uuid) / "layout.npy").unlink()
    with pytest.raises(NoMap):
        open_map(mapped)
    assert newest_map(dataset) is None
