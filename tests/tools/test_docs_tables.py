"""The measured tables of docs/: each has its mark, with the hash of the configuration of now; nothing is computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tools import docs_tables
from tools.docs_tables import TABLES, CannotMeasure, MeasuredTable, compact, faults, put, tables_of

ONE = MeasuredTable("one", "page.md", ("-m benchmarks.one",), 0, ("benchmarks/phantoms.py",))
PAGE = """# Page

<!-- measured: one {hash} -->

| films | AUROC |
|---|---|
| some | 0.812 |

Words.
"""


def docs(folder: Path, text: str) -> Path:
    (folder / "page.md").write_text(text, encoding="utf-8")
    return folder


def test_no_table_of_the_docs_is_stale_or_without_a_mark() -> None:
    assert faults() == []


def test_every_table_names_a_page_and_programs_that_exist() -> None:
    assert len({table.name for table in TABLES}) == len(TABLES)
    for table in TABLES:
        assert (docs_tables.DOCS / table.page).is_file()
        assert len(table.hash()) == 12
    for page in docs_tables.TIMINGS | docs_tables.NOT_MEASURED:
        assert (docs_tables.DOCS / page).is_file()


def test_a_stale_table_is_named_with_what_to_do(tmp_path: Path) -> None:
    fresh = PAGE.format(hash=ONE.hash())
    assert faults(docs(tmp_path, fresh), [ONE]) == []
    for changed in (
        replace(ONE, commands=("-m benchmarks.one --films 3",)),
        replace(ONE, code=("benchmarks/phantoms.py", "benchmarks/phantom_truth.py")),
    ):
        (fault,) = faults(docs(tmp_path, fresh), [changed])
        assert 'another configuration: measure it again with make docs-tables ARGS="one"' in fault


def test_a_default_setting_is_part_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ONE.hash()
    monkeypatch.setattr(docs_tables, "_default_settings", lambda: {"rate": 0.5})
    assert ONE.hash() != before


def test_comments_docstrings_and_layout_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs_tables, "ROOT", tmp_path)
    table = replace(ONE, code=("one.py",))
    hashes = []
    for code in ('"""Old."""\nX = 1\n', '"""New."""\n\n# a comment\nX  =  1\n', "X = 2\n"):
        (tmp_path / "one.py").write_text(code, encoding="utf-8")
        hashes.append(table.hash())
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (PAGE.replace("<!-- measured: one {hash} -->", "Words."), "holds numbers and has no mark"),
        (PAGE.format(hash="0" * 12).replace("measured: one", "measured: two"), "no table 'two' of this page"),
        ("# Page\n", "the table 'one' has no mark"),
    ],
)
def test_a_table_without_its_mark_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    assert any(sentence in fault for fault in faults(docs(tmp_path, text), [ONE]))


def test_words_need_no_mark(tmp_path: Path) -> None:
    words = "\n| key | does |\n|---|---|\n| 1 | picks the first of 9 |\n| A | normal |\n"
    assert faults(docs(tmp_path, PAGE.format(hash=ONE.hash()) + words), [ONE]) == []


def test_a_measured_table_takes_the_place_of_the_old_one() -> None:
    rows = ["| films   | AUROC   |", "|---------|---------|", "| more    | 0.9     |"]
    text = put(PAGE.format(hash="0" * 12), ONE, rows)
    assert text == PAGE.format(hash=ONE.hash()).replace("| some | 0.812 |", "| more | 0.9 |")
    assert put(text, ONE, None) == text
    with pytest.raises(CannotMeasure, match="has no table with the mark"):
        put("# Page\n", ONE, None)


def test_what_a_command_prints_is_read_as_tables() -> None:
    text = "seed 1 done\n| a | b |\n|---|---|\n| 1 | 2 |\n\n| c |\n|---|\n| 3 |\n"
    assert [compact(rows) for _, rows in tables_of(text)] == [
        ["| a | b |", "|---|---|", "| 1 | 2 |"],
        ["| c |", "|---|", "| 3 |"],
    ]


def test_the_command_measures_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "program.py").write_text("print('| films | AUROC |\\n|--|--|\\n| new | 0.5 |')", encoding="utf-8")
    of_films = replace(ONE, name="films", commands=("program.py {films}",))
    one = replace(ONE, commands=(str(tmp_path / "program.py"),))
    page = docs(tmp_path, PAGE.format(hash="0" * 12)) / "page.md"
    monkeypatch.setattr(docs_tables, "DOCS", tmp_path)
    monkeypatch.setattr(docs_tables, "TABLES", (one, of_films))
    assert docs_tables.main([]) == 0
    assert "| new | 0.5 |" in page.read_text(encoding="utf-8")
    assert one.hash() in page.read_text(encoding="utf-8")


def test_refusals_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["nothing"], ["--measured"]):
        with pytest.raises(SystemExit):
            docs_tables.main(arguments)
    assert "there is no table 'nothing'" in capsys.readouterr().err
    assert docs_tables.main(["--list", "phantom-findings"]) == 0
    assert "python -m benchmarks.phantoms" in capsys.readouterr().out


def test_a_setting_that_came_later_counts_once_it_changes_something(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ONE.hash()
    monkeypatch.setitem(docs_tables.NEUTRAL, "bank_most", 5)  # so that today's value is another one
    assert ONE.hash() != before
