"""The list of datasets, a dataset as a grid, and its uploads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from portal.models import AuditEvent, Dataset, QuarantinedFile, Role, ScreeningQueue, Upload
from portal.sets.splits import SplitRequest, draw_split
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


def text(response: Any) -> str:
    return one_line(response)


# the list ---------------------------------------------------------------------------------------------------


def test_the_list_counts_films_by_label(curator: Client, of: Dataset) -> None:
    factories.films(of, normal=3, abnormal=2, unlabelled=4, unsure=1)
    response = curator.get("/datasets/")
    (row,) = response.context["datasets"]
    assert row.counts == {"all": 10, "normal": 3, "abnormal": 2, "unsure": 1, "unlabelled": 4}
    assert f'href="/datasets/{of.uuid}/"' in text(response)


def test_the_list_is_in_the_order_of_names(curator: Client, of: Dataset) -> None:
    for name in ("Zebra", "Alpha"):
        factories.dataset(name)
    assert [row.name for row in curator.get("/datasets/").context["datasets"]] == ["Alpha", "Normals", "Zebra"]


def test_the_list_holds_no_dataset_of_another_site(stranger: Client, of: Dataset) -> None:
    response = stranger.get("/datasets/")
    assert "No dataset yet at Busan" in text(response)
    assert of.name not in text(response)


def test_a_member_of_no_site_sees_what_to_do() -> None:
    client = as_(factories.user("new"))
    assert "You are not a member of any site yet, and there is none: an administrator makes the first" in text(
        client.get("/datasets/")
    )
    factories.site()
    assert "You are not a member of any site yet" in text(client.get("/datasets/"))


@pytest.mark.parametrize("superuser", [False, True])
def test_without_a_site_nothing_is_created(superuser: bool) -> None:
    client = as_(factories.user("new", is_superuser=superuser))
    response = client.post("/datasets/new/", {"name": "D"})
    assert response.status_code == 403
    assert ("you administer this installation" if superuser else "there is none: an administrator") in text(response)


@pytest.mark.parametrize("of_each", [1, 3])
def test_the_list_takes_a_constant_number_of_queries(
    curator: Client, of: Dataset, of_each: int, django_assert_num_queries: Any
) -> None:
    for number in range(of_each):
        factories.films(factories.dataset(f"D{number}"), normal=of_each, abnormal=of_each)
    with django_assert_num_queries(9):
        curator.get("/datasets/")


def test_home_leads_to_the_datasets(curator: Client) -> None:
    assert curator.get("/")["Location"] == "/datasets/"


# a new one --------------------------------------------------------------------------------------------------


def test_a_curator_creates_a_dataset(curator: Client) -> None:
    response = curator.post("/datasets/new/", {"name": "New", "source": "PACS", "licence": "", "purpose": ""})
    dataset = Dataset.objects.get(name="New")
    assert response["Location"] == f"/datasets/{dataset.uuid}/"
    assert (dataset.site.name, dataset.source, str(dataset.created_by)) == ("Seoul", "PACS", "curator")
    assert AuditEvent.objects.get(verb="make dataset").target_uuid == dataset.uuid


def test_a_reader_may_not_create_a_dataset(reader: Client) -> None:
    response = reader.post("/datasets/new/", {"name": "New"})
    assert response.status_code == 403
    assert "To import films at Seoul you need one of these roles: curator, manager." in text(response)
    assert 'name="name"' not in text(reader.get("/datasets/"))


def test_a_name_twice_is_refused_and_the_list_stays(curator: Client, of: Dataset) -> None:
    response = curator.post("/datasets/new/", {"name": of.name, "source": "typed in"})
    assert response.status_code == 400
    assert "A dataset named &#x27;Normals&#x27; already exists at Seoul; choose another name." in text(response)
    assert f'href="/datasets/{of.uuid}/"' in text(response)
    assert 'value="typed in"' in text(response)


def test_a_dataset_needs_a_name(curator: Client) -> None:
    assert curator.post("/datasets/new/", {"name": " "}).status_code == 400
    assert curator.get("/datasets/new/").status_code == 405


# the grid ---------------------------------------------------------------------------------------------------


def films_on(response: Any) -> list[str]:
    return [str(film.uuid) for film in response.context["films"]]


def test_the_grid_shows_previews_labels_and_counts(curator: Client, of: Dataset) -> None:
    films = factories.films(of, normal=2, abnormal=1)
    response = curator.get(f"/datasets/{of.uuid}/")
    assert films_on(response) == [str(film.uuid) for film in films]
    for film in films:
        assert f'src="/images/{film.uuid}/preview"' in text(response)
    assert response.context["counts"] | {"all": 3, "normal": 2, "abnormal": 1} == response.context["counts"]


def test_an_empty_dataset_shows_what_to_do(curator: Client, reader: Client, of: Dataset) -> None:
    assert "No films yet. Upload a zip above" in text(curator.get(f"/datasets/{of.uuid}/"))
    seen_by_reader = text(reader.get(f"/datasets/{of.uuid}/"))
    assert "No films yet." in seen_by_reader
    assert "Upload a zip" not in seen_by_reader


def test_the_grid_of_another_site_is_a_404(stranger: Client, of: Dataset) -> None:
    response = stranger.get(f"/datasets/{of.uuid}/")
    assert response.status_code == 404
    assert "it belongs to a site of which you are not a member" in text(response)


def test_controls_are_shown_only_to_those_who_may_use_them(reader: Client, curator: Client, of: Dataset) -> None:
    factories.films(of, normal=1)
    for_reader, for_curator = (text(client.get(f"/datasets/{of.uuid}/")) for client in (reader, curator))
    for control in ('id="labelbar"', 'id="tag-films"', 'type="file"', f"/splits/new/?dataset={of.uuid}"):
        assert control not in for_reader
        assert control in for_curator


def test_a_split_filter_and_its_parts(curator: Client, of: Dataset) -> None:
    films = factories.films(of, normal=4, unlabelled=1)
    author = factories.curator("author")
    split = draw_split(
        SplitRequest(site=of.site, name="S", datasets=[of], seed=0, author=author), fractions={"fit": 0.5, "test": 0.5}
    )
    address = f"/datasets/{of.uuid}/?split={split.uuid}"
    fit, test = (set(films_on(curator.get(f"{address}&part={part}"))) for part in ("fit", "test"))
    assert len(fit) == len(test) == 2
    assert not fit & test
    assert films_on(curator.get(f"{address}&part=none")) == [str(films[4].uuid)]
    assert " · fit" in text(curator.get(f"{address}&part=fit"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"n", "a", "u", "x"}),
        ("label=normal", {"n"}),
        ("label=unlabelled", {"x"}),
        ("view=AP", {"a"}),
        ("view=unknown", {"x"}),
        ("finding=effusion", {"a"}),
        ("finding=effus", set()),
        ("finding=100%25", set()),
        ("label=abnormal&view=PA", set()),
        ("label=nonsense", {"n", "a", "u", "x"}),
        ("part=fit", {"n", "a", "u", "x"}),
        ("split=nonsense&part=fit", {"n", "a", "u", "x"}),
    ],
)
def test_filters(curator: Client, of: Dataset, query: str, expected: set[str]) -> None:
    names = {"n": factories.film(of, "normal"), "a": factories.film(of, view="AP"), "u": factories.film(of, "unsure")}
    names["x"] = factories.film(of, view="")
    factories.event(names["a"], "abnormal", findings=["effusion", "nodule"])
    response = curator.get(f"/datasets/{of.uuid}/?{query}")
    by_address = {str(film.uuid): name for name, film in names.items()}
    assert {by_address[address] for address in films_on(response)} == expected
    if not expected:
        assert "matches these filters" in text(response)
    assert f"{len(expected)} film" in text(response).split("<h1>")[1].split("</div>")[0]


@pytest.mark.both
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("attribute=device", {"old", "new"}),
        ("attribute=old fracture", {"new"}),
        ("attribute=fracture", {"import", "none", "old", "new", "adjudicated", "elsewhere"}),  # unknown: any
        ("attribute=device&label=abnormal", set()),
        ("criteria=1", {"old"}),
        ("criteria=2", {"new", "adjudicated", "elsewhere"}),
        ("criteria=3", set()),
        ("criteria=older", {"none", "old"}),
        ("criteria=none", {"import", "none"}),
        ("criteria=v1", {"import", "none", "old", "new", "adjudicated", "elsewhere"}),
        ("criteria=older&attribute=device", {"old"}),
    ],
)
def test_films_by_attribute_and_by_criteria(curator: Client, of: Dataset, query: str, expected: set[str]) -> None:
    names = {name: factories.film(of) for name in ("import", "none", "old", "new", "adjudicated", "elsewhere")}
    ann = factories.curator("ann")
    factories.event(names["import"], "normal")
    factories.event(names["none"], "abnormal", ann)
    factories.criteria("No device.")
    factories.event(names["old"], "normal", ann, attributes=["device"])
    factories.criteria("A device is normal.")
    factories.event(names["new"], "normal", ann, attributes=["device", "old fracture"])
    factories.event(names["adjudicated"], "normal", ann, source="adjudication")
    factories.event(names["elsewhere"], "unsure", ann)
    factories.criteria("Of another site.", at=factories.site("Busan"))
    response = curator.get(f"/datasets/{of.uuid}/?{query}")
    by_address = {str(film.uuid): name for name, film in names.items()}
    assert {by_address[address] for address in films_on(response)} == expected
    assert f"{len(expected)} film" in text(response).split("<h1>")[1].split("</div>")[0]


def test_the_grid_counts_and_filters_films_that_show_nothing(curator: Client, of: Dataset) -> None:
    address = f"/datasets/{of.uuid}/"
    shown = [factories.film(of, "normal", shows_nothing=nothing) for nothing in (False, None)]
    assert "show nothing" not in text(curator.get(address)) and 'name="warning"' not in text(curator.get(address))
    blank = factories.film(of, "normal", shows_nothing=True, warning="The film shows nothing: 98 % have one value.")
    page = text(curator.get(address))
    assert "1 film shows nothing" in page and 'href="' + address + '?warning=nothing"' in page
    page = text(curator.get(f"{address}?warning=nothing"))
    assert str(blank.uuid) in page and not any(str(film.uuid) in page for film in shown)
    assert "1 film matching these filters" in page and '<option value="nothing" selected>' in page
    factories.film(of, shows_nothing=True)
    assert "2 films show nothing" in text(curator.get(address))
    listed = curator.get(f"/api/v1/datasets/{of.uuid}/images/?warning=nothing").json()["results"]
    assert [film["shows_nothing"] for film in listed] == [True, True]


def test_the_grid_offers_the_attributes_in_use_and_the_versions(curator: Client, of: Dataset) -> None:
    film = factories.film(of)
    page = text(curator.get(f"/datasets/{of.uuid}/"))
    assert 'name="attribute"' not in page
    assert 'name="criteria"' not in page
    factories.criteria("<b>No</b> device.")
    factories.event(film, "normal", factories.curator("ann"), attributes=["variant"])
    page = text(curator.get(f"/datasets/{of.uuid}/?attribute=variant&criteria=1"))
    assert '<option value="variant" selected> variant (1) </option>' in page
    assert '<option value="older" >labelled, but not by v1</option>' in page
    assert '<option value="1" selected>criteria v1</option>' in page
    assert "&lt;b&gt;No&lt;/b&gt; device." in page
    queue = curator.post(f"/datasets/{of.uuid}/queue/?attribute=variant&criteria=1", {"name": "Q"})
    assert ScreeningQueue.objects.get().source == "Normals: variant, by criteria v1"
    assert queue.status_code == 302


@pytest.mark.parametrize(
    "query",
    ["finding=a%00b", "attribute=%00", "criteria=%00", "view=%00", "label=%00", "split=%00", "page=%00", "part=%00"],
)
def test_a_nul_in_a_filter_is_ignored_by_pages_and_refused_by_the_api(curator: Client, of: Dataset, query: str) -> None:
    """PostgreSQL refuses text with a NUL."""
    film = factories.films(of, normal=1)[0]
    for address in (f"/datasets/{of.uuid}/", f"/images/{film.uuid}/"):
        assert curator.get(f"{address}?{query}").status_code == 200
    assert curator.get(f"/api/v1/datasets/{of.uuid}/images/?{query}").status_code == 400
    assert curator.get(f"/splits/new/?dataset={query}").status_code == 200


def test_pages_keep_the_filter(curator: Client, of: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.views.datasets.FILMS_A_PAGE", 2)
    films = factories.films(of, normal=5, abnormal=1)
    address = f"/datasets/{of.uuid}/?label=normal"
    first, third = (text(curator.get(f"{address}&from={films[at].uuid}")) for at in (0, 2))
    assert text(curator.get(address)).count("hilum-tile") == first.count("hilum-tile")
    assert f'rel="next" href="?label=normal&amp;from={films[2].uuid}"' in first
    assert 'rel="prev"' not in first
    assert f'rel="prev" href="?label=normal&amp;from={films[0].uuid}"' in third
    assert f'rel="next" href="?label=normal&amp;from={films[4].uuid}"' in third
    assert films_on(curator.get(f"{address}&from={films[4].uuid}")) == [str(films[4].uuid)]
    assert films_on(curator.get(f"{address}&from={films[3].uuid}")) == [str(film.uuid) for film in films[3:5]]


@pytest.mark.parametrize("address", ["x", "", "%00", "00000000-0000-4000-8000-000000000000"])
def test_a_page_from_no_film_is_the_first(curator: Client, of: Dataset, address: str) -> None:
    (film,) = factories.films(of, normal=1)
    assert films_on(curator.get(f"/datasets/{of.uuid}/?from={address}")) == [str(film.uuid)]


def test_the_counts_are_a_fragment_of_their_own(curator: Client, stranger: Client, of: Dataset) -> None:
    factories.films(of, normal=2, abnormal=1)
    page = text(curator.get(f"/datasets/{of.uuid}/counts/?label=normal"))
    assert "hilum-tile" not in page
    assert 'value="normal" checked' in page
    assert stranger.get(f"/datasets/{of.uuid}/counts/").status_code == 404


@pytest.mark.parametrize("films", [2, 8])
def test_the_grid_takes_a_constant_number_of_queries(
    curator: Client, of: Dataset, films: int, django_assert_num_queries: Any
) -> None:
    factories.films(of, normal=films, abnormal=films, unlabelled=films)
    split = draw_split(
        SplitRequest(site=of.site, name="S", datasets=[of], seed=0, author=factories.curator("author")),
        fractions={"fit": 1.0},
    )
    with django_assert_num_queries(36):
        curator.get(f"/datasets/{of.uuid}/?split={split.uuid}")


# uploads ----------------------------------------------------------------------------------------------------


def zip_of(tmp_path: Path) -> SimpleUploadedFile:
    content = factories.zipped(tmp_path / "z.zip", {"a.png": factories.png(tmp_path / "a.png")}).read_bytes()
    return SimpleUploadedFile("films.zip", content, content_type="application/zip")


def test_a_curator_sends_a_zip(curator: Client, of: Dataset, tmp_path: Path, published: list[str]) -> None:
    response = curator.post(f"/datasets/{of.uuid}/upload/", {"file": zip_of(tmp_path)})
    assert response["Location"] == f"/datasets/{of.uuid}/"
    upload = Upload.objects.get()
    assert (upload.state, str(upload.uploaded_by)) == ("received", "curator")
    page = text(curator.get(f"/datasets/{of.uuid}/"))
    assert f'hx-get="/uploads/{upload.uuid}/"' in page
    assert "Waiting for a worker to take it" in page


def test_who_may_not_send(reader: Client, stranger: Client, of: Dataset, tmp_path: Path) -> None:
    assert reader.post(f"/datasets/{of.uuid}/upload/", {"file": zip_of(tmp_path)}).status_code == 403
    assert stranger.post(f"/datasets/{of.uuid}/upload/", {"file": zip_of(tmp_path)}).status_code == 404
    assert reader.get(f"/datasets/{of.uuid}/upload/").status_code == 405
    assert not Upload.objects.exists()


def test_a_bad_file_is_refused_with_a_sentence(curator: Client, of: Dataset) -> None:
    address = f"/datasets/{of.uuid}/upload/"
    response = curator.post(address, {"file": SimpleUploadedFile("films.zip", b"not a zip")})
    assert response.status_code == 400
    assert "The file is not a zip archive; put the films" in text(response)
    assert "No file was sent; choose a zip of films, or a CSV of labels" in text(curator.post(address, {}))
    assert "No file was sent" in text(curator.post(address, {"file": SimpleUploadedFile("films.zip", b"")}))


def test_the_state_of_an_upload(curator: Client, stranger: Client, of: Dataset) -> None:
    upload = Upload.objects.create(dataset=of, state="importing", done=3, total=9)
    address = f"/uploads/{upload.uuid}/"
    running = text(curator.get(address))
    assert "Importing 3 of 9 files" in running
    assert "every 1s" in running
    Upload.objects.update(state="done", message="9 films imported.", finished_at=timezone.now())
    done = text(curator.get(address, headers={"HX-Request": "true"}))
    assert "9 films imported." in done
    assert "every 1s" not in done
    assert "Show the films" in done
    Upload.objects.update(state="failed", message="The zip is encrypted; send it without a password.")
    failed = text(curator.get(address))
    assert "· The zip is encrypted; send it without a password." in failed
    assert "Nothing was imported" not in failed  # the disk may fill up after the first films
    assert stranger.get(address).status_code == 404


# text of others --------------------------------------------------------------------------------------------------


def test_sentences_and_names_are_shown_as_text(curator: Client, of: Dataset) -> None:
    """Everything from a file or a CSV is shown as text on every page."""
    evil = "<script>alert(1)</script>"
    upload = Upload.objects.create(dataset=of, state="done", message=evil, finished_at=timezone.now())
    QuarantinedFile.objects.create(
        upload=upload, dataset=of, source_sha256="a", name=evil, reason="colour", sentence=evil
    )
    film = factories.film(of, original_name=evil, warning=evil, view=evil[:8], header={"manufacturer": evil})
    factories.event(film, "abnormal", findings=[evil])
    for address in (f"/datasets/{of.uuid}/", f"/datasets/{of.uuid}/quarantine/", f"/images/{film.uuid}/"):
        page = text(curator.get(address))
        assert evil not in page
        assert "&lt;script&gt;" in page


def test_every_member_may_look(of: Dataset) -> None:
    for role in Role:
        assert as_(factories.user(role.value, role)).get(f"/datasets/{of.uuid}/").status_code == 200
