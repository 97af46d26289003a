"""The settings of studies and of an embedding map, checked for the command line, pages and API alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.errors import EngineError, InvalidConfig

SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)
CONTAMINATIONS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05)
MOST_BANKS = 60
KINDS = ("nodule", "effusion", "pneumothorax")
SIZES_MM = {
    "nodule": (5.0, 10.0, 20.0, 30.0),
    "effusion": (15.0, 30.0, 60.0, 90.0),
    "pneumothorax": (5.0, 10.0, 20.0, 40.0),
}
CONTRASTS = (0.05, 0.1, 0.2)
LARGEST_MM = 200.0
PARTS = ("tune", "test")
MOST_LESIONS = 100_000


@dataclass(frozen=True)
class PlannedBank:
    """One bank of a bank study: a ``share`` of the fit films, taken in the ``repeat``-th random order of patients, and
    ``contamination``, the share of abnormal films of tune among the films of the bank."""

    name: str
    share: float
    contamination: float
    repeat: int


@dataclass(frozen=True)
class BankPlan:
    """``shares`` of the fit films, always with 1; ``contaminations`` as shares of the bank's films, always with 0; each
    drawn ``repeats`` times."""

    shares: tuple[float, ...] = SHARES
    repeats: int = 3
    contaminations: tuple[float, ...] = CONTAMINATIONS

    def __post_init__(self) -> None:
        for share in self.shares:
            _check("shares", share, "a share of the fit films above 0 and at most 1, such as 0.4", 0 < share <= 1)
        for share in self.contaminations:
            _check(
                "contaminations", share, "a share of the bank's films from 0 to 0.5, such as 0.02", 0 <= share <= 0.5
            )
        _check("repeats", self.repeats, "a whole number from 1 to 20", 1 <= self.repeats <= 20)
        object.__setattr__(self, "shares", tuple(sorted({*self.shares, 1.0})))
        object.__setattr__(self, "contaminations", tuple(sorted({*self.contaminations, 0.0})))
        if len(self.banks) > MOST_BANKS:
            raise InvalidConfig(
                f"{len(self.shares)} shares and {len(self.contaminations)} contaminations, {self.repeats} times each, "
                f"make {len(self.banks)} banks: at most {MOST_BANKS} in one study. Choose fewer shares or repeats."
            )

    @property
    def banks(self) -> tuple[PlannedBank, ...]:
        """The bank of all fit films without abnormal ones comes first; both questions use it."""
        complete = [PlannedBank("whole", 1.0, 0.0, 0)]
        smaller = [
            PlannedBank(f"share-{_digits(share)}-{repeat}", share, 0.0, repeat)
            for share in self.shares
            if share < 1
            for repeat in range(self.repeats)
        ]
        contaminated = [
            PlannedBank(f"abnormal-{_digits(share)}-{repeat}", 1.0, share, repeat)
            for share in self.contaminations
            if share > 0
            for repeat in range(self.repeats)
        ]
        return (*complete, *smaller, *contaminated)

    def to_json(self) -> dict[str, Any]:
        return {
            "shares": list(self.shares),
            "repeats": self.repeats,
            "contaminations": list(self.contaminations),
        }

    @classmethod
    def from_json(cls, values: Any) -> BankPlan:
        """Raises InvalidConfig."""
        fields = _fields("bank", values, ("shares", "repeats", "contaminations"))
        return cls(
            shares=_numbers("shares", fields.get("shares", SHARES)),
            repeats=_whole_number("repeats", fields.get("repeats", 3)),
            contaminations=_numbers("contaminations", fields.get("contaminations", CONTAMINATIONS)),
        )


@dataclass(frozen=True)
class LesionPlan:
    """Which lesions are pasted: each of ``kinds`` in each of its ``sizes_mm`` and each of the ``contrasts`` (the change
    of gray at the thickest point, on a scale from 0 to 1), at ``places`` places per film, in at most ``films`` normal
    films of ``part``."""

    part: str = "tune"
    films: int = 50
    places: int = 2
    kinds: tuple[str, ...] = KINDS
    sizes_mm: tuple[tuple[str, tuple[float, ...]], ...] = tuple(SIZES_MM.items())
    contrasts: tuple[float, ...] = CONTRASTS

    def __post_init__(self) -> None:
        _check("part", self.part, f"one of {', '.join(PARTS)}", self.part in PARTS)
        _check("films", self.films, "a whole number from 1 to 10000", 1 <= self.films <= 10_000)
        _check("places", self.places, "a whole number from 1 to 50", 1 <= self.places <= 50)
        if not self.kinds:
            raise InvalidConfig(f"kinds is empty: choose at least one of {', '.join(KINDS)}.")
        for kind in (*self.kinds, *(kind for kind, _ in self.sizes_mm)):
            _check("kind", kind, f"one of {', '.join(KINDS)}", kind in KINDS)
        for kind in self.kinds:
            for size in self.sizes(kind):
                _check(f"size of {kind}", size, f"a length in mm from 1 to {LARGEST_MM:g}", 1 <= size <= LARGEST_MM)
        if not self.contrasts:
            raise InvalidConfig("contrasts is empty: choose at least one, such as 0.1.")
        for contrast in self.contrasts:
            _check("contrasts", contrast, "a share of the gray scale from 0 to 1, such as 0.1", 0 <= contrast <= 1)
        object.__setattr__(self, "contrasts", tuple(sorted(set(self.contrasts))))
        if self.lesions > MOST_LESIONS:
            raise InvalidConfig(
                f"The settings make {self.lesions} lesions: at most {MOST_LESIONS} are pasted in one study. Choose "
                "fewer films, places, sizes or contrasts."
            )

    def sizes(self, kind: str) -> tuple[float, ...]:
        return tuple(sorted(set(dict(self.sizes_mm).get(kind, SIZES_MM[kind]))))

    @property
    def lesions(self) -> int:
        """The largest possible number of lesions."""
        sizes = sum(len(self.sizes(kind)) for kind in self.kinds)
        return self.films * self.places * sizes * len(self.contrasts)

    def to_json(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "films": self.films,
            "places": self.places,
            "kinds": list(self.kinds),
            "sizes_mm": {kind: list(self.sizes(kind)) for kind in self.kinds},
            "contrasts": list(self.contrasts),
        }

    @classmethod
    def from_json(cls, values: Any) -> LesionPlan:
        """Raises InvalidConfig."""
        fields = _fields("lesions", values, ("part", "films", "places", "kinds", "sizes_mm", "contrasts"))
        kinds, sizes = fields.get("kinds", KINDS), fields.get("sizes_mm", SIZES_MM)
        if not isinstance(kinds, list | tuple) or not all(isinstance(kind, str) for kind in kinds):
            raise InvalidConfig(f"kinds is {kinds!r}: it must be a list of {', '.join(KINDS)}.")
        if not isinstance(sizes, dict):
            raise InvalidConfig(f"sizes_mm is {sizes!r}: it must be an object, such as {{'nodule': [5, 10]}}.")
        return cls(
            part=str(fields.get("part", "tune")),
            films=_whole_number("films", fields.get("films", 50)),
            places=_whole_number("places", fields.get("places", 2)),
            kinds=tuple(dict.fromkeys(kinds)),
            sizes_mm=tuple((str(kind), _numbers(f"size of {kind}", lengths)) for kind, lengths in sizes.items()),
            contrasts=_numbers("contrasts", fields.get("contrasts", CONTRASTS)),
        )


PENALTY_BY_FOLDS = "folds"


@dataclass(frozen=True)
class HeadPlan:
    """How a semi-supervised head is fitted. ``penalty`` is λ of `fit_logistic`, or "folds" to choose it by nested folds
    of patients. ``read_normals`` if films read as normal join the known normals. ``false_alarm_rate`` fixes the
    operating point on calibration normals, below which films of the pool count as scored normals; None takes the
    detector's. Each point of the learning curve draws the reads ``repeats`` times."""

    penalty: float | str = 100.0
    read_normals: bool = False
    false_alarm_rate: float | None = None
    repeats: int = 5

    def __post_init__(self) -> None:
        is_number = _is_number(self.penalty)
        _check(
            "penalty",
            self.penalty,
            f"a number from 0.001 to 1000000, or {PENALTY_BY_FOLDS}",
            self.penalty == PENALTY_BY_FOLDS or (is_number and 1e-3 <= float(self.penalty) <= 1e6),
        )
        _check("read_normals", self.read_normals, "true or false", isinstance(self.read_normals, bool))
        rate = self.false_alarm_rate
        _check(
            "false_alarm_rate",
            rate,
            "a number above 0 and below 1, such as 0.1",
            rate is None or (_is_number(rate) and 0 < rate < 1),
        )
        _check("repeats", self.repeats, "a whole number from 1 to 50", 1 <= self.repeats <= 50)

    def to_json(self) -> dict[str, Any]:
        return {
            "penalty": self.penalty,
            "read_normals": self.read_normals,
            "false_alarm_rate": self.false_alarm_rate,
            "repeats": self.repeats,
        }

    @classmethod
    def from_json(cls, values: Any) -> HeadPlan:
        """Raises InvalidConfig."""
        given = _fields("head", values, ("penalty", "read_normals", "false_alarm_rate", "repeats"))
        penalty = given.get("penalty", 100.0)
        return cls(
            penalty=float(penalty) if _is_number(penalty) else penalty,
            read_normals=given.get("read_normals", False),
            false_alarm_rate=given.get("false_alarm_rate"),
            repeats=_whole_number("repeats", given.get("repeats", 5)),
        )


