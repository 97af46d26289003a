"""Boards by API: the same acts as on the pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from ml_engine.models import AffineDecision, CanonicalBoard, HandMadeCanonical, Run
from ml_engine.runs import lifecycle
from portal.models import Image, Role, Split
from tests.ml_engine import made

pytestmark = [pytest.mark.django_db]
FIT = [80 / 448, 0, 0, 0, 80 / 448, 0, 0, 0, 1.0]


@pytest.fixture
def split(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Split:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)
    return made.small_split(made.site(), fit=4)


@pytest.fixture
def api(client: Client, split: Split) -> Client:
    client.force_login(made.person("ana", at=split.site, role=Role.ANALYST))
    return client


def post(api: Client, address: str, body: dict[str, Any], *, status: int = 201) -> Any:
    response = api.post(f"/api/v1/{address}", body, content_type="application/json")
    assert response.status_code == status, response.content
    return response.json()


def test_a_board_from_its_start_to_a_run(api: Client, split: Split) -> None:
    board = post(api, "boards/", {"name": "By API", "films": 3, "seed": 2, "split": str(split.uuid), "part": "fit"})
    assert (board["films"], board["placed"], board["side"]) == (3, 0, 448)
    address = f"boards/{board['uuid']}/"
    for position in (1, 2):
        row = post(api, f"{address}films/{position}/", {"matrix": FIT})
        assert (row["position"], row["how"], row["author"]) == (position, "handles", "ana")
    assert post(api, f"{address}films/3/", {"left_out": True})["matrix"] is None
    shown = api.get(f"/api/v1/{address}").json()
    assert [row["how"] for row in shown["placements"]] == ["handles", "handles", "left out"]
    canonical = post(api, f"{address}canonical/", {"name": "Two"})
    assert canonical["sha256"] == HandMadeCanonical.objects.get().sha256
    listed = api.get("/api/v1/canonicals/").json()["results"]
    assert [one["report"]["left_out"] for one in listed] == [1]
    body = {"name": "To it", "split": str(split.uuid), "settings": made.SMALL, "canonical": canonical["uuid"]}
    run = post(api, "runs/fit_alignment/", body)
    assert Run.objects.get(uuid=run["uuid"]).canonical == HandMadeCanonical.objects.get()


def test_what_cannot_be_is_refused_with_a_sentence(api: Client, split: Split) -> None:
    refused = post(api, "boards/", {"name": "x", "films": 3}, status=400)
    assert "Choose where the films come from" in str(refused)
    post(api, "boards/", {"name": "x", "films": 2, "split": str(split.uuid)})
    address = f"boards/{CanonicalBoard.objects.get().uuid}/"
    assert "nine finite numbers" in str(post(api, f"{address}films/1/", {}, status=400))
    assert "place at least 2" in str(post(api, f"{address}canonical/", {"name": "x"}, status=400))
    post(api, f"{address}films/9/", {"matrix": FIT}, status=404)


def test_decisions_on_a_fitted_alignment(api: Client, split: Split) -> None:
    run = made.alignment_model(split).run
    image = Image.objects.filter(split_images__member__part="fit")[0]
    affine = [1.25, 0, 3.5, 0, 1.25, 0, 0, 0, 1]
    row = post(api, f"runs/{run.uuid}/films/{image.uuid}/", {"verdict": "by hand", "matrix": affine})
    assert row["affine"] == [affine[:3], affine[3:6]]
    (shown,) = api.get(f"/api/v1/runs/{run.uuid}/films/").json()["decisions"]
    assert (shown["image"], shown["verdict"], shown["canonical_size"]) == (str(image.uuid), "by hand", 64)
    post(api, f"runs/{run.uuid}/films/{image.uuid}/", {"verdict": "x"}, status=400)
    assert AffineDecision.objects.count() == 1
