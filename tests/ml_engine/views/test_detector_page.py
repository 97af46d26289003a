"""The page of a fitted detector: its model, the settings chosen on tune, the least normal fit films."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ml_engine.engine.reports import (
    ChosenSettings,
    GallerySizes,
    GaussianSizes,
    NegativeControls,
    NestedAuroc,
    SuspectFilm,
    TriedAlternative,
    TuneReport,
)
from ml_engine.models import DetectorModel
from portal.models import Image, Role, Split
from tests.ml_engine import made, reports
from tests.pages import one_line

pytestmark = pytest.mark.django_db


@pytest.fixture
def split(data_dir: Path) -> Split:
    return made.small_split(made.site())


@pytest.fixture
def web(client: Client, split: Split) -> Client:
    client.force_login(made.person("ana", at=split.site, role=Role.ANALYST))
    return client


def page(web: Client, detector: DetectorModel) -> str:
    answer = web.get(reverse("ml_engine:run", args=[detector.run.uuid]))
    assert answer.status_code == 200
    return one_line(answer)


def test_patchcore_shows_its_banks(web: Client, split: Split) -> None:
    text = page(web, made.detector_model(split))

    assert "3 of 4 cells, 30 patches" in text
    assert "2.5" in text


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"detector": "padim", "padim": GaussianSizes(places=620, dimensions=100)}, "620 Gaussians in 100 dimensions"),
        ({"detector": "dn2", "gallery": GallerySizes(films=9, patches=0)}, "9 films</td>"),
        ({"detector": "spade", "gallery": GallerySizes(films=9, patches=99)}, "9 films, 99 patches"),
    ],
)
def test_a_baseline_shows_its_model(web: Client, split: Split, model: dict[str, Any], words: str) -> None:
    report = reports.detector_report(**model, bank=None, covering_radius=None, about="About it.")
    text = page(web, made.detector_model(split, report))

    assert words in text
    assert "About it." in text
    assert "Region banks" not in text


def test_an_approximate_detector_is_marked(web: Client, split: Split) -> None:
    text = page(web, made.detector_model(split, reports.detector_report(note="approximate: the banks were extended")))

    assert "approximate: the banks were extended" in text


def test_the_auroc_of_the_selection_procedure_is_quoted_and_not_that_of_its_best(web: Client, split: Split) -> None:
    aurocs = [0.5] * 101
    aurocs[60] = 0.95
    chosen = ChosenSettings(rate=0.01, neighbours=1, top_share=0.01)
    table = [TriedAlternative(rate=s, neighbours=1, top_share=0.01, weight=0.6, auroc=0.9 + s) for s in (0.01, 0.005)]
    nested = NestedAuroc(auroc=0.734, low=0.61, high=0.83, folds=4, method="within folds")
    tune = TuneReport(films=8, abnormal=4, auroc=aurocs, chosen=chosen, table=table, nested=nested)

    text = page(web, made.detector_model(split, reports.detector_report(tune=tune)))

    assert "On tune: AUROC of the selection procedure: 0.734 (0.610–0.830), averaged within 4 folds of patients" in text
    assert "0.950" not in text
    assert "AUROC at best w (optimistic)" in text
    assert "2 settings tried on tune; chosen: s = 0.01, K = 1, film score as configured, q = 0.01" in text


def fit_films(split: Split) -> list[Image]:
    return list(Image.objects.filter(split_images__member__split=split, split_images__member__part="fit"))


def suspects(films: list[Image]) -> list[SuspectFilm]:
    return [SuspectFilm(image=str(film.uuid), filename="", fused=9.5 - k, p_value=0.1) for k, film in enumerate(films)]


def test_the_least_normal_fit_films_lead_to_their_pages(web: Client, split: Split) -> None:
    films = fit_films(split)[:3]
    gone = replace(suspects(films)[0], image="00000000-0000-4000-8000-000000000000")
    detector = made.detector_model(split, reports.detector_report(suspects=[gone, *suspects(films)]))

    text = page(web, detector)

    places = [text.index(reverse("portal:image", args=[film.uuid])) for film in films]
    assert places == sorted(places)
    assert "9.50" in text
    assert gone.image not in text


def test_a_person_who_may_not_see_scores_sees_no_suspects(client: Client, split: Split) -> None:
    client.force_login(made.person("cu", at=split.site, role=Role.CURATOR))
    detector = made.detector_model(split, reports.detector_report(suspects=suspects(fit_films(split))))

    assert "Least normal fit films" not in page(client, detector)


def test_controls_are_marked_from_five_points_above_the_promise(web: Client, split: Split) -> None:
    controls = reports.negative_controls(unchanged=4, rotated=6, collimated=7)  # 10 %, 15 % and 17.5 %
    text = page(web, made.detector_model(split, reports.detector_report(controls=controls)))

    assert "Collimated: 18 % of these normal films are flagged" in text
    assert "7 of 40" in text
    assert "1 % to 45 %" in text
    assert "+1.2" in text
    assert "−0.5" in text
    assert text.count("more than 5 points above the promised 10 %") == 1
    assert text.count('<tr class="hilum-warned">') == 1
    assert "Each is scored by the detector calibrated without its patient." in text


def test_a_detector_without_controls_says_why_or_nothing(web: Client, split: Split) -> None:
    refused = NegativeControls(part="tune", rate=0.1, note="There are no held-out normal films: none.")
    shown = page(web, made.detector_model(split, reports.detector_report(controls=refused)))
    older = page(web, made.detector_model(split, reports.detector_report()))

    assert "None were made. There are no held-out normal films: none." in shown
    assert "Negative controls" in shown
    assert "Negative controls" not in older
