"""Requests of ablations and sweeps: which are refused, and the folder that the engine gets."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from ml_engine.core.files import write_tensors
from ml_engine.core.published_weights import KNOWN
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.stages.runner import PLANS
from ml_engine.models import Run, RunKind
from ml_engine.runs import paths, study_requests, write_folder
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest
from ml_engine.templatetags.runs import stage_words
from portal.models import AuditEvent, Part, Role, Site, Split
from tests.ml_engine import made

pytestmark = pytest.mark.django_db

SMALL = "\n".join(f"{name}={text}" for name, text in made.SMALL.items() if name not in ("weights", "backbone", "mask"))


@pytest.fixture
def site(data_dir: Path) -> Site:
    return made.site()


@pytest.fixture
def split(site: Site) -> Split:
    return made.small_split(site)


@pytest.fixture
def web(client: Client, site: Site) -> Client:
    client.force_login(made.person("ana", at=site, role=Role.ANALYST))
    return client


def run_request(split: Split, **fields: Any) -> RunRequest:
    return RunRequest(site=split.site, name="A study", **fields)


def ablation(split: Split, *figures: str, **changes: str) -> Run:
    config = made.small_config(**{"mask": "yes", **changes})
    return study_requests.request_ablation(
        run_request(split), split=split, config=config, figures=figures or study_requests.FIGURES
    )


def sweep(split: Split, axes: dict[str, list[str]] | None = None, **changes: str) -> Run:
    config = made.small_config(**changes)
    return study_requests.request_sweep(
        run_request(split), split=split, config=config, axes=axes or {"rate": ["0.1", "0.2"]}
    )


def test_an_ablation_is_queued_as_requested(split: Split) -> None:
    run = ablation(split, "12", "14")

    assert (run.kind, run.split, run.asked) == (RunKind.ABLATION, split, {"figures": ["12", "14"]})
    assert run.random_weights
    event = AuditEvent.objects.get(verb="request run")
    assert event.after["kind"] == "ablation"


def test_a_sweep_begins_with_the_first_value_of_each_axis(split: Split) -> None:
    run = sweep(split, {"neighbours": ["3", "1"], "rate": ["0.20", "0.1"], "seed": ["7", "8"]})

    assert run.asked == {"axes": {"rate": ["0.2", "0.1"], "neighbours": ["3", "1"], "seed": ["7", "8"]}}
    assert (run.config["rate"], run.config["neighbours"], run.seed) == (0.2, 3, 7)


@pytest.mark.parametrize("make", [ablation, sweep])
def test_the_folder_holds_no_label_of_test(split: Split, make: Any) -> None:
    run = make(split)
    folder = write_folder.write_folder(run, tick=lambda: None)

    with (folder / "images.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    labels = {part: [line["label"] for line in lines if line["part"] == part] for part in Part.values}
    assert labels == {
        "align": [],
        "fit": ["normal"] * 6,
        "tune": ["normal", "normal", "abnormal", "abnormal"],
        "calibrate": ["normal"] * 2,
        "test": ["", ""],
    }
    spec = RunSpec.from_json(json.loads((folder / "run.json").read_text()))
    planned = PLANS[run.kind](spec)  # the engine plans what was checked on request
    assert planned.asked == run.asked


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda split: ablation(split, "99"), "figures is '99': choose from 12, 13"),
        (lambda split: study_requests.request_ablation(
            run_request(split), split=split, config=made.small_config(mask="yes"), figures=()), "No figure is chosen"),
        (lambda split: ablation(split, mask="no"), "mask is False: an ablation varies it"),
        (lambda split: sweep(split, {"rate": ["5"]}), "rate is 5.0: it must be from 1e-06 to 1"),
        (lambda split: sweep(split, {"halo": ["1"]}), "halo is not an axis of a sweep"),
        (lambda split: sweep(split, {"rate": ["0.1"], "seed": [str(n) for n in range(61)]}), "61 detectors: at most"),
        (lambda split: sweep(split, **{"alignment.method": "landmarks"}), "needs a file that only the command line"),
    ],
)  # fmt: skip
def test_an_impossible_study_is_refused(split: Split, make: Any, sentence: str) -> None:
    with pytest.raises(RunRefused, match=sentence):
        make(split)
    assert not Run.objects.exists()


def test_a_study_is_refused_where_any_of_its_weights_are_absent(split: Split) -> None:
    axes = {"backbone": ["resnet18", "resnet34"]}
    with pytest.raises(RunRefused, match="The ImageNet weights of resnet34 are not on this machine"):
        sweep_of_backbones(split, axes)
    network = {"alignment.method": "network", "alignment.perceptual": "1"}
    for make in (ablation, sweep):
        with pytest.raises(RunRefused, match="The ImageNet weights of vgg19 are not on this machine"):
            make(split, **network)
    assert not Run.objects.exists()
    assert sweep_of_backbones(split, {"backbone": ["tf_efficientnet_lite0", "tf_efficientnet_lite2"]}).pk


def sweep_of_backbones(split: Split, axes: dict[str, list[str]]) -> Run:
    """A sweep with ImageNet weights, of which those of resnet18 are there."""
    path = paths.weights_folder() / KNOWN["resnet18"].stored_name
    write_tensors(path, {"a": torch.zeros(1)}, {"architecture": "resnet18"})
    return sweep(split, axes, weights="imagenet")


def test_a_split_without_test_films_is_refused(site: Site) -> None:
    split = made.split(site, {"fit": [made.film(made.dataset(site), number=1)]})

    with pytest.raises(RunRefused, match="has no film in part test; detectors are compared on its films"):
        ablation(split)


def test_a_split_of_another_site_is_refused(split: Split) -> None:
    request = RunRequest(site=made.site("Busan"), name="A study")

    with pytest.raises(RunRefused, match="belongs to another site"):
        study_requests.request_sweep(request, split=split, config=made.small_config(), axes={"rate": ["0.1"]})


# The pages --------------------------------------------------------------------------------------------


def new(kind: str) -> str:
    return reverse("ml_engine:run-new", args=[kind])


def filled(web: Client, kind: str, split: Split, **changes: Any) -> dict[str, Any]:
    """The form as it is offered for a split, small."""
    form = web.get(f"{new(kind)}?split={split.uuid}").context["form"]
    values = {name: form.initial.get(name, "") for name in form.fields}
    return values | {"weights": "random", "advanced": f"{SMALL}\n{form.initial.get('advanced', '')}", **changes}


def test_the_papers_experiments_are_one_button(web: Client, split: Split) -> None:
    page = web.get(reverse("portal:split", args=[split.uuid])).content.decode()
    assert f"{new('ablation')}?split={split.uuid}" in page

    answer = web.post(new("ablation"), filled(web, "ablation", split))

    run = Run.objects.get()
    assert answer["Location"] == reverse("ml_engine:run", args=[run.uuid])
    assert run.asked == {"figures": ["12", "13", "14", "15"]}
    page = web.get(answer["Location"]).content.decode()
    assert "12, 13, 14, 15" in page
    assert "Ablation of the paper" in page


def test_a_sweep_is_requested_by_lists(web: Client, split: Split) -> None:
    values = filled(web, "sweep", split, axis_rate="0.1, 0.2,", axis_neighbours="", axis_size="64", align="none")
    web.post(new("sweep"), values)

    run = Run.objects.get()
    assert run.asked == {"axes": {"size": ["64"], "rate": ["0.1", "0.2"]}}
    assert run.config["align"] == "none"
    assert "0.1, 0.2" in web.get(reverse("ml_engine:run", args=[run.uuid])).content.decode()


def test_a_refusal_is_shown_in_the_form(web: Client, split: Split) -> None:
    answer = web.post(new("sweep"), filled(web, "sweep", split, axis_rate="often"))

    assert answer.status_code == 400
    assert "rate is &#x27;often&#x27;: it must be a number." in answer.content.decode()


@pytest.mark.parametrize("kind", ["ablation", "sweep"])
def test_a_clone_requests_the_same(web: Client, split: Split, kind: str) -> None:
    run = ablation(split, "13", seed="3") if kind == "ablation" else sweep(split, {"seed": ["1", "2"]}, align="none")
    form = web.get(f"{new(kind)}?clone={run.uuid}").context["form"]
    web.post(
        f"{new(kind)}?clone={run.uuid}", {name: value for name in form.fields if (value := form.initial.get(name))}
    )

    again = Run.objects.get(clone_of=run)
    threads = {"threads": run.config["threads"]}  # of the machine
    assert (again.asked, again.config | threads) == (run.asked, run.config)


def test_the_forecast_counts_the_fits(web: Client, split: Split) -> None:
    address = reverse("ml_engine:sweep-forecast")

    response = web.post(address, filled(web, "sweep", split, axis_rate="0.1,0.2", axis_neighbours="1,3", axis_seed="0"))
    assert response.content.decode() == "This makes 1 alignment and 4 detectors on 1 set of features."
    response = web.post(address, filled(web, "sweep", split, axis_seed=",".join(map(str, range(61)))))
    assert "3 × 2 × 61 is 366 detectors: at most 60" in response.content.decode()
    response = web.post(address, filled(web, "sweep", split, axis_rate="<b>"))
    assert "<b>" not in response.content.decode()
    assert not Run.objects.exists()


@pytest.mark.parametrize("role", [Role.READER, Role.CURATOR, Role.ADJUDICATOR])
def test_other_roles_may_not_request_studies(client: Client, split: Split, role: Role) -> None:
    client.force_login(made.person("rho", at=split.site, role=role))

    for kind in ("ablation", "sweep"):
        assert client.get(new(kind)).status_code == 403
        assert client.post(new(kind), {}).status_code == 403
    assert client.post(reverse("ml_engine:sweep-forecast"), {}).status_code == 403
    assert client.get(reverse("ml_engine:sweep-forecast")).status_code == 405


# By API -----------------------------------------------------------------------------------------------


def as_member(at: Site, role: Role) -> APIClient:
    client = APIClient()
    client.force_login(made.person(f"{role} of {at.name}", at=at, role=role))
    return client


def api_fields(split: Split, **more: Any) -> dict[str, Any]:
    settings = {name: text for name, text in made.SMALL.items() if name != "mask"}
    return {"name": "By API", "split": str(split.uuid), "settings": settings, **more}


def test_studies_are_requested_by_api(split: Split) -> None:
    api = as_member(split.site, Role.ANALYST)

    made_ablation = api.post(reverse("api-new-ablation"), api_fields(split, figures=["12"]), format="json")
    made_sweep = api.post(
        reverse("api-new-sweep"), api_fields(split, axes={"rate": ["0.1"]}, aligned=False), format="json"
    )

    assert (made_ablation.status_code, made_ablation.data["asked"]) == (201, {"figures": ["12"]})
    assert (made_sweep.status_code, made_sweep.data["asked"]) == (201, {"axes": {"rate": ["0.1"]}})
    assert made_sweep.data["config"]["align"] == "none"


def test_the_api_refuses_as_the_pages_do(split: Split) -> None:
    api = as_member(split.site, Role.ANALYST)
    refused = api.post(reverse("api-new-sweep"), api_fields(split, axes={"halo": ["1"]}), format="json")
    assert refused.status_code == 400
    assert "halo is not an axis of a sweep" in refused.data["detail"]

    reader, stranger = as_member(split.site, Role.READER), as_member(made.site("Busan"), Role.ANALYST)
    for name in ("api-new-ablation", "api-new-sweep"):
        fields = api_fields(split, axes={"rate": ["0.1"]})
        assert reader.post(reverse(name), fields, format="json").status_code == 403
        assert stranger.post(reverse(name), fields, format="json").status_code == 404
    assert not Run.objects.exists()


def test_stages_are_shown_in_words() -> None:
    assert stage_words("cell-aligned-masked") == "fitting and scoring detector aligned-masked"
    assert stage_words("alignment-base") == "fitting the alignment"
