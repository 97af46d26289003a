"""The page of corrected exports: old beside new, chosen and all, taken and dismissed, and who may."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from portal.models import Dataset, HeaderDifference, Image, Part, Split, SplitImage, SplitMember, Upload, User
from tests.pages import one_line
from tests.portal import factories
from tests.portal.corrected import come_again, run
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def address(of: Dataset) -> str:
    return f"/datasets/{of.uuid}/corrections/"


def decide_all(client: Client, address: str, act: str, **more: str) -> str:
    """The page after the button for all that it shows was pressed."""
    newest = re.search(r'name="newest" value="(\d+)"', client.get(address).content.decode())
    sent = {"act": act, "newest": newest[1] if newest else "0", **more}
    return one_line(client.post(f"{address}decide/", sent, follow=True))


def states() -> dict[str, int]:
    states = list(HeaderDifference.objects.values_list("state", flat=True))
    return {state: states.count(state) for state in set(states)}


def test_the_page_shows_counts_and_old_beside_new(of: Dataset, curator: Client, address: str, tmp_path: Path) -> None:
    come_again(of, tmp_path, films=2, ViewPosition="AP", PatientID="Quagga")
    page = one_line(curator.get(address))
    assert "2 films came again with another header" in page
    assert 'View <span class="tabular">2</span>' in page
    assert '<td class="tabular">PA</td>' in page
    old = of.images.first().patient.pseudonym[:8]
    assert f'<td class="tabular">{old}</td>' in page
    assert "Quagga" not in page
    only = one_line(curator.get(f"{address}?fact=view"))
    assert "showing view" in only
    assert old not in only
    grid = one_line(curator.get(f"/datasets/{of.uuid}/"))
    assert "2 with another header" in grid
    assert "Show what differs" in grid


def test_the_chosen_rows_are_taken_and_the_rest_dismissed(
    of: Dataset, curator: Client, address: str, tmp_path: Path
) -> None:
    rows = come_again(of, tmp_path, films=2, ViewPosition="AP", PixelSpacing=[0.2, 0.2])
    first = of.images.earliest("pk")
    chosen = [str(row.uuid) for row in rows.filter(image=first)]
    page = one_line(curator.post(f"{address}decide/", {"act": "take", "difference": chosen}, follow=True))
    assert "New facts of 1 film taken: spacing 1, view 1." in page
    page = decide_all(curator, address, "dismiss-all", fact="view")
    assert "New facts of 1 film dismissed: view 1." in page
    assert states() == {"taken": 2, "dismissed": 1, "pending": 1}
    page = decide_all(curator, address, "take-all")
    assert "Nothing waits for a decision. When a film" in page
    assert set(of.images.values_list("view_position", flat=True)) == {"AP", "PA"}
    assert "2 with another header" not in one_line(curator.get(f"/datasets/{of.uuid}/"))


@pytest.mark.parametrize(("sent", "sentence"), [
    ({"act": "take"}, "Nothing is chosen; choose the rows to take"),
    ({"act": "dismiss"}, "Nothing is chosen; choose the rows to dismiss"),
    ({"act": "take", "difference": "x"}, "The identifier of a row is invalid; reload the page."),
    ({"act": "maybe"}, "It is not said what to do; press one of the buttons."),
    ({}, "It is not said what to do"),
    ({"act": "take-all"}, "It is not said which rows the page showed; reload the page."),
    ({"act": "dismiss-all", "newest": "-1"}, "It is not said which rows the page showed"),
])  # fmt: skip
def test_a_bad_request_decides_nothing(
    of: Dataset, curator: Client, address: str, tmp_path: Path, sent: dict[str, str], sentence: str
) -> None:
    come_again(of, tmp_path, ViewPosition="AP")
    assert sentence in one_line(curator.post(f"{address}decide/", sent, follow=True))
    assert states() == {"pending": 1}


def test_rows_of_another_dataset_are_not_decided(of: Dataset, curator: Client, address: str, tmp_path: Path) -> None:
    (row,) = come_again(factories.dataset("Other"), tmp_path, ViewPosition="AP")
    curator.post(f"{address}decide/", {"act": "take", "difference": str(row.uuid)})
    curator.post(f"{address}decide/", {"act": "take-all", "newest": str(row.pk)})
    assert states() == {"pending": 1}


def test_what_came_after_the_page_was_opened_is_not_taken_with_the_rest(
    of: Dataset, curator: Client, address: str, tmp_path: Path
) -> None:
    (seen,) = come_again(of, tmp_path / "one", ViewPosition="AP")
    come_again(of, tmp_path / "two", films=2, ViewPosition="AP")
    curator.post(f"{address}decide/", {"act": "take-all", "newest": str(seen.pk)})
    assert states() == {"taken": 1, "pending": 1}
    seen.refresh_from_db()
    assert seen.state == "taken"


def test_a_split_with_one_person_in_two_parts_is_named_and_says_so_afterwards(
    of: Dataset, curator: Client, address: str, tmp_path: Path
) -> None:
    come_again(of, tmp_path, PatientID="P-90")
    film = of.images.get()
    factories.dicom(tmp_path / "third" / "other.dcm", seed=90)
    run(of, tmp_path / "third")
    split = Split.objects.create(
        site=of.site, name="Old", origin="drawn", seed=0, label_cutoff=of.created_at, frozen_at=of.created_at,
        counts={"parts": {}},
    )  # fmt: skip
    for image, part in ((film, Part.FIT), (of.images.latest("pk"), Part.TEST)):
        member = SplitMember.objects.create(split=split, patient=image.patient, part=part)
        SplitImage.under(member, image).save()
    page = one_line(curator.get(address))
    assert "This patient is in another part of the frozen split Old." in page
    assert "which waits for a decision" in one_line(curator.get(f"/splits/{split.uuid}/"))
    page = decide_all(curator, address, "take-all")
    assert "1 new fact still waits: a frozen split would have one person in two parts." in page
    decide_all(curator, address, "take-all", despite_splits="on")
    page = one_line(curator.get(f"/splits/{split.uuid}/"))
    assert "1 film of this split has another patient since" in page
    assert "1 of them is of a patient who is in another part too" in page
    (listed,) = curator.get("/api/v1/splits/").json()["results"]
    assert (listed["moved"], listed["in_two_parts"], listed["waiting"]) == (1, 1, 0)


def test_a_reader_looks_and_decides_nothing(
    of: Dataset, reader: Client, stranger: Client, address: str, tmp_path: Path
) -> None:
    come_again(of, tmp_path, ViewPosition="AP")
    page = one_line(reader.get(address))
    assert "1 film came again" in page
    assert "Take the chosen" not in page
    assert reader.post(f"{address}decide/", {"act": "take-all"}).status_code == 403
    assert stranger.get(address).status_code == stranger.post(f"{address}decide/").status_code == 404
    assert reader.post(address).status_code == reader.get(f"{address}decide/").status_code == 405
    assert states() == {"pending": 1}


def test_an_empty_page_says_what_appears_there(curator: Client, address: str) -> None:
    assert "Nothing waits for a decision" in one_line(curator.get(address))


def test_the_number_of_queries_does_not_grow_with_the_films(
    of: Dataset, curator: Client, address: str, tmp_path: Path, django_assert_max_num_queries: Any
) -> None:
    come_again(of, tmp_path, films=12, ViewPosition="AP", PixelSpacing=[0.2, 0.2])
    with django_assert_max_num_queries(20):
        curator.get(address)


def test_neither_labels_nor_names_of_files_are_on_the_page(of: Dataset, address: str) -> None:
    film = factories.film(of, "abnormal", original_name="zebra.png")
    upload = Upload.objects.create(dataset=of)
    HeaderDifference.objects.create(image=film, upload=upload, fact="view", old="PA", new="AP")
    page = one_line(as_(User.objects.get(username=factories.curator("ann").username)).get(address))
    assert Image.objects.get().neutral_name in page
    assert "zebra" not in page
    assert "abnormal" not in page
