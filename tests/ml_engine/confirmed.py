"""Small films with a pool that was read in part, and the model of their known normals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.ml_engine import films
from tests.ml_engine.films import UNALIGNED

FIT, CALIBRATE, TUNE, POOL, READ = 40, 12, 12, 36, 14  # TUNE of each label; POOL unread films, READ as abnormal
FIT_OPTIONS = [*UNALIGNED, "--set", "folds=3"]


@dataclass(frozen=True)
class Confirmed:
    """``reads`` is the CSV of the pool: 36 films that nobody read, 14 read as abnormal, 3 read as normal."""

    images: Path
    labels: Path
    reads: Path


def film(seed: int, *, abnormal: bool = False, exposure: float = 1.0) -> np.ndarray:
    """`films.film` with a spot of varying strength; ``exposure`` is an exponent of the gray values."""
    healthy, ill = (films.film(seed, abnormal=each).astype(float) for each in (False, True))
    strength = 0.15 + 0.2 * np.random.default_rng([seed, 5]).random() if abnormal else 0.0
    gray = (healthy + strength * (ill - healthy)) / 255
    return np.round(255 * gray**exposure).astype(np.uint8)


def write(folder: Path, *, exposure: float = 1.0) -> Confirmed:
    """The films; those of the pool with another ``exposure``."""
    folder.mkdir(parents=True, exist_ok=True)
    labels, reads = [], []
    plan = [("fit", "normal")] * FIT + [("calibrate", "normal")] * CALIBRATE
    plan += [("tune", "normal")] * TUNE + [("tune", "abnormal")] * TUNE + [("test", "normal"), ("test", "abnormal")] * 4
    plan += [("pool", "")] * POOL + [("pool", "abnormal")] * READ + [("pool", "normal")] * 3
    for number, (part, label) in enumerate(plan):
        name = f"film-{number:03}.png"
        pixels = film(number, abnormal=label == "abnormal", exposure=exposure if part == "pool" else 1.0)
        Image.fromarray(pixels).save(folder / name)
        row = {"filename": name, "label": label, "patient_id": f"p{number}"}
        if part == "pool":
            weight = "" if not label else f"{1 + number % 3}"
            shown = "yes" if number % 5 == 0 else "no"
            reads.append(row | {"weight": weight, "model_shown": shown, "site": "B" if exposure != 1 else "A"})
        else:
            labels.append(row | {"split": part})
    columns = [row | {"weight": "", "model_shown": "", "site": "A"} for row in labels if row["split"] == "fit"]
    for row in columns:
        del row["split"]
    return Confirmed(
        folder, films.write_csv(folder / "labels.csv", labels), films.write_csv(folder / "reads.csv", columns + reads)
    )


def fit_arguments(world: Confirmed, out: Path) -> list[object]:
    return ["fit", "--images", world.images, "--csv", world.labels, "--out", out, *FIT_OPTIONS]


def head_arguments(world: Confirmed, model: Path, out: Path, *more: object, csv: Path | None = None) -> list[object]:
    common = ["fit_head", "--images", world.images, "--csv", csv or world.reads, "--model", model, "--out", out]
    return [*common, "--repeats", "2", *more]
