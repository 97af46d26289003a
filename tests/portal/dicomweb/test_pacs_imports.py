"""Studies of a real PACS become films: searched, chosen, fetched, resumed after a kill, by page, API and command."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.utils import timezone

from portal import tasks
from portal.dicomweb import pacs_imports
from portal.dicomweb.client import PacsClient, PacsUnreachable, StudyQuery
from portal.dicomweb.pacs_imports import InvalidPacsRequest, begin_import, fetched_folder, plan_of, search, target_named
from portal.intake.import_plans import plan_path
from portal.intake.virus_scan import AWAY
from portal.models import AuditEvent, Dataset, Patient, Role, Upload, User
from tests.pages import one_line
from tests.portal import factories
from tests.portal.api.signing_in import with_token
from tests.portal.dicomweb.conftest import STUDY, study_film
from tests.portal.dicomweb.pacs import Pacs
from tests.portal.intake import clamd
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def kim() -> User:
    return factories.curator("kim")


@pytest.fixture
def filled(pacs: Pacs, tmp_path: Path) -> Pacs:
    """Three studies of a film each; study 2 has a CT object, too, and study 3 a film that is no picture."""
    pacs.store(*[study_film(tmp_path, number) for number in (1, 2, 3)])
    pacs.store(study_film(tmp_path, 2, Modality="CT", SOPInstanceUID="1.2.3.2", SeriesInstanceUID="1.2.3.22"))
    pacs.store(study_film(tmp_path, 3, SamplesPerPixel=3, SOPInstanceUID="1.2.3.3"))
    return pacs


def ask(of: Dataset, kim: User, pacs: Pacs, *numbers: int) -> Upload:
    studies = [STUDY.format(number) for number in numbers]
    return begin_import(dataset=of, target=pacs.target, studies=studies, author=kim)


def work(upload: Upload) -> Upload:
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    return upload


@pytest.mark.both
def test_chosen_studies_become_films_under_pseudonyms(
    of: Dataset, kim: User, filled: Pacs, published: list[str]
) -> None:
    upload = work(ask(of, kim, filled, 1, 2, 3))
    assert upload.state == "done", upload.message
    assert upload.counts == {"imported": 3, "quarantined": 1, "other modalities": 1}
    assert "1 object of another modality was left out" in upload.message
    assert set(Patient.objects.all()) == {factories.patient(f"Quagga-{number}") for number in (1, 2, 3)}
    assert not plan_path(upload).exists()
    assert not fetched_folder(upload).exists()
    stored = " ".join(str(row) for row in [*Upload.objects.values(), *AuditEvent.objects.values()])
    assert "Quagga" not in stored
    assert STUDY.format(1) not in stored
    again = work(ask(of, kim, filled, 1))
    assert again.counts == {"there already": 1}


def test_a_killed_import_fetches_only_what_is_not_there(
    of: Dataset, kim: User, filled: Pacs, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = ask(of, kim, filled, 1, 2)
    fetch, fetched = PacsClient.fetch, []

    def killed_later(asked: PacsClient, instance: Any, target: Path, **more: Any) -> int:
        if len(fetched) == 1:
            raise SystemExit
        fetched.append(instance.uid)
        return fetch(asked, instance, target, **more)

    monkeypatch.setattr(PacsClient, "fetch", killed_later)
    with pytest.raises(SystemExit):
        tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    assert (upload.state, upload.message, of.images.count()) == ("importing", "Fetching from ward", 0)
    assert len(list(fetched_folder(upload).glob("*.dcm"))) == 1
    Upload.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=6))
    published.clear()
    tasks.resume_uploads()
    assert published == [str(upload.uuid)]
    fetched.clear()

    def noted(asked: PacsClient, instance: Any, target: Path, **more: Any) -> int:
        fetched.append(instance.uid)
        return fetch(asked, instance, target, **more)

    monkeypatch.setattr(PacsClient, "fetch", noted)
    assert work(upload).counts["imported"] == 2
    assert len(fetched) == 1


def test_an_infected_film_of_the_pacs_is_refused_alone(
    of: Dataset, kim: User, filled: Pacs, tmp_path: Path, published: list[str], scanner: Any
) -> None:
    filled.store(study_film(tmp_path, 1, SOPInstanceUID="1.2.3.9", ImageComments=clamd.EICAR.decode()))
    upload = work(ask(of, kim, filled, 1, 2))
    assert (upload.state, upload.counts) == ("done", {"imported": 2, "infected": 1, "other modalities": 1})
    assert (of.quarantined.get().reason, len(scanner.scanned)) == ("infected", 3)
    assert not fetched_folder(upload).exists()


def test_without_its_scanner_what_was_fetched_waits(
    of: Dataset, kim: User, filled: Pacs, published: list[str], settings: Any
) -> None:
    settings.SCANNER = clamd.nowhere()
    upload = work(ask(of, kim, filled, 1))
    assert (upload.state, upload.message, of.images.count()) == ("received", AWAY, 0)
    assert len(list(fetched_folder(upload).glob("*.dcm"))) == 1
    with pytest.raises(CommandError, match="nothing is imported unscanned"):
        call_command(
            "import_pacs",
            *(f"--{name}={value}" for name, value in (("site", of.site.name), ("dataset", of.name), ("pacs", "ward"))),
            "--first-day=2026-11-11",
            stdout=StringIO(),
            stderr=StringIO(),
        )


def test_a_pacs_that_goes_away_fails_what_is_left(
    of: Dataset, kim: User, filled: Pacs, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    instances, asked_for = PacsClient.instances, []

    def silent_after_one(asked: PacsClient, study: str) -> Any:
        asked_for.append(study)
        if len(asked_for) > 1:
            raise PacsUnreachable("The PACS ward did not answer (TimeoutError); try again later.")
        return instances(asked, study)

    monkeypatch.setattr(PacsClient, "instances", silent_after_one)
    monkeypatch.setattr(pacs_imports, "UNREACHABLE_IN_A_ROW", 1)
    upload = work(ask(of, kim, filled, 1, 2, 3))
    assert (upload.state, upload.counts) == ("done", {"imported": 1, "studies not fetched": 2})
    assert "2 studies could not be fetched from the PACS; import them again" in upload.message
    assert len(asked_for) == 1 + pacs_imports.TRIES
    asked_for.append("")
    nothing = work(ask(of, kim, filled, 2))
    assert (nothing.state, nothing.message) == (
        "failed",
        "The PACS ward did not answer (TimeoutError); try again later.",
    )
    assert not plan_path(nothing).exists()


def test_a_pacs_that_is_silent_is_not_asked_for_every_film(
    of: Dataset, kim: User, pacs: Pacs, tmp_path: Path, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pacs.store(*[study_film(tmp_path, 1, SOPInstanceUID=f"1.2.3.{number}") for number in range(9)])
    fetch, asked_for = PacsClient.fetch, []

    def silent(asked: PacsClient, instance: Any, target: Path, **more: Any) -> int:
        asked_for.append(instance.uid)
        if len(asked_for) > 1:
            raise PacsUnreachable("The PACS ward did not answer (TimeoutError); try again later.")
        return fetch(asked, instance, target, **more)

    monkeypatch.setattr(PacsClient, "fetch", silent)
    upload = work(ask(of, kim, pacs, 1))
    assert (upload.counts["imported"], upload.counts["not fetched"]) == (1, 8)
    assert len(asked_for) == 1 + pacs_imports.TRIES * pacs_imports.UNREACHABLE_IN_A_ROW


def test_a_search_without_a_modality_lists_radiographs_only(of: Dataset, kim: User, pacs: Pacs, tmp_path: Path) -> None:
    pacs.store(study_film(tmp_path, 1), study_film(tmp_path, 2, Modality="CT"))
    query = StudyQuery(first_day=date(2026, 11, 1), last_day=date(2026, 11, 30))
    answer = search(target=pacs.target, query=query, site=of.site, author=kim)
    assert ([study.uid for study in answer.studies], answer.has_more) == ([STUDY.format(1)], False)


def test_a_study_that_is_gone_is_counted(of: Dataset, kim: User, filled: Pacs, published: list[str]) -> None:
    upload = work(ask(of, kim, filled, 1, 99))
    assert upload.counts["imported"] == 1
    assert "1 study" in upload.message


def test_a_pacs_that_is_not_listed_any_more_fails_the_import(
    of: Dataset, kim: User, filled: Pacs, published: list[str], settings: Any
) -> None:
    upload = ask(of, kim, filled, 1)
    settings.PACS_TARGETS = ()
    assert work(upload).message.startswith("Seoul has no PACS 'ward'; it has: none; an administrator lists them")


# asked --------------------------------------------------------------------------------------------------------


def test_a_site_has_the_pacs_that_are_listed_for_it(of: Dataset, pacs: Pacs, settings: Any) -> None:
    settings.PACS_TARGETS = (replace(pacs.target, sites=("Busan",)), replace(pacs.target, name="all"))
    assert target_named("all", of.site).name == "all"
    with pytest.raises(InvalidPacsRequest, match="Seoul has no PACS 'ward'; it has: all"):
        target_named("ward", of.site)


@pytest.mark.parametrize(("query", "words"), [
    (StudyQuery(), "Nothing narrows the search"), (StudyQuery(modality="CR"), "Nothing narrows the search"),
    (StudyQuery(first_day=date(2026, 2, 2), last_day=date(2026, 2, 1)), "2026-02-02, is after the last, 2026-02-01"),
    (StudyQuery(patient_id="*"), r"none of \* \? and"), (StudyQuery(patient_id="x" * 65), "at most 64 characters"),
    (StudyQuery(first_day=date(2026, 2, 2), modality="CT"), "The modality is 'CT'; the modalities of"),
])  # fmt: skip
def test_a_search_that_means_nothing_is_refused(of: Dataset, kim: User, pacs: Pacs, query: Any, words: str) -> None:
    with pytest.raises(InvalidPacsRequest, match=words):
        search(target=pacs.target, query=query, site=of.site, author=kim)


def test_the_audit_says_what_was_searched_without_the_patient(of: Dataset, kim: User, filled: Pacs) -> None:
    search(target=filled.target, query=StudyQuery(patient_id="Quagga-1"), site=of.site, author=kim)
    event = AuditEvent.objects.get(verb="search PACS")
    assert (event.actor, event.after["by patient"], event.after["studies"]) == (kim, True, 1)
    assert "Quagga" not in str(event.after)


@pytest.mark.parametrize(("studies", "words"), [
    ([], "No study is chosen"), (["../x"], "1 of the chosen studies have no valid UID"),
    (["1"] * 2 + ["x"], "1 of the chosen"),
])  # fmt: skip
def test_a_choice_of_no_studies_is_refused(pacs: Pacs, studies: list[str], words: str) -> None:
    with pytest.raises(InvalidPacsRequest, match=words):
        plan_of(target=pacs.target, studies=studies)


def test_a_reader_neither_searches_nor_imports(of: Dataset, filled: Pacs) -> None:
    reader = factories.user("reader", Role.READER)
    with pytest.raises(PermissionDenied):
        search(target=filled.target, query=StudyQuery(patient_id="Quagga-1"), site=of.site, author=reader)
    with pytest.raises(PermissionDenied):
        ask(of, reader, filled, 1)
    for client, address in ((as_(reader), "/datasets"), (with_token(reader), "/api/v1/datasets")):
        assert client.get(f"{address}/{of.uuid}/pacs/").status_code == 403


# page, API and command ----------------------------------------------------------------------------------------


def test_the_page_searches_and_imports(of: Dataset, kim: User, filled: Pacs, published: list[str]) -> None:
    client, address = as_(kim), f"/datasets/{of.uuid}/pacs/"
    assert f'value="{timezone.now().date()}"' in one_line(client.get(address))
    sent = {"pacs": "ward", "first_day": "2026-11-11", "last_day": "2026-11-12"}
    page = one_line(client.post(address, sent))
    assert "2 studies." in page
    assert "Quagga-2" in page
    assert "Quagga-3" not in page
    assert "CR, CT" in page or "CT, CR" in page
    wrong = client.post(address, {**sent, "first_day": "soon"})
    assert (wrong.status_code, "The day is &#x27;soon&#x27;" in one_line(wrong)) == (400, True)
    assert "The PACS has no radiographs like this" in one_line(
        client.post(address, {"pacs": "ward", "patient_id": "Dodo"})
    )
    none = client.post(f"{address}import/", {"pacs": "ward"}, follow=True)
    assert "No study is chosen; choose those to import." in one_line(none)
    client.post(f"{address}import/", {"pacs": "ward", "study": [STUDY.format(1), STUDY.format(2)]})
    assert work(Upload.objects.get()).counts["imported"] == 2


def test_the_page_without_a_pacs_says_who_lists_one(of: Dataset, kim: User, settings: Any) -> None:
    settings.PACS_TARGETS = ()
    assert "No PACS is listed for Seoul. An administrator lists" in one_line(as_(kim).get(f"/datasets/{of.uuid}/pacs/"))
    assert "From a PACS" not in one_line(as_(kim).get(f"/datasets/{of.uuid}/"))


def test_the_api_searches_and_imports(of: Dataset, kim: User, filled: Pacs, published: list[str]) -> None:
    client, address = with_token(kim), f"/api/v1/datasets/{of.uuid}/pacs/"

    def send(what: str, **body: Any) -> Any:
        return client.post(f"{address}{what}/", {"pacs": "ward", **body}, content_type="application/json")

    assert client.get(address).json() == {"pacs": ["ward"]}
    answer = send("search", first_day="2026-11-13").json()
    assert (answer["has_more"], [study["patient_id"] for study in answer["studies"]]) == (False, ["Quagga-3"])
    begun = send("import", studies=[answer["studies"][0]["uid"]])
    assert (begun.status_code, begun.json()["state"]) == (202, "received")
    assert work(Upload.objects.get()).counts == {"imported": 1, "quarantined": 1}
    for what, body in (("search", {}), ("search", {"pacs": "other"}), ("import", {"studies": ["x"]}), ("import", {})):
        assert send(what, **body).status_code == 400


def test_the_api_says_that_the_pacs_does_not_answer(of: Dataset, kim: User, pacs: Pacs, settings: Any) -> None:
    settings.PACS_TARGETS = (replace(pacs.target, url="http://127.0.0.1:9/dicom-web"),)
    body = {"pacs": "ward", "patient_id": "x"}
    answer = with_token(kim).post(f"/api/v1/datasets/{of.uuid}/pacs/search/", body, content_type="application/json")
    assert (answer.status_code, "did not answer" in answer.json()["detail"]) == (502, True)


def test_the_command_searches_and_imports(of: Dataset, filled: Pacs, tmp_path: Path) -> None:
    output = StringIO()
    names = {"site": "Seoul", "dataset": "Normals", "pacs": "ward"}
    call_command("import_pacs", **names, first_day="2026-11-11", last_day="2026-11-12", list=True, stdout=output)
    assert (output.getvalue(), of.images.count()) == ("2 studies\n", 0)
    call_command("import_pacs", **names, first_day="2026-11-11", last_day="2026-11-12", stdout=output)
    assert "2 films imported" in output.getvalue()
    listed = tmp_path / "uids.txt"
    listed.write_text(f"{STUDY.format(3)}\n\n")
    call_command("import_pacs", **names, studies=listed, stdout=output)
    assert of.images.count() == 3
    with pytest.raises(CommandError, match="Nothing narrows the search"):
        call_command("import_pacs", **names)
    with pytest.raises(CommandError, match="The first day is '11/01/2026'"):
        call_command("import_pacs", **names, first_day="11/01/2026")
    with pytest.raises(CommandError, match="Seoul has no PACS 'x'"):
        call_command("import_pacs", **{**names, "pacs": "x"}, first_day="2026-11-11")
    with pytest.raises(CommandError, match="There is no dataset 'x' at 'Seoul'"):
        call_command("import_pacs", **{**names, "dataset": "x"})
    assert not fetched_folder(Upload.objects.latest("pk")).exists()
