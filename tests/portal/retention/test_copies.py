"""Copies of films are removed only where the bucket has the film."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command

from portal.intake import bucket_objects, film_bucket
from portal.intake.film_files import pixel_path, pixels_here
from portal.models import Image
from portal.retention.collector import collect
from portal.retention.copies import remove_copies
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
Use = Callable[[str], None]


@pytest.fixture
def old(bucket: Use) -> list[Image]:
    """Three films, of whose copies the first is the oldest; none is young."""
    made = factories.films(factories.dataset(), unlabelled=3)
    for number, image in enumerate(made):
        os.utime(pixel_path(image.pixel_sha256), (number, number))
    return made


def here(images: list[Image]) -> list[bool]:
    return [pixel_path(image.pixel_sha256).exists() for image in images]


def test_the_oldest_copies_go_until_the_rest_fits_and_come_back(old: list[Image]) -> None:
    sizes = [pixel_path(image.pixel_sha256).stat().st_size for image in old]
    removed = remove_copies(sizes[1] + sizes[2])
    assert (removed.files, removed.bytes, removed.bytes_left) == (1, sizes[0], sizes[1] + sizes[2])
    assert here(old) == [False, True, True]
    assert pixels_here(old[0].pixel_sha256).stat().st_size == sizes[0]


def test_a_film_that_the_bucket_lacks_and_a_young_copy_stay(old: list[Image]) -> None:
    storages["films"].delete(film_bucket.object_name(old[0].pixel_sha256))
    os.utime(pixel_path(old[2].pixel_sha256))
    assert remove_copies(0).files == 1
    assert here(old) == [True, False, True]


def test_the_command_says_what_went(old: list[Image]) -> None:
    output = StringIO()
    call_command("collect", copies_gib=0, stdout=output)
    assert "Copies: 3 removed (0.0 MiB), 0.0 MiB left. The bucket has them all." in output.getvalue()
    with pytest.raises(CommandError, match="--copies-gib is -1; expected 0 or more GiB"):
        call_command("collect", copies_gib=-1)


def test_without_a_bucket_no_film_is_removed(data_dir: Any) -> None:
    image = factories.film(factories.dataset(), "normal")
    with pytest.raises(CommandError, match="without a bucket the data folder has the only films"):
        call_command("collect", copies_gib=0)
    assert here([image]) == [True]


def test_the_collector_removes_objects_without_a_row_and_no_other(old: list[Image], monkeypatch: Any) -> None:
    [gone, *kept] = old
    Image.objects.filter(pk=gone.pk).delete()
    pixel_path(gone.pixel_sha256).unlink()
    assert [one.young for one in collect(hours=1, removes=True) if one.kind.name == "films in the bucket"] == [1]
    before = film_bucket.objects

    def of_last_year() -> Any:
        return {name: film_bucket.Stored(one.size, one.written.replace(year=2000)) for name, one in before().items()}

    monkeypatch.setattr(film_bucket, "objects", of_last_year)
    [removed] = [one for one in collect(hours=1, removes=True) if one.kind.name == "films in the bucket"]
    assert removed.removed == 0  # somebody has put it there again meanwhile
    monkeypatch.setattr(bucket_objects, "written", lambda name: datetime(2000, 1, 1, tzinfo=UTC))
    [found] = [one for one in collect(hours=1, removes=True) if one.kind.name == "films in the bucket"]
    assert (found.removed, found.named) == (1, 2)
    assert set(before()) == {image.pixel_sha256 for image in kept}
