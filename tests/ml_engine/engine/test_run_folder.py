"""A run folder from creation to results: resumed, locked, refused to older attempts, repeated."""

from __future__ import annotations

import errno
import io
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ml_engine.command import main
from ml_engine.core import Detector, files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.film.preprocess import prepare
from ml_engine.engine import manifest, merge_shards
from ml_engine.engine.decode_films import decode_film
from ml_engine.engine.run_folder import (
    FolderBusy,
    RunSpec,
    forget_peak_memory,
    memory_mib,
    open_run_folder,
    peak_memory_mib,
    write_run_folder,
)
from ml_engine.engine.run_kinds import KINDS
from ml_engine.engine.stages import runner
from ml_engine.engine.stages.runner import BULKY, STAGES, run_folder
from ml_engine.engine.study_plans import EmbeddingPlan
from tests.ml_engine import films
from tests.ml_engine.forked import ForkedEngine

# An alignment that takes seconds: three rounds of one epoch each, without the costly losses.
ALIGNED = {
    "alignment.method": "network",
    "alignment.size": "32",
    "alignment.epochs": "3",
    "alignment.batch": "4",
    "alignment.perceptual": "0",
    "alignment.local_ncc": "0",
    "alignment.consistency": "0",
}
CONFIG = PipelineConfig.from_preset("default").replace(
    weights="random", backbone="resnet18", size=64, grid=2, rate=0.2, threads=1, controls=0, batch=4
)
CONFIG = CONFIG.replace_fields(ALIGNED)


def write_run(
    folder: Path, spec: RunSpec, rows: list[manifest.ManifestRow], *, inputs: dict[str, Path] | None = None
) -> Path:
    """Write a run folder with its inputs, as the portal does."""
    write_run_folder(folder, spec.to_json(), rows, inputs=inputs)
    return folder


def rows_of(folder: Path, *, labelled: bool = True) -> list[manifest.ManifestRow]:
    parts = ["fit"] * 6 + ["tune"] * 2 + ["calibrate"] * 2
    rows = []
    for number, part in enumerate(parts):
        label = "abnormal" if number == 7 else "normal"
        path = folder / f"film-{number:02}.png"
        rows.append(
            manifest.ManifestRow(
                path.name, f"id-{number}", files.sha256_of(path), f"p{number}", part, label if labelled else ""
            )
        )
    return rows


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films, and one finished, unbroken run of each kind."""
    base = tmp_path_factory.mktemp("world")
    source = base / "films"
    films.write_set(source, train=10, test=0)
    shutil.copy(source / "film-00.png", source / "normal.png")
    from PIL import Image

    Image.fromarray(films.film(7, abnormal=True)).save(source / "film-07.png")
    rows = rows_of(source)
    write_run(base / "fit_alignment", RunSpec("fit_alignment", CONFIG), [r for r in rows if r.part == "fit"])
    assert run_folder(base / "fit_alignment", images=source).status == 0
    alignment = base / "fit_alignment" / "alignment.safetensors"
    inputs = {"alignment": files.sha256_of(alignment)}
    spec = RunSpec("fit_detector", CONFIG, inputs=inputs)
    write_run(base / "fit_detector", spec, rows, inputs={"alignment": alignment})
    assert run_folder(base / "fit_detector", images=source).status == 0
    detector = base / "fit_detector" / "detector.safetensors"
    inputs["detector"] = files.sha256_of(detector)
    paths = {"alignment": alignment, "detector": detector}
    write_run(base / "score", RunSpec("score", CONFIG, inputs=inputs), rows_of(source, labelled=False), inputs=paths)
    assert run_folder(base / "score", images=source).status == 0
    plan = {"embedding": EmbeddingPlan(neighbours=3, epochs=10).to_json()}
    mapped = RunSpec("embedding", CONFIG, inputs={"alignment": inputs["alignment"]}, asked=plan)
    write_run(base / "embedding", mapped, rows_of(source, labelled=False), inputs={"alignment": alignment})
    assert run_folder(base / "embedding", images=source).status == 0
    return base


def fresh_copy(world: Path, kind: str, target: Path) -> Path:
    """The folder of a run as it was before its first attempt."""
    target.mkdir()
    for name in ("run.json", "images.csv"):
        shutil.copy(world / kind / name, target / name)
    if (world / kind / "inputs").exists():
        shutil.copytree(world / kind / "inputs", target / "inputs")
    return target


def start(folder: Path, source: Path, *more: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """Start the command run on the folder."""
    command = [sys.executable, "-m", "ml_engine", "run", str(folder), "--images", str(source), *more]
    return subprocess.Popen(command, cwd=films.ROOT, stdin=stdin, stdout=subprocess.PIPE, text=True)


def next_event(process: subprocess.Popen[str], wanted: Callable[[dict], bool]) -> dict:
    """The first event on the engine's stdout that is wanted."""
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if wanted(event):
            return event
    raise AssertionError("the engine ended without the event")


