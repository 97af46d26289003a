"""Waiting times of the pages that a curator works in, with many films, on PostgreSQL and through HTTP.

    python -m benchmarks.web [--films 100000] [--requests 60]        (make bench-web)

Makes rows, label events and previews of generated films in a database of its own (HILUM_TEST_DATABASE_URL names a
server; else PostgreSQL's programs are looked for, as the tests do), starts gunicorn with two workers, and asks one
request after the other as a signed-in curator would. Prints the Markdown of docs/performance.md: median and 95th
percentile in milliseconds, and the number of queries, counted in this process by asking one more of that kind.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from benchmarks.database import throw_away_portal

PASSWORD = "a long enough one"
FINDINGS = ("effusion", "nodule", "consolidation", "pneumothorax", "cardiomegaly", "device", "fracture", "atelectasis")
LIMIT_MS = 400
ORDERS = ("-imported", "patient", "-age", "view", "label", "-finding", "size")
FILMS_A_PAGE = 60
DISTINCT_PREVIEWS = 200
CHUNK = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=60, help="of each kind")
    given = parser.parse_args()
    with throw_away_portal() as folder:
        dataset = populate(given.films, folder)
        with gunicorn() as address:
            report(address, dataset, given.requests, given.films)


# --- the films ----------------------------------------------------------------------------------


def populate(count: int, folder: Path) -> Any:
    """A dataset of ``count`` films of count / 2 patients with three label events each, previews, a frozen split and a
    run that scored them all."""
    from django.utils import timezone

    from portal.labels.events import append
    from portal.models import Dataset, Image, LabelEvent, LabelSource, Membership, Patient, Role, Site, User

    began = time.monotonic()
    site = Site.objects.create(name="Bench Hospital")
    people = []
    for name in ("carla", "conrad"):
        people.append(User.objects.create_user(name, password=PASSWORD))
        for role in Role:
            Membership.objects.create(user=people[-1], site=site, role=role)
    dataset = Dataset.objects.create(site=site, name="Generated films")
    rng = random.Random(0)
    patients = Patient.objects.bulk_create(
        [Patient(site=site, pseudonym=uuid.UUID(int=rng.getrandbits(128)).hex) for _ in range(count // 2)],
        batch_size=CHUNK,
    )
    previews = _previews(folder)
    for start in range(0, count, CHUNK):
        films = Image.objects.bulk_create(
            [
                Image(
                    dataset=dataset,
                    patient=patients[k // 2],
                    source_sha256=f"{k:064x}",
                    pixel_sha256=f"{k:064x}",
                    rows=3000,
                    columns=2500,
                    facts={},
                    view_position=("PA", "AP", "LATERAL", "")[k % 7 % 4],
                    original_name=f"film-{k:06}.dcm",
                )
                for k in range(start, min(start + CHUNK, count))
            ]
        )
        labelled = [film for k, film in enumerate(films) if k % 10]  # every tenth has no label
        for source, author in (
            (LabelSource.IMPORT, None),
            (LabelSource.READER, people[0]),
            (LabelSource.READER, people[1]),
        ):
            events = []
            for film in labelled:
                normal = film.pk % 4 != 0
                odd = source == LabelSource.READER and film.pk % 97 == 0 and author is people[1]
                value = "normal" if normal != odd else "abnormal"
                findings = [FINDINGS[film.pk // 4 % len(FINDINGS)]] if value == "abnormal" else []
                events.append(LabelEvent(image=film, value=value, findings=findings, source=source, author=author))
            append_in_transaction(append, events)
        for film in films:
            path = folder / "previews" / str(film.uuid)[:2] / f"{film.uuid}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(previews[film.pk % len(previews)], path)
        print(f"{start + len(films)} films", end="\r", file=sys.stderr)
    score(dataset)
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    print(f"{count} films in {time.monotonic() - began:.0f} s, {timezone.now():%H:%M}", file=sys.stderr)
    return dataset


def score(dataset: Any) -> None:
    """A frozen split by patient of all films (one part of tune, one of calibrate, eight of test), and a run that scored
    them, which nobody has looked at."""
    from django.utils import timezone

    from ml_engine.models import DetectorModel, Run, RunKind, RunState, Score
    from portal.models import Part, Split, SplitImage, SplitMember
    from portal.sets.bulk_insert import insert
    from tests.ml_engine import reports

    made = {"origin": "drawn", "seed": 0, "label_cutoff": timezone.now(), "frozen_at": timezone.now()}
    split = Split.objects.create(site=dataset.site, name="All films", **made)
    split.datasets.add(dataset)
    films = list(dataset.images.order_by("pk").values_list("pk", "patient_id", "pixel_sha256"))
    patients = sorted({patient for _, patient, _ in films})
    parts = [Part.TUNE, Part.CALIBRATE, *[Part.TEST] * 8]
    insert(SplitMember, ("split_id", "patient_id", "part"), [(split.pk, p, str(parts[p % 10])) for p in patients])
    member_of = dict(SplitMember.objects.filter(split=split).values_list("patient_id", "pk"))
    columns = ("member_id", "image_id", "split_id", "pixel_sha256")
    insert(SplitImage, columns, [(member_of[patient], film, split.pk, pixels) for film, patient, pixels in films])
    common = {"site": dataset.site, "state": RunState.DONE, "split": split}
    fitted = Run.objects.create(name="Fit", kind=RunKind.FIT_DETECTOR, **common)
    detector = DetectorModel.objects.create(
        site=dataset.site,
        split=split,
        run=fitted,
        sha256="0" * 64,
        config={},
        summary=reports.detector_report().to_json(),
        fusion_weight=0.6,
    )
    run = Run.objects.create(name="Scores", kind=RunKind.SCORE, detector=detector, **common)
    rng = random.Random(2)
    for start in range(0, len(films), CHUNK):
        scores = [
            Score(image_id=film, run=run, row=row, global_score=0, region_score=0, fused_score=rng.gauss(3, 1))
            for row, (film, *_) in enumerate(films[start : start + CHUNK], start=start)
        ]
        Score.objects.bulk_create(scores)


def append_in_transaction(append: Callable[[Sequence[Any]], None], events: Sequence[Any]) -> None:
    from django.db import transaction

    with transaction.atomic():
        append(events)


def _previews(folder: Path) -> list[Path]:
    """JPEGs of noise on slopes, at the size of real previews."""
    from PIL import Image as PillowImage

    made = []
    (folder / "drawn").mkdir()
    for k in range(DISTINCT_PREVIEWS):
        rng = np.random.default_rng(k)
        small = rng.integers(0, 256, size=(24, 20), dtype=np.uint8)
        path = folder / "drawn" / f"{k}.jpg"
        PillowImage.fromarray(small).resize((213, 256), PillowImage.Resampling.BICUBIC).save(path, quality=85)
        made.append(path)
    return made


# --- the server and a person in front of it ----------------------------------------------------


class gunicorn:
    """gunicorn with two workers on a free port, for the length of a with block; its address."""

    def __enter__(self) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "portal.wsgi", "--workers", "2", "--bind", f"127.0.0.1:{port}"]
        self.process = subprocess.Popen([*command, "--log-level", "warning"], start_new_session=True)
        address = f"http://127.0.0.1:{port}"
        give_up_at = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/healthz", timeout=5)
                return address
            except OSError:
                if time.monotonic() > give_up_at or self.process.poll() is not None:
                    raise
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(timeout=30)


class Person:
    """A browser without a screen: cookies, the form's token, and the time of each answer."""

    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self.cookies = CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        self.get("/accounts/login/")
        self.post("/accounts/login/", [("login", name), ("password", PASSWORD)])

    def get(self, path: str) -> tuple[float, bytes]:
        return self._ask(urllib.request.Request(self.address + path))

    def post(self, path: str, fields: Sequence[tuple[str, str]]) -> tuple[float, bytes]:
        token = next(cookie.value for cookie in self.cookies if cookie.name == "csrftoken")
        body = urllib.parse.urlencode(fields).encode()
        headers = {"X-CSRFToken": token or "", "Accept": "application/json, text/html", "Referer": self.address}
        return self._ask(urllib.request.Request(self.address + path, body, headers))

    def _ask(self, request: urllib.request.Request) -> tuple[float, bytes]:
        began = time.perf_counter()
        with self.opener.open(request, timeout=60) as answer:
            body = answer.read()
        return (time.perf_counter() - began) * 1000, body


