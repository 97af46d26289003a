"""Looks for films of a site that may be the same film, and keeps them as pairs for a person to judge.

Every film is compared with all that were there before it. A pass may end at any film and go on later; two passes at
once do some work twice and miss nothing, since a film's fingerprint is committed before films are compared with it.
"""

import io
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from celery import current_app
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from kombu.exceptions import OperationalError
from numpy.typing import NDArray
from PIL import Image as PillowImage

from portal.imaging import near_copies
from portal.imaging.near_copies import BITS
from portal.intake import film_files
from portal.models import FilmFingerprint, FilmPair, Image, Site

logger = logging.getLogger(__name__)
LOOK = "portal.tasks.look_for_near_copies_at"
_BATCH = 20  # films between two looks at the clock


@dataclass(frozen=True)
class ComparisonProgress:
    """`left` is the number of films that have not been compared yet."""

    pairs: int  # new
    left: int


def publish_look(site: Site) -> None:
    """Queue a pass. An import does not fail for it: a site that was not looked at is found again (portal.tasks)."""
    try:
        current_app.send_task(LOOK, args=[str(site.uuid)])
    except OperationalError:
        logger.warning("near copies at site %s are looked for later: the broker is not there", site.uuid)


def sites_to_look_at() -> QuerySet[Site]:
    """Sites with films that have not been compared."""
    missing = Image.objects.filter(dataset__site=OuterRef("pk"), fingerprint__isnull=True)
    waiting = FilmFingerprint.objects.filter(image__dataset__site=OuterRef("pk"), compared=False)
    return Site.objects.filter(Exists(missing) | Exists(waiting))


def look_for_near_copies(site: Site, *, seconds: float = float("inf")) -> ComparisonProgress:
    """Compare the site's new films with all others, for about so many seconds."""
    ends = time.monotonic() + seconds
    if not _compute_fingerprints(site, ends):
        return ComparisonProgress(pairs=0, left=_left(site))
    pairs = 0
    films = _pairs_by_film(site)
    while batch := list(islice(films, _BATCH)):
        with transaction.atomic():
            for image_id, similar in batch:
                pairs += len(FilmPair.objects.bulk_create(similar, ignore_conflicts=True))
                FilmFingerprint.objects.filter(image=image_id).update(compared=True)
        if time.monotonic() > ends:
            break
    return ComparisonProgress(pairs=pairs, left=_left(site))


def _left(site: Site) -> int:
    of_site = Image.objects.filter(dataset__site=site)
    return of_site.exclude(fingerprint__compared=True).count()


def _compute_fingerprints(site: Site, ends: float) -> bool:
    """Whether all films have one."""
    earlier = Image.objects.filter(dataset__site=site, pixel_sha256=OuterRef("pixel_sha256"), pk__lt=OuterRef("pk"))
    films = Image.objects.filter(dataset__site=site, fingerprint__isnull=True).order_by("pk")
    while new := films.annotate(is_copy=Exists(earlier))[:_BATCH]:
        rows = [FilmFingerprint(image=image, bits=_bits(image)) for image in new]
        FilmFingerprint.objects.bulk_create(rows, ignore_conflicts=True)
        if time.monotonic() > ends:
            return False
    return True


def _bits(image: Image) -> bytes:
    """The fingerprint; empty for a film that cannot be compared, or need not: an equal one is there already."""
    if image.shows_nothing or image.is_copy:  # type: ignore[attr-defined]
        return b""
    preview = _preview(image)
    return b"" if preview is None else near_copies.fingerprint(preview)


def _preview(image: Image) -> NDArray[np.uint8] | None:
    try:
        with PillowImage.open(io.BytesIO(film_files.preview_bytes(image))) as preview:
            return np.asarray(preview.convert("L"))
    except FileNotFoundError:  # the film's pixels are lost, which its page says
        return None


def _pairs_by_film(site: Site) -> Iterator[tuple[int, list[FilmPair]]]:
    """Each film that has not been compared, with its pairs with earlier ones."""
    prints = FilmFingerprint.objects.filter(image__dataset__site=site).order_by("-compared", "image")
    rows = [(pk, bytes(bits), compared) for pk, bits, compared in prints.values_list("image", "bits", "compared")]
    yield from ((pk, []) for pk, bits, compared in rows if not bits and not compared)
    rows = [row for row in rows if row[1]]
    since = sum(compared for _, _, compared in rows)
    bits = np.frombuffer(b"".join(bits for _, bits, _ in rows), dtype=np.uint8).reshape(-1, BITS // 8)
    for place in range(since, len(rows)):
        near = near_copies.candidates(bits, place)
        yield rows[place][0], _confirmed(site, rows[place][0], [rows[other][0] for other in near])


def _confirmed(site: Site, image_id: int, others: list[int]) -> list[FilmPair]:
    if not others:
        return []
    films = Image.objects.in_bulk([image_id, *others])
    own = _preview(films[image_id])
    pairs = []
    for other in others:
        preview = _preview(films[other])
        if own is None or preview is None or films[other].pixel_sha256 == films[image_id].pixel_sha256:
            continue
        correlation = near_copies.correlation(preview, own)
        if correlation >= near_copies.SAME:
            first, second = sorted((image_id, other))
            pairs.append(FilmPair(site=site, first_id=first, second_id=second, correlation=correlation))
    return pairs
