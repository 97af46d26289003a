"""Labels, boxes and readings as files, by page, API and command: who may have them, and that none holds a film that
its reader has yet to read blinded."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from analysis.reading.exported_readings import exported_readings
from portal.intake.zip_tables import by_names, read_tables
from portal.models import AuditEvent, Cohort, CohortImage, Dataset, Exposure, Role
from portal.people import blinding
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, read, reader, worklist
from tests.portal import double, factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def curator(client: Client, of: Dataset) -> Client:
    client.force_login(factories.curator("ann", at=of.site))
    return client


def text(response: Any) -> str:
    content = response.getvalue() if response.streaming else response.content
    return str(content.decode())


def rows(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text(response))))


def test_page_and_api_give_the_same_files_of_dataset_cohort_and_split(curator: Client, of: Dataset) -> None:
    normal, abnormal = factories.films(of, normal=1, abnormal=1)
    cohort = Cohort.objects.create(site=of.site, name="Normals", version=1, films=1)
    CohortImage.objects.create(cohort=cohort, image=normal)
    of_dataset = rows(curator.get(f"/datasets/{of.uuid}/labels/?file=labels.csv"))
    assert [(row["image"], row["label"]) for row in of_dataset] == [
        (str(normal.uuid), "normal"),
        (str(abnormal.uuid), "abnormal"),
    ]
    assert of_dataset == rows(curator.get(f"/api/v1/datasets/{of.uuid}/labels/"))
    (only,) = rows(curator.get(f"/cohorts/{cohort.uuid}/labels/?file=labels.csv"))
    assert only == of_dataset[0]
    for name in ("boxes.csv", "history.csv", "labels.json", "boxes.coco.json"):
        page = text(curator.get(f"/datasets/{of.uuid}/labels/?file={name}"))
        assert page == text(curator.get(f"/api/v1/datasets/{of.uuid}/labels/?file={name}"))
    assert AuditEvent.objects.filter(verb="export labels", after={"file": "labels.csv"}).count() == 3
    assert set(Exposure.objects.values_list("image", "kind")) == {(normal.pk, "label"), (abnormal.pk, "label")}


def test_a_split_names_its_parts(as_analyst: Client, scored: Scored) -> None:
    of_split = rows(as_analyst.get(f"/splits/{scored.split.uuid}/labels/?file=labels.csv"))
    parts = dict(scored.split.members.values_list("images__image__uuid", "part"))
    assert {row["image"]: row["split"] for row in of_split} == {str(uuid): part for uuid, part in parts.items() if uuid}


def test_the_page_lists_the_files_and_records_nothing(curator: Client, of: Dataset) -> None:
    factories.films(of, normal=1)
    page = text(curator.get(f"/datasets/{of.uuid}/labels/"))
    assert 'href="?file=boxes.coco.json"' in page
    assert "readings.csv" not in page  # a curator makes no worklists
    assert not Exposure.objects.exists()
    assert f'href="/datasets/{of.uuid}/labels/"' in text(curator.get(f"/datasets/{of.uuid}/"))


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_what_is_refused(prefix: str, curator: Client, client: Client, of: Dataset) -> None:
    address = f"{prefix}/datasets/{of.uuid}/labels/?file="
    wrong = curator.get(f"{address}all.csv")
    assert (wrong.status_code, "the files are labels.csv, boxes.csv" in text(wrong)) == (400, True)
    readings = curator.get(f"{address}readings.csv")
    assert (readings.status_code, "To make worklists" in text(readings)) == (403, True)
    client.force_login(factories.curator("stranger", at=factories.site("Busan")))
    assert client.get(f"{address}labels.csv").status_code == 404


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
@pytest.mark.parametrize(
    "name", ["labels.csv", "boxes.csv", "history.csv", "labels.json", "boxes.coco.json", "labels.zip"]
)
def test_a_film_to_read_blinded_refuses_the_file(prefix: str, name: str, client: Client, of: Dataset) -> None:
    film, _ = factories.films(of, abnormal=1, normal=1)
    ann = factories.user("ann", Role.CURATOR, Role.READER, at=of.site)
    client.force_login(ann)
    blinding.open_for(person=ann, images=[film], source=factories.somewhere(), words="the worklist Tuesday", days=3)
    response = client.get(f"{prefix}/datasets/{of.uuid}/labels/?file={name}")
    assert response.status_code == 403
    assert "The export of labels holds a film that you have yet to read blinded" in text(response)
    assert not Exposure.objects.filter(person=ann).exists()


def test_readings_of_a_worklist_with_the_replaced_one(as_analyst: Client, scored: Scored, analyst: Any) -> None:
    of = worklist(scored, analyst)
    item = items(of)[0]
    by = reader()
    first = read(item, by, "normal", comment="=first")
    second = read(item, by, "abnormal", findings=["nodule"])
    (dataset,) = scored.split.datasets.all()
    kept = rows(as_analyst.get(f"/datasets/{dataset.uuid}/labels/?file=readings.csv"))
    assert [(row["reading"], row["verdict"], row["comment"], row["replaces"]) for row in kept] == [
        (str(first.uuid), "normal", "'=first", ""),
        (str(second.uuid), "abnormal", "", str(first.uuid)),
    ]
    assert {row["of"] for row in kept} == {"worklist First"}
    as_json = json.loads(text(as_analyst.get(f"/datasets/{dataset.uuid}/labels/?file=readings.json")))
    assert as_json["readings"][1]["findings"] == ["nodule"]


def test_readings_of_a_double_reading_only_once_it_is_closed(of: Dataset) -> None:
    factories.films(of, unlabelled=2)
    readers = [factories.curator(name, at=of.site) for name in ("ann", "ben")]
    queue = double.begun(of, *readers)
    double.read_all(queue, {"ann": ["normal", "normal"], "ben": ["normal", "abnormal"]})
    assert not list(exported_readings(of))
    double.close(queue)
    assert [(row["reader"], row["verdict"]) for row in exported_readings(of)] == [
        ("ann", "normal"),
        ("ben", "normal"),
        ("ann", "normal"),
        ("ben", "abnormal"),
    ]


def test_the_zip_has_all_files_and_may_be_uploaded_as_it_is(curator: Client, of: Dataset, tmp_path: Path) -> None:
    factories.films(of, normal=1)
    response: Any = curator.get(f"/datasets/{of.uuid}/labels/?file=labels.zip")
    with zipfile.ZipFile(io.BytesIO(response.getvalue())) as archive:
        assert archive.namelist() == [
            *("labels.csv", "boxes.csv", "history.csv", "labels.json", "boxes.coco.json", "no readings.txt"),
        ]
        archive.extractall(tmp_path)
    tables = [tmp_path / name for name in ("boxes.csv", "history.csv", "labels.csv")]
    read_rows, boxes, aside = read_tables(tables, by_names, [], lambda: None)
    assert (len(read_rows or ()), boxes, aside) == (1, {}, 1)


def test_the_command(of: Dataset, tmp_path: Path) -> None:
    factories.films(of, normal=1)
    out = io.StringIO()
    call_command("export_labels", site=of.site.name, dataset=of.name, out=tmp_path / "out", stdout=out)
    assert len(list((tmp_path / "out").iterdir())) == 7
    with pytest.raises(CommandError, match="There is no cohort 'x' at Seoul; its cohorts are: none yet"):
        call_command("export_labels", site=of.site.name, cohort="x", out=tmp_path)
    with pytest.raises(CommandError, match="There is no site 'Busan'; the sites are: Seoul"):
        call_command("export_labels", site="Busan", dataset=of.name, out=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("export_labels", site=of.site.name, dataset=of.name, out=tmp_path / "file")
