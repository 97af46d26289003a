"""The fourteen columns that the CheXpert labeler makes of a report, which CheXpert and MIMIC-CXR-JPG publish: 1
where the report states the finding, 0 where it denies it, -1 where it is uncertain, blank where it is silent on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from portal.imaging.handled_elements import ElementOutcome
from portal.intake.table_columns import FINDING, Fate

NO_FINDING = "No Finding"
DEVICES = "Support Devices"
FINDINGS = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation"),
    *("Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
)
# What becomes of these columns.
FATES_OF_FINDINGS: Mapping[str, Fate] = {
    **dict.fromkeys((*FINDINGS, "Airspace Opacity", NO_FINDING, "No Findings"), FINDING),
    DEVICES: (ElementOutcome.KEPT, "attribute device of a normal film"),
}
# As the radiologist's table of MIMIC-CXR-JPG writes them.
_OTHER_NAMES = {"Lung Opacity": "Airspace Opacity", NO_FINDING: "No Findings"}


@dataclass(frozen=True, slots=True)
class ReportedLabel:
    """`unsure`: findings of which the report is unsure, beside those of an abnormal film."""

    label: str
    findings: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()


def label_of_columns(row: Mapping[str, str]) -> ReportedLabel:
    """A finding makes the film abnormal, otherwise one that is unsure makes it unsure, otherwise *no finding* makes it
    normal; devices are no finding. A report that says none of it makes no label."""
    named = tuple(finding for finding in FINDINGS if _value(row, finding) == 1)
    unsure = tuple(finding for finding in FINDINGS if _value(row, finding) == -1)
    if named:
        return ReportedLabel("abnormal", named, unsure=unsure)
    if unsure or _value(row, NO_FINDING) == -1:
        return ReportedLabel("unsure", unsure)
    if _value(row, NO_FINDING) == 1:
        return ReportedLabel("normal", attributes=("device",) if _value(row, DEVICES) == 1 else ())
    return ReportedLabel("")


def _value(row: Mapping[str, str], column: str) -> float | None:
    text = row.get(column, "") or row.get(_OTHER_NAMES.get(column, ""), "")
    try:
        return float(text)
    except ValueError:
        return None
