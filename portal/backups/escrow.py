"""The pseudonym secret in escrow: sealed under a passphrase into a small file, for somebody else to keep.

Backups do not hold the secret, and without it no later film of a patient finds the earlier ones. The file is JSON: the
parameters of the key's derivation (as in `backup_key`), what tells the secret from another, and the secret encrypted by
AES-256-GCM, which authenticates the rest of the file.
"""

import base64
import io
import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from portal.backups import backup_key
from portal.backups.making import fingerprint
from portal.backups.problems import CannotBackUp
from portal.intake.encrypted_files import NotDecrypted, decrypt_stream, encrypt_stream
from portal.people import audit

FORMAT = 1


def seal(path: Path, passphrase: str) -> str:
    """Write the installation's pseudonym secret, sealed, to a new file; what tells it from another is returned. Raises
    CannotBackUp for a file that is there, or in the data folder."""
    if path.exists():
        raise CannotBackUp(f"{path} is there already; name a new file, and keep the old one until this one is checked.")
    if path.resolve().is_relative_to(Path(settings.DATA_DIR).resolve()):
        raise CannotBackUp(f"{path} is in the data folder, and would be lost with it: choose another disk.")
    secret: str = settings.PSEUDONYM_SECRET
    facts: dict[str, Any] = {
        "format": FORMAT,
        "what": "HILUM_PSEUDONYM_SECRET",
        "fingerprint": fingerprint(secret),
        "kdf": "scrypt",
        **backup_key.new_parameters(),
    }
    sealed = io.BytesIO()
    encrypt_stream(io.BytesIO(secret.encode()), sealed, key=backup_key.derive(facts, passphrase), about=_about(facts))
    text = json.dumps({**facts, "sealed": base64.b64encode(sealed.getvalue()).decode()}, indent=2)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    _record("seal pseudonym secret", facts)
    return str(facts["fingerprint"])


def unseal(path: Path, passphrase: str) -> str:
    """The secret in the file. Raises CannotBackUp for another passphrase, and for a file that is damaged or none."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        sealed = base64.b64decode(facts.pop("sealed"), validate=True)
        version = facts["format"]
        key = backup_key.derive(facts, passphrase) if version == FORMAT else b""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise CannotBackUp(
            f"{path} is no sealed secret, or is damaged ({type(problem).__name__}); take another copy of it."
        ) from problem
    if version != FORMAT:
        raise CannotBackUp(f"{path} has format {version}, and this release reads {FORMAT}: use the one that wrote it.")
    try:
        secret = b"".join(decrypt_stream(io.BytesIO(sealed), key=key, about=_about(facts))).decode()
    except NotDecrypted as problem:
        raise CannotBackUp(f"{path} was sealed under another passphrase, or was changed since.") from problem
    return secret


def check(path: Path, passphrase: str) -> str:
    """What tells the secret in the file from another. Raises CannotBackUp, also where it is not the installation's."""
    sealed, here = fingerprint(unseal(path, passphrase)), fingerprint(settings.PSEUDONYM_SECRET)
    if sealed != here:
        raise CannotBackUp(
            f"{path} has the secret {sealed}, and this installation works with {here}: seal the secret anew."
        )
    return sealed


def show(path: Path, passphrase: str) -> str:
    """The secret, to be put back; the audit has that it was shown. Raises CannotBackUp."""
    secret = unseal(path, passphrase)
    _record("show pseudonym secret", {"fingerprint": fingerprint(secret)})
    return secret


def _about(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True).encode()


@transaction.atomic
def _record(verb: str, facts: dict[str, Any]) -> None:
    audit.record(verb=verb, site=None, actor=None, after={"fingerprint": facts["fingerprint"]})
