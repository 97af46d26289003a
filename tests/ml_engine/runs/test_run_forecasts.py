"""The forecast of a requested run, from its films in the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ml_engine.core.config import PipelineConfig
from ml_engine.engine import unit_costs
from ml_engine.engine.run_kinds import RunKind
from ml_engine.engine.unit_costs import UnitCosts
from ml_engine.models import Run
from ml_engine.runs import requests, run_forecasts
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest
from portal.models import Image, Role, Split
from tests.ml_engine import made
from tests.ml_engine.engine.costs import COSTS

pytestmark = pytest.mark.django_db


@pytest.fixture
def split() -> Split:
    return made.small_split(made.site())


@pytest.fixture
def measured(settings: Any, tmp_path: Path) -> Callable[..., PipelineConfig]:
    """Keeps costs for a config, as if this machine had been measured."""
    settings.DATA_DIR, settings.RUN_DEVICE = tmp_path, "auto"

    def keep(costs: UnitCosts = COSTS, *, device: str = "cpu", **changes: str) -> PipelineConfig:
        config: PipelineConfig = made.small_config(**changes)
        unit_costs.keep(config.replace(device=device), costs, tmp_path / unit_costs.NAME)
        return config

    return keep


def test_a_machine_that_was_not_measured_gives_no_forecast(split: Split, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    config = made.small_config()

    assert run_forecasts.of_fit(split, config, fits_alignment=True) is None
    assert run_forecasts.of_alignment(split, config) is None
    run_forecasts.require_room(None, config)


def test_the_films_of_a_split_are_counted_by_part(split: Split, measured: Callable[..., PipelineConfig]) -> None:
    config = measured()

    alone = run_forecasts.of_fit(split, config, fits_alignment=False)
    both = run_forecasts.of_fit(split, config, fits_alignment=True)

    assert alone is not None
    assert both is not None
    fit = split.members.filter(part="fit", images__isnull=False).count()
    assert alone.stages["features"] == pytest.approx(0.05 * fit)
    assert both.seconds > alone.seconds
    assert set(both.stages) > {"0-network", "1-banks"}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_costs_are_those_of_the_device_that_a_worker_would_use(
    measured: Callable[..., PipelineConfig], settings: Any, device: str
) -> None:
    config = measured(device=device)
    assert run_forecasts.costs_of(config) is not None

    settings.RUN_DEVICE = "cpu"

    assert (run_forecasts.costs_of(config) is None) == (device == "cuda")


def test_a_request_that_cannot_fit_is_refused_with_the_setting(
    split: Split, measured: Callable[..., PipelineConfig], settings: Any
) -> None:
    config = measured(replace(COSTS, backbone=replace(COSTS.backbone, memory_mib=1e8)), memory_gib="4")
    request = RunRequest(site=split.site, name="Large")

    with pytest.raises(RunRefused, match="and memory_gib is 4: choose a smaller"):
        requests.request_detector(request, split=split, config=config.replace(align="none"))
    assert not Run.objects.exists()
    settings.RUNS_IN_BUCKET = True  # another machine executes it, and asks
    requests.request_detector(request, split=split, config=config.replace(align="none"))


# A chain, and runs in the queue ----------------------------------------------------------------------


def queued_chain(split: Split, config: PipelineConfig, **scored: Any) -> tuple[Run, Run, Run]:
    """An alignment, a detector after it and a scoring run after that, as a person requests them at once."""
    fit = requests.request_aligned_detector(RunRequest(site=split.site, name="Detector"), split=split, config=config)
    score = requests.request_score(RunRequest(site=split.site, name="Scores"), after=fit, **scored)
    assert fit.after is not None
    return fit.after, fit, score


def test_the_stages_of_queued_runs_take_the_costs_measured_for_their_films(
    split: Split, measured: Callable[..., PipelineConfig]
) -> None:
    config = measured()
    alignment, fit, score = (
        run_forecasts.of_queued(run) for run in queued_chain(split, config, parts=["tune", "test"])
    )
    assert alignment is not None and fit is not None and score is not None
    assert fit.stages["features"] == pytest.approx(0.05 * 6)  # seconds a film, films of fit
    assert fit.stages["tune"] > 0.05 * 4
    assert score.stages["maps"] > 0.05 * (4 + 2)
    rounds = config.alignment.epochs
    assert sum(alignment.stages.values()) > 6 * 0.04 * rounds
    assert {one.start_seconds for one in (alignment, fit, score)} == {3.0}


def test_a_chain_is_forecast_as_its_runs_once_they_are_queued(
    split: Split, measured: Callable[..., PipelineConfig]
) -> None:
    config = measured()
    counts = {"fit": 6, "tune": 4, "calibrate": 2, "test": 2}
    megapixels = run_forecasts.megapixels_of(Image.objects.all())
    runs = queued_chain(split, config, parts=["tune", "test"])
    queued = [run_forecasts.of_queued(run) for run in runs]

    chain = run_forecasts.of_chain(counts, config, aligned=True, scored=["tune", "test"], megapixels=megapixels)
    alone = run_forecasts.of_chain(counts, config, aligned=False, scored=["tune"], megapixels=megapixels)

    assert chain is not None and alone is not None and None not in queued
    expected = [f"{place}-{name}" for place, one in enumerate(queued) if one for name in one.stages]
    assert list(chain.stages) == expected
    assert sum(chain.stages.values()) == pytest.approx(sum(sum(one.stages.values()) for one in queued if one))
    assert chain.memory_mib == max(one.memory_mib for one in queued if one)
    assert chain.disk_mib == pytest.approx(sum(one.disk_mib for one in queued if one))
    assert alone.seconds < chain.seconds - 6 * 0.04 * config.alignment.epochs


def test_a_queued_scoring_run_counts_the_films_that_it_will_score(
    split: Split, measured: Callable[..., PipelineConfig]
) -> None:
    config = measured()
    elsewhere = made.dataset(split.site, "Elsewhere")
    for number in range(40):
        made.film(elsewhere, number=100 + number)
    few, many = (
        run_forecasts.of_queued(queued_chain(split, config, **chosen)[2])
        for chosen in ({"parts": ["test"]}, {"datasets": [elsewhere]})
    )
    assert few is not None and many is not None
    assert many.stages["maps"] == pytest.approx(20 * few.stages["maps"], rel=0.05)

    detector = made.detector_model(split, config=config.to_json())
    request = RunRequest(site=split.site, name="Fitted")
    fitted = requests.request_score(request, detector=detector, parts=["test"])
    assert run_forecasts.of_queued(fitted) == run_forecasts.of_score(detector, config, parts=["test"], datasets=[])


def test_a_queued_run_of_another_kind_or_of_an_unmeasured_machine_has_no_forecast(
    split: Split, measured: Callable[..., PipelineConfig], settings: Any, tmp_path: Path
) -> None:
    config = measured()
    runs = queued_chain(split, config, parts=["test"])
    assert run_forecasts.of_queued(made.run(split, kind=RunKind.ABLATION, config=config.to_json())) is None
    settings.DATA_DIR = tmp_path / "another"
    assert [run_forecasts.of_queued(run) for run in runs] == [None] * 3
    assert run_forecasts.of_chain({"fit": 6}, config, aligned=True, scored=["test"], megapixels=1.0) is None


# The form ---------------------------------------------------------------------------------------------


@pytest.fixture
def web(client: Client, split: Split) -> Client:
    client.force_login(made.person("ana", at=split.site, role=Role.ANALYST))
    return client


def filled(split: Split, **values: str) -> dict[str, str]:
    """A form that is filled in but for the run's name."""
    advanced = "\n".join(f"{name}={value}" for name, value in made.SMALL.items() if "." in name or name == "batch")
    own = {name: made.SMALL[name] for name in ("size", "backbone", "weights", "rate", "grid", "mask")}
    return {"split": str(split.uuid), "preset": "default", "alignment": "none", "advanced": advanced, **own, **values}


