"""Runs say which facts of their films were others when they were made, where the engine reads these."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ml_engine.models import Run, RunKind
from ml_engine.runs.earlier_facts import earlier_facts
from portal.intake import corrections
from portal.models import HeaderDifference, Image, Part, Role, Upload, User
from tests.analysis.scored import Scored, scored_run
from tests.portal import factories

pytestmark = [pytest.mark.django_db]

NONE = {"spacing_mm": None, "spacing_plane": "", "pixel_aspect": 1.0}
SQUARE = {"spacing_mm": [0.2, 0.2], "spacing_plane": "detector", "pixel_aspect": 1.0}
FLAT = {"spacing_mm": [0.2, 0.1], "spacing_plane": "detector", "pixel_aspect": 1.0}
WINDOW = {"windows": [], "voi_function": "LINEAR", "voi_luts": [], "shows_nothing": False}


@pytest.fixture
def scored(data_dir: Any) -> Scored:
    made = scored_run(factories.site(), author=factories.user("analyst", Role.ANALYST))
    Run.objects.update(started_at=timezone.now() - timedelta(hours=1))
    made.run.refresh_from_db()
    return made


def take(film: Image, fact: str, new: Any, old: Any = "") -> None:
    upload = Upload.objects.create(dataset=film.dataset)
    HeaderDifference.objects.create(image=film, upload=upload, fact=fact, old=old, new=new)
    corrections.take(HeaderDifference.objects.filter(image=film, fact=fact), actor=None)


def configured(run: Run, **config: Any) -> Run:
    run.config = {**run.config, **config}
    return run


def test_only_what_the_engine_reads_marks_a_run(scored: Scored) -> None:
    run, (one, two, *_) = scored.run, scored.films
    assert earlier_facts(run) == {}
    take(one, "view", "AP")
    take(one, "laterality", "L")
    assert earlier_facts(run) == {}
    take(one, "window", WINDOW | {"windows": [{"center": 1, "width": 2, "name": ""}]})
    take(two, "window", WINDOW | {"windows": [{"center": 1, "width": 2, "name": ""}]})
    assert earlier_facts(configured(run, intensity="window")) == {"window": 2}
    assert earlier_facts(configured(run, intensity="minmax")) == {}
    take(one, "spacing", SQUARE)
    assert earlier_facts(configured(run, resize="pad")) == {}  # the same aspect as without a spacing
    take(two, "spacing", FLAT)
    assert earlier_facts(configured(run, resize="pad")) == {"spacing": 1}
    assert earlier_facts(configured(run, resize="stretch")) == {}
    gray = {key: one.facts[key] for key in ("bits_stored", "offset", "slope", "intercept", "modality_lut", "padding")}
    take(one, "gray scale", gray | {"photometric": "MONOCHROME1", "presentation_inverse": False})
    take(two, "patient", {"pseudonym": "a" * 32, "sex": "", "age_band": ""})
    assert earlier_facts(run) == {"patient": 1, "gray scale": 1}


def test_a_run_that_started_afterwards_or_not_yet_has_the_new_facts(scored: Scored) -> None:
    take(scored.films[0], "patient", {"pseudonym": "a" * 32, "sex": "", "age_band": ""})
    assert earlier_facts(scored.run) == {"patient": 1}
    for started in (timezone.now(), None):
        scored.run.started_at = started
        assert earlier_facts(scored.run) == {}


def test_a_fit_has_the_films_of_its_split_but_test(scored: Scored) -> None:
    fit = Run.objects.get(kind=RunKind.FIT_DETECTOR)
    films = Image.objects.filter(split_images__member__split=scored.split).order_by("pk")
    patient = {"pseudonym": "a" * 32, "sex": "", "age_band": ""}
    take(films.filter(split_images__member__part=Part.TEST)[0], "patient", patient)
    assert earlier_facts(fit) == {}
    take(films.filter(split_images__member__part=Part.FIT)[0], "patient", patient)
    assert earlier_facts(fit) == {"patient": 1}
    assert earlier_facts(scored.run) == {"patient": 1}  # which scored the film of test, and not that of fit


def test_page_and_api_say_so(scored: Scored) -> None:
    client = Client()
    client.force_login(User.objects.get(username="analyst"))
    address = f"/runs/{scored.run.uuid}/"
    assert "made with earlier facts" not in client.get(address).content.decode()
    take(scored.films[0], "patient", {"pseudonym": "a" * 32, "sex": "", "age_band": ""})
    page = " ".join(client.get(address).content.decode().split())
    assert (
        "made with earlier facts or pixels of films that were corrected or blacked out since: patient of 1 film."
        in page
    )
    assert client.get(f"/api/v1/runs/{scored.run.uuid}/").json()["earlier_facts"] == {"patient": 1}
