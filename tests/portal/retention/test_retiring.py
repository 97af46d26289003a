"""Managers retire datasets with a reason, are told what depends on them, and bring them back."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client

from portal.intake.resumable import Announced, begin
from portal.models import AuditEvent, Dataset, Retired, Role, Upload, User
from portal.retention.retiring import CannotRetire, bring_back, plan_of, retire
from portal.sets.approvals import why_ended
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of(data_dir: Path) -> Dataset:
    of = factories.dataset("Old normals")
    factories.films(of, normal=2)
    return of


@pytest.fixture
def manager(of: Dataset) -> User:
    return factories.user("boss", Role.MANAGER)


@pytest.fixture
def boss(manager: User) -> Client:
    return as_(manager)


def page(client: Client, address: str) -> str:
    return one_line(client.get(address).text)


@pytest.mark.both
def test_a_manager_retires_and_brings_back_by_pages(boss: Client, of: Dataset) -> None:
    address = f"/retired/dataset/{of.uuid}/"
    assert "2 films" in page(boss, address) and "Nothing is removed" in page(boss, address)
    refused = boss.post(address, {"act": "retire", "reason": "x"})
    assert (refused.status_code, "The reason has 1 characters" in refused.text) == (400, True)
    assert boss.post(address, {"act": "retire", "reason": "superseded by v2"}).headers["Location"] == "/retired/"
    assert "superseded by v2" in page(boss, "/retired/")
    assert "Old normals" not in page(boss, "/datasets/")
    shown = page(boss, f"/datasets/{of.uuid}/")
    assert "boss retired this dataset" in shown and "superseded by v2" in shown
    event = AuditEvent.objects.get(verb="retire dataset")
    assert (event.reason, event.after) == ("superseded by v2", {"name": "Old normals", "depends": ["2 films"]})
    assert "Bring it back" in page(boss, address)
    boss.post(address, {"act": "bring back", "reason": "needed again"})
    assert "Old normals" in page(boss, "/datasets/") and not Retired.objects.exists()
    assert AuditEvent.objects.get(verb="bring back dataset").reason == "needed again"


def test_by_api(boss: Client, of: Dataset) -> None:
    address = f"/api/v1/retired/dataset/{of.uuid}/"
    assert boss.get(address).json() == {
        "name": "Old normals",
        "depends": ["2 films"],
        "obstacles": [],
        "retired": None,
    }
    sent = {"act": "retire", "reason": "superseded"}
    done = boss.post(address, sent, content_type="application/json").json()
    assert (done["retired"]["reason"], done["retired"]["author"]) == ("superseded", "boss")
    again = boss.post(address, sent, content_type="application/json")
    assert (again.status_code, "is retired already" in again.text) == (400, True)
    assert [row["target"] for row in boss.get("/api/v1/retired/").json()["results"]] == [str(of.uuid)]
    assert boss.get("/api/v1/datasets/").json()["results"] == []
    unknown = boss.post(address, {"act": "burn", "reason": "why"}, content_type="application/json")
    assert unknown.status_code == 400
    assert boss.get(f"/api/v1/retired/film/{of.uuid}/").status_code == 404


def test_nothing_new_starts_with_a_retired_dataset(manager: User, of: Dataset) -> None:
    retire(target=of, reason="superseded", author=manager)
    with pytest.raises(
        PermissionDenied, match=r"The dataset “Old normals” was retired on .* \(superseded\): nothing new"
    ):
        begin(dataset=of, author=manager, announced=Announced(bytes_total=10))
    assert "was retired on" in why_ended([of])
    bring_back(target=of, reason="needed again", author=manager)
    assert why_ended([of]) == ""
    begin(dataset=of, author=manager, announced=Announced(bytes_total=10))
    with pytest.raises(CannotRetire, match="“Old normals” is not retired"):
        bring_back(target=of, reason="twice", author=manager)


def test_a_dataset_with_a_running_import_waits(manager: User, of: Dataset) -> None:
    Upload.objects.create(dataset=of, state=Upload.State.IMPORTING)
    with pytest.raises(CannotRetire, match="1 import of its films run or wait"):
        retire(target=of, reason="superseded", author=manager)
    assert not Retired.objects.exists()


def test_a_curator_is_refused_and_a_stranger_sees_nothing(of: Dataset) -> None:
    address = f"/retired/dataset/{of.uuid}/"
    with pytest.raises(PermissionDenied, match="manager"):
        retire(target=of, reason="superseded", author=factories.curator())
    stranger = as_(factories.user("stranger", Role.MANAGER, at=factories.site("Busan")))
    for path in (address, f"/api/v1{address}"):
        assert as_(User.objects.get(username="curator")).get(path).status_code == 403
        assert stranger.get(path).status_code == 404
    assert stranger.get("/api/v1/retired/").json()["results"] == []


def test_what_depends_is_named_up_to_five(manager: User, of: Dataset) -> None:
    from portal.models import Split

    for number in range(6):
        split = Split.objects.create(
            site=of.site, name=f"Split {number}", origin="drawn", seed=0, label_cutoff=of.created_at
        )
        split.datasets.add(of)
    (_, splits) = plan_of(of).depends
    assert splits == "6 splits: Split 5, Split 4, Split 3, Split 2, Split 1 and 1 more"
