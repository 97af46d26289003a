"""What a run will take, from unit costs and its size."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ml_engine.core.bank import memory_bank
from ml_engine.core.config import PipelineConfig
from ml_engine.engine import forecast
from ml_engine.engine.forecast import CannotFit, Clock, RunSize
from ml_engine.engine.run_kinds import RunKind
from ml_engine.engine.stages.runner import STAGES
from tests.ml_engine.engine.costs import COSTS

CONFIG = PipelineConfig.from_preset("default").replace(threads=1, align="none", controls=0)
SIZE = RunSize({"fit": 100, "tune": 10, "calibrate": 20})
UNALIGNED = replace(COSTS, aligning=None)


def detector(films: int = 100, config: PipelineConfig = CONFIG) -> forecast.Forecast:
    return forecast.forecast(RunKind.FIT_DETECTOR, config, RunSize({"fit": films, "calibrate": 20}), UNALIGNED)


@pytest.mark.parametrize("kind", forecast.KINDS)
def test_every_stage_of_a_run_is_forecast(kind: RunKind) -> None:
    made = forecast.forecast(kind, CONFIG, SIZE, COSTS)

    assert list(made.stages) == [name for name, _ in STAGES[kind]]
    assert made.seconds == made.start_seconds + sum(made.stages.values()) > 3
    assert made.memory_mib > 500
    assert made.disk_mib > 0


def test_the_stages_are_the_unit_costs_times_the_size_of_the_run() -> None:
    size = RunSize({"fit": 100, "tune": 10, "calibrate": 20}, megapixels=4)
    stages = forecast.forecast(RunKind.FIT_DETECTOR, CONFIG, size, COSTS).stages
    per_film = round(0.79 * 28**2)
    rows, cell_rows = 100 * per_film, 100 * 0.79 * (7 + 1.5) ** 2  # a cell at the edge has a halo on fewer sides

    def selecting(n: float) -> float:
        return n * 100 * (1e-8 + 1e-10 * 0.01 * n) + n * 100 * (1e-9 + 1e-10 * 0.01 * n)

    assert stages["films"] == pytest.approx(130 * (0.001 + 4 * 0.02))
    assert stages["features"] == pytest.approx(100 * 0.05)
    assert stages["banks"] == pytest.approx(selecting(rows) + 16 * selecting(cell_rows))
    vectors = 0.01 * (rows + cell_rows)
    search = 17 * 1e-3 + 2 * 1e-7 * per_film * 100 + 1e-10 * per_film * 100 * vectors
    assert stages["calibrate"] == pytest.approx(20 * (0.05 + search))
    assert stages["crossfit"] > 0
    assert forecast.forecast(RunKind.FIT_DETECTOR, CONFIG.replace(cross_fit=False), size, COSTS).stages["crossfit"] == 0


def test_a_measured_time_of_reading_counts_more_than_pixels() -> None:
    size = RunSize({"": 10}, read_seconds=0.5)

    assert forecast.forecast(RunKind.SCORE, CONFIG, size, COSTS).stages["films"] == 5


def test_large_selections_are_projected() -> None:
    full = detector(config=CONFIG.replace(coreset_exact_limit=1e15, coreset_dimensions=16)).stages["banks"]
    projected = detector(config=CONFIG.replace(coreset_exact_limit=0, coreset_dimensions=16)).stages["banks"]

    assert projected < full


def test_a_cap_of_the_banks_takes_less_time_and_disk() -> None:
    free, capped = detector(2000, CONFIG), detector(2000, CONFIG.replace(bank_most=100))
    assert capped.stages["banks"] < free.stages["banks"]
    assert capped.disk_mib < free.disk_mib
    assert detector(2000, CONFIG.replace(bank_most=10**7)) == free


def test_without_a_calibrate_part_folds_calibrate() -> None:
    alone = forecast.forecast(RunKind.FIT_DETECTOR, CONFIG, RunSize({"fit": 100}), COSTS)

    assert alone.stages["calibrate"] == pytest.approx(detector().stages["crossfit"])
    assert alone.stages["crossfit"] == 0


def test_memory_grows_with_the_films_that_are_selected_from() -> None:
    few, many, more = (detector(films).memory_mib for films in (20_000, 40_000, 80_000))

    assert (more - many) / (many - few) == pytest.approx(2, rel=0.2)
    assert detector(20_000, CONFIG.replace(rate=0.001)).memory_mib < few


def test_the_limit_of_shared_integers_is_that_of_the_banks() -> None:
    assert forecast.SHARED_BYTES == memory_bank.SHARED_BYTES


def test_a_scoring_run_knows_its_bank() -> None:
    sizes = (RunSize({"": 50}, bank_vectors=vectors) for vectors in (1000, 100_000))
    small, large = (forecast.forecast(RunKind.SCORE, CONFIG, size, COSTS) for size in sizes)

    assert small.stages["maps"] < large.stages["maps"]
    assert small.memory_mib < large.memory_mib


def test_several_runs_in_a_row_add_up_their_time() -> None:
    alignment = forecast.forecast(RunKind.FIT_ALIGNMENT, CONFIG, SIZE, COSTS)
    both = forecast.one_after_the_other([alignment, detector()])

    assert both.seconds == pytest.approx(alignment.seconds + detector().seconds - 3)
    assert both.memory_mib == max(alignment.memory_mib, detector().memory_mib)
    assert forecast.one_after_the_other([alignment]) is alignment
    assert both.to_json()["seconds"] == round(both.seconds, 1)


def test_other_kinds_are_not_forecast() -> None:
    with pytest.raises(ValueError, match="not forecast"):
        forecast.forecast(RunKind.SWEEP, CONFIG, SIZE, COSTS)


def test_a_run_that_cannot_fit_is_refused_with_the_setting_to_change(tmp_path: Path) -> None:
    made = detector(20_000)
    forecast.require_room(made, CONFIG, folder=tmp_path / "not yet there")

    with pytest.raises(CannotFit, match=r"needs about \d+\.\d GiB of memory while selecting the banks, and memory_gib"):
        forecast.require_room(made, CONFIG.replace(memory_gib=0.6))
    with pytest.raises(CannotFit, match="choose a smaller coreset_exact_limit or fewer films, or raise"):
        forecast.require_room(made, CONFIG.replace(memory_gib=0.6))
    with pytest.raises(
        CannotFit, match=r"this machine can give \d+\.\d: choose a smaller coreset_exact_limit or fewer films\."
    ):
        forecast.require_room(replace(made, memory_mib=1e9), CONFIG)
    with pytest.raises(CannotFit, match=r"GiB of disk, and .* GiB are free: free some space"):
        forecast.require_room(replace(made, disk_mib=1e12), CONFIG, folder=tmp_path)


def test_a_small_run_on_a_full_disk_is_not_said_to_need_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=12 * forecast.MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(CannotFit, match="needs about 30 MiB of disk, and 12 MiB are free"):
        forecast.require_room(replace(detector(), disk_mib=30), CONFIG, folder=tmp_path)


def test_the_clock_adds_later_stages_and_learns_from_finished_ones() -> None:
    clock = Clock([10.0, 20.0, 30.0])

    assert clock.left(0, elapsed=4, done=0, total=0) == pytest.approx(6 + 50)
    assert clock.left(0, elapsed=4, done=1, total=3) == pytest.approx(8 + 50)
    clock.finish(0, 20.0)  # twice as long as forecast
    assert clock.left(1, elapsed=10, done=0, total=0) == pytest.approx(30 + 60)
    assert clock.left(2, elapsed=59, done=9, total=10) == pytest.approx(59 / 9)


def test_nobody_knows_the_time_left_of_a_stage_that_is_late_without_progress() -> None:
    clock = Clock([10.0, 20.0])

    assert clock.left(0, elapsed=11, done=0, total=0) is None
    assert clock.left(0, elapsed=11, done=5, total=10) == pytest.approx(11 + 20)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (101, "2 min"), (5400, "90 min"), (11100, "3 h 5 min")]
)
def test_a_time_in_words(seconds: float, words: str) -> None:
    assert forecast.in_words(seconds) == words


def test_a_forecast_in_a_sentence() -> None:
    sentence = forecast.sentence(detector())
    assert sentence.startswith("This takes about ")
    assert "GiB of memory (most while selecting the banks)" in sentence
    assert sentence.endswith(" and less than 0.1 GiB of disk on this machine.")
    large = forecast.sentence(replace(detector(), disk_mib=1536))
    assert large.endswith(" and 1.5 GiB of disk on this machine.")
