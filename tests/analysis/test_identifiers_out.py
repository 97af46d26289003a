"""No identifier leaves Hilum: films full of them are imported and scored, and what is written of them is searched: the
report as PDF, the archive of the run with its zip unpacked, heatmaps as DICOM, labels as CSV, JSON and COCO, pages and
answers of the API. What stays inside is searched by `tests/portal/intake/test_identifiers.py`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import matplotlib.figure
import pydicom
import pytest
from django.test import Client
from django.urls import reverse

from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation
from analysis.views.label_exports import NAMES
from ml_engine.runs import paths
from ml_engine.runs.paths import run_folder
from portal.intake.csv_labels import read_boxes, read_labels
from portal.intake.entries import entries_of_folder
from portal.intake.film_files import pixel_path
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.models import Dataset, Image, Upload
from tests.access.world import everyone
from tests.analysis.scored import Scored, looked_at, places, scored_run
from tests.portal import factories
from tests.portal.intake.test_identifiers import hostile_film, needle, words
from tests.portal.traces import occurs

pytestmark = [pytest.mark.django_db]


def imported(dataset: Dataset, folder: Path) -> tuple[list[Image], list[Image]]:
    """Films as a folder with a table and boxes, imported as the command does."""
    folder.mkdir()
    wanted = [("fit", "normal", number) for number in range(8)] + places()
    lines, boxes = ["filename,label,patient_id,split,finding,surname"], []
    for seed, (part, label, number) in enumerate(wanted):
        name = f"{part}-{label}-{number}.dcm"
        hostile_film(folder / name, seed)
        finding = "nodule" if label == "abnormal" else ""
        lines.append(f"{name},{label},{needle('value')} {seed},{part},{finding},{needle('doctor')}")
        if label == "abnormal":
            boxes.append((name, 2, 3, 4, 5, "nodule"))
    labels = folder / f"{needle('tablename')}.csv"
    labels.write_text("\n".join(lines) + "\n")
    report = ImportReport()
    rows = read_labels(labels, report.skipped, fates=report.deidentified.tables)
    drawn = read_boxes(factories.box_table(folder / "boxes.csv", *boxes))
    entries = entries_of_folder(folder, rows, drawn, report)
    upload = Upload.objects.create(dataset=dataset)
    import_entries(upload=upload, entries=entries, report=report, actor=None, processes=1)
    films = list(dataset.images.order_by("pk"))
    by_name = {film.original_name: film for film in films}
    ordered = [by_name[f"{part}-{label}-{number}.dcm"] for part, label, number in wanted]
    return ordered[:8], ordered[8:]


@pytest.fixture
def scored(data_dir: Path, tmp_path: Path) -> Scored:
    at = factories.site()
    boss = everyone("boss", at)
    made = scored_run(at, author=boss, imported=lambda dataset: imported(dataset, tmp_path / "films"))
    folder = run_folder(made.run.uuid)
    (folder / "files").mkdir()
    for film in made.films:  # as `write_folder` does
        paths.link(pixel_path(film.pixel_sha256), folder / "files" / f"{film.uuid}.u16.gz")
        (folder / "files" / f"{film.uuid}.json").write_text(json.dumps(film.facts))
    (folder / "run.json").write_text(json.dumps({"kind": "score", "name": made.run.name}))
    return made


@pytest.fixture
def boss(scored: Scored, client: Client) -> Client:
    client.force_login(factories.User.objects.get(username="boss"))
    return client


@pytest.fixture
def evaluation(scored: Scored) -> Evaluation:
    author = factories.User.objects.get(username="boss")
    return evaluate(run=looked_at(scored.run), author=author)


def body_of(client: Client, address: str) -> bytes:
    answer: Any = client.get(address)
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    assert answer.status_code == 200, (address, content[:300])
    return content + repr(sorted(answer.headers.items())).encode()


def left_in(*contents: bytes) -> list[str]:
    return [word for word in words(None) if occurs(word, *contents)]


def test_no_identifier_leaves_in_a_file(scored: Scored, evaluation: Evaluation, boss: Client) -> None:
    run, film = scored.run, scored.films[-1]
    dataset, split = film.dataset, scored.split
    of_film = {"run_uuid": run.uuid, "image_uuid": film.uuid}
    addresses = [
        reverse("analysis:report", args=[evaluation.uuid]),
        reverse("analysis:run-archive", args=[run.uuid]),
        reverse("analysis:heatmap-dicom", kwargs=of_film),
        reverse("analysis:segmentation-dicom", kwargs=of_film),
        reverse("portal:split-parts", args=[split.uuid]),
        f"{reverse('portal:deidentification', args=[dataset.uploads.get().uuid])}?file=csv",
        f"{reverse('portal:deidentification', args=[dataset.uploads.get().uuid])}?file=json",
    ]
    addresses += [f"{reverse('analysis:dataset-labels', args=[dataset.uuid])}?file={name}" for name in NAMES]
    files = {address: body_of(boss, address) for address in addresses}
    assert {address: left_in(content) for address, content in files.items() if left_in(content)} == {}
    kinds = {content[:4] for content in files.values()}
    assert {b"%PDF", b"PK\x03\x04"} <= kinds
    exported = pydicom.dcmread(io.BytesIO(files[addresses[2]]))
    assert left_in(str(exported).encode()) == []
    assert exported.PatientID == film.patient.pseudonym


def test_no_identifier_is_in_pages_and_answers(scored: Scored, evaluation: Evaluation, boss: Client) -> None:
    run, film = scored.run, scored.films[-1]
    upload = film.dataset.uploads.get()
    addresses = [
        f"/results/{evaluation.uuid}/",
        f"/results/runs/{run.uuid}/films/{film.uuid}/",
        f"/runs/{run.uuid}/",
        f"/datasets/{film.dataset.uuid}/text/",
        f"/images/{film.uuid}/text/",
        f"/uploads/{upload.uuid}/deidentification/",
        f"/api/v1/imports/{upload.uuid}/",
        f"/api/v1/imports/{upload.uuid}/deidentification/",
        f"/api/v1/images/{film.uuid}/",
        f"/api/v1/datasets/{film.dataset.uuid}/images/",
        f"/api/v1/evaluations/{evaluation.uuid}/",
        f"/api/v1/runs/{run.uuid}/",
        f"/api/v1/splits/{scored.split.uuid}/",
    ]
    contents = {address: body_of(boss, address) for address in addresses}
    assert {address: left_in(content) for address, content in contents.items() if left_in(content)} == {}


def test_the_search_finds_text_that_a_pdf_draws() -> None:
    """matplotlib writes the glyphs of a text, not its letters."""
    page = io.BytesIO()
    figure = matplotlib.figure.Figure()
    figure.text(0.1, 0.5, f"Patient {needle('value')}")
    figure.savefig(page, format="pdf")
    assert left_in(page.getvalue()) == [needle("value")]
