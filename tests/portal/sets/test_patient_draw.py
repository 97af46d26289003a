"""The draw of patients into parts with a seed."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from portal.sets.patient_draw import (
    TRAIN_FRACTIONS,
    FilmNumbers,
    InvalidFractions,
    TooFewPatients,
    check_fractions,
    draw_numbers,
    draw_parts,
    draw_train,
    keep_out_of_calibrate,
)

NORMALS = {f"n{number}": False for number in range(100)}
ABNORMALS = {f"a{number}": True for number in range(20)}
FOURFOLD = {"fit": 0.5, "tune": 0.15, "calibrate": 0.15, "test": 0.2}


def counts(parts: dict[str, str]) -> dict[str, int]:
    return dict(Counter(parts.values()))


def test_the_shares_are_met() -> None:
    assert counts(draw_parts(NORMALS, TRAIN_FRACTIONS, seed=0)) == {"fit": 70, "tune": 15, "calibrate": 15}
    assert counts(draw_parts(NORMALS, FOURFOLD, seed=3)) == {"fit": 50, "tune": 15, "calibrate": 15, "test": 20}


@pytest.mark.parametrize("patients", range(8))
def test_everybody_gets_one_part_by_largest_remainder(patients: int) -> None:
    drawn = draw_parts({f"n{number}": False for number in range(patients)}, TRAIN_FRACTIONS, seed=1)
    assert len(drawn) == patients
    exact = {part: patients * share for part, share in TRAIN_FRACTIONS.items()}
    assert all(abs(counts(drawn).get(part, 0) - share) < 1 for part, share in exact.items())


def test_abnormal_patients_go_where_abnormal_films_may_be() -> None:
    drawn = draw_parts(NORMALS | ABNORMALS, FOURFOLD, seed=0)
    assert counts({patient: drawn[patient] for patient in ABNORMALS}) == {"tune": 9, "test": 11}  # 15 to 20
    assert counts({patient: drawn[patient] for patient in NORMALS})["fit"] == 50


def test_abnormal_patients_are_in_no_part_where_none_may_hold_them() -> None:
    drawn = draw_parts(NORMALS | ABNORMALS, {"fit": 0.8, "calibrate": 0.2}, seed=0)
    assert set(drawn) == set(NORMALS)


def test_the_draw_depends_on_the_seed_and_not_on_the_order() -> None:
    patients = NORMALS | ABNORMALS
    shuffled = random.Random(7).sample(list(patients.items()), len(patients))
    first = draw_parts(patients, FOURFOLD, seed=5)
    assert draw_parts(dict(shuffled), FOURFOLD, seed=5) == first
    assert draw_parts(patients, FOURFOLD, seed=6) != first


def test_the_draw_of_a_seed_never_changes() -> None:
    """A split can be drawn again years later, unless the draw changes."""
    drawn = draw_parts(dict.fromkeys("abcdefghij", False), {"fit": 0.5, "tune": 0.2, "test": 0.3}, seed=42)
    assert "".join(drawn[name][0:2] for name in "abcdefghij") == "fitetufitufififitete"


@pytest.mark.parametrize(
    ("fractions", "sentence"),
    [
        ({"fit": 0.5, "test": 0.4}, "sum to 0.9; they must sum to 1"),
        ({"fit": 1.2, "test": -0.2}, "fraction of fit is 1.2"),
        ({"fit": float("nan"), "test": 0.5}, "fraction of fit is nan"),
        ({"tune": 0.5, "test": 0.5}, "fraction of fit is 0"),
        ({"fit": 0.0, "test": 1.0}, "fraction of fit is 0"),
    ],
)
def test_invalid_fractions_are_refused(fractions: dict[str, float], sentence: str) -> None:
    with pytest.raises(InvalidFractions, match=sentence):
        check_fractions(fractions)


def test_fractions_may_sum_to_1_within_rounding() -> None:
    check_fractions({"fit": 0.1 + 0.2, "test": 0.7})


def test_train_is_seven_tenths_fit() -> None:
    assert counts(draw_train(NORMALS, seed=0)) == {"fit": 70, "tune": 15, "calibrate": 15}


def test_train_with_a_single_calibrate_patient_fits_it() -> None:
    few = dict.fromkeys("abcdefgh", False)
    assert counts(draw_parts(few, TRAIN_FRACTIONS, seed=0)) == {"fit": 6, "tune": 1, "calibrate": 1}
    assert counts(draw_train(few, seed=0)) == {"fit": 7, "tune": 1}


def test_barred_patients_change_places_with_others_of_fit() -> None:
    drawn = draw_parts(NORMALS, FOURFOLD, seed=0)
    barred = {f"n{number}" for number in range(0, 100, 2)}
    changed = keep_out_of_calibrate(drawn, barred)
    assert counts(changed) == counts(drawn)
    assert not [patient for patient in barred if changed[patient] == "calibrate"]
    assert {patient for patient in drawn if drawn[patient] in ("tune", "test")} == {
        patient for patient in changed if changed[patient] in ("tune", "test")
    }
    assert keep_out_of_calibrate(drawn, set()) == drawn


def test_without_others_barred_patients_join_fit() -> None:
    drawn = draw_parts(NORMALS, FOURFOLD, seed=0)
    assert counts(keep_out_of_calibrate(drawn, set(NORMALS))) == {"fit": 65, "tune": 15, "test": 20}


# by numbers -------------------------------------------------------------------------------------------------


def test_numbers_are_drawn_exactly_and_by_the_seed() -> None:
    normal, abnormal = [f"n{number}" for number in range(40)], [f"a{number}" for number in range(20)]
    mined = {f"n{number}" for number in range(0, 40, 2)} | {"a0", "a1"}
    numbers = FilmNumbers(fit=12, test_normal=8, test_abnormal=9)
    parts = draw_numbers(normal, abnormal, numbers, seed=3, not_in_test=mined)
    in_test = {patient for patient, part in parts.items() if part == "test"}
    assert Counter((patient[0], part) for patient, part in parts.items()) == {
        ("n", "fit"): 12,
        ("n", "test"): 8,
        ("a", "test"): 9,
    }
    assert not in_test & mined
    assert parts == draw_numbers(normal[::-1], abnormal[::-1], numbers, seed=3, not_in_test=mined)
    assert parts != draw_numbers(normal, abnormal, numbers, seed=4, not_in_test=mined)


def test_too_few_patients_are_refused_with_their_numbers() -> None:
    with pytest.raises(TooFewPatients, match="1182 normal films for test, of which 2 are there; 1182 abnormal"):
        draw_numbers(["a", "b"], ["c"], FilmNumbers(), seed=0, not_in_test=())
