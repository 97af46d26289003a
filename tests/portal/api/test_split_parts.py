"""The parts of a split as CSV by page and API: the same file, for members of the site alone."""

from __future__ import annotations

import pytest
from django.test import Client

from portal.models import Dataset, Role
from portal.people.blinding import open_for
from portal.sets.parts_csv import parts_csv
from portal.sets.splits import SplitRequest, draw_split
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def of(data_dir: object) -> Dataset:
    return factories.dataset()


def test_page_and_api_send_the_same_file(of: Dataset, client: Client) -> None:
    films = factories.films(of, normal=6, abnormal=2)
    request = SplitRequest(site=of.site, name="=S", datasets=[of], seed=0, author=factories.curator())
    split = draw_split(request, fractions={"fit": 0.5, "test": 0.5})
    addresses = (f"/splits/{split.uuid}/parts.csv", f"/api/v1/splits/{split.uuid}/parts/")
    reader = factories.user("reader", Role.READER)
    client.force_login(reader)
    page = client.get(f"/splits/{split.uuid}/").content.decode()
    assert f'href="{addresses[0]}"' in page
    assert "films are named as in\n      the archive of a run" in page
    for address in addresses:
        response = client.get(address, headers={"Accept": "text/csv"})
        assert (response.status_code, response.content.decode()) == (200, parts_csv(split))
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert response["Content-Disposition"] == f'attachment; filename="hilum-parts-{split.uuid}.csv"'

    open_for(person=reader, images=films[:1], source=split.uuid, words="the worklist", days=28)
    for address in addresses:
        refused = client.get(address)
        assert refused.status_code == 403
        assert "The CSV of the parts holds a film that you have yet to read blinded" in refused.content.decode()

    client.force_login(factories.user("stranger", Role.CURATOR, at=factories.site("Busan")))
    assert [client.get(address).status_code for address in addresses] == [404, 404]
