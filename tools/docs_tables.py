"""The tables in docs/ that a program measured: which command measures each, and with which configuration it was.

    python -m tools.docs_tables [NAME ...] [--list] [--check] [--films DIR] [--csv FILE] [--measured]

Above each such table stands `<!-- measured: NAME HASH -->`. HASH is of the configuration: the command, the code of the
programs that draw and measure (without comments and docstrings), and the default settings of the method. `--check`,
which computes nothing, and tests/tools/test_docs_tables.py fail where it is not that of now: then measure the table
again. Without `--check` the commands run, for hours in all, and the tables of their output take the place of the old
ones.

A table of real films needs `--films` and mostly `--csv`. A table that a person wrote from the output is printed, not
replaced; `--measured` then writes its hash. Tables of seconds and bytes depend on the machine: `TIMINGS` lists their
pages, which have no hashes.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TIMINGS = {
    "performance.md": "seconds, bytes and queries of one machine; its page names the script of each table",
    "reliability.md": "counts and seconds of one soak, which make soak prints",
    "scale.md": "times and sizes that follow from measured costs of one machine; its page names the script",
}
NOT_MEASURED = {"weights.md": "strides and multiples of networks, which tests compare with the code"}
MARK = re.compile(r"^<!-- measured: (?P<name>[\w-]+) (?P<hash>[0-9a-f]{12}) -->$", re.MULTILINE)
PHANTOMS = ("portal/imaging/phantom/*.py",)  # what draws them
_NUMBER = re.compile(r"[*−+-]*\d[\d.,]*( ?%)?( ?[(*].*)?$")  # a cell that is a number, with or without an interval


class CannotMeasure(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True)
class MeasuredTable:
    """`commands` run one after the other, each the arguments of Python; {out} is an empty folder, {films} and {csv} are
    those given. `place`: which table of the last output it is, None for one that a person wrote from it. `code` are
    patterns of files, whose code is part of the configuration."""

    name: str
    page: str
    commands: tuple[str, ...]
    place: int | None
    code: tuple[str, ...]

    @property
    def needs(self) -> list[str]:
        """The options without which it cannot be measured."""
        return [name for name in ("films", "csv") if any(f"{{{name}}}" in command for command in self.commands)]

    def hash(self) -> str:
        """12 hex digits of the configuration."""
        configuration = {
            "commands": self.commands,
            "code": {name: _code_of(ROOT / name) for name in self._files()},
            "settings": _default_settings(),
        }
        return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:12]

    def _files(self) -> list[str]:
        files = sorted({path.relative_to(ROOT).as_posix() for pattern in self.code for path in ROOT.glob(pattern)})
        if not files:
            raise CannotMeasure(f"The code of the table {self.name!r} is not there: {', '.join(self.code)}.")
        return files


_SMALL = "--set alignment.perceptual=0 --set alignment.size=96 --set alignment.epochs=12"
_UNTRAINED = f"--weights random --backbone resnet18 --rate 0.05 {_SMALL}"
_PAPER = (f"-m ml_engine ablation --phantoms 200 --out {{out}} {_UNTRAINED}", "-m analysis.ablation {out}")
_HEAD, _HEAD_FILMS = (
    ("-m benchmarks.confirmed_head phantoms --out {out}",),
    ("-m benchmarks.confirmed_head films --images {films} --csv {csv} --out {out}",),
)
_COPIES = ("benchmarks/near_copies.py {films}",)
_DETECTION = ("-m benchmarks.detection {films}",)
TABLES = (
    MeasuredTable(
        "phantom-findings", "phantoms.md", ("-m benchmarks.phantoms",), 0,
        ("benchmarks/phantoms.py", "benchmarks/phantom_truth.py", *PHANTOMS),
    ),
    MeasuredTable(
        "phantom-test", "phantoms.md", ("-m pytest -n0 tests/ml_engine/test_phantoms.py",), None,
        ("tests/ml_engine/test_phantoms.py", "benchmarks/phantom_truth.py", *PHANTOMS),
    ),
    MeasuredTable(
        "fold-thresholds", "method.md", ("-m benchmarks.fold_calibration --repeats 40",), 0,
        ("benchmarks/fold_calibration.py",),
    ),
    *(
        MeasuredTable(name, "method.md", _DETECTION, None, ("benchmarks/detection.py",))
        for name in ("real-films", "real-film-scores", "real-film-claims")
    ),
    *(
        MeasuredTable(name, "method.md", _PAPER, place, ("ml_engine/engine/stages/ablation.py", *PHANTOMS))
        for place, name in enumerate(("paper-experiments", "paper-weights", "paper-alignment"))
    ),
    *(
        MeasuredTable(name, "confirmed-head.md", _HEAD, place, ("benchmarks/confirmed_head.py", *PHANTOMS))
        for place, name in enumerate(("head-phantoms", "head-control"))
    ),
    MeasuredTable("head-films", "confirmed-head.md", _HEAD_FILMS, 0, ("benchmarks/confirmed_head.py",)),
    MeasuredTable("copies-of-others", "duplicates.md", _COPIES, None, ("benchmarks/near_copies.py",)),
    MeasuredTable("re-exports", "duplicates.md", _COPIES, 1, ("benchmarks/near_copies.py",)),
)  # fmt: skip


# Settings that came after tables were measured, at the value at which they change nothing.
NEUTRAL: dict[str, object] = {"bank_most": 0}


def _default_settings() -> object:
    from ml_engine.core.config import PipelineConfig

    settings = PipelineConfig().to_json()
    return {name: value for name, value in settings.items() if name not in NEUTRAL or value != NEUTRAL[name]}


def _code_of(path: Path) -> str:
    """A hash of the program without comments, docstrings and layout."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def tables_of(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each Markdown table of a text: the number of its first line, from 0, and its lines."""
    rows: list[str] = []
    for number, line in enumerate([*text.splitlines(), ""]):
        if line.startswith("|"):
            rows.append(line)
            continue
        if len(rows) > 2 and set(rows[1]) <= set("|-: "):
            yield number - len(rows), rows
        rows = []


