"""A detector of frontal films scores no lateral: what is left out is said, and a run of laterals alone is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from ml_engine.models import DetectorModel, Run
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.refused_views import fitted_on, left_out_in_words
from ml_engine.runs.requests import RunRequest, request_score
from ml_engine.runs.write_folder import films_of
from portal.models import Role
from tests.ml_engine import made
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def detector(data_dir: Path) -> DetectorModel:
    return made.detector_model(made.small_split(made.site()))


def scoring(detector: DetectorModel, *views: str) -> Run:
    of = factories.dataset("More", at=detector.site)
    for view in views:
        factories.film(of, view=view)
    return request_score(RunRequest(site=detector.site, name="S"), detector=detector, datasets=[of])


def test_laterals_are_left_out_and_said(client: Client, detector: DetectorModel) -> None:
    run = scoring(detector, "PA", "LATERAL", "AP", "LL", "")
    assert [film.image.view_position for film in films_of(run)] == ["PA", "AP", ""]
    words = f"2 films are not scored (1 LATERAL, 1 LL): the detector was fitted on {fitted_on(detector.split)}"
    assert left_out_in_words(run).startswith(words)
    client.force_login(made.person("ana", at=detector.site, role=Role.ANALYST))
    assert words in client.get(reverse("ml_engine:run", args=[run.uuid])).text
    assert left_out_in_words(scoring_of_parts(detector)) == ""


def scoring_of_parts(detector: DetectorModel) -> Run:
    return request_score(RunRequest(site=detector.site, name="T"), detector=detector, parts=["test"])


def test_laterals_alone_are_refused_by_what_the_detector_was_fitted_on(detector: DetectorModel) -> None:
    on = fitted_on(detector.split)
    words = rf"None of these films \(1 LATERAL, 1 RL\) is frontal, and the detector was fitted on {on}:"
    with pytest.raises(RunRefused, match=words):
        scoring(detector, "LATERAL", "RL")
    assert not Run.objects.filter(name="S").exists()
