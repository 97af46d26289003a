"""The files of hand-made canonical images, made by the web server and read by the workers of runs.

They lie in the data folder, or, where the bucket keeps runs, there and nowhere else, so that no copy outlives the
erasure of a patient. Their names come from the SHA-256 of the image.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.models import HandMadeCanonical
from ml_engine.runs import paths, run_bucket
from portal.intake import bucket_objects
from portal.intake.bucket_objects import Stored

FOLDER = "models/canonicals"
VARIANCE = "-variance"


def names_of(canonical: HandMadeCanonical) -> tuple[str, str]:
    """Of the image, and of the variance of the films that were averaged."""
    return canonical.sha256, f"{canonical.sha256}{VARIANCE}"


def sha256_of(name: str) -> str | None:
    """None of a variance, which is only shown."""
    return None if name.endswith(VARIANCE) else name


def object_name(name: str) -> str:
    return f"{FOLDER}/{name}.npy"


def keep(name: str) -> None:
    """Move the file of the data folder into the bucket, where that keeps runs. Raises BucketAway."""
    path = paths.canonical_path(name)
    if run_bucket.is_used() and path.is_file():
        bucket_objects.put(object_name(name), path)
        path.unlink()


def is_there(canonical: HandMadeCanonical) -> bool:
    """Raises BucketAway."""
    if paths.canonical_path(canonical.sha256).is_file():
        return True
    return run_bucket.is_used() and bucket_objects.exists(object_name(canonical.sha256))


def read(name: str) -> NDArray[Any]:
    """Raises FileNotFoundError, BucketAway."""
    path = paths.canonical_path(name)
    if path.is_file() or not run_bucket.is_used():
        return files.read_npy(path)
    content: NDArray[Any] = np.load(BytesIO(_fetched(name)), allow_pickle=False)
    return content


def place(canonical: HandMadeCanonical, target: Path) -> None:
    """Write the image to a file, if it is there. Raises BucketAway."""
    if target.exists() or not run_bucket.is_used() or paths.canonical_path(canonical.sha256).is_file():
        return
    if bucket_objects.exists(object_name(canonical.sha256)):
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(target, _fetched(canonical.sha256))


def _fetched(name: str) -> bytes:
    if not bucket_objects.exists(object_name(name)):
        raise FileNotFoundError(name)
    target = BytesIO()
    bucket_objects.fetch(object_name(name), target, sha256=sha256_of(name))
    return target.getvalue()


def objects() -> Mapping[str, Stored]:
    """Of the bucket, by name. Raises BucketAway."""
    return {Path(name).name.removesuffix(".npy"): stored for name, stored in bucket_objects.listed(FOLDER)}


def delete(canonical: HandMadeCanonical) -> None:
    """Raises BucketAway."""
    for name in names_of(canonical):
        if run_bucket.is_used():
            bucket_objects.remove(object_name(name))
        paths.canonical_path(name).unlink(missing_ok=True)
