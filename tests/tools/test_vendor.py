"""The vendored browser libraries match the manifest, and each has its licence."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tools import vendor


def test_vendored_files_match_the_manifest() -> None:
    assert vendor.wrong_files() == []


def test_a_changed_vendored_file_is_detected(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(
        json.dumps({"packages": [{"files": [{"file": "a.js", "sha256": vendor.sha256(b"one")}]}]})
    )
    (tmp_path / "a.js").write_bytes(b"two")
    (tmp_path / "b.js").write_bytes(b"extra")
    assert len(vendor.wrong_files(tmp_path)) == 2


def test_plotly_in_the_browser_has_the_release_that_python_expects() -> None:
    import plotly

    bundled = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    release = re.search(r"plotly\.js v(\d+)\.", bundled.read_text(encoding="utf-8")[:500])
    (ours,) = (p["version"] for p in vendor.read_manifest()["packages"] if p["name"] == "plotly.js")
    assert release
    assert ours.partition(".")[0] == release.group(1)


def test_every_vendored_package_has_its_licence() -> None:
    for package in vendor.read_manifest()["packages"]:
        assert package["licence"] in {"MIT", "0BSD", "BSD-3-Clause", "Apache-2.0"}
        assert any(file["source"].startswith("LICENSE") for file in package["files"]), package["name"]
