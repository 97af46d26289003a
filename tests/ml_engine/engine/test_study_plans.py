"""The checked settings of studies, and the films of their banks."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from ml_engine.command import banks
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.engine.study_plans import (
    BankPlan,
    EmbeddingPlan,
    HeadPlan,
    LesionPlan,
    check_reachable,
    count_injected,
    draw_films,
    draw_injected_films,
    parse_numbers,
)


def test_the_complete_clean_bank_serves_both_questions() -> None:
    planned_banks = BankPlan(shares=(0.5,), repeats=2, contaminations=(0.02,)).banks
    assert [(bank.share, bank.contamination, bank.repeat) for bank in planned_banks] == [
        (1.0, 0.0, 0),
        (0.5, 0.0, 0),
        (0.5, 0.0, 1),
        (1.0, 0.02, 0),
        (1.0, 0.02, 1),
    ]
    assert len({bank.name for bank in planned_banks}) == len(planned_banks)
    assert [bank.name for bank in BankPlan(shares=(1.0,), contaminations=(0.0,)).banks] == ["whole"]


@pytest.mark.parametrize(
    "plan",
    [
        BankPlan(),
        BankPlan((0.3,), 1, (0.1,)),
        LesionPlan(),
        LesionPlan(kinds=("nodule",)),
        HeadPlan(),
        HeadPlan("folds", True, 0.2, 3),
        EmbeddingPlan(),
        EmbeddingPlan(neighbours=30, epochs=50),
    ],
)
def test_a_plan_survives_json(plan: Any) -> None:
    assert type(plan).from_json(json.loads(json.dumps(plan.to_json()))).to_json() == plan.to_json()


@pytest.mark.parametrize(
    ("plan", "values", "sentence"),
    [
        (BankPlan, {"shares": [0.0]}, "shares is 0: it must be a share of the fit films above 0"),
        (BankPlan, {"shares": "0.1"}, "shares is '0.1': it must be a list of numbers"),
        (BankPlan, {"shares": [float("nan")]}, "it must be a list of numbers"),
        (BankPlan, {"contaminations": [0.7]}, "contaminations is 0.7: it must be a share of the bank's films"),
        (BankPlan, {"repeats": 2.5}, "repeats is 2.5: it must be a whole number"),
        (BankPlan, {"repeats": 20}, "make 181 banks: at most 60"),
        (BankPlan, {"sizes": [1]}, "bank has 'sizes': it takes shares, repeats, contaminations"),
        (BankPlan, [], "bank is []: it must be an object"),
        (LesionPlan, {"part": "fit"}, "part is 'fit': it must be one of tune, test"),
        (LesionPlan, {"kinds": ["mass"]}, "kind is 'mass': it must be one of nodule"),
        (LesionPlan, {"kinds": []}, "kinds is empty"),
        (LesionPlan, {"sizes_mm": {"nodule": [0.2]}}, "size of nodule is 0.2: it must be a length in mm"),
        (LesionPlan, {"contrasts": [2]}, "contrasts is 2: it must be a share of the gray scale"),
        (LesionPlan, {"films": 10_000, "places": 50}, "lesions: at most 100000"),
        (EmbeddingPlan, {"neighbours": 51}, "neighbours is 51: it must be a whole number from 2 to 50"),
        (EmbeddingPlan, {"epochs": 5}, "epochs is 5: it must be a whole number from 10 to 2000"),
        (EmbeddingPlan, {"k": 5}, "embedding has 'k': it takes neighbours, epochs"),
    ],
)
def test_invalid_settings_are_refused(plan: Any, values: Any, sentence: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        plan.from_json(values)
    assert sentence in str(refused.value)


def test_numbers_are_parsed_leniently() -> None:
    assert parse_numbers("shares", "10%, 0.5;1") == (0.1, 0.5, 1.0)
    for text in ("", "ten"):
        with pytest.raises(InvalidConfig, match="write numbers joined by commas"):
            parse_numbers("shares", text)


def test_a_smaller_draw_is_part_of_a_larger_one_and_patients_stay_whole() -> None:
    patients = ["a", "b", "b", "c", "d", "d", "d", "e"]
    draws = [set(draw_films(patients, count, (3, 1)).tolist()) for count in (1, 3, 5, 8)]
    assert all(less <= more for less, more in pairwise(draws))
    assert draws[-1] == set(range(8))
    for draw in draws:
        for name in set(patients):
            whole = {film for film, patient in enumerate(patients) if patient == name}
            assert whole <= draw or not whole & draw
    assert any(draw_films(patients, 3, (3, k)).tolist() != draw_films(patients, 3, (3, 0)).tolist() for k in (1, 2))


def test_the_injected_films_make_up_the_share_and_are_nested() -> None:
    assert count_injected(95, 0.05) == 5
    assert count_injected(10, 0.01) == 1
    assert count_injected(10, 0.0) == 0
    few, many = (set(draw_injected_films([*"abcdefgh"], count, (0, 2)).tolist()) for count in (2, 5))
    assert len(few) == 2 and few < many


def test_an_unreachable_contamination_states_the_films_it_needs() -> None:
    plan = BankPlan(contaminations=(0.0, 0.02, 0.05))
    check_reachable(plan, normals=95, abnormals=5)
    with pytest.raises(EngineError) as refused:
        check_reachable(plan, normals=95, abnormals=4)
    assert str(refused.value) == (
        "A contamination of 0.05 needs 5 abnormal films in tune beside the 95 normal films of fit, and there are 4: "
        "choose at most 0.02, or label more films."
    )


@pytest.mark.parametrize("text", ["nodule", "tumour=5"])
def test_sizes_on_the_command_line_name_a_kind(text: str) -> None:
    with pytest.raises(InvalidConfig, match="write KIND=LIST, such as nodule=5,10,20"):
        banks._parse_sizes([text])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"penalty": 0}, "penalty is 0: it must be a number from 0.001 to 1000000, or folds"),
        ({"penalty": "much"}, "penalty is 'much': it must be a number"),
        ({"read_normals": "yes"}, "read_normals is 'yes': it must be true or false"),
        ({"false_alarm_rate": 1.0}, "false_alarm_rate is 1: it must be a number above 0 and below 1"),
        ({"repeats": 0}, "repeats is 0: it must be a whole number from 1 to 50"),
        ({"lambda": 1}, "head has 'lambda': it takes penalty"),
    ],
)
def test_a_head_has_settings_within_bounds(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        HeadPlan.from_json(change)
