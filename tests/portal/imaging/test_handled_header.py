"""Each element of a header is named once with what became of it, and no value of it is."""

from __future__ import annotations

import json
from pathlib import Path

from portal.imaging.handled_elements import HANDLED, ElementOutcome, from_text
from tests.portal.imaging import factories as make

Elements = make.Elements


def handled(tmp_path: Path, more: Elements) -> dict[tuple[str, bool], ElementOutcome]:
    """ElementOutcome by name and whether it is nested."""
    _, header = make.read_bytes(make.dicom_bytes({**make.film_elements(), **more}), tmp_path)
    return {(one.name, one.is_nested): one.outcome for one in from_text(header[HANDLED])}


def test_identifiers_are_removed_or_replaced(tmp_path: Path) -> None:
    outcomes = handled(
        tmp_path,
        {
            0x00100010: ("PN", "Doe^Jane"),
            0x00100020: ("LO", "4711"),
            0x00080020: ("DA", "20240131"),
            0x00080012: ("DA", "20240131"),
            0x00101010: ("AS", "047Y"),
            0x00100040: ("CS", "F"),
            0x00080070: ("LO", "SIEMENS of Jane Doe"),
        },
    )
    assert outcomes["PatientName", False] == ElementOutcome.REMOVED
    assert outcomes["PatientID", False] == ElementOutcome.REPLACED
    assert outcomes["StudyDate", False] == ElementOutcome.REPLACED
    assert outcomes["InstanceCreationDate", False] == ElementOutcome.REMOVED
    assert outcomes["PatientAge", False] == outcomes["Manufacturer", False] == ElementOutcome.CLEANED
    assert {outcomes[name, False] for name in ("PatientSex", "PixelData", "Rows")} == {ElementOutcome.KEPT}


def test_a_value_that_is_not_allowed_is_removed(tmp_path: Path) -> None:
    assert handled(tmp_path, {0x00100040: ("CS", "JANE")})["PatientSex", False] == ElementOutcome.REMOVED


def test_birth_date_counts_as_cleaned_where_it_gives_the_age(tmp_path: Path) -> None:
    dates: Elements = {0x00080020: ("DA", "20240131"), 0x00100030: ("DA", "19800101")}
    assert handled(tmp_path, dates)["PatientBirthDate", False] == ElementOutcome.CLEANED
    assert handled(tmp_path, {**dates, 0x00101010: ("AS", "044Y")})["PatientBirthDate", False] == ElementOutcome.REMOVED


def test_private_elements_and_overlays_are_named_by_their_group(tmp_path: Path) -> None:
    outcomes = handled(
        tmp_path,
        {0x00190010: ("LO", "DOE JANE CREATOR"), 0x00191001: ("LO", "Jane"), 0x60003000: ("OW", b"\0\0")},
    )
    assert outcomes["private", False] == outcomes["overlay", False] == ElementOutcome.REMOVED
    assert [name for name, _ in outcomes].count("private") == 1


def test_elements_of_sequences_are_named_apart(tmp_path: Path) -> None:
    item: Elements = {0x00100020: ("LO", "4711"), 0x0040A168: ("SQ", [{0x00080104: ("LO", "Jane")}])}
    outcomes = handled(tmp_path, {0x00400275: ("SQ", [item]), 0x00100020: ("LO", "4711")})
    assert outcomes["RequestAttributesSequence", False] == ElementOutcome.REMOVED
    assert outcomes["PatientID", True] == outcomes["CodeMeaning", True] == ElementOutcome.REMOVED
    assert outcomes["PatientID", False] == ElementOutcome.REPLACED


def test_no_value_is_in_the_report(tmp_path: Path) -> None:
    planted: Elements = dict.fromkeys((0x00100010, 0x00100020, 0x00190010, 0x00191001, 0x00324000), ("LO", "zz4711zz"))
    _, header = make.read_bytes(make.dicom_bytes({**make.film_elements(), **planted}), tmp_path)
    assert "zz4711zz" not in header[HANDLED]
    assert json.loads(header[HANDLED])
