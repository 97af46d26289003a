"""Boxes of labels: which are shown."""

from __future__ import annotations

import pytest

from portal.labels.boxes import boxes_shown
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
