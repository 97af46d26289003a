"""docs/notebook.ipynb and docs/zip-to-roc.ipynb run against a portal, and their numbers are the API's."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation
from analysis.tasks import advance_set_evaluations
from ml_engine.models import Run, RunState
from ml_engine.runs import supervisor
from portal.imaging.phantom import make_phantom
from portal.models import Role, Upload
from portal.tasks import import_upload
from tests.analysis.scored import Scored, scored_run
from tests.ml_engine.made import SMALL
from tests.paths import ROOT
from tests.portal import factories

NOTEBOOK, ZIP_TO_ROC = (ROOT / "docs" / name for name in ("notebook.ipynb", "zip-to-roc.ipynb"))
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def portal(live_server: Any, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Scored, Evaluation]:
    analyst = factories.user("anna", Role.ANALYST)
    scored = scored_run(factories.site(), author=analyst)
    evaluation = evaluate(run=scored.run, author=analyst)
    monkeypatch.setenv("HILUM_URL", live_server.url)
    monkeypatch.setenv("HILUM_TOKEN", factories.api_token(analyst, "read"))
    return scored, evaluation


def run_notebook(path: Path = NOTEBOOK, **instead: Any) -> dict[str, Any]:
    """Run the cells in order, like a kernel, and return the resulting names. `instead` takes the place of names that
    the cells define or import."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{path.name}, {cell['id']}", "exec"), names)
            names |= instead
    return names


def test_the_notebook_gets_the_numbers_of_the_api(portal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, evaluation = portal
    names = run_notebook()
    assert names["complete"]
    for part in ("tune", "test"):
        for kind in ("global", "region", "fused"):
            stored = evaluation.metrics["parts"][part]["auroc"][kind]
            assert names["again"][part, kind].auroc == pytest.approx(stored["auroc"], abs=1e-9)
            assert names["again"][part, kind].low == pytest.approx(stored["low"], abs=1e-9)
    output = capsys.readouterr().out
    assert "random weights, not for evaluation" in output
    assert "looks at test: 1, weight 0.6" in output
    assert f"of {6} abnormal films found" in output


def test_the_notebook_detects_a_number_that_differs_from_the_api(portal: Any) -> None:
    _, evaluation = portal
    evaluation.metrics["parts"]["test"]["auroc"]["region"]["low"] += 1e-6
    evaluation.save()
    with pytest.raises(AssertionError, match="'test', 'region', 'low'"):
        run_notebook()


def zip_of_phantoms(path: Path) -> Path:
    """40 normal and 10 abnormal films of 64 pixels with their table."""
    rows = ["filename,label,patient_id"]
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(50):
            phantom = make_phantom(seed=number, finding="effusion" if number % 5 == 0 else None, size=64)
            file = io.BytesIO()
            Image.fromarray(phantom.pixels).save(file, "PNG")
            archive.writestr(f"{number}.png", file.getvalue())
            rows.append(f"{number}.png,{'abnormal' if number % 5 == 0 else 'normal'},p{number}")
        archive.writestr("labels.csv", "\n".join(rows))
    return path


def work(_: float) -> None:
    """What a worker does while the notebook sleeps: imports, the steps of evaluations, the run that is next."""
    for upload in Upload.objects.filter(state=Upload.State.RECEIVED):
        import_upload(str(upload.uuid))
    advance_set_evaluations()
    if run := Run.objects.filter(state=RunState.QUEUED).order_by("pk").first():
        supervisor.execute(run.uuid)


def test_a_zip_becomes_a_roc_curve_by_api_alone(
    live_server: Any,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manager = factories.user("mina", Role.MANAGER)
    monkeypatch.setenv("HILUM_URL", live_server.url)
    monkeypatch.setenv("HILUM_TOKEN", factories.api_token(manager))
    monkeypatch.setenv("HILUM_ZIP", str(zip_of_phantoms(tmp_path / "films.zip")))
    monkeypatch.setenv("HILUM_SETTINGS", json.dumps(SMALL))
    monkeypatch.setenv("HILUM_UNALIGNED", "yes")
    monkeypatch.setattr(supervisor, "WARM_FILMS", 0)  # no engine outlives the test
    names = run_notebook(ZIP_TO_ROC, sleep=work)
    area = Evaluation.objects.get().metrics["parts"]["test"]["auroc"]["fused"]
    output = capsys.readouterr().out
    assert f"AUROC {area['auroc']} ({area['low']} to {area['high']}), {len(names['points'])} points" in output
    assert "random weights, not for evaluation" in output
    assert "looks: 1" in output


@pytest.mark.parametrize("path", [NOTEBOOK, ZIP_TO_ROC], ids=lambda path: path.name)
def test_the_notebooks_have_no_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"])
