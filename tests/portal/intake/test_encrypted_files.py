"""Encrypted files come back whole, and are refused when anything of them was changed."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from portal.intake import encrypted_files
from portal.intake.encrypted_files import NotDecrypted, decrypt, decrypted, encrypt_bytes, encrypt_file

MIB = 2**20


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 5])
def test_any_length_comes_back(tmp_path: Path, size: int) -> None:
    plain, path = tmp_path / "plain", tmp_path / "encrypted"
    plain.write_bytes(hashlib.shake_128(b"x").digest(size))
    encrypt_file(plain, path)
    assert decrypt(path) == plain.read_bytes()
    assert max((len(piece) for piece in decrypted(path)), default=0) <= MIB
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encrypted", "plain"]


def test_the_first_piece_is_what_the_cipher_gives_by_itself(settings: Any) -> None:
    """AES-256-GCM by the library's other interface, with key and nonce written out."""
    data = encrypt_bytes(b"one small piece")
    prefix, body, tag = data[8:15], data[15:-16], data[-16:]
    key = hmac.new(settings.PSEUDONYM_SECRET.encode(), b"kept files", "sha256").digest()
    cipher = Cipher(algorithms.AES256(key), modes.GCM(prefix + bytes([0, 0, 0, 0, 1]), tag)).decryptor()
    assert cipher.update(body) + cipher.finalize() == b"one small piece"


def test_equal_files_look_different() -> None:
    assert encrypt_bytes(b"a" * 50)[20:] != encrypt_bytes(b"a" * 50)[20:]


@pytest.mark.parametrize("change", [
    lambda data: data[: len(data) // 2],  # cut off within a piece
    lambda data: data[: 15 + MIB + 16],  # cut off after the first piece
    lambda data: data[:15],
    lambda data: b"",
    lambda data: b"HILUM-2\0" + data[8:],
    lambda data: data[:8] + bytes(7) + data[15:],
    lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    lambda data: data[:15] + data[15 + MIB + 16 :] + data[15 : 15 + MIB + 16],  # pieces exchanged
    lambda data: data + data[15:],
])  # fmt: skip
def test_a_changed_file_is_refused(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "a"
    path.write_bytes(change(encrypt_bytes(bytes(2 * MIB))))
    with pytest.raises(NotDecrypted):
        decrypt(path)


def test_another_secret_does_not_decrypt(tmp_path: Path, settings: Any) -> None:
    path = tmp_path / "a"
    path.write_bytes(encrypt_bytes(b"secret"))
    settings.PSEUDONYM_SECRET = "another secret of more than forty characters"
    with pytest.raises(NotDecrypted):
        decrypt(path)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(plain: Any, target: Any, *, key: bytes) -> None:
        target.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encrypted_files, "encrypt_stream", full)
    (tmp_path / "plain").write_bytes(b"x")
    with pytest.raises(OSError, match="No space left"):
        encrypt_file(tmp_path / "plain", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]
