"""Write constraints.txt: every version of this environment and of the extra `gpu`, without URLs.

Run it in an environment in which the tests have passed: `.venv/bin/python tools/lock.py`.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
HEADER = """\
# Every version that the tests have passed with. Written by tools/lock.py; not by hand.
# pip install -c constraints.txt -e '.[local,cpu]'
"""


def installed() -> dict[str, str]:
    listed = subprocess.run(
        [*PIP, "list", "--format=json", "--exclude-editable"], capture_output=True, text=True, check=True
    )
    return {item["name"]: item["version"] for item in json.loads(listed.stdout)}


def with_gpu(constraints: Path) -> dict[str, str]:
    """The versions that the extra `gpu` would install, from a dry run of pip."""
    command = [*PIP, "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    dry_run = subprocess.run(
        [*command, "-c", str(constraints), f"{ROOT}[gpu]"], stdout=subprocess.PIPE, text=True, check=True
    )
    return {item["metadata"]["name"]: item["metadata"]["version"] for item in json.loads(dry_run.stdout)["install"]}


def write(versions: dict[str, str], path: Path) -> None:
    kept = {name: version for name, version in versions.items() if name not in ("hilum", "pip", "setuptools", "wheel")}
    lines = [f"{name}=={version.partition('+')[0]}\n" for name, version in kept.items()]
    path.write_text(HEADER + "".join(sorted(lines, key=str.lower)), encoding="utf-8")


def main() -> None:
    path = ROOT / "constraints.txt"
    write(installed(), path)
    write({**with_gpu(path), **installed()}, path)
    print(f"{path.name}: {sum('==' in line for line in path.read_text().splitlines())} versions")


if __name__ == "__main__":
    main()
