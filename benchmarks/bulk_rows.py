"""Writing the rows of a cohort, a queue and a split of many films: arrays in one statement against bulk_create.

    python benchmarks/bulk_rows.py [--films 5000 100000] [--repeats 5] [--sqlite]

Each way writes the same rows in a transaction of its own, the commit included; the ways take turns. Seconds are
those of the fastest of the repeats, since other work on the machine only adds; in brackets the ratio to the first way.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

from tabulate import tabulate

from benchmarks.database import throw_away_portal

BATCHES = (500, 1_000, 5_000, None)
CHUNK = 5_000

Rows = tuple[Any, Sequence[str], list[tuple[Any, ...]]]  # model, columns, values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, nargs="+", default=[5_000, 100_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sqlite", action="store_true", help="on SQLite, which has no arrays: batches alone")
    given = parser.parse_args()
    with throw_away_portal(sqlite=given.sqlite):
        from django.db import connection

        ways = {f"bulk_create, {size or 'one batch'}": in_batches(size) for size in BATCHES}
        if connection.vendor == "postgresql":
            from portal.sets.bulk_insert import insert

            ways = {"arrays": insert, **ways}
        films = populate(max(given.films))
        table = [
            [f"{count:,}", kind.__name__.replace("_", " "), *measured(kind, films[:count], ways, given.repeats)]
            for count in given.films
            for kind in (a_cohort, a_queue, a_split)
        ]
        print(f"{connection.display_name}, the fastest of {given.repeats}, in seconds\n")
    print(tabulate(table, ["films", "rows of", *ways], tablefmt="github", disable_numparse=True))


def in_batches(size: int | None) -> Callable[..., None]:
    def write(model: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        made = [model(**dict(zip(columns, row, strict=True))) for row in rows]
        model._default_manager.bulk_create(made, batch_size=size)

    return write


def measured(
    kind: Callable[[Sequence[Any]], Rows], films: Sequence[Any], ways: dict[str, Callable[..., None]], repeats: int
) -> list[str]:
    from django.db import transaction

    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, write in ways.items():
            rows = kind(films)
            began = time.perf_counter()
            with transaction.atomic():
                write(*rows)
            seconds[name].append(time.perf_counter() - began)
    fastest = [min(taken) for taken in seconds.values()]
    return [f"{taken:.3f} ({taken / fastest[0]:.2f})" for taken in fastest]


def a_cohort(films: Sequence[Any]) -> Rows:
    from portal.models import Cohort, CohortImage, Site

    version = Cohort.objects.count() + 1
    cohort = Cohort.objects.create(site=Site.objects.get(), name="c", version=version, films=len(films))
    rows = [(cohort.pk, film.pk, ("normal", "abnormal", "")[film.pk % 3]) for film in films]
    return CohortImage, ("cohort_id", "image_id", "label"), rows


def a_queue(films: Sequence[Any]) -> Rows:
    from portal.models import QueueImage, ScreeningQueue, Site

    order = ScreeningQueue.Order.UNLABELLED
    queue = ScreeningQueue.objects.create(site=Site.objects.get(), name="q", order=order, films=len(films))
    box = {"x": 812.5, "y": 400.0, "width": 96.0, "height": 128.0}
    rows = [(queue.pk, film.pk, place, [box] if place % 2 else []) for place, film in enumerate(films, start=1)]
    return QueueImage, ("queue_id", "image_id", "position", "outline"), rows


def a_split(films: Sequence[Any]) -> Rows:
    from django.utils import timezone

    from portal.models import Site, Split, SplitImage, SplitMember

    made = {"origin": "drawn", "seed": 0, "label_cutoff": timezone.now(), "frozen_at": timezone.now()}
    split = Split.objects.create(site=Site.objects.get(), name=f"s{Split.objects.count()}", **made)
    patients = sorted({film.patient_id for film in films})
    members = SplitMember.objects.bulk_create(
        [SplitMember(split=split, patient_id=patient, part="fit") for patient in patients], batch_size=CHUNK
    )
    member_of = {member.patient_id: member.pk for member in members}
    columns = ("member_id", "image_id", "split_id", "pixel_sha256")
    return SplitImage, columns, [(member_of[film.patient_id], film.pk, split.pk, film.pixel_sha256) for film in films]


def populate(count: int) -> list[Any]:
    """Films, two a patient."""
    from portal.models import Dataset, Image, Patient, Site

    site = Site.objects.create(name="Bench Hospital")
    dataset = Dataset.objects.create(site=site, name="Generated films")
    patients = Patient.objects.bulk_create(
        [Patient(site=site, pseudonym=f"{k:064x}") for k in range(count // 2)], batch_size=CHUNK
    )
    same = {"dataset": dataset, "rows": 1, "columns": 1, "facts": {}}
    return Image.objects.bulk_create(
        [
            Image(patient=patients[k // 2], source_sha256=f"{k:064x}", pixel_sha256=f"{k:064x}", **same)
            for k in range(count)
        ],
        batch_size=CHUNK,
    )


if __name__ == "__main__":
    main()
