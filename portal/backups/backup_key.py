"""The key of a folder of backups, derived from a passphrase that is kept elsewhere.

    master = scrypt(passphrase, salt, n = 2^17, r = 8, p = 1), 32 bytes
    file   = 16 random bytes, then AES-256-GCM in pieces (portal.intake.encrypted_files)
             under HMAC-SHA-256(master, "file" + the random bytes)

Salt and parameters lie in `hilum-backups.json` of the folder, in the clear. Their hash, and what a file is for, are
authenticated with each piece of each file, so that neither can be exchanged.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from portal.backups.problems import CannotBackUp
from portal.backups.stores import Store, read_file, write_file
from portal.intake.encrypted_files import Readable, decrypt_stream, encrypt_stream

FEWEST_CHARACTERS = 20
PARAMETERS = "hilum-backups.json"
FORMAT = 1
_COST, _SALT_BYTES = 2**17, 16


@dataclass(frozen=True)
class BackupKey:
    master: bytes
    parameters: bytes  # the file PARAMETERS

    def encrypt(self, plain: Readable, target: IO[bytes], *, about: str) -> None:
        salt = os.urandom(_SALT_BYTES)
        target.write(salt)
        encrypt_stream(plain, target, key=self._key_of(salt), about=self._about(about))

    def decrypt(self, file: Readable, *, about: str) -> Iterator[bytes]:
        """Raises NotDecrypted."""
        salt = file.read(_SALT_BYTES)
        yield from decrypt_stream(file, key=self._key_of(salt), about=self._about(about))

    def name_of(self, sha256: str) -> str:
        """The name under which a content is stored: it says nothing about it to those without the key."""
        return hmac.new(self.master, f"name {sha256}".encode(), hashlib.sha256).hexdigest()

    def _key_of(self, salt: bytes) -> bytes:
        return hmac.new(self.master, b"file" + salt, hashlib.sha256).digest()

    def _about(self, text: str) -> bytes:
        return hashlib.sha256(self.parameters).digest() + text.encode()


def read_passphrase(path: Path) -> str:
    """Raises CannotBackUp."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise CannotBackUp(
            f"The file of the passphrase, {path}, cannot be read ({type(problem).__name__}); make it, readable by this "
            "user alone, and keep a copy away from this machine."
        ) from problem
    if len(text) < FEWEST_CHARACTERS:
        raise CannotBackUp(
            f"The passphrase in {path} has {len(text)} characters; use at least {FEWEST_CHARACTERS}, such as "
            "`openssl rand -base64 32` prints."
        )
    return text


def make_key(store: Store, passphrase: str) -> BackupKey:
    """The key of a folder of backups to write to; an empty one gets its parameters. Raises CannotBackUp."""
    store.require_apart()
    if not store.has(PARAMETERS):
        if not store.is_empty():
            raise CannotBackUp(f"{store} has files and no {PARAMETERS}: give an empty folder, or one of backups.")
        with store.locked():
            if not store.has(PARAMETERS):
                facts = {"format": FORMAT, "kdf": "scrypt", **new_parameters()}
                facts["check"] = _check_of(derive(facts, passphrase))
                write_file(store, PARAMETERS, json.dumps(facts, indent=2).encode())
    return open_key(store, passphrase)


def open_key(store: Store, passphrase: str) -> BackupKey:
    """Raises CannotBackUp."""
    path = f"{store}/{PARAMETERS}"
    try:
        text = read_file(store, PARAMETERS)
        facts = json.loads(text)
        version = facts["format"]
        master = derive(facts, passphrase) if version == FORMAT else b""
    except FileNotFoundError:
        raise CannotBackUp(f"{store} is no folder of backups: it has no {PARAMETERS}.") from None
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise CannotBackUp(
            f"{path} is damaged ({type(problem).__name__}); put back the copy of another machine."
        ) from problem
    if version != FORMAT:
        raise CannotBackUp(
            f"{path} has format {version}, and this release reads {FORMAT}: use the release that wrote it."
        )
    if not hmac.compare_digest(str(facts.get("check")), _check_of(master)):
        raise CannotBackUp(f"The passphrase is not the one that {store} was begun with.")
    return BackupKey(master, text)


def new_parameters() -> dict[str, Any]:
    """Of a key that is derived from a passphrase, with a new salt."""
    return {"salt": os.urandom(_SALT_BYTES).hex(), "n": _COST, "r": 8, "p": 1}


def derive(facts: dict[str, Any], passphrase: str) -> bytes:
    """The key of 32 bytes. Raises KeyError, TypeError and ValueError for parameters that are none."""
    kdf = Scrypt(salt=bytes.fromhex(facts["salt"]), length=32, n=facts["n"], r=facts["r"], p=facts["p"])
    return kdf.derive(passphrase.encode())


def _check_of(master: bytes) -> str:
    return hmac.new(master, b"check", hashlib.sha256).hexdigest()
