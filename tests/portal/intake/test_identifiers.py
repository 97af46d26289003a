"""No identifier is left: a zip full of them is imported, and they are searched for in the database and its dump, in
files and logs, on pages and in the API. (`test_deidentify` plants them in every element that a header can have,
`test_dicom_export` searches exported objects.)

The names of files that a table lists are the one exception: they are kept with the films.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset as DicomDataset
from pydicom.sequence import Sequence

from portal.models import Image, QuarantinedFile, Role, Upload
from tests.portal import factories
from tests.portal.intake.sent import send_zip, worked_on
from tests.portal.traces import dump, occurs, traces
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.both, pytest.mark.django_db]
# In a real film with an invented identity, which is not part of this project; further ones are read from it.
OF_RG1 = ["mustermann", "erika", "4711-0815", "19640812", "heidestrasse", "ins-99-123", "acc-2024-0042", "roe^richard"]
PLACES = (
    *("private", "nested", "meta", "overlay", "folder", "file", "column", "value", "tablename", "doctor"),
    *("history", "station", "comment", "curve", "preamble"),
)


def needle(place: str) -> str:
    return f"zzyzx{place}"


def hostile_film(path: Path, seed: int, **more: Any) -> Path:
    """A film with a needle in every kind of place."""
    factories.dicom(
        path,
        seed=seed,
        PatientName=f"{needle('value')}^a",
        PatientID=f"ID-{needle('value')}-{seed}",
        PatientBirthDate="19471213",
        StudyDate="20230417",
        StationName=needle("station"),
        AdditionalPatientHistory=f"{needle('history')} coughs",
        ImageComments=needle("comment"),
        ReferringPhysicianName=needle("doctor"),
        **more,
    )
    file = pydicom.dcmread(path)
    file.private_block(0x0011, f"{needle('private')} 1", create=True).add_new(1, "LT", needle("private"))
    item = DicomDataset()
    item.PatientName = needle("nested")
    item.RequestedProcedureDescription = needle("nested")
    file.RequestAttributesSequence = Sequence([item])
    file.file_meta.SourceApplicationEntityTitle = needle("meta")
    file.file_meta.PrivateInformationCreatorUID = "1.2.3.444555"
    file.file_meta.PrivateInformation = needle("meta").encode()
    file.add_new(0x60000010, "US", 24)
    file.add_new(0x60000011, "US", 20)
    file.add_new(0x60000040, "CS", "G")
    file.add_new(0x60000050, "SS", [1, 1])
    file.add_new(0x60000100, "US", 1)
    file.add_new(0x60000102, "US", 0)
    file.add_new(0x60001500, "LO", needle("overlay"))
    file.add_new(0x60003000, "OW", needle("overlay").encode().ljust(60, b"\0"))
    file.add_new(0x50002600, "LO", needle("curve"))
    file.preamble = needle("preamble").encode().ljust(128, b"\0")
    file.save_as(path)
    return path


def words(invented: Path | None) -> list[str]:
    found = [*map(needle, PLACES), "19471213", "1947-12-13", "20230417", "2023-04-17", "1.2.3.444555"]
    if invented is not None:
        header = pydicom.dcmread(invented, stop_before_pixels=True)
        named = (header.StudyInstanceUID, header.SOPInstanceUID, header.InstitutionName, header.PatientAddress)
        found += [*OF_RG1, *(str(value).lower() for value in named), "20040826", "2004-08-26"]
    return found


@pytest.mark.parametrize("has_real_film", [False, True])
@pytest.mark.slow
def test_no_identifier_is_left_anywhere(
    data_dir: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
    has_real_film: bool,
) -> None:
    invented = None
    if has_real_film:  # skipped where these files are not at hand
        invented = request.getfixturevalue("dicom_samples") / "derived" / "rg1_identifiers_invented.dcm"
    of, ann = factories.dataset(), factories.curator("ann")
    kept = hostile_film(tmp_path / "a.dcm", 1)
    another = hostile_film(tmp_path / "b.dcm", 2, BurnedInAnnotation="YES")
    broken = hostile_film(tmp_path / "c.dcm", 3, SamplesPerPixel=3)
    folder = f"{needle('folder')}/{needle('file')}"
    films = {f"{folder}-{name}.dcm": path for name, path in zip("abc", (kept, another, broken), strict=True)}
    if invented is not None:
        films[f"{folder}-rg1.dcm"] = invented
    with caplog.at_level(logging.DEBUG):
        first = send_zip(of, ann, factories.zipped(tmp_path / "1.zip", films).read_bytes())
    # with a table, whose own file names are kept; all else of it is not
    png = factories.png(tmp_path / "listed.png", seed=9)
    header = f"filename,label,patient_id,UHID,doctor,{needle('column')},age,StudyTime"
    row = f"listed.png,normal,{needle('value')},{needle('value')},{needle('doctor')},x,96 {needle('value')},19471213"
    wrong = f"gone.png,{needle('value')},,,,,,"
    table = f"{header}\n{row}\n{wrong}\n"
    members: dict[str, Any] = {"listed.png": png, f"{needle('tablename')}.csv": table}
    with caplog.at_level(logging.DEBUG):
        second = send_zip(of, ann, factories.zipped(tmp_path / "2.zip", members).read_bytes())
    for upload in (first, second):
        if upload.state != Upload.State.DONE:
            worked_on(upload)
    assert Image.objects.count() == (4 if has_real_film else 3)
    assert QuarantinedFile.objects.count() == 1
    assert "rows skipped" in second.counts

    needles = words(invented)
    quarantined = {str(row.uuid) for row in QuarantinedFile.objects.all()}
    places = [place for place in traces(needles) if not any(uuid in place for uuid in quarantined)]
    assert places == []
    dumped = dump()
    assert [word for word in needles if dumped and occurs(word, dumped)] == []
    assert [word for word in needles if occurs(word, caplog.text.encode())] == []
    web = as_(factories.user("boss", *Role))
    film = of.images.first()
    pages = [f"/datasets/{of.uuid}/", f"/datasets/{of.uuid}/quarantine/", f"/images/{film.uuid}/", "/datasets/"]
    pages += [f"/images/{film.uuid}/facts", f"/images/{film.uuid}/preview", f"/images/{film.uuid}/pixels"]
    pages += [
        "/api/v1/datasets/",
        f"/api/v1/datasets/{of.uuid}/images/",
        f"/api/v1/imports/{second.uuid}/",
        f"/datasets/{of.uuid}/labels/",
    ]
    for page in pages:
        response = web.get(page)
        assert response.status_code == 200, page
        content = b"".join(response) if response.streaming else response.content
        assert [word for word in needles if occurs(word, content)] == [], page


def test_the_search_finds_what_is_there(data_dir: Path) -> None:
    """Also where it is packed or in another encoding."""
    factories.film(factories.dataset(), "normal", header={"name": "Zzyzxvalue"})
    (data_dir / "left.bin").write_bytes("Zzyzxfile".encode("utf-16-le"))
    factories.zipped(data_dir / "left.zip", {"x.txt": b"zzyzxmeta " * 50})
    words_there = [needle(place) for place in ("value", "file", "meta", "doctor")]
    assert traces(words_there) == ["portal_image: zzyzxvalue", "left.bin: zzyzxfile", "left.zip: zzyzxmeta"]
