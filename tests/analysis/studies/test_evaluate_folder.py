"""The evaluation of a scored folder by the command line, against scikit-learn, a loop, and the portal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from analysis import statistics
from analysis.evaluation.evaluate import evaluate
from analysis.studies.evaluate_folder import FolderEvaluation, evaluate_folder
from analysis.studies.print_evaluation import main
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.runs.paths import run_folder
from portal.models import User
from tests.analysis.scored import Scored
from tests.ml_engine import films, scored_folders
from tests.ml_engine.scored_folders import GRID

FILMS, WEIGHT = 60, 0.6


def write_scores(folder: Path, *, seed: int = 3, **changes: Any) -> np.ndarray:
    """Scores of 60 films, every third abnormal, with a few ties. Returns the sweep."""
    rng = np.random.default_rng(seed)
    abnormal = np.arange(FILMS) % 3 == 0
    sweep = scored_folders.sweep_between(
        rng.normal(3, 1, FILMS) + abnormal, (rng.normal(3, 1, FILMS) + 1.4 * abnormal).round(1)
    )
    rows = [ManifestRow(filename=f"f{k:02}.png") for k in range(FILMS)]
    maps = np.ones((FILMS, 2, GRID, GRID), dtype=np.float32)
    normals = np.sort(rng.normal(3, 0.8, 40))
    calibration = {"calibration_scores": normals.tolist(), "calibration_patients": [k // 2 for k in range(40)]}
    scored_folders.write(folder, rows, sweep, maps=maps, weight=WEIGHT, **(calibration | changes))
    write_run(folder)
    return sweep


def write_run(folder: Path) -> None:
    config = PipelineConfig.from_preset("default").replace(false_alarm_rate=0.2, weights="random", seed=7)
    (folder / "run.json").write_text(json.dumps({"config": config.to_json()}))


def write_labels(path: Path, *, patients: bool = True, **changes: dict[str, str]) -> Path:
    """Two films a patient; `changes` by the name of the film."""
    rows = [
        {"filename": f"f{k:02}.png", "label": "abnormal" if k % 3 == 0 else "normal"}
        | ({"patient_id": f"p{k // 2}"} if patients else {})
        for k in range(FILMS)
    ]
    return films.write_csv(path, [row | changes.get(row["filename"].partition(".")[0], {}) for row in rows])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scores(tmp_path / "scores")
    return tmp_path / "scores"


@pytest.fixture
def evaluation(folder: Path, tmp_path: Path) -> FolderEvaluation:
    return evaluate_folder(folder, write_labels(tmp_path / "labels.csv"))


def test_areas_are_those_of_scikit_learn(evaluation: FolderEvaluation, folder: Path) -> None:
    sweep = np.asarray(ScoredFolder(folder).array("sweep"))
    abnormal = np.arange(FILMS) % 3 == 0
    assert (evaluation.normal, evaluation.abnormal, evaluation.patients) == (40, 20, 30)
    assert (evaluation.own_patients, evaluation.left_out, evaluation.random_weights) == (0, {}, True)
    for score, column in zip(evaluation.scores, (0, 100, 60), strict=True):
        assert score.auroc.auroc == pytest.approx(roc_auc_score(abnormal, sweep[:, column]), abs=1e-12)
        assert score.auprc.auprc == pytest.approx(average_precision_score(abnormal, sweep[:, column]), abs=1e-12)
        assert score.auroc.low < score.auroc.auroc < score.auroc.high
        assert score.auprc.low < score.auprc.auprc < score.auprc.high
    assert [score.kind for score in evaluation.scores] == ["global", "region", "fused"]


def test_intervals_are_by_patient(folder: Path, tmp_path: Path, evaluation: FolderEvaluation) -> None:
    """An AUROC's variance by the patients, as jackknife: leave out one patient at a time."""
    sweep = np.asarray(ScoredFolder(folder).array("sweep"), dtype=float)[:, 60]
    abnormal, patients = np.arange(FILMS) % 3 == 0, np.arange(FILMS) // 2
    areas = np.array([roc_auc_score(abnormal[patients != p], sweep[patients != p]) for p in range(30)])
    jackknife = 29 / 30 * ((areas - areas.mean()) ** 2).sum()
    fused = evaluation.scores[2].auroc
    assert fused.method.startswith("clustered")
    assert fused.variance == pytest.approx(jackknife, rel=0.15)
    alone = evaluate_folder(folder, write_labels(tmp_path / "alone.csv", patients=False))
    assert alone.own_patients == FILMS
    assert alone.scores[2].auroc.method.startswith("delong")
    assert alone.scores[2].auroc.auroc == fused.auroc


