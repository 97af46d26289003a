"""The demo set is complete, keeps each patient in one part, and has the same bytes for the same seed."""

from __future__ import annotations

import csv
import hashlib
import multiprocessing
import signal
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from portal.imaging.phantom import FINDINGS, make_phantom, read_truth, write_demo_set
from portal.imaging.phantom.demo_set import DEMO_CALIBRATE, leave_interrupts_to_caller, plan_demo_set
from portal.imaging.phantom.dicom_file import Header, write_dicom
from portal.imaging.read_film import read_film

COUNTS = {"normals": 8, "abnormals_per_finding": 2, "size": 64}
FILMS = 18


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    calls: list[tuple[int, int]] = []
    write_demo_set(folder, workers=1, progress=lambda *at: calls.append(at), **COUNTS)
    assert calls == [(done, FILMS) for done in range(1, FILMS + 1)]
    return folder


# --- the same seed, the same bytes --------------------------------------------------------------


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_for_any_number_of_processes(demo: Path, tmp_path: Path) -> None:
    write_demo_set(tmp_path, workers=2, **COUNTS)
    assert digests(tmp_path) == digests(demo)


def test_another_seed_gives_other_films() -> None:
    first, second = (plan_demo_set(seed=seed, normals=24, abnormals_per_finding=3, size=64) for seed in (0, 1))
    assert {plan.seed for plan in first}.isdisjoint(plan.seed for plan in second)
    assert {plan.person_seed for plan in first}.isdisjoint(plan.person_seed for plan in second)


# --- labels -------------------------------------------------------------------------------------


def test_every_film_is_labelled_and_every_label_has_its_film(demo: Path) -> None:
    labels = rows(demo / "labels.csv")
    assert {row["filename"] for row in labels} == {path.name for path in demo.glob("*.dcm")}
    assert Counter(row["label"] for row in labels) == {"normal": 8, "abnormal": 10}
    assert Counter(row["finding"] for row in labels if row["finding"]) == dict.fromkeys(FINDINGS, 2)
    assert all((row["finding"] != "") == (row["label"] == "abnormal") for row in labels)
    assert {row["projection"] for row in labels} == {"PA"}


def test_the_default_set_has_the_parts_that_training_needs() -> None:
    plans = plan_demo_set(seed=0, normals=160, abnormals_per_finding=14, size=1024)
    normal = Counter(plan.part for plan in plans if plan.finding is None)
    assert normal == {"fit": 90, "tune": 24, "calibrate": 16, "test": 30}
    ill = Counter((plan.part, plan.finding) for plan in plans if plan.finding is not None)
    assert sum(ill.values()) == 70
    assert {part for part, _ in ill} == {"tune", "test"}
    assert all(ill[part, finding] >= 4 for part in ("tune", "test") for finding in FINDINGS)


def test_the_demo_has_enough_patients_to_calibrate_on() -> None:
    """40 patients keep a rate of 10 % between 2.8 and 20.4 %; the other parts stay."""
    plans = plan_demo_set(seed=0, normals=160, abnormals_per_finding=14, size=1024, calibrate=DEMO_CALIBRATE)
    normal = Counter(plan.part for plan in plans if plan.finding is None)
    assert normal == {"fit": 90, "tune": 24, "calibrate": 44, "test": 30}
    assert len({plan.patient_id for plan in plans if plan.part == "calibrate"}) == 40


def test_no_patient_is_in_two_parts_and_some_have_two_films() -> None:
    plans = plan_demo_set(seed=0, normals=160, abnormals_per_finding=14, size=1024)
    parts, films = defaultdict(set), Counter()
    for plan in plans:
        parts[plan.patient_id].add((plan.part, plan.person_seed, plan.finding))
        films[plan.patient_id] += 1
    assert all(len(places) == 1 for places in parts.values())
    assert set(films.values()) == {1, 2}
    assert sum(count == 2 for count in films.values()) >= 10


