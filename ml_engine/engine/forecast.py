"""How long a run will take on this machine, and how much memory and disk, from measured unit costs and its size.

Does not import torch, so that a page can forecast. The sizes of arrays are those of the stages; what they do not
determine, such as the share of patches that the mask keeps, is assumed and stated where it is.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.core.film import controls
from ml_engine.engine import unit_costs
from ml_engine.engine.prepared_films import PREPARED_BYTES
from ml_engine.engine.run_kinds import RunKind
from ml_engine.engine.study_plans import KEPT_NEIGHBOURS
from ml_engine.engine.unit_costs import UnitCosts

# the kinds of run that can be forecast
KINDS = (RunKind.FIT_ALIGNMENT, RunKind.FIT_DETECTOR, RunKind.SCORE, RunKind.EMBEDDING)
UNKNOWN_MASK = 0.79  # share of patches kept where a threshold decides
CONTROLS = len(controls.KINDS) + 1  # versions of each film of the negative controls: unchanged, and changed
MIB = 2**20
ROUGH = 2**24 * 10  # bytes of rough distances and their bounds in a search
CHUNK = 8192  # rows of features in memory at once
RADIUS_VALUES = 2e7  # distances of the covering radius in memory at once
SHARED_BYTES = 2**27  # of integers that folds share, as in core/bank/memory_bank.py
RESULT_SECONDS = 0.004  # a film, for writing results
LAYOUT_SECONDS = 0.002  # a film of an embedding map, for 200 rounds over its 15 neighbours
SIMILARITIES = 2**27  # bytes of similarities between films in memory at once
LEFT_OF_MACHINE = 0.9  # share of the machine's memory that a run may use


class CannotFit(EngineError):
    """The run would need more memory or disk than there is."""


@dataclass(frozen=True)
class RunSize:
    """The films of a run by part, their average number of pixels, seconds to decode and prepare one, if known, and the
    vectors in the global bank of a detector that scores, or the films that it will be fitted on."""

    parts: dict[str, int]
    megapixels: float = 1.0
    read_seconds: float | None = None
    bank_vectors: int = 0
    fitted_films: int = 0

    @property
    def films(self) -> int:
        return sum(self.parts.values())

    def of(self, *parts: str) -> int:
        return sum(self.parts.get(part, 0) for part in parts)

    @classmethod
    def counted(
        cls,
        parts: Iterable[str],
        *,
        megapixels: float = 1.0,
        read_seconds: float | None = None,
        bank_vectors: int = 0,
    ) -> RunSize:
        return cls(dict(Counter(parts)), megapixels, read_seconds, bank_vectors)


@dataclass(frozen=True)
class Phase:
    """A time in which a run's memory is highest: MiB beside the process, and the setting that lowers it."""

    words: str
    memory_mib: float
    setting: str


@dataclass(frozen=True)
class Forecast:
    """``stages`` are the seconds of each stage in order, ``memory_mib`` the peak of the process, in ``phase``."""

    stages: dict[str, float]
    start_seconds: float
    memory_mib: float
    phase: Phase
    disk_mib: float
    parts: tuple[Forecast, ...] = field(default=())  # of several runs, one after the other

    @property
    def seconds(self) -> float:
        return self.start_seconds + sum(self.stages.values())

    def to_json(self) -> dict[str, float | str]:
        return {
            "seconds": round(self.seconds, 1),
            "memory_gib": round(self.memory_mib / 1024, 3),
            "disk_gib": round(self.disk_mib / 1024, 3),
        }


def one_after_the_other(forecasts: Sequence[Forecast]) -> Forecast:
    """The forecast of several runs in a row: their times add up, and so does what they leave on the disk."""
    if len(forecasts) == 1:
        return forecasts[0]
    highest = max(forecasts, key=lambda forecast: forecast.memory_mib)
    return Forecast(
        stages={f"{number}-{name}": s for number, one in enumerate(forecasts) for name, s in one.stages.items()},
        start_seconds=max(one.start_seconds for one in forecasts),
        memory_mib=highest.memory_mib,
        phase=highest.phase,
        disk_mib=sum(one.disk_mib for one in forecasts),
        parts=tuple(forecasts),
    )


def forecast(kind: str, config: PipelineConfig, size: RunSize, costs: UnitCosts) -> Forecast:
    """The forecast of a run. Raises ValueError for a kind that is not one of `KINDS`."""
    if kind not in KINDS:
        raise ValueError(f"a run of kind {kind} is not forecast")
    return _Run(kind, config, size, costs).forecast()


