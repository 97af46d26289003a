"""Create or update the environment in .venv if necessary, then run a task in it.

    python3 tools/bootstrap.py TASK [arguments passed on]

TASK is demo, test, test-quick, lint, bench, bench-quick, bench-web, docs-tables, fuzz, soak, load, audit, bundle or
clean-demo. bench and bench-quick have an environment of their own, .venv-bench, with the peers that they compare with;
audit has .venv-audit, and bundle .venv-bundle, which has nothing but pip.
Uses the standard library only and runs with old interpreters too, so that each can report what is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

try:
    import fcntl
except ImportError:
    sys.exit("hilum: runs on Linux and macOS; on Windows use WSL.")

ROOT = Path(__file__).resolve().parents[1]
PEERS = ("bench", "bench-quick")  # tasks whose environment holds packages that the product must not see
ENVIRONMENT = ROOT / (".venv-bench" if sys.argv[1:2] and sys.argv[1] in PEERS else ".venv")
INSIDE = ENVIRONMENT / "bin" / "python"
STAMP = ENVIRONMENT / "hilum.json"
PYTHONS = ((3, 11), (3, 12), (3, 13))
GIB = 2**30
NEEDED_GIB = 8
PAIR = ("torch", "torchvision")  # released together
GPU = Path("/dev/nvidia0")
AUDITOR = ROOT / ".venv-audit" / "bin" / "python"
AUDIT_PACKAGE = "pip-audit>=2.9,<3"
PACKER = ROOT / ".venv-bundle" / "bin" / "python"
PACKAGES = "sbom.cdx.json"  # what `audit` writes
EXTRAS = {"demo": ("local", "cpu"), "test": ("local", "cpu", "test"), "lint": ("local", "cpu", "test")}
EXTRAS["test-quick"] = EXTRAS["bench-web"] = EXTRAS["docs-tables"] = EXTRAS[
    "test"
]  # bench-web uses the PostgreSQL of the tests
EXTRAS["soak"] = EXTRAS["load"] = EXTRAS["test"]
EXTRAS["bench"] = EXTRAS["bench-quick"] = ("cpu", "bench")
EXTRAS["fuzz"] = (*EXTRAS["test"], "fuzz")
# a package of each group, to detect an incomplete installation
TELL_TALES = ("django", "celery", "torch", "torchvision", "numpy", "pydicom", "hilum")


def stop(sentence: str) -> None:
    sys.exit(f"hilum: {sentence}")


def say(sentence: str) -> None:
    print(f"hilum: {sentence}", flush=True)


# --- the interpreter ----------------------------------------------------------------------------


def version_of(python: str) -> tuple[int, int] | None:
    """The version of an interpreter that can create environments, None otherwise."""
    question = "import sys, venv, ensurepip; print('%d %d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([python, "-c", question], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.split()
    return (int(words[0]), int(words[1])) if answer.returncode == 0 and len(words) == 2 else None


def find_python() -> str:
    names = [f"python3.{minor}" for _, minor in reversed(PYTHONS)]
    for candidate in [sys.executable, *names, "python3", "python"]:
        path = shutil.which(candidate)
        if path and ENVIRONMENT not in Path(path).parents and version_of(path) in PYTHONS:
            return path
    stop(
        "needs Python 3.11, 3.12 or 3.13 with the modules venv and ensurepip, and there is none; install it "
        "(Debian, Ubuntu: apt-get install python3 python3-venv), or set its path: make demo PYTHON=/path/to/python3.12"
    )
    raise AssertionError


# --- the environment ----------------------------------------------------------------------------


def current_stamp(extras: tuple[str, ...]) -> dict[str, object]:
    """What an installation depends on: a hash of the two files, the folder, the extras."""
    content = b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
    return {"files": hashlib.sha256(content).hexdigest(), "place": str(ROOT), "extras": sorted(extras)}


def read_stamp() -> dict[str, object]:
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(stamp: dict[str, object], extras: list[str]) -> None:
    """Remember that the environment has what the stamp depends on, so that no task installs it again."""
    STAMP.write_text(json.dumps({**stamp, "extras": extras}), encoding="utf-8")


def is_up_to_date(current: dict[str, object]) -> bool:
    stamp = read_stamp()
    same = all(stamp.get(key) == current[key] for key in ("files", "place"))
    has = stamp.get("extras")
    enough = isinstance(has, list) and set(current["extras"]) <= set(has)  # type: ignore[call-overload]
    return same and enough and has_packages()


def has_packages() -> bool:
    """Whether the environment's interpreter runs and still has its packages; takes a tenth of a second."""
    question = "import importlib.metadata as m, sys; [m.version(n) for n in sys.argv[1:]]"
    try:
        return subprocess.run([str(INSIDE), "-c", question, *TELL_TALES], capture_output=True).returncode == 0
    except OSError:
        return False


