"""The first names that an import could not match, from table and files. Names may be those of patients, so database and
logs get their shapes only; the names themselves wait in a file until the uploader's page has shown them once."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from portal.intake import film_files
from portal.models import Upload, User

MOST = 5


@dataclass(frozen=True)
class FirstNames:
    table: Sequence[str]
    files: Sequence[str]


def keep_first_names(upload: Upload, names: FirstNames) -> None:
    path = _path(upload)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(names), file)


def take_first_names(upload: Upload, user: User) -> FirstNames | None:
    """Return the names to the person who sent the upload and delete them; None to anyone else, and the next time."""
    if upload.uploaded_by_id != user.pk or upload.state not in (Upload.State.DONE, Upload.State.FAILED):
        return None
    path = _path(upload)
    try:
        names = FirstNames(**json.loads(path.read_text(encoding="utf-8")))
        path.unlink()
    except FileNotFoundError:
        return None
    return names


def _path(upload: Upload) -> Path:
    return film_files.upload_path(f"names-{upload.uuid}.json")
