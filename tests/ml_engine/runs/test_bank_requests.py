"""Bank studies and blind spots in the portal: requested, refused, and carried out by the real engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from analysis.studies import bank, blind
from ml_engine.engine.reports import MapThreshold
from ml_engine.engine.study_plans import BankPlan, LesionPlan
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs import supervisor, write_folder
from ml_engine.runs.bank_requests import request_aligned_bank_study, request_bank_study, request_blind_spots
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.paths import run_folder
from ml_engine.runs.requests import RunRequest, request_detector
from portal.models import AuditEvent, Role, Site
from tests.ml_engine import films as made_films
from tests.ml_engine import made, reports

pytestmark = [pytest.mark.django_db]

PLAN = BankPlan(shares=(0.5,), repeats=1, contaminations=(0.0, 0.2))
LESIONS = LesionPlan(films=2, places=1, kinds=("nodule",), sizes_mm=(("nodule", (40.0,)),), contrasts=(0.0, 0.3))


@pytest.fixture
def site(data_dir: Path) -> Site:
    return made.site()


@pytest.fixture
def split(site: Site) -> Any:
    return made.small_split(site)


def run_request(site: Site, name: str = "A study") -> RunRequest:
    return RunRequest(site=site, name=name)


def api(at: Site, role: Role, name: str) -> APIClient:
    client = APIClient()
    client.force_login(made.person(name, at=at, role=role))
    return client


# Requests ---------------------------------------------------------------------------------------


def test_a_bank_study_is_queued_with_its_plan(site: Site, split: Any) -> None:
    run = request_bank_study(run_request(site), split=split, config=made.small_config(), planned=PLAN)
    assert (run.kind, run.state, run.split) == (RunKind.BANK_STUDY, RunState.QUEUED, split)
    assert run.asked == {"bank": PLAN.to_json()}
    assert run.config["align"] == "none"
    assert run.random_weights
    event = AuditEvent.objects.get(verb="request run")
    assert event.after["asked"] == run.asked


def test_an_alignment_may_be_fitted_first(site: Site, split: Any) -> None:
    run = request_aligned_bank_study(run_request(site), split=split, config=made.small_config(), planned=PLAN)
    assert run.after is not None and run.after.kind == RunKind.FIT_ALIGNMENT
    assert run.config["align"] == "network"


def test_blind_spots_take_the_detectors_split_and_config(site: Site, split: Any) -> None:
    detector = made.detector_model(split)
    run = request_blind_spots(run_request(site), detector=detector, planned=LESIONS)
    assert (run.kind, run.split, run.detector, run.parts) == (RunKind.BLIND_SPOTS, split, detector, ["tune"])
    assert run.asked == {"lesions": LESIONS.to_json()}
    assert run.config == detector.config


def without(at: Site, part: str) -> Any:
    """A split like the small one, without one part."""
    source = made.dataset(at, f"Without {part}")
    films = {
        name: [made.film(source, number=300 + 10 * k + n) for n in range(2)]
        for k, name in enumerate(("fit", "tune", "calibrate", "test"))
        if name != part
    }
    return made.split(at, films, name=f"Without {part}")


@pytest.mark.parametrize(
    ("missing", "config", "planned", "sentence"),
    [
        (
            "",
            {},
            BankPlan(contaminations=(0.4,)),
            "needs 4 abnormal films in tune beside the 6 normal films of fit, and there are 2",
        ),
        ("", {"detector": "padim"}, PLAN, "has no memory bank"),
        ("calibrate", {}, PLAN, "has no film in part calibrate"),
        ("test", {}, PLAN, "has no film in part test"),
    ],
)
def test_a_bank_study_that_cannot_be_is_refused(
    site: Site, missing: str, config: dict[str, str], planned: BankPlan, sentence: str
) -> None:
    split = without(site, missing) if missing else made.small_split(site)
    with pytest.raises(RunRefused) as refused:
        request_bank_study(run_request(site), split=split, config=made.small_config(**config), planned=planned)
    assert sentence in str(refused.value)
    assert not Run.objects.filter(kind=RunKind.BANK_STUDY).exists()


def test_blind_spots_need_normal_films_and_a_threshold(site: Site, split: Any) -> None:
    threshold = MapThreshold(kind="film", value=None, note="Add films.")
    few = made.detector_model(split, reports.detector_report(threshold=threshold))
    with pytest.raises(RunRefused, match="has no threshold, so no lesion can count as detected"):
        request_blind_spots(run_request(site), detector=few, planned=LESIONS)
    with pytest.raises(RunRefused, match="has no normal film in part tune"):
        request_blind_spots(run_request(site), detector=made.detector_model(without(site, "tune")), planned=LESIONS)


# Which films -----------------------------------------------------------------------------------------


def test_no_label_of_test_reaches_the_folder(site: Site, split: Any) -> None:
    run = request_bank_study(run_request(site), split=split, config=made.small_config(), planned=PLAN)
    folder = write_folder.write_folder(run, tick=lambda: None)
    lines = made_films.read_csv(folder / "images.csv")
    labels = {(line["part"], line["label"]) for line in lines}
    assert labels == {("fit", "normal"), ("tune", "abnormal"), ("calibrate", "normal"), ("test", "")}
    assert json.loads((folder / "run.json").read_text())["bank"] == PLAN.to_json()


@pytest.mark.parametrize("part", ["tune", "test"])
def test_lesions_go_into_normal_films_only_and_their_label_stays_in_the_portal(
    site: Site, split: Any, part: str
) -> None:
    detector = made.detector_model(split)
    model = run_folder(detector.run.uuid).parent.parent / "models" / "dd" / f"{'d' * 64}.safetensors"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"")
    planned = LesionPlan(part=part, films=1)
    run = request_blind_spots(run_request(site), detector=detector, planned=planned)
    folder = write_folder.write_folder(run, tick=lambda: None)
    [line] = made_films.read_csv(folder / "images.csv")
    assert "label" not in line and line["part"] == part
    normal = {str(film.uuid) for film in _films_labelled(split, part, "normal")}
    assert line["image"] in normal


def _films_labelled(split: Any, part: str, label: str) -> list[Any]:
    images = [row.image for member in split.members.filter(part=part) for row in member.images.all()]
    return [image for image in images if image.label_events.get().value == label]


# The real engine -------------------------------------------------------------------------------------


def done(run: Run) -> Path:
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert (run.state, run.message, run.detail) == (RunState.DONE, "", "")
    return run_folder(run.uuid)


@pytest.mark.django_db(transaction=True)
def test_a_bank_study_runs_to_its_results(site: Site, split: Any) -> None:
    folder = done(request_bank_study(run_request(site), split=split, config=made.small_config(), planned=PLAN))
    study = bank.read_bank_study(folder)
    assert [row["name"] for row in study.summary["cells"]] == ["whole", "share-050000-0", "abnormal-020000-0"]
    assert study.scores.shape == (3, 2, 3) and np.isfinite(study.scores).all()


@pytest.mark.django_db(transaction=True)
def test_blind_spots_run_to_their_results(site: Site, split: Any) -> None:
    config = made.small_config(false_alarm_rate="0.5", cross_fit="no")
    fit = request_detector(run_request(site, "Fit"), split=split, config=config)
    done(fit)
    folder = done(request_blind_spots(run_request(site), detector=fit.detector_made, planned=LESIONS))
    lesions = blind.read_blind_spots(folder)
    assert len(lesions) == 2 * 2
    assert set(lesions.text["kind"]) == {"nodule"}


# Pages and API ---------------------------------------------------------------------------------------


def api_requests(split: Any) -> list[tuple[str, dict[str, Any]]]:
    detector = made.detector_model(split)
    small = {"size": "64", "backbone": "resnet18", "weights": "random"}
    return [
        ("api-new-bank-study", {"name": "x", "split": str(split.uuid), "settings": small, "contaminations": [0, 0.2]}),
        ("api-new-blind-spots", {"name": "x", "detector": str(detector.run.uuid), "sizes_mm": {"nodule": [7]}}),
    ]


def test_who_may_request_by_api(site: Site, split: Any) -> None:
    analyst, reader = api(site, Role.ANALYST, "ana"), api(site, Role.READER, "rho")
    eve = api(made.site("Busan"), Role.MANAGER, "eve")
    for name, fields in api_requests(split):
        address = reverse(name)
        assert APIClient().post(address, fields, format="json").status_code in (302, 401, 403)
        assert reader.post(address, fields, format="json").status_code == 403
        assert eve.post(address, fields, format="json").status_code == 404
        before = Run.objects.count()
        answer = analyst.post(address, fields, format="json")
        assert answer.status_code == 201, answer.content
        assert Run.objects.count() == before + 1
    assert Run.objects.get(kind="blind_spots").asked["lesions"]["sizes_mm"]["nodule"] == [7.0]


def test_a_bad_request_by_api_is_refused_with_a_sentence(site: Site, split: Any) -> None:
    analyst = api(site, Role.ANALYST, "ana")
    (study, fields), (spots, lesions) = api_requests(split)
    for name, body, sentence in (
        (study, fields | {"shares": [3.0]}, "shares is 3"),
        (study, fields | {"contaminations": [0.4]}, "needs 4 abnormal films"),
        (spots, lesions | {"contrasts": [2.0]}, "contrasts is 2"),
        (spots, lesions | {"films": 0}, "films is 0"),
    ):
        answer = analyst.post(reverse(name), body, format="json")
        assert answer.status_code == 400
        assert sentence in answer.json()["detail"]


FORM = {
    "name": "By form", "note": "", "preset": "default", "alignment": "none", "weights": "random", "shares": "50%, 1",
    "contaminations": "0, 20%", "repeats": "2", "advanced": "size=64\nbackbone=resnet18",
}  # fmt: skip


def test_the_form_of_a_bank_study(client: Client, site: Site, split: Any) -> None:
    client.force_login(made.person("ana", at=site, role=Role.ANALYST))
    page = reverse("ml_engine:run-new", args=["bank_study"])
    assert client.get(page).status_code == 200
    refused = client.post(page, FORM | {"split": split.uuid, "shares": "many"})
    assert refused.status_code == 400 and "has &#x27;many&#x27;" in refused.content.decode()
    answer = client.post(page, FORM | {"split": split.uuid})
    run = Run.objects.get(kind=RunKind.BANK_STUDY)
    assert answer["Location"] == reverse("ml_engine:run", args=[run.uuid])
    assert run.asked["bank"] == {"shares": [0.5, 1.0], "repeats": 2, "contaminations": [0.0, 0.2]}
    assert run.config["size"] == 64
    run_page = client.get(answer["Location"]).content.decode()
    assert "Shares of fit" in run_page and f"/runs/new/bank_study/?clone={run.uuid}" in run_page
    assert 'value="0.5, 1"' in client.get(f"{page}?clone={run.uuid}").content.decode()


def test_the_form_of_blind_spots(client: Client, site: Site, split: Any) -> None:
    client.force_login(made.person("ana", at=site, role=Role.ANALYST))
    detector = made.detector_model(split)
    page = reverse("ml_engine:run-new", args=["blind_spots"])
    values = {
        "name": "Spots", "note": "", "detector": str(detector.run.uuid), "part": "tune", "films": "2", "places": "1",
        "kinds": ["nodule"], "contrasts": "0.1", "size_nodule": "10, 20",
    }  # fmt: skip
    assert str(detector.run.uuid) in client.get(f"{page}?detector={detector.run.uuid}").content.decode()
    refused = client.post(page, values | {"size_nodule": ""})
    assert refused.status_code == 400 and "The list of nodule sizes is empty" in refused.content.decode()
    answer = client.post(page, values)
    run = Run.objects.get(kind=RunKind.BLIND_SPOTS)
    assert answer["Location"] == reverse("ml_engine:run", args=[run.uuid])
    assert run.asked["lesions"]["sizes_mm"] == {"nodule": [10.0, 20.0]}
    assert 'value="10, 20"' in client.get(f"{page}?clone={run.uuid}").content.decode()


@pytest.mark.parametrize("kind", ["bank_study", "blind_spots"])
def test_who_may_request_by_page(client: Client, site: Site, split: Any, kind: str) -> None:
    page = reverse("ml_engine:run-new", args=[kind])
    client.force_login(made.person("rho", at=site, role=Role.READER))
    assert client.get(page).status_code == 403
    client.force_login(made.person("eve", at=made.site("Busan"), role=Role.MANAGER))
    assert client.get(f"{page}?split={split.uuid}").status_code == 404
