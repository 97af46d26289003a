"""The kinds of detector by name. Does not import torch, since web processes check configs with this table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DetectorKind:
    """``words`` is the published name. ``note`` explains its two maps to users. ``compares_with`` is what a patch is
    compared with, for a detector that compares it with neither patches nor films and so has no nearest neighbours."""

    words: str
    note: str = ""
    compares_with: str = ""


KINDS = {
    "patchcore": DetectorKind("PatchCore"),
    "padim": DetectorKind(
        "PaDiM",
        note="PaDiM has one map: the fusion weight changes nothing.",
        compares_with="a Gaussian of its position",
    ),
    "spade": DetectorKind(
        "SPADE", note="SPADE compares whole films (weight 0, its image score) and patches (weight 1, its map)."
    ),
    "dn2": DetectorKind("DN2", note="DN2 gives one number per film and no map: the fusion weight changes nothing."),
}
