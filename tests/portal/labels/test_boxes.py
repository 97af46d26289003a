"""Boxes of labels: which are valid, and which are shown."""

from __future__ import annotations

from typing import Any

import pytest

from portal.labels.boxes import InvalidBox, boxes_shown, checked_boxes
from portal.models import Image
from tests.portal import factories

pytestmark = [pytest.mark.django_db]

BOX = {"x": 2.0, "y": 3.0, "width": 5.0, "height": 6.0, "finding": "nodule"}
OTHER = {**BOX, "x": 9.0}


@pytest.fixture
def film() -> Image:
    return factories.film(factories.dataset())


def shown(film: Image) -> list[tuple[float, str]]:
    return [(box["x"], box["source"]) for box in boxes_shown(list(film.label_events.order_by("pk")))]


def test_boxes_are_stored_as_numbers_with_a_finding(film: Image) -> None:
    sent: list[dict[str, Any]] = [{**BOX, "confidence": 80}, {"x": 0, "y": 0, "width": 20, "height": 24}]
    assert checked_boxes(sent, film) == [BOX, {"x": 0.0, "y": 0.0, "width": 20.0, "height": 24.0, "finding": ""}]


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ({"x": -1}, "does not fit the film of 20 × 24 pixels; draw it inside the film"),
        ({"width": 18.5}, "A box at (2, 3) of 18.5 × 6 pixels does not fit the film"),
        ({"height": 0}, "draw it inside the film"),
        ({"width": float("nan")}, "draw it inside the film"),
        ({"x": float("inf")}, "draw it inside the film"),
        ({"x": "left"}, "A box needs x, y, width and height in film pixels"),
        ({"x": None}, "A box needs x, y, width and height in film pixels"),
        ({"finding": "n" * 101}, "The finding of a box is too long"),
        ({"finding": "a\0b"}, "contains a NUL character"),
    ],
)
def test_a_box_outside_the_film_or_without_a_size_is_refused(film: Image, box: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidBox) as refused:
        checked_boxes([{**BOX, **box}], film)
    assert words in str(refused.value)


def test_too_many_boxes_are_refused(film: Image) -> None:
    with pytest.raises(InvalidBox, match="51 boxes are drawn; draw at most 50"):
        checked_boxes([BOX] * 51, film)


def test_the_latest_boxes_of_each_author_are_shown(film: Image) -> None:
    factories.event(film, "abnormal", boxes=[BOX])
    ann = factories.curator("ann")
    factories.event(film, "abnormal", ann, boxes=[BOX])
    event = factories.event(film, "abnormal", ann, boxes=[OTHER])
    assert shown(film) == [(2.0, "import"), (9.0, "reader")]
    factories.event(film, "", ann, reverts=event)
    assert shown(film) == [(2.0, "reader")]


def test_a_kept_box_is_shown_once(film: Image) -> None:
    factories.event(film, "abnormal", boxes=[BOX, OTHER])
    factories.event(film, "abnormal", factories.curator("ann"), boxes=[BOX])
    assert sorted(shown(film)) == [(2.0, "reader"), (9.0, "import")]