CUTS = [(kind, name) for kind, stages in STAGES.items() for name, _ in stages]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "stage"), CUTS, ids=[f"{kind}-{stage}" for kind, stage in CUTS])
def test_killed_in_any_stage_it_resumes_and_ends_with_the_same_bytes(
    world: Path, tmp_path: Path, kind: str, stage: str
) -> None:
    folder = fresh_copy(world, kind, tmp_path / "run")
    begun = 2 if stage == "network" else 0  # in the middle of the epochs
    engine = ForkedEngine(folder, world / "films", held_at=f"{stage} {begun}")
    engine.next_event(lambda e: e.get("stage") == stage and e["done"] >= begun)
    engine.kill()
    (folder / "pause").unlink()
    assert not (folder / "stages" / f"{stage}.json").exists()
    finished = {p.name: p.stat().st_mtime_ns for p in (folder / "stages").glob("*.json")}

    outcome = run_folder(folder, images=world / "films")

    assert outcome.status == 0, outcome.sentence
    assert films.result_bytes(folder) == films.result_bytes(world / kind)
    for name, written in finished.items():
        assert (folder / "stages" / name).stat().st_mtime_ns == written, f"{name} ran again"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "stage"),
    [("score", "films"), ("score", "align"), ("score", "maps"), ("fit_detector", "features")],
)
def test_killed_within_a_stage_it_goes_on_after_its_last_whole_chunk(
    world: Path, tmp_path: Path, kind: str, stage: str
) -> None:
    folder = fresh_copy(world, kind, tmp_path / "run")
    engine = ForkedEngine(folder, world / "films", held_at=f"{stage} {CONFIG.batch}", chunk=CONFIG.batch)
    engine.next_event(lambda e: e.get("stage") == stage and e["done"] >= CONFIG.batch)
    engine.kill()
    (folder / "pause").unlink()
    journal = folder / "stages" / f"{stage}.chunks.jsonl"
    assert len(journal.read_text().splitlines()) >= 2  # its head and a chunk
    (unfinished,) = (folder / "stages").glob("*.unfinished")
    with unfinished.open("ab") as data, journal.open("ab") as lines:  # and one that was half written
        data.write(b"half a chunk")
        lines.write(b'{"end": ')

    done: list[int] = []
    outcome = run_folder(
        folder,
        images=world / "films",
        listener=lambda e: done.append(e["done"]) if e.get("stage") == stage and e["total"] else None,
    )

    assert outcome.status == 0, outcome.sentence
    assert done[0] >= CONFIG.batch
    assert films.result_bytes(folder) == films.result_bytes(world / kind)


def test_an_alignment_resumes_at_its_last_epoch(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "fit_alignment", tmp_path / "run")
    engine = ForkedEngine(folder, world / "films", held_at="network 2")
    engine.next_event(lambda e: e.get("stage") == "network" and e["done"] == 2)
    engine.kill()
    (folder / "pause").unlink()

    epochs: list[int] = []
    run_folder(
        folder,
        images=world / "films",
        listener=lambda e: epochs.append(e["done"]) if e.get("stage") == "network" and e["total"] else None,
    )

    assert epochs[0] >= 2


@pytest.mark.parametrize("kind", STAGES)
def test_the_same_specification_gives_the_same_bytes(world: Path, tmp_path: Path, kind: str) -> None:
    folder = fresh_copy(world, kind, tmp_path / "run")

    assert run_folder(folder, images=world / "films").status == 0

    assert films.result_bytes(folder) == films.result_bytes(world / kind)


