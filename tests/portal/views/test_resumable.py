"""The unfinished uploads on the page of their dataset."""

from __future__ import annotations

import io

import pytest
from django.test import Client

from portal.intake import resumable
from portal.models import Dataset, PartialUpload, Role, User
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


def begun(of: Dataset, author: User) -> PartialUpload:
    announced = resumable.Announced(bytes_total=4 * 2**20, fingerprint="1-2-3")
    partial = resumable.begin(dataset=of, author=author, announced=announced)
    resumable.receive(partial, io.BytesIO(b"x" * 2**20), offset=0, length=2**20)
    return partial


def test_the_page_lists_a_persons_own_unfinished_uploads_of_the_dataset(of: Dataset) -> None:
    kim, lee = factories.curator("kim"), factories.curator("lee")
    begun(of, kim)
    begun(factories.dataset("Other"), kim)
    page = one_line(as_(kim).get(f"/datasets/{of.uuid}/"))
    assert page.count("A zip, 4.0 MiB") == 1
    assert "25 % sent; kept until" in page
    assert "A zip, 4.0 MiB" not in one_line(as_(lee).get(f"/datasets/{of.uuid}/"))
    assert "A zip, 4.0 MiB" not in one_line(as_(factories.user("boss", *Role)).get(f"/datasets/{of.uuid}/"))


def test_its_owner_discards_it(curator: Client, of: Dataset) -> None:
    partial = begun(of, User.objects.get(username="curator"))
    address = f"/uploads/{partial.uuid}/discard/"
    assert curator.get(address).status_code == 405
    assert as_(factories.user("boss", *Role)).post(address).status_code == 404
    assert resumable.part_path(partial).exists()
    assert curator.post(address)["Location"] == f"/datasets/{of.uuid}/"
    assert not resumable.part_path(partial).exists()
    assert not PartialUpload.objects.exists()
    assert curator.post(address).status_code == 404
