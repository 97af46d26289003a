from __future__ import annotations

import json
import traceback
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from pydicom.datadict import DicomDictionary

from portal.imaging.deidentify import pseudonym
from portal.imaging.errors import UnusableFile
from portal.imaging.read_film import read_film
from tests.portal.imaging import factories as make
from tests.portal.imaging.factories import film_elements

TEXT_VRS = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
PLANT = "Doe"
# A file is refused if these are missing or hold text, so they are planted one by one below.
DECISIVE = {
    "Modality", "NumberOfFrames", "PhotometricInterpretation", "RescaleIntercept", "RescaleSlope",
    "SpecificCharacterSet", "WindowCenter", "WindowWidth",
}  # fmt: skip


def planted_elements() -> make.Elements:
    """A film with an invented identifier in every text element of the DICOM dictionary."""
    elements: make.Elements = {}
    for tag, (vr, multiplicity, _, _, keyword) in DicomDictionary.items():
        is_text = vr in TEXT_VRS and tag >= 0x00080000 and tag >> 16 != 0xFFFE and multiplicity != "0"
        if is_text and keyword not in DECISIVE:
            elements[tag] = (vr, f"{PLANT}^{tag:08x}")
    elements[0x00090010] = ("LO", f"{PLANT}^private")
    elements[0x00091001] = ("LT", f"{PLANT}^private too")
    elements[0x00081110] = ("SQ", [{0x00100010: ("PN", f"{PLANT}^nested"), 0x00100020: ("LO", f"{PLANT}^nested")}])
    elements[0x60003000] = ("OW", b"Doe overlay!")
    film = {tag: value for tag, value in film_elements().items() if value[0] not in TEXT_VRS}
    return {**elements, **film, make.MODALITY: ("CS", "CR"), make.PHOTOMETRIC: ("CS", "MONOCHROME1")}


