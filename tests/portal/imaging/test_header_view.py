from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping

from portal.imaging import header_view
from portal.imaging.film_warnings import keys_of
from portal.imaging.views import view_of_word
from tests.portal.imaging import factories as make

POSITION, CODES = 0x00185101, 0x00540220


def coded(code: str, meaning: str, scheme: str = "SCT") -> make.Elements:
    return {CODES: ("SQ", [{0x00080100: ("SH", code), 0x00080102: ("SH", scheme), 0x00080104: ("LO", meaning)}])}


def header_of(folder: Path, extra: make.Elements) -> dict[str, str]:
    return make.read_bytes(make.dicom_bytes({**make.film_elements(), **extra}), folder)[1]


@pytest.mark.parametrize(
    ("extra", "view", "warnings"),
    [
        (coded("272479007", "postero-anterior"), "PA", []),
        (coded("R-10206", "antero-posterior", "SRT"), "AP", []),
        (coded("399067008", "lateral projection"), "LATERAL", []),
        (coded("399135007", ""), "LAO", []),
        (coded("X-1", "antero-posterior", "99LOCAL"), "AP", []),
        (coded("399348003", "postero-anterior"), "PA", ["two_views"]),  # the code says AP
        (coded("399173006", "lateral"), "LL", []),
        (coded("X-1", "Doe Jane", "99LOCAL"), None, ["view"]),
        ({POSITION: ("CS", "PA")}, "PA", []),
        ({POSITION: ("CS", "PA"), **coded("272479007", "postero-anterior")}, "PA", []),
        ({POSITION: ("CS", "LL"), **coded("399067008", "lateral")}, "LL", []),
        ({POSITION: ("CS", "PA"), **coded("399067008", "lateral")}, "PA", ["two_views"]),
        ({POSITION: ("CS", "SIDEWAYS"), **coded("399067008", "lateral")}, "LATERAL", []),
        ({POSITION: ("CS", "SIDEWAYS")}, None, ["view"]),
        ({POSITION: ("CS", "")}, None, []),
        ({CODES: ("LO", "PA")}, None, ["view"]),
        ({}, None, []),
    ],
)
def test_view_of_a_header(tmp_path: Path, extra: make.Elements, view: str | None, warnings: list[str]) -> None:
    header = header_of(tmp_path, extra)
    assert (header.get("view_position"), keys_of(header)) == (view, warnings)


def test_codes_are_those_of_the_standard() -> None:
    """Against pydicom's copy of PS3.16 CID 4010."""
    names = {
        code: meaning for codes in concepts["SCT"].values() for code, (meaning, cids) in codes.items() if 4010 in cids
    }
    for code, view in header_view._CODES.items():
        snomed = code if code in names else mapping["SRT"].get(code)
        if snomed is not None:  # R-10214 is older than the mapping
            assert view_of_word(names[snomed]) == view, code
