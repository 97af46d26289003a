"""The page of an upload that waits for the meaning of its columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from portal.intake.zip_uploads import zip_path
from portal.models import ColumnMapping, Dataset, Image, Role, Upload, User
from portal.people import blinding
from portal.views import mapping as mapping_view
from tests.pages import one_line
from tests.portal import factories
from tests.portal.intake.sent import FILMS, TABLE, send_zip, worked_on, zip_of
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _nothing_works_by_itself(published: list[str]) -> None:
    pass


@pytest.fixture
def ann(of: Dataset) -> User:
    return factories.curator("ann")


@pytest.fixture
def waiting(of: Dataset, ann: User, tmp_path: Path) -> Upload:
    return send_zip(of, ann, zip_of(tmp_path, {"t.csv": TABLE}))


@pytest.fixture
def web(ann: User) -> Client:
    return as_(ann)


# the choices of the page: file name, label and findings, patient, age
ANSWER: dict[str, Any] = {
    "t0-kind": "labels",
    "t0-shown": "labels",
    "patients": "table",
    "t0-field-filename": "0",
    "t0-field-label": "1",
    "t0-field-finding": "1",
    "t0-field-patient_id": "2",
    "t0-field-age": "3",
    "t0-1-value-0": "normal",
    "t0-1-value-1": "abnormal",
    "t0-1-value-2": "none",
}


def address(upload: Upload, what: str = "mapping") -> str:
    return f"/uploads/{upload.uuid}/{what}/"


def text(response: Any) -> str:
    return one_line(response)


def test_the_dataset_leads_to_the_page(web: Client, reader: Client, waiting: Upload, of: Dataset) -> None:
    Upload.objects.bulk_create(Upload(dataset=of, state="done") for _ in range(4))  # newer ones
    for path in (f"/datasets/{of.uuid}/", f"/uploads/{waiting.uuid}/"):
        page = text(web.get(path))
        assert "t.csv has no column &#x27;filename&#x27;" in page
        assert f'href="{address(waiting)}"' in page
        other = text(reader.get(path))
        assert "It waits for a curator" in other
        assert address(waiting) not in other


def test_the_page_shows_rows_choices_and_counts(web: Client, waiting: Upload) -> None:
    response = web.get(address(waiting))
    page = text(response)
    assert response["Cache-Control"] == "private, no-store"
    for value in ("x/b.png", "Erguss|Knoten", "Zzyzxson", "53"):
        assert f"<td>{value}</td>" in page
    assert '<option value="0" selected>Pfad</option>' in page
    assert '<option value="2" selected>Fallnummer</option>' in page
    assert "The value &#x27;Erguss|Knoten&#x27; of the column &#x27;Diagnose&#x27; has no meaning yet" in page
    assert response.context["preview"] is None


def test_a_changed_choice_is_counted(web: Client, waiting: Upload) -> None:
    response = web.post(address(waiting), ANSWER)
    counts = response.context["preview"]
    assert counts.labels == {"normal": 2, "abnormal": 1}
    assert (counts.films, counts.without_file, counts.patients) == (3, 1, 2)
    assert response.context["findings"] == [("Erguss", 1), ("Knoten", 1)]
    assert not Image.objects.exists()
    assert not ColumnMapping.objects.exists()
    fault = text(web.post(address(waiting), {**ANSWER, "t0-field-patient_id": "0"}))
    assert "The column &#x27;Pfad&#x27; of t.csv is chosen for &#x27;filename&#x27; and &#x27;patient_id&#x27;" in fault


def test_the_answer_imports_and_is_remembered(web: Client, waiting: Upload, ann: User, tmp_path: Path) -> None:
    response = web.post(address(waiting), {**ANSWER, "patients": "header", "import": ""})
    assert response.headers["Location"] == f"/datasets/{waiting.dataset.uuid}/"
    worked_on(waiting)
    assert (waiting.state, waiting.patients, waiting.counts["imported"]) == ("done", "header", 3)
    film = Image.objects.get(original_name="x/a.png")
    assert (film.patient.age_band, film.extra) == ("50-59", {})  # "Alter" is the age
    again = send_zip(waiting.dataset, ann, zip_of(tmp_path, {"t.csv": TABLE}), check_columns=True)
    page = text(web.get(address(again)))
    assert "Filled in as ann said on 20" in page
    assert '<option value="1" selected>Diagnose</option>' in page
    assert '<option value="none" selected>not a label</option>' in page


def test_a_long_table_is_counted_on_request(web: Client, waiting: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 'hx-trigger="change"' in text(web.get(address(waiting)))
    monkeypatch.setattr(mapping_view, "ROWS_COUNTED_AT_ONCE", 3)
    page = text(web.get(address(waiting)))
    assert 'hx-trigger="never"' in page
    assert "press Count again after a change" in page


def test_an_answer_that_leaves_something_open_is_refused(web: Client, waiting: Upload) -> None:
    response = web.post(address(waiting), {**ANSWER, "t0-1-value-1": "", "import": ""})
    assert response.status_code == 400
    assert "Erguss|Knoten&#x27; of the column &#x27;Diagnose&#x27; has no meaning yet (1 row of t.csv)" in text(
        response
    )
    response = web.post(address(waiting), {**ANSWER, "t0-field-filename": "3", "t0-field-age": "", "import": ""})
    assert (response.status_code, Upload.objects.get().state) == (400, "mapping")
    assert "No row would name a file" in text(response)


def test_another_label_column_brings_its_own_values(web: Client, waiting: Upload) -> None:
    form = web.post(address(waiting), {**ANSWER, "t0-field-label": "3"}).context["forms"][0]
    assert [value.value for value in form.values] == ["50", "51", "52", "53"]
    assert {value.chosen for value in form.values} == {""}


def test_another_kind_of_table_brings_its_own_fields(web: Client, waiting: Upload) -> None:
    page = web.post(address(waiting), {**ANSWER, "t0-kind": "boxes"})
    (form,) = page.context["forms"]
    assert [field.words for field in form.fields][:4] == ["File name", "UUID of a film in Hilum", "Findings", "x, left"]
    assert "No column of t.csv is chosen for &#x27;x&#x27;" in text(page)
    aside = web.post(address(waiting), {**ANSWER, "t0-kind": "aside", "t0-shown": "boxes"})
    assert aside.context["preview"].films == 3
    assert web.post(address(waiting), {**ANSWER, "t0-kind": "films"}).status_code == 200


def test_values_beyond_those_that_are_shown(
    web: Client, of: Dataset, ann: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping_view, "VALUES_SHOWN", 1)
    upload = send_zip(of, ann, zip_of(tmp_path, {"t.csv": TABLE}))
    page = web.get(address(upload))
    assert "every other value (2)" in text(page)
    answer = {key: value for key, value in ANSWER.items() if "value" not in key}
    counts = web.post(address(upload), {**answer, "t0-1-value-0": "normal", "t0-1-others": "abnormal"})
    assert counts.context["preview"].labels == {"normal": 2, "abnormal": 1}
    open_values = web.post(address(upload), {**answer, "t0-1-value-0": "normal", "t0-1-others": ""})
    assert "has no meaning yet" in text(open_values)


def test_names_and_values_are_escaped(web: Client, of: Dataset, ann: User, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    table = f'Pfad,"{evil}",Diagnose\nx/a.png,"{evil}","{evil}\'"\n'
    upload = send_zip(of, ann, zip_of(tmp_path, {"t.csv": table}))
    answer = {
        **ANSWER,
        "t0-field-label": "2",
        "t0-field-finding": "1",
        "t0-field-patient_id": "",
        "t0-2-value-0": "normal",
    }
    for page in (web.get(address(upload)), web.post(address(upload), answer), web.get(f"/datasets/{of.uuid}/")):
        body = page.content.decode()
        assert "alert(1)" in body or page.request["PATH_INFO"].startswith("/datasets")
        assert evil not in body
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body or page.request["PATH_INFO"].startswith("/datasets")


def test_only_a_manager_keeps_further_columns(of: Dataset, ann: User, tmp_path: Path) -> None:
    table = "filename,label,smoking,UHID\n" + "".join(f"x/{n}.png,normal,never,{n}\n" for n in range(12))
    tables, films = {"t.csv": table}, tuple(f"{n}.png" for n in range(12))
    upload = send_zip(of, ann, zip_of(tmp_path, tables, films), check_columns=True)
    boss = factories.user("boss", Role.MANAGER)
    answer = {"t0-kind": "labels", "t0-shown": "labels", "patients": "table", "import": ""}
    answer |= {"t0-field-filename": "0", "t0-field-label": "1", "t0-1-value-0": "normal", "t0-keep-2": "category"}
    page = text(as_(ann).get(address(upload)))
    assert 'name="t0-keep-2"' not in page
    assert "left out: may identify a person" in page
    refused = as_(ann).post(address(upload), answer)
    assert (refused.status_code, "To keep further columns at Seoul" in text(refused)) == (403, True)
    assert '<select class="form-select form-select-sm" id="t0-keep-2"' in " ".join(
        text(as_(boss).get(address(upload))).split()
    )
    wrong = as_(boss).post(address(upload), {**answer, "t0-keep-2": "number"})
    assert "holds a number in fewer than half of its rows" in text(wrong)
    as_(boss).post(address(upload), answer)
    assert worked_on(upload).counts["columns left out"] == 1
    assert Image.objects.first().extra == {"smoking": "never"}
    # a curator may use what a manager declared, for a table with the same columns
    again = send_zip(of, ann, zip_of(tmp_path, tables, films), check_columns=True)
    assert "category, as a manager declared" in " ".join(text(as_(ann).get(address(again))).split())
    assert as_(ann).post(address(again), answer).status_code == 302


def test_a_discard(web: Client, waiting: Upload, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        response = web.post(address(waiting, "mapping/discard"))
    assert response.headers["Location"] == f"/datasets/{waiting.dataset.uuid}/"
    page = text(web.get(f"/datasets/{waiting.dataset.uuid}/"))
    assert "Discarded by ann; nothing was imported." in page
    assert not zip_path(waiting).exists()
    again = text(web.get(address(waiting), follow=True))
    assert "does not wait any more" in again
    assert "does not wait any more" in text(web.post(address(waiting, "mapping/discard"), follow=True))


def test_a_zip_that_is_gone(web: Client, waiting: Upload) -> None:
    zip_path(waiting).unlink()
    response = web.get(address(waiting))
    assert (response.status_code, "does not wait any more" in text(response)) == (400, True)


def test_who_may_see_the_tables(curator: Client, reader: Client, stranger: Client, waiting: Upload) -> None:
    assert "Zzyzxson" in text(curator.get(address(waiting)))  # a colleague who may import
    for what in ("mapping", "mapping/discard"):
        for client, status in ((reader, 403), (stranger, 404), (Client(), 302)):
            response = client.post(address(waiting, what), ANSWER)
            assert response.status_code == status
            assert "Zzyzxson" not in text(response)
    assert curator.get(address(waiting, "mapping/discard")).status_code == 405


def test_a_colleague_who_reads_blinded_does_not_see_it(
    curator: Client, web: Client, waiting: Upload, ann: User
) -> None:
    film = factories.film(waiting.dataset)
    for person in (ann, User.objects.get(username="curator")):
        blinding.open_for(person=person, images=[film], source=uuid4(), words="the worklist Tuesday", days=1)
    response = curator.get(address(waiting))
    assert response.status_code == 403
    assert "labels of films that you have yet to read blinded" in text(response)
    assert "Zzyzxson" in text(web.get(address(waiting)))


def test_the_form_asks_whose_patient_counts_and_whether_to_check(web: Client, of: Dataset, tmp_path: Path) -> None:
    known = "filename,label\nx/a.png,normal\n"
    page = text(web.get(f"/datasets/{of.uuid}/"))
    assert "the header counts" in page
    assert "Check the columns of the table first" in page

    def send(**fields: str) -> Any:
        file = SimpleUploadedFile("z.zip", zip_of(tmp_path, {"t.csv": known}, FILMS[:1]))
        return web.post(f"/datasets/{of.uuid}/upload/", {"file": file, **fields})

    assert send(patients="header", check_columns="1").status_code == 302
    assert send().status_code == 302
    choices = Upload.objects.order_by("pk").values_list("patients", "check_columns")
    assert list(choices) == [("header", True), ("table", False)]
    refused = send(patients="both")
    assert (refused.status_code, "is &#x27;both&#x27;; choose table or header" in text(refused)) == (400, True)
    first = Upload.objects.order_by("pk").first()
    assert first is not None
    assert worked_on(first).state == "mapping"


def test_the_role_decides(waiting: Upload) -> None:
    manager = as_(factories.user("manager", Role.MANAGER))
    assert manager.get(address(waiting)).status_code == 200