def test_the_operating_point_is_that_of_the_calibration_normals(evaluation: FolderEvaluation, folder: Path) -> None:
    scored = ScoredFolder(folder)
    highest: dict[int, float] = {}
    for score, patient in zip(scored.summary.calibration_scores, scored.summary.calibration_patients, strict=True):
        highest[patient] = max(score, highest.get(patient, -np.inf))
    limit = sorted(highest.values())[int(np.ceil(0.8 * 21)) - 1]  # of 20 patients, at most 20 % of new ones above
    fused, abnormal = np.asarray(scored.array("sweep"))[:, 60], np.arange(FILMS) % 3 == 0
    (point,) = evaluation.points
    rates = point.rates
    assert (rates.reference_films, rates.reference_patients, point.source) == (40, 20, "calibrate")
    assert rates.sensitivity is not None
    assert rates.specificity is not None
    assert (rates.sensitivity.successes, rates.sensitivity.total) == (int((fused[abnormal] > limit).sum()), 20)
    assert (rates.specificity.successes, rates.specificity.total) == (int((fused[~abnormal] <= limit).sum()), 40)
    assert point.promised is not None
    assert point.promised.expected == pytest.approx(4 / 21)


@pytest.mark.parametrize(
    "changes",
    [{"calibration_source": "fit, 5 folds of patients"}, {"note": "Grown."}, {"calibration_patients": None}],
)
def test_a_point_of_other_calibrations_promises_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_scores(tmp_path / "scores", **changes)
    (point,) = evaluate_folder(tmp_path / "scores", write_labels(tmp_path / "labels.csv")).points
    assert point.rates.sensitivity is not None
    assert point.promised is None


def test_other_labels_and_unreadable_films_are_counted_and_left_out(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "scores.csv").read_text().splitlines()
    lines[6] = "f05.png,nan,nan,nan,nan,nan,The file is not there."
    (folder / "scores.csv").write_text("\n".join(lines) + "\n")
    labels = write_labels(tmp_path / "labels.csv", f00={"label": "unsure"}, f01={"label": ""}, f02={"label": "Normal"})
    evaluation = evaluate_folder(folder, labels)
    assert evaluation.left_out == {"unsure": 1, "unlabelled": 1, "unreadable": 1}
    assert (evaluation.normal, evaluation.abnormal) == (38, 19)


