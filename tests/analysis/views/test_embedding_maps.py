"""Embedding maps on the page and by the API: points, what colours them, who is shown what, and films like a film."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from analysis.evaluation.evaluate import evaluate
from analysis.sections import map_colours
from ml_engine.models import Run
from ml_engine.runs.paths import run_folder
from portal.models import Exposure, Image, Role, User
from portal.people import blinding
from tests.analysis.scored import Scored, scored_run
from tests.ml_engine import embedded
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana(data_dir: Path) -> User:
    return factories.user("ana", Role.ANALYST, Role.MANAGER)


@pytest.fixture
def scored(ana: User) -> Scored:
    scanner = {"header": {"manufacturer": "Philips", "model": "DigitalDiagnost"}}
    return scored_run(factories.site(), author=ana, random_weights=False, facts=[scanner, *[{}] * 23])


@pytest.fixture
def run(scored: Scored) -> Run:
    factories.pair(scored.films[0], scored.films[1])
    return embedded.mapped(scored.films[0].dataset)


def films_of(run: Run) -> list[Image]:
    return list(Image.objects.filter(dataset__in=run.datasets.all()).order_by("pk"))


def read_points(client: Client, run: Run) -> tuple[list[UUID], np.ndarray]:
    content = client.get(reverse("analysis:map-points", args=[run.uuid])).content
    count, layouts = np.frombuffer(content[:8], dtype="<u4").tolist()
    uuids = [UUID(bytes=content[8 + 16 * k : 24 + 16 * k]) for k in range(count)]
    return uuids, np.frombuffer(content[8 + 16 * count :], dtype="<f4").reshape(count, layouts, 2)


def colours(client: Client, run: Run, by: str, of: Any = "") -> Any:
    return client.get(reverse("analysis:map-colours", args=[run.uuid]), {"by": by, "of": of})


def read_blinded_by(person: User, film: Image) -> None:
    blinding.open_for(person=person, images=[film], source=factories.somewhere(), words="a list", days=1)


def exposed(person: User, kind: str) -> set[int]:
    return set(Exposure.objects.filter(person=person, kind=kind).values_list("image", flat=True))


def test_the_points_are_the_films_of_the_map_with_their_places(client: Client, ana: User, run: Run) -> None:
    client.force_login(ana)
    uuids, places = read_points(client, run)
    assert uuids == [film.uuid for film in films_of(run)]
    np.testing.assert_array_equal(places, np.load(run_folder(run.uuid) / "layout.npy"))
    assert not Exposure.objects.exists()  # a place is neither a label nor a score


def test_a_film_that_is_to_be_read_blinded_is_no_point(client: Client, ana: User, run: Run) -> None:
    film = films_of(run)[3]
    read_blinded_by(ana, film)
    client.force_login(ana)
    assert film.uuid not in read_points(client, run)[0]
    assert len(colours(client, run, "label").json()["values"]) == len(films_of(run)) - 1
    page = client.get(reverse("analysis:embedding-map", args=[film.dataset.uuid])).content.decode()
    assert "1 film is omitted" in page
    facts = client.get(reverse("analysis:map-film", args=[run.uuid, film.uuid]))
    assert facts.status_code == 403


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("label", {"normal": 20, "abnormal": 12}),
        ("dataset", {"Set 0": 32}),
        ("source", {"unknown": 32}),
        ("view", {"PA": 32}),
        ("manufacturer", {"Philips": 1, "unknown": 31}),
        ("scanner", {"Philips DigitalDiagnost": 1, "unknown": 31}),
        ("duplicates", {"in a pair to judge": 2, "not in a pair to judge": 30}),
    ],
)
def test_points_are_coloured_by_facts(client: Client, ana: User, run: Run, by: str, names: dict[str, int]) -> None:
    client.force_login(ana)
    answer = colours(client, run, by).json()
    assert dict(zip(answer["names"], answer["counts"], strict=True)) == names
    assert [answer["values"].count(place) for place in range(len(names))] == answer["counts"]
    assert exposed(ana, "label") == ({film.pk for film in films_of(run)} if by == "label" else set())


def test_points_are_coloured_by_part_which_tells_of_labels(client: Client, ana: User, run: Run, scored: Scored) -> None:
    client.force_login(ana)
    answer = colours(client, run, "part", scored.split.uuid).json()
    assert dict(zip(answer["names"], answer["counts"], strict=True)) == {"tune": 12, "test": 12, "fit": 8}
    assert len(exposed(ana, "label")) == 32


def test_the_rarest_values_are_put_together(client: Client, ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    of = factories.dataset()
    for view in ("PA", "PA", "V0", "V1", "V2"):
        factories.film(of, view=view)
    run = embedded.mapped(of)
    monkeypatch.setattr(map_colours, "MOST_NAMES", 3)
    client.force_login(ana)
    answer = colours(client, run, "view").json()
    assert (answer["names"], answer["counts"]) == (["PA", "V0", "other"], [2, 1, 2])
    assert answer["note"] == "The 2 rarest of 4 values are shown together as “other”."


def test_scores_of_test_are_not_shown_before_somebody_has_looked(
    client: Client, ana: User, run: Run, scored: Scored
) -> None:
    reader = factories.user("reader", Role.READER)
    client.force_login(reader)
    answer = colours(client, run, "score", scored.run.uuid).json()
    assert sum(value is not None for value in answer["values"]) == 12  # tune
    assert "Nobody has looked" in answer["note"]
    evaluate(run=scored.run, author=ana)
    answer = colours(client, run, "score", scored.run.uuid).json()
    by_film = dict(scored.run.scores.values_list("image_id", "fused_score"))
    assert answer["values"] == [by_film.get(film.pk) for film in films_of(run)]
    assert exposed(reader, "score") == set(by_film)


def test_scores_are_hidden_from_a_person_who_still_has_to_label_the_film(
    client: Client, ana: User, run: Run, scored: Scored
) -> None:
    film = scored.films[0]
    factories.event(film, "unsure", ana)
    client.force_login(ana)
    answer = colours(client, run, "score", scored.run.uuid).json()
    assert answer["values"][[one.pk for one in films_of(run)].index(film.pk)] is None
    assert "you still have to label" in answer["note"]
    assert film.pk not in exposed(ana, "score")
    client.force_login(factories.curator())
    refused = colours(client, run, "score", scored.run.uuid)
    assert (refused.status_code, "To see scores" in refused.json()["error"]) == (403, True)


def test_a_wrong_colour_is_refused_in_a_sentence(client: Client, ana: User, run: Run, scored: Scored) -> None:
    client.force_login(ana)
    refused = colours(client, run, "mood")
    assert (refused.status_code, refused.json()["error"][:12]) == (400, "by is 'mood'")
    assert colours(client, run, "part", factories.somewhere()).status_code == 404
    assert colours(client, run, "score", scored.split.uuid).status_code == 404


def test_the_facts_of_a_point_are_shown_and_recorded(client: Client, ana: User, run: Run) -> None:
    client.force_login(ana)
    film = films_of(run)[0]
    facts = client.get(reverse("analysis:map-film", args=[run.uuid, film.uuid])).json()
    assert (facts["label"], facts["view"], facts["dataset"]) == ("normal", "PA", "Set 0")
    assert exposed(ana, "label") == {film.pk}
    later = factories.film(film.dataset)
    assert client.get(reverse("analysis:map-film", args=[run.uuid, later.uuid])).status_code == 404


def test_a_map_whose_files_are_gone_is_not_shown(client: Client, ana: User, run: Run) -> None:
    client.force_login(ana)
    (run_folder(run.uuid) / "layout.npy").unlink()
    assert client.get(reverse("analysis:map-points", args=[run.uuid])).status_code == 404
    dataset = run.datasets.get()
    page = client.get(reverse("analysis:embedding-map", args=[dataset.uuid])).content.decode()
    assert "This dataset has no map yet" in page and "Make a map" in page


def test_a_person_who_may_request_no_run_is_told_whom_to_ask(client: Client, ana: User, scored: Scored) -> None:
    client.force_login(factories.curator())
    page = client.get(reverse("analysis:embedding-map", args=[scored.films[0].dataset.uuid])).content.decode()
    assert "ask ana" in page and "Make a map" not in page
    page = client.get(reverse("analysis:similar-films", args=[scored.films[0].uuid])).content.decode()
    assert "This dataset has no map yet" in page


def test_films_like_a_film_are_shown_most_alike_first(client: Client, ana: User, run: Run) -> None:
    client.force_login(ana)
    film = films_of(run)[0]
    near = client.get(reverse("analysis:similar-films", args=[film.uuid])).context["near"]
    similarities = [one.similarity for one in near]
    assert len(near) == 10 and similarities == sorted(similarities, reverse=True)
    assert exposed(ana, "label") == {film.pk, *(one.image.pk for one in near)}
    later = factories.film(film.dataset)
    page = client.get(reverse("analysis:similar-films", args=[later.uuid])).content.decode()
    assert "does not hold this film" in page


def test_the_api_tells_the_same(ana: User, run: Run) -> None:
    api = APIClient()
    api.force_authenticate(ana)
    dataset, film = run.datasets.get(), films_of(run)[0]
    newest = api.get(reverse("api-embedding-map", args=[dataset.uuid])).json()
    assert newest["images"] == [str(one.uuid) for one in films_of(run)]
    assert set(newest["places"]) == {"neighbours", "axes"}
    by_view = api.get(reverse("api-map-colours", args=[run.uuid]), {"by": "view"}).json()
    assert (by_view["names"], len(by_view["images"])) == (["PA"], 32)
    refused = api.get(reverse("api-map-colours", args=[run.uuid]), {"by": "mood"})
    assert (refused.status_code, refused.json()["detail"][:12]) == (400, "by is 'mood'")
    near = api.get(reverse("api-similar-films", args=[film.uuid])).json()
    assert len(near) == 10 and near[0]["label"] in ("normal", "abnormal")
    other = factories.film(factories.dataset("Empty"))
    assert api.get(reverse("api-similar-films", args=[other.uuid])).status_code == 404
    assert api.get(reverse("api-embedding-map", args=[other.dataset.uuid])).status_code == 404
    later = factories.film(dataset)
    assert "does not hold this film" in api.get(reverse("api-similar-films", args=[later.uuid])).json()["detail"]
