"""How many films a study needs, before it is made: for one AUROC, for the difference of two, for sensitivity and
specificity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from analysis import statistics


class InvalidStudySize(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True)
class Field:
    """A number that is asked for. `default` is None for one that may be left out; `whole`: a number of films."""

    words: str
    low: float
    high: float
    default: float | None
    whole: bool = False


@dataclass(frozen=True)
class StudyQuestion:
    """One kind of study: its heading, what it is about, and its fields by the names of their parameters."""

    words: str
    lead: str
    fields: dict[str, Field]


_POWER = Field("power", 0.5, 0.999, 0.8)
_LEVEL = Field("level of the two-sided test", 0.001, 0.2, 0.05)
_RATIO = Field("normal films for each abnormal one", 0.05, 100, 1.0)
_AT_HAND = {
    "abnormal": Field("abnormal films at hand", 2, 10_000_000, None, whole=True),
    "normal": Field("normal films at hand", 2, 10_000_000, None, whole=True),
}
_AREA = (0.501, 0.999)
QUESTIONS = {
    "auroc": StudyQuestion(
        "One AUROC",
        "Films for a test that the AUROC differs from a value, such as 0.5 (chance) or that of an earlier method.",
        {
            "auroc": Field("expected AUROC", *_AREA, 0.8),
            "null": Field("AUROC to differ from", 0.5, 0.999, 0.5),
            "power": _POWER,
            "level": _LEVEL,
            "ratio": _RATIO,
            **_AT_HAND,
        },
    ),
    "difference": StudyQuestion(
        "Difference of two AUROCs",
        "Films for a test that two methods differ, both applied to the same films.",
        {
            "first": Field("AUROC of one method", *_AREA, 0.85),
            "second": Field("AUROC of the other", *_AREA, 0.8),
            "correlation": Field("correlation of the two estimates", -0.9, 0.99, 0.5),
            "power": _POWER,
            "level": _LEVEL,
            "ratio": _RATIO,
            **_AT_HAND,
        },
    ),
    "rates": StudyQuestion(
        "Sensitivity and specificity",
        "Films for intervals of a chosen width at a threshold that is fixed beforehand.",
        {
            "sensitivity": Field("expected sensitivity", 0.01, 1, 0.9),
            "specificity": Field("expected specificity", 0.01, 1, 0.9),
            "half_width": Field("half the width of the interval", 0.001, 0.49, 0.05),
            "prevalence": Field("share of abnormal films among those collected", 0.0001, 0.9999, 0.2),
        },
    ),
}


@dataclass(frozen=True)
class StudySize:
    """The answer to a question. `asked`: its fields as they were used. `power` is what these films reach, None for
    rates; `half_width` is half the expected 95 % interval of the first AUROC, None for rates; `collected` is how many
    films hold both numbers at the stated prevalence, None for AUROCs."""

    kind: str
    asked: dict[str, float | None]
    abnormal: int
    normal: int
    power: float | None = None
    half_width: float | None = None
    sensitivity: statistics.ShareSize | None = None
    specificity: statistics.ShareSize | None = None
    collected: int | None = None


def study_size(query: Mapping[str, Any], *, kind: str) -> StudySize:
    """For the optional parameters of the kind's fields. With both numbers of films at hand the power of these,
    otherwise the fewest films that reach the power. Raises InvalidStudySize for what is missing, unknown or out of
    range."""
    if kind not in QUESTIONS:
        raise InvalidStudySize(f"There is no question {kind[:20]!r}: choose one of {', '.join(QUESTIONS)}.")
    asked = {name: _number(query, name, field) for name, field in QUESTIONS[kind].fields.items()}
    if kind == "rates":
        return _rates(asked)
    if (asked["abnormal"] is None) != (asked["normal"] is None):
        missing = "abnormal" if asked["abnormal"] is None else "normal"
        raise InvalidStudySize(f"The number of {missing} films at hand is missing: give both numbers, or neither.")
    try:
        result = _of_one(asked) if kind == "auroc" else _of_two(asked)
    except ValueError as error:  # every field is in its range: the areas are too close
        raise InvalidStudySize(f"{error}. Choose values that differ more.") from error
    variance = statistics.auroc_variance(result.auroc, positives=result.positives, negatives=result.negatives)
    half_width = NormalDist().inv_cdf(0.975) * math.sqrt(variance)
    return StudySize(kind, asked, result.positives, result.negatives, power=result.power, half_width=half_width)


def _of_one(asked: Mapping[str, float | None]) -> statistics.Power:
    numbers = _known(asked)
    area, null, level = (numbers[name] for name in ("auroc", "null", "level"))
    if "abnormal" in numbers:
        positives, negatives = int(numbers["abnormal"]), int(numbers["normal"])
        return statistics.auroc_power(area, positives=positives, negatives=negatives, null=null, level=level)
    power, ratio = numbers["power"], numbers["ratio"]
    return statistics.auroc_sample_size(area, power=power, normals_per_abnormal=ratio, null=null, level=level)


def _of_two(asked: Mapping[str, float | None]) -> statistics.Power:
    numbers = _known(asked)
    first, second, correlation, level = (numbers[name] for name in ("first", "second", "correlation", "level"))
    if "abnormal" in numbers:
        return statistics.paired_auroc_power(
            first,
            second,
            positives=int(numbers["abnormal"]),
            negatives=int(numbers["normal"]),
            correlation=correlation,
            level=level,
        )
    return statistics.paired_auroc_sample_size(
        first,
        second,
        correlation=correlation,
        power=numbers["power"],
        normals_per_abnormal=numbers["ratio"],
        level=level,
    )


def _rates(asked: dict[str, float | None]) -> StudySize:
    numbers = _known(asked)
    of_abnormal, of_normal = (
        statistics.share_sample_size(numbers[name], half_width=numbers["half_width"])
        for name in ("sensitivity", "specificity")
    )
    share = numbers["prevalence"]
    return StudySize(
        "rates",
        asked,
        of_abnormal.films,
        of_normal.films,
        sensitivity=of_abnormal,
        specificity=of_normal,
        collected=max(math.ceil(of_abnormal.films / share - 1e-9), math.ceil(of_normal.films / (1 - share) - 1e-9)),
    )


def _known(asked: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in asked.items() if value is not None}


def _number(query: Mapping[str, Any], name: str, field: Field) -> float | None:
    text = str(query.get(name) or "").strip()
    if not text:
        return field.default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not field.low <= value <= field.high or (field.whole and value != int(value)):
        number = "a whole number" if field.whole else "a number"
        raise InvalidStudySize(
            f"{field.words[:1].upper()}{field.words[1:]}: {text[:20]!r} is not possible, give {number} from "
            f"{field.low:,.10g} to {field.high:,.10g}."
        )
    return value
