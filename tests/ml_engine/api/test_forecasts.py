"""The forecast of a run by API: the same sentence as on its form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from rest_framework.test import APIClient

from ml_engine.engine import unit_costs
from ml_engine.engine.forecast import sentence
from ml_engine.models import Run
from ml_engine.runs import requests, run_forecasts
from portal.models import Role, Split
from tests.ml_engine import made
from tests.ml_engine.engine.costs import COSTS

pytestmark = pytest.mark.django_db
SETTINGS = {name: value for name, value in made.SMALL.items() if name != "align"}


@pytest.fixture
def split(data_dir: Path) -> Split:
    return made.small_split(made.site())


@pytest.fixture
def api(split: Split) -> APIClient:
    client = APIClient()
    client.force_login(made.person("ana", at=split.site, role=Role.ANALYST))
    return client


def asked(client: APIClient, kind: str, **body: Any) -> Any:
    return client.post(reverse(f"api-forecast-{kind}"), body, format="json")


def measure(settings: Any) -> Any:
    """Costs for the small settings, as if this machine had been measured."""
    settings.RUN_DEVICE = "cpu"
    config = requests.config_from("default", SETTINGS)
    unit_costs.keep(config.replace(device="cpu"), COSTS, Path(settings.DATA_DIR) / unit_costs.NAME)
    return config


def test_a_machine_that_was_not_measured_gives_no_numbers(api: APIClient, split: Split) -> None:
    answer = asked(api, "fit_detector", split=str(split.uuid), settings=SETTINGS).json()
    assert answer == {
        "sentence": run_forecasts.NOT_MEASURED, "seconds": None, "memory_gib": None, "disk_gib": None,
    }  # fmt: skip


def test_a_fit_and_a_score_are_forecast_as_on_their_forms(api: APIClient, split: Split, settings: Any) -> None:
    config = measure(settings)
    body = {"split": str(split.uuid), "settings": SETTINGS}
    for kind, more, made_of in (
        ("fit_detector", {}, run_forecasts.of_fit(split, config.replace(align="none"), fits_alignment=False)),
        ("fit_detector", {"alignment": "first"}, run_forecasts.of_fit(
            split, config.replace(align="network"), fits_alignment=True)),
        ("fit_alignment", {}, run_forecasts.of_alignment(split, config.replace(align="network"))),
    ):  # fmt: skip
        assert made_of is not None
        assert asked(api, kind, **body, **more).json() == {"sentence": sentence(made_of), **made_of.to_json()}
    detector = made.detector_model(split, config=config.replace(align="none").to_json())
    scored = run_forecasts.of_score(detector, config.replace(align="none"), parts=["test"], datasets=[])
    assert scored is not None
    answer = asked(api, "score", detector=str(detector.uuid), parts=["test"])
    assert answer.json()["seconds"] == scored.to_json()["seconds"]
    assert Run.objects.filter(state="queued").count() == 0


def test_a_sweep_says_how_many_fits_it_makes(api: APIClient, split: Split) -> None:
    answer = asked(api, "sweep", split=str(split.uuid), settings=SETTINGS, axes={"rate": ["0.01", "0.1"]})
    assert answer.status_code == 200
    assert answer.json()["sentence"].startswith("This makes ")


def test_what_cannot_run_is_refused_with_a_sentence(api: APIClient, split: Split, settings: Any) -> None:
    measure(settings)
    body = {"split": str(split.uuid), "settings": SETTINGS}
    tight = asked(api, "fit_detector", **{**body, "settings": SETTINGS | {"memory_gib": "0.1"}})
    assert (tight.status_code, "and memory_gib is 0.1: choose a smaller" in tight.json()["detail"]) == (400, True)
    wrong = asked(api, "fit_detector", **{**body, "settings": SETTINGS | {"rate": "7"}})
    assert (wrong.status_code, "rate is 7" in wrong.json()["detail"]) == (400, True)
    detector = made.detector_model(split)
    nothing = asked(api, "score", detector=str(detector.uuid))
    assert (nothing.status_code, "Name parts of the split or datasets" in nothing.json()["detail"]) == (400, True)


def test_who_may(split: Split) -> None:
    for name, site, status in (("reader", split.site, 403), ("stranger", made.site("Busan"), 404)):
        client = APIClient()
        client.force_login(made.person(name, at=site, role=Role.READER if status == 403 else Role.MANAGER))
        assert asked(client, "fit_detector", split=str(split.uuid)).status_code == status
        assert asked(client, "sweep", split=str(split.uuid), axes={}).status_code == status