def holds_numbers(rows: Sequence[str]) -> bool:
    """Whether a third of the cells below the heading begin with a number, apart from those of the first column."""
    cells = [cell.strip() for row in rows[2:] for cell in row.strip().strip("|").split("|")[1:]]
    return 3 * sum(bool(_NUMBER.match(cell)) for cell in cells) >= len(cells) > 0


def faults(docs: Path = DOCS, tables: Sequence[MeasuredTable] = TABLES) -> list[str]:
    """What is wrong with the tables of a folder, as sentences: stale ones, unknown ones, and numbers without a mark."""
    known, seen, wrong = {table.name: table for table in tables}, set(), []
    for page in sorted(docs.glob("*.md")):
        lines = page.read_text(encoding="utf-8").splitlines()
        for first, rows in tables_of("\n".join(lines)):
            above = next((line for line in reversed(lines[:first]) if line.strip()), "")
            mark = MARK.match(above)
            if mark is None:
                if holds_numbers(rows) and page.name not in TIMINGS | NOT_MEASURED and "make bench: begin" not in above:
                    place = f"{page.name}:{first + 1}"
                    wrong.append(f"{place}: the table holds numbers and has no mark: name it in tools/docs_tables.py.")
                continue
            table = known.get(mark["name"])
            if table is None or table.page != page.name:
                wrong.append(f"{page.name}:{first}: no table {mark['name']!r} of this page is in tools/docs_tables.py.")
                continue
            seen.add(table.name)
            if mark["hash"] != table.hash():
                wrong.append(
                    f"{page.name}:{first}: the table {table.name!r} was measured with another configuration: measure "
                    f'it again with make docs-tables ARGS="{table.name}".'
                )
    return wrong + [f"{known[name].page}: the table {name!r} has no mark." for name in known if name not in seen]


