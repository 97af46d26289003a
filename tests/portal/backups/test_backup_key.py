"""What is encrypted for a folder of backups can be read with its passphrase, in its place, unchanged, and not else."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from portal.backups.backup_key import PARAMETERS, BackupKey, make_key, open_key, read_passphrase
from portal.backups.folder_store import FolderStore
from portal.backups.problems import CannotBackUp
from portal.intake.encrypted_files import NotDecrypted
from tests.paths import ROOT

PASSPHRASE = "seven random words of a dice roll"


@pytest.fixture
def key(tmp_path: Path) -> BackupKey:
    return make_key(FolderStore(tmp_path / "backups"), PASSPHRASE)


def encrypted(key: BackupKey, path: Path, content: bytes) -> Path:
    with path.open("wb") as file:
        key.encrypt(io.BytesIO(content), file, about="content")
    return path


def decrypt_all(key: BackupKey, path: Path, *, about: str) -> bytes:
    with path.open("rb") as file:
        return b"".join(key.decrypt(file, about=about))


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_a_content_comes_back(key: BackupKey, tmp_path: Path, size: int) -> None:
    path = encrypted(key, tmp_path / "file", b"x" * size)
    assert decrypt_all(open_key(FolderStore(tmp_path / "backups"), PASSPHRASE), path, about="content") == b"x" * size
    assert size < 100 or b"x" * 100 not in path.read_bytes()


@pytest.mark.parametrize("place", [0, 20, 40, -1])
def test_a_changed_byte_is_refused(key: BackupKey, tmp_path: Path, place: int) -> None:
    path = encrypted(key, tmp_path / "file", b"x" * 100)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(NotDecrypted):
        decrypt_all(key, path, about="content")


def test_a_file_in_another_place_or_cut_off_is_refused(key: BackupKey, tmp_path: Path) -> None:
    path = encrypted(key, tmp_path / "file", b"x" * (2**20 + 5))
    with pytest.raises(NotDecrypted):
        decrypt_all(key, path, about="manifest")
    path.write_bytes(path.read_bytes()[: 16 + 15 + 2**20 + 16])  # the first piece alone
    with pytest.raises(NotDecrypted):
        decrypt_all(key, path, about="content")


def test_the_same_content_is_never_encrypted_to_the_same_bytes(key: BackupKey, tmp_path: Path) -> None:
    one, two = (encrypted(key, tmp_path / name, b"x" * 100).read_bytes() for name in ("one", "two"))
    assert one != two


def test_another_passphrase_and_changed_parameters_are_refused(key: BackupKey, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    with pytest.raises(CannotBackUp, match=r"The passphrase is not the one that .*backups was begun with"):
        open_key(FolderStore(folder), PASSPHRASE + " ")
    with pytest.raises(CannotBackUp, match=f"is no folder of backups: it has no {PARAMETERS}"):
        open_key(FolderStore(tmp_path), PASSPHRASE)
    path = encrypted(key, tmp_path / "file", b"x")
    facts = json.loads((folder / PARAMETERS).read_text())
    (folder / PARAMETERS).write_text(json.dumps({**facts, "comment": "harmless"}))
    with pytest.raises(NotDecrypted):  # the parameters are authenticated with each file
        decrypt_all(open_key(FolderStore(folder), PASSPHRASE), path, about="content")
    (folder / PARAMETERS).write_text(json.dumps({**facts, "format": 2}))
    with pytest.raises(CannotBackUp, match="has format 2, and this release reads 1: use the release that wrote it"):
        open_key(FolderStore(folder), PASSPHRASE)
    (folder / PARAMETERS).write_text("{")
    with pytest.raises(CannotBackUp, match="is damaged"):
        open_key(FolderStore(folder), PASSPHRASE)


def test_a_folder_of_something_else_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "thesis.pdf").touch()
    with pytest.raises(CannotBackUp, match=r"has files and no hilum-backups.json: give an empty folder"):
        make_key(FolderStore(tmp_path), PASSPHRASE)


def test_a_passphrase_that_is_short_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    with pytest.raises(CannotBackUp, match="cannot be read"):
        read_passphrase(file)
    file.write_text("short\n")
    with pytest.raises(
        CannotBackUp, match="has 5 characters; use at least 20, such as `openssl rand -base64 32` prints"
    ):
        read_passphrase(file)


def test_a_key_is_as_expensive_as_the_docs_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    make_key(FolderStore(tmp_path / "backups"), PASSPHRASE)
    facts = json.loads((tmp_path / "backups" / PARAMETERS).read_text())
    assert (facts["kdf"], facts["n"], facts["r"], facts["p"]) == ("scrypt", 2**17, 8, 1)
    assert "scrypt (n = 2^17, r = 8, p = 1" in (ROOT / "docs" / "admin.md").read_text()
