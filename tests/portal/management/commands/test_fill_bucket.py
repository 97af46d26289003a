"""Films of before the bucket come into it, and what is nowhere is said."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command

from portal.intake import film_bucket
from portal.intake.film_files import pixel_path
from portal.project.condition import films as films_of_doctor
from tests.portal import factories
from tests.portal.s3_service import CLOSED

pytestmark = [pytest.mark.django_db]
Use = Callable[[str], None]


def test_what_the_bucket_lacks_is_put_there(bucket: Use) -> None:
    first, second, lost = factories.films(factories.dataset(), normal=3)
    for image in (first, lost):
        storages["films"].delete(film_bucket.object_name(image.pixel_sha256))
    assert films_of_doctor().remedy == "Run manage.py fill_bucket, which puts them there."
    pixel_path(lost.pixel_sha256).unlink()
    output = StringIO()
    with pytest.raises(CommandError, match="Films are missing: restore them from a backup"):
        call_command("fill_bucket", stdout=output)
    assert "1 put into the bucket, 1 were there, 1 missing in the data folder too." in output.getvalue()
    assert set(film_bucket.objects()) == {first.pixel_sha256, second.pixel_sha256}
    assert films_of_doctor().fault == f"Films whose pixels are missing: 1, such as {lost.pixel_sha256}."


def test_a_bucket_that_is_away_is_said(bucket: Use) -> None:
    factories.films(factories.dataset(), normal=1)
    bucket(CLOSED)
    with pytest.raises(CommandError, match="The bucket of films does not answer: EndpointConnectionError"):
        call_command("fill_bucket")
    assert films_of_doctor().fault == "The bucket of films does not answer: EndpointConnectionError."


def test_without_a_bucket_there_is_nothing_to_fill(data_dir: Any) -> None:
    with pytest.raises(CommandError, match="HILUM_FILM_BUCKET is not set"):
        call_command("fill_bucket")