def compact(rows: Sequence[str]) -> list[str]:
    """The rows without the spaces that line up the cells."""
    cells = [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in rows]
    cells[1] = ["---"] * len(cells[0])
    return ["| " + " | ".join(row) + " |" if k != 1 else "|" + "|".join(row) + "|" for k, row in enumerate(cells)]


def put(text: str, table: MeasuredTable, rows: Sequence[str] | None) -> str:
    """The page with these rows in the place of the table's and the hash of now; None leaves the rows."""
    lines = text.splitlines()
    for first, old in tables_of(text):
        above = next(k for k in range(first - 1, -1, -1) if lines[k].strip())
        mark = MARK.match(lines[above])
        if mark and mark["name"] == table.name:
            lines[above] = f"<!-- measured: {table.name} {table.hash()} -->"
            lines[first : first + len(old)] = old if rows is None else compact(rows)
            return "\n".join(lines) + "\n"
    raise CannotMeasure(
        f"{table.page} has no table with the mark {table.name!r}: write <!-- measured: {table.name} {'0' * 12} -->"
    )


def measure(commands: Sequence[str], given: dict[str, str]) -> str:
    """The output of the last command. Raises CannotMeasure where one fails."""
    output = ""
    with tempfile.TemporaryDirectory() as folder:
        for command in commands:
            words = [word.format(out=folder, **given) for word in command.split()]
            print(f"python {' '.join(words)}", file=sys.stderr, flush=True)
            done = subprocess.run([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                raise CannotMeasure(f"The command ended with {done.returncode}: python {' '.join(words)}")
            output = done.stdout
    return output


def renew(chosen: Sequence[MeasuredTable], given: dict[str, str]) -> None:
    """Measure the tables, one command for all that it prints, and write those that it prints as they are."""
    for commands in dict.fromkeys(table.commands for table in chosen):
        of_command = [table for table in chosen if table.commands == commands]
        if missing := [name for name in of_command[0].needs if name not in given]:
            names = ", ".join(table.name for table in of_command)
            print(f"{names}: needs --{' and --'.join(missing)}, left as it is.", file=sys.stderr)
            continue
        output = measure(commands, given)
        printed = [rows for _, rows in tables_of(output)]
        for table in of_command:
            if table.place is None:
                print(f"{table.page}, {table.name}: write it from this output, then run with --measured.\n\n{output}")
            elif table.place >= len(printed):
                raise CannotMeasure(
                    f"The output has {len(printed)} tables, and {table.name!r} would be number {table.place + 1}."
                )
            else:
                page = DOCS / table.page
                page.write_text(put(page.read_text(encoding="utf-8"), table, printed[table.place]), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="tables, by default all")
    parser.add_argument("--list", action="store_true", help="print the tables with their commands")
    parser.add_argument("--check", action="store_true", help="compare the hashes, and compute nothing")
    parser.add_argument("--measured", action="store_true", help="write the hashes of these tables, and compute nothing")
    parser.add_argument("--films", help="a folder of real films")
    parser.add_argument("--csv", help="the table of these films")
    options = parser.parse_args(arguments)
    known = {table.name: table for table in TABLES}
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"there is no table {unknown[0]!r}; there are {', '.join(known)}.")
    chosen = [known[name] for name in options.names] or list(TABLES)
    if options.list:
        for table in chosen:
            print(f"{table.page}  {table.name}: python {' && python '.join(table.commands)}")
        return 0
    if options.check:
        wrong = faults()
        print("\n".join(wrong) or "All measured tables are of the configuration of now.")
        return 1 if wrong else 0
    if options.measured and not options.names:
        parser.error("--measured needs the names of the tables that you have measured.")
    try:
        if options.measured:
            for table in chosen:
                page = DOCS / table.page
                page.write_text(put(page.read_text(encoding="utf-8"), table, None), encoding="utf-8")
        else:
            renew(chosen, {name: value for name in ("films", "csv") if (value := getattr(options, name))})
    except CannotMeasure as error:
        print(f"hilum: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
