"""Whose a file is that cannot become a film, however damaged it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from portal.imaging.decoding import Decoder
from portal.imaging.errors import UnusableFile
from portal.imaging.unusable_patient import patient_of_unusable
from tests.portal import factories


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("kept", [1.0, 0.4])
def test_the_patient_of_a_cut_off_file_of_any_encoding(tmp_path: Path, syntax: str | None, kept: float) -> None:
    path = factories.dicom(tmp_path / "a.dcm", Modality="CT", PatientID="Quagga-7")
    if syntax is not None:
        file = dcmread(path)
        file.file_meta.TransferSyntaxUID = syntax
        file.save_as(path, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * max(kept, 900 / len(data)))])
    assert patient_of_unusable(path) == "Quagga-7"


def test_without_preamble_and_file_meta(tmp_path: Path) -> None:
    path = factories.dicom(tmp_path / "a.dcm", PatientID="Quagga-7")
    data = path.read_bytes()
    start = data.index(b"\x08\x00\x16\x00UI")
    path.write_bytes(data[start:])
    assert patient_of_unusable(path) == "Quagga-7"


@pytest.mark.parametrize(
    "data", [b"", b"no film", b"\x89PNG\r\n\x1a\n" + bytes(50), b"\0" * 128 + b"DICM" + bytes(9), b"\x08\x00" * 500]
)
def test_what_names_nobody(tmp_path: Path, decoder: Decoder, data: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    assert patient_of_unusable(path) == decoder.patient_of_unusable(path) == ""


def test_the_decoder_answers_the_same_and_goes_on(tmp_path: Path, decoder: Decoder) -> None:
    path = factories.dicom(tmp_path / "a.dcm", Modality="CT", PatientID="Grün^1", SpecificCharacterSet="ISO_IR 192")
    with pytest.raises(UnusableFile):
        decoder.decode(path)
    assert decoder.patient_of_unusable(path) == patient_of_unusable(path) == "Grün^1"
