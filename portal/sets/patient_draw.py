"""Draw patients into parts with a seed. Pure functions."""

from collections.abc import Collection, Iterable, Mapping

import numpy as np

NORMALS_ONLY = frozenset({"align", "fit", "calibrate"})
TRAIN_FRACTIONS = {"fit": 0.70, "tune": 0.15, "calibrate": 0.15}
LEAST_CALIBRATE = 2  # patients; fewer do not show the spread of scores


class InvalidFractions(ValueError):
    """The message is shown to the user."""


def draw_parts(without_normal: Mapping[str, bool], fractions: Mapping[str, float], *, seed: int) -> dict[str, str]:
    """Return parts by patient, identical for the same patients, fractions and seed. `without_normal` is true for a
    patient whose films are all abnormal.

    Patients with a normal film are distributed by `fractions`, with the largest-remainder method. Patients without one
    go only to the parts that may contain abnormal films (tune, test), in the proportion of their fractions; if
    `fractions` has neither, they are in no part. Parts for normal films only leave out the abnormal films of their
    patients.
    """
    check_fractions(fractions)
    generator = np.random.Generator(np.random.PCG64(seed))
    normal = _shuffled((patient for patient, alone in without_normal.items() if not alone), generator)
    abnormal = _shuffled((patient for patient, alone in without_normal.items() if alone), generator)
    mixed = {part: share for part, share in fractions.items() if part not in NORMALS_ONLY and share > 0}
    parts = _distribute(normal, fractions)
    if mixed:
        parts |= _distribute(abnormal, mixed)
    return parts


def draw_train(without_normal: Mapping[str, bool], *, seed: int) -> dict[str, str]:
    """Draw the patients marked `train` in a CSV by `TRAIN_FRACTIONS`. If there are too few calibrate patients, they go
    to fit, and folds of the fit part replace the calibrate part."""
    parts = draw_parts(without_normal, TRAIN_FRACTIONS, seed=seed)
    calibrate = [patient for patient, part in parts.items() if part == "calibrate"]
    return parts | dict.fromkeys(calibrate, "fit") if len(calibrate) < LEAST_CALIBRATE else parts


def keep_out_of_calibrate(parts: Mapping[str, str], barred: Collection[str]) -> dict[str, str]:
    """Return the parts with no barred patient in calibrate: each changes places with the first patient of fit, in the
    order of the draw, who is not barred, or joins fit if there is none."""
    changed = dict(parts)
    free = iter([patient for patient, part in parts.items() if part == "fit" and patient not in barred])
    for patient, part in parts.items():
        if part == "calibrate" and patient in barred:
            changed[patient] = "fit"
            if (other := next(free, None)) is not None:
                changed[other] = "calibrate"
    return changed


def check_fractions(fractions: Mapping[str, float]) -> None:
    for part, share in fractions.items():
        if not 0 <= share <= 1:
            raise InvalidFractions(f"The fraction of {part} is {share}; expected a number from 0 to 1.")
    total = sum(fractions.values())
    if abs(total - 1) > 1e-6:
        raise InvalidFractions(f"The fractions sum to {total:g}; they must sum to 1.")
    if not fractions.get("fit"):
        raise InvalidFractions("The fraction of fit is 0; a detector needs normal films for its fit.")


def _shuffled(patients: Iterable[str], generator: np.random.Generator) -> list[str]:
    ordered = sorted(patients)  # so that the draw does not depend on the order of rows
    return [ordered[index] for index in generator.permutation(len(ordered))]


def _distribute(patients: list[str], fractions: Mapping[str, float]) -> dict[str, str]:
    total = sum(fractions.values())
    exact = {part: len(patients) * share / total for part, share in fractions.items()}
    counts = {part: int(count) for part, count in exact.items()}
    by_remainder = sorted(exact, key=lambda part: (counts[part] - exact[part], part))
    for part in by_remainder[: len(patients) - sum(counts.values())]:
        counts[part] += 1
    parts: dict[str, str] = {}
    start = 0
    for part, count in counts.items():
        parts |= dict.fromkeys(patients[start : start + count], part)
        start += count
    return parts
