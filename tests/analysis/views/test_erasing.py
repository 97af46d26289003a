"""The page, the API and the command that erase a patient."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from analysis.evaluation.erasing import confirmation_of
from portal.models import Erasure, Image, Patient, Role
from portal.people.blinding import open_for
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = pytest.mark.django_db


@pytest.fixture
def film(data_dir: Path) -> Image:
    return factories.film(factories.dataset(), "normal", person="one")


@pytest.fixture
def boss(film: Image) -> Client:
    return as_(factories.user("boss", Role.MANAGER))


def page(client: Client, address: str) -> str:
    return one_line(client.get(address).text)


def test_the_page_says_what_it_means_asks_and_erases(boss: Client, film: Image) -> None:
    address = f"/patients/{film.patient.uuid}/erase/"
    assert "This deletes 1 film with pixels, previews, labels" in page(boss, address)
    wrong = boss.post(address, {"reason": "Consent withdrawn", "confirm": "yes"})
    assert (wrong.status_code, "type the first 8 characters of the patient" in wrong.text) == (400, True)
    assert 'value="Consent withdrawn"' in wrong.text
    done = boss.post(address, {"reason": "Consent withdrawn", "confirm": confirmation_of(film.patient)})
    assert done.headers["Location"] == "/erasures/"
    assert not Patient.objects.exists()
    assert "Consent withdrawn" in page(boss, "/erasures/")
    assert boss.get(address).status_code == 404


def test_by_api(boss: Client, film: Image) -> None:
    address = f"/api/v1/patients/{film.patient.uuid}/erase/"
    plan = boss.get(address).json()
    assert (plan["films"], plan["obstacles"], plan["confirm"]) == (1, [], confirmation_of(film.patient))
    refused = boss.post(address, {"reason": "", "confirm": plan["confirm"]}, content_type="application/json")
    assert (refused.status_code, "The reason is empty" in refused.text) == (400, True)
    done = boss.post(address, {"reason": "x", "confirm": plan["confirm"]}, content_type="application/json")
    assert (done.status_code, done.json()["films"]) == (200, 1)
    assert str(Erasure.objects.get().uuid) == done.json()["erasure"]


def test_who_reads_the_patient_blinded_and_who_is_no_manager_is_refused(film: Image) -> None:
    both = factories.user("both", Role.MANAGER, Role.READER)
    address = f"/patients/{film.patient.uuid}/erase/"
    assert as_(factories.curator()).get(address).status_code == 403
    open_for(person=both, images=[film], source=film.uuid, words="the worklist", days=28)
    for path in (address, f"/api/v1{address}"):
        assert as_(both).get(path).status_code == 403


def command(*arguments: str, **options: object) -> str:
    output = io.StringIO()
    call_command("erase_patient", *arguments, stdout=output, **options)
    return output.getvalue()


def test_the_command_plans_and_erases(film: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = command(str(film.patient.uuid), site="Seoul")
    assert "1 films would be erased" in plan
    assert f"pass --reason and --confirm {confirmation_of(film.patient)}" in plan
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n"))
    done = command("-", site="Seoul", reason="x", confirm=confirmation_of(film.patient))
    assert done.startswith("Erased: 1 films.")
    for arguments, sentence in (
        (("x",), "'x' is no UUID of a patient"),
        ((str(film.uuid),), "Seoul has no patient"),
    ):
        with pytest.raises(CommandError, match=sentence):
            command(*arguments, site="Seoul")
    with pytest.raises(CommandError, match="There is no site 'X'"):
        command("x", site="X")
    monkeypatch.setattr("sys.stdin", io.StringIO("two\n"))
    with pytest.raises(CommandError, match="No patient of Seoul has this identifier"):
        command("-", site="Seoul")
