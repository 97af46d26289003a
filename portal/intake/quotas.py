"""How much disk space a site uses, and how much it may use.

Counted are the files that belong to the site's rows: pixels and previews of films, films in quarantine, uploads that
have arrived or are arriving, and what other apps add, such as the folders of runs. Sizes are read from the disk and
kept for some minutes, to which films add as they are stored; before anything is refused, the disk is looked at again.
An upload that is announced counts at once, whatever has arrived of it.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import Sum

from portal.intake import film_bucket, film_files
from portal.intake.import_plans import plan_path
from portal.models import Image, PartialUpload, QuarantinedFile, Site, Upload

SECONDS_KEPT = 300.0
NEARLY = 0.8  # of the quota, from which pages warn
Counter = Callable[[Site], int]
_counters: dict[str, Counter] = {}
_kept: dict[tuple[int, str], tuple[float, int]] = {}


class QuotaReached(Exception):
    """A sentence for the person whose upload, import or run does not fit."""


@dataclass(frozen=True)
class Usage:
    """Bytes of a site by kind. `quota` is None where there is no limit."""

    by_kind: dict[str, int]
    quota: int | None

    @property
    def used(self) -> int:
        return sum(self.by_kind.values())

    @property
    def is_nearly_full(self) -> bool:
        return self.quota is not None and self.used >= NEARLY * self.quota

    @property
    def is_full(self) -> bool:
        return self.quota is not None and self.used >= self.quota

    @property
    def words(self) -> str:
        """ "12.3 GiB of 50 GiB used"."""
        used = f"{self.used / 2**30:.1f} GiB"
        return f"{used} used, no quota" if self.quota is None else f"{used} of {self.quota / 2**30:g} GiB used"

    @property
    def details(self) -> str:
        """ "films 10.1 GiB, runs 2.2 GiB"; kinds of which there is nothing are left out."""
        return ", ".join(f"{kind} {size / 2**30:.1f} GiB" for kind, size in self.by_kind.items() if size)


def count_also(kind: str, counter: Counter) -> None:
    """Let an app that comes after this one add its files to what sites use."""
    _counters[kind] = counter


def quota_of(site: Site) -> int | None:
    gib = settings.SITE_QUOTA_GIB if site.quota_gib is None else site.quota_gib
    return gib * 2**30 if gib else None


def usage_of(site: Site, *, fresh: bool = False) -> Usage:
    """`fresh`: look at the disk now, and not some minutes ago."""
    by_kind = {
        "films": _remembered(site, "films", _films, fresh),
        "quarantine": QuarantinedFile.objects.filter(dataset__site=site).aggregate(all=Sum("bytes_kept"))["all"] or 0,
        "uploads": _uploads(site),
        **{kind: _remembered(site, kind, counter, fresh) for kind, counter in _counters.items()},
    }
    return Usage(by_kind, quota_of(site))


def grow(site: Site, size_bytes: int) -> None:
    """Count a film that was just stored, until the disk is looked at again."""
    if (site.pk, "films") in _kept:
        at, size = _kept[site.pk, "films"]
        _kept[site.pk, "films"] = (at, size + size_bytes)


def film_bytes(film: Image) -> int:
    """Of a film that was just stored: its file is here whether or not a bucket has it too."""
    return _size(film_files.pixel_path(film.pixel_sha256)) + _size(film_files.preview_path(film))


def require_room(site: Site, size_bytes: int, *, what: str) -> None:
    """Raises QuotaReached if this many bytes more are over the quota. `what`: "This upload"."""
    quota = quota_of(site)
    if quota is None or usage_of(site).used + size_bytes <= quota:
        return
    usage = usage_of(site, fresh=True)
    if usage.used + size_bytes > quota:
        needs = f"{what} needs {size_bytes / 2**30:.2g} GiB. " if size_bytes else ""
        raise QuotaReached(
            f"{needs}{site.name} has {usage.words} ({usage.details or 'nothing'}). Delete what is not needed, such as "
            "files in quarantine, or ask your administrator for a larger quota of the site."
        )


def shown_usage(site: Site | None) -> Usage | None:
    """For pages: None without a quota, since nobody has to know."""
    return usage_of(site) if site is not None and quota_of(site) is not None else None


def full_usage(site: Site) -> Usage | None:
    """The usage of a site that is at its quota; None while there is room."""
    if quota_of(site) is None or not usage_of(site).is_full:
        return None
    usage = usage_of(site, fresh=True)
    return usage if usage.is_full else None


def _remembered(site: Site, kind: str, counter: Counter, fresh: bool) -> int:
    at, size = _kept.get((site.pk, kind), (0.0, 0))
    now = time.monotonic()
    if fresh or not at or now - at > SECONDS_KEPT:
        size = counter(site)
        _kept[site.pk, kind] = (now, size)
    return size


def _films(site: Site) -> int:
    """Films of equal pixels share a file. With a bucket, what lies there counts, whether or not a copy is here; while
    it is away, the copies alone, so that pages which show the usage are still shown."""
    films = Image.objects.filter(dataset__site=site)
    hashes = set(films.values_list("pixel_sha256", flat=True).iterator())
    there: Mapping[str, film_bucket.Stored] = {}
    if film_bucket.is_used():
        with suppress(film_bucket.BucketAway):
            there = film_bucket.objects()
    total = sum(there[one].size if one in there else _size(film_files.pixel_path(one)) for one in hashes)
    return total + sum(_size(film_files.preview_path(film)) for film in films.only("uuid").iterator())


def _uploads(site: Site) -> int:
    partial = PartialUpload.objects.filter(dataset__site=site, upload=None)
    # not those that are being imported, whose films count
    waiting = Upload.objects.filter(dataset__site=site, state__in=[Upload.State.RECEIVED, Upload.State.MAPPING])
    paths = [path for upload in waiting for path in (film_files.upload_path(f"{upload.uuid}.zip"), plan_path(upload))]
    return (partial.aggregate(all=Sum("bytes_total"))["all"] or 0) + sum(map(_size, paths))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
