"""A head from its run folder to scored films: bytes, kill and resume, the control, what is never fitted on."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ml_engine.command import main
from ml_engine.core import files
from ml_engine.core.detector import pipeline
from ml_engine.core.head import confirmed_head
from ml_engine.core.head.confirmed_head import ConfirmedHead, load_head
from ml_engine.engine import manifest, reads, repeat
from ml_engine.engine.archive import members
from ml_engine.engine.one_film import FilmPipeline
from ml_engine.engine.run_folder import INPUTS
from ml_engine.engine.scored_folder import SEMI_SUPERVISED, ResultsMissing, ScoredFolder
from ml_engine.engine.stages import fit_head
from ml_engine.engine.stages.runner import run_folder
from tests.ml_engine import confirmed, films
from tests.ml_engine.confirmed import Confirmed
from tests.ml_engine.forked import ForkedEngine

STAGES = ("films", "align", "features", "control", "head", "curve", "results")


@dataclass(frozen=True)
class World:
    source: Confirmed
    model: Path
    head: Path
    scores: Path


def run(*arguments: object) -> int:
    return main.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    base = tmp_path_factory.mktemp("head")
    made = World(confirmed.write(base / "films"), base / "model", base / "head", base / "scores")
    assert run(*confirmed.fit_arguments(made.source, made.model)) == 0
    assert run(*confirmed.head_arguments(made.source, made.model, made.head)) == 0
    common = ["score", "--images", made.source.images, "--csv", made.source.labels]
    assert run(*common, "--model", made.head, "--out", made.scores) == 0
    return made


def fresh_copy(world: World, target: Path) -> Path:
    """The folder of the head's run as it was before its first attempt."""
    target.mkdir()
    for name in ("run.json", "images.csv"):
        shutil.copy(world.head / name, target / name)
    shutil.copytree(world.head / "inputs", target / "inputs")
    return target


