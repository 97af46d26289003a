"""What confirmed films buy: AUROC over the number of reads, of the one-class score and with a semi-supervised head.

    python -m benchmarks.confirmed_head phantoms [--seeds 5] [--out DIR]
    python -m benchmarks.confirmed_head films --images DIR --csv FILE [--out DIR]

``phantoms`` draws known normals, a pool with nodules and a test set for each seed, fits the default detector without
alignment, reads the highest-scored films of the pool with the truth as verdict, and scores the test set. It also draws
the pool a second time with another exposure, which the control of the population has to refuse. ``films`` does the same
once with a CSV of real films, aligned, whose split is train (normals) and test: half of the test films, drawn by the
seed within label and projection, are tune, from which alone films are read; the other half is reported, once.

Prints tables in Markdown. With --out, what was measured is kept there and not measured again. Fewer than ten confirmed
films are fitted too, which a run refuses.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

from analysis.statistics import auroc_interval
from analysis.statistics.auroc import delong_paired
from analysis.statistics.matched_pairs import matched_auroc
from analysis.studies.print_table import markdown_table
from ml_engine.core import determinism
from ml_engine.core.bank.detectors import scorer_of
from ml_engine.core.detector import pipeline
from ml_engine.core.detector.pipeline import FittedDetector
from ml_engine.core.errors import EngineError
from ml_engine.core.head import confirmed_head
from ml_engine.core.head.confirmed_head import BothScores, TrainingFilms
from ml_engine.core.head.population import FilmGroup, PopulationControl, compare_populations
from ml_engine.core.score import conformal
from ml_engine.engine import manifest
from ml_engine.engine.one_film import FilmPipeline
from portal.imaging.phantom import make_phantom

SIZES = (10, 20, 40, 80)  # films read
PENALTY, FOLDS, EXPOSURE = 100.0, 5, 0.8  # EXPOSURE is an exponent of the gray values of the second pool
PARTS = {"fit": (60, 0), "calibrate": (24, 0), "pool": (80, 40), "test": (40, 40)}  # normal and abnormal phantoms
READ_FOR_CONTROL = 40
SIDE = 256
UNALIGNED = ("--set", "align=none")  # phantoms: the search for an alignment is most of the time

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Film:
    name: str
    patient: str
    part: str
    abnormal: bool
    view: str = ""


@dataclass(frozen=True)
class World:
    """Films with their pooled features (N, D) and one-class scores (N,), and the detector that gave them."""

    films: Sequence[Film]
    detector: FittedDetector
    features: Array
    one_class: Array
    brightness: Array

    def rows(self, *parts: str) -> NDArray[np.int64]:
        return np.array([k for k, film in enumerate(self.films) if film.part in parts], dtype=np.int64)

    def abnormal(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.array([self.films[k].abnormal for k in rows], dtype=np.bool_)

    def group(self, rows: NDArray[np.int64]) -> FilmGroup:
        views = tuple(self.films[k].view for k in rows)
        return FilmGroup(self.features[rows], tuple(self.films[k].patient for k in rows), {"view": views})


def engine(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "ml_engine", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def measure(folder: Path, images: Path, films: Sequence[Film], *settings: str) -> World:
    """Fit the default detector, with these ``settings``, on the films of fit and calibrate, and measure all films."""
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "label", "patient_id", "split"])
        for film in films:
            if film.part in ("fit", "calibrate"):
                writer.writerow([film.name, "normal", film.patient, film.part])
    model = folder / "model"
    options = ("--set", "controls=0", "--set", "cross_fit=no", "--set", "fusion_choice=config")
    engine("fit", "--images", images, "--csv", folder / "labels.csv", "--out", model, *options, *settings)
    determinism.fix(threads=1)
    detector = pipeline.load_detector(model / "detector.safetensors")
    single = FilmPipeline(model, detector, device="cpu")
    scorer = scorer_of(detector.model, detector.mask.keep, detector.config, single.device)
    features, scores, brightness = [], [], []
    for film in films:
        canonical, _ = single.canonical(images / film.name)
        patches = single.extractor.patches(canonical, single.places)[0]
        features.append(confirmed_head.pool(patches))
        scores.append(pipeline.score_maps(scorer.maps(patches)[None], detector).fused[0])
        brightness.append(float(canonical.mean()))
    calibrate = [row.filename for row in manifest.read(model / "images.csv") if row.part == "calibrate"]
    assert calibrate == [film.name for film in films if film.part == "calibrate"]
    return World(films, detector, np.stack(features), np.array(scores), np.array(brightness))


def keep_world(world: World, path: Path) -> None:
    np.savez(path, features=world.features, one_class=world.one_class, brightness=world.brightness)


def read_world(path: Path, films: Sequence[Film]) -> World:
    """What `keep_world` wrote, beside the model."""
    values = np.load(path, allow_pickle=False)
    detector = pipeline.load_detector(path.parent / "model" / "detector.safetensors")
    return World(films, detector, values["features"], values["one_class"], values["brightness"])


def control_of(world: World, pool: NDArray[np.int64]) -> PopulationControl | str:
    """The control with the `READ_FOR_CONTROL` highest-scored films read, or the reason why there is none."""
    normals, rate = pipeline.normal_scores(world.detector), world.detector.config.false_alarm_rate
    ordered = conformal.highest_by_patient(normals, world.detector.calibration.patients)
    k = conformal.rank(1 - rate, len(ordered))
    assert k is not None
    unread = pool[np.argsort(-world.one_class[pool], kind="stable")[READ_FOR_CONTROL:]]
    read = np.setdiff1d(pool, unread)
    supposed_normal = np.sort(np.concatenate([unread, read[~world.abnormal(read)]]))
    scored = supposed_normal[world.one_class[supposed_normal] <= ordered[k - 1]]
    try:
        return compare_populations(
            world.group(world.rows("fit")), world.group(scored), penalty=PENALTY, folds=FOLDS, seed=0
        )
    except EngineError as refusal:
        return str(refusal)


def control_words(control: PopulationControl | str) -> str:
    if isinstance(control, str):
        return f"refused: {control}"
    words = f"{control.auroc:.2f} ({control.low:.2f}–{control.high:.2f})"
    return words + ("" if control.is_passed else ", refused" + "".join(f"; {d.words}" for d in control.differences[:2]))


def with_reads(world: World, pool: NDArray[np.int64], size: int, *, read_normals: bool) -> tuple[BothScores, int]:
    """The test films' z of both scores with a head of the ``size`` highest-scored films of the pool, and the number of
    abnormal ones among these."""
    read = pool[np.argsort(-world.one_class[pool], kind="stable")[:size]]
    used = read if read_normals else read[world.abnormal(read)]
    rows = np.concatenate([world.rows("fit"), used])
    known = np.arange(len(rows)) < len(world.rows("fit"))
    films = TrainingFilms(world.features[rows], np.where(known, False, world.abnormal(rows)), np.ones(len(rows)), known)
    fitted = confirmed_head.fit(films, penalty=PENALTY)
    calibrate, test = world.rows("calibrate"), world.rows("test")
    normals = BothScores(
        pipeline.normal_scores(world.detector), confirmed_head.logits(fitted, world.features[calibrate])
    )
    scored = confirmed_head.combine(
        BothScores(world.one_class[test], confirmed_head.logits(fitted, world.features[test])), normals
    )
    return BothScores(scored.one_class_z, scored.head_z), int(world.abnormal(read).sum())


def area(world: World, scores: Array) -> float:
    value = auroc_interval(world.abnormal(world.rows("test")), scores).auroc
    assert value is not None
    return value


# phantoms


def plan_phantoms() -> list[Film]:
    films = [
        (part, abnormal)
        for part, counts in PARTS.items()
        for abnormal, count in zip((False, True), counts, strict=True)
        for _ in range(count)
    ]
    plan = [Film(f"{k:04}.png", f"p{k}", part, abnormal) for k, (part, abnormal) in enumerate(films)]
    normals = [film for film in plan if film.part == "pool" and not film.abnormal]
    return plan + [Film(f"exposed-{film.name}", film.patient, "exposed", False) for film in normals]


def draw_phantoms(folder: Path, seed: int) -> list[Film]:
    plan = plan_phantoms()
    exposed = {film.name for film in plan if film.part == "exposed"}
    for number, film in enumerate(film for film in plan if film.part != "exposed"):
        phantom = make_phantom(seed=seed * 10_000 + number, finding="nodule" if film.abnormal else None, size=SIDE)
        Image.fromarray(phantom.pixels).save(folder / film.name)
        if (name := f"exposed-{film.name}") in exposed:
            gray = (phantom.pixels / 4095.0) ** EXPOSURE * 4095
            Image.fromarray(np.round(gray).astype(np.uint16)).save(folder / name)
    return plan


def world_of(folder: Path, seed: int) -> World:
    """The phantoms of a seed, drawn and measured once: a benchmark that was stopped goes on at the next seed."""
    kept = folder / "measured.npz"
    folder.mkdir(parents=True, exist_ok=True)
    if kept.is_file():
        return read_world(kept, plan_phantoms())
    world = measure(folder, folder, draw_phantoms(folder, seed), *UNALIGNED)
    keep_world(world, kept)
    return world


def phantoms(out: Path, seeds: int) -> None:
    areas: dict[tuple[int, str], list[float]] = {}
    abnormal: dict[int, list[int]] = {}
    controls = []
    for seed in range(seeds):
        world = world_of(out / f"seed-{seed}", seed)
        pool = world.rows("pool")
        one_class = area(world, world.one_class[world.rows("test")])
        for size in SIZES:
            for read_normals in (False, True):
                both, confirmed = with_reads(world, pool, size, read_normals=read_normals)
                of_both = {"head": both.head, "combined": both.one_class + both.head}
                for name, scores in of_both.items():
                    areas.setdefault((size, f"{name}{' with read normals' * read_normals}"), []).append(
                        area(world, scores)
                    )
            areas.setdefault((size, "one-class"), []).append(one_class)
            abnormal.setdefault(size, []).append(confirmed)
        controls.append(
            [str(seed), *(control_words(control_of(world, world.rows(part))) for part in ("pool", "exposed"))]
        )
        print(f"seed {seed} done, one-class {one_class:.3f}", file=sys.stderr)
    print(_curve_table(areas, abnormal), end="\n\n")
    print(markdown_table(("seed", "same exposure", f"gray ** {EXPOSURE}"), controls))


def _curve_table(areas: dict[tuple[int, str], list[float]], abnormal: dict[int, list[int]]) -> str:
    """Means over the seeds with 95 % t intervals; gains are paired within a seed."""
    rows = []
    for size in SIZES:
        one_class = np.array(areas[size, "one-class"])
        combined = np.array(areas[size, "combined"])
        with_normals = np.array(areas[size, "combined with read normals"])
        rows.append(
            [
                str(size),
                f"{np.mean(abnormal[size]):.1f}",
                _mean(one_class),
                _mean(np.array(areas[size, "head"])),
                _mean(combined),
                _mean(combined - one_class, sign=True),
                _mean(with_normals - one_class, sign=True),
            ]
        )
    headings = ("reads", "of them abnormal", "one-class", "head", "combined", "gain", "gain, read normals join")
    return markdown_table(headings, rows)


def _mean(values: Array, *, sign: bool = False) -> str:
    mark = "+" if sign else ""
    mean = float(values.mean())
    if len(values) < 2:
        return f"{mean:{mark}.3f}"
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return f"{mean:{mark}.3f} ({mean - half:{mark}.3f} to {mean + half:{mark}.3f})"


# real films


def draw_films(path: Path, *, seed: int) -> list[Film]:
    """train as fit and calibrate by patient, test as tune and test; tune is called pool."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    rng = np.random.default_rng(seed)
    names = sorted({line["patient_id"] for line in lines if line["split"] == "train"})
    calibrate = {names[k] for k in rng.permutation(len(names))[: round(0.3 * len(names))]}
    strata = sorted({(line["label"], line["projection"]) for line in lines if line["split"] == "test"})
    pool: set[str] = set()
    for stratum in strata:
        own = [
            line["filename"]
            for line in lines
            if (line["label"], line["projection"], line["split"]) == (*stratum, "test")
        ]
        pool |= {own[k] for k in rng.permutation(len(own))[: len(own) // 2]}
    films = []
    for line in lines:
        if line["split"] == "train":
            part = "calibrate" if line["patient_id"] in calibrate else "fit"
        else:
            part = "pool" if line["filename"] in pool else "test"
        films.append(Film(line["filename"], line["patient_id"], part, line["label"] == "abnormal", line["projection"]))
    return films


def world_of_films(out: Path, images: Path, table: Path) -> World:
    """The films, measured once."""
    out.mkdir(parents=True, exist_ok=True)
    kept, films = out / "measured.npz", draw_films(table, seed=0)
    if kept.is_file():
        return read_world(kept, films)
    world = measure(out, images, films)
    keep_world(world, kept)
    return world


def real_films(out: Path, images: Path, table: Path) -> None:
    world = world_of_films(out, images, table)
    pool, test = world.rows("pool"), world.rows("test")
    labels, brightness = world.abnormal(test), world.brightness[test]
    views = [world.films[k].view for k in test]
    numbers = np.array([float(re.sub(r"\D", "", world.films[k].patient) or 0) for k in test])
    rows = []
    for size in (0, *SIZES):
        if size > len(pool):
            continue
        both, confirmed = with_reads(world, pool, size, read_normals=False) if size else (None, 0)
        scores = world.one_class[test] if both is None else both.one_class + both.head
        whole = auroc_interval(labels, scores)
        pairs = matched_auroc(labels, scores, brightness, views)
        gain = delong_paired(labels, scores, world.one_class[test])
        rows.append(
            [
                str(size),
                str(confirmed),
                "–" if both is None else f"{area(world, both.head):.3f}",
                f"{whole.auroc:.3f} ({whole.low:.3f}–{whole.high:.3f})",
                "–" if both is None else f"{gain.difference:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})",
                f"{pairs.auroc:.3f} ({pairs.low:.3f}–{pairs.high:.3f}), {pairs.pairs} pairs",
                f"{within_fifths(labels, scores, numbers):.3f}",
            ]
        )
    headings = ("reads", "of them abnormal", "head", "combined", "gain", "matched pairs", "within fifths of the number")
    print(markdown_table(headings, rows), end="\n\n")
    print(f"Control of the population: {control_words(control_of(world, pool))}.")


def within_fifths(labels: NDArray[np.bool_], scores: Array, numbers: Array) -> float:
    """The share of abnormal films above normal ones among pairs within a fifth of the patients' numbers."""
    fifth = np.searchsorted(np.quantile(numbers, [0.2, 0.4, 0.6, 0.8]), numbers)
    won = pairs = 0.0
    for of in range(5):
        ill, well = scores[(fifth == of) & labels], scores[(fifth == of) & ~labels]
        won += float(((ill[:, None] > well) + 0.5 * (ill[:, None] == well)).sum())
        pairs += ill.size * well.size
    return won / pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("phantoms", "films"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        if options.what == "phantoms":
            phantoms(out, options.seeds)
        else:
            real_films(out, options.images, options.csv)


if __name__ == "__main__":
    main()
