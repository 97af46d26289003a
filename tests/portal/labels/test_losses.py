"""What a label takes away is said, and only that."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from portal.labels.events import undo
from portal.labels.losses import LabelLoss, losses_of, words_of
from portal.models import CurrentLabel, Image
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]

BOX = {"x": 2.0, "y": 3.0, "width": 5.0, "height": 6.0, "finding": "nodule"}


@pytest.fixture
def film() -> Image:
    film = factories.film(factories.dataset())
    factories.event(film, "abnormal", findings=["nodule"], boxes=[BOX, {**BOX, "x": 9.0}])
    return film


@pytest.fixture
def ann() -> Any:
    return factories.curator("ann")


def label(film: Image, value: str, author: Any, **change: Any) -> uuid.UUID:
    return factories.label_films(images=[film], value=value, author=author, site=film.dataset.site, **change)


def latest(film: Image) -> tuple[list[str], int]:
    event = film.label_events.latest("pk")
    return event.findings, len(event.boxes)


def test_a_confirmed_label_loses_nothing(film: Image, ann: Any) -> None:
    for _ in range(2):  # the imported label, then the own one
        assert losses_of(label(film, "abnormal", ann)) == {}
        assert latest(film) == (["nodule"], 2)
    assert CurrentLabel.objects.get(image=film).findings == ["nodule"]


def test_another_value_names_what_goes_and_undo_brings_it_back(film: Image, ann: Any) -> None:
    act = label(film, "normal", ann)
    assert latest(film) == ([], 0)
    assert losses_of(act) == {film.pk: LabelLoss(("nodule",), 2)}
    undo(act=act, author=ann, site=film.dataset.site)
    assert CurrentLabel.objects.get(image=film).findings == ["nodule"]
    label(film, "abnormal", ann)
    assert latest(film) == (["nodule"], 2)


def test_stated_findings_replace_the_earlier_ones(film: Image, ann: Any) -> None:
    assert losses_of(label(film, "abnormal", ann, findings=["effusion"])) == {film.pk: LabelLoss(("nodule",), 0)}
    assert latest(film) == (["effusion"], 2)
    assert losses_of(label(film, "abnormal", ann, findings=[])) == {film.pk: LabelLoss(("effusion",), 0)}
    assert latest(film) == ([], 2)


def test_stated_boxes_replace_the_earlier_ones(film: Image, ann: Any) -> None:
    assert losses_of(label(film, "abnormal", ann, boxes=[BOX])) == {film.pk: LabelLoss((), 1)}
    assert latest(film) == (["nodule"], 1)
    assert losses_of(label(film, "abnormal", ann, boxes=[])) == {film.pk: LabelLoss((), 1)}
    assert latest(film) == (["nodule"], 0)


def test_attributes_of_a_normal_film_go_with_its_value(film: Image, ann: Any) -> None:
    label(film, "normal", ann, attributes=["device", "variant"])
    assert losses_of(label(film, "normal", ann)) == {}
    act = label(film, "abnormal", ann)
    assert losses_of(act) == {film.pk: LabelLoss((), 0, ("device", "variant"))}
    assert losses_of(act)[film.pk].to_json()["attributes"] == ["device", "variant"]


def test_an_import_is_no_act_of_a_person(film: Image) -> None:
    assert losses_of(factories.event(film, "normal").batch) == {}


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([], ""),
        ([LabelLoss(("nodule",), 0)], "The finding nodule of the earlier label no longer counts; undo brings it back."),
        (
            [LabelLoss((), 0, ("device",))],
            "The attribute device of the earlier label no longer counts; undo brings it back.",
        ),
        ([LabelLoss((), 1)], "1 box of the earlier label no longer counts; undo brings it back."),
        (
            [LabelLoss(("nodule",), 2)],
            "The finding nodule and 2 boxes of the earlier label no longer count; undo brings them back.",
        ),
        (
            [LabelLoss(("nodule", "effusion"), 0)],
            "The findings nodule, effusion of the earlier label no longer count; undo brings them back.",
        ),
        (
            [LabelLoss(("nodule",), 2), LabelLoss(("effusion",), 0)],
            "Findings of 2 films and boxes of 1 film no longer count; undo brings them back.",
        ),
        ([LabelLoss((), 2), LabelLoss((), 1)], "Boxes of 2 films no longer count; undo brings them back."),
    ],
)
def test_the_sentence(losses: list[LabelLoss], words: str) -> None:
    assert words_of(losses) == words
