"""A retired run is left out of lists, and its model starts nothing new."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_engine.models import RunKind, RunState
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest, request_score
from portal.models import Dataset, Role, Split
from portal.retention.retiring import CannotRetire, plan_of, retire
from tests.ml_engine import made
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def split(data_dir: Path) -> Split:
    return made.small_split(made.site())


def test_its_model_starts_nothing_and_what_used_it_is_named(split: Split) -> None:
    boss = factories.user("boss", Role.MANAGER, at=split.site)
    detector = made.detector_model(split)
    made.run(split, kind=RunKind.SCORE, state=RunState.DONE, name="Scores", detector=detector)
    assert plan_of(detector.run).depends == ["1 run: Scores"]
    client = as_(boss)
    assert "A detector" in client.get("/runs/").text
    retire(target=detector.run, reason="fitted on wrong labels", author=boss)
    assert "A detector" not in client.get("/runs/").text
    names = [run["name"] for run in client.get("/api/v1/runs/").json()["results"]]
    assert names == ["Scores"]
    assert "boss retired this run" in client.get(f"/runs/{detector.run.uuid}/").text
    with pytest.raises(RunRefused, match=r"The run “A detector” was retired on .* \(fitted on wrong labels\)"):
        request_score(
            RunRequest(site=split.site, name="Again", requested_by=boss),
            detector=detector,
            parts=["test"],
        )


def test_a_run_that_has_not_ended_is_not_retired(split: Split) -> None:
    boss = factories.user("boss", Role.MANAGER, at=split.site)
    run = made.run(split, state=RunState.RUNNING)
    with pytest.raises(CannotRetire, match="“A run” is running: wait until it has ended, or cancel it"):
        retire(target=run, reason="not needed", author=boss)


def test_runs_on_a_dataset_depend_on_it(split: Split) -> None:
    made.run(split)
    dataset = Dataset.objects.get(site=split.site)
    split.datasets.add(dataset)
    assert plan_of(dataset).depends[-2:] == ["1 run: A run", "1 of these runs is queued or running, and will end"]
