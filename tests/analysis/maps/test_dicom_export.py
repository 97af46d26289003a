"""A heatmap as DICOM: attributes and pixels of the files, decoded by other code than the writer's."""

from __future__ import annotations

import io
import math
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from django.test import Client
from django.urls import reverse
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, SegmentationStorage

from analysis.figures import NOTICE, RANDOM_WEIGHTS
from analysis.figures.palette import INFERNO
from analysis.maps.dicom_export import film_uid
from analysis.maps.heatmap_picture import NARROWEST_PX, colours
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import Score
from ml_engine.runs.paths import run_folder
from portal.imaging.film import unpack
from portal.intake.entries import entries_of_folder
from portal.intake.film_files import pixel_path
from portal.intake.films import import_entries
from portal.intake.import_report import ImportReport
from portal.models import AuditEvent, Dataset, Exposure, Image, Role, Upload, User
from tests.analysis.scored import Scored
from tests.ml_engine.scored_folders import change_summary
from tests.portal import factories

pytestmark = pytest.mark.django_db

KINDS = ("heatmap", "segmentation")
TURNED = [[0.31, -0.42, 9.3], [0.5, 0.37, 1.7]]  # turned, scaled, shifted


def address(scored: Scored, kind: str, row: int = 0) -> str:
    return reverse(f"analysis:{kind}-dicom", args=[scored.run.uuid, scored.films[row].uuid])


def change(scored: Scored, **facts: Any) -> None:
    change_summary(run_folder(scored.run.uuid), **facts)


def place(scored: Scored, affine: Any, *, row: int = 0) -> None:
    folder = ScoredFolder(run_folder(scored.run.uuid))
    affines = np.array(folder.array("original_from_canonical"))
    affines[row] = affine
    folder.write_array("original_from_canonical", affines)


def download(client: Client, where: str) -> pydicom.FileDataset:
    answer = client.get(where)
    assert answer.status_code == 200, answer.content
    assert answer.headers["Content-Type"] == "application/dicom"
    assert ".dcm" in answer.headers["Content-Disposition"]
    return pydicom.dcmread(io.BytesIO(answer.content))


def fused_by_hand(scored: Scored, row: int, weight: float = 0.6) -> NDArray[np.float64]:
    global_map, region_map = ScoredFolder(run_folder(scored.run.uuid)).array("maps")[row].astype(np.float64)
    return weight * region_map + (1 - weight) * global_map


def at_pixel(fused: NDArray[np.float64], affine: Any, stride: int, x: int, y: int) -> float:
    """The map at the centre of an original pixel, one pixel at a time with a linear solver, without product code."""
    matrix = np.vstack([np.asarray(affine, dtype=float), [0, 0, 1]])
    u, v, _ = np.linalg.solve(matrix, [x + 0.5, y + 0.5, 1.0]) / stride
    patches = {(r, c): fused[r, c] for r in range(4) for c in range(4) if not math.isnan(fused[r, c])}
    if (math.floor(v), math.floor(u)) not in patches:
        return math.nan
    near = [
        (max(0.0, 1 - abs(u - c - 0.5)) * max(0.0, 1 - abs(v - r - 0.5)), value) for (r, c), value in patches.items()
    ]
    return sum(share * value for share, value in near) / sum(share for share, _ in near)


def by_hand(scored: Scored, affine: Any, *, row: int = 0) -> NDArray[np.float64]:
    fused = fused_by_hand(scored, row)
    return np.array([[at_pixel(fused, affine, 8, x, y) for x in range(20)] for y in range(24)])


# The segmentation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("affine", [[[0.5, 0, 0], [0, 0.75, 0]], TURNED, [[0, -0.9, 22], [-0.8, 0, 23]]])
def test_the_segmentation_is_the_map_at_or_above_the_threshold_at_every_pixel(
    as_analyst: Client, scored: Scored, affine: Any
) -> None:
    place(scored, affine)
    values = by_hand(scored, affine)
    threshold = float(np.nanmedian(values))
    change(scored, threshold_map=threshold)
    segmentation = download(as_analyst, address(scored, "segmentation"))
    marked = values >= threshold
    assert 20 < marked.sum() < marked.size - 20
    certain = np.isnan(values) | (np.abs(values - threshold) > 1e-9)  # except where rounding decides
    assert np.array_equal(segmentation.pixel_array.astype(bool)[certain], marked[certain])
    assert (~certain).sum() <= 2