def make_ready(task: str) -> None:
    """Create or repair the environment. A second start at the same time waits for the first."""
    with (ROOT / "pyproject.toml").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waits for another installation in this folder to end.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = current_stamp(EXTRAS[task])
        if not is_up_to_date(stamp):
            install(stamp)


def install(stamp: dict[str, object]) -> None:
    started = time.monotonic()
    check_disk()
    before = read_stamp().get("extras")
    extras = sorted({*stamp["extras"], *(before if isinstance(before, list) else [])})  # type: ignore[misc]
    STAMP.unlink(missing_ok=True)
    if not INSIDE.exists() or version_of(str(INSIDE)) not in PYTHONS:
        python = find_python()
        say(f"creates {ENVIRONMENT.name} with {python}.")
        if subprocess.run([python, "-m", "venv", "--clear", str(ENVIRONMENT)]).returncode:
            stop(f"could not create {ENVIRONMENT.name} with {python}; see the lines above.")
    if before:
        say(f"brings the packages in {ENVIRONMENT.name} up to date.")
    else:
        say("installs the packages: about 3 GB to download and 6 GB on disk, once; two to ten minutes.")
    pip = [str(INSIDE), "-m", "pip", "--disable-pip-version-check", "install", "-c", "constraints.txt"]
    if not before:
        install_without_cuda(pip)
    if subprocess.run([*pip, "-e", ".[" + ",".join(extras) + "]"], cwd=ROOT).returncode:
        stop("could not install the packages; see the lines above. Run the same command to continue.")
    write_stamp(stamp, extras)
    say(f"is installed, after {time.monotonic() - started:.0f} seconds.")


def install_without_cuda(pip: list[str]) -> None:
    """On Linux without an NVIDIA GPU, install torch and torchvision without CUDA, which take 4 GB less, where pip's
    registries have both and they import; otherwise install neither."""
    if sys.platform != "linux" or GPU.exists():
        return
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==", 1) for line in lines if "==" in line)
    pair = [f"{name}=={pinned[name]}+cpu" for name in PAIR]
    if subprocess.run([*pip, *pair], cwd=ROOT, capture_output=True).returncode:
        return
    if subprocess.run([str(INSIDE), "-c", "import torch, torchvision"], capture_output=True).returncode:
        subprocess.run([str(INSIDE), "-m", "pip", "uninstall", "--quiet", "--yes", *PAIR])
        return
    say(f"uses {' and '.join(pair)}, since there is no NVIDIA GPU.")


def check_disk() -> None:
    free = shutil.disk_usage(ROOT).free / GIB
    installed = 0.0
    if (ENVIRONMENT / "lib").is_dir():  # installed files count
        installed = sum(p.stat().st_size for p in ENVIRONMENT.rglob("*") if p.is_file() and not p.is_symlink()) / GIB
    if free + installed < NEEDED_GIB:
        stop(
            f"needs about {NEEDED_GIB} GB of disk space in {ROOT}, and {free:.1f} are free; free some and start again."
        )


# --- the tasks ----------------------------------------------------------------------------------


def run(*arguments: str) -> None:
    """Replace this process by the command, which then gets the signals and sets the exit status."""
    os.chdir(ROOT)
    os.execv(str(INSIDE), [str(INSIDE), *arguments])


def test(arguments: list[str]) -> None:
    """Run the tests. The whole suite needs a browser and downloads one if necessary; single tests stop without it."""
    if not arguments:
        status = subprocess.run([str(INSIDE), "tools/browser.py"], cwd=ROOT).returncode
        if status:
            sys.exit(status)
        for tool in ("tools/orthanc.py", "tools/nginx.py"):
            subprocess.run([str(INSIDE), tool], cwd=ROOT)
    run("tools/run_tests.py", *arguments)


