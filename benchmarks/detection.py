"""Detection on real films, printed once as Markdown: what the defaults reach, and what each part of the method adds.

    python -m benchmarks.detection [FOLDER] [--out DIR]

FOLDER (default ../shared/data/cxr-a) holds ``images``, ``labels.csv``. The films of split
train are drawn into fit, tune and calibrate as the command line does; those of split test are scored. Every backbone
is tried with films aligned and not, masked and not. Nothing is chosen here: the settings are those of preset
``default``, and every number is printed, whatever it is. Intervals are 95 % (DeLong).
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tabulate import tabulate

from analysis import statistics
from ml_engine.core import files
from ml_engine.core.alignment.model import load_alignment
from ml_engine.core.backbone import weight_import, weights
from ml_engine.core.config import PipelineConfig
from ml_engine.core.film.lungs import find_lungs
from ml_engine.core.film.trivial import NAMES
from ml_engine.core.geometry import apply
from ml_engine.core.score.film_scores import FAMILY
from ml_engine.engine import manifest
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.run_folder import RunSpec, write_run_folder
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.engine.stages.runner import run_folder
from portal.imaging import lesions

CXR_A = Path(__file__).parents[2] / "shared" / "data" / "cxr-a"
BACKBONES = {
    "EfficientNet-Lite2": ("tf_efficientnet_lite2", "imagenet"),
    "EfficientNet-Lite0": ("tf_efficientnet_lite0", "imagenet"),
    "EfficientNet-Lite2, random weights": ("tf_efficientnet_lite2", "random"),
}
DEFAULT = ("EfficientNet-Lite2", True, True)  # backbone, aligned, masked
STARTS = 5
NODULES_MM = (5, 10, 15, 20, 30)
CONTRAST = 0.15  # of the gray scale, where the nodule is thickest
WIDTH_MM = 400.0  # assumed of a film without pixel spacing
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class TestFilms:
    """The test films in the order of the scored folders: labels (1 = abnormal), patients, views, file names."""

    labels: NDArray[np.int64]
    patients: list[str]
    views: NDArray[np.str_]
    filenames: list[str]


@dataclass(frozen=True)
class Scored:
    """A scored test part; ``cpu_seconds`` of fitting and scoring, features already there not counted again."""

    folder: ScoredFolder
    cpu_seconds: float

    @cached_property
    def by_map(self) -> dict[str, Scores]:
        films = self.folder.films
        return {name: np.array([getattr(film, of) for film in films]) for name, of in _MAPS.items()}

    @property
    def fused(self) -> Scores:
        return self.by_map["fused"]

    @property
    def family(self) -> dict[str, Scores]:
        """The members at the run's fusion weight, and both parts."""
        at = round(self.folder.summary.fusion_weight * 100)
        members = self.folder.array("family")[:, :, at].astype(np.float64)
        return {name: members[:, k] for k, name in enumerate(FAMILY)}


_MAPS = {"global": "whole", "region": "region", "fused": "fused"}


