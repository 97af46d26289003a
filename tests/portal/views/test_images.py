"""A film's page, and the files that the viewer fetches."""

from __future__ import annotations

import gzip
from datetime import date
from typing import Any

import numpy as np
import pytest
from django.test import Client

from portal.imaging.film import pixel_sha256
from portal.intake import film_files
from portal.labels.events import undo
from portal.models import Dataset, Image
from portal.sets.splits import SplitRequest, draw_split
from tests.pages import one_line
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def film(of: Dataset) -> Image:
    return factories.film(of, "normal", person="P")


def text(response: Any) -> str:
    return one_line(response)


def test_the_page_shows_film_label_history_and_facts(curator: Client, of: Dataset) -> None:
    film = factories.film(of, "normal", person="P", warning="Look for names.", header={"manufacturer": "FUJI"})
    factories.event(film, "abnormal", factories.curator("kim"), findings=["nodule"])
    page = text(curator.get(f"/images/{film.uuid}/"))
    for word in ("abnormal", "nodule", "kim", "import", "20 × 24 px, 12 bit", "Look for names.", "FUJI", "PA"):
        assert word in page
    for kind in ("pixels", "facts", "boxes"):
        assert f'data-{kind}-url="/images/{film.uuid}/{kind}"' in page


def test_the_history_names_attributes_and_criteria(curator: Client, film: Image) -> None:
    ann = factories.curator("ann")
    assert "A manager of the site can write the criteria" in text(curator.get(f"/images/{film.uuid}/"))
    factories.criteria("No device.")
    factories.event(film, "normal", ann, attributes=["device", "variant"])
    factories.criteria("A device is normal.")
    page = text(curator.get(f"/images/{film.uuid}/"))
    assert "with device, variant" in page
    assert "(criteria v1)" in page
    assert "(criteria v2)" not in page
    assert "What normal means here (v2)" in page
    assert "<p>A device is normal.</p>" in page
    assert 'value="device" data-attribute="1" checked' in page
    assert 'value="old fracture" data-attribute="4" >' in page


def test_the_page_names_splits_and_other_films_of_the_patient(curator: Client, of: Dataset, film: Image) -> None:
    other = factories.film(of, "normal", person="P")
    author = factories.curator("author")
    split_request = SplitRequest(site=of.site, name="My split", datasets=[of], seed=0, author=author)
    draw_split(split_request, fractions={"fit": 1.0})
    page = text(curator.get(f"/images/{film.uuid}/"))
    assert "<dt>My split</dt><dd>fit</dd>" in page
    assert f'href="/images/{other.uuid}/"' in page


def test_an_undone_label_stays_in_the_history(curator: Client, of: Dataset, film: Image) -> None:
    kim = factories.curator("kim")
    act = factories.label_films(images=[film], value="exclude", author=kim, site=of.site)
    undo(act=act, author=kim, site=of.site)
    page = text(curator.get(f"/images/{film.uuid}/"))
    assert "is-reverted" in page
    assert "undid" in page


def test_neighbours_match_the_filter(curator: Client, of: Dataset) -> None:
    first, _, third, _, last = (
        factories.film(of, label) for label in ("normal", "abnormal", "normal", "abnormal", "normal")
    )
    context = curator.get(f"/images/{third.uuid}/?label=normal").context
    assert (context["previous"], context["next"]) == (first, last)
    context = curator.get(f"/images/{first.uuid}/").context
    assert context["previous"] is None
    assert f'href="/datasets/{of.uuid}/?label=normal' in text(curator.get(f"/images/{third.uuid}/?label=normal"))


@pytest.mark.parametrize("path", ["", "pixels", "facts", "boxes", "preview", "beside"])
def test_the_film_of_another_site_is_a_404(stranger: Client, film: Image, path: str) -> None:
    assert stranger.get(f"/images/{film.uuid}/{path}").status_code == 404