def test_a_pixel_at_the_threshold_is_marked(as_analyst: Client, scored: Scored) -> None:
    folder = ScoredFolder(run_folder(scored.run.uuid))
    maps = np.array(folder.array("maps"))
    maps[0] = 2.5
    folder.write_array("maps", maps)
    place(scored, [[1, 0, 0], [0, 1, 0]])
    segmentation = download(as_analyst, address(scored, "segmentation"))
    assert segmentation.pixel_array.all()


def test_nothing_above_the_threshold_is_an_empty_segment(as_analyst: Client, scored: Scored) -> None:
    change(scored, threshold_map=99.0)
    segmentation = download(as_analyst, address(scored, "segmentation"))
    assert segmentation.pixel_array.shape == (24, 20)
    assert not segmentation.pixel_array.any()


def test_the_segmentation_names_its_maker_and_its_film(as_analyst: Client, scored: Scored) -> None:
    answer = as_analyst.get(address(scored, "segmentation"))
    segmentation = hd.seg.segread(io.BytesIO(answer.content))
    assert (segmentation.SOPClassUID, segmentation.SegmentationType) == (SegmentationStorage, "BINARY")
    assert segmentation.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    segment = segmentation.get_segment_description(1)
    assert (segment.algorithm_type.value, segment.algorithm_identification.name) == ("AUTOMATIC", "Hilum patchcore")
    assert segment.algorithm_identification.family.value == "123110"
    assert (segment.segmented_property_category.value, segment.segmented_property_type.value) == (
        "49755003",
        "52988006",
    )
    assert segment.algorithm_identification.parameters["threshold"] == "2.5"
    assert [uids[2] for uids in segmentation.get_source_image_uids()] == [film_uid(scored.films[0])]
    assert segmentation.ContentQualification == "RESEARCH"
    assert (
        segmentation.SeriesDescription
        == segmentation.ContentDescription
        == f"Segmentation, research only, {RANDOM_WEIGHTS}"
    )
    assert segmentation.ImageComments == f"{RANDOM_WEIGHTS}. {NOTICE}"


def test_highdicom_reads_the_pixels_by_the_film(as_analyst: Client, scored: Scored) -> None:
    change(scored, threshold_map=0.9)
    answer = as_analyst.get(address(scored, "segmentation"))
    segmentation = hd.seg.segread(io.BytesIO(answer.content))
    read = segmentation.get_pixels_by_source_instance([film_uid(scored.films[0])])
    assert np.array_equal(read[0, :, :, 0], pydicom.dcmread(io.BytesIO(answer.content)).pixel_array)
    assert read.any()


def test_without_a_threshold_there_is_a_heatmap_but_no_segmentation(as_analyst: Client, scored: Scored) -> None:
    change(scored, threshold_map=None)
    answer = as_analyst.get(address(scored, "segmentation"))
    assert (answer.status_code, "has no threshold for its maps" in answer.text) == (409, True)
    assert download(as_analyst, address(scored, "heatmap")).pixel_array.any()


# The picture --------------------------------------------------------------------------------------------