def changed(world: World, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A fresh copy with a changed run.json."""
    folder = fresh_copy(world, target)
    spec = json.loads((folder / "run.json").read_text())
    change(spec)
    files.write_json(folder / "run.json", spec)
    return folder


def head_of(world: World) -> ConfirmedHead:
    return load_head(
        world.head / "head.safetensors", detector_sha256=files.sha256_of(world.model / "detector.safetensors")
    )


def pooled(world: World) -> dict[str, np.ndarray]:
    """The pooled features of the head's films, each film by itself, by filename."""
    folder = world.head / "inputs"
    detector = pipeline.load_detector(folder / "detector.safetensors")
    single = FilmPipeline(folder, detector, device="cpu")
    rows = manifest.read(world.head / "images.csv")
    return {row.filename: confirmed_head.pool(single.features(world.source.images / row.filename)) for row in rows}


def test_the_head_is_scikit_learns_on_the_films_that_people_confirmed(world: World) -> None:
    features, rows = pooled(world), manifest.read(world.head / "images.csv")
    verdict = {row["filename"]: row["label"] for row in films.read_csv(world.source.reads)}
    weight = {row["filename"]: float(row["weight"] or 1) for row in films.read_csv(world.source.reads)}
    known = [row.filename for row in rows if row.part == "fit"]
    read = [name for name, label in verdict.items() if label == "abnormal"]
    normals = np.stack([features[name] for name in known])
    std = normals.std(0, ddof=1)
    inverse = np.where(std > 0, 1 / np.where(std > 0, std, 1), 0)
    x = (np.stack([features[name] for name in [*known, *read]]) - normals.mean(0)) * inverse
    y = np.r_[np.zeros(len(known)), np.ones(len(read))]
    of_reads = np.array([weight[name] for name in read])
    weights = np.r_[np.ones(len(known)), of_reads / of_reads.mean()]
    model = LogisticRegression(C=0.01, solver="newton-cholesky", tol=1e-12).fit(x, y, sample_weight=weights)

    head = head_of(world)

    np.testing.assert_allclose(head.regression.coefficients, model.coef_[0], atol=1e-6)
    assert abs(head.regression.intercept - model.intercept_[0]) < 1e-6
    calibrate = np.stack([features[row.filename] for row in rows if row.part == "calibrate"])
    expected = model.decision_function((calibrate - normals.mean(0)) * inverse)
    np.testing.assert_allclose(head.calibration_logits, expected, atol=1e-5)


def test_the_summary_says_what_it_was_fitted_on(world: World) -> None:
    summary = files.read_json(world.head / "fit_head.json")

    assert summary["kind"] == "semi-supervised head" and summary["about"].startswith("Semi-supervised")
    facts = summary["facts"]
    assert (facts["known_normals"], facts["abnormal_reads"], facts["normal_reads"]) == (40, 14, 3)
    assert (facts["normal_reads_used"], facts["unread"]) == (0, 36)
    weights = np.array(
        [float(row["weight"]) for row in films.read_csv(world.source.reads) if row["label"] == "abnormal"]
    )
    assert abs(facts["effective_abnormal_reads"] - weights.sum() ** 2 / (weights**2).sum()) < 1e-12
    assert facts["assisted_reads"] == sum(
        row["label"] == "abnormal" and row["model_shown"] == "yes" for row in films.read_csv(world.source.reads)
    )
    assert summary["population_control"]["is_passed"]
    assert files.read_json(world.head / "population_control.json") == summary["population_control"]


def test_the_curve_is_that_of_the_stored_scores(world: World) -> None:
    summary = files.read_json(world.head / "fit_head.json")["learning_curve"]
    scores = films.read_csv(world.head / "tune_scores.csv")
    abnormal = np.array([row["label"] == "abnormal" for row in scores])
    last = summary["points"][-1]

    for name, stored in (("semi_supervised_head_z", "head"), ("semi_supervised_combined", "combined")):
        area = roc_auc_score(abnormal, [float(row[name]) for row in scores])
        assert abs(area - last[stored]["value"]) < 1e-12
    one_class = roc_auc_score(abnormal, [float(row["one_class_z"]) for row in scores])
    assert abs(summary["one_class"]["value"] - one_class) < 1e-12
    assert abs(last["gain"]["value"] - (last["combined"]["value"] - one_class)) < 1e-12
    lines = films.read_csv(world.head / "learning_curve.csv")
    assert [float(line["reads"]) for line in lines] == [10, 14]
    assert float(lines[-1]["combined_auroc"]) == last["combined"]["value"]


def test_a_verdict_of_the_reads_is_never_the_reference(world: World, tmp_path: Path) -> None:
    """Two films of tune that curators labelled normal are read as abnormal: these train, and the label stays."""
    folder = fresh_copy(world, tmp_path / "run")
    rows, path = manifest.read(folder / "images.csv"), folder / INPUTS["reads"]
    said = reads.read(path, rows)
    contested = [k for k, row in enumerate(rows) if (row.part, row.label) == ("tune", "normal")][:2]
    for k in contested:
        said[k] = replace(said[k], is_in_pool=True, verdict="abnormal")
    reads.write(path, said)
    spec = json.loads((folder / "run.json").read_text())
    spec["inputs"]["reads"]["sha256"] = reads.sha256_of(said)
    files.write_json(folder / "run.json", spec)

    assert run_folder(folder, images=world.source.images).status == 0

    summary = files.read_json(folder / "fit_head.json")
    assert summary["facts"]["abnormal_reads"] == 14 + 2
    label = {row.filename: row.label for row in rows}
    scores = films.read_csv(folder / "tune_scores.csv")
    abnormal = np.array([label[row["filename"]] == "abnormal" for row in scores])
    last = summary["learning_curve"]["points"][-1]
    area = roc_auc_score(abnormal, [float(row["semi_supervised_combined"]) for row in scores])
    assert abs(area - last["combined"]["value"]) < 1e-12
    assert len({row["fold"] for row in scores}) > 1  # each is scored without reads of its patient


def test_the_scores_stand_beside_the_one_class_score_which_is_unchanged(world: World, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    common = ["score", "--images", world.source.images, "--csv", world.source.labels]
    assert run(*common, "--model", world.model, "--out", alone) == 0

    scored, without = ScoredFolder(world.scores), ScoredFolder(alone)

    for name in ("maps.npy", "sweep.npy", "p_values.npy", "score.json"):
        assert (world.scores / name).read_bytes() == (alone / name).read_bytes()
    assert not without.is_semi_supervised and scored.is_semi_supervised
    table, before = films.read_csv(world.scores / "scores.csv"), films.read_csv(alone / "scores.csv")
    *columns, notice = before[0]
    assert list(table[0]) == [*columns, *SEMI_SUPERVISED, notice]
    assert [{name: row[name] for name in before[0]} for row in table] == before
    with pytest.raises(ResultsMissing, match=r"semi_supervised.json is missing or damaged"):
        _ = without.semi_supervised


def test_the_combined_score_is_the_sum_of_z_over_the_held_out_normals(world: World) -> None:
    scored = ScoredFolder(world.scores).semi_supervised
    detector = pipeline.load_detector(world.model / "detector.safetensors")
    normals, head = pipeline.normal_scores(detector), head_of(world)
    fused = np.array([film.fused for film in ScoredFolder(world.scores).films])

    columns = dict(zip(SEMI_SUPERVISED, scored.columns.T, strict=True))

    np.testing.assert_allclose(columns["one_class_z"], (fused - normals.mean()) / normals.std(ddof=1), rtol=1e-12)
    logits = head.calibration_logits
    expected = (columns["semi_supervised_head"] - logits.mean()) / logits.std(ddof=1)
    np.testing.assert_allclose(columns["semi_supervised_head_z"], expected, rtol=1e-12)
    combined = columns["one_class_z"] + columns["semi_supervised_head_z"]
    np.testing.assert_allclose(columns["semi_supervised_combined"], combined, rtol=1e-12)
    at_least = [(np.array(scored.summary.calibration_combined) >= value).sum() for value in combined]
    np.testing.assert_allclose(columns["semi_supervised_p_value"], (1 + np.array(at_least)) / 13, rtol=1e-12)


def test_a_films_map_sums_to_its_logit_and_lies_on_the_detectors_grid(world: World) -> None:
    scored = ScoredFolder(world.scores)
    head, beside = head_of(world), scored.semi_supervised
    detector = pipeline.load_detector(world.model / "detector.safetensors")
    single = FilmPipeline(world.model, detector, device="cpu")

    for row, film in enumerate(scored.films):
        grid = scored.contributions_of(row)
        np.testing.assert_array_equal(np.isnan(grid), np.isnan(scored.maps_of(row)[0]))
        logit = beside.columns[row, 1]
        scale = np.nansum(np.abs(grid))
        assert abs(np.nansum(grid, dtype=np.float64) - (logit - beside.summary.intercept)) < 1e-6 * scale
        patches = single.features(world.source.images / film.filename)
        assert abs(head.contributions(patches).sum() - (logit - head.regression.intercept)) < 1e-10
        by_patch = [float(head.regression.logits(head.scale.apply(p[None].double().numpy()))[0]) for p in patches]
        assert abs(np.mean(by_patch) - logit) < 1e-10


def test_the_fit_knows_nothing_of_test(world: World) -> None:
    test = {row["filename"] for row in films.read_csv(world.source.labels) if row["split"] == "test"}
    assert test and not test & {row.filename for row in manifest.read(world.head / "images.csv")}


def test_the_same_request_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    folder = fresh_copy(world, tmp_path / "again")

    assert run_folder(folder, images=world.source.images).status == 0

    assert films.result_bytes(folder) == films.result_bytes(world.head)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_any_stage_it_resumes_and_ends_with_the_same_bytes(world: World, tmp_path: Path, stage: str) -> None:
    folder = fresh_copy(world, tmp_path / "run")
    engine = ForkedEngine(folder, world.source.images, held_at=f"{stage} 0")
    engine.next_event(lambda event: event.get("stage") == stage)
    engine.kill()
    (folder / "pause").unlink()
    assert not (folder / "stages" / f"{stage}.json").exists()
    finished = {path.name: path.stat().st_mtime_ns for path in (folder / "stages").glob("*.json")}

    outcome = run_folder(folder, images=world.source.images)

    assert outcome.status == 0, outcome.sentence
    assert films.result_bytes(folder) == films.result_bytes(world.head)
    for name, written in finished.items():
        assert (folder / "stages" / name).stat().st_mtime_ns == written, f"{name} ran again"


def test_the_stages_are_those_that_are_killed(world: World) -> None:
    assert tuple(path.stem for path in sorted((world.head / "stages").glob("*.json"))) == tuple(sorted(STAGES))


def test_an_archive_holds_what_a_repetition_needs_and_it_compares(world: World, tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    for path in members(world.head):
        target = unpacked / path.relative_to(world.head)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)

    assert run("repeat", unpacked, "--out", tmp_path / "again", "--images", world.source.images) == 0
    assert run("repeat", world.scores, "--out", tmp_path / "scores", "--images", world.source.images) == 0

    comparisons = {each.name: each.verdict for each in repeat.compare(world.head, tmp_path / "again")}
    assert comparisons == dict.fromkeys(("head.safetensors", "learning_curve.csv", "tune_scores.csv"), repeat.SAME)
    names = [each.name for each in repeat.compare(world.scores, tmp_path / "scores")]
    assert "semi_supervised_maps.npy" in names


def test_another_head_is_a_difference(world: World, tmp_path: Path) -> None:
    other = fresh_copy(world, tmp_path / "other")
    for name in ("head.safetensors", "learning_curve.csv", "tune_scores.csv"):
        shutil.copy(world.head / name, other / name)
    head = head_of(world)
    regression = replace(head.regression, coefficients=head.regression.coefficients * 1.1)
    confirmed_head.save_head(replace(head, regression=regression), other / "head.safetensors")

    verdicts = {each.name: each.verdict for each in repeat.compare(world.head, other)}

    assert verdicts["head.safetensors"] == repeat.DIFFERENT


# what is asked


def test_the_penalty_can_be_chosen_by_folds_and_read_normals_can_join(world: World, tmp_path: Path) -> None:
    folder = changed(
        world, tmp_path / "run", lambda spec: spec.update(head={"penalty": "folds", "read_normals": True, "repeats": 1})
    )

    assert run_folder(folder, images=world.source.images).status == 0

    summary = files.read_json(folder / "fit_head.json")
    assert summary["penalty"] in (1.0, 10.0, 100.0, 1000.0, 10000.0)
    assert summary["facts"]["normal_reads_used"] == 3
    assert summary["learning_curve"]["points"][-1]["reads"] == 17


def test_without_scores_of_the_known_normals_they_are_compared_whole(world: World, tmp_path: Path) -> None:
    folder = changed(world, tmp_path / "run", lambda spec: spec["inputs"].pop("fit_scores"))

    assert run_folder(folder, images=world.source.images).status == 0

    control = files.read_json(folder / "population_control.json")
    assert (control["known_films"], control["known_are_below_it"]) == (40, False)
    assert files.read_json(world.head / "population_control.json")["known_films"] < 40


def test_an_operating_point_that_the_normals_cannot_promise_is_refused(world: World, tmp_path: Path) -> None:
    folder = changed(world, tmp_path / "run", lambda spec: spec["head"].update(false_alarm_rate=0.01))

    outcome = run_folder(folder, images=world.source.images)

    assert outcome.status == 2
    assert outcome.sentence.startswith(
        "An operating point of 0.01 false alarms needs calibration normals of at least 99"
    )


def with_reads(world: World, target: Path, change: Callable[[reads.ReadFilm], reads.ReadFilm]) -> Path:
    """A fresh copy whose reads were changed."""
    folder = fresh_copy(world, target)
    rows = manifest.read(folder / "images.csv")
    changed_films = [change(film) for film in reads.read(folder / INPUTS["reads"], rows)]
    reads.write(folder / INPUTS["reads"], changed_films)
    spec = json.loads((folder / "run.json").read_text())
    spec["inputs"]["reads"]["sha256"] = files.sha256_of(folder / INPUTS["reads"])
    files.write_json(folder / "run.json", spec)
    return folder


def test_fewer_than_ten_confirmed_films_are_refused_with_their_number(world: World, tmp_path: Path) -> None:
    read = [row["filename"] for row in films.read_csv(world.source.reads) if row["label"] == "abnormal"]
    folder = with_reads(
        world, tmp_path / "run", lambda film: replace(film, verdict="") if film.filename in read[9:] else film
    )

    outcome = run_folder(folder, images=world.source.images)

    assert outcome.status == 2
    assert outcome.sentence.startswith("The reads hold 9 films confirmed as abnormal, and a semi-supervised head needs")
    assert not (folder / "stages" / "films.json").exists()


def test_confirmed_films_that_cannot_be_read_do_not_count(world: World, tmp_path: Path) -> None:
    images = shutil.copytree(world.source.images, tmp_path / "films")
    read = [row["filename"] for row in films.read_csv(world.source.reads) if row["label"] == "abnormal"]
    for name in read[:5]:
        (images / name).write_bytes(b"no film")

    outcome = run_folder(fresh_copy(world, tmp_path / "run"), images=images)

    assert outcome.status == 2 and outcome.sentence.startswith("The reads hold 9 films")


def test_a_calibrate_film_that_cannot_be_read_is_a_refusal(world: World, tmp_path: Path) -> None:
    images = shutil.copytree(world.source.images, tmp_path / "films")
    row = next(row for row in manifest.read(world.head / "images.csv") if row.part == "calibrate")
    (images / row.filename).unlink()

    outcome = run_folder(fresh_copy(world, tmp_path / "run"), images=images)

    assert outcome.status == 2
    assert outcome.sentence.startswith("The detector was calibrated on 12 normal films, and 11 of them can be read")


def test_a_pool_of_another_exposure_is_refused_with_what_differs(world: World, tmp_path: Path) -> None:
    exposed = confirmed.write(tmp_path / "films", exposure=0.9)

    assert run(*confirmed.head_arguments(exposed, world.model, tmp_path / "run")) == 2

    control = files.read_json(tmp_path / "run" / "population_control.json")
    assert not control["is_passed"] and control["low"] > 0.5
    assert [(each["column"], each["value"]) for each in control["differences"]] == [("site", "A"), ("site", "B")]
    assert not (tmp_path / "run" / "head.safetensors").exists()
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "The semi-supervised head is refused: known normals" in log and "site A (100% of the known and 0%" in log
    again = run_folder(tmp_path / "run", images=exposed.images)
    assert again.status == 2 and "would learn the population instead of the disease" in again.sentence


def test_a_pool_that_is_flagged_as_a_whole_is_refused(world: World, tmp_path: Path) -> None:
    exposed = confirmed.write(tmp_path / "films", exposure=0.6)

    assert run(*confirmed.head_arguments(exposed, world.model, tmp_path / "run")) == 2

    log = (tmp_path / "run" / "log.txt").read_text()
    assert "Of 39 films of the pool that nobody called abnormal, 0 score below the operating point, which 10%" in log


def test_a_detector_calibrated_by_folds_has_a_head_too(world: World, tmp_path: Path) -> None:
    """Its normals are the known ones, each scored by a head without its fold."""
    table = [row for row in films.read_csv(world.source.labels) if row["split"] != "calibrate"]
    source = replace(world.source, labels=films.write_csv(tmp_path / "labels.csv", table))
    model, out = tmp_path / "model", tmp_path / "head"
    assert run(*confirmed.fit_arguments(source, model)) == 0

    assert run(*confirmed.head_arguments(source, model, out)) == 0
    assert run("score", "--images", source.images, "--csv", source.labels, "--model", out, "--out", tmp_path / "s") == 0

    head = load_head(out / "head.safetensors", detector_sha256=files.sha256_of(model / "detector.safetensors"))
    assert len(head.calibration_logits) == 40
    features = pooled(replace(world, model=model, head=out))
    known = [row.filename for row in manifest.read(out / "images.csv") if row.part == "fit"]
    assert head.calibration_logits.mean() > head.logits(np.stack([features[name] for name in known])).mean()


def test_three_calibration_normals_are_too_few(world: World, tmp_path: Path) -> None:
    table = films.read_csv(world.source.labels)
    calibrate = [row for row in table if row["split"] == "calibrate"][3:]
    source = replace(
        world.source, labels=films.write_csv(tmp_path / "labels.csv", [row for row in table if row not in calibrate])
    )
    assert run(*confirmed.fit_arguments(source, tmp_path / "model")) == 0
    out = tmp_path / "head"

    assert run(*confirmed.head_arguments(source, tmp_path / "model", out, "--false-alarm-rate", "0.3")) == 2

    assert "are standardised by at least 4 calibration normals, and the detector has 3" in (out / "log.txt").read_text()


def test_the_about_is_in_every_summary() -> None:
    assert fit_head.ABOUT.startswith("Semi-supervised") and "stays the default" in fit_head.ABOUT
    assert all("semi_supervised" in name or name == "one_class_z" for name in SEMI_SUPERVISED)


def test_the_curve_names_its_columns(world: World) -> None:
    with (world.head / "learning_curve.csv").open(newline="") as file:
        assert tuple(next(csv.reader(file))) == fit_head.CURVE_COLUMNS
    assert torch.get_num_threads() >= 1
