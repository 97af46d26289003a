"""The cells of a study, computed in ranges and merged, leave the bytes of a study that was never divided."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml_engine.command import main
from ml_engine.core import files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.engine import manifest, shards
from ml_engine.engine.merge_shards import merge_shards
from ml_engine.engine.outcome import ExitStatus
from ml_engine.engine.run_folder import RunSpec, open_run_folder, write_run_folder
from ml_engine.engine.run_kinds import DIVIDED, STUDIES, RunKind
from ml_engine.engine.stages import study_cells
from ml_engine.engine.stages.runner import run_folder
from ml_engine.engine.stages.study_cells import Cell
from tests.ml_engine import films

PLAIN = [*films.UNALIGNED, "--no-mask", "--set", "cross_fit=no", "--set", "fusion_choice=config"]
BANKS = ["--shares", "0.5,1", "--repeats", "1", "--contaminations", "0,0.1"]  # three banks


@dataclass(frozen=True)
class World:
    """``whole`` is a finished study of the films in ``images``."""

    images: Path
    whole: Path

    def begin(self, out: Path) -> RunSpec:
        """The run folder of the same study in ``out``, with nothing done."""
        request = files.read_json(self.whole / "run.json")
        write_run_folder(out, request, manifest.read(self.whole / "images.csv"))
        return RunSpec.from_json(request)

    def start(self, out: Path, spec: RunSpec, most: int) -> list[Path]:
        """The folders of the ranges of at most so many cells; of those with a leader, once that is done."""
        cells = study_cells.cells_of(spec)
        divided = study_cells.ranges(cells, most)
        leaders = study_cells.leaders(cells, divided)
        folders = []
        for place, (first, end) in enumerate(divided):
            shard = study_cells.shard_of(spec, first, end)
            folder = shard.folder_in(out)
            leader = folders[leaders[place]] if place in leaders else None
            if leader and not shards.is_finished(leader):
                assert run_folder(leader, images=self.images).has_results
            study_cells.start_range(out, folder, cells[first], leader=leader)
            request = files.read_json(out / "run.json") | {shards.KEY: shard.to_json()}
            write_run_folder(folder, request, manifest.read(out / "images.csv"))
            folders.append(folder)
        return folders

    def finish(self, out: Path, folders: list[Path]) -> None:
        for folder in folders:
            assert run_folder(folder, images=self.images).has_results
        assert merge_shards(out, images=self.images).status == ExitStatus.DONE
        merged, whole = films.result_bytes(out), films.result_bytes(self.whole)
        assert sorted(merged) == sorted(whole)
        assert [name for name in whole if merged[name] != whole[name]] == []


def make(base: Path, command: str, *settings: str) -> World:
    films.write_set(base / "films", train=14, tune_abnormal=2, test=3)
    csv = base / "films" / "labels.csv"
    arguments = [command, "--images", base / "films", "--csv", csv, "--out", base / "whole", *settings]
    assert main.main([str(argument) for argument in arguments]) == 0
    return World(base / "films", base / "whole")


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make(tmp_path_factory.mktemp("banks"), "bank-study", *PLAIN, *BANKS)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two rates on the same features, of films that are aligned by search."""
    small = ["--set", "cross_fit=no", "--set", "alignment.size=32", "--set", "alignment.search_steps=2"]
    return make(tmp_path_factory.mktemp("sweep"), "sweep", *films.SMALL, *small, "--axis", "rate=0.1,0.3")


def stages_that_ran(folder: Path) -> list[str]:
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return list(dict.fromkeys(event["stage"] for event in events if "stage" in event))