@pytest.mark.parametrize("path", ["", "pixels", "facts", "boxes", "preview", "beside"])
def test_films_are_read_only(curator: Client, reader: Client, film: Image, path: str) -> None:
    assert curator.post(f"/images/{film.uuid}/{path}").status_code == 405
    response = reader.get(f"/images/{film.uuid}/{path}")
    assert response.status_code == 200
    response.close()


def test_a_reader_sees_no_controls(reader: Client, film: Image) -> None:
    assert 'id="labelbar"' not in text(reader.get(f"/images/{film.uuid}/"))


@pytest.mark.parametrize("more", [1, 10])
def test_the_page_takes_a_constant_number_of_queries(
    curator: Client, of: Dataset, more: int, django_assert_num_queries: Any
) -> None:
    film = factories.film(of, "normal", person="P")
    for number in range(more):
        factories.film(of, "normal", person="P")
        author = factories.curator(f"kim{number}")
        factories.event(film, "abnormal", author)
        split_request = SplitRequest(site=of.site, name=f"S{number}", datasets=[of], seed=0, author=author)
        factories.film(of, "normal", person="other")
        draw_split(split_request, fractions={"fit": 1.0})
    with django_assert_num_queries(19):
        curator.get(f"/images/{film.uuid}/")


# files ------------------------------------------------------------------------------------------------------


def test_pixels_are_the_stored_gzip(curator: Client, film: Image) -> None:
    response = curator.get(f"/images/{film.uuid}/pixels")
    assert (response["Content-Encoding"], response["Content-Type"]) == ("gzip", "application/octet-stream")
    stored = np.frombuffer(gzip.decompress(response.getvalue()), "<u2").reshape(film.rows, film.columns)
    assert pixel_sha256(stored) == film.pixel_sha256


def test_nginx_is_told_where_the_pixels_lie(curator: Client, stranger: Client, film: Image, settings: Any) -> None:
    """Whole answers of nginx: tests/shape/test_whole_shape.py."""
    settings.X_ACCEL = True
    response = curator.get(f"/images/{film.uuid}/pixels")
    place = f"/x-accel/pixels/{film.pixel_sha256[:2]}/{film.pixel_sha256}.u16.gz"
    assert (response["X-Accel-Redirect"], response.content) == (place, b"")
    assert (response["ETag"], response["Cache-Control"]) == (f'"{film.pixel_sha256}"', "private, no-cache")
    assert "Content-Encoding" not in response  # of no bytes
    refused = stranger.get(f"/images/{film.uuid}/pixels")
    assert (refused.status_code, "X-Accel-Redirect" in refused) == (404, False)
    film_files.pixel_path(film.pixel_sha256).unlink()
    with pytest.raises(FileNotFoundError):
        curator.get(f"/images/{film.uuid}/pixels")


@pytest.mark.parametrize(("path", "rule"), [
    ("pixels", "private, no-cache"),  # a black-out changes them
    ("preview", "private, max-age=300"),  # a corrected window changes it, too
])  # fmt: skip
def test_files_are_cached_by_the_browser_and_no_shared_cache(
    curator: Client, film: Image, path: str, rule: str
) -> None:
    response = curator.get(f"/images/{film.uuid}/{path}")
    assert response["Cache-Control"] == rule
    same = curator.get(f"/images/{film.uuid}/{path}", headers={"If-None-Match": response["ETag"]})
    assert (same.status_code, same["Cache-Control"], same["ETag"]) == (304, rule, response["ETag"])
    response.close()


def test_facts_describe_how_to_show_the_film(curator: Client, film: Image) -> None:
    facts = curator.get(f"/images/{film.uuid}/facts").json()
    assert facts | {"image": str(film.uuid), "view_position": "PA", "laterality": "", "rows": 24} == facts


def test_facts_have_the_patients_orientation(curator: Client, film: Image) -> None:
    assert curator.get(f"/images/{film.uuid}/facts").json()["patient_orientation"] == ""
    assert curator.get(f"/images/{film.uuid}/facts").json()["preview_url"] == f"/images/{film.uuid}/preview"
    turned = factories.film(film.dataset, header={"patient_orientation": "L\\F"})
    assert curator.get(f"/images/{turned.uuid}/facts").json()["patient_orientation"] == "L\\F"