def test_nothing_planted_leaves_a_header(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    elements = {**planted_elements(), 0x00080005: ("CS", f"{PLANT} CHARSET")}
    assert len(elements) > 1000
    film, header = make.read_bytes(make.dicom_bytes(elements), tmp_path)
    identifiers = {key: header.pop(key) for key in list(header) if key.startswith("identifier:")}
    assert identifiers == {
        "identifier:patient_id": f"{PLANT}^00100020",
        "identifier:study_uid": f"{PLANT}^0020000d",
        "identifier:sop_uid": f"{PLANT}^00080018",
        "identifier:acquired_on": "",
    }
    assert PLANT.lower() not in json.dumps([header, film.facts.to_json()]).lower()
    assert "^" not in json.dumps(header)
    assert caplog.text == ""


@pytest.mark.parametrize("keyword", sorted(DECISIVE))
def test_nothing_planted_leaves_in_an_exception(tmp_path: Path, keyword: str) -> None:
    tag = next(tag for tag, entry in DicomDictionary.items() if entry[4] == keyword)
    elements = {**planted_elements(), tag: (DicomDictionary[tag][0], f"{PLANT}^{keyword}")}
    if keyword == "WindowWidth":
        elements[0x00281050] = ("DS", "1")
    try:
        _, header = make.read_bytes(make.dicom_bytes(elements), tmp_path)
        output = json.dumps({key: value for key, value in header.items() if not key.startswith("identifier:")})
    except UnusableFile as error:
        output = "".join(traceback.format_exception(error)[-1:]) + str(error) + repr(error.args)
        output += repr(error.__suppress_context__ or error.__context__)
    assert PLANT not in output


def test_no_identifier_of_the_invented_patient_leaves(dicom_samples: Path) -> None:
    from pydicom import dcmread

    path = dicom_samples / "derived" / "rg1_identifiers_invented.dcm"
    ds = dcmread(path, stop_before_pixels=True)
    names = ("PatientName", "PatientID", "PatientBirthDate", "PatientAddress", "InstitutionName", "AccessionNumber")
    values = [str(ds[name].value) for name in names if name in ds]
    assert len(values) >= 5
    _, header = read_film(path)
    output = json.dumps({key: value for key, value in header.items() if not key.startswith("identifier:")}).lower()
    for value in values:
        for word in value.replace("^", " ").replace(",", " ").split():
            assert len(word) < 3 or word.lower() not in output


def header_of(tmp_path: Path, extra: make.Elements) -> dict[str, str]:
    return make.read_bytes(make.dicom_bytes({**film_elements(), **extra}), tmp_path)[1]


ALLOWED: list[tuple[dict[int, tuple[str, Any]], str, str | None]] = [
    ({0x00185101: ("CS", "pa")}, "view_position", "PA"),
    ({0x00185101: ("CS", "DOE JANE")}, "view_position", None),
    ({0x00185101: ("CS", "LAT")}, "view_position", "LATERAL"),
    ({0x00200062: ("CS", "L")}, "laterality", "L"),
    ({0x00200060: ("CS", "R")}, "laterality", "R"),
    ({0x00200020: ("CS", "L\\F")}, "patient_orientation", "L\\F"),
    ({0x00200020: ("CS", "a\\fl")}, "patient_orientation", "A\\FL"),
    ({0x00200020: ("CS", "L")}, "patient_orientation", None),
    ({0x00200020: ("CS", "L\\DOE")}, "patient_orientation", None),
    ({0x00180015: ("CS", "CHEST")}, "body_part", "CHEST"),
    ({0x00180015: ("CS", "T SPINE")}, "body_part", "TSPINE"),
    ({0x00180015: ("CS", "DOE JANE")}, "body_part", "other"),
    ({0x00100040: ("CS", "F")}, "patient_sex", "F"),
    ({0x00100040: ("CS", "FEMALE")}, "patient_sex", None),
    ({0x00101010: ("AS", "045Y")}, "age_years", "45"),
    ({0x00101010: ("AS", "089Y")}, "age_years", "89"),
    ({0x00101010: ("AS", "103Y")}, "age_years", "90"),
    ({0x00101010: ("AS", "018M")}, "age_years", "1"),
    ({0x00101010: ("AS", "003W")}, "age_years", "0"),
    ({0x00101010: ("AS", "51")}, "age_years", "51"),  # the RSNA challenge
    ({0x00101010: ("AS", "999Y")}, "age_years", None),
    ({0x00101010: ("AS", "Jane")}, "age_years", None),
    ({0x00100030: ("DA", "19700601"), 0x00080020: ("DA", "20200531")}, "age_years", "49"),
    ({0x00100030: ("DA", "19700601"), 0x00080020: ("DA", "20200601")}, "age_years", "50"),
    ({0x00100030: ("DA", "1970.06.01"), 0x00080020: ("DA", "20200601")}, "age_years", "50"),
    ({0x00080070: ("LO", "FUJIFILM Corporation")}, "manufacturer", "FUJI"),
    ({0x00080070: ("LO", "GE Healthcare")}, "manufacturer", "GE"),
    ({0x00080070: ("LO", "Gerard's Clinic")}, "manufacturer", "other"),
    ({0x00081090: ("LO", "DigitalDiagnost Doe")}, "model", "DIGITALDIAGNOST"),
    ({0x00081090: ("LO", "Doe's machine")}, "model", "other"),
    ({0x00180060: ("DS", "120.0")}, "kvp", "120"),
    ({0x00180060: ("DS", "nan")}, "kvp", None),
    ({0x00180060: ("DS", "19700601")}, "kvp", None),
    ({0x00181153: ("IS", "2500")}, "exposure_uas", "2500"),
    ({0x00181152: ("IS", "3")}, "exposure_uas", "3000"),
    ({0x00187004: ("CS", "SCINTILLATOR")}, "detector", "SCINTILLATOR"),
    ({0x00187004: ("CS", "DOE")}, "detector", None),
    ({0x00280301: ("CS", "YES")}, "burned_in", "YES"),
]


@pytest.mark.parametrize(("extra", "key", "value"), ALLOWED)
def test_allowed_facts(tmp_path: Path, extra: make.Elements, key: str, value: str | None) -> None:
    assert header_of(tmp_path, extra).get(key) == value


@pytest.mark.parametrize(
    ("extra", "warnings"),
    [
        ({}, set()),
        ({0x00180015: ("CS", "HIP")}, {"warning:body_part"}),
        ({0x00180015: ("CS", "THORAX")}, set()),
        ({0x00280301: ("CS", "YES")}, {"warning:burned_in"}),
        ({0x00080068: ("CS", "FOR PROCESSING")}, {"warning:intent"}),
        ({make.MODALITY: ("CS", "")}, {"warning:modality"}),
    ],
)
def test_warnings(tmp_path: Path, extra: make.Elements, warnings: set[str]) -> None:
    assert {key for key in header_of(tmp_path, extra) if key.startswith("warning:")} == warnings


# --- identifiers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("charset", "encoded", "decoded"),
    [
        ("", b"A-17 \0", "A-17"),
        ("ISO_IR 100", "Müller 9".encode("latin-1"), "Müller 9"),
        ("ISO_IR 192", "患者-9".encode(), "患者-9"),
        ("\\ISO 2022 IR 87", "患者-9".encode("iso2022_jp"), "患者-9"),
        ("GB18030", "患者".encode("gb18030"), "患者"),
        ("ISO_IR 144", "Пациент ".encode("iso-8859-5"), "Пациент"),
    ],
)
def test_patient_id_is_decoded_by_its_charset(tmp_path: Path, charset: str, encoded: bytes, decoded: str) -> None:
    encoded += b" " * (len(encoded) % 2)
    header = header_of(tmp_path, {0x00080005: ("CS", charset), 0x00100020: ("LO", encoded)})
    assert header["identifier:patient_id"] == decoded


def test_broken_charset_is_no_error(tmp_path: Path) -> None:
    header = header_of(tmp_path, {0x00080005: ("CS", "ISO_IR 192"), 0x00100020: ("LO", b"\xff\xfeA1")})
    assert "A1" in header["identifier:patient_id"]


def test_all_spellings_of_an_identifier_have_the_same_pseudonym() -> None:
    key = b"k" * 32
    same = ["Müller-7", "  Müller-7\0", "MÜLLER-7", unicodedata.normalize("NFD", "Müller-7"), "müller-7 "]
    assert len({pseudonym(key, text) for text in same}) == 1
    assert pseudonym(key, "Müller-8") != pseudonym(key, "Müller-7")
    assert pseudonym(b"other", "Müller-7") != pseudonym(key, "Müller-7")


def test_pseudonym_is_hmac_sha256() -> None:
    import hashlib
    import hmac

    assert pseudonym(b"key", "P1") == hmac.new(b"key", b"p1", hashlib.sha256).hexdigest()[:32]


def test_pseudonym_needs_a_key() -> None:
    with pytest.raises(ValueError, match="site key is empty"):
        pseudonym(b"", "P1")
