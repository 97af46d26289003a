"""Orthanc with its DICOMweb plug-in, a PACS for the tests: Debian's packages.

python tools/orthanc.py     install them if there are none; `make test` runs this before the whole suite
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = ("orthanc", "orthanc-dicomweb")
PLUGIN = "libOrthancDicomWeb.so"
NO_ORTHANC = (
    "The tests of DICOMweb need Orthanc with its DICOMweb plug-in, and there is none: "
    "install it (Debian: apt-get install orthanc orthanc-dicomweb)."
)


def find_orthanc() -> tuple[str, Path] | None:
    """Return the program and its plug-in; None without both."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    folders = sorted(Path("/usr").glob("share/orthanc/plugins")) + sorted(Path("/usr").glob("lib/**/orthanc/plugins"))
    plugin = next((folder / PLUGIN for folder in folders if (folder / PLUGIN).exists()), None)
    return (program, plugin) if program and plugin else None


def may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def main() -> None:
    if find_orthanc() is None and may_install():
        print("hilum: found no Orthanc; installs it: apt-get install orthanc orthanc-dicomweb.", flush=True)
        # in runlevel 1 the package does not start its own server
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        subprocess.run(["apt-get", "update", "-q"], env=environment)
        subprocess.run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *PACKAGES], env=environment)
    if find_orthanc() is None:
        print(f"hilum: {NO_ORTHANC}", flush=True)


if __name__ == "__main__":
    main()