KEPT_NEIGHBOURS = 50  # nearest films that are kept of each film


@dataclass(frozen=True)
class EmbeddingPlan:
    """How an embedding map is laid out: by the ``neighbours`` nearest films of each film, in ``epochs`` rounds."""

    neighbours: int = 15
    epochs: int = 200

    def __post_init__(self) -> None:
        expected = f"a whole number from 2 to {KEPT_NEIGHBOURS}"
        _check("neighbours", self.neighbours, expected, 2 <= self.neighbours <= KEPT_NEIGHBOURS)
        _check("epochs", self.epochs, "a whole number from 10 to 2000", 10 <= self.epochs <= 2000)

    def to_json(self) -> dict[str, Any]:
        return {"neighbours": self.neighbours, "epochs": self.epochs}

    @classmethod
    def from_json(cls, values: Any) -> EmbeddingPlan:
        """Raises InvalidConfig."""
        given = _fields("embedding", values, ("neighbours", "epochs"))
        return cls(
            neighbours=_whole_number("neighbours", given.get("neighbours", 15)),
            epochs=_whole_number("epochs", given.get("epochs", 200)),
        )


def parse_numbers(name: str, text: str) -> tuple[float, ...]:
    """Parse the numbers of a text such as "0.1, 0.2" or "10%; 20%". Raises InvalidConfig."""
    words = [word for word in text.replace(";", ",").replace(" ", ",").split(",") if word]
    numbers = []
    for word in words:
        try:
            numbers.append(float(word[:-1]) / 100 if word.endswith("%") else float(word))
        except ValueError:
            raise InvalidConfig(f"{name} has {word[:20]!r}: write numbers joined by commas, such as 0.1,0.4.") from None
    if not numbers:
        raise InvalidConfig(f"{name} is empty: write numbers joined by commas, such as 0.1,0.4.")
    return _numbers(name, numbers)


