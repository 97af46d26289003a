"""De-identification: an allow-list of header facts, each limited to a vocabulary or a range of numbers.

No free text passes, not even from an allowed element, since any text element may hold a name. Dates never pass.
The identifiers that link the films of a patient, and the date that orders them, are returned separately, for the caller
to hash, to shift and to discard.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.dataset import Dataset

from portal.imaging.acquisition import acquired_on
from portal.imaging.elements import number, text, values
from portal.imaging.errors import UnusableFile
from portal.imaging.film_warnings import warned
from portal.imaging.header_view import view_of_header

OLDEST_AGE_YEARS = 90  # ages above 89 become this one (45 CFR 164.514(b)(2)(i)(C))

RADIOGRAPH_MODALITIES = frozenset({"CR", "DX", "RG", "PX", "RF", "OT"})
# What consoles write that do not use the terms of PS3.3 C.7.3.1.1.1, and the term that is meant.
MODALITY_WORDS = {"DR": "DX", "XR": "DX", "X-RAY": "DX", "XRAY": "DX", "RX": "DX"}
_BODY_PARTS = frozenset(
    {
        "ABDOMEN", "ABDOMENPELVIS", "ANKLE", "ANKLEJOINT", "ARM", "BREAST", "CALCANEUS", "CALF",
        "CERVICALSPINE", "CHEST", "CHESTABDOMEN", "CLAVICLE", "COCCYX", "CSPINE", "CTSPINE",
        "ELBOW", "ELBOWJOINT", "EXTREMITY", "FACIALBONES", "FEMUR", "FINGER", "FOOT", "FOREARM",
        "HAND", "HEAD", "HEEL", "HIP", "HIPJOINT", "HUMERUS", "JAW", "KNEE", "KNEEJOINT", "LEG",
        "LOWERLEG", "LSPINE", "LSSPINE", "LUMBARSPINE", "LUNG", "MANDIBLE", "MAXILLA", "NECK",
        "ORBIT", "PATELLA", "PELVIS", "RADIUSULNA", "RIB", "RIBS", "SACRUM", "SCAPULA", "SHOULDER",
        "SIJOINT", "SINUS", "SKULL", "SPINE", "STERNUM", "TEETH", "THIGH", "THORAX",
        "THORACICSPINE", "THUMB", "TIBIAFIBULA", "TLSPINE", "TOE", "TOOTH", "TSPINE", "UPPERARM",
        "WHOLEBODY", "WHOLESPINE", "WRIST", "WRISTJOINT", "ZYGOMA"
    }
)  # fmt: skip
_CHEST = frozenset({"CHEST", "CHESTABDOMEN", "LUNG", "THORAX", "RIB", "RIBS"})
# Only the name of a known family passes, never the rest of a manufacturer's or model's name.
_MANUFACTURERS = (
    "AGFA", "CANON", "CARESTREAM", "DEL MEDICAL", "DRGEM", "FUJI", "GE", "GENERAL ELECTRIC", "HITACHI",
    "HOLOGIC", "IMAGING DYNAMICS", "KODAK", "KONICA", "LODOX", "PHILIPS", "SAMSUNG", "SHIMADZU", "SIEMENS",
    "SWISSRAY", "TOSHIBA", "VAREX", "VARIAN", "VIEWORKS",
)  # fmt: skip
_MODELS = (
    "ADC", "AERODR", "AXIOM", "BUCKYDIAGNOST", "CLASSIC CR", "CR 85", "CR 850", "CR 950", "CR 975", "CR30",
    "CR35", "CR75", "CR85", "CXDI", "DEFINIUM", "DIGITALDIAGNOST", "DIRECTVIEW", "DISCOVERY XR", "DR 100",
    "DR 400", "DR 600", "DR 800", "DRX", "DX-D", "DX-G", "DX-M", "ELITE CR", "ESSENTA", "FCR", "FDR", "GC85",
    "GM85", "LUMINOS", "MOBILEDART", "MOBILETT", "MULTIX", "OPTIMA XR", "PCR", "RADSPEED", "REGIUS",
    "REVOLUTION XR", "SONIALVISION", "THORAVISION", "THORAX", "XGEO", "YSIO",
)  # fmt: skip
_OTHER = "other"
_DETECTORS = frozenset({"DIRECT", "SCINTILLATOR", "STORAGE", "FILM"})
_AGE = re.compile(r"(\d{1,3})([DWMY]?)")  # RSNA leaves the unit out, which then is years
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")


@dataclass(frozen=True)
class Identifiers:
    """Raw identifiers, "" where the header has none: to be hashed and discarded, never stored or logged."""

    patient_id: str
    study_uid: str
    sop_uid: str


def identifiers(ds: Dataset) -> Identifiers:
    """Return the raw identifiers of a header, decoded by its character set."""
    return Identifiers(
        patient_id=text(ds, "PatientID"),
        study_uid=text(ds, "StudyInstanceUID"),
        sop_uid=text(ds, "SOPInstanceUID"),
    )


def pseudonym(site_key: bytes, identifier: str) -> str:
    """Return 32 hex digits of HMAC-SHA256 of the identifier: stripped, NFC, case folded.

    The same for CSV and DICOM. Raises ValueError for an empty key, which would make pseudonyms guessable.
    """
    if not site_key:
        raise ValueError("The site key is empty: pseudonyms need a secret key.")
    normal = unicodedata.normalize("NFC", unicodedata.normalize("NFC", identifier.strip(" \0\t\r\n")).casefold())
    return hmac.new(site_key, normal.encode(), hashlib.sha256).hexdigest()[:32]


def header(ds: Dataset) -> dict[str, str]:
    """Return the allowed facts of a header without absent ones, and warnings and identifiers under prefixed keys.

    Keys: modality, view_position, laterality, patient_orientation, body_part, patient_sex, age_years, manufacturer,
    model, kvp, exposure_uas, detector, burned_in; "warning:..." with a sentence; "identifier:..." (see `Identifiers`).
    """
    view, view_warnings = view_of_header(ds)
    facts = {
        "modality": _modality(ds),
        "view_position": view,
        "laterality": _laterality(ds),
        "patient_orientation": _patient_orientation(ds),
        "body_part": _body_part(ds),
        "patient_sex": _one_of(text(ds, "PatientSex"), {"M", "F", "O"}),
        "age_years": _age_years(ds),
        "manufacturer": _family(text(ds, "Manufacturer"), _MANUFACTURERS),
        "model": _family(text(ds, "ManufacturerModelName"), _MODELS),
        "kvp": _in_range(ds, "KVP", highest=500.0),
        "exposure_uas": _exposure_uas(ds),
        "detector": _one_of(text(ds, "DetectorType"), _DETECTORS),
        "burned_in": _one_of(text(ds, "BurnedInAnnotation"), {"YES", "NO"}),
    }
    present = {key: value for key, value in facts.items() if value}
    raw = identifiers(ds)
    return {
        **present,
        **_warnings(ds, present),
        **warned(view_warnings),
        "identifier:patient_id": raw.patient_id,
        "identifier:study_uid": raw.study_uid,
        "identifier:sop_uid": raw.sop_uid,
        "identifier:acquired_on": acquired_on(ds),
    }


def _warnings(ds: Dataset, facts: dict[str, str]) -> dict[str, str]:
    body_part = facts.get("body_part", "")
    applies = {
        "modality": "modality" not in facts,
        "modality_word": text(ds, "Modality").upper() in MODALITY_WORDS,
        "body_part": bool(body_part) and body_part not in _CHEST,
        "intent": text(ds, "PresentationIntentType").upper() == "FOR PROCESSING",
        "burned_in": facts.get("burned_in") == "YES",
    }
    warnings = warned([key for key, does_apply in applies.items() if does_apply])
    if applies["body_part"]:
        warnings["warning:body_part"] = f"The header's body part is {body_part}, not chest."
    return warnings


def _modality(ds: Dataset) -> str:
    modality = text(ds, "Modality").upper()
    return _one_of(MODALITY_WORDS.get(modality, modality), RADIOGRAPH_MODALITIES)


def _one_of(value: str, allowed: Iterable[str]) -> str:
    upper = value.upper()
    return upper if upper in frozenset(allowed) else ""


def _laterality(ds: Dataset) -> str:
    value = text(ds, "ImageLaterality") or text(ds, "Laterality")
    return _one_of(value, {"L", "R", "B", "U"})


def _patient_orientation(ds: Dataset) -> str:
    r"""Directions of the rows and columns, as in L\F (PS3.3 C.7.6.1.1.1); "" unless there are exactly two codes."""
    codes = [str(value).strip().upper() for value in values(ds, "PatientOrientation")]
    fits = len(codes) == 2 and all(re.fullmatch(r"[LRAPHF]{1,3}", code) for code in codes)
    return "\\".join(codes) if fits else ""


def _body_part(ds: Dataset) -> str:
    value = re.sub(r"[\s_-]", "", text(ds, "BodyPartExamined")).upper()
    return (value if value in _BODY_PARTS else _OTHER) if value else ""


def _family(value: str, families: tuple[str, ...]) -> str:
    """The longest known family that starts a word of the text (short ones must be the whole word), "other" for none."""
    if not value:
        return ""
    upper = " ".join(value.upper().split())
    matches = [family for family in families if re.search(_family_pattern(family), upper)]
    return max(matches, key=len) if matches else _OTHER


def _family_pattern(family: str) -> str:
    end = r"(?![A-Z0-9])" if len(family) <= 3 else ""
    return rf"(?<![A-Z0-9]){re.escape(family)}{end}"


def _age_years(ds: Dataset) -> str:
    stated = _AGE.fullmatch(text(ds, "PatientAge").upper())
    if stated:
        years = int(stated[1]) if stated[2] in ("Y", "") else int(stated[1]) // {"M": 12, "W": 52, "D": 365}[stated[2]]
    else:
        computed = _years_between(text(ds, "PatientBirthDate"), text(ds, "StudyDate"))
        if computed is None:
            return ""
        years = computed
    return str(min(years, OLDEST_AGE_YEARS)) if 0 <= years <= 130 else ""


def _years_between(birth: str, study: str) -> int | None:
    born, taken = _DATE.fullmatch(birth), _DATE.fullmatch(study)
    if not born or not taken:
        return None
    had_birthday = (taken[2], taken[3]) >= (born[2], born[3])
    return int(taken[1]) - int(born[1]) - (0 if had_birthday else 1)


def _in_range(ds: Dataset, keyword: str, *, highest: float, factor: float = 1.0) -> str:
    try:
        value = number(ds, keyword)
    except UnusableFile:
        return ""
    if value is None or not 0 < value * factor <= highest:  # False for NaN
        return ""
    return f"{value * factor:.6g}"


def _exposure_uas(ds: Dataset) -> str:
    """Exposure in microampere seconds; Exposure (0018,1152) is in mAs."""
    return _in_range(ds, "ExposureInuAs", highest=1e6) or _in_range(ds, "Exposure", highest=1e6, factor=1000.0)
