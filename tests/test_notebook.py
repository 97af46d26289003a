"""docs/notebook.ipynb runs against a portal, and its numbers are the API's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rest_framework.authtoken.models import Token

from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation
from portal.models import Role
from tests.analysis.scored import Scored, scored_run
from tests.paths import ROOT
from tests.portal import factories

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def portal(live_server: Any, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Scored, Evaluation]:
    analyst = factories.user("anna", Role.ANALYST)
    scored = scored_run(factories.site(), author=analyst)
    evaluation = evaluate(run=scored.run, author=analyst)
    monkeypatch.setenv("HILUM_URL", live_server.url)
    monkeypatch.setenv("HILUM_TOKEN", Token.objects.create(user=analyst).key)
    return scored, evaluation


def run_notebook() -> dict[str, Any]:
    """Run the cells in order, like a kernel, and return the resulting names."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}, {cell['id']}", "exec"), names)
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


def test_the_notebook_has_no_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"])
