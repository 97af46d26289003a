"""Who was erased, kept outside all backups: a backup that is older than an erasure has the patient in it, and restoring
it has to erase them again.

The list is a file of lines, one JSON object an erasure: its UUID, the site's, the time, and the keyed hashes of the
tombstone. They name nobody without the installation's secret. It lies at HILUM_ERASURE_LIST, which is to be on another
disk than the data, and each backup copies it beside the backups.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings

from portal.models import Erasure


@dataclass(frozen=True)
class ErasedPatient:
    """`keys`: the keyed hash of the pseudonym first, then of the films' pixels."""

    erasure: str
    site: str
    at: str
    keys: tuple[str, ...]


def list_path() -> Path:
    return Path(settings.ERASURE_LIST or Path(settings.DATA_DIR) / "erasures.jsonl")


def can_be_kept() -> bool:
    """Whether this process can read and write the list, or make it."""
    path = list_path()
    if path.exists():
        return path.is_file() and os.access(path, os.R_OK | os.W_OK)
    there = next(parent for parent in path.absolute().parents if parent.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def note(erasure: Erasure) -> None:
    """Add an erasure that has begun. Raises OSError: nobody may be erased whom a restore would bring back."""
    _append(list_path(), [_line(erasure)])


def _line(erasure: Erasure) -> ErasedPatient:
    return ErasedPatient(
        erasure=str(erasure.uuid),
        site=str(erasure.site.uuid),
        at=erasure.created_at.isoformat(timespec="seconds"),
        keys=tuple(erasure.keys),
    )


def read(path: Path) -> list[ErasedPatient]:
    """The list in a file; empty where there is none."""
    return parsed(path.read_bytes()) if path.exists() else []


def parsed(text: bytes) -> list[ErasedPatient]:
    """A line that a crash cut off counts as none."""
    lines = []
    for line in text.decode(errors="replace").splitlines():
        try:
            values = json.loads(line)
            lines.append(ErasedPatient(**{**values, "keys": tuple(values["keys"])}))
        except (ValueError, KeyError, TypeError):
            continue
    return lines


def grown(text: bytes) -> bytes:
    """Another list, with what the installation knows by its own list and by its rows."""
    merge_into_own(_line(erasure) for erasure in Erasure.objects.select_related("site"))
    more = _as_text(new_ones(read(list_path()), parsed(text)))
    return (text if text.endswith(b"\n") or not text or not more else text + b"\n") + more


def merge_into_own(others: Iterable[ErasedPatient]) -> None:
    _append(list_path(), new_ones(others, read(list_path())))


def new_ones(these: Iterable[ErasedPatient], there: Iterable[ErasedPatient]) -> list[ErasedPatient]:
    """Each that is not there yet, once. One whose keys have changed, since an erasure was begun again, is new."""
    return list(dict.fromkeys(one for one in these if one not in set(there)))


def _append(path: Path, lines: Iterable[ErasedPatient]) -> None:
    text = _as_text(lines)
    if not text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        if file.tell() and not _ends_a_line(path):
            file.write(b"\n")
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _as_text(lines: Iterable[ErasedPatient]) -> bytes:
    return "".join(json.dumps(asdict(line)) + "\n" for line in lines).encode()


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
