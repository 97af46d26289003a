"""A folder of phantom films with labels, boxes and truth, used by `make demo` and the tests."""

from __future__ import annotations

import csv
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portal.imaging.phantom.dicom_file import Header, write_dicom
from portal.imaging.phantom.findings import FINDINGS
from portal.imaging.phantom.phantom import Phantom, make_phantom

PARTS = ("fit", "tune", "calibrate", "test")
# shares of the normal films in fit, tune and calibrate, and of the abnormal ones in tune; the rest is test
_NORMAL_SHARES = {"fit": 0.5625, "tune": 0.15, "calibrate": 0.1}
_ABNORMAL_TUNE_SHARE = 0.34
_FILMS_IN_PAIRS = 0.2
DEMO_CALIBRATE = 44  # films of 40 patients, who keep a false-alarm rate of 10 % between 3 and 20 %
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PhantomPlan:
    """One film of the set before it is drawn."""

    number: int
    seed: int
    person_seed: int
    patient_id: str
    filename: str
    part: str
    finding: str | None
    photometric: str
    is_rle: bool
    modality: str
    size: int


@dataclass(frozen=True)
class _DrawnFilm:
    filename: str
    boxes: tuple[tuple[float, float, float, float], ...]
    landmarks: dict[str, tuple[float, float]]


def write_demo_set(
    folder: Path,
    *,
    seed: int = 0,
    normals: int = 160,
    abnormals_per_finding: int = 14,
    calibrate: int | None = None,
    size: int = 1024,
    progress: Progress | None = None,
    workers: int = 2,
) -> None:
    """Write the films as DICOM with labels.csv, boxes.csv, truth/NAME.npz and truth/landmarks.csv.

    `calibrate` is the number of normal films in calibrate, by default its share of `normals`; the numbers of the
    other parts stay. The same seed and counts give the same bytes in every file, whatever `workers` (processes) is.
    `progress` is called with the number of films done and of all films. Raises ValueError for counts that leave a
    part empty.
    """
    plans = plan_demo_set(
        seed=seed, normals=normals, abnormals_per_finding=abnormals_per_finding, calibrate=calibrate, size=size
    )
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    films = []
    for done, film in enumerate(_draw_all(folder, plans, workers), 1):
        films.append(film)
        if progress is not None:
            progress(done, len(plans))
    _write_labels(folder / "labels.csv", plans)
    _write_boxes(folder / "boxes.csv", plans, films)
    _write_landmarks(folder / "truth" / "landmarks.csv", films)


def plan_demo_set(
    *, seed: int, normals: int, abnormals_per_finding: int, size: int, calibrate: int | None = None
) -> list[PhantomPlan]:
    """Return the films to draw, in the order of their file names, normal and abnormal films mixed."""
    if normals < 8 or abnormals_per_finding < 2:
        raise ValueError(
            f"{normals} normal films and {abnormals_per_finding} per finding; expected at least 8 and 2, "
            "so that tune and test have each kind."
        )
    rng = np.random.Generator(np.random.PCG64([8, seed]))
    patients = list(_patients(normals, abnormals_per_finding, calibrate))
    order = rng.permutation(len(patients))
    plans: list[PhantomPlan] = []
    for patient_number, which in enumerate(order, 1):
        part, finding, films = patients[which]
        for film in range(1, films + 1):
            number = len(plans) + 1
            plans.append(
                PhantomPlan(
                    number=number,
                    seed=int(rng.integers(2**62)),
                    person_seed=seed * 1_000_003 + patient_number,
                    patient_id=f"PHANTOM-{patient_number:04d}",
                    filename=f"phantom-{patient_number:04d}-{film}.dcm",
                    part=part,
                    finding=finding,
                    photometric="MONOCHROME2",
                    is_rle=False,
                    modality="DX",
                    size=size,
                )
            )
    return [_vary(plan, rng) for plan in plans]


def _vary(plan: PhantomPlan, rng: np.random.Generator) -> PhantomPlan:
    inverted, compressed, computed = rng.random(3) < (0.34, 0.33, 0.35)
    return replace(
        plan,
        photometric="MONOCHROME1" if inverted else "MONOCHROME2",
        is_rle=bool(compressed),
        modality="CR" if computed else "DX",
    )


