"""The page and the API "How many films do I need"."""

from __future__ import annotations

import math

import pytest
from django.test import Client
from django.urls import reverse
from scipy.stats import norm

from analysis.sections.study_size import QUESTIONS, InvalidStudySize, study_size

PAGE, API = "analysis:study-size", "api-study-size"


def test_one_auroc_is_enough_and_one_film_less_is_not() -> None:
    """By Obuchowski's formula, written out again."""
    size = study_size({"auroc": "0.7", "null": "0.5", "ratio": "2"}, kind="auroc")

    def power(abnormal: int) -> float:
        def error(area: float) -> float:
            a = 1.414 * norm.ppf(area)
            return math.sqrt(0.0099 * math.exp(-(a**2) / 2) * ((5 * a**2 + 8) / abnormal + (a**2 + 8) / (2 * abnormal)))

        return float(norm.cdf((0.2 - norm.ppf(0.975) * error(0.5)) / error(0.7)))

    assert size.normal == 2 * size.abnormal
    assert power(size.abnormal - 1) < 0.8 <= power(size.abnormal) == pytest.approx(size.power, abs=1e-9)


def test_films_at_hand_have_a_power_that_more_films_raise() -> None:
    few = study_size({"abnormal": "50", "normal": "50"}, kind="difference")
    many = study_size({"abnormal": "500", "normal": "500"}, kind="difference")
    assert (few.abnormal, few.normal) == (50, 50)
    assert few.power is not None and many.power is not None
    assert few.power < many.power


def test_collected_films_hold_both_numbers() -> None:
    size = study_size({"prevalence": "0.05"}, kind="rates")
    assert size.collected is not None
    assert size.collected * 0.05 >= size.abnormal
    assert size.collected * 0.95 >= size.normal
    assert (size.collected - 1) * 0.05 < size.abnormal


@pytest.mark.parametrize(
    ("kind", "query", "sentence"),
    [
        ("auroc", {"auroc": "1.2"}, "Expected AUROC: '1.2' is not possible, give a number from 0.501 to 0.999"),
        ("auroc", {"auroc": "nan"}, "Expected AUROC: 'nan' is not possible"),
        ("auroc", {"auroc": "0.7", "null": "0.7"}, "abnormal films are not enough"),
        ("auroc", {"abnormal": "20"}, "number of normal films at hand is missing"),
        ("auroc", {"abnormal": "20.5", "normal": "3"}, "give a whole number from 2 to 10,000,000"),
        ("difference", {"first": "0.8", "second": "0.8"}, "Choose values that differ more"),
        ("rates", {"half_width": "0"}, "Half the width of the interval: '0' is not possible"),
        ("ratio", {}, "no question 'ratio': choose one of auroc, difference, rates"),
    ],
)
def test_nonsense_is_answered_with_a_sentence(kind: str, query: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidStudySize, match=sentence):
        study_size(query, kind=kind)


@pytest.mark.django_db
def test_page_and_api_show_the_same(as_analyst: Client) -> None:
    query = {"kind": "auroc", "auroc": "0.75"}
    answer = as_analyst.get(reverse(API), query).json()
    page = as_analyst.get(reverse(PAGE), query).content.decode()
    assert f"{answer['abnormal']} abnormal and {answer['normal']} normal films" in page
    assert 'value="0.75"' in page
    for question in QUESTIONS.values():
        assert question.words in page


@pytest.mark.django_db
def test_page_and_api_refuse_what_is_not_possible(as_analyst: Client) -> None:
    query = {"kind": "rates", "sensitivity": "<b>"}
    for name in (PAGE, API):
        answer = as_analyst.get(reverse(name), query)
        assert answer.status_code == 400
        assert "give a number from 0.01 to 1" in answer.content.decode()
    assert "<b>" not in as_analyst.get(reverse(PAGE), query).content.decode().replace("</b>", "")
    assert as_analyst.get(reverse(PAGE), {"kind": "x"}).status_code == 400
    other = as_analyst.get(reverse(API), {"kind": "rates", "auroc": "0.8"})
    assert "has no field 'auroc'" in other.json()["detail"]
