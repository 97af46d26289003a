"""Draw patients into parts with a seed. Pure functions."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

NORMALS_ONLY = frozenset({"align", "fit", "calibrate"})
TRAIN_FRACTIONS = {"fit": 0.70, "tune": 0.15, "calibrate": 0.15}
LEAST_CALIBRATE = 2  # patients; fewer do not show the spread of scores


class InvalidFractions(ValueError):
    """The message is shown to the user."""


class TooFewPatients(ValueError):
    """The message is shown to the user."""


@dataclass(frozen=True)
class FilmNumbers:
    """How many films to draw, each of another patient. The defaults are those of the paper on PadChest."""

    fit: int = 1777
    test_normal: int = 1182
    test_abnormal: int = 1182


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


def draw_numbers(
    normal: Collection[str], abnormal: Collection[str], numbers: FilmNumbers, *, seed: int, not_in_test: Collection[str]
) -> dict[str, str]:
    """Return the parts of as many patients as `numbers` says, identical for the same patients and seed. Test is drawn
    first, from the patients who may be in it. Raises TooFewPatients."""
    generator = np.random.Generator(np.random.PCG64(seed))
    normals, abnormals = _shuffled(normal, generator), _shuffled(abnormal, generator)
    for_test = [patient for patient in normals if patient not in not_in_test][: numbers.test_normal]
    abnormal_test = [patient for patient in abnormals if patient not in not_in_test][: numbers.test_abnormal]
    for_fit = [patient for patient in normals if patient not in set(for_test)][: numbers.fit]
    missing = [
        f"{wanted} {what}, of which {there} are there"
        for what, wanted, there in (
            ("normal films for test", numbers.test_normal, len(for_test)),
            ("abnormal films for test", numbers.test_abnormal, len(abnormal_test)),
            ("normal films for fit", numbers.fit, len(for_fit)),
        )
        if there < wanted
    ]
    if missing:
        raise TooFewPatients(
            f"Too few patients: the split takes {'; '.join(missing)}. Each film is of another patient, and test takes "
            "no labels that software mined from reports where there are others."
        )
    return dict.fromkeys([*for_test, *abnormal_test], "test") | dict.fromkeys(for_fit, "fit")


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