def asked(web: Client, kind: str, values: dict[str, str]) -> str:
    response = web.post(reverse("ml_engine:run-forecast", args=[kind]), values)
    assert response.status_code == 200
    return response.content.decode()


def test_the_form_says_what_a_run_takes(
    web: Client, split: Split, measured: Callable[..., PipelineConfig], settings: Any
) -> None:
    values = filled(split)
    assert asked(web, "fit_detector", values) == run_forecasts.NOT_MEASURED

    measured(threads=str(settings.ENGINE_THREADS))

    assert asked(web, "fit_detector", values).startswith("This takes about ")
    assert asked(web, "fit_detector", values | {"alignment": "first"}).startswith("This takes about ")
    assert asked(web, "fit_detector", values | {"split": ""}) == ""
    assert "rate is 7" in asked(web, "fit_detector", values | {"rate": "7"})
    tight = asked(web, "fit_detector", values | {"advanced": values["advanced"] + "\nmemory_gib=0.1"})
    assert "and memory_gib is 0.1: choose a smaller" in tight
    assert "hilum-warning" in tight


def test_a_scoring_form_is_forecast_by_its_detector(
    web: Client, split: Split, measured: Callable[..., PipelineConfig]
) -> None:
    config = measured()
    detector = made.detector_model(split, config=config.to_json())

    sentence = asked(web, "score", {"detector": str(detector.run.uuid), "parts": "test"})

    assert sentence == run_forecasts.NOT_MEASURED or sentence.startswith("This takes about ")
    made_forecast = run_forecasts.of_score(detector, config, parts=["test"], datasets=[])
    assert made_forecast is not None
    assert list(made_forecast.stages) == ["films", "align", "maps", "results"]


def test_only_those_who_may_request_runs_are_told(client: Client, split: Split) -> None:
    client.force_login(made.person("rho", at=split.site, role=Role.READER))
    address = reverse("ml_engine:run-forecast", args=[RunKind.FIT_DETECTOR])

    assert client.post(address, filled(split)).status_code == 403
    assert client.get(address).status_code == 405


def test_kinds_without_a_forecast_are_not_found(web: Client) -> None:
    assert web.post(reverse("ml_engine:run-forecast", args=["bank_study"]), {}).status_code == 404
