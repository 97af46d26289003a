"""Copies of test films are not scored with whole datasets: nobody sees results on test without a counted look."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ml_engine.models import DetectorModel, Run
from ml_engine.runs.copies_of_test import copies_in_words
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest, request_score
from ml_engine.runs.write_folder import films_of
from portal.models import Dataset, FilmPair, Image, Role
from tests.ml_engine import made
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def detector(data_dir: Path) -> DetectorModel:
    return made.detector_model(made.small_split(made.site()))


@pytest.fixture
def more(detector: DetectorModel) -> Dataset:
    return factories.dataset("More", at=detector.site)


def film_of(detector: DetectorModel, part: str) -> Image:
    film = Image.objects.filter(split_images__member__split=detector.split, split_images__member__part=part).first()
    assert film is not None
    return film


def scoring(detector: DetectorModel, *datasets: Dataset) -> Run:
    return request_score(RunRequest(site=detector.site, name="S"), detector=detector, datasets=datasets)


def test_copies_of_test_films_are_left_out_and_said(client: Client, detector: DetectorModel, more: Dataset) -> None:
    of_test, of_fit = film_of(detector, "test"), film_of(detector, "fit")
    new, judged = factories.film(more), factories.film(more)
    factories.copy(of_test, more)
    copy_of_fit = factories.copy(of_fit, more)
    pair = factories.pair(of_test, judged)
    pair.verdict, pair.judged_by, pair.judged_at = FilmPair.Verdict.SAME, factories.curator("kim"), timezone.now()
    pair.save()
    run = scoring(detector, more)
    assert [film.image for film in films_of(run)] == [new, copy_of_fit]
    words = "2 films are not scored, as copies of films in the test part of"
    assert copies_in_words(run).startswith(words)
    client.force_login(made.person("ana", at=detector.site, role=Role.ANALYST))
    assert words in client.get(reverse("ml_engine:run", args=[run.uuid])).text


def test_films_of_the_split_itself_are_scored_as_before(detector: DetectorModel) -> None:
    film = film_of(detector, "test")
    run = scoring(detector, film.dataset)
    assert film in [scored.image for scored in films_of(run)]
    assert copies_in_words(run) == ""


def test_one_copy_is_said_in_the_singular(detector: DetectorModel, more: Dataset) -> None:
    factories.film(more)
    factories.copy(film_of(detector, "test"), more)
    words = "1 film is not scored, as it is a copy of one in the test part of “First”: its score would show results on"
    assert copies_in_words(scoring(detector, more)).startswith(words)


def test_copies_alone_are_refused(detector: DetectorModel, more: Dataset) -> None:
    factories.copy(film_of(detector, "test"), more)
    with pytest.raises(RunRefused, match=r"copies of films in the test part of .* Score the part test of the split"):
        scoring(detector, more)
    assert not Run.objects.filter(name="S").exists()
