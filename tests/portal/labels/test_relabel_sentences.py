"""The sentences of a preview count each film once and name what goes."""

from __future__ import annotations

from typing import Any

import pytest

from portal.labels.events import LabelChange
from portal.labels.losses import LabelLoss
from portal.labels.relabel import RelabelPreview
from portal.labels.relabel_sentences import films, sentences_of
from portal.models import NormalCriteria

NO_CRITERIA = "The site has not written down what normal means, so the labels name no criteria."


def sentences(moves: dict[tuple[str, str], int], value: str = "abnormal", **more: Any) -> list[str]:
    """Without the sentence about the criteria."""
    change = {name: more.pop(name) for name in ("findings", "attributes") if name in more}
    plain: dict[str, Any] = {"gone": [], "keeping": 0, "omitted": 0, "in_test": 0, "criteria": None, "token": ""}
    lines = sentences_of(RelabelPreview(change=LabelChange(value=value, **change), moves=moves, **{**plain, **more}))
    assert lines[-1] == NO_CRITERIA
    return lines[:-1]


@pytest.mark.parametrize(
    ("moves", "sentence"),
    [
        ({("normal", "abnormal"): 1}, "1 film changes from normal to abnormal."),
        ({("unlabelled", "abnormal"): 4321}, "4,321 films change from unlabelled to abnormal."),
        (
            {("unlabelled", "abnormal"): 2, ("normal", "abnormal"): 300, ("unsure", "abnormal"): 1},
            "303 films change to abnormal: 300 from normal, 2 from unlabelled and 1 from unsure.",
        ),
    ],
)
def test_how_many_change_from_what_to_what(moves: dict[tuple[str, str], int], sentence: str) -> None:
    assert sentences(moves) == [sentence]


@pytest.mark.parametrize(
    ("count", "keeping", "findings", "sentence"),
    [
        (1, 0, None, "1 film is abnormal already and stays so."),
        (5, 5, None, "5 films are abnormal already and stay so, and keep their findings and boxes."),
        (5, 1, None, "5 films are abnormal already and stay so; 1 of them keeps its findings and boxes."),
        (5, 2, [], "5 films are abnormal already and stay so; 2 of them keep their boxes."),
    ],
)
def test_how_many_stay_and_what_they_keep(count: int, keeping: int, findings: list[str] | None, sentence: str) -> None:
    first, second, *_ = sentences({("abnormal", "abnormal"): count}, keeping=keeping, findings=findings)
    assert (first, second) == ("No film changes its label.", sentence)


def test_films_on_which_the_labels_of_others_decide() -> None:
    moves = {
        ("normal", "unresolved"): 2,
        ("unlabelled", "unresolved"): 1,
        ("unresolved", "unresolved"): 1,
        ("normal", "normal"): 3,
    }
    assert sentences(moves)[1:] == [
        "3 films become unresolved, because another reader's label differs; an adjudicator decides.",
        "1 film stays unresolved, because readers differ.",
        "3 films keep their adjudicated label; yours is stored beside it.",
    ]


def test_what_no_longer_counts_is_named_and_counted() -> None:
    gone = [LabelLoss(("nodule", "effusion"), 2), LabelLoss(("nodule",), 0), LabelLoss((), 1, ("device",))]
    assert sentences({("abnormal", "normal"): 3}, value="normal", gone=gone)[1] == (
        "On 3 films parts of the earlier label no longer count: the findings nodule (2 films) and effusion (1 film); "
        "the attribute device (1 film); 3 boxes (2 films). Undo brings them back."
    )


def test_many_findings_are_not_all_named() -> None:
    gone = [LabelLoss(tuple(f"finding {n}" for n in range(10)), 0)]
    assert "finding 7 (1 film) and 2 others." in sentences({("abnormal", "normal"): 1}, value="normal", gone=gone)[1]


def test_what_is_stated() -> None:
    assert sentences({("normal", "abnormal"): 1}, findings=["nodule", "effusion"])[1] == (
        "Each label has the findings nodule and effusion."
    )
    lines = sentences({("normal", "normal"): 1}, value="normal", findings=[], attributes=["device"])
    assert lines[-1] == "No label has findings. Each label has the attribute device."


def test_what_is_left_out_and_what_does_not_change() -> None:
    assert sentences({("normal", "abnormal"): 1}, omitted=2, in_test=1)[1:] == [
        "2 films are omitted: you have yet to read them, or others of the patient, blinded.",
        "1 film is in the test part of a split. A split keeps the labels that it was frozen with.",
    ]


def test_the_version_of_the_criteria_is_named() -> None:
    preview = RelabelPreview(
        change=LabelChange(value="normal"),
        moves={("unlabelled", "normal"): 1},
        gone=[],
        keeping=0,
        omitted=0,
        in_test=0,
        criteria=NormalCriteria(version=3),
        token="",
    )
    assert sentences_of(preview)[-1] == "The labels name the criteria v3."


def test_films_are_counted_in_words() -> None:
    assert (films(1, "is", "are"), films(2, "is", "are"), films(0)) == ("1 film is", "2 films are", "0 films")