def lint() -> None:
    os.chdir(ROOT)
    module = [str(INSIDE), "-m"]
    templates = [str(path) for path in sorted(Path("templates").rglob("*.html"))]
    checks = {
        "ruff": [*module, "ruff", "check", "."],
        "mypy": [*module, "mypy"],
        "imports": [*module, "importlinter.cli", "lint"],
        "djade": [str(INSIDE.parent / "djade"), "--check", *templates],
        "djhtml": [*module, "djhtml", "--tabwidth", "2", "--check", *templates],
    }
    failed = [name for name, command in checks.items() if subprocess.run(command).returncode]
    if failed:
        stop("lint failed in: " + ", ".join(failed) + ".")
    say("lint passed.")


def audit() -> None:
    """Ask the registry for known faults of the pinned packages, and write the list of packages as CycloneDX. Ends
    with 1 where a package has one."""
    if not AUDITOR.exists() and subprocess.run([find_python(), "-m", "venv", str(AUDITOR.parents[1])]).returncode:
        stop(f"could not create {AUDITOR.parents[1].name}; see the lines above.")
    if subprocess.run([str(AUDITOR), "-m", "pip", "install", "--quiet", AUDIT_PACKAGE]).returncode:
        stop("could not install pip-audit; see the lines above.")
    command = [str(AUDITOR), "-m", "pip_audit", "--disable-pip", "--no-deps", "--requirement", "constraints.txt"]
    status = subprocess.run([*command, "--format", "cyclonedx-json", "--output", PACKAGES], cwd=ROOT).returncode
    if not status:
        say(f"found no known fault; {PACKAGES} lists the packages.")
        return
    subprocess.run(command, cwd=ROOT)  # the same as a table
    stop("found faults, or could not ask for them; see the lines above.")


def bundle(arguments: list[str]) -> None:
    """Collect what a host without the internet needs, for the kind and the Python of this one."""
    if not PACKER.exists() and subprocess.run([find_python(), "-m", "venv", str(PACKER.parents[1])]).returncode:
        stop(f"could not create {PACKER.parents[1].name}; see the lines above.")
    status = subprocess.run([str(PACKER), "tools/bundle.py", *arguments], cwd=ROOT).returncode
    sys.exit(status)


def clean_demo() -> None:
    folder = Path(os.environ.get("HILUM_DATA_DIR") or ROOT / "var").resolve()
    if not folder.is_dir():
        say(f"has no data in {folder}.")
        return
    files = sum(1 for path in folder.rglob("*") if path.is_file())
    question = f"Delete {folder} with its {files} files: database, films, runs, weights? Type yes: "
    if not sys.stdin.isatty() or input(question).strip() != "yes":
        stop(f"did not delete {folder}; delete it by hand, or answer yes in a terminal.")
    shutil.rmtree(folder)
    say(f"deleted {folder}; `make demo` creates it again.")


def main() -> None:
    task, arguments = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if task == "clean-demo":
        clean_demo()
        return
    if task == "audit":
        audit()
        return
    if task == "bundle":
        bundle(arguments)
    if task not in EXTRAS:
        stop("takes " + ", ".join([*EXTRAS, "audit", "bundle"]) + " or clean-demo.")
    make_ready(task)
    if task == "lint":
        lint()
    elif task == "test":
        test(arguments)
    elif task == "test-quick":
        run("tools/run_tests.py", "--quick", *arguments)
    elif task == "bench":
        run("-m", "benchmarks.engine", "--write", *arguments)
    elif task == "bench-quick":
        run("-m", "benchmarks.engine", "--quick", *arguments)
    elif task == "docs-tables":
        run("-m", "tools.docs_tables", *arguments)
    elif task == "bench-web":
        run("-m", "benchmarks.web", *arguments)
    elif task in ("soak", "load"):
        run("-m", f"benchmarks.{task}", *arguments)
    elif task == "fuzz":
        run("-m", "tests.fuzz.run", *arguments)
    else:
        run("manage.py", "demo", *arguments)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
