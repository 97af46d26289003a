"""The code in the documentation runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.paths import ROOT


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_library_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(ROOT / "docs" / "library.md")
    names: dict[str, object] = {}

    for block in blocks:
        exec(compile(block, "docs/library.md", "exec"), names)

    assert len(blocks) == 3
    assert (tmp_path / "detector.safetensors").is_file()


def test_every_link_of_the_pages_has_a_target() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which does not exist"


def test_what_contributing_names_is_there() -> None:
    """Files by path, or by the end of one; names in capitals stand for the reader's own."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = ("portal", "ml_engine", "analysis", "templates", "tests", "tools", "docs")
    there = [str(path.relative_to(ROOT)) for room in rooms for path in (ROOT / room).rglob("*")]
    there += [path.name for path in ROOT.iterdir()]
    named = {name.partition("::")[0] for name in re.findall(r"[\w./]+/[\w./:]+|\w+\.py\b", page)}
    missing = sorted(
        name
        for name in named
        if not re.search(r"(^|/)(NAME|KIND)\.|^\.|bin/", name)
        and not any(f"/{path}".endswith(f"/{name.rstrip('/.:')}") for path in there)
    )
    assert not missing
