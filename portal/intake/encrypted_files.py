"""Files that only this installation can read: AES-256 in Galois counter mode under a key derived from its secret.

A file may be larger than memory, so it is encrypted in pieces. Each piece is authenticated with its number, and with
whether it is the last, so that a file that was changed, cut off or put together from others is refused (the STREAM
construction of Hoang, Reyhanitabar, Rogaway and Vizar, 2015).
"""

import hashlib
import hmac
import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from portal.intake import film_files

_MAGIC = b"HILUM-1\0"
_PIECE = 2**20
_PREFIX_BYTES, _TAG_BYTES = 7, 16


class Readable(Protocol):
    """Gives as many bytes as it is asked for, unless it ends."""

    def read(self, size: int, /) -> bytes: ...


class NotDecrypted(Exception):
    """The file is damaged, or was written under another secret."""


def encrypt_file(source: Path, target: Path) -> None:
    """Raises OSError if the disk is full; `target` is then not there."""
    unfinished = target.with_name(f"{film_files.PART}{target.name}")
    try:
        with source.open("rb") as plain, unfinished.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            encrypt_stream(plain, file, key=_key())
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def encrypt_bytes(data: bytes) -> bytes:
    target = io.BytesIO()
    encrypt_stream(io.BytesIO(data), target, key=_key())
    return target.getvalue()


def encrypt_again(path: Path, secret: str) -> bool:
    """Exchange a file that this installation can read for one that it can read under another secret. False, and nothing
    is changed, where it is of that secret already. Raises NotDecrypted and OSError; the file is then as it was."""
    with path.open("rb") as file:
        if _is_readable(file, key=_key(secret)):
            return False
    unfinished = path.with_name(f"{film_files.PART}{path.name}")
    try:
        with path.open("rb") as source, unfinished.open("wb") as target:
            os.fchmod(target.fileno(), 0o600)
            plain = io.BufferedReader(_Pieces(decrypt_stream(source, key=_key())), _PIECE)
            encrypt_stream(plain, target, key=_key(secret))
            target.flush()
            os.fsync(target.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def _is_readable(file: IO[bytes], *, key: bytes) -> bool:
    """By its first piece."""
    try:
        next(decrypt_stream(file, key=key))
    except NotDecrypted:
        return False
    return True


class _Pieces(io.RawIOBase):
    """Pieces as a file that is read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


def decrypted(path: Path) -> Iterator[bytes]:
    """The content in pieces. Raises NotDecrypted, and OSError where there is no file."""
    with path.open("rb") as file:
        yield from decrypt_stream(file, key=_key())


def decrypt_stream(file: Readable, *, key: bytes, about: bytes = b"") -> Iterator[bytes]:
    """The content of what `encrypt_stream` wrote, in pieces. Raises NotDecrypted."""
    header = file.read(len(_MAGIC) + _PREFIX_BYTES)
    if len(header) < len(_MAGIC) + _PREFIX_BYTES or not header.startswith(_MAGIC):
        raise NotDecrypted
    cipher, prefix = AESGCM(key), header[len(_MAGIC) :]
    number, piece = 0, file.read(_PIECE + _TAG_BYTES)
    while piece:
        following = file.read(_PIECE + _TAG_BYTES)
        try:
            yield cipher.decrypt(_nonce(prefix, number, is_last=not following), piece, about)
        except InvalidTag as error:
            raise NotDecrypted from error
        number, piece = number + 1, following
    if number == 0:
        raise NotDecrypted


def decrypt(path: Path) -> bytes:
    return b"".join(decrypted(path))


def encrypt_stream(plain: Readable, target: IO[bytes], *, key: bytes, about: bytes = b"") -> None:
    """`about` is authenticated with each piece and not stored: to decrypt, the same has to be given."""
    cipher, prefix = AESGCM(key), os.urandom(_PREFIX_BYTES)
    target.write(_MAGIC + prefix)
    number, piece = 0, plain.read(_PIECE)
    while True:
        following = plain.read(_PIECE)
        target.write(cipher.encrypt(_nonce(prefix, number, is_last=not following), piece, about))
        if not following:
            return
        number, piece = number + 1, following


def _nonce(prefix: bytes, number: int, *, is_last: bool) -> bytes:
    """12 bytes that no other piece under the key has: random for the file, then the number of the piece."""
    return prefix + struct.pack(">IB", number, is_last)


def _key(secret: str = "") -> bytes:
    """Of the installation's secret, or of this one."""
    return hmac.new((secret or settings.PSEUDONYM_SECRET).encode(), b"kept files", hashlib.sha256).digest()