def test_film_numbers_do_not_give_the_label_away() -> None:
    plans = plan_demo_set(seed=0, normals=160, abnormals_per_finding=14, size=1024)
    first_half = [plan.finding is not None for plan in plans[: len(plans) // 2]]
    assert 0.2 < np.mean(first_half) < 0.4


def test_photometric_compression_and_modality_are_mixed() -> None:
    plans = plan_demo_set(seed=0, normals=160, abnormals_per_finding=14, size=1024)
    for share in (
        np.mean([plan.photometric == "MONOCHROME1" for plan in plans]),
        np.mean([plan.is_rle for plan in plans]),
        np.mean([plan.modality == "CR" for plan in plans]),
    ):
        assert 0.25 < share < 0.42


@pytest.mark.parametrize("counts", [{"normals": 7}, {"abnormals_per_finding": 1}])
def test_too_few_films_for_the_parts_are_refused(counts: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected at least"):
        write_demo_set(tmp_path, **{**COUNTS, **counts})


# --- truth --------------------------------------------------------------------------------------


def test_truth_holds_mask_pose_and_landmarks(demo: Path) -> None:
    boxes = {row["filename"]: row for row in rows(demo / "boxes.csv")}
    landmarks = defaultdict(dict)
    for row in rows(demo / "truth" / "landmarks.csv"):
        landmarks[row["filename"]][row["landmark"]] = (float(row["x"]), float(row["y"]))
    for label in rows(demo / "labels.csv"):
        name = label["filename"]
        mask, pose = read_truth(demo / "truth" / name.replace(".dcm", ".npz"))
        assert mask.shape == (64, 64)
        assert mask.any() == (label["label"] == "abnormal") == (name in boxes)
        assert pose.shape == (2, 3)
        assert landmarks[name]["carina"] == pytest.approx(tuple(pose @ (-3, 136, 1)), abs=1e-3)
        if name in boxes:
            assert boxes[name]["finding"] == label["finding"]
            x, y, width, height = (float(boxes[name][key]) for key in ("x", "y", "width", "height"))
            mask[int(y) : int(y + height), int(x) : int(x + width)] = False
            assert not mask.any()


# --- DICOM --------------------------------------------------------------------------------------


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("is_rle", [False, True])
def test_a_film_is_the_same_after_writing_and_reading(photometric: str, is_rle: bool, tmp_path: Path) -> None:
    phantom = make_phantom(seed=6, size=64, photometric=photometric)
    about = Header(key="6", patient_id="PHANTOM-0006", number=6, modality="DX" if is_rle else "CR", is_rle=is_rle)
    write_dicom(tmp_path / "a.dcm", phantom, about)
    film, allowed = read_film(tmp_path / "a.dcm")
    assert np.array_equal(film.stored, phantom.pixels)
    assert film.facts == phantom.facts
    assert allowed["age_years"] == str(phantom.age)
    assert allowed["patient_sex"] == phantom.sex
    assert allowed["view_position"] == "PA"
    assert not [key for key in allowed if key.startswith("warning:")]
    header = pydicom.dcmread(tmp_path / "a.dcm")
    assert (header.file_meta.TransferSyntaxUID == RLELossless) == is_rle
    assert header.PresentationLUTShape == ("INVERSE" if photometric == "MONOCHROME1" else "IDENTITY")


def test_identifiers_of_films_and_patients_are_unique(demo: Path) -> None:
    labels = {row["filename"]: row["patient_id"] for row in rows(demo / "labels.csv")}
    headers = {path.name: pydicom.dcmread(path, stop_before_pixels=True) for path in demo.glob("*.dcm")}
    assert {name: ds.PatientID for name, ds in headers.items()} == labels
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        assert len({ds[keyword].value for ds in headers.values()}) == len(headers)
    assert all(ds[keyword].value.is_valid for ds in headers.values() for keyword in ("SOPInstanceUID", "SOPClassUID"))
    assert {ds.BurnedInAnnotation for ds in headers.values()} == {"NO"}


@pytest.mark.slow
def test_only_the_caller_handles_an_interrupt() -> None:
    """Ctrl-C reaches the drawing processes too; they continue until the caller ends them."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=leave_interrupts_to_caller) as pool:
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN
