"""The code in the documentation runs."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.paths import ROOT


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
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


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/reliability.md"])
def test_what_a_page_names_is_there(name: str) -> None:
    """Files by path, or by the end of one; names in capitals stand for the reader's own."""
    page = (ROOT / name).read_text(encoding="utf-8")
    rooms = ("portal", "ml_engine", "analysis", "templates", "tests", "tools", "docs", "benchmarks")
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


def names_in(path: Path) -> set[str]:
    """The functions and classes of a Python module, and methods as Class.method; all functions of a script."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".js":
        functions = re.findall(r"^(?:export )?(?:async )?function (\w+)", text, re.MULTILINE)
        methods = re.findall(r"^  (?:async )?(\w+)\(.*\{$", text, re.MULTILINE)
        return {*functions, *methods}
    defined: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        if isinstance(node, ast.ClassDef):
            defined |= {f"{node.name}.{method.name}" for method in node.body if isinstance(method, ast.FunctionDef)}
    return defined


ARCHITECTURE = ROOT / "docs" / "architecture.md"


def steps_of_walks(page: str) -> list[tuple[str, list[str]]]:
    """The `path: name, name` of the walks."""
    steps = re.findall(r"`([\w/]+\.(?:py|js)): ([^`]+)`", page)
    return [(path, re.split(r",\s+", names)) for path, names in steps]


@pytest.mark.slow
def test_the_functions_of_the_walks_exist() -> None:
    steps = steps_of_walks(ARCHITECTURE.read_text(encoding="utf-8"))
    missing = [path for path, _ in steps if not (ROOT / path).is_file()]
    assert not missing
    missing = [f"{path}: {name}" for path, names in steps for name in names if name not in names_in(ROOT / path)]
    assert not missing
    assert len(steps) > 60


def test_every_room_has_its_line() -> None:
    """Folders that Django names, and folders without modules of their own, are no rooms."""
    page = ARCHITECTURE.read_text(encoding="utf-8").partition("## The rooms")[2].partition("\n## ")[0]
    listed = {
        room for cell in re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE) for room in re.findall(r"`([^`]+)`", cell)
    }
    django = {"migrations", "management", "templatetags", "__pycache__"}
    rooms = {
        str(folder.relative_to(ROOT))
        for app in ("portal", "ml_engine", "analysis")
        for folder in (ROOT / app).rglob("*")
        if folder.is_dir() and any(folder.glob("*.py")) and not django & set(folder.parts)
    }
    assert rooms - listed == set()
    assert [room for room in listed if not (ROOT / room).is_dir()] == []


def test_every_file_that_the_pages_name_exists() -> None:
    """Paths of the code base in code spans."""
    pages = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
    rooms = "portal|ml_engine|analysis|templates|static|tests|benchmarks|tools"
    missing = [
        f"{page.name}: {path}"
        for page in pages
        for path in re.findall(rf"`((?:{rooms})/[\w/.]+\.(?:py|js|html))\b", page.read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    ]
    assert not missing


def test_pages_that_the_code_cites_exist() -> None:
    """`docs/method.md` in a comment or a message, or `docs/method.md, "The steps"` for one of its sections."""
    rooms = ("portal", "ml_engine", "analysis", "templates", "static/js", "tests", "benchmarks", "tools")
    files = [file for room in rooms for end in ("py", "js", "html") for file in (ROOT / room).rglob(f"*.{end}")]
    missing = []
    for file in files:
        for page, section in re.findall(r"docs/([\w-]+\.\w+)(?:, [\"“]([^\"”\n]+)[\"”])?", file.read_text("utf-8")):
            path = ROOT / "docs" / page
            if not path.exists() or (section and f"# {section}\n" not in path.read_text(encoding="utf-8")):
                missing.append(f"{file.relative_to(ROOT)}: docs/{page} {section}")
    assert not missing


def test_the_release_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    top = re.search(r"^## v(\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    images = re.findall(r"image: hilum(?:-gpu)?:(\S+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert top is not None and top[1] == version
    assert images == [version, version]