def places_of_stages(folder: Path) -> set[str]:
    """ "1 of 8", as the page of the run shows."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return {f"{event['stage_index'] + 1} of {event['stage_count']}" for event in events if "stage" in event}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_bank_study_is_the_same_whatever_the_number_of_ranges(banks: World, tmp_path: Path, count: int) -> None:
    spec = banks.begin(tmp_path)
    assert run_folder(tmp_path, images=banks.images, only_shared=True).status == ExitStatus.DONE
    assert stages_that_ran(tmp_path) == ["films", "align", "mask", "features"]
    assert places_of_stages(tmp_path) == {f"{number} of 8" for number in range(1, 5)}  # 3 banks and the results follow
    assert (tmp_path / "log.txt").read_text().endswith("Finished what all banks need.\n")
    folders = banks.start(tmp_path, spec, -(-3 // count))
    assert len(folders) == count
    banks.finish(tmp_path, folders)
    assert stages_that_ran(tmp_path)[4:] == ["merge", "results"]  # no bank was built twice
    assert not (tmp_path / shards.FOLDER).exists()


def test_a_sweep_computes_what_its_cells_share_once(sweep: World, tmp_path: Path) -> None:
    spec = sweep.begin(tmp_path)
    assert run_folder(tmp_path, images=sweep.images, only_shared=True).status == ExitStatus.DONE
    first, second = folders = sweep.start(tmp_path, spec, 1)
    kept = {path.name: path.stat().st_ino for path in (first / study_cells.STORES).rglob("*.safetensors")}
    assert {path.name: path.stat().st_ino for path in (second / study_cells.STORES).rglob("*.safetensors")} == kept
    assert len(kept) == len(manifest.read(tmp_path / "images.csv"))
    assert run_folder(second, images=sweep.images).has_results
    assert [stages_that_ran(folder) for folder in (tmp_path, *folders)] == [
        ["alignment-base"],
        ["cell-01", "results"],
        ["cell-02", "results"],
    ]
    sweep.finish(tmp_path, folders)


def test_an_unfinished_range_is_named(banks: World, tmp_path: Path) -> None:
    spec = banks.begin(tmp_path)
    for first, end in ((0, 1), (1, 3)):
        write_finished(tmp_path, study_cells.shard_of(spec, first, end))
    (shards.folders(tmp_path)[1] / "stages" / "results.json").unlink()
    outcome = merge_shards(tmp_path)
    assert outcome.sentence == "Banks 2 to 3 are not computed to the end: compute that range again, then merge."


def test_a_merge_killed_while_it_takes_cells_is_finished(banks: World, tmp_path: Path) -> None:
    """Of one cell the files were moved, of the next one file; a bank was half made before the run was divided."""
    spec = banks.begin(tmp_path)
    run_folder(tmp_path, images=banks.images, only_shared=True)
    folders = banks.start(tmp_path, spec, 3)
    assert run_folder(folders[0], images=banks.images).has_results
    for name in ("scores-whole.npy", "calibration-whole.npy", "scores-share-050000-0.npy"):
        shutil.move(folders[0] / "stages" / name, tmp_path / "stages" / name)
    (tmp_path / "stages" / "scores-abnormal-010000-0.npy").write_bytes(b"half")
    banks.finish(tmp_path, folders)


def test_a_folder_of_a_cell_that_was_begun_undivided_is_replaced(tmp_path: Path) -> None:
    """As the folder of a detector; the alignment that two ranges made is taken once."""
    write_run_folder(tmp_path, {"kind": "sweep"}, None)
    cell = Cell("01", {"alignment-ssim": ("alignments/ssim",), "cell-01": ("cells/01",)})
    made = tmp_path / "shards" / "a"
    for name in ("cells/01/scores/maps.npy", "alignments/ssim/alignment.safetensors"):
        files.write_bytes(made / name, b"whole")
    for stage in cell.made:
        files.write_json(made / "stages" / f"{stage}.json", {"unreadable": 1})
    files.write_bytes(tmp_path / "cells" / "01" / "detector" / "half.npy", b"half")
    with open_run_folder(tmp_path) as folder:
        folder.mark_done("alignment-ssim", {"unreadable": 0})
        study_cells.take_cells(folder, made, [cell])
        assert folder.summary("cell-01") == {"unreadable": 1}
        assert folder.summary("alignment-ssim") == {"unreadable": 0}
    assert [path.name for path in (tmp_path / "cells").rglob("*") if path.is_file()] == ["maps.npy"]


# The plan ------------------------------------------------------------------------------------------


def spec_of(kind: str, **asked: object) -> RunSpec:
    return RunSpec.from_json({"format": 1, "kind": kind, "config": PipelineConfig().to_json(), **asked})


def divided(spec: RunSpec, most: int) -> tuple[list[tuple[int, int]], dict[int, int]]:
    cells = study_cells.cells_of(spec)
    ranges = study_cells.ranges(cells, most)
    return ranges, study_cells.leaders(cells, ranges)


def test_cells_with_the_same_features_stay_together_or_follow_the_first() -> None:
    axes = {"size": ["224", "448"], "rate": ["0.01", "0.1", "0.2"]}
    spec = spec_of("sweep", axes=axes)
    assert divided(spec, 3) == ([(0, 3), (3, 6)], {})
    assert divided(spec, 1) == ([(k, k + 1) for k in range(6)], {1: 0, 2: 0, 4: 3, 5: 3})
    assert divided(spec, 2) == ([(0, 1), (1, 3), (3, 4), (4, 6)], {1: 0, 3: 2})
    assert divided(spec_of("sweep", axes={"rate": ["0.1"]}), 1) == ([(0, 1)], {})


def test_an_ablation_goes_by_the_features_of_its_detectors() -> None:
    """Aligned, unaligned, aligned, unaligned; twice the side; three baselines on aligned films; CLAHE."""
    spec = spec_of("ablation", figures=["12", "13", "15"])
    assert divided(spec, 3) == (
        [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 8), (8, 9)],
        {2: 0, 3: 1, 5: 0},
    )
    assert study_cells.shared_stages(spec) == ("alignment-base",)


def test_banks_wait_for_nothing() -> None:
    spec = spec_of("bank_study", bank={"shares": [0.5], "repeats": 2, "contaminations": [0.1]})
    assert divided(spec, 2) == ([(0, 1), (1, 3), (3, 5)], {})


def test_another_alignment_is_fitted_with_its_detector() -> None:
    spec = spec_of("ablation", figures=["alignment"])
    cells = {cell.name: cell for cell in study_cells.cells_of(spec)}
    assert list(cells["aligned-ssim"].made) == ["alignment-ssim", "cell-aligned-ssim"]
    assert list(cells["aligned-masked"].made) == ["cell-aligned-masked"]
    assert divided(spec, 4)[1] == {}


def test_the_studies_that_are_divided_have_cells_and_no_other_kind_has() -> None:
    asked = {"figures": ["12"], "axes": {"rate": ["0.1"]}}
    studies = {kind for kind in RunKind if study_cells.cells_of(spec_of(kind, **asked))}
    assert studies == {kind for kind in DIVIDED if kind in STUDIES}
    assert study_cells.shared_stages(spec_of("score")) == ()


def test_a_range_of_other_cells_is_not_carried_out() -> None:
    spec = spec_of("sweep", axes={"rate": ["0.1", "0.2"]})
    other = spec_of("sweep", axes={"rate": ["0.1", "0.2", "0.3"]})
    request = spec.to_json() | {shards.KEY: study_cells.shard_of(other, 0, 2).to_json()}
    with pytest.raises(EngineError, match="The range is of another list of cells than the study has"):
        study_cells.stages_of_range(RunSpec.from_json(request))


def test_ranges_of_other_cells_are_not_merged(banks: World, tmp_path: Path) -> None:
    banks.begin(tmp_path)
    write_finished(tmp_path, shards.Shard(0, 3, 3, "another list"))
    outcome = merge_shards(tmp_path)
    assert outcome.sentence == "The ranges are of other cells than the study has: request the run again."


def test_missing_cells_are_named(banks: World, tmp_path: Path) -> None:
    spec = banks.begin(tmp_path)
    write_finished(tmp_path, study_cells.shard_of(spec, 2, 3))
    assert merge_shards(tmp_path).sentence == "Banks 1 to 2 are in no range: retry the run."


def write_finished(out: Path, shard: shards.Shard) -> None:
    folder = shard.folder_in(out)
    write_run_folder(folder, files.read_json(out / "run.json") | {shards.KEY: shard.to_json()}, [])
    files.write_json(folder / "stages" / "results.json", {})


def test_planning_needs_no_torch() -> None:
    program = "import sys; import ml_engine.engine.stages.study_cells; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
