"""`make test` looks for a browser, a PACS and a proxy before the whole suite, not before single tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT


def bootstrap(tmp_path: Path, *arguments: str, browser: int = 0) -> tuple[int, list[str]]:
    """The exit status of tools/bootstrap.py and its commands, which a stand-in for the interpreter records."""
    python, calls = tmp_path / "python", tmp_path / "calls"
    python.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        f"with open({str(calls)!r}, 'a') as file:\n"
        "    print(*sys.argv[1:], file=file)\n"
        f"sys.exit({browser} if sys.argv[1] == 'tools/browser.py' else 0)\n",
        encoding="utf-8",
    )
    python.chmod(0o755)
    code = (
        "import pathlib; from tools import bootstrap; "
        f"bootstrap.INSIDE = pathlib.Path({str(python)!r}); bootstrap.make_ready = lambda task: None; bootstrap.main()"
    )
    status = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT).returncode
    return status, calls.read_text(encoding="utf-8").splitlines()


def test_the_whole_suite_fetches_a_browser_a_pacs_and_a_proxy_first(tmp_path: Path) -> None:
    first = ["tools/browser.py", "tools/orthanc.py", "tools/nginx.py"]
    assert bootstrap(tmp_path, "test") == (0, [*first, "tools/run_tests.py"])


def test_no_test_runs_where_there_is_no_browser(tmp_path: Path) -> None:
    assert bootstrap(tmp_path, "test", browser=1) == (1, ["tools/browser.py"])


def test_single_tests_fetch_no_browser(tmp_path: Path) -> None:
    assert bootstrap(tmp_path, "test", "-k", "viewer") == (0, ["tools/run_tests.py -k viewer"])


@pytest.mark.parametrize(
    ("task", "call"),
    [
        ("test-quick", "tools/run_tests.py --quick"),
        ("demo", "manage.py demo"),
        ("bench", "-m benchmarks.engine --write"),
        ("bench-quick", "-m benchmarks.engine --quick"),
        ("bench-web", "-m benchmarks.web"),
        ("fuzz", "-m tests.fuzz.run"),
        ("soak", "-m benchmarks.soak"),
        ("load", "-m benchmarks.load"),
    ],
)
def test_other_tasks_fetch_no_browser(tmp_path: Path, task: str, call: str) -> None:
    assert bootstrap(tmp_path, task) == (0, [call])


def audit(tmp_path: Path, *, status: int) -> tuple[int, list[str]]:
    """Exit status and commands of `audit`, with a stand-in for the interpreter that has pip-audit."""
    python, calls = tmp_path / "python", tmp_path / "calls"
    python.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        f"with open({str(calls)!r}, 'a') as file:\n"
        "    print(*sys.argv[1:], file=file)\n"
        f"sys.exit({status} if sys.argv[2] == 'pip_audit' else 0)\n",
        encoding="utf-8",
    )
    python.chmod(0o755)
    auditor = f"bootstrap.AUDITOR = pathlib.Path({str(python)!r})"
    code = f"import pathlib; from tools import bootstrap; {auditor}; bootstrap.main()"
    ended = subprocess.run([sys.executable, "-c", code, "audit"], cwd=ROOT).returncode
    return ended, calls.read_text(encoding="utf-8").splitlines()


def test_an_audit_writes_the_list_of_packages(tmp_path: Path) -> None:
    status, (install, ask) = audit(tmp_path, status=0)
    assert (status, install.split()[:3]) == (0, ["-m", "pip", "install"])
    assert ask.endswith("--requirement constraints.txt --format cyclonedx-json --output sbom.cdx.json")


def test_a_fault_of_a_package_ends_the_audit_with_1_and_is_shown(tmp_path: Path) -> None:
    status, (_, asked, shown) = audit(tmp_path, status=1)
    assert status == 1
    assert asked.startswith(shown)  # once more, as a table


def install_without_cuda(tmp_path: Path, *, has_gpu: bool, fails: str = "") -> list[str]:
    """The commands of an installation, of which the one whose first words are ``fails`` ends with 1."""
    python, calls, gpu = tmp_path / "python", tmp_path / "calls", tmp_path / "nvidia0"
    python.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        f"with open({str(calls)!r}, 'a') as file:\n"
        "    print(*sys.argv[1:], file=file)\n"
        f"sys.exit({fails!r} != '' and ' '.join(sys.argv[1:]).startswith({fails!r}))\n",
        encoding="utf-8",
    )
    python.chmod(0o755)
    if has_gpu:
        gpu.touch()
    code = (
        "import pathlib; from tools import bootstrap; "
        f"bootstrap.INSIDE = pathlib.Path({str(python)!r}); bootstrap.GPU = pathlib.Path({str(gpu)!r}); "
        "bootstrap.install_without_cuda([str(bootstrap.INSIDE), '-m', 'pip', 'install'])"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    return calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []


def test_without_a_gpu_the_pair_without_cuda_is_installed_if_it_imports(tmp_path: Path) -> None:
    pip, check = install_without_cuda(tmp_path, has_gpu=False)
    assert re.fullmatch(r"-m pip install torch==[\d.]+\+cpu torchvision==[\d.]+\+cpu", pip)
    assert check == "-c import torch, torchvision"


def test_a_pair_that_does_not_import_is_taken_off_again(tmp_path: Path) -> None:
    *_, last = install_without_cuda(tmp_path, has_gpu=False, fails="-c import")
    assert last == "-m pip uninstall --quiet --yes torch torchvision"


def test_a_registry_without_the_pair_leaves_the_usual_builds(tmp_path: Path) -> None:
    assert len(install_without_cuda(tmp_path, has_gpu=False, fails="-m pip install")) == 1


def test_with_a_gpu_the_usual_builds_are_installed(tmp_path: Path) -> None:
    assert install_without_cuda(tmp_path, has_gpu=True) == []
