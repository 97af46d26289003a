"""A colour and a shape for each kind of score and each label, in both themes, from the palette of Okabe & Ito, which is
safe for colour-blind readers. `static/css/hilum.css` has the same values; a test compares the two."""

from __future__ import annotations

from typing import Literal

Theme = Literal["light", "dark"]
Kind = Literal["global", "region", "fused"]

# `static/js/figure_export.js` prints a dark figure on white by replacing each dark colour with its light one. This must
# be unambiguous: where two things would share a colour on dark but not on white, one differs by an invisible shade.
SCORES: dict[Theme, dict[str, str]] = {
    "light": {"global": "#56b4e9", "region": "#009e73", "fused": "#e69f00"},
    "dark": {"global": "#56b4ea", "region": "#009e73", "fused": "#e69f00"},
}
LABELS: dict[Theme, dict[str, str]] = {
    "light": {
        "normal": "#0072b2",
        "abnormal": "#d55e00",
        "unsure": "#cc79a7",
        "exclude": "#7a7a7a",
        "unresolved": "#b8a000",
    },
    "dark": {
        "normal": "#56b4e9",
        "abnormal": "#f0883e",
        "unsure": "#cc79a7",
        "exclude": "#9a9a9a",
        "unresolved": "#f0e442",
    },
}
DASHES: dict[str, str] = {"global": "dot", "region": "dash", "fused": "solid"}  # legible without colour
# colour and dash of the first, second … run of a comparison
RUNS: dict[Theme, tuple[tuple[str, str], ...]] = {
    "light": (
        ("#000000", "solid"),
        ("#0072b2", "dash"),
        ("#d55e00", "dot"),
        ("#009e73", "dashdot"),
        ("#cc79a7", "longdash"),
        ("#8a6d00", "longdashdot"),
    ),
    "dark": (
        ("#f2f2f2", "solid"),
        ("#56b4e9", "dash"),
        ("#f0883e", "dot"),
        ("#00b383", "dashdot"),
        ("#cc79a7", "longdash"),
        ("#f0e443", "longdashdot"),
    ),
}
SHAPES: dict[str, str] = {
    "normal": "circle",
    "abnormal": "triangle-up",
    "unsure": "diamond",
    "exclude": "x",
    "unresolved": "square",
}
# Marks that are no film: what each symbol means in every figure. None has the shape of a label. Open: not the reported
# estimate but another one, or a reader without the model.
MARKS: dict[str, str] = {
    "estimate": "pentagon",  # of an AUROC or another measure, with its interval
    "other estimate": "pentagon-open",
    "chosen": "star",  # best on tune
    "setting": "cross-open",  # in use: the run's fusion weight, the operating point
    "best on test": "triangle-down-open",  # not to be reported
    "reader": "triangle-right-open",
    "reader with model": "triangle-right",
}
PAPER: dict[Theme, dict[str, str]] = {
    "light": {"paper": "#ffffff", "ink": "#212529", "muted": "#5c636a", "grid": "#e6e9ec", "line": "#adb5bd"},
    "dark": {"paper": "#0e0f10", "ink": "#d6d8d9", "muted": "#9aa0a4", "grid": "#25292b", "line": "#4a5053"},
}
ALARM = "#b00020"  # the banner of random weights and the loss of data, nothing else
# the viewer's colour map of heatmaps: 33 even stops (hex RGB), as in static/js/viewer/colormaps.js
INFERNO = (
    "0000040403120b0724150b37210c4a2e0a5a3c09654a0c6b57106d63146e70196e"
    "7d1e6d89226a962766a32b61af315cbb3755c63e4dd14644db4f3be35932eb6528"
    "f1711ef67f14f98d0afb9c06fcab0ffbba1ff9ca32f5d949f2e865f3f586fcffa4"
)


def translucent(colour: str, opacity: float) -> str:
    """`rgba(…)` of a colour such as "#e69f00", opacity in [0, 1]."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"
