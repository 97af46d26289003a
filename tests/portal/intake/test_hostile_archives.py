"""Hostile zips made by code: each brings its film with the right pixels, or fails with a sentence."""

from __future__ import annotations

import re
import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from portal import tasks
from portal.imaging.film import unpack
from portal.intake import film_files
from portal.intake.zip_uploads import InvalidUpload, receive_zip
from portal.models import Dataset, Image, QuarantinedFile, Upload
from tests.portal import factories
from tests.portal.intake.hostile_archives import Archive, archives


def made() -> list[Archive]:
    with tempfile.TemporaryDirectory() as folder:
        return archives(factories.png(Path(folder) / "a.png", seed=1).read_bytes())


ARCHIVES = made()
MEBIBYTES = 300  # by which the process that unpacks may grow; the files themselves are decoded in a child


def sent(of: Dataset, content: bytes) -> Upload | str:
    """The finished import, or the sentence with which the upload is refused."""
    try:
        upload = receive_zip(dataset=of, file=SimpleUploadedFile("a.zip", content), author=factories.curator())
    except InvalidUpload as refused:
        return str(refused)
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    return upload


def test_there_are_enough_of_them() -> None:
    assert len({archive.name for archive in ARCHIVES}) == len(ARCHIVES) >= 60


@pytest.mark.django_db
@pytest.mark.timeout(60)
@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.name)
@pytest.mark.slow
def test_brings_its_film_or_is_refused_with_a_sentence(archive: Archive, published: list[str], data_dir: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = sent(factories.dataset(), archive.content)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MEBIBYTES << 10
    assert not [
        path for path in data_dir.rglob("*") if path.is_file() and "uploads" in path.parts and path.suffix != ".json"
    ]
    if isinstance(outcome, str) or outcome.state == "failed":
        sentence = outcome if isinstance(outcome, str) else outcome.message
        assert "Internal error" not in sentence
        assert archive.refused
        assert re.search(archive.refused, sentence), sentence
        assert not Image.objects.exists()
        return
    assert outcome.state == "done"
    assert archive.films is not None, outcome.message
    assert archive.counts.items() <= outcome.counts.items()
    pixels = [
        unpack(film_files.pixel_path(image.pixel_sha256).read_bytes(), image.rows, image.columns)
        for image in Image.objects.order_by("pk")
    ]
    assert len(pixels) == len(archive.films)
    for stored, seed in zip(pixels, archive.films, strict=True):
        np.testing.assert_array_equal(stored, factories.pixels(seed))
    assert not QuarantinedFile.objects.filter(sentence="").exists()
