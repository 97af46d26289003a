"""The normals nearest to a patch: found by the real engine, in the films of the detector's bank."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import DetectorModel, Run, Score
from ml_engine.runs import requests, supervisor
from ml_engine.runs.paths import run_folder
from ml_engine.runs.requests import RunRequest
from portal.models import Exposure, Image, Role
from portal.people.blinding import open_for
from tests.analysis.scored import Scored, looked_at
from tests.ml_engine import made
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(data_dir: Path) -> Run:
    """A detector without alignment, and the test films that it scored."""
    split = made.small_split(made.site())
    fit = requests.request_detector(RunRequest(site=split.site, name="D"), split=split, config=made.small_config())
    supervisor.execute(fit.uuid)
    score = requests.request_score(
        RunRequest(site=split.site, name="S"), detector=DetectorModel.objects.get(), parts=["test"]
    )
    supervisor.execute(score.uuid)
    return looked_at(score)


def address(run: Run, image: Image) -> str:
    return reverse("analysis:nearest", args=[run.uuid, image.uuid])


def log_in(client: Client, run: Run, role: Role) -> Client:
    client.force_login(made.person(role.value, at=run.site, role=role))
    return client


def test_the_nearest_normals_are_named_with_their_films(client: Client, run: Run) -> None:
    score = Score.objects.filter(run=run).first()
    assert score is not None
    log_in(client, run, Role.READER)
    explained = client.get(address(run, score.image), {"row": 3, "column": 2, "neighbours": 4}).json()

    maps = ScoredFolder(run_folder(run.uuid)).array("maps")[score.row]
    assert explained["global_score"] == pytest.approx(float(maps[0, 3, 2]), rel=1e-4)
    assert [(one["bank"], one["rank"]) for one in explained["nearest"]] == [
        (bank, rank) for bank in ("global", "region") for rank in (1, 2, 3, 4)
    ]
    assert explained["hidden"] == 0
    fit = {str(uuid) for uuid in Image.objects.filter(split_images__member__part="fit").values_list("uuid", flat=True)}
    for one in explained["nearest"]:
        assert one["film"]["facts_url"].split("/")[-2] in fit
        affine = np.array(one["original_from_canonical"])  # 80 pixels on 64, 8 to a patch
        np.testing.assert_allclose(affine, [[1.25, 0, 0], [0, 1.25, 0]], atol=1e-9)
        assert one["centre_original_px"] == pytest.approx([(one["column"] + 0.5) * 10, (one["row"] + 0.5) * 10])

    hottest = client.get(address(run, score.image)).json()
    assert hottest["global_score"] == pytest.approx(float(maps[0, hottest["row"], hottest["column"]]), rel=1e-4)

    refused = client.get(address(run, score.image), {"row": 99, "column": 2})
    assert (refused.status_code, refused.json()["error"]) == (
        410, "patch is 99,2: rows and columns go from 0 to 7.",
    )  # fmt: skip
    shutil.rmtree(run_folder(run.detector.run.uuid))  # type: ignore[union-attr]
    missing = client.get(address(run, score.image), {"row": 1, "column": 1})
    assert "The folder of the detector 'D' is not in the data folder any more" in missing.json()["error"]


def test_films_that_a_person_may_not_see_are_counted_and_not_named(
    client: Client, scored: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = Image.objects.filter(split_images__member__part="fit").first()
    assert bank is not None
    other = factories.film(factories.dataset("Elsewhere", at=factories.site("Busan")), "normal", person="other")
    tune = scored.films[0]
    factories.event(tune, "unsure", author=factories.curator())

    def neighbours(*_: Any, **__: Any) -> dict[str, Any]:
        """A bank that names a film of another site and one whose score the person may not see."""
        one = {"bank": "global", "rank": 1, "distance": 1.5, "row": 1, "column": 1, "original_from_canonical": None}
        scores = {"row": 1, "column": 1, "global_score": 1, "region_score": 1, "centre_original_px": [1, 1]}
        return {**scores, "nearest": [{**one, "image": str(image.uuid)} for image in (bank, other, tune)]}

    monkeypatch.setattr("analysis.views.film.nearest_normals", neighbours)
    person = factories.user("both", Role.ANALYST, Role.CURATOR)
    client.force_login(person)
    answer = client.get(address(scored.run, scored.films[1]))
    assert [one["film"]["name"] for one in answer.json()["nearest"]] == [str(bank)]
    assert answer.json()["hidden"] == 2
    assert str(other.uuid) not in answer.text
    assert str(tune.uuid) not in answer.text
    shown = Exposure.objects.values_list("image", "kind")
    assert set(shown) == {
        (scored.films[1].pk, "score"), (scored.films[1].pk, "map"), (bank.pk, "label"), (bank.pk, "score"),
    }  # fmt: skip
    open_for(person=person, images=[bank], source=uuid.UUID(int=3), words="the worklist", days=28)
    withheld = client.get(address(scored.run, scored.films[1]))
    assert (withheld.json()["nearest"], withheld.json()["hidden"]) == ([], 3)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"row": "x", "column": "1"}, "row is 'x': give a whole number from 0 to 9999."),
        ({"row": "1"}, "column is '-1': give a whole number from 0 to 9999."),
        ({"row": "1", "column": "²"}, "column is '²': give a whole number from 0 to 9999."),
        ({"neighbours": "0"}, "neighbours is '0': give a whole number from 1 to 20."),
        ({"neighbours": "21"}, "neighbours is '21': give a whole number from 1 to 20."),
    ],
)
def test_a_bad_patch_is_a_sentence(as_analyst: Client, scored: Scored, query: dict[str, str], sentence: str) -> None:
    answer = as_analyst.get(address(scored.run, scored.films[0]), query)
    assert (answer.status_code, answer.json()) == (400, {"error": sentence})


def test_a_detector_that_is_gone_is_a_sentence(as_analyst: Client, scored: Scored) -> None:
    answer = as_analyst.get(address(scored.run, scored.films[0]))
    assert answer.status_code == 410
    assert "is not in the data folder any more" in answer.json()["error"]
