"""A cache on disk for statistics of an evaluation that take long to compute.

Each file stores a digest of the content that its statistics were computed from. They are computed again if the digest
or FORMAT differs, or if the file is damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings

from analysis.evaluation.memory_cache import MemoryCache
from analysis.models import Evaluation
from ml_engine.core import files

FORMAT = 1  # increase it when the stored keys or a stored statistic change
_memory = MemoryCache(256)  # some kilobytes each


def cached(
    evaluation: Evaluation, name: str, *, content: bytes, compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What `compute` returns, plain JSON, for this content; `name` contains the part and the weight. The returned dict
    is shared with other callers: do not change it."""
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()

    def load_or_compute() -> dict[str, Any]:
        path = Path(settings.DATA_DIR) / "evaluations" / str(evaluation.uuid) / f"{name}.json"
        values = _load(path, digest)
        if values is None:
            values = compute()
            files.write_json(path, {"format": FORMAT, "digest": digest, "found": values})
        return values

    return _memory.get_or_compute((evaluation.uuid, name, digest), load_or_compute)


def clear_memory() -> None:
    """Empty the cache of this process; the files stay. For tests and benchmarks."""
    _memory.clear()


def _load(path: Path, digest: str) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
        values: dict[str, Any] = document["found"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return values if document.get("format") == FORMAT and document.get("digest") == digest else None