def _fields(name: str, values: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise InvalidConfig(f"{name} is {values!r}: it must be an object with {', '.join(known)}.")
    unknown = sorted(set(map(str, values)) - set(known))
    if unknown:
        raise InvalidConfig(f"{name} has {unknown[0]!r}: it takes {', '.join(known)}.")
    return values


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    is_list = isinstance(values, list | tuple)
    if not is_list or not values or not all(_is_number(value) for value in values):
        raise InvalidConfig(f"{name} is {values!r}: it must be a list of numbers, such as [0.1, 0.4].")
    return tuple(float(value) for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole_number(name: str, value: Any) -> int:
    if not _is_number(value) or value != int(value):
        raise InvalidConfig(f"{name} is {value!r}: it must be a whole number.")
    return int(value)


def _check(name: str, value: object, expected: str, holds: bool) -> None:
    if not holds:
        text = f"{value:g}" if isinstance(value, float) else repr(value)
        raise InvalidConfig(f"{name} is {text}: it must be {expected}.")


def _digits(share: float) -> str:
    """0.025 -> 002500: a share as part of a file name, so that names sort by share."""
    return f"{round(share * 100_000):06d}"


# the films of each bank


def count_injected(clean: int, contamination: float) -> int:
    """The number of abnormal films that make up the share ``contamination`` of a bank with ``clean`` normal films; at
    least one unless the share is zero."""
    if contamination == 0:
        return 0
    return max(1, round(clean * contamination / (1 - contamination)))


def check_reachable(plan: BankPlan, *, normals: int, abnormals: int) -> None:
    """Raises EngineError if tune has too few abnormal films for a contamination of the plan."""
    for share in plan.contaminations:
        needed = count_injected(normals, share)
        if needed > abnormals:
            reachable = [other for other in plan.contaminations if count_injected(normals, other) <= abnormals]
            raise EngineError(
                f"A contamination of {share:.3g} needs {needed} abnormal films in tune beside the {normals} normal "
                f"films of fit, and there are {abnormals}: choose at most {max(reachable):.3g}, or label more films."
            )


def draw_films(patients: list[str], count: int, seed: tuple[int, int]) -> NDArray[np.int64]:
    """The indices of at least ``count`` films, ascending: whole patients in an order drawn by the seed, so that a
    smaller draw is part of a larger one with the same seed."""
    names = sorted(set(patients))
    order = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
    films_of: dict[str, list[int]] = {name: [] for name in names}
    for film, name in enumerate(patients):
        films_of[name].append(film)
    chosen: list[int] = []
    for name in order:
        if len(chosen) >= count:
            break
        chosen += films_of[name]
    return np.array(sorted(chosen), dtype=np.int64)


def draw_injected_films(patients: list[str], count: int, seed: tuple[int, int]) -> NDArray[np.int64]:
    """The indices of exactly ``count`` films, ascending: patient by patient in the drawn order, the last one in
    part."""
    names = sorted(set(patients))
    order = {names[k]: place for place, k in enumerate(np.random.default_rng(seed).permutation(len(names)))}
    ranked = sorted(range(len(patients)), key=lambda film: (order[patients[film]], film))
    return np.array(sorted(ranked[:count]), dtype=np.int64)
