"""The file of PACS addresses: what it may say, and that a wrong one stops Hilum at its start with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal.dicomweb.targets import read_targets

URL = "https://pacs.example:8443/dicom-web/"


def read(folder: Path, *entries: Any) -> Any:
    path = folder / "pacs.json"
    path.write_text(json.dumps(entries))
    return read_targets(str(path))


def test_targets_have_their_secrets_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARD_PASSWORD", "one")
    monkeypatch.setenv("ARCHIVE_TOKEN", "two")
    ward, archive = read(
        tmp_path,
        {"name": "ward", "url": URL, "user": "hilum", "password_variable": "WARD_PASSWORD", "sites": ["Seoul"]},
        {"name": "archive", "url": "http://localhost:8042/x", "token_variable": "ARCHIVE_TOKEN"},
    )
    assert (ward.url, ward.user, ward.password, ward.token) == (URL.rstrip("/"), "hilum", "one", "")
    assert (ward.is_of("Seoul"), ward.is_of("Busan")) == (True, False)
    assert (archive.token, archive.is_of("Busan")) == ("two", True)
    assert "one" not in repr(ward)
    assert "two" not in repr(archive)


def test_without_a_file_there_is_none() -> None:
    assert read_targets("") == ()


@pytest.mark.parametrize(("entry", "words"), [
    ({"url": URL}, "is named ''; use 1 to 40"), ({"name": "a/b", "url": URL}, "is named 'a/b'"),
    ({"name": "w", "url": "http://pacs.example"}, "http only on this machine"),
    ({"name": "w", "url": "ftp://pacs.example"}, "expected the root of its DICOMweb service"),
    ({"name": "w", "url": "https://u:p@pacs.example"}, "without user, password or query"),
    ({"name": "w", "url": "https://pacs.example/?a=b"}, "without user, password or query"),
    ({"name": "w"}, "The address of the PACS w is ''"),
    ({"name": "w", "url": URL, "password": "x"}, "The PACS w has 'password'; the keys are"),
    ({"name": "w", "url": URL, "token_variable": "NOT_SET_HERE"}, "is NOT_SET_HERE, which is not set"),
    ({"name": "w", "url": URL, "ca_file": "/nowhere"}, "ca_file of the PACS w is /nowhere, which is not there"),
    ({"name": "w", "url": URL, "sites": "Seoul"}, "expected a list of names of sites"),
    ("w", "expected a list such as"),
])  # fmt: skip
def test_a_wrong_entry_is_named(tmp_path: Path, entry: Any, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words.replace("?", r"\?")):
        read(tmp_path, entry)


def test_two_entries_of_a_name_and_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="have one name; the names are w, w"):
        read(tmp_path, {"name": "w", "url": URL}, {"name": "w", "url": URL})
    (tmp_path / "a").write_text("{")
    for path in (tmp_path / "a", tmp_path / "b"):
        with pytest.raises(ImproperlyConfigured, match="which is no JSON file that can be read"):
            read_targets(str(path))
