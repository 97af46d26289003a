"""Fetch the browser libraries named in static/vendor/manifest.json from the npm registry, by name.

    python tools/vendor.py            check every file against its hash
    python tools/vendor.py --fetch    fetch the packages again and compare them
    python tools/vendor.py --renew    after a version was changed in the manifest: fetch, write the new hashes

The last two need npm. The files are committed, so that neither installations nor pages need npm.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "static" / "vendor"
MANIFEST = FOLDER / "manifest.json"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wrong_files(folder: Path = FOLDER) -> list[str]:
    """Return a line for each file that is missing, differs from the manifest, or is not in it."""
    files = [file for package in read_manifest(folder)["packages"] for file in package["files"]]
    wrong = []
    for file in files:
        path = folder / file["file"]
        if not path.is_file():
            wrong.append(f"{file['file']} is missing")
        elif sha256(path.read_bytes()) != file["sha256"]:
            wrong.append(f"{file['file']} differs from its hash in {MANIFEST.name}")
    expected = {folder / file["file"] for file in files} | {folder / MANIFEST.name}
    wrong += [
        f"{path.relative_to(folder)} is not in {MANIFEST.name}"
        for path in folder.rglob("*")
        if path.is_file() and path not in expected
    ]
    return wrong


def read_manifest(folder: Path = FOLDER) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / MANIFEST.name).read_text(encoding="utf-8"))
    return manifest


def package_files(name: str, version: str) -> dict[str, bytes]:
    """Return the files of an npm package by their paths in it."""
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", "--silent", "--pack-destination", scratch, f"{name}@{version}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(scratch).glob("*.tgz")
        with tarfile.open(archive) as tar:
            members = [member for member in tar.getmembers() if member.isfile()]
            return {m.name.partition("/")[2]: tar.extractfile(m).read() for m in members}  # type: ignore[union-attr]


def fetch(*, renew: bool) -> None:
    manifest = read_manifest()
    for package in manifest["packages"]:
        contents = package_files(package["package"], package["version"])
        for file in package["files"]:
            data = contents[file["source"]]
            if renew:
                file["sha256"] = sha256(data)
            elif sha256(data) != file["sha256"]:
                sys.exit(f"{package['package']} {package['version']}: {file['source']} differs from its hash.")
            path = FOLDER / file["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            print(f"{file['file']}  {len(data):,} bytes")
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Check or fetch the libraries in static/vendor.")
    parser.add_argument("--fetch", action="store_true", help="fetch with npm and compare with the hashes")
    parser.add_argument("--renew", action="store_true", help="fetch with npm and write the new hashes")
    options = parser.parse_args()
    if options.fetch or options.renew:
        fetch(renew=options.renew)
    if wrong := wrong_files():
        sys.exit("\n".join(wrong))
    print("static/vendor matches its manifest.")


if __name__ == "__main__":
    main()
