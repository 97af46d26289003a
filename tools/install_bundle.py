"""Install Hilum from the folder of this file, which `make bundle` has made, without the internet.

python3 install.py /srv/hilum

Checks the SHA-256 of every file, unpacks the source, makes an environment in it and installs the packages there. Uses
the standard library only. Nothing is written outside the folder that is named.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
import sysconfig
import tarfile
import time
from pathlib import Path
from typing import Any, NoReturn

MANIFEST = "manifest.json"


def stop(sentence: str) -> NoReturn:
    sys.exit(f"hilum: {sentence}")


def check(folder: Path) -> dict[str, Any]:
    """The manifest, once every file is as it says and this machine is of the kind that the files are for."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = manifest["files"]
    except (OSError, ValueError, KeyError) as problem:
        stop(f"{folder / MANIFEST} cannot be read ({problem}); copy the whole folder again.")
    here = (f"{sys.version_info.major}.{sys.version_info.minor}", sysconfig.get_platform())
    if here != (manifest["python"], manifest["platform"]):
        stop(
            f"this is Python {here[0]} on {here[1]}, and the packages are for Python {manifest['python']} on "
            f"{manifest['platform']}; start install.py with that one, or make the bundle on a machine like this."
        )
    for name, known in files.items():
        path = folder / name
        if not path.is_file():
            stop(f"{name} is missing; copy the whole folder again.")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != known["sha256"]:
            stop(f"{name} has the SHA-256 {digest} instead of {known['sha256']}; copy it again.")
    return dict(manifest)


def tell_bootstrap(target: Path, extras: list[str]) -> None:
    """Keep `make demo` there from installing again, for which it would ask the registries."""
    sys.path.insert(0, str(target))
    bootstrap = importlib.import_module("tools.bootstrap")
    bootstrap.write_stamp(bootstrap.current_stamp(tuple(extras)), extras)


def main() -> None:
    if len(sys.argv) != 2:
        stop("needs the folder to install into: python3 install.py /srv/hilum")
    folder, target, started = Path(__file__).resolve().parent, Path(sys.argv[1]).resolve(), time.monotonic()
    if target.exists() and any(target.iterdir()):
        stop(f"{target} is not empty; name another folder.")
    manifest = check(folder)
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "source.tar.gz") as source:
        source.extractall(target, filter="data")
    environment = target / ".venv"
    if subprocess.run([sys.executable, "-m", "venv", str(environment)]).returncode:
        stop("could not make the environment; see the lines above (Debian: apt-get install python3-venv).")
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--isolated", "install"]
    of_bundle = ["--no-index", "--find-links", str(folder / "wheels"), "-c", "constraints.txt"]
    extras = ",".join(manifest["extras"])
    if subprocess.run([*pip, "--quiet", *of_bundle, "-e", f".[{extras}]"], cwd=target).returncode:
        stop("could not install the packages; see the lines above.")
    tell_bootstrap(target, manifest["extras"])
    print(
        f"hilum: {manifest['version']} is installed in {target}, after {time.monotonic() - started:.0f} s. Go on there:"
        "\n  .venv/bin/python manage.py setup\n  .venv/bin/python manage.py start",
        flush=True,
    )


if __name__ == "__main__":
    main()