def _patients(normals: int, abnormals_per_finding: int, calibrate: int | None) -> Iterator[tuple[str, str | None, int]]:
    """Part, finding and number of films of each patient; some have two films, always in one part."""
    counts = {part: round(share * normals) for part, share in _NORMAL_SHARES.items()}
    counts["test"] = normals - sum(counts.values())
    if calibrate is not None:
        counts["calibrate"] = calibrate
    for part in PARTS:
        yield from ((part, None, films) for films in _in_patients(counts[part]))
    tuned = max(1, round(_ABNORMAL_TUNE_SHARE * abnormals_per_finding))
    for finding in FINDINGS:
        for part, count in (("tune", tuned), ("test", abnormals_per_finding - tuned)):
            yield from ((part, finding, films) for films in _in_patients(count))


def _in_patients(films: int) -> Iterator[int]:
    pairs = int(films * _FILMS_IN_PAIRS / 2)
    yield from [2] * pairs
    yield from [1] * (films - 2 * pairs)


def _draw_all(folder: Path, plans: list[PhantomPlan], workers: int) -> Iterator[_DrawnFilm]:
    # a daemonic process, such as a worker of the task queue, may not have children
    if workers <= 1 or len(plans) < 8 or multiprocessing.current_process().daemon:
        for plan in plans:
            yield _draw(folder, plan)
        return
    # spawned, not forked: the caller may hold threads and connections
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=leave_interrupts_to_caller) as pool:
        yield from pool.map(_draw, [folder] * len(plans), plans, chunksize=1)


def leave_interrupts_to_caller() -> None:
    """Ignore Ctrl-C, which reaches every process of the terminal: the calling process decides how to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw(folder: Path, plan: PhantomPlan) -> _DrawnFilm:
    phantom = make_phantom(
        seed=plan.seed,
        person_seed=plan.person_seed,
        finding=plan.finding,
        size=plan.size,
        photometric=plan.photometric,
    )
    header = Header(
        key=f"{plan.person_seed} {plan.seed}",
        patient_id=plan.patient_id,
        number=plan.number,
        modality=plan.modality,
        is_rle=plan.is_rle,
    )
    write_dicom(folder / plan.filename, phantom, header)
    write_truth(folder / "truth" / plan.filename.replace(".dcm", ".npz"), phantom)
    return _DrawnFilm(plan.filename, phantom.boxes, phantom.landmarks)


def write_truth(path: Path, phantom: Phantom) -> None:
    """Write the mask, packed eight pixels to a byte along rows (all 0 without a finding), and the pose."""
    mask = phantom.mask if phantom.mask is not None else np.zeros(phantom.pixels.shape, bool)
    np.savez_compressed(
        path,
        mask=np.packbits(mask, axis=1),
        shape=np.array(mask.shape, dtype="<i4"),
        pose=phantom.pose.astype("<f8"),
    )


def read_truth(path: Path) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """The mask (H, W) bool and the pose (2, 3) float64, image_from_atlas, that `write_truth` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        _, width = stored["shape"]
        mask = np.unpackbits(stored["mask"], axis=1, count=int(width)).astype(bool)
        return mask, stored["pose"].astype(np.float64)


def _write_labels(path: Path, plans: list[PhantomPlan]) -> None:
    rows = (
        (p.filename, "abnormal" if p.finding else "normal", p.patient_id, "PA", p.part, p.finding or "") for p in plans
    )
    _write_csv(path, ("filename", "label", "patient_id", "projection", "split", "finding"), rows)


def _write_boxes(path: Path, plans: list[PhantomPlan], films: list[_DrawnFilm]) -> None:
    rows = (
        (plan.filename, *(f"{v:g}" for v in box), plan.finding)
        for plan, film in zip(plans, films, strict=True)
        for box in film.boxes
    )
    _write_csv(path, ("filename", "x", "y", "width", "height", "finding"), rows)


def _write_landmarks(path: Path, films: list[_DrawnFilm]) -> None:
    rows = ((film.filename, name, f"{x:.3f}", f"{y:.3f}") for film in films for name, (x, y) in film.landmarks.items())
    _write_csv(path, ("filename", "landmark", "x", "y"), rows)


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