class _Run:
    """The formulas. Symbols as in the paper: N rows of D dimensions, K picks, M bank vectors, P patches of a film."""

    def __init__(self, kind: str, config: PipelineConfig, size: RunSize, costs: UnitCosts) -> None:
        self.kind, self.config, self.size, self.costs = kind, config, size, costs
        share = (config.mask_keep or UNKNOWN_MASK) if config.mask else 1.0
        self.wide = costs.backbone.dimensions
        self.per_film = max(1, round(share * config.patches**2))
        self.rate = max(config.tried("rate")) if config.detector == "patchcore" else config.rate
        self.per_cell = self._near_cell(share)

    def _near_cell(self, share: float) -> float:
        """The patches of a cell and its halo, on average over the cells."""
        side = self.config.patches
        width = min(side, side / self.config.grid + 2 * self.config.halo * (self.config.grid - 1) / self.config.grid)
        return max(1.0, share * width**2)

    def forecast(self) -> Forecast:
        stages, disk = {
            RunKind.FIT_ALIGNMENT: self._alignment,
            RunKind.FIT_DETECTOR: self._detector,
            RunKind.SCORE: self._score,
            RunKind.EMBEDDING: self._embedding,
        }[RunKind(self.kind)]()
        phase = max(self._phases(), key=lambda phase: phase.memory_mib)
        process = self.costs.process
        return Forecast(stages, process.start_seconds, process.memory_mib + phase.memory_mib, phase, disk / MIB)

    # time

    def _alignment(self) -> tuple[dict[str, float], float]:
        films, alignment, costs = self.size.films, self.config.alignment, self.costs.aligning
        fitted = self.size.of("align") or self.size.of("fit") or films
        repeats = alignment.epochs if alignment.uses_network else alignment.rounds
        rounds, place = (costs.round_seconds, costs.place_seconds) if costs else (0.0, 0.0)
        rest = costs.rest_seconds if costs else 0.0
        stages = {
            "films": self._reading(),
            "network": fitted * (rounds * repeats + rest),
            "align": films * place,
            "measure": 4 * fitted * place,
            "results": RESULT_SECONDS * films,
        }
        return stages, 2.0 * alignment.size**2 * films

    def _detector(self) -> tuple[dict[str, float], float]:
        config, films = self.config, self.size.films
        fit, held, tuned = self.size.of("fit"), self.size.of("calibrate"), self.size.of("tune")
        folds = min(config.folds, fit)
        by_folds = folds * self._select(fit * (1 - 1 / max(1, folds)), with_radius=False) + fit * self._search(fit)
        is_free = config.fusion_choice == "tune" or any(
            getattr(config, f"{name}_tried").strip() for name in ("neighbours", "rate", "image_score", "top_share")
        )
        changed = min(config.controls, held or tuned) * CONTROLS
        stages = {
            "films": self._reading(),
            "align": self._aligning(films),
            "mask": 0.002 * min(fit, config.mask_images),
            "features": fit * self.costs.backbone.film_seconds,
            "banks": self._select(fit, with_radius=True),
            "calibrate": self._scoring(held, fit) if held else by_folds,
            "tune": self._scoring(tuned, fit) if is_free else 0.0,
            "crossfit": by_folds if config.cross_fit and held else 0.0,
            "controls": self._scoring(changed, fit) + self._aligning(changed) + 3 * changed * self._read_seconds,
            "results": RESULT_SECONDS * films,
        }
        maps = 8.0 * config.patches**2
        banks = 2 * 4.0 * self.wide * self._vectors(fit)
        disk = 2.0 * config.size**2 * films + 2.0 * fit * self.per_film * self.wide + banks
        return stages, disk + maps * (2 * fit + tuned + held)

    def _score(self) -> tuple[dict[str, float], float]:
        films = self.size.films
        stages = {
            "films": self._reading(),
            "align": self._aligning(films),
            "maps": self._scoring(films, self._fitted_films),
            "results": RESULT_SECONDS * films + (self._aligning(films) / 10),
        }
        return stages, films * (2.0 * self.config.size**2 + 8.0 * self.config.patches**2 + 4.0 * 101 * 9)

    def _embedding(self) -> tuple[dict[str, float], float]:
        """The nearest films are one search of all films among all films; an edge of the layout takes microseconds."""
        films, costs = self.size.films, self.costs.bank
        stages = {
            "films": self._reading(),
            "align": 0.0,
            "pool": films * self.costs.backbone.film_seconds,
            "neighbours": costs.search_row * films * self.wide + costs.search_product * films**2 * self.wide,
            "layout": LAYOUT_SECONDS * films + films * self.wide**2 * costs.search_product,
            "results": RESULT_SECONDS * films / 10,
        }
        return stages, films * (2.0 * self.config.size**2 + 6.0 * self.wide + 16.0 * KEPT_NEIGHBOURS)

    @property
    def _fitted_films(self) -> int:
        """The films of the fit of a detector that scores, by its bank; as many as it scores where that is not known."""
        if self.size.fitted_films:
            return self.size.fitted_films
        if self.size.bank_vectors == self.config.bank_most:  # a full bank, or no bank, tells nothing
            return self.size.films
        return round(self.size.bank_vectors / (self.rate * self.per_film)) or self.size.films

    def _picks(self, rows: float) -> float:
        """The vectors of a bank that is selected from so many patches."""
        picks = max(1.0, self.rate * rows)
        return min(picks, self.config.bank_most) if self.config.bank_most else picks

    @property
    def _read_seconds(self) -> float:
        if self.size.read_seconds is not None:
            return self.size.read_seconds
        return self.costs.process.film_seconds + self.costs.process.pixel_seconds * self.size.megapixels

    def _reading(self) -> float:
        return self.size.films * self._read_seconds

    def _aligning(self, films: int) -> float:
        return films * self.costs.aligning.place_seconds if self.costs.aligning else 0.0

    def _scoring(self, films: int, fitted: int) -> float:
        return films * (self.costs.backbone.film_seconds + self._search(fitted))

    def _select(self, films: float, *, with_radius: bool) -> float:
        """Seconds to select all banks from this number of films."""
        if self.config.detector != "patchcore" or films < 1:
            return 0.0
        cell = self._selecting(films * self.per_cell, with_radius=with_radius)
        return self._selecting(films * self.per_film, with_radius=with_radius) + self.config.grid**2 * cell

    def _selecting(self, rows: float, *, with_radius: bool) -> float:
        costs, picks = self.costs.bank, self._picks(rows)
        if self._is_projected(rows, picks):
            small = self.config.coreset_dimensions
            seconds = rows * (costs.projected_row * self.wide * small + costs.projected_product * picks * small)
            seconds += picks * costs.projected_pick
        else:
            seconds = rows * self.wide * (costs.exact_row + costs.exact_product * picks) + picks * costs.exact_pick
        radius = rows * self.wide * (costs.radius_row + costs.radius_product * picks) if with_radius else 0.0
        return seconds + radius

    def _is_projected(self, rows: float, picks: float) -> bool:
        is_large = rows * picks > self.config.coreset_exact_limit or 2 * rows * self.wide > 2**31
        return is_large and self.wide > self.config.coreset_dimensions

    def _search(self, fitted: int) -> float:
        """Seconds to search a film's patches in the global bank and in those of the cells."""
        costs, cells = self.costs.bank, self.config.grid**2
        whole, one = self._picks(fitted * self.per_film), self._picks(fitted * self.per_cell)
        products = self.per_film * self.wide * (whole + one)
        return (
            costs.search_call * (1 + cells)
            + 2 * costs.search_row * self.per_film * self.wide
            + (costs.search_product * products)
        )

    def _vectors(self, fitted: int) -> float:
        """Vectors in all banks."""
        return self._picks(fitted * self.per_film) + self.config.grid**2 * self._picks(fitted * self.per_cell)

    # memory

    def _phases(self) -> Iterable[Phase]:
        config, backbone = self.config, self.costs.backbone.memory_mib
        if self.kind == RunKind.FIT_ALIGNMENT:
            side, films = config.alignment.size, self.size.films
            held = films * side**2 * (4 + 4 + 4 + 1)  # films, prepared films, masks, and where films are valid
            held += min(PREPARED_BYTES, 4 * films * side**2)  # kept for the fit of the detector
            network = 600.0 if config.alignment.uses_network else 60.0
            yield Phase("fitting the alignment", held / MIB + network, "alignment.size")
            return
        if self.kind == RunKind.EMBEDDING:
            vectors = (4.0 * self.wide * 3 + 200.0 * KEPT_NEIGHBOURS) * self.size.films + 2 * SIMILARITIES
            yield Phase("extracting features", backbone, "batch" if config.batch > 1 else "size")
            yield Phase("finding the nearest films", vectors / MIB, "layers")
            return
        yield Phase("extracting features", backbone, "batch" if config.batch > 1 else "size")
        fitted = self.size.of("fit") if self.kind == RunKind.FIT_DETECTOR else self._fitted_films
        banks = 4.0 * self.wide * self._vectors(fitted) * 2.5  # as they are, centred, and in bfloat16
        yield Phase("searching the banks", backbone + (banks + ROUGH) / MIB, "rate")
        if self.kind == RunKind.FIT_DETECTOR and config.detector == "patchcore":
            yield self._selecting_phase(fitted, kept=backbone / 2)
        if self.kind == RunKind.FIT_DETECTOR and config.detector == "spade":
            yield Phase("keeping all patches", backbone + 8.0 * fitted * self.per_film * self.wide / MIB, "size")

    def _selecting_phase(self, films: int, *, kept: float) -> Phase:
        rows = films * self.per_film
        picks = self._picks(rows)
        projected = self._is_projected(rows, picks)
        dims = self.config.coreset_dimensions if projected else self.wide
        points = rows * ((6 if projected else 2) * dims + 24) + 4 * picks * dims
        distances = 3 * min(RADIUS_VALUES, rows * picks) * (8 if rows * picks * self.wide <= 2e10 else 4)
        radius = distances + 12 * picks * self.wide
        chunks = 4 * CHUNK * self.wide * 3
        integers = 2 * rows * self.wide
        shared = integers if integers <= SHARED_BYTES else 0  # by the folds
        setting = "coreset_dimensions" if projected else "coreset_exact_limit"
        return Phase("selecting the banks", kept + (max(points + shared, radius) + chunks) / MIB, setting)


