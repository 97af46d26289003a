"""The table of the profile agrees with pydicom's dictionary, and no attribute of it survives the reading of a film."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom.datadict import dictionary_is_retired, dictionary_VR, keyword_for_tag, tag_for_keyword

from portal.imaging.basic_profile import ACTIONS, OPTIONS, basic_profile, method_codes
from tests.portal.imaging import factories as make
from tests.portal.imaging.factories import film_elements
from tests.portal.imaging.test_deidentify import TEXT_VRS

IDENTIFIERS = ("identifier:patient_id", "identifier:study_uid", "identifier:sop_uid", "identifier:acquired_on")


def test_every_attribute_is_in_the_dictionary_and_has_a_known_action() -> None:
    profile = basic_profile()
    assert len(profile) > 200
    for keyword, action in profile.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        assert keyword_for_tag(tag) == keyword
        assert action in ACTIONS, keyword
    assert list(profile) == sorted(profile, key=str.lower)


@pytest.mark.parametrize(
    ("keyword", "action"),
    [("PatientName", "Z"), ("PatientID", "Z/D"), ("StudyInstanceUID", "U"), ("OperatorsName", "X/Z/D")],
)
def test_actions_of_the_standard(keyword: str, action: str) -> None:
    assert basic_profile()[keyword] == action


def test_every_uid_of_the_profile_is_replaced_or_removed() -> None:
    of_uids = {name: action for name, action in basic_profile().items() if dictionary_VR(name) == "UI"}
    assert set(of_uids.values()) <= {"U", "X"}
    assert not dictionary_is_retired("SOPInstanceUID")


def test_nothing_of_an_attribute_survives(tmp_path: Path) -> None:
    """Also in an item of a sequence. The identifiers are there for the caller to hash, and nowhere else."""
    film = film_elements()
    planted: make.Elements = {}
    for number, keyword in enumerate(basic_profile()):
        tag, vr = tag_for_keyword(keyword), dictionary_VR(keyword)
        if tag is not None and vr in TEXT_VRS and tag not in film:
            planted[tag] = (vr, f"zz{number:04}zz")
    assert len(planted) > 120
    nested = {0x00400275: ("SQ", [dict(planted)])}
    _, header = make.read_bytes(make.dicom_bytes({**planted, **nested, **film}), tmp_path)
    facts = {name: value for name, value in header.items() if name not in IDENTIFIERS}
    assert "zz0" not in json.dumps(facts)


def test_options_and_codes() -> None:
    assert [code for code, _ in OPTIONS] == ["113107", "113108"]
    (item,) = method_codes()
    assert (item.CodeValue, item.CodingSchemeDesignator) == ("113100", "DCM")
