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


def test_every_link_of_the_pages_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} leads to {target}"
