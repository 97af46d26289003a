"""The runs API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from rest_framework.test import APIClient

from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs import paths
from portal.models import Role, Site
from tests.ml_engine import made, reports

pytestmark = pytest.mark.django_db

SMALL = {"size": "64", "backbone": "resnet18", "weights": "random"}
ALIGNMENT = {"alignment.epochs": "3", "alignment.perceptual": "0"}


@pytest.fixture
def site(data_dir: Path) -> Site:
    return made.site()


@pytest.fixture
def split(site: Site) -> Any:
    return made.small_split(site)


def as_member(at: Site, role: Role, name: str) -> APIClient:
    client = APIClient()
    client.force_login(made.person(name, at=at, role=role))
    return client


@pytest.fixture
def api(site: Site) -> APIClient:
    return as_member(site, Role.ANALYST, "ana")


def address(name: str, run: Run | None = None) -> str:
    return reverse(name, args=[run.uuid] if run else [])


REQUESTS = [
    ("api-fit-alignment", {"settings": ALIGNMENT}),
    ("api-fit-detector", {"settings": SMALL}),
    ("api-score", {}),
]


# Who may ---------------------------------------------------------------------------------------------


def test_a_stranger_gets_nothing(split: Any) -> None:
    run, client = made.run(split), APIClient()
    for name in ("api-run", "api-run-log"):
        assert client.get(address(name, run)).status_code in (302, 401, 403)
    assert client.get(address("api-runs")).status_code in (302, 401, 403)
    for name, _ in REQUESTS:
        assert client.post(address(name)).status_code in (302, 401, 403)
    assert not Run.objects.exclude(pk=run.pk).exists()


def test_another_sites_run_does_not_exist(split: Any) -> None:
    eve, run = as_member(made.site("Busan"), Role.MANAGER, "eve"), made.run(split)
    answers = [eve.get(address(name, run)) for name in ("api-run", "api-run-log")]
    answers += [eve.post(address(name, run)) for name in ("api-run-cancel", "api-run-retry")]
    answers += [eve.post(address("api-fit-alignment"), {"name": "x", "split": split.uuid}, format="json")]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert eve.get(address("api-runs")).json()["count"] == 0


def test_a_reader_may_see_runs_but_not_request_one(site: Site, split: Any) -> None:
    reader, run = as_member(site, Role.READER, "rho"), made.run(split)
    assert reader.get(address("api-run", run)).status_code == 200
    fields = {"name": "x", "split": str(split.uuid)}
    answers = [reader.post(address("api-fit-alignment"), fields, format="json")]
    answers += [reader.post(address(name, run)) for name in ("api-run-cancel", "api-run-retry")]
    assert [answer.status_code for answer in answers] == [403] * 3
    assert "you need one of these roles: analyst, manager" in answers[0].json()["detail"]


def test_wrong_methods_are_refused(api: APIClient, split: Any) -> None:
    run = made.run(split)
    assert api.delete(address("api-run", run)).status_code == 405
    assert api.post(address("api-runs")).status_code == 405
    assert api.get(address("api-run-cancel", run)).status_code == 405


# Retrieving ---------------------------------------------------------------------------------------------


def test_the_list_filters(api: APIClient, split: Any) -> None:
    made.run(split, name="first")
    made.run(split, name="second", kind=RunKind.FIT_DETECTOR, state=RunState.DONE)
    names = [run["name"] for run in api.get(address("api-runs"), {"state": "done"}).json()["results"]]
    assert names == ["second"]
    refusal = api.get(address("api-runs"), {"kind": "bake"})
    assert refusal.status_code == 400
    assert refusal.json()["detail"].startswith("kind is “bake”: it must be one of fit_alignment")


def test_the_list_takes_the_same_queries_for_any_number(
    api: APIClient, split: Any, django_assert_num_queries: Any
) -> None:
    alignment = made.alignment_model(split)
    for _ in range(3):
        made.run(split, kind=RunKind.FIT_DETECTOR, alignment=alignment, after=alignment.run)
    with django_assert_num_queries(6):  # session, user, site, count, runs, those before them
        assert api.get(address("api-runs")).json()["count"] == 4


def test_a_queued_run_says_how_many_are_before_it(api: APIClient, split: Any) -> None:
    running = made.run(split, state=RunState.RUNNING)
    queued = made.run(split)
    assert api.get(address("api-run", running)).json()["runs_before"] is None
    assert api.get(address("api-run", queued)).json()["runs_before"] == 1
    assert [run["runs_before"] for run in api.get(address("api-runs")).json()["results"]] == [1, None]


def test_a_run_in_full(api: APIClient, split: Any) -> None:
    run = made.run(split, state=RunState.RUNNING, stage="banks", done=3, total=9, memory_mib=10.0)
    data = api.get(address("api-run", run)).json()
    expected = {
        "uuid": str(run.uuid),
        "state": "running",
        "stage": "banks",
        "done": 3,
        "split": str(split.uuid),
        "detector": None,
        "config": run.config,
    }
    assert {name: data[name] for name in expected} == expected
    assert "detail" not in data
    assert "lease_owner" not in data


def test_the_log(api: APIClient, split: Any) -> None:
    run = made.run(split)
    paths.run_folder(run.uuid).mkdir(parents=True)
    (paths.run_folder(run.uuid) / "log.txt").write_text("one\ntwo\nthree\n")
    assert api.get(address("api-run-log", run), {"lines": "2"}).json() == {"log": "two\nthree", "random_weights": False}
    Run.objects.filter(pk=run.pk).update(random_weights=True)
    data = api.get(address("api-run-log", run), {"lines": "2"}).json()
    assert data == {"log": "random weights, not for evaluation\n\ntwo\nthree", "random_weights": True}
    for lines in ("many", "0", "10001", "9" * 5000):
        assert api.get(address("api-run-log", run), {"lines": lines}).status_code == 400


# Requesting ----------------------------------------------------------------------------------------------


def test_the_three_kinds(api: APIClient, split: Any) -> None:
    fields = {"name": "A", "split": str(split.uuid), "settings": ALIGNMENT}
    alignment = api.post(address("api-fit-alignment"), fields, format="json")
    fields = {"name": "D", "split": str(split.uuid), "settings": SMALL, "tags": ["pilot"]}
    detector = api.post(address("api-fit-detector"), fields, format="json")
    fields = {"name": "S", "detector": detector.json()["uuid"], "parts": ["test"]}
    score = api.post(address("api-score"), fields, format="json")
    assert [answer.status_code for answer in (alignment, detector, score)] == [201] * 3
    assert alignment.json()["config"]["alignment"]["epochs"] == 3
    assert detector.json()["random_weights"]
    assert Run.objects.get(name="D").tags == ["pilot"]
    assert score.json()["after"] == detector.json()["uuid"]


def test_a_detector_with_its_alignment_first(api: APIClient, split: Any) -> None:
    fields = {"name": "D", "split": str(split.uuid), "alignment": "first", "settings": {**SMALL, **ALIGNMENT}}
    data = api.post(address("api-fit-detector"), fields, format="json").json()
    assert Run.objects.get(uuid=data["after"]).kind == RunKind.FIT_ALIGNMENT


def test_a_fitted_detector_by_either_address(api: APIClient, split: Any) -> None:
    detector = made.detector_model(split)
    for uuid in (detector.uuid, detector.run.uuid):
        fields = {"name": "S", "detector": str(uuid), "parts": ["test"]}
        response = api.post(address("api-score"), fields, format="json")
        assert response.json()["detector"] == str(detector.uuid)


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("api-fit-detector", {"settings": {"size": "65"}}, "size is 65: it must be a multiple of 32"),
        (
            "api-fit-detector",
            {"settings": {"fusion_weight": "0.333"}},
            "fusion_weight is 0.333: it must be a whole number",
        ),
        ("api-fit-detector", {"settings": {"mystery": "1"}}, "mystery is not a setting."),
        (
            "api-fit-detector",
            {"settings": {"backbone": "resnet18", "weights": "imagenet-v2", "layers": "layer2"}},
            "weights is 'imagenet-v2': it must be imagenet",
        ),
        (
            "api-fit-detector",
            {"settings": {"backbone": "resnet18", "weights": "imagenet"}},
            "The ImageNet weights of resnet18 are not on this machine. Download them",
        ),
        ("api-fit-detector", {"settings": {"weights": "mine"}}, "There are no weights called 'mine'"),
        (
            "api-fit-alignment",
            {"settings": {"alignment.method": "network"}},
            "The ImageNet weights of vgg19 are not on this machine.",
        ),
        ("api-fit-detector", {"name": " "}, "name"),
        ("api-fit-detector", {"preset": "best"}, "preset"),
        ("api-score", {"parts": []}, "Choose what to score"),
        ("api-score", {"parts": ["align"]}, "has no film in part align"),
    ],
)
def test_a_bad_request_is_refused_with_a_sentence(
    api: APIClient, split: Any, name: str, changes: dict[str, Any], sentence: str
) -> None:
    fields = {"name": "x", "split": str(split.uuid)}
    if name == "api-score":
        fields |= {"detector": str(made.detector_model(split).uuid), "parts": ["test"]}
    before = Run.objects.count()
    answer = api.post(address(name), fields | changes, format="json")
    assert answer.status_code == 400
    assert sentence in answer.text
    assert Run.objects.count() == before


def test_a_member_of_two_sites_names_one(api: APIClient, split: Any) -> None:
    from portal.models import Membership, User

    Membership.objects.create(user=User.objects.get(username="ana"), site=made.site("Busan"), role=Role.ANALYST)
    fields = {"name": "A", "split": str(split.uuid), "settings": ALIGNMENT}
    answer = api.post(address("api-fit-alignment"), fields, format="json")
    assert (answer.status_code, "name one in “site”" in answer.text) == (400, True)
    answer = api.post(address("api-fit-alignment"), {**fields, "site": str(split.site.uuid)}, format="json")
    assert answer.status_code == 201


def test_cancel_and_retry(api: APIClient, split: Any) -> None:
    run = made.run(split)
    assert api.post(address("api-run-cancel", run)).json()["state"] == "cancelled"
    refusal = api.post(address("api-run-cancel", run))
    assert refusal.status_code == 400
    assert refusal.json() == {"detail": "“A run” is already cancelled: nothing to cancel."}
    assert api.post(address("api-run-retry", run)).json()["state"] == "queued"


def test_a_detector_fit_gives_its_negative_controls(api: APIClient, split: Any) -> None:
    controls = reports.negative_controls(unchanged=4, rotated=7)
    detector = made.detector_model(split, reports.detector_report(controls=controls))
    without = made.detector_model(split)

    assert api.get(address("api-run", detector.run)).json()["controls"] == controls.to_json()
    assert api.get(address("api-run", without.run)).json()["controls"] is None
    assert api.get(address("api-run", made.run(split))).json()["controls"] is None