def test_the_picture_is_the_film_blended_with_the_heat(as_analyst: Client, scored: Scored) -> None:
    place(scored, TURNED)
    values = by_hand(scored, TURNED)
    threshold = float(np.nanmedian(values))
    change(scored, threshold_map=threshold)
    picture = download(as_analyst, address(scored, "heatmap")).pixel_array[:24, :20].astype(int)
    stored = unpack(pixel_path(scored.films[0].pixel_sha256).read_bytes(), 24, 20).astype(float)
    low, high = np.percentile(stored, [0.5, 99.5], method="inverted_cdf")
    grey = np.rint(np.clip((stored - low) / (high - low), 0, 1) * 255)
    cold = ~(values >= threshold)
    assert np.array_equal(picture[cold], np.repeat(grey[cold][:, None], 3, axis=1))
    for y, x in np.argwhere(values > threshold + 1e-9)[::17]:
        share = 0.6 * (0.5 + 0.5 * (values[y, x] - threshold) / threshold)
        stops = np.array(list(bytes.fromhex(INFERNO))).reshape(33, 3)
        at = round(255 * values[y, x] / (2 * threshold)) / 255 * 32
        heat = [np.interp(at, range(33), stops[:, i]) for i in range(3)]
        assert np.abs(picture[y, x] - (grey[y, x] * (1 - share) + np.array(heat) * share)).max() <= 1


def test_the_colours_are_those_of_the_viewer() -> None:
    script = Path("static/js/viewer/colormaps.js").read_text(encoding="utf-8")
    inferno = "".join(re.findall(r'"([0-9a-f]+)"', script[script.index("inferno:") :]))
    assert inferno == INFERNO
    assert (colours()[0].tolist(), colours()[255].tolist()) == ([0, 0, 4], [0xFC, 0xFF, 0xA4])


def test_the_legend_is_below_the_film_and_warns_of_random_weights(as_analyst: Client, scored: Scored) -> None:
    loud = download(as_analyst, address(scored, "heatmap"))
    scored.run.random_weights = False
    scored.run.save()
    calm = download(as_analyst, address(scored, "heatmap"))
    assert loud.Columns == calm.Columns == NARROWEST_PX
    assert loud.Rows > calm.Rows > 24
    red = [(picture.pixel_array[24:] == (0xB0, 0x00, 0x20)).all(axis=-1).sum() for picture in (loud, calm)]
    assert (red[0] > NARROWEST_PX * 10, red[1]) == (True, 0)
    assert (calm.pixel_array[24:] == 235).all(axis=-1).sum() > 500  # the words
    assert (loud.ImageComments, calm.ImageComments) == (f"{RANDOM_WEIGHTS}. {NOTICE}", NOTICE)


def test_the_picture_describes_itself(as_analyst: Client, scored: Scored) -> None:
    picture = download(as_analyst, address(scored, "heatmap"))
    assert (picture.SOPClassUID, picture.Modality) == (SecondaryCaptureImageStorage, "OT")
    assert picture.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert picture.SourceImageSequence[0].ReferencedSOPInstanceUID == film_uid(scored.films[0])
    assert picture.PatientID == scored.films[0].patient.pseudonym
    assert (picture.PatientName, picture.PatientIdentityRemoved) == ("", "YES")
    assert "BurnedInAnnotation" not in picture


# What leaves the portal ---------------------------------------------------------------------------------


def film_with(scored: Scored, **fields: Any) -> None:
    """Replace the first scored film by a new row with these fields, since films are write-once."""
    film = Image.objects.get(pk=scored.films[0].pk)
    film.pk, film.uuid, film._state.adding = None, uuid.uuid4(), True
    film.dataset = factories.dataset("Another")
    for name, value in fields.items():
        setattr(film, name, value)
    film.save()
    Score.objects.filter(run=scored.run, image=scored.films[0]).update(image=film)
    scored.films[0] = film


@pytest.mark.parametrize(("plane", "imager"), [("detector", [0.2, 0.1]), ("patient", None)])
def test_spacing_is_written_with_its_plane(as_analyst: Client, scored: Scored, plane: str, imager: Any) -> None:
    film_with(scored, facts=scored.films[0].facts | {"spacing_mm": [0.2, 0.1], "spacing_plane": plane})
    picture, segmentation = (download(as_analyst, address(scored, kind)) for kind in KINDS)
    assert (picture.PixelSpacing, picture.get("ImagerPixelSpacing")) == ([0.2, 0.1], imager)
    assert segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == [0.2, 0.1]


