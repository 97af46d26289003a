"""The facts of a film that a later file with the same pixels may state otherwise, and their values in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any


class Fact(StrEnum):
    """What may differ, in the words of reports and pages."""

    PATIENT = "patient"
    STUDY = "study"
    ACQUIRED = "acquisition date"
    VIEW = "view"
    LATERALITY = "laterality"
    SPACING = "spacing"
    WINDOW = "window"
    GRAY = "gray scale"
    WARNINGS = "warnings"
    MODALITY = "modality"
    ORIENTATION = "patient orientation"
    BODY_PART = "body part"
    SEX = "sex"
    AGE = "age"
    MANUFACTURER = "manufacturer"
    MODEL = "model"
    VOLTAGE = "tube voltage"
    EXPOSURE = "exposure"
    DETECTOR = "detector"
    BURNED_IN = "burned-in annotation"


# The key of `Image.header` of each fact that is nothing but such a value.
HEADER_KEYS = {
    Fact.MODALITY: "modality",
    Fact.ORIENTATION: "patient_orientation",
    Fact.BODY_PART: "body_part",
    Fact.SEX: "patient_sex",
    Fact.AGE: "age_years",
    Fact.MANUFACTURER: "manufacturer",
    Fact.MODEL: "model",
    Fact.VOLTAGE: "kvp",
    Fact.EXPOSURE: "exposure_uas",
    Fact.DETECTOR: "detector",
    Fact.BURNED_IN: "burned_in",
}
# The keys of `PixelFacts` of each fact that says how stored values are shown.
PIXEL_KEYS = {
    Fact.SPACING: ("spacing_mm", "spacing_plane", "pixel_aspect"),
    Fact.WINDOW: ("windows", "voi_function", "voi_luts"),
    Fact.GRAY: (
        *("bits_stored", "offset", "photometric", "slope", "intercept", "modality_lut", "padding"),
        "presentation_inverse",
    ),
}


@dataclass(frozen=True)
class KeptDifferences:
    """The facts of a film that now wait for a decision, and those whose new value was dismissed before."""

    pending: tuple[Fact, ...]
    dismissed: tuple[Fact, ...]


# In words ------------------------------------------------------------------------------------------------


def in_words(fact: str, value: Any) -> str:
    """A value for the eyes of a curator, without raw identifiers."""
    if fact in (Fact.PATIENT, Fact.STUDY):
        return value["pseudonym"][:8] or "none"
    if fact == Fact.SPACING:
        return _spacing(value)
    if fact == Fact.WINDOW:
        return _window(value)
    if fact == Fact.GRAY:
        return _gray(value)
    return str(value) or "none"


def days_moved(old: date | None, new: date) -> str:
    """How far the day of acquisition moves: the days themselves are shifted, and mean nothing."""
    if old is None:
        return "known"
    days = (new - old).days
    return f"{abs(days)} day{'' if abs(days) == 1 else 's'} {'later' if days > 0 else 'earlier'}"


def _spacing(value: Mapping[str, Any]) -> str:
    if value["spacing_mm"] is None:
        return "none" if value["pixel_aspect"] == 1 else f"pixels {value['pixel_aspect']:.4g} times as high as wide"
    rows, columns = value["spacing_mm"]
    plane = f" ({value['spacing_plane']} plane)" if value["spacing_plane"] else ""
    return f"{rows:.4g} × {columns:.4g} mm{plane}"


def _window(value: Mapping[str, Any]) -> str:
    luts = [f"VOI LUT of {len(lut['values'])} entries of {lut['bits']} bits" for lut in value["voi_luts"]]
    windows = [f"centre {window['center']:.6g}, width {window['width']:.6g}" for window in value["windows"]]
    function = "" if value["voi_function"] == "LINEAR" or not windows else f" ({value['voi_function']})"
    return "; ".join([*luts, *windows]) + function or "none"


def _gray(value: Mapping[str, Any]) -> str:
    parts = [value["photometric"] + (", inverse" if value["presentation_inverse"] else "")]
    parts.append(f"{value['bits_stored']} bits" + (f" from {-value['offset']}" if value["offset"] else ""))
    if value["modality_lut"]:
        parts.append(f"modality LUT of {len(value['modality_lut']['values'])} entries")
    elif (value["slope"], value["intercept"]) != (1, 0):
        parts.append(f"slope {value['slope']:.6g}, intercept {value['intercept']:.6g}")
    if value["padding"]:
        parts.append(f"padding {value['padding'][0]} to {value['padding'][1]}")
    return ", ".join(parts)
