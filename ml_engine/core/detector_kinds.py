"""The detectors by name, in words. No torch: a web process checks configs with this."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DetectorKind:
    """``words`` is the name that the field uses. ``note`` says what its pages should know of its two maps.
    ``compares_with`` is what it compares a patch with where that is neither patches nor films: nothing can then be
    named as nearest."""

    words: str
    note: str = ""
    compares_with: str = ""


KINDS = {
    "patchcore": DetectorKind("PatchCore"),
    "padim": DetectorKind(
        "PaDiM",
        note="PaDiM has one map: the fusion weight changes nothing.",
        compares_with="a Gaussian of its place",
    ),
    "spade": DetectorKind(
        "SPADE", note="SPADE compares whole films (weight 0, its image score) and patches (weight 1, its map)."
    ),
    "dn2": DetectorKind("DN2", note="DN2 gives one number per film and no map: the fusion weight changes nothing."),
}
