"""Statistics of an evaluation that take long to work out, kept beside what they stand on.

Kept with a digest of that; another digest or a later FORMAT works them out anew, as does a damaged file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings

from analysis.evaluation.memory_cache import Remembered
from analysis.models import Evaluation
from ml_engine.core import files

FORMAT = 1  # grows with a change of what is kept, or of a statistic that is kept
_remembered = Remembered(256)  # some kilobytes each


def kept(evaluation: Evaluation, name: str, *, of: bytes, work_out: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work_out` answers, plain JSON, for the content `of`; `name` says of which part it is, and at which weight.
    The answer is remembered and shared: it is not to be changed."""
    digest = hashlib.blake2b(of, digest_size=16).hexdigest()

    def read_or_work_out() -> dict[str, Any]:
        path = Path(settings.DATA_DIR) / "evaluations" / str(evaluation.uuid) / f"{name}.json"
        found = _read(path, digest)
        if found is None:
            found = work_out()
            files.write_json(path, {"format": FORMAT, "digest": digest, "found": found})
        return found

    return _remembered((evaluation.uuid, name, digest), read_or_work_out)


def forget() -> None:
    """Drop what this process remembers; the files stay. For measurements."""
    _remembered.clear()


def _read(path: Path, digest: str) -> dict[str, Any] | None:
    try:
        said = json.loads(path.read_bytes())
        found: dict[str, Any] = said["found"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if said.get("format") == FORMAT and said.get("digest") == digest else None