def test_labels_of_one_class_give_the_reason(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = films.write_csv(tmp_path / "l.csv", [{"filename": f"f{k:02}.png", "label": "normal"} for k in range(60)])
    assert main(["evaluate", str(folder), "--csv", str(labels), "--html", str(tmp_path / "page.html")]) == 0
    output = capsys.readouterr().out
    assert "No abnormal film has a score, so the AUROC is not defined." in output
    assert "no abnormal films" in output or "0 abnormal films" in output
    assert "<svg" not in (tmp_path / "page.html").read_text()


def test_the_numbers_are_those_of_the_portal(scored: Scored, analyst: User, tmp_path: Path) -> None:
    evaluation = evaluate(run=scored.run, author=analyst)
    write_run(run_folder(scored.run.uuid))
    test = scored.films[12:]
    labels = [
        {
            "filename": f"files/{film.uuid}.u16.gz",
            "label": film.label_events.get().value if film in test else "exclude",
            "patient_id": str(film.patient_id),
        }
        for film in scored.films
    ]
    ours = evaluate_folder(run_folder(scored.run.uuid), films.write_csv(tmp_path / "labels.csv", labels))
    portal = evaluation.metrics["parts"]["test"]["auroc"]
    for score in ours.scores:
        for name in ("auroc", "variance", "low", "high", "method", "positives", "negative_patients"):
            assert getattr(score.auroc, name) == portal[score.kind][name], (score.kind, name)


# the command


def test_it_needs_neither_django_nor_torch(folder: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "labels.csv")
    code = (
        "import sys\n"
        "for name in ('django', 'celery', 'rest_framework'): sys.modules[name] = None\n"
        "from analysis.__main__ import main\n"
        "status = main(sys.argv[1:])\n"
        "raise SystemExit('torch' if 'torch' in sys.modules else status)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "evaluate", str(folder), "--csv", str(labels)],
        cwd=films.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    assert "| fused, w = 0.6 |" in result.stdout


def test_the_table_has_values_and_intervals(
    folder: Path, tmp_path: Path, evaluation: FolderEvaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(folder), "--csv", str(tmp_path / "labels.csv")]) == 0
    output = capsys.readouterr().out
    fused, point = evaluation.scores[2].auroc, evaluation.points[0].rates
    assert point.sensitivity is not None
    assert output.startswith("40 normal and 20 abnormal films of 30 patients; AUROC with 95% intervals by patient")
    assert f"{fused.auroc:.3f} ({fused.low:.3f}–{fused.high:.3f})" in output
    assert f"{point.sensitivity.successes} of 20" in output
    assert "Promised for films drawn like these normals: 19.0% of new normal films" in output
    assert "Random weights, not for evaluation" in output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("none", "labels.csv"), "There is no folder"),
        (("empty", "labels.csv"), "is missing or damaged"),
        (("scores", "none.csv"), "There is no file"),
        (("scores", "unnamed.csv"), "unnamed.csv does not name f59.png, which was scored: give the CSV of the scored"),
        (("scores", "unlabelled.csv"), "has no column label: give the CSV of the films with their labels"),
        (("scores", "unsure.csv"), "None of the 60 scored films has a score and the label normal or abnormal"),
        (("torn", "labels.csv"), "has no run.json that can be read"),
        (("scores", "labels.csv", "--html", "none/page.html"), "The page cannot be written: there is no folder"),
        (("scores", "labels.csv", "--html", "empty"), "cannot be written: Is a directory. Check the path."),
    ],
)
def test_bad_input_is_one_sentence(
    folder: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    write_scores(tmp_path / "torn")
    (tmp_path / "torn" / "run.json").write_text("{")
    write_labels(tmp_path / "labels.csv")
    text = (tmp_path / "labels.csv").read_text()
    (tmp_path / "unnamed.csv").write_text(text.rpartition("f59")[0])
    (tmp_path / "unlabelled.csv").write_text(text.replace("label,", "finding,"))
    (tmp_path / "unsure.csv").write_text(text.replace("abnormal", "unsure").replace("normal", "unsure"))
    scores, labels, *more = (part if part.startswith("--") else str(tmp_path / part) for part in arguments)
    assert main(["evaluate", scores, "--csv", labels, *more]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("python -m analysis evaluate: ")
    assert sentence in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_detector_without_calibration_stored_no_point(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scores(tmp_path / "scores", calibration_scores=[], calibration_patients=None)
    labels = write_labels(tmp_path / "labels.csv")
    assert main(["evaluate", str(tmp_path / "scores"), "--csv", str(labels)]) == 0
    assert "no calibration films, so it stored no operating point" in capsys.readouterr().out


def test_too_few_calibration_patients_are_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scores(tmp_path / "scores", calibration_scores=[1.0, 2.0], calibration_patients=[0, 1])
    labels = write_labels(tmp_path / "labels.csv")
    assert main(["evaluate", str(tmp_path / "scores"), "--csv", str(labels)]) == 0
    assert "which are too few for a share of 0.8, so there is no threshold" in capsys.readouterr().out


def test_a_folder_without_scores_raises_an_error_of_the_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="There is no folder"):
        evaluate_folder(tmp_path / "none", tmp_path / "labels.csv")


def test_the_head_has_its_row_and_its_point(folder: Path, tmp_path: Path) -> None:
    from ml_engine.engine.scored_folder import SemiSupervised, SemiSupervisedSummary

    rng = np.random.default_rng(0)
    columns = rng.normal(size=(FILMS, 5))
    np.save(tmp_path / "maps.npy", np.zeros((FILMS, GRID, GRID), dtype=np.float32))
    summary = SemiSupervisedSummary(
        format=1, kind="logistic", head_sha256="a", detector_sha256="b", penalty=1.0, intercept=0.0, facts={},
        calibration_combined=np.sort(rng.normal(size=30)).tolist(), calibration_patients=list(range(30)),
        calibration_order=list(range(30)),
    )  # fmt: skip
    ScoredFolder(folder).write_semi_supervised(SemiSupervised(columns, summary), tmp_path / "maps.npy")
    evaluation = evaluate_folder(folder, write_labels(tmp_path / "labels.csv"))
    combined = evaluation.scores[3]
    assert combined.words == "semi-supervised"
    abnormal = np.arange(FILMS) % 3 == 0
    assert combined.auroc.auroc == pytest.approx(roc_auc_score(abnormal, columns[:, 3].astype(np.float32)), abs=1e-12)
    assert [point.kind for point in evaluation.points] == ["fused", "combined"]
    expected = statistics.threshold_at_specificity(summary.calibration_combined, specificity=0.8)
    assert evaluation.points[1].rates.threshold == expected