@pytest.mark.parametrize("burned_in", ["YES", "NO"])
def test_the_picture_is_as_annotated_as_its_film(as_analyst: Client, scored: Scored, burned_in: str) -> None:
    film_with(scored, header={"burned_in": burned_in, "patient_orientation": "L\\F", "modality": "DX"})
    picture = download(as_analyst, address(scored, "heatmap"))
    assert picture.BurnedInAnnotation == burned_in
    assert list(picture.PatientOrientation) == ["L", "F"]


def test_one_film_has_one_study_and_each_file_its_own_uid(as_analyst: Client, scored: Scored) -> None:
    files = [download(as_analyst, address(scored, kind)) for kind in (*KINDS, *KINDS)]
    assert len({file.StudyInstanceUID for file in files}) == 1
    assert len({file.SeriesInstanceUID for file in files}) == 2
    assert len({file.SOPInstanceUID for file in files}) == 4
    for file in files:
        for element in file.iterall():
            if element.VR == "UI":
                assert len(str(element.value)) <= 64


SECRETS = {
    "PatientName": "Quimby^Rosalind",
    "PatientID": "MRN-4711-QX",
    "PatientBirthDate": "19330214",
    "StudyDate": "20190711",
    "AccessionNumber": "ACC-90210",
    "InstitutionName": "Saint Elsewhere",
    "ReferringPhysicianName": "Craig^Mark",
    "StudyInstanceUID": "1.2.3.4711.1",
    "SeriesInstanceUID": "1.2.3.4711.2",
    "SOPInstanceUID": "1.2.3.4711.3",
}


def imported(sample: Path, into: Dataset, folder: Path) -> Image:
    """A real film under a made-up identity."""
    original = pydicom.dcmread(sample)
    for keyword, secret in SECRETS.items():
        setattr(original, keyword, secret)
    original.save_as(folder / "ROSALIND.dcm")
    report, before = ImportReport(), set(into.images.values_list("pk", flat=True))
    entries = entries_of_folder(folder, None, None, report)
    import_entries(upload=Upload.objects.create(dataset=into), entries=entries, report=report, actor=None)
    return into.images.exclude(pk__in=before).get()


@pytest.mark.parametrize("kind", KINDS)
def test_no_identifier_of_a_header_leaves(
    as_analyst: Client, scored: Scored, dicom_samples: Path, tmp_path: Path, kind: str
) -> None:
    film = imported(dicom_samples / "chest" / "siim_1517875201.850819.dcm", scored.films[0].dataset, tmp_path)
    Score.objects.filter(run=scored.run, image=scored.films[0]).update(image=film)
    place(scored, [[film.columns / 32, 0, 0], [0, film.rows / 32, 0]])
    answer = as_analyst.get(reverse(f"analysis:{kind}-dicom", args=[scored.run.uuid, film.uuid]))
    assert answer.status_code == 200, answer.content
    words = {word for secret in SECRETS.values() for word in (secret, *secret.split("^"))} | {"ROSALIND"}
    assert [word for word in words if word.encode() in answer.content] == []
    read = pydicom.dcmread(io.BytesIO(answer.content))
    assert (read.Rows >= film.rows, read.PatientID) == (True, film.patient.pseudonym)


# Who may ------------------------------------------------------------------------------------------------


def every_address(scored: Scored, row: int = 0) -> list[str]:
    where = [scored.run.uuid, scored.films[row].uuid]
    return [
        *(address(scored, kind, row) for kind in KINDS),
        *(reverse(f"api-{kind}-dicom", args=where) for kind in KINDS),
    ]


def test_an_export_is_audited(as_analyst: Client, scored: Scored, analyst: User) -> None:
    answers = [as_analyst.get(url) for url in every_address(scored)]
    assert [answer.status_code for answer in answers] == [200] * 4
    events = AuditEvent.objects.filter(verb="export heatmap").order_by("pk")
    assert [(event.actor, event.target_uuid, event.after["as"]) for event in events] == [
        (analyst, scored.films[0].uuid, kind) for kind in (*KINDS, *KINDS)
    ]
    shown = Exposure.objects.values_list("person", "image", "kind", "run")
    assert list(shown) == [(analyst.pk, scored.films[0].pk, "map", scored.run.uuid)]


