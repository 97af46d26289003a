"""Factories of database rows for the tests of runs: a site with users, films, a frozen split, models."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import numpy as np
from django.db import transaction
from django.utils import timezone

from ml_engine.engine.reports import AlignmentReport, DetectorReport
from ml_engine.models import AlignmentModel, DetectorModel, Run, RunKind, RunState
from ml_engine.runs.requests import config_from
from portal.imaging.film import PixelFacts, pack, pixel_sha256
from portal.intake.film_files import write_pixels
from portal.labels.events import append
from portal.models import (
    Dataset,
    Image,
    LabelEvent,
    LabelSource,
    Membership,
    Patient,
    Role,
    Site,
    Split,
    SplitImage,
    SplitMember,
    User,
)
from tests.ml_engine import reports

SMALL = {
    "size": "64",
    "backbone": "resnet18",
    "weights": "random",
    "rate": "0.1",
    "grid": "2",
    "mask": "no",
    "controls": "0",
    "batch": "4",
    "threads": "1",  # two are much slower on a busy machine
    "alignment.size": "64",
    "alignment.batch": "4",
    "alignment.epochs": "2",
    "alignment.rounds": "1",
    "alignment.perceptual": "0",
    "alignment.search_steps": "2",
    "alignment.guard_valid_area": "0",
}


def small_config(**changes: str) -> Any:
    return config_from("default", SMALL | changes)


def site(name: str = "Seoul") -> Site:
    return Site.objects.create(name=name)


def person(name: str, *, at: Site | None = None, role: Role | None = None) -> User:
    user = User(username=name)
    user.set_unusable_password()  # hashing a password takes longer than most tests
    user.save()
    if at is not None and role is not None:
        Membership.objects.create(user=user, site=at, role=role)
    return user


def film(dataset: Dataset, *, number: int, label: str = "normal", size: int = 80) -> Image:
    """A film of a new patient: a bright blob on a slope, with its pixels on disk."""
    generator = np.random.default_rng(number)
    y, x = np.mgrid[0:size, 0:size] / size
    cx, cy = 0.5 + 0.05 * generator.standard_normal(2)
    values = 900 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.05) + 400 * y + 20 * generator.random((size, size))
    return store_film(dataset, (values + 200).astype(np.uint16), number=number, label=label)


def store_film(dataset: Dataset, stored: np.ndarray, *, number: int, label: str = "") -> Image:
    """A film of a new patient with these pixels, uint16 of 12 bits, square."""
    size = len(stored)
    facts = PixelFacts(rows=size, columns=size, bits_stored=12, offset=0, photometric="MONOCHROME2")
    sha256 = pixel_sha256(stored)
    write_pixels(sha256, pack(stored))
    patient = Patient.objects.create(site=dataset.site, pseudonym=hashlib.sha256(str(number).encode()).hexdigest())
    image = Image.objects.create(
        dataset=dataset,
        patient=patient,
        source_sha256=sha256,
        pixel_sha256=sha256,
        rows=size,
        columns=size,
        facts=facts.to_json(),
    )
    if label:
        with transaction.atomic():
            append([LabelEvent(image=image, value=label, source=LabelSource.IMPORT)])
    return image


def dataset(at: Site, name: str = "Phantoms") -> Dataset:
    return Dataset.objects.create(site=at, name=name)


def split(at: Site, films: dict[str, list[Image]] | None = None, *, name: str = "First") -> Split:
    """A frozen split with these films by part."""
    now = timezone.now()
    new_split = Split.objects.create(
        site=at,
        name=name,
        origin="drawn",
        seed=0,
        label_cutoff=now,
        frozen_at=now,
        counts={"parts": {part: {"normal": len(of_part)} for part, of_part in (films or {}).items()}},
    )
    for part, of_part in (films or {}).items():
        for image in of_part:
            member = SplitMember.objects.create(split=new_split, patient=image.patient, part=part)
            SplitImage.under(member, image).save()
    return new_split


def small_split(at: Site, *, fit: int = 6) -> Split:
    """A split with films in every part: ``fit`` normal films; two normal and two abnormal films in tune; two normal
    films in calibrate; one of each in test."""
    source = dataset(at)
    numbers = iter(range(100))

    def films(count: int, label: str = "normal") -> list[Image]:
        return [film(source, number=next(numbers), label=label) for _ in range(count)]

    return split(
        at,
        {
            "fit": films(fit),
            "tune": films(2) + films(2, "abnormal"),
            "calibrate": films(2),
            "test": films(1) + films(1, "abnormal"),
        },
    )


def run(of: Split, *, kind: RunKind = RunKind.FIT_ALIGNMENT, state: RunState = RunState.QUEUED, **fields: Any) -> Run:
    fields = {"name": "A run", "config": small_config().to_json(), **fields}
    if state == RunState.RUNNING:
        fields = {
            "lease_owner": "somebody",
            "lease_until": timezone.now() + timedelta(seconds=60),
            "attempt": 1,
            **fields,
        }
    return Run.objects.create(site=of.site, split=of, kind=kind, state=state, **fields)


def alignment_model(of: Split, fit_report: AlignmentReport | None = None, **fields: Any) -> AlignmentModel:
    by = run(of, kind=RunKind.FIT_ALIGNMENT, state=RunState.DONE, name="An alignment")
    values = {"config": small_config().to_json(), "report": (fit_report or reports.alignment_report()).to_json()}
    return AlignmentModel.objects.create(site=of.site, run=by, split=of, sha256="a" * 64, **values | fields)


def detector_model(of: Split, fit_report: DetectorReport | None = None, **fields: Any) -> DetectorModel:
    by = run(of, kind=RunKind.FIT_DETECTOR, state=RunState.DONE, name="A detector", random_weights=True)
    values = {"config": small_config().to_json(), "fusion_weight": 0.6, "random_weights": True}
    values |= {"summary": (fit_report or reports.detector_report()).to_json(), **fields}
    return DetectorModel.objects.create(site=of.site, run=by, split=of, sha256="d" * 64, **values)