def test_other_films_of_the_patient_are_in_order_of_acquisition(curator: Client, of: Dataset) -> None:
    study = factories.patient("one", at=of.site).studies.create(pseudonym="s")
    film, lateral = (factories.film(of, person="one", study=study, acquired_day=date(2015, 6, 1)) for _ in range(2))
    prior = factories.film(of, person="one", acquired_day=date(2014, 4, 15))
    factories.film(of, person="two")
    beside = curator.get(f"/images/{film.uuid}/beside").json()
    assert beside["note"] == "Oldest to newest."
    assert [(row["image"], row["when"], row["days"], row["same_study"]) for row in beside["films"]] == [
        (str(prior.uuid), "412 days before", -412, False),
        (str(lateral.uuid), "same date", 0, True),
    ]
    assert curator.get(beside["films"][1]["facts_url"]).json()["image"] == str(lateral.uuid)
    page = text(curator.get(f"/images/{film.uuid}/"))
    assert page.index("412 days before") < page.index("same date")
    assert "2014" not in page


def test_films_beside_tell_nothing_that_a_blinded_reader_may_not_know(reader: Client, of: Dataset) -> None:
    film = factories.film(of, person="one")
    other = factories.film(factories.dataset("Pneumonias"), "abnormal", person="one", original_name="nodule_7.png")
    factories.event(other, "abnormal", factories.curator("kim"), findings=["nodule"], reason="seen on CT")
    answer = reader.get(f"/images/{film.uuid}/beside")
    (row,) = answer.json()["films"]
    assert set(row) == {
        *("image", "view_position", "laterality", "same_study", "days", "when", "facts_url", "pixels_url"),
    }  # fmt: skip
    given = [answer.content.decode(), str(answer.headers)]
    for url in (row["facts_url"], row["pixels_url"]):
        response = reader.get(url)
        given += [str(response.headers), response.getvalue().decode("latin-1")]
    for word in ("abnormal", "nodule", "Pneumonia", "kim", "CT"):
        assert word not in " ".join(given)


def test_boxes_of_reverted_labels_are_not_shown(curator: Client, of: Dataset, film: Image) -> None:
    kim = factories.curator("kim")

    def box(x: int) -> dict[str, Any]:
        return {"x": x, "y": 0, "width": 5, "height": 5, "finding": "nodule"}

    factories.event(film, "abnormal", boxes=[box(1)])
    factories.event(film, "abnormal", kim, boxes=[box(2)])
    factories.event(film, "abnormal", kim, boxes=[box(3)])
    undone = factories.event(film, "abnormal", kim, boxes=[box(4)])
    undo(act=undone.batch, author=kim, site=of.site)
    boxes = curator.get(f"/images/{film.uuid}/boxes").json()["boxes"]
    assert [(shown_box["x"], shown_box["source"]) for shown_box in boxes] == [(1, "import"), (3, "reader")]


@pytest.mark.parametrize("kept", [None, 0, 400])
def test_a_lost_or_cut_preview_is_created_again(curator: Client, film: Image, kept: int | None) -> None:
    before = curator.get(f"/images/{film.uuid}/preview").getvalue()
    film_files.preview_path(film).unlink()
    if kept is not None:  # as a power failure may leave it
        film_files.preview_path(film).write_bytes(before[:kept])
    response = curator.get(f"/images/{film.uuid}/preview")
    assert response["Content-Type"] == "image/jpeg"
    assert response.getvalue() == before == film_files.preview_path(film).read_bytes()
    assert before.startswith(b"\xff\xd8\xff")


def test_the_link_back_leads_to_the_films_place_in_the_grid(curator: Client, of: Dataset) -> None:
    film = factories.films(of, normal=5)[3]
    back = f'/datasets/{of.uuid}/?label=normal&amp;from={film.uuid}#film-{film.uuid}"'
    assert back in text(curator.get(f"/images/{film.uuid}/?label=normal"))
