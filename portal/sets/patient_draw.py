"""Share patients out to parts by a seed. Pure."""

from collections.abc import Iterable, Mapping

import numpy as np

NORMALS_ONLY = frozenset({"align", "fit", "calibrate"})
TRAIN_FRACTIONS = {"fit": 0.70, "tune": 0.15, "calibrate": 0.15}
LEAST_CALIBRATE = 2  # patients; fewer give no spread


class InvalidFractions(ValueError):
    """A sentence for the user."""


def draw_parts(without_normal: Mapping[str, bool], fractions: Mapping[str, float], *, seed: int) -> dict[str, str]:
    """Patient -> part, the same for the same patients, fractions and seed; `without_normal` says of each patient
    whether all films are abnormal.

    Patients with a normal film are shared out by `fractions`, by largest remainder. Those without go only to the
    parts that may hold abnormal films (tune, test), in the proportion that those have; where `fractions` names
    neither, they are in no part. A part of normals only leaves out the abnormal films of its patients.
    """
    check_fractions(fractions)
    generator = np.random.Generator(np.random.PCG64(seed))
    normal = _shuffled((patient for patient, alone in without_normal.items() if not alone), generator)
    abnormal = _shuffled((patient for patient, alone in without_normal.items() if alone), generator)
    mixed = {part: share for part, share in fractions.items() if part not in NORMALS_ONLY and share > 0}
    parts = _share_out(normal, fractions)
    if mixed:
        parts |= _share_out(abnormal, mixed)
    return parts


def draw_train(without_normal: Mapping[str, bool], *, seed: int) -> dict[str, str]:
    """What the word `train` means: `draw_parts` by `TRAIN_FRACTIONS`. Too few calibrate patients are fit instead,
    and folds of the fit part stand in for them."""
    parts = draw_parts(without_normal, TRAIN_FRACTIONS, seed=seed)
    calibrate = [patient for patient, part in parts.items() if part == "calibrate"]
    return parts | dict.fromkeys(calibrate, "fit") if len(calibrate) < LEAST_CALIBRATE else parts


def check_fractions(fractions: Mapping[str, float]) -> None:
    for part, share in fractions.items():
        if not 0 <= share <= 1:
            raise InvalidFractions(f"The fraction of {part} is {share}; give a number from 0 to 1.")
    total = sum(fractions.values())
    if abs(total - 1) > 1e-6:
        raise InvalidFractions(f"The fractions sum to {total:g}; they must sum to 1.")
    if not fractions.get("fit"):
        raise InvalidFractions("The fraction of fit is 0; a detector needs normal films to be fitted on.")


def _shuffled(patients: Iterable[str], generator: np.random.Generator) -> list[str]:
    ordered = sorted(patients)  # so that the draw does not depend on the order of rows
    return [ordered[index] for index in generator.permutation(len(ordered))]


def _share_out(patients: list[str], fractions: Mapping[str, float]) -> dict[str, str]:
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
