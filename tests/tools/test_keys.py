"""The files that print keys are as the table of keys has them."""

from __future__ import annotations

from tools.keys import written


def test_the_files_are_written_from_the_table() -> None:
    stale = [path.name for path, content in written().items() if path.read_text(encoding="utf-8") != content]
    assert stale == [], "run python tools/keys.py"
