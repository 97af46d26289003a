"""A site with a fitted detector and a pool that was read in part, as rows and files, for semi-supervised heads."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import numpy as np
from django.utils import timezone

from ml_engine.models import DetectorModel, HeadModel, ReadSource, Run, RunKind, RunState, Score
from ml_engine.runs import requests, supervisor
from ml_engine.runs.confirmed_reads import ConfirmedRead, GatheredReads
from ml_engine.runs.requests import RunRequest
from portal.models import Image, Patient, Site, Split, SplitImage, SplitMember
from tests.ml_engine import confirmed, made

FIT, CALIBRATE, TUNE, POOL, READ = 56, 16, 8, 36, 14  # TUNE of each label; POOL unread films, READ abnormal ones


@dataclass(frozen=True)
class Headed:
    """`scored` has rows without an engine: all films of tune, calibrate, test and the pool. The last `READ` films of
    `pool` are abnormal; no film of the pool has a label or a part."""

    site: Site
    split: Split
    scored: Run
    pool: list[Image]
    parts: dict[str, list[Image]]

    @property
    def detector(self) -> DetectorModel:
        assert self.scored.detector is not None
        return self.scored.detector

    def reads(self, *, abnormal: int = READ, left_out: dict[str, int] | None = None) -> GatheredReads:
        """So many films of the pool read as abnormal, every fifth with the model at hand, and two read as normal."""
        rows = [
            ConfirmedRead(
                image=image.pk,
                verdict="abnormal",
                source=ReadSource.ASSISTED if k % 5 == 0 else ReadSource.BLINDED,
                weight=1.0 + k % 3,
                model_shown=k % 5 == 0,
            )
            for k, image in enumerate(self.pool[POOL : POOL + abnormal])
        ]
        rows += [ConfirmedRead(image.pk, "normal", ReadSource.BLINDED, 5.0, False) for image in self.pool[:2]]
        return GatheredReads(tuple(rows), left_out or {})


def world(*, exposure: float = 1.0, with_engine: bool = True) -> Headed:
    """`exposure` is an exponent of the gray values of the pool. Without the engine the detector has no file."""
    site = made.site()
    dataset = made.dataset(site)
    numbers = iter(range(1000))

    def films(count: int, label: str, *, abnormal: bool = False, exposure: float = 1.0) -> list[Image]:
        rows = []
        for _ in range(count):
            number = next(numbers)
            pixels = confirmed.film(number, abnormal=abnormal, exposure=exposure).astype(np.uint16) * 12
            film = made.store_film(dataset, pixels, number=number, label=label)
            # folds are drawn from these names, and the control would pass or not by chance
            Patient.objects.filter(pk=film.patient_id).update(uuid=UUID(int=10**6 + number))
            rows.append(film)
        return rows

    parts = {
        "fit": films(FIT, "normal"),
        "calibrate": films(CALIBRATE, "normal"),
        "tune": films(TUNE, "normal") + films(TUNE, "abnormal", abnormal=True),
        "test": films(2, "normal") + films(2, "abnormal", abnormal=True),
    }
    split = made.split(site, parts)
    if exposure != 1.0:
        dataset = made.dataset(site, "Elsewhere")
    pool = films(POOL, "", exposure=exposure) + films(READ, "", abnormal=True, exposure=exposure)
    if with_engine:
        config = made.small_config(folds="3")
        run = requests.request_detector(RunRequest(site=site, name="Detector"), split=split, config=config)
        supervisor.execute(run.uuid)
        run.refresh_from_db()
        assert (run.state, run.message, run.detail) == (RunState.DONE, "", "")
        detector = run.detector_made
    else:
        detector = made.detector_model(split)
    scored = made.run(split, kind=RunKind.SCORE, state=RunState.DONE, name="Scores", detector=detector)
    scored.datasets.add(dataset)
    for row, image in enumerate([*parts["calibrate"], *parts["tune"], *parts["test"], *pool]):
        Score.objects.create(run=scored, image=image, row=row, fused_score=float(row))
    return Headed(site, split, scored, pool, parts)


def head_model(of: Headed) -> HeadModel:
    """A head as a row, without a file."""
    run = made.run(
        of.split, kind=RunKind.FIT_HEAD, state=RunState.DONE, name="A head", detector=of.detector, scored=of.scored
    )
    return HeadModel.objects.create(
        site=of.site, run=run, split=of.split, detector=of.detector, sha256="e" * 64, summary={}, random_weights=True
    )


def second_split(of: Headed, part: str, images: list[Image]) -> Split:
    """Another frozen split with these films in a part."""
    now = timezone.now()
    split = Split.objects.create(
        site=of.site, name="Second", origin="drawn", seed=0, label_cutoff=now, frozen_at=now, counts={"parts": {}}
    )
    for image in images:
        member = SplitMember.objects.create(split=split, patient=image.patient, part=part)
        SplitImage.under(member, image).save()
    return split