# --- what is asked ------------------------------------------------------------------------------


@dataclass
class Kind:
    """One row of the table: an endless supply of requests of one kind."""

    words: str
    asks: Iterator[tuple[str, list[tuple[str, str]] | None]]
    waits: list[float] = field(default_factory=list)
    size: int = 0
    queries: int | None = None


def kinds(dataset: Any, films: int) -> list[Kind]:
    rng = random.Random(1)
    page = f"/datasets/{dataset.uuid}/"
    queue = f"/queues/{queue_of(dataset).uuid}/"

    def grid() -> Iterator[tuple[str, None]]:
        while True:
            yield page, None

    def deep() -> Iterator[tuple[str, None]]:
        while True:
            yield f"{page}?from={rng.choice(known)}", None

    def sorted_page() -> Iterator[tuple[str, None]]:
        while True:
            yield f"{page}?sort={rng.choice(ORDERS)}&from={rng.choice(known)}", None

    def scored_page() -> Iterator[tuple[str, None]]:
        while True:
            yield f"{page}?sort=least-normal-{scored}&from={rng.choice(known)}", None

    def scored_first() -> Iterator[tuple[str, None]]:
        while True:
            yield f"{page}?sort=least-normal-{scored}", None

    def filtered() -> Iterator[tuple[str, None]]:
        while True:
            label, view = rng.choice(("normal", "abnormal", "unlabelled", "unresolved")), rng.choice(("PA", "AP", ""))
            finding = rng.choice(FINDINGS) if label == "abnormal" else ""
            yield f"{page}?{urllib.parse.urlencode({'label': label, 'view': view, 'finding': finding})}", None

    def queue_page() -> Iterator[tuple[str, None]]:
        while True:
            yield queue, None

    def queue_films() -> Iterator[tuple[str, None]]:
        while True:
            yield f"{queue}films/?from={rng.randrange(1, films)}", None

    def counts() -> Iterator[tuple[str, None]]:
        while True:
            yield f"{page}counts/", None

    def preview() -> Iterator[tuple[str, None]]:
        while True:
            yield f"/images/{rng.choice(known)}/preview", None

    def one() -> Iterator[tuple[str, list[tuple[str, str]]]]:
        while True:
            yield "/labels/", [("image", rng.choice(known)), ("value", rng.choice(("normal", "abnormal")))]

    def bulk() -> Iterator[tuple[str, list[tuple[str, str]]]]:
        while True:
            start = rng.randrange(len(known) - FILMS_A_PAGE)
            yield "/labels/", [("image", film) for film in known[start : start + FILMS_A_PAGE]] + [("value", "normal")]

    from ml_engine.models import Run
    from portal.models import Image

    scored = Run.objects.get(kind="score").uuid
    known = [str(address) for address in Image.objects.order_by("pk").values_list("uuid", flat=True)]
    return [
        Kind("grid, first page", grid()),
        Kind("grid, any page", deep()),
        Kind("grid, filtered", filtered()),
        Kind("grid, any page in any order", sorted_page()),
        Kind("grid, first page by the scores of a run", scored_first()),
        Kind("grid, any page by the scores of a run", scored_page()),
        Kind("counts of the grid, after a label", counts()),
        Kind("queue, its page", queue_page()),
        Kind("queue, the next films", queue_films()),
        Kind("preview", preview()),
        Kind("label one film", one()),
        Kind(f"label {FILMS_A_PAGE} films", bulk()),
    ]