class Bench:
    """Run folders under ``out``, which share alignments and features."""

    def __init__(self, folder: Path, out: Path) -> None:
        self.images, self.out = folder / "images", out
        self.scorers: dict[tuple[str, bool, bool], tuple[RunSpec, dict[str, Path]]] = {}
        table = manifest.read_csv(folder / "labels.csv")
        self.fitting = manifest.with_hashes(manifest.for_fit(table, preset="default", seed=0).rows, self.images)
        self.scoring = manifest.with_hashes(manifest.for_score(table).rows, self.images)
        by_name = {line["filename"]: line for line in table}
        lines = [by_name[row.filename] for row in self.scoring]
        self.test = TestFilms(
            labels=np.array([int(line["label"] == "abnormal") for line in lines]),
            patients=[line["patient_id"] for line in lines],
            views=np.array([line.get("projection", "") for line in lines]),
            filenames=[line["filename"] for line in lines],
        )

    def run(
        self,
        name: str,
        spec: RunSpec,
        rows: list[ManifestRow],
        inputs: Mapping[str, Path],
        *,
        images: Path | None = None,
    ) -> float:
        """Run a folder to its end, unless it ended before; processor seconds."""
        path = self.out / name
        named = {key: files.sha256_of(source) for key, source in inputs.items()}
        if not (path / "run.json").exists():
            write_run_folder(path, replace(spec, inputs=named).to_json(), rows, inputs=inputs)
        began = time.process_time()
        outcome = run_folder(path, images=images or self.images, features=self.out / "features")
        if not outcome.has_results:
            raise SystemExit(f"{name}: {outcome.sentence}")
        return time.process_time() - began

    @cached_property
    def alignment(self) -> tuple[Path, float]:
        """The default alignment, and its processor seconds."""
        (self.out / "features").mkdir(parents=True, exist_ok=True)
        spec = RunSpec(kind="fit_alignment", config=PipelineConfig.from_preset("default"), name="alignment")
        seconds = self.run("alignment", spec, manifest.alignment_rows(self.fitting), {})
        return self.out / "alignment" / "alignment.safetensors", seconds

    def scored(self, backbone: str, *, aligned: bool, masked: bool, **settings: Any) -> Scored:
        """The test films scored by a detector with these settings."""
        architecture, source = BACKBONES[backbone]
        folder = weights.default_folder()
        weight_import.ensure(source, architecture, folder=folder)
        align = "network" if aligned else "none"
        config = PipelineConfig.from_preset("default").replace(
            backbone=architecture, weights=source, align=align, mask=masked, controls=0, **settings
        )
        identity = weights.named(source, architecture, folder=folder)
        inputs = {"alignment": self.alignment[0]} if aligned else {}
        name = re.sub(r"\W+", "-", f"{backbone} {align} {masked} {settings}").strip("-")
        spec = RunSpec(kind="fit_detector", config=config, name="detector", weights=identity)
        seconds = self.run(name, spec, [row for row in self.fitting if row.part != "align"], inputs)
        inputs = {**inputs, "detector": self.out / name / "detector.safetensors"}
        spec = RunSpec(kind="score", config=config, name="scores", weights=identity)
        seconds += self.run(f"{name}-scores", spec, self.scoring, inputs)
        self.scorers[backbone, aligned, masked] = spec, inputs
        return Scored(ScoredFolder(self.out / f"{name}-scores"), seconds)

    def score_with(self, key: tuple[str, bool, bool], rows: list[ManifestRow], *, images: Path, name: str) -> Scored:
        """Other films scored by a detector that `scored` made."""
        spec, inputs = self.scorers[key]
        return Scored(ScoredFolder(self.out / name), self.run(name, spec, rows, inputs, images=images))


# --- numbers ------------------------------------------------------------------------------------


def area(test: TestFilms, scores: Scores) -> str:
    result = statistics.auroc_interval(test.labels, scores, test.patients)
    return f"{result.auroc:.3f} ({result.low:.3f}–{result.high:.3f})"


def difference(test: TestFilms, first: Scores, second: Scores) -> str:
    """The paired difference of two AUROCs."""
    result = statistics.delong_paired(test.labels, first, second, test.patients)
    return f"{result.difference:+.3f} ({result.low:+.3f} to {result.high:+.3f}), p = {result.p_value:.2g}"


def stratified_difference(test: TestFilms, first: Scores, second: Scores) -> str:
    """The paired difference within views, weighted by pairs; the variances of the views add up."""
    total, variance, pairs = 0.0, 0.0, 0
    for view in sorted(set(test.views.tolist())):
        inside = test.views == view
        labels = test.labels[inside]
        if labels.all() or not labels.any():
            continue
        patients = [patient for patient, is_in in zip(test.patients, inside, strict=True) if is_in]
        result = statistics.delong_paired(labels, first[inside], second[inside], patients)
        weight = int(labels.sum() * (1 - labels).sum())
        assert result.difference is not None
        assert result.variance is not None
        total, variance, pairs = (
            total + weight * result.difference,
            variance + weight**2 * result.variance,
            pairs + weight,
        )
    mean, half = total / pairs, 1.96 * np.sqrt(variance) / pairs
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"


def trivial_scores(bench: Bench, scored: Scored) -> dict[str, Scores]:
    """Numbers that know nothing of anatomy: `NAMES`, the number in the file name, and the size of the file."""
    measured = scored.folder.array("trivial")
    numbers = [re.search(r"\d+", name) for name in bench.test.filenames]
    return {name: np.asarray(measured[:, k], np.float64) for k, name in enumerate(NAMES)} | {
        "number in the file name": np.array([float(match[0]) if match else np.nan for match in numbers]),
        "bytes of the file": np.array([(bench.images / name).stat().st_size for name in bench.test.filenames], float),
    }


# --- tables -------------------------------------------------------------------------------------