def in_words(seconds: float) -> str:
    """ "45 s", "12 min", "3 h 5 min"."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def sentence(made: Forecast) -> str:
    """The forecast in a sentence."""
    return (
        f"This takes about {in_words(made.seconds)}, {made.memory_mib / 1024:.1f} GiB of memory (most while "
        f"{made.phase.words}) and {_gib(made.disk_mib)} of disk on this machine."
    )


def _gib(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB" if mib > 51 else "less than 0.1 GiB"


def _size(mib: float) -> str:
    """As GiB where that is not rounded to next to nothing."""
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"


# what cannot fit


def require_room(made: Forecast, config: PipelineConfig, *, folder: Path | None = None) -> None:
    """Raises CannotFit where the forecast exceeds the budget ``memory_gib``, without one the machine's memory, or the
    free disk of ``folder``."""
    needed, machine = made.memory_mib / 1024, LEFT_OF_MACHINE * unit_costs.total_memory_gib()
    limit = config.memory_gib or machine
    if needed > limit:
        have = f"memory_gib is {config.memory_gib:g}" if config.memory_gib else f"this machine can give {machine:.1f}"
        more = ", or raise memory_gib" if config.memory_gib else ""
        raise CannotFit(
            f"The run needs about {needed:.1f} GiB of memory while {made.phase.words}, and {have}: choose a smaller "
            f"{made.phase.setting} or fewer films{more}."
        )
    if folder is not None:
        free = shutil.disk_usage(_existing(folder)).free / MIB
        if made.disk_mib > free:
            raise CannotFit(
                f"The run needs about {_size(made.disk_mib)} of disk, and {_size(free)} are free: free some space, or "
                "choose a smaller size, fewer layers or fewer films."
            )


def _existing(folder: Path) -> Path:
    """The folder, or the nearest folder above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


# time left


@dataclass
class Clock:
    """Seconds left of a whole run: the forecast of its stages, corrected by what the finished ones took."""

    stages: list[float]  # forecast seconds, in order
    took: dict[int, float] = field(default_factory=dict)

    def finish(self, index: int, seconds: float) -> None:
        self.took[index] = seconds

    @property
    def correction(self) -> float:
        """By how much finished stages were slower than forecast; 1 until a second of work was forecast and done."""
        forecast_seconds = sum(self.stages[index] for index in self.took)
        if forecast_seconds < 1:
            return 1.0
        return min(30.0, max(0.2, sum(self.took.values()) / forecast_seconds))

    def left(self, index: int, *, elapsed: float, done: int, total: int) -> float | None:
        """Seconds left of the run in stage ``index``; None where a stage without progress has taken longer than
        forecast, so that nobody knows."""
        here: float
        if done and total:
            here = elapsed / done * (total - done)
        else:
            here = self.stages[index] * self.correction - elapsed
            if here < 0 and elapsed > 2:
                return None
        return max(0.0, here) + self.correction * sum(self.stages[index + 1 :])
