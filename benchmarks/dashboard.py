"""Waiting times of an evaluation's page with many scores, through Django on PostgreSQL.

    python -m benchmarks.dashboard [--films 100000]

Makes a frozen split, a scoring run and its arrays in a database of its own (as benchmarks.web does), evaluates, and
asks for the figures: cold (a process that has not seen the evaluation), warm, and at other weights. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from typing import Any

import numpy as np
from tabulate import tabulate

from benchmarks.database import throw_away_portal

CHUNK = 5000
TEST_SHARE = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=100_000)
    given = parser.parse_args()
    with throw_away_portal():
        report(*populate(given.films), given.films)


def populate(count: int) -> tuple[Any, Any]:
    """A scoring run of ``count`` films, two a patient, a tenth in tune and the rest in test, and its analyst."""
    from django.db import transaction
    from django.utils import timezone

    from ml_engine.engine.scored_folder import ScoredFolder
    from ml_engine.models import DetectorModel, Run, Score
    from ml_engine.runs.paths import run_folder
    from portal.labels.events import append
    from portal.models import (
        Dataset,
        Image,
        LabelEvent,
        Membership,
        Patient,
        Role,
        Site,
        Split,
        SplitImage,
        SplitMember,
        User,
    )
    from tests.ml_engine import reports, scored_folders

    site = Site.objects.create(name="Bench Hospital")
    analyst = User.objects.create_user("anna", password="a long enough one")
    Membership.objects.create(user=analyst, site=site, role=Role.ANALYST)
    dataset = Dataset.objects.create(site=site, name="Generated films")
    patients = Patient.objects.bulk_create(
        [Patient(site=site, pseudonym=f"{k:064x}") for k in range(count // 2)], batch_size=CHUNK
    )
    images = []
    for start in range(0, count, CHUNK):
        images += Image.objects.bulk_create(
            [
                Image(
                    dataset=dataset,
                    patient=patients[k // 2],
                    source_sha256=f"{k:064x}",
                    pixel_sha256=f"{k:064x}",
                    rows=1,
                    columns=1,
                    facts={},
                )
                for k in range(start, min(start + CHUNK, count))
            ]
        )
        with transaction.atomic():
            append(
                [
                    LabelEvent(image=film, value="abnormal" if film.pk % 3 == 0 else "normal", source="import")
                    for film in images[start:]
                ]
            )
        print(f"{len(images)} films", end="\r", file=sys.stderr)
    split = Split.objects.create(
        site=site, name="Bench", origin="drawn", seed=0, label_cutoff=timezone.now(), frozen_at=timezone.now()
    )
    tuned = round((1 - TEST_SHARE) * len(patients))
    members = SplitMember.objects.bulk_create(
        [
            SplitMember(split=split, patient=patient, part="tune" if k < tuned else "test")
            for k, patient in enumerate(patients)
        ],
        batch_size=CHUNK,
    )
    SplitImage.objects.bulk_create(
        [SplitImage.under(members[k // 2], film) for k, film in enumerate(images)], batch_size=CHUNK
    )
    fit = Run.objects.create(site=site, name="Detector", kind="fit_detector", split=split, state="done")
    detector = DetectorModel.objects.create(
        site=site,
        run=fit,
        split=split,
        sha256="0" * 64,
        config={},
        summary=reports.detector_report().to_json(),
        fusion_weight=0.6,
        random_weights=True,
    )
    run = Run.objects.create(
        site=site, name="Scores", kind="score", split=split, detector=detector, state="done", random_weights=True
    )
    folder = run_folder(run.uuid)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    abnormal = np.array([film.pk % 3 == 0 for film in images])
    ends = [rng.normal(size=count) + shift * abnormal for shift in (0.5, 0.9)]
    scored = ScoredFolder(folder)
    scored.write_array("sweep", scored_folders.sweep_between(*ends))
    scored.write_summary(scored_folders.summary(threshold_map=1.0))
    Score.objects.bulk_create(
        [
            Score(run=run, image=film, row=row, global_score=ends[0][row], region_score=ends[1][row], fused_score=0)
            for row, film in enumerate(images)
        ],
        batch_size=CHUNK,
    )
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return run, analyst


def report(run: Any, analyst: Any, films: int) -> None:
    from django.test import Client

    from analysis import statistics
    from analysis.evaluation import scored_parts
    from analysis.evaluation.evaluate import aurocs, clear_memory, evaluate, sweep_of

    began = time.perf_counter()
    made = evaluate(run=run, author=analyst)
    rows = [["make the evaluation", f"{(time.perf_counter() - began) * 1000:.0f}", ""]]
    for part in ("tune", "test"):
        began = time.perf_counter()
        scored_parts.evaluated_part(made, part)
        waited = (time.perf_counter() - began) * 1000
        rows.append([f"first page of {part} after that, its band", f"{waited:.0f}", ""])
    scored_parts.clear_memory()
    clear_memory()
    import_module("portal.wsgi")  # as the web processes do when they start
    client = Client(headers={"host": "localhost"})
    client.force_login(analyst)
    address = f"/results/{made.uuid}/figures"
    for words, asked in (
        ("figures of test, cold", {"part": "test", "weight": "0.6"}),
        ("figures of test, warm", {"part": "test", "weight": "0.6"}),
        ("figures of tune, cold", {"part": "tune", "weight": "0.6"}),
        ("figures of tune, the slider moving", {"part": "tune", "weight": "0.31", "moving": "yes"}),
        ("figures of tune, the slider moving", {"part": "tune", "weight": "0.87", "moving": "yes"}),
        ("figures of tune, where it rests", {"part": "tune", "weight": "0.31"}),
        ("figures of tune, that weight again", {"part": "tune", "weight": "0.31"}),
    ):
        began = time.perf_counter()
        answer = client.get(address, asked)
        waited = (time.perf_counter() - began) * 1000
        rows.append([words, f"{waited:.0f}", f"{len(answer.content) / 1000:.0f}"])
        if answer.status_code != 200:
            sys.exit(f"{asked}: {answer.status_code} {answer.content[:300]!r}")
    scored = scored_parts.evaluated_part(made, "tune")
    sweep = sweep_of(scored)
    began = time.perf_counter()
    aurocs(scored, sweep, weight=0.42)
    for at in (0.0, 0.42, 1.0):
        statistics.roc_curve(scored.labels, scored.scores_at(at))
    waited = (time.perf_counter() - began) * 1000
    what = "tune scored at another weight: AUROCs, intervals, ROC curves, nothing drawn"
    rows.append([what, f"{waited:.0f}", ""])
    print(tabulate(rows, [f"what ({films:,} scores)", "ms", "kB"], tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