def test_a_finished_run_run_again_changes_nothing(world: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(world / "score", tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.npy")}
    events: list[dict] = []

    outcome = run_folder(folder, images=world / "films", listener=events.append)

    assert outcome.status == 0
    assert events == [{"event": "started", "device": "cpu"}, {"event": "finished", "unreadable": 0}]
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.npy")} == before


def test_scores_do_not_depend_on_which_films_are_scored_together(world: Path, tmp_path: Path) -> None:
    """Shards of a run are byte-identical to the whole."""
    whole = np.load(world / "score" / "maps.npy")
    for number, span in enumerate((slice(0, 3), slice(3, 10))):
        folder = fresh_copy(world, "score", tmp_path / f"shard-{number}")
        rows = manifest.read(folder / "images.csv")
        manifest.write(folder / "images.csv", rows[span], with_labels=False)
        assert run_folder(folder, images=world / "films").status == 0
        np.testing.assert_array_equal(np.load(folder / "maps.npy"), whole[span])
        np.testing.assert_array_equal(np.load(folder / "affines.npy"), np.load(world / "score" / "affines.npy")[span])


EVENT_KEYS = {
    "attempt", "stage", "stage_index", "stage_count", "done", "total", "seconds_left", "run_seconds_left",
    "memory_mib", "message",
}  # fmt: skip


def test_events_have_the_documented_fields(world: Path) -> None:
    for kind, stages in STAGES.items():
        lines = [json.loads(line) for line in (world / kind / "events.jsonl").read_text().splitlines()]
        assert lines[0] == {"attempt": 1, "event": "started", "device": "cpu"}
        assert lines[-1] == {"attempt": 1, "event": "finished", "unreadable": 0}
        progress = lines[1:-1]
        assert all(set(event) == EVENT_KEYS for event in progress)
        seen = list(dict.fromkeys((e["stage_index"], e["stage"]) for e in progress))
        assert seen == list(enumerate(name for name, _ in stages))
        assert all(0 <= e["done"] <= e["total"] for e in progress)
        assert {e["stage_count"] for e in progress} == {len(stages)}


def test_every_film_has_a_p_value_among_the_normals(world: Path) -> None:
    folder = world / "score"
    summary = files.read_json(folder / "score.json")
    normals = summary["calibration_scores"]

    p_values = np.load(folder / "p_values.npy")

    for row, p in zip(films.read_csv(folder / "scores.csv"), p_values, strict=True):
        assert p == (1 + sum(normal >= float(row["fused"]) for normal in normals)) / (len(normals) + 1)
    assert summary["threshold"]["value"] is None
    assert "needs normal films of at least 9 patients to calibrate on, and there are 2" in summary["threshold"]["note"]


def test_results_have_their_shapes(world: Path) -> None:
    folder = world / "score"
    maps, affines, sweep = (np.load(folder / f"{name}.npy") for name in ("maps", "affines", "sweep"))
    table = films.read_csv(folder / "scores.csv")
    summary = files.read_json(folder / "score.json")
    mask = np.load(world / "fit_detector" / "mask.npy")

    assert (maps.shape, maps.dtype) == ((10, 2, 8, 8), np.float32)
    assert (np.isnan(maps) == ~mask).all()
    assert (affines.shape, affines.dtype) == ((10, 2, 3), np.float64)
    assert (sweep.shape, sweep.dtype) == ((10, 101), np.float32)
    assert list(table[0]) == ["image", "filename", "global", "region", "fused", "mean_z", "top_z", "error", "notice"]
    assert [row["image"] for row in table] == [f"id-{k}" for k in range(10)]
    np.testing.assert_allclose([float(row["global"]) for row in table], sweep[:, 0], rtol=1e-6)
    np.testing.assert_allclose([float(row["region"]) for row in table], sweep[:, 100], rtol=1e-6)
    weight = round(summary["fusion_weight"] * 100)
    np.testing.assert_allclose([float(row["fused"]) for row in table], sweep[:, weight], rtol=1e-6)
    assert np.shape(summary["standardisation"]["mean"]) == (2, 8, 8)
    assert summary["calibration_scores"] == sorted(summary["calibration_scores"])
    assert len(summary["calibration_scores"]) == 2
    assert sorted(summary["calibration_order"]) == [0, 1]
    rows = [row for row in films.read_csv(world / "fit_detector" / "images.csv") if row["part"] == "calibrate"]
    numbers = {name: k for k, name in enumerate(dict.fromkeys(row["patient"] for row in rows))}
    in_order = [numbers[rows[k]["patient"]] for k in summary["calibration_order"]]
    assert summary["calibration_patients"] == in_order
    assert (summary["size"], summary["stride"]) == (64, 8)


def test_each_film_s_alignment_is_measured(world: Path) -> None:
    aligned = np.load(world / "score" / "aligned.npy")
    assert (aligned.shape, aligned.dtype) == ((10, 5), np.float64)
    assert np.isfinite(aligned).all()
    assert (np.abs(aligned[:, :4]) <= 1).all()
    assert ((aligned[:, 4] > 0) & (aligned[:, 4] <= 1)).all()


def test_random_weights_are_named_everywhere(world: Path) -> None:
    for path in ("score/score.json", "score/run.json", "fit_detector/detector.json", "fit_detector/run.json",
                 "fit_alignment/run.json"):  # fmt: skip
        assert files.read_json(world / path)["weights"] == {"name": "random", "sha256": None}, path


def test_results_hold_no_times_and_no_paths_of_this_machine(world: Path) -> None:
    for kind in STAGES:
        for name, content in films.result_bytes(world / kind).items():
            assert str(world).encode() not in content, name
            assert b"seconds" not in content, name


def test_bulky_intermediates_are_deleted_with_the_results_written(world: Path) -> None:
    assert [p for kind in STAGES for name in BULKY for p in (world / kind).rglob(name)] == []


def test_a_standardised_calibration_part_scores_around_zero(world: Path) -> None:
    """The two calibration films are what the maps are standardised by, so their standardised mean is 0."""
    summary = files.read_json(world / "score" / "score.json")
    mean, std = (np.array(summary["standardisation"][k]) for k in ("mean", "std"))
    keep = np.load(world / "fit_detector" / "mask.npy")
    maps = np.load(world / "score" / "maps.npy")[8:, :, keep]

    np.testing.assert_allclose(((maps - mean[:, keep]) / std[:, keep]).mean(axis=0), 0, atol=1e-4)


def test_scores_of_the_trained_films_are_lower_than_of_the_abnormal_one(world: Path) -> None:
    table = films.read_csv(world / "score" / "scores.csv")

    assert float(table[7]["fused"]) > max(float(row["fused"]) for row in table[:6])


# The lock, attempts, and ends


def test_two_engines_never_share_a_folder(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")
    with open_run_folder(folder):
        before = sorted(folder.rglob("*"))
        outcome = run_folder(folder, images=world / "films")
        assert sorted(folder.rglob("*")) == before

    assert outcome.status == 2
    assert "Another engine is running in" in outcome.sentence
    assert (folder / "events.jsonl").read_text() == ""


def test_an_earlier_attempt_is_refused_after_a_later_one(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")
    with open_run_folder(folder, attempt=3):
        pass
    with (
        pytest.raises(FolderBusy, match="Attempt 2 is over: attempt 3 has begun in"),
        open_run_folder(folder, attempt=2),
    ):
        pass
    with open_run_folder(folder, attempt=3) as again:
        assert again.attempt == 3
    with open_run_folder(folder) as following:
        assert following.attempt == 4


def test_every_event_has_the_attempt(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")

    run_folder(folder, images=world / "films", attempt=7)

    assert {json.loads(line)["attempt"] for line in (folder / "events.jsonl").read_text().splitlines()} == {7}


def test_it_ends_when_its_parent_goes(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "fit_alignment", tmp_path / "run")
    process = start(folder, world / "films", "--parent-pipe", stdin=subprocess.PIPE)
    next_event(process, lambda e: e.get("stage") == "network")
    assert process.stdin is not None

    process.stdin.close()

    assert process.wait(timeout=30) == 4
    assert process.stdout is not None
    process.stdout.close()
    assert '"finished"' not in (folder / "events.jsonl").read_text()


def test_without_the_pipe_a_closed_stdin_does_not_matter(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")
    process = start(folder, world / "films")

    output, _ = process.communicate(timeout=120)

    assert process.returncode == 0
    assert output == (folder / "events.jsonl").read_text()


def test_a_closed_stdout_does_not_stop_the_run(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")
    process = start(folder, world / "films")
    assert process.stdout is not None
    process.stdout.close()

    assert process.wait(timeout=120) == 0
    assert '"finished"' in (folder / "events.jsonl").read_text()


def test_terminated_it_dies_and_resumes(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")
    process = start(folder, world / "films")
    next_event(process, lambda e: e.get("stage") == "maps")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM

    assert run_folder(folder, images=world / "films").status == 0


def test_the_log_says_what_each_stage_took(world: Path, tmp_path: Path) -> None:
    """Seconds of CPU of the process, which rise from stage to stage."""
    folder = fresh_copy(world, "score", tmp_path / "run")
    assert run_folder(folder, images=world / "films").status == 0
    log = (folder / "log.txt").read_text()
    seen = re.findall(r"Stage (\w+) begins, after (\d+\.\d) s of CPU in this process\.", log)
    assert [name for name, _ in seen] == ["films", "align", "maps", "results"]
    (end,) = re.findall(r"The stages end after (\d+\.\d) s of CPU in this process\.", log)
    seconds = [float(value) for value in (*(value for _, value in seen), end)]
    assert seconds == sorted(seconds)
    assert seconds[-1] > 0


# Refusals


def failed(folder: Path, source: Path, status: int = 2) -> str:
    outcome = run_folder(folder, images=source)
    assert outcome.status == status
    last = json.loads((folder / "events.jsonl").read_text().splitlines()[-1])
    assert last == {"attempt": last["attempt"], "event": "failed", "sentence": outcome.sentence}
    assert outcome.sentence in (folder / "log.txt").read_text()
    return outcome.sentence


def change_run(folder: Path, **values: object) -> None:
    files.write_json(folder / "run.json", files.read_json(folder / "run.json") | values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 9}, "run.json has format 9; this version runs"),
        ({"kind": "dream"}, "kind 'dream'"),
        ({"config": {"rate": 7}}, "rate is 7"),
        ({"fusion_weight": 2}, "fusion_weight is 2.0: it must be from 0 to 1"),
        ({"fusion_weight": 0.123}, "fusion_weight is 0.123: it must be a whole number of hundredths"),
        ({"seed": "7"}, "seed is '7': it must be a whole number"),
        ({"weights": "random"}, "run.json has weights 'random': it must be a JSON object"),
        ({"inputs": {"detector": {"file": "x"}}}, "run.json has input detector"),
        ({"config": {"alignment": {"valid_only": "no"}}}, "alignment.valid_only is 'no': it must be true or false"),
        ({"config": {"alignment": {"epochs": 20.0}}}, "alignment.epochs is 20.0: it must be a whole number"),
        ({"inputs": {}}, "needs inputs/detector.safetensors"),
        ({"inputs": {"detector": {"file": "", "sha256": "0" * 64}}}, "its SHA-256 differs"),
    ],
)
def test_an_invalid_specification_is_refused(
    world: Path, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")
    change_run(folder, **changes)

    assert words in failed(folder, world / "films")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    outcome = run_folder(tmp_path)

    assert outcome.status == 2
    assert "is not a run folder: it has no run.json" in outcome.sentence
    assert list(tmp_path.iterdir()) == []


def test_run_json_that_is_no_json_is_refused(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")
    (folder / "run.json").write_text("{")

    assert "no run.json that can be read" in failed(folder, world / "films")


def test_an_alignment_of_another_detector_is_refused(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")
    other = folder / "inputs" / "alignment.safetensors"
    tensors, header = files.read_tensors(other)
    files.write_tensors(other, tensors, header | {"report": {}})
    inputs = files.read_json(folder / "run.json")["inputs"]
    inputs["alignment"]["sha256"] = files.sha256_of(other)
    change_run(folder, inputs=inputs)

    assert "not the one that the detector was fitted with" in failed(folder, world / "films")


def test_films_prepared_in_another_way_than_for_the_alignment_are_refused(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "fit_detector", tmp_path / "run")
    config = files.read_json(folder / "run.json")["config"]
    change_run(folder, config=config | {"intensity": "minmax"})

    assert "fitted with intensity = window and the detector uses minmax" in failed(folder, world / "films")


def test_an_alignment_from_before_clahe_was_fitted_without(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "fit_detector", tmp_path / "run")
    path = folder / "inputs" / "alignment.safetensors"
    tensors, facts = files.read_tensors(path)
    del facts["header"]["config"]["clahe"]
    files.write_tensors(path, tensors, facts)
    run = files.read_json(folder / "run.json")
    run["inputs"]["alignment"]["sha256"] = files.sha256_of(path)
    change_run(folder, inputs=run["inputs"], config=run["config"] | {"clahe": True})

    assert "fitted with clahe = False and the detector uses True" in failed(folder, world / "films")


def test_an_abnormal_film_in_fit_is_refused(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "fit_detector", tmp_path / "run")
    rows = manifest.read(folder / "images.csv")
    rows[1] = manifest.ManifestRow(**{**rows[1].__dict__, "label": "abnormal"})
    manifest.write(folder / "images.csv", rows, with_labels=True)

    assert f"{rows[1].filename} is abnormal and in the fit part" in failed(folder, world / "films")


@pytest.mark.parametrize("kind", ["fit_alignment", "fit_detector"])
def test_a_backbone_unknown_to_timm_is_refused_before_the_long_work(world: Path, tmp_path: Path, kind: str) -> None:
    folder = fresh_copy(world, kind, tmp_path / "run")
    config = files.read_json(folder / "run.json")["config"]
    change_run(folder, config=config | {"backbone": "timm:convnext_tyny"})

    assert "has no network of this name; near it are timm:convnext_tiny" in failed(folder, world / "films")
    assert not (folder / "stages" / "films.json").exists()


def test_too_few_calibration_films_are_refused_before_the_long_work(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "fit_detector", tmp_path / "run")
    rows = manifest.read(folder / "images.csv")[:-1]
    manifest.write(folder / "images.csv", rows, with_labels=True)

    assert "at least 2 films in the calibrate part, and it has 1" in failed(folder, world / "films")
    assert not (folder / "stages" / "films.json").exists()


def test_a_film_changed_since_the_request_is_unreadable(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")
    source = shutil.copytree(world / "films", tmp_path / "films")
    shutil.copy(source / "film-01.png", source / "film-02.png")

    outcome = run_folder(folder, images=source)

    assert (outcome.status, outcome.unreadable) == (3, 1)
    table = films.read_csv(folder / "scores.csv")
    assert "SHA-256 differs" in table[2]["error"]
    assert [row["fused"] == "nan" for row in table] == [k == 2 for k in range(10)]
    assert np.isnan(np.load(folder / "maps.npy")[2]).all()
    assert np.isnan(np.load(folder / "affines.npy")[2]).all()
    assert np.isnan(np.load(folder / "sweep.npy")[2]).all()
    assert np.isnan(np.load(folder / "p_values.npy")).tolist() == [k == 2 for k in range(10)]
    last = json.loads((folder / "events.jsonl").read_text().splitlines()[-1])
    assert last["unreadable"] == 1


def test_a_folder_without_its_films_is_refused_with_advice(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")

    assert "None of the 10 files that images.csv names is in" in failed(folder, tmp_path)
    assert "name their folder with --images" in failed(folder, tmp_path)


@pytest.mark.parametrize("kind", ["score", "fit_detector"])
def test_where_no_film_can_be_read_scores_are_nan_and_a_fit_is_refused(world: Path, tmp_path: Path, kind: str) -> None:
    folder, source = fresh_copy(world, kind, tmp_path / "run"), tmp_path / "films"
    source.mkdir()
    for row in manifest.read(folder / "images.csv"):
        (source / row.filename).write_bytes(b"no picture")

    if kind == "fit_detector":
        assert "films could be read. The first:" in failed(folder, source)
        return
    outcome = run_folder(folder, images=source)

    assert (outcome.status, outcome.unreadable) == (3, 10)
    assert np.isnan(np.load(folder / "maps.npy")).all()
    assert all(row["fused"] == "nan" and row["error"] for row in films.read_csv(folder / "scores.csv"))


def test_a_bug_is_an_internal_error_with_its_traceback_in_the_log(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")

    def broken(*_: object) -> dict:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setitem(STAGES, "score", (("films", broken),))

    sentence = failed(folder, world / "films", status=1)

    assert sentence == "Internal error: the details are in log.txt of the run folder."
    assert "ZeroDivisionError: secret detail" in (folder / "log.txt").read_text()


def test_a_full_disk_is_reported(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")

    def full(*_: object) -> dict:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(STAGES, "score", (("films", full),))

    assert "The disk is full" in failed(folder, world / "films")


def test_a_lack_of_memory_is_reported(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")

    def greedy(*_: object) -> dict:
        torch.empty(2**46)
        return {}

    monkeypatch.setitem(STAGES, "score", (("films", greedy),))

    assert "The memory ran out: choose a smaller size" in failed(folder, world / "films")


def test_what_a_killed_attempt_was_writing_is_cleared_away(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "score", tmp_path / "run")
    leftover = folder / "stages" / ".inputs.npy.77.abcd.part"
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_bytes(b"half")

    assert run_folder(folder, images=world / "films").status == 0

    assert not list(folder.rglob("*.part"))


def test_stdout_reports_that_a_folder_cannot_be_used(tmp_path: Path) -> None:
    stdout = io.StringIO()

    outcome = run_folder(tmp_path / "none", attempt=3, stdout=stdout)

    assert json.loads(stdout.getvalue()) == {"attempt": 3, "event": "failed", "sentence": outcome.sentence}
    assert "it has no run.json" in outcome.sentence


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "lock").mkdir()

    outcome = run_folder(tmp_path)

    assert outcome.status == 2
    assert outcome.sentence.startswith("The run folder cannot be used: Is a directory")


@pytest.mark.parametrize("module", [runner, merge_shards])
def test_a_disk_that_is_full_before_the_first_stage_is_said(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "open_run_folder", full)
    work = run_folder if module is runner else merge_shards.merge_shards
    outcome = work(tmp_path)

    assert outcome.sentence == "The disk is full: free some space and retry; finished stages are kept."
    assert outcome.is_temporary


def test_peak_memory_excludes_the_parent_process() -> None:
    """The kernel's ru_maxrss of a child starts from that of its parent."""
    ballast = bytearray(600 << 20)
    code = "from ml_engine.engine.run_folder import peak_memory_mib; print(peak_memory_mib())"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=films.ROOT)

    assert 5 < float(answer.stdout) < len(ballast) / 2**20


def test_other_weights_than_the_detectors_are_refused(world: Path, tmp_path: Path) -> None:
    folder = fresh_copy(world, "fit_detector", tmp_path / "run")
    change_run(folder, weights={"name": "random", "sha256": "ab" * 32})

    assert "are not those that the run names (abababab)" in failed(folder, world / "films")


def test_an_alignment_with_a_perceptual_loss_is_refused_with_advice(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HILUM_DATA_DIR", str(tmp_path / "data"))
    folder = fresh_copy(world, "fit_alignment", tmp_path / "run")
    config = files.read_json(folder / "run.json")["config"]
    config["alignment"]["perceptual"] = 1.0
    change_run(folder, config=config)

    assert "alignment.perceptual=0" in failed(folder, world / "films")


# A fold of patients instead of a calibrate part


def unaligned(folder: Path, source: Path, rows: list[manifest.ManifestRow], **values: object) -> Path:
    config = CONFIG.replace(align="none", **values)
    write_run(folder, RunSpec("fit_detector", config), rows)
    outcome = run_folder(folder, images=source)
    assert outcome.status == 0, outcome.sentence
    return folder


def test_without_a_calibrate_part_folds_of_fit_patients_stand_in(world: Path, tmp_path: Path) -> None:
    rows = [r for r in rows_of(world / "films") if r.part == "fit"]

    folder = unaligned(tmp_path / "run", world / "films", rows, folds=3)

    summary = files.read_json(folder / "detector.json")
    assert summary["calibration"] == {"source": "fit, 3 folds of patients", "films": 6}
    maps = np.load(folder / "stages" / "calibration.npy")[0]
    assert (maps[:, :, np.load(folder / "mask.npy")] > 0).any(axis=(1, 2)).all()


def test_a_fold_is_scored_against_the_banks_of_the_other_patients_alone(world: Path, tmp_path: Path) -> None:
    """With complete banks a film scores 0 against its own vectors, so a leak would show as zeros."""
    rows = [r for r in rows_of(world / "films") if r.part == "fit"]

    folder = unaligned(tmp_path / "run", world / "films", rows, folds=6, rate=1.0)

    maps = np.load(folder / "stages" / "calibration.npy")[0]
    assert (maps[:, :, np.load(folder / "mask.npy")] > 0).all()
    np.testing.assert_array_equal(np.load(folder / "fit_maps.npy"), maps)


def test_fit_films_are_scored_by_models_of_the_other_patients(world: Path, tmp_path: Path) -> None:
    """Also with a calibrate part; the abnormal film among the fit films has the highest score."""
    source = tmp_path / "films"
    shutil.copytree(world / "films", source)
    shutil.copy(source / "film-07.png", source / "film-02.png")  # an abnormal film among the normal ones
    rows = [
        r if r.filename != "film-02.png" else replace(r, sha256=files.sha256_of(source / "film-02.png"))
        for r in rows_of(source)
        if r.part in ("fit", "calibrate")
    ]

    folder = unaligned(tmp_path / "run", source, rows, folds=3, rate=1.0)

    maps, keep = np.load(folder / "fit_maps.npy"), np.load(folder / "mask.npy")
    assert maps.shape == (6, 2, 8, 8)
    assert (maps[:, :, keep] > 0).all()
    scores = films.read_csv(folder / "fit_scores.csv")
    assert [row["filename"] for row in scores] == [f"film-{k:02}.png" for k in range(6)]
    assert sorted({row["fold"] for row in scores}) == ["0", "1", "2"]
    highest = max(scores, key=lambda row: float(row["fused"]))
    assert (highest["filename"], float(highest["p_value"])) == ("film-02.png", pytest.approx(1 / 6))
    suspects = files.read_json(folder / "detector.json")["suspects"]
    assert (suspects[0]["filename"], suspects[0]["image"], len(suspects)) == ("film-02.png", "id-2", 6)
    detector = Detector.load(folder / "detector.safetensors")
    np.testing.assert_allclose([float(row["fused"]) for row in scores], detector.scores(maps).fused)


def test_without_cross_fitting_there_are_no_fit_scores(world: Path, tmp_path: Path) -> None:
    folder = unaligned(tmp_path / "run", world / "films", rows_of(world / "films"), cross_fit=False)

    assert not (folder / "fit_scores.csv").exists()
    assert files.read_json(folder / "detector.json")["suspects"] == []


def test_without_cross_fitting_and_a_calibrate_part_no_fold_is_made(world: Path, tmp_path: Path) -> None:
    rows = [r for r in rows_of(world / "films") if r.part == "fit"]
    uncalibrated = {"standardise": False, "image_score": "top", "cross_fit": False}

    folder = unaligned(tmp_path / "run", world / "films", rows, **uncalibrated)

    summary = files.read_json(folder / "detector.json")
    assert summary["calibration"] == {
        "source": "none: there is no calibrate part, and cross_fit is off",
        "films": 0,
    }
    assert summary["threshold"]["value"] is None
    assert not (folder / "fit_scores.csv").exists()
    detector = Detector.load(folder / "detector.safetensors")
    assert np.isfinite(detector.scores(np.ones((1, 2, 8, 8), np.float32)).fused).all()


def test_a_config_that_needs_calibration_is_refused_without_cross_fitting(world: Path, tmp_path: Path) -> None:
    rows = [r for r in rows_of(world / "films") if r.part == "fit"]
    folder = write_run(tmp_path / "run", RunSpec("fit_detector", CONFIG.replace(align="none", cross_fit=False)), rows)

    assert "no film is in the calibrate part, and cross_fit is off" in failed(folder, world / "films")


def test_rate_k_and_share_are_chosen_on_tune(world: Path, tmp_path: Path) -> None:
    """The saved detector equals a fit with the chosen settings."""
    parts = {0: "tune", 1: "tune", 6: "tune", 7: "tune"}
    rows = [
        replace(r, part=parts.get(k, "fit" if r.part == "tune" else r.part))
        for k, r in enumerate(rows_of(world / "films"))
    ]
    tried = {"neighbours_tried": "2,3", "rate_tried": "0.05,0.5", "top_share_tried": "0.2"}
    tried |= {"image_score": "top"}

    folder = unaligned(tmp_path / "run", world / "films", rows, **tried)

    facts = files.read_json(folder / "detector.json")["tune"]
    assert len(facts["table"]) == 3 * 3 * 2
    assert max(row["auroc"] for row in facts["table"]) == max(facts["auroc"])
    chosen = facts["chosen"]
    plain = unaligned(tmp_path / "plain", world / "films", rows, **chosen)
    tuned, expected = (Detector.load(path / "detector.safetensors") for path in (folder, plain))
    assert torch.equal(tuned.banks.whole.vectors, expected.banks.whole.vectors)
    np.testing.assert_allclose(tuned.calibration.maps, expected.calibration.maps, rtol=1e-6)


def test_training_films_score_zero_against_whole_banks(world: Path, tmp_path: Path) -> None:
    rows = rows_of(world / "films")
    folder = unaligned(tmp_path / "fit", world / "films", rows, rate=1.0, neighbours=1)
    detector = folder / "detector.safetensors"
    spec = RunSpec("score", CONFIG, inputs={"detector": files.sha256_of(detector)})
    score = write_run(tmp_path / "score", spec, rows_of(world / "films", labelled=False), inputs={"detector": detector})
    assert run_folder(score, images=world / "films").status == 0

    maps = np.load(score / "maps.npy")[:, :, np.load(folder / "mask.npy")]

    assert (maps[:6] == 0).all()
    assert (maps[6:] > 0).any(axis=(1, 2)).all()


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_detector_fitted_in_memory_is_that_of_the_run(world: Path, tmp_path: Path, calibrated: bool) -> None:
    rows = [r for r in rows_of(world / "films") if calibrated or r.part != "calibrate"]
    folder = unaligned(tmp_path / "fit", world / "films", rows)
    config = CONFIG.replace(align="none")
    canonical = torch.stack(
        [prepare(decode_film(world / "films" / row.filename), config).image for row in rows_of(world / "films")]
    )

    detector = Detector.fit(
        canonical[:6],
        config,
        calibrate=canonical[8:] if calibrated else None,
        patients=[row.patient for row in rows[:6]],
        tune=canonical[6:8],
        abnormal=np.array([False, True]),
    )

    detector.save(tmp_path / "detector.safetensors")
    assert (tmp_path / "detector.safetensors").read_bytes() == (folder / "detector.safetensors").read_bytes()
    maps = Detector.load(folder / "detector.safetensors").maps(canonical[:3])
    np.testing.assert_array_equal(maps, detector.maps(canonical[:3]))


@pytest.mark.parametrize("shape", [(3, 32, 32), (64, 64), (0, 64, 64)])
def test_films_of_another_shape_are_refused_by_the_library(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 64, 64\)"):
        Detector.fit(torch.zeros(shape), CONFIG)


def test_unaligned_affines_are_the_resizing_alone(world: Path, tmp_path: Path) -> None:
    folder = unaligned(tmp_path / "fit", world / "films", rows_of(world / "films"))
    detector = folder / "detector.safetensors"
    spec = RunSpec("score", CONFIG, inputs={"detector": files.sha256_of(detector)}, fusion_weight=0.25)
    score = write_run(tmp_path / "score", spec, rows_of(world / "films", labelled=False), inputs={"detector": detector})
    assert run_folder(score, images=world / "films").status == 0

    np.testing.assert_allclose(np.load(score / "affines.npy"), np.tile([[1.25, 0, 0], [0, 1.25, 0]], (10, 1, 1)))
    assert files.read_json(score / "score.json")["fusion_weight"] == 0.25


def test_bank_vectors_lead_back_to_rows_of_the_manifest(world: Path) -> None:
    tensors, _ = files.read_tensors(world / "fit_detector" / "detector.safetensors")
    mask = np.load(world / "fit_detector" / "mask.npy")

    rows = manifest.read(world / "fit_detector" / "images.csv")
    for row, r, c in tensors["global.provenance"].tolist():
        assert rows[row].part == "fit"
        assert mask[r, c]
    assert len(tensors["global.vectors"]) == len(tensors["global.provenance"]) == -(-6 * mask.sum() // 5)


def test_command_line_module_is_what_runs(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", str(world / "nowhere")]) == 2
    assert "is not a run folder" in capsys.readouterr().err


# --- writing it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_has_labels_unless_the_engine_must_not_see_them(tmp_path: Path, kind: str) -> None:
    rows = [manifest.ManifestRow("a.png", part="test", label="abnormal")]
    (tmp_path / "model").write_bytes(b"a model")
    spec = RunSpec(kind, CONFIG, inputs={"detector": files.sha256_of(tmp_path / "model")}).to_json()
    write_run_folder(tmp_path / "run", spec, rows, inputs={"detector": tmp_path / "model"})
    (row,) = manifest.read(tmp_path / "run" / "images.csv")
    assert row.label == ("" if kind in ("score", "blind_spots", "embedding") else "abnormal")
    assert files.read_json(tmp_path / "run" / "run.json") == spec
    assert (tmp_path / "run" / spec["inputs"]["detector"]["file"]).read_bytes() == b"a model"


def test_a_folder_whose_input_is_gone_is_no_run_folder(tmp_path: Path) -> None:
    spec = RunSpec("score", CONFIG).to_json()
    with pytest.raises(FileNotFoundError):
        write_run_folder(tmp_path / "run", spec, [], inputs={"detector": tmp_path / "gone"})
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_later_attempt_keeps_the_existing_films(tmp_path: Path) -> None:
    spec, rows = RunSpec("score", CONFIG).to_json(), [manifest.ManifestRow("a.png", part="test")]
    write_run_folder(tmp_path / "run", spec, rows)
    write_run_folder(tmp_path / "run", spec | {"name": "again"}, None)
    assert manifest.read(tmp_path / "run" / "images.csv") == rows
    assert files.read_json(tmp_path / "run" / "run.json")["name"] == "again"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_the_peak_of_memory_counts_from_the_last_run() -> None:
    """In a process that runs one run after another, the budget of a run is its own."""
    block = bytearray(300 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    high = peak_memory_mib()
    del block
    forget_peak_memory()
    assert peak_memory_mib() < high - 200
    assert memory_mib() <= peak_memory_mib() + 1
