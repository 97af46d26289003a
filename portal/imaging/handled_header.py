"""What de-identification did with each element of a DICOM header.

Names come from the standard's dictionary. Private elements are named by their group, since a private creator is free
text, and so are elements that the dictionary does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from portal.imaging.acquisition import dated_by
from portal.imaging.handled_elements import ElementOutcome, HandledElement

_REPLACED = {"PatientID": "identifier:patient_id", "StudyInstanceUID": "identifier:study_uid"}
_CLEANED = {
    "BodyPartExamined": "body_part",
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "model",
    "PatientAge": "age_years",
}
# Keyword -> the fact that holds it; where the fact is absent, the value was not one of those allowed.
_TERMS = {
    "BurnedInAnnotation": "burned_in",
    "DetectorType": "detector",
    "Exposure": "exposure_uas",
    "ExposureInuAs": "exposure_uas",
    "ImageLaterality": "laterality",
    "KVP": "kvp",
    "Laterality": "laterality",
    "Modality": "modality",
    "PatientOrientation": "patient_orientation",
    "PatientSex": "patient_sex",
    "ViewCodeSequence": "view_position",
    "ViewPosition": "view_position",
}
_OF_PIXELS = frozenset(
    {
        "BitsAllocated", "BitsStored", "Columns", "HighBit", "ImagerPixelSpacing", "ModalityLUTSequence",
        "NumberOfFrames", "PhotometricInterpretation", "PixelAspectRatio", "PixelData", "PixelPaddingRangeLimit",
        "PixelPaddingValue", "PixelRepresentation", "PixelSpacing", "PlanarConfiguration", "PresentationLUTShape",
        "RescaleIntercept", "RescaleSlope", "Rows", "SamplesPerPixel", "VOILUTFunction", "VOILUTSequence",
        "WindowCenter", "WindowWidth",
    }
)  # fmt: skip
# Of the items of these sequences, what of them is kept.
_INSIDE = {
    "ModalityLUTSequence": frozenset({"LUTDescriptor", "LUTData"}),
    "VOILUTSequence": frozenset({"LUTDescriptor", "LUTData"}),
    "ViewCodeSequence": frozenset({"CodeValue", "CodeMeaning"}),
}
_DEEPEST = 20  # levels of sequences that are looked into
_MOST = 100_000  # elements of a file that are named; a hostile file has millions


def handled_elements(ds: Dataset, facts: Mapping[str, str]) -> list[HandledElement]:
    """What became of the elements of a header of which these `facts` were kept (`deidentify.header`)."""
    return sorted(set(islice(_handled(ds, facts), _MOST)))


def _handled(ds: Dataset, facts: Mapping[str, str]) -> Iterator[HandledElement]:
    dates = {dated_by(ds)} - {""}
    if "PatientAge" not in ds and facts.get("age_years"):
        dates |= {"PatientBirthDate", "StudyDate"}
    for tag in ds.keys():  # noqa: SIM118 - iterating over the dataset itself converts every element
        keyword = keyword_for_tag(tag)
        is_date = keyword in dates
        outcome = ElementOutcome.REPLACED if is_date and keyword != "PatientBirthDate" else _outcome(keyword, facts)
        if keyword == "PatientBirthDate" and is_date:
            outcome = ElementOutcome.CLEANED
        yield HandledElement(*_named(tag, keyword), outcome)
        kept_inside = _INSIDE.get(keyword, frozenset()) if outcome == ElementOutcome.KEPT else frozenset()
        yield from _nested(ds, tag, kept_inside, depth=1)


def _outcome(keyword: str, facts: Mapping[str, str]) -> ElementOutcome:
    outcomes = {ElementOutcome.REPLACED: _REPLACED, ElementOutcome.CLEANED: _CLEANED, ElementOutcome.KEPT: _TERMS}
    for outcome, keywords in outcomes.items():
        if facts.get(keywords.get(keyword, "")):
            return outcome
    return ElementOutcome.KEPT if keyword in _OF_PIXELS else ElementOutcome.REMOVED


def _nested(ds: Dataset, tag: BaseTag, kept: frozenset[str], *, depth: int) -> Iterator[HandledElement]:
    for item in _items(ds, tag):
        for inner in item.keys():  # noqa: SIM118
            keyword = keyword_for_tag(inner)
            outcome = ElementOutcome.KEPT if keyword in kept else ElementOutcome.REMOVED
            yield HandledElement(*_named(inner, keyword), outcome, is_nested=True)
            if depth < _DEEPEST:
                yield from _nested(item, inner, frozenset(), depth=depth + 1)


def _items(ds: Dataset, tag: BaseTag) -> list[Dataset]:
    """The items of a sequence; none for another element, and for one that cannot be read."""
    raw = ds.get_item(tag)
    vr = getattr(raw, "VR", None)
    if tag.is_private or not (vr == "SQ" or (vr in ("UN", None) and _is_sequence(tag))):
        return []
    try:
        value = ds[tag].value
    except MemoryError:
        raise
    except Exception:  # whatever a converter raises on a malformed value, which is not kept either
        return []
    return list(value) if isinstance(value, Sequence) else []


def _is_sequence(tag: BaseTag) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"


def _named(tag: BaseTag, keyword: str) -> tuple[str, str]:
    group = tag.group
    if group % 2:
        return f"({group:04X},xxxx)", "private"
    if 0x6000 <= group <= 0x60FF:
        return "(60xx,xxxx)", "overlay"
    if 0x5000 <= group <= 0x50FF:
        return "(50xx,xxxx)", "curve"
    if not keyword:
        return f"({group:04X},xxxx)", "not in the dictionary"
    return f"({group:04X},{tag.element:04X})", keyword