def test_a_token_gets_the_file_of_the_page(client: Client, scored: Scored, analyst: User) -> None:
    token = {"HTTP_AUTHORIZATION": f"Token {factories.api_token(analyst)}"}
    answer = client.get(every_address(scored)[3], **token)
    assert answer.headers["Content-Type"] == "application/dicom"
    assert pydicom.dcmread(io.BytesIO(answer.content)).Modality == "SEG"


@pytest.mark.parametrize(("role", "status"), [
    (Role.CURATOR, 403), (Role.READER, 200), (Role.ADJUDICATOR, 200), (Role.ANALYST, 200), (Role.MANAGER, 200),
    (Role.BROKER, 403),
])  # fmt: skip
def test_who_may_export(client: Client, scored: Scored, role: Role, status: int) -> None:
    client.force_login(factories.user("someone", role))
    assert [client.get(url).status_code for url in every_address(scored)] == [status] * 4
    assert AuditEvent.objects.filter(verb="export heatmap").count() == (4 if status == 200 else 0)


def test_films_of_another_site_do_not_exist(client: Client, scored: Scored) -> None:
    client.force_login(factories.user("stranger", Role.MANAGER, at=factories.site("Busan")))
    assert [client.get(url).status_code for url in every_address(scored)] == [404] * 4


def test_a_hidden_film_is_not_exported(client: Client, scored: Scored) -> None:
    factories.event(scored.films[20], "unsure", author=factories.curator())
    client.force_login(factories.user("both", Role.ANALYST, Role.CURATOR))
    answers = [client.get(url) for url in every_address(scored, row=20)]
    assert [answer.status_code for answer in answers] == [403] * 4
    assert all("stay hidden from you until it is labelled" in answer.text for answer in answers)


def test_a_film_that_the_run_did_not_score_has_none(as_analyst: Client, scored: Scored) -> None:
    Score.objects.filter(run=scored.run, image=scored.films[0]).delete()
    assert [as_analyst.get(url).status_code for url in every_address(scored)] == [404] * 4


def test_the_files_cannot_be_posted_to(as_analyst: Client, scored: Scored) -> None:
    assert [as_analyst.post(url).status_code for url in every_address(scored)] == [405] * 4


# Missing files ------------------------------------------------------------------------------------------


def test_missing_maps_are_reported(as_analyst: Client, scored: Scored) -> None:
    shutil.rmtree(run_folder(scored.run.uuid))
    answers = [as_analyst.get(url) for url in every_address(scored)]
    assert [answer.status_code for answer in answers] == [410] * 4
    assert all("not in the data folder any more; score the films again." in answer.text for answer in answers)
    assert not AuditEvent.objects.filter(verb="export heatmap").exists()


def test_missing_pixels_are_reported(as_analyst: Client, scored: Scored) -> None:
    pixel_path(scored.films[0].pixel_sha256).unlink()
    answer = as_analyst.get(address(scored, "heatmap"))
    assert (answer.status_code, "import the film again" in answer.text) == (410, True)


@pytest.mark.parametrize("affine", [[[0, 0, 0], [0, 0, 0]], [[math.nan] * 3] * 2])
def test_an_alignment_without_an_inverse_has_no_place(as_analyst: Client, scored: Scored, affine: Any) -> None:
    place(scored, affine)
    answers = [as_analyst.get(address(scored, kind)) for kind in KINDS]
    assert [(answer.status_code, "cannot be inverted" in answer.text) for answer in answers] == [(410, True)] * 2


def test_an_unreadable_film_gives_the_reason(as_analyst: Client, scored: Scored) -> None:
    Score.objects.filter(run=scored.run, image=scored.films[0]).update(
        error="The file is cut off.", fused_score=None, global_score=None, region_score=None
    )
    answer = as_analyst.get(address(scored, "segmentation"))
    assert (answer.status_code, "This film has no heatmap: The file is cut off." in answer.text) == (410, True)
    page = as_analyst.get(reverse("analysis:film", args=[scored.run.uuid, scored.films[0].uuid])).text
    assert "heatmap.dcm" not in page
