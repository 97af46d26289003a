"""Real DICOM films on the canvas compared with NumPy, if they lie beside the checkout."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from portal.imaging.film import shown_values
from portal.imaging.read_film import read_film
from tests.browser.viewer.conftest import Site, Viewer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

MARGIN = 60  # screen pixels around a film that is shown at one film pixel to one screen pixel


@pytest.mark.parametrize("renderer", ["2d", "webgl2"])
def test_every_film_that_is_shown_equals_its_reference(
    open_viewer: Callable[..., Viewer], site: Site, dicom_samples: Path, renderer: str
) -> None:
    table = list(csv.DictReader((dicom_samples / "expected.csv").read_text().splitlines()))
    wrong: dict[str, int] = {}
    compared = 0
    for line in table:
        if line["outcome"] != "shown":
            continue
        site.answers.clear()
        film, header = read_film(dicom_samples / line["file"])
        viewer = open_viewer(film, renderer=renderer, facts={"view_position": header.get("view_position", "")})
        room = (film.facts.columns + MARGIN, film.facts.rows + MARGIN)
        viewer.page.set_viewport_size({"width": max(1000, room[0]), "height": 600})
        viewer.host.evaluate(
            """async (host, [width, height]) => {
              Object.assign(host.querySelector(".hv-stage").style, { width: `${width}px`, height: `${height}px` });
              await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            }""",
            room,
        )
        viewer.press("actual")
        assert viewer.state["renderer"] == renderer
        assert film.facts.aspect == 1
        difference = np.abs(viewer.greys().astype(int) - np.rint(shown_values(film) * 255).astype(int)).max()
        compared += 1
        if difference > 1:
            wrong[line["file"]] = int(difference)
    assert (wrong, compared) == ({}, 13)
