"""Every error message of the engine is asserted somewhere in the tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from ml_engine.core import errors
from tests.paths import ROOT

KINDS = {name for name in vars(errors) if isinstance(vars(errors)[name], type)} | {
    "InvalidManifest", "FolderBusy", "IncompleteJson", "ReportMissing", "FitScoresMissing",
    "ResultsMissing",
}  # fmt: skip
WORDS = 3  # consecutive words of the message that a test must contain


def sentences() -> Iterator[tuple[str, list[str]]]:
    """The place of each error and the constant pieces of its message."""
    for path in sorted((ROOT / "ml_engine").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
                pieces = [
                    part.value
                    for part in ast.walk(node.args[0])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
                if any(len(piece.split()) >= WORDS for piece in pieces):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", pieces


@pytest.fixture(scope="module")
def tested() -> str:
    """The text of all tests on one line, without the backslashes of regular expressions."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    return " ".join(" ".join(texts).replace("\\", "").split())


def test_each_sentence_is_asserted(tested: str) -> None:
    def is_asserted(pieces: list[str]) -> bool:
        runs = [piece.split() for piece in pieces]
        return any(" ".join(run[k : k + WORDS]) in tested for run in runs for k in range(len(run) - WORDS + 1))

    messages = list(sentences())
    assert len(messages) > 80
    missing = [f"{where}: {' … '.join(pieces)}" for where, pieces in messages if not is_asserted(pieces)]
    assert not missing, "no test asserts\n" + "\n".join(missing)