def section(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print(f"\n## {title}\n")
    print(tabulate(rows, headings, tablefmt="github", disable_numparse=True), flush=True)


def grid(bench: Bench) -> Iterator[tuple[tuple[str, bool, bool], Scored]]:
    for backbone, aligned, masked in product(BACKBONES, (True, False), (True, False)):
        yield (backbone, aligned, masked), bench.scored(backbone, aligned=aligned, masked=masked)


def words(key: tuple[str, bool, bool]) -> str:
    backbone, aligned, masked = key
    return f"{backbone}, {'aligned' if aligned else 'not aligned'}, {'masked' if masked else 'not masked'}"


def print_grid(test: TestFilms, scored: dict[tuple[str, bool, bool], Scored]) -> None:
    rows = [
        [words(key), *(area(test, one.by_map[name]) for name in _MAPS), f"{one.cpu_seconds:.0f}"]
        for key, one in scored.items()
    ]
    section("AUROC by backbone, alignment and mask", ["", *_MAPS, "CPU s"], rows)
    rows = [
        [words(key), *(f"{statistics.delong(test.labels, one.family[name]).auroc:.3f}" for name in FAMILY)]
        for key, one in scored.items()
    ]
    section("AUROC of the film scores of the family, fused map", ["", *FAMILY], rows)


def print_claims(test: TestFilms, scored: dict[tuple[str, bool, bool], Scored]) -> None:
    """The claims of the paper, each as a paired difference."""
    rows = []
    for backbone in BACKBONES:
        both = {key[1:]: one for key, one in scored.items() if key[0] == backbone}
        rows += [
            [
                f"{backbone}: aligned less not aligned, masked",
                difference(test, both[True, True].fused, both[False, True].fused),
            ],
            [
                f"{backbone}: masked less not masked, aligned",
                difference(test, both[True, True].fused, both[True, False].fused),
            ],
        ]
        for aligned in (True, False):
            maps = both[aligned, True].by_map
            name = f"{backbone}, {'aligned' if aligned else 'not aligned'}"
            rows.append([f"{name}: region less global", difference(test, maps["region"], maps["global"])])
            rows.append([f"{name}: fused less global", difference(test, maps["fused"], maps["global"])])
    section("What the parts of the method add (paired, AUROC)", ["", "difference"], rows)


def print_default(bench: Bench, default: Scored) -> None:
    test = bench.test
    rows = [["default, mean+top", area(test, default.fused), ""]]
    rows += [
        [name, area(test, values), difference(test, default.fused, values)] for name, values in default.family.items()
    ]
    section("The default beside each film score of the family", ["", "AUROC", "default less this"], rows)
    rows = []
    for view in sorted(set(test.views.tolist())):
        inside = test.views == view
        part = TestFilms(test.labels[inside], list(np.array(test.patients)[inside]), test.views[inside], [])
        if part.labels.all() or not part.labels.any():
            continue
        rows.append([view, int(inside.sum()), int(part.labels.sum()), area(part, default.fused[inside])])
    section("By view (described, not tested)", ["view", "films", "abnormal", "AUROC"], rows)


def print_trivial(bench: Bench, default: Scored) -> None:
    test, rows = bench.test, []
    trivial = trivial_scores(bench, default)
    for name, values in trivial.items():
        one = statistics.delong(test.labels, values).auroc
        assert one is not None
        directed = values if one >= 0.5 else -values
        way = "higher" if one >= 0.5 else "lower"
        rows.append([f"{name} ({way} is abnormal)", area(test, directed), difference(test, default.fused, directed)])
    section("Trivial scores, each in its better direction on these films", ["", "AUROC", "default less this"], rows)
    rows = []
    for name, sets in {
        "all trivial scores": trivial,
        "those visible in a film": {n: trivial[n] for n in NAMES},
    }.items():
        both = statistics.added_value(
            test.labels, default.fused, np.column_stack(list(sets.values())), [test.views], test.patients
        )
        assert both.added is not None
        assert both.trivial is not None
        assert both.with_method is not None
        added = both.added
        rows.append([
            name, f"{both.trivial.auroc:.3f}", f"{both.with_method.auroc:.3f}",
            f"{added.difference:+.3f} ({added.low:+.3f} to {added.high:+.3f})",
        ])  # fmt: skip
    section("Added over a cross-fitted logistic model", ["model of", "without", "with the default", "added"], rows)
    matched = statistics.matched_auroc(test.labels, default.fused, trivial["brightness"], test.views, test.patients)
    print(f"\nWithin {matched.pairs} pairs alike in view and brightness: ", end="")
    print(f"{matched.auroc:.3f} ({matched.low:.3f}–{matched.high:.3f}).")
    for name in ("gradient", "number in the file name"):
        edges = np.nanquantile(trivial[name], [0.2, 0.4, 0.6, 0.8])
        fifths = np.digitize(trivial[name], edges).astype(str)
        within = statistics.stratified_auroc(test.labels, default.fused, fifths, test.patients)
        print(f"Within fifths of the {name}: {within.auroc:.3f} ({within.low:.3f}–{within.high:.3f}).")
    gradient = trivial["gradient"]
    one = statistics.delong(test.labels, gradient).auroc
    assert one is not None
    directed = gradient if one >= 0.5 else -gradient
    print(
        f"\n**Primary: default less gradient, within views: {stratified_difference(test, default.fused, directed)}.**"
    )


def print_starts(bench: Bench) -> None:
    backbone, aligned, masked = DEFAULT
    areas = []
    for seed in range(STARTS):
        one = bench.scored(backbone, aligned=aligned, masked=masked, coreset_start="seeded", seed=seed)
        areas.append(float(statistics.delong(bench.test.labels, one.fused).auroc or np.nan))
    spread = ", ".join(f"{value:.3f}" for value in areas)
    print(f"\nAUROC of the default from {STARTS} coreset starts: {spread}; range {max(areas) - min(areas):.3f}.")


def print_nodules(bench: Bench, default: Scored) -> None:
    """Nodules pasted into the normal test films, each compared with the unchanged normal films."""
    rows_of = {row.filename: k for k, row in enumerate(bench.scoring)}
    normals = [name for name, label in zip(bench.test.filenames, bench.test.labels, strict=True) if label == 0]
    canonical = load_alignment(bench.alignment[0]).canonical.numpy()
    lungs, _ = find_lungs([canonical], len(canonical))
    inside = np.argwhere(lungs.any(0))
    folder = bench.out / "nodules"
    folder.mkdir(exist_ok=True)
    films = []
    for name, size in product(normals, NODULES_MM):
        rng = np.random.default_rng([rows_of[name], 0])  # all sizes at one place
        gray = np.asarray(Image.open(bench.images / name).convert("L"), np.float32) / 255
        row, column = inside[rng.integers(len(inside))]
        at = np.array([[column + 0.5, row + 0.5]])
        x, y = apply(default.folder.affine_of(rows_of[name]), at).numpy()[0]
        spacing = WIDTH_MM / gray.shape[1]
        place = (float(np.clip(x, 0, gray.shape[1] - 1)), float(np.clip(y, 0, gray.shape[0] - 1)))
        shadow = lesions.nodule(gray.shape, place, size_mm=size, spacing_mm=(spacing, spacing), rng=rng)
        target = folder / f"{size}-{Path(name).stem}.png"
        Image.fromarray(np.round(255 * lesions.paste(gray, shadow, CONTRAST)).astype(np.uint8)).save(target)
        films.append(ManifestRow(target.name))
    scored = bench.score_with(DEFAULT, manifest.with_hashes(films, folder), images=folder, name="nodules-scores")
    plain = (
        default.folder.array("family")[[rows_of[name] for name in normals]],
        np.array([default.fused[rows_of[name]] for name in normals]),
    )
    at = round(default.folder.summary.fusion_weight * 100)
    unchanged = {name: plain[0][:, k, at].astype(np.float64) for k, name in enumerate(FAMILY)}
    unchanged["mean+top"] = plain[1]
    changed = scored.family | {"mean+top": scored.fused}
    sizes = np.array([int(film.filename.split("-")[0]) for film in films])
    rows = []
    for name, scores in changed.items():
        threshold = statistics.threshold_at_specificity(unchanged[name], specificity=0.9)
        assert threshold is not None
        rows.append([name, *(f"{np.mean(scores[sizes == size] >= threshold):.2f}" for size in NODULES_MM)])
    section(
        f"Nodules of contrast {CONTRAST:g} pasted into {len(normals)} normal films: share found at specificity 0.9",
        ["film score", *(f"{size} mm" for size in NODULES_MM)],
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=CXR_A)
    parser.add_argument("--out", type=Path, help="keep the run folders here; those that ended are not run again")
    options = parser.parse_args()
    if not (options.folder / "labels.csv").is_file():
        parser.error(f"{options.folder} holds no labels.csv: name the folder of films with labels.")
    with tempfile.TemporaryDirectory(prefix="detection-") as scratch:
        bench = Bench(options.folder, options.out or Path(scratch))
        test, parts = bench.test, [row.part for row in bench.fitting]
        print("# Detection on real films\n")
        print(f"{', '.join(f'{parts.count(part)} {part}' for part in sorted(set(parts)))} (normals to fit);", end=" ")
        print(f"test: {int((1 - test.labels).sum())} normal, {int(test.labels.sum())} abnormal.")
        print(f"Alignment: {bench.alignment[1]:.0f} CPU s.", flush=True)
        scored = dict(grid(bench))
        print_grid(test, scored)
        print_claims(test, scored)
        print_default(bench, scored[DEFAULT])
        print_trivial(bench, scored[DEFAULT])
        print_nodules(bench, scored[DEFAULT])
        print_starts(bench)


if __name__ == "__main__":
    main()
