"""The page of a fitted detector: its model, what was chosen on tune, the least normal of its fit films."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ml_engine.models import DetectorModel
from portal.models import Image, Role, Split
from tests.ml_engine import made
from tests.pages import one_line

pytestmark = pytest.mark.django_db


@pytest.fixture
def split(data_dir: Path) -> Split:
    return made.small_split(made.site())


@pytest.fixture
def web(client: Client, split: Split) -> Client:
    client.force_login(made.person("ana", at=split.site, role=Role.ANALYST))
    return client


def summary(**more: Any) -> dict[str, Any]:
    """What every kind of detector has."""
    return {
        "detector": "patchcore",
        "about": "",
        "note": "",
        "mask": {"share_kept": 0.79},
        "fusion_source": "tune",
        "tune": {"films": 8, "abnormal": 4, "auroc": [], "table": [], "nested": None, "nested_note": ""},
        "calibration": {"films": 4, "source": "calibrate"},
        "threshold": None,
        "weights": {"name": "random", "sha256": None},
    } | more


BANK = {"bank": {"global": 40, "cells": [10, 0, 10, 10]}, "covering_radius": {"global": [[1, 9.0], [40, 2.5]]}}


def page(web: Client, detector: DetectorModel) -> str:
    answer = web.get(reverse("ml_engine:run", args=[detector.run.uuid]))
    assert answer.status_code == 200
    return one_line(answer)


def test_patchcore_shows_its_banks(web: Client, split: Split) -> None:
    text = page(web, made.detector_model(split, summary=summary(**BANK)))

    assert "3 of 4 cells, 30 patches" in text
    assert "2.5" in text


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"detector": "padim", "padim": {"places": 620, "dimensions": 100}}, "620 Gaussians in 100 dimensions"),
        ({"detector": "dn2", "gallery": {"films": 9, "patches": 0}}, "9 films </td>"),
        ({"detector": "spade", "gallery": {"films": 9, "patches": 99}}, "9 films, 99 patches"),
    ],
)
def test_a_baseline_shows_what_it_has(web: Client, split: Split, facts: dict[str, Any], words: str) -> None:
    text = page(web, made.detector_model(split, summary=summary(**facts, covering_radius=None, about="About it.")))

    assert words in text
    assert "About it." in text
    assert "Region banks" not in text


def test_an_approximate_detector_says_so(web: Client, split: Split) -> None:
    text = page(web, made.detector_model(split, summary=summary(**BANK, note="approximate: the banks were extended")))

    assert "approximate: the banks were extended" in text


def test_a_chosen_auroc_is_called_optimistic(web: Client, split: Split) -> None:
    aurocs = [0.5] * 101
    aurocs[60] = 0.91
    rows = [{"rate": s, "neighbours": 1, "top_share": 0.01, "weight": 0.6, "auroc": 0.9 + s} for s in (0.01, 0.005)]
    tune = {
        "films": 8, "abnormal": 4, "auroc": aurocs, "table": rows, "nested_note": "",
        "chosen": {"rate": 0.01, "neighbours": 1, "top_share": 0.01},
        "nested": {"auroc": 0.734, "low": 0.61, "high": 0.83, "folds": 4},
    }  # fmt: skip

    text = page(web, made.detector_model(split, summary=summary(**BANK, tune=tune)))

    assert "has an AUROC of 0.910; that is optimistic" in text
    assert "0.734 (0.610–0.830, 4 folds of patients)" in text
    assert "2 alternatives tried on tune; chosen: s = 0.01, K = 1, q = 0.01" in text


def fit_films(split: Split) -> list[Image]:
    return list(Image.objects.filter(split_images__member__split=split, split_images__member__part="fit"))


def suspects(films: list[Image]) -> list[dict[str, Any]]:
    return [{"image": str(f.uuid), "filename": "", "fused": 9.5 - k, "p_value": 0.1} for k, f in enumerate(films)]


def test_the_least_normal_fit_films_lead_to_their_pages(web: Client, split: Split) -> None:
    films = fit_films(split)[:3]
    gone = suspects(films)[0] | {"image": "00000000-0000-4000-8000-000000000000"}
    detector = made.detector_model(split, summary=summary(**BANK, suspects=[gone, *suspects(films)]))

    text = page(web, detector)

    places = [text.index(reverse("portal:image", args=[film.uuid])) for film in films]
    assert places == sorted(places)
    assert "9.50" in text
    assert gone["image"] not in text


def test_a_person_who_may_not_see_scores_sees_no_suspects(client: Client, split: Split) -> None:
    client.force_login(made.person("cu", at=split.site, role=Role.CURATOR))
    detector = made.detector_model(split, summary=summary(**BANK, suspects=suspects(fit_films(split))))

    assert "Least normal of the fit films" not in page(client, detector)