def queue_of(dataset: Any) -> Any:
    """A queue of all films, the unlabelled ones first."""
    from portal.models import User
    from portal.sets.screening_queues import queue_films

    return queue_films(
        site=dataset.site,
        name="Everything",
        images=dataset.images.all(),
        author=User.objects.get(username="carla"),
        source="all films",
        order="unlabelled",
    )


def report(address: str, dataset: Any, requests: int, films: int) -> None:
    person = Person(address, "carla")
    asked = kinds(dataset, films)
    for kind in asked:
        for k in range(requests + 3):
            path, fields = next(kind.asks)
            waited, body = person.get(path) if fields is None else person.post(path, fields)
            if k >= 3:  # the first ones start the workers
                kind.waits.append(waited)
            kind.size = len(body)
        kind.queries = queries_of(*next(kind.asks))
        print(f"{kind.words}: {np.percentile(kind.waits, 95):.0f} ms", file=sys.stderr)
    rows = []
    for kind in asked:
        middle, high = np.percentile(kind.waits, [50, 95])
        said = "yes" if high < LIMIT_MS else "**no**"
        rows.append([kind.words, f"{middle:.0f}", f"{high:.0f}", said, str(kind.queries), f"{kind.size / 1000:.0f}"])
    headings = [f"request ({films:,} films)", "median (ms)", "95th percentile (ms)", f"below {LIMIT_MS} ms"]
    print(tabulate(rows, [*headings, "queries", "kB"], tablefmt="github", disable_numparse=True))


def queries_of(path: str, fields: list[tuple[str, str]] | None) -> int:
    """How many queries an answer takes, asked in this process."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from portal.models import User

    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.get(username="carla"))
    with CaptureQueriesContext(connection) as found:
        if fields is None:
            client.get(path)
        else:
            client.post(path, urllib.parse.urlencode(fields), content_type="application/x-www-form-urlencoded")
    return len(found)


if __name__ == "__main__":
    main()
