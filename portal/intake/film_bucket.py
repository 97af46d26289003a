"""The films of the bucket that HILUM_FILM_BUCKET names: their pixels.

An object has the name that the file has in the data folder, which comes from the hash of the pixels. The bucket has an
object before the film has its row. The file is a copy from then on: it is fetched where it is missing, and is checked
against the hash.
"""

from collections.abc import Mapping
from pathlib import Path

from django.conf import settings

from portal.imaging.errors import UnusableFile
from portal.imaging.film import pixel_sha256, unpack
from portal.intake import bucket_objects
from portal.intake.bucket_objects import BucketAway, Stored, is_used
from portal.models import Image

__all__ = ["BucketAway", "Stored", "is_used"]
FOLDER = "pixels"
ENDING = ".u16.gz"
AWAY = (
    "Waiting for the bucket in which films are kept, which does not answer. What was sent is kept; the import begins, "
    "or goes on, within minutes once it answers"
)


class WrongPixels(BucketAway):
    """The bucket has other bytes under the name than those of the film. A sentence."""


def object_name(sha256: str) -> str:
    return f"{FOLDER}/{sha256[:2]}/{sha256}{ENDING}"


def keep(sha256: str, path: Path) -> None:
    """Put the file into the bucket, unless it is there. Where machines share no data folder, and so no lock, an object
    that is there is put again: the collector leaves what is young. Raises BucketAway."""
    if settings.RUNS_IN_BUCKET or not bucket_objects.exists(object_name(sha256)):
        bucket_objects.put(object_name(sha256), path)


def fetched(sha256: str) -> bytes | None:
    """The object of a film, packed as in its file, checked; None where there is none. Raises BucketAway, and
    WrongPixels."""
    film = Image.objects.filter(pixel_sha256=sha256).only("rows", "columns").first()
    if film is None or not bucket_objects.exists(object_name(sha256)):
        return None
    with bucket_objects.answering(), bucket_objects.storage().open(object_name(sha256)) as source:
        packed: bytes = source.read()
    try:
        is_ours = pixel_sha256(unpack(packed, film.rows, film.columns)) == sha256
    except UnusableFile:
        is_ours = False
    if not is_ours:
        raise WrongPixels(
            f"The bucket has other bytes than those of the film under {object_name(sha256)}: restore that object from "
            "a backup."
        )
    return packed


def remove(sha256: str) -> bool:
    """Returns whether there was an object. Raises BucketAway."""
    return bucket_objects.remove(object_name(sha256))


def objects() -> Mapping[str, Stored]:
    """All films of the bucket, by hash. Raises BucketAway."""
    return {
        Path(name).name.removesuffix(ENDING): stored
        for name, stored in bucket_objects.listed(FOLDER)
        if name.endswith(ENDING)
    }
