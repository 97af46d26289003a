"""What a further label keeps of the film's label. Which label counts is tested with the events that make it."""

from __future__ import annotations

from typing import Any

import pytest

from portal.labels.resolving import Kept, carried, standing
from portal.models import Image, LabelEvent, LabelSource, Role
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]

BOX = {"x": 2.0, "y": 3.0, "width": 5.0, "height": 6.0, "finding": "nodule"}
NODULE = Kept("abnormal", ("nodule",), (BOX,))


@pytest.fixture
def film() -> Image:
    return factories.film(factories.dataset())


@pytest.fixture
def ann() -> Any:
    return factories.curator("ann")


@pytest.fixture
def ben() -> Any:
    return factories.curator("ben")


def history(film: Image) -> list[LabelEvent]:
    return list(film.label_events.order_by("created_at", "pk"))


def nodule(film: Image, author: Any = None, **fields: Any) -> LabelEvent:
    return factories.event(film, "abnormal", author, findings=["nodule"], boxes=[BOX], **fields)


def test_a_film_without_a_label_gives_nothing(film: Image, ann: Any) -> None:
    assert standing([], ann) == carried([], "normal", ann) == Kept()


@pytest.mark.parametrize("who", ["import", "own", "another", "adjudicator"])
def test_the_same_value_takes_what_the_film_has_whoever_gave_it(film: Image, ann: Any, ben: Any, who: str) -> None:
    judge = factories.user("judge", Role.ADJUDICATOR)
    author = {"import": None, "own": ann, "another": ben, "adjudicator": judge}[who]
    nodule(film, author, **({"source": LabelSource.ADJUDICATION} if who == "adjudicator" else {}))
    assert carried(history(film), "abnormal", ann) == NODULE
    assert carried(history(film), "normal", ann) == Kept()


def test_an_overridden_import_gives_nothing(film: Image, ann: Any, ben: Any) -> None:
    nodule(film)
    factories.event(film, "normal", ben)
    assert carried(history(film), "abnormal", ann) == Kept()


def test_an_own_label_gives_what_an_agreeing_label_of_another_lacks(film: Image, ann: Any, ben: Any) -> None:
    nodule(film, ann)
    factories.event(film, "abnormal", ben)
    assert carried(history(film), "abnormal", ann) == NODULE
    assert carried(history(film), "abnormal", ben) == Kept("abnormal")


def test_where_readers_differ_the_own_label_is_confirmed(film: Image, ann: Any, ben: Any) -> None:
    nodule(film, ann)
    factories.event(film, "normal", ben, findings=["device"])
    assert standing(history(film), ann) == NODULE
    assert standing(history(film), ben) == Kept("normal", ("device",))
    assert standing(history(film), factories.curator("cho")) == Kept()


def test_who_joins_a_side_takes_what_it_holds(film: Image, ann: Any, ben: Any) -> None:
    nodule(film, ann)
    factories.event(film, "normal", ben)
    assert carried(history(film), "abnormal", ben) == NODULE
    assert carried(history(film), "unsure", ben) == Kept()


def test_a_label_that_was_taken_back_gives_nothing(film: Image, ann: Any) -> None:
    event = nodule(film, ann)
    factories.event(film, "", ann, reverts=event)
    assert carried(history(film), "abnormal", ann) == Kept()
