"""The search for burned-in text: which films it suspects, that it goes on, and which wait for a decision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from portal import tasks
from portal.intake import text_looks
from portal.intake.film_files import pixel_path
from portal.intake.text_decisions import decide_no_text
from portal.intake.text_looks import begin_search, film_that_had, look_for_text, search_of, to_decide
from portal.models import AuditEvent, Dataset, Role, TextLook
from tests.portal import factories
from tests.portal.texted import film_with_text

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of(data_dir: Path) -> Dataset:
    return factories.dataset()


def test_films_with_text_and_those_whose_header_says_so_wait(of: Dataset) -> None:
    factories.film(of)
    by_header = factories.film(of, header={"burned_in": "YES"})
    by_pixels = film_with_text(of)
    assert list(to_decide(of.images.all())) == [by_header]
    assert look_for_text(of) == 0
    assert set(to_decide(of.images.all())) == {by_header, by_pixels}
    line = TextLook.objects.get(image=by_pixels).lines[0]
    assert line["characters"] >= 5
    assert 30 <= line["x"] <= 60
    search = search_of(of)
    assert (search.films, search.looked_at, search.suspected, search.left) == (3, 3, 2, 0)
    decide_no_text(image=by_pixels, pixels_seen=by_pixels.pixel_sha256, author=factories.curator())
    assert list(to_decide(of.images.all())) == [by_header]


def test_a_film_whose_pixels_are_lost_counts_as_looked_at(of: Dataset) -> None:
    film = film_with_text(of)
    pixel_path(film.pixel_sha256).unlink()
    assert look_for_text(of) == 0
    assert not TextLook.objects.get(image=film).is_suspected


def test_the_search_goes_on_until_nothing_is_left(of: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        factories.film(of)
    monkeypatch.setattr(text_looks, "_BATCH", 1)
    monkeypatch.setattr(tasks, "LOOK_SECONDS", 0.0)
    published: list[Any] = []
    monkeypatch.setattr(tasks, "publish_search", published.append)
    for left in (2, 1, 0):
        tasks.search_text_in(str(of.uuid))
        assert search_of(of).left == left
    assert len(published) == 2


def test_beginning_is_recorded_and_needs_a_role(
    of: Dataset, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    factories.film(of)
    published: list[Any] = []
    monkeypatch.setattr(text_looks, "publish_search", published.append)
    with django_capture_on_commit_callbacks(execute=True):
        assert begin_search(dataset=of, author=factories.curator()).left == 1
    assert published == [of]
    assert AuditEvent.objects.get(verb="search for burned-in text").after == {"films": 1}
    with pytest.raises(PermissionDenied):
        begin_search(dataset=of, author=factories.user("reader", Role.READER))


def test_pixels_that_nobody_blacked_out_are_of_no_film(of: Dataset) -> None:
    film = film_with_text(of)
    assert film_that_had(of, film.pixel_sha256) is None
