"""Write a phantom's film as a DICOM file with an invented header like that of a radiography room."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from portal.imaging.phantom.phantom import Phantom

_DX = "1.2.840.10008.5.1.4.1.1.1.1"  # Digital X-Ray Image Storage - For Presentation
_CR = "1.2.840.10008.5.1.4.1.1.1"  # Computed Radiography Image Storage


@dataclass(frozen=True)
class Header:
    """Header values beyond those of the pixels. `key` identifies the film; its UIDs are derived from it."""

    key: str
    patient_id: str
    number: int
    modality: str  # "DX" or "CR"
    is_rle: bool


def write_dicom(path: Path, phantom: Phantom, header: Header) -> None:
    """Write one film; the same arguments give the same bytes (no clock, no random UID)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(_DX if header.modality == "DX" else _CR)
    meta.MediaStorageSOPInstanceUID = _uid("instance", header.key)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid("implementation", "")
    meta.ImplementationVersionName = "HILUM_PHANTOM"
    ds = FileDataset(str(path), Dataset(), file_meta=meta, preamble=b"\0" * 128)
    _identify(ds, phantom, header)
    _describe(ds, phantom, header)
    _add_pixels(ds, phantom)
    if header.is_rle:
        ds.compress(RLELossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)


def _uid(kind: str, key: str) -> UID:
    """A UID under the root for UUIDs (PS3.5 B.2), derived from a name instead of a clock."""
    number = int.from_bytes(hashlib.sha256(f"hilum phantom {kind} {key}".encode()).digest()[:16], "big")
    return UID(f"2.25.{number}")


def _identify(ds: Dataset, phantom: Phantom, header: Header) -> None:
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = _uid("study", header.key)
    ds.SeriesInstanceUID = _uid("series", header.key)
    ds.PatientID = header.patient_id
    ds.PatientName = header.patient_id.replace("-", "^")
    ds.PatientSex = phantom.sex
    ds.PatientAge = f"{phantom.age:03d}Y"
    ds.PatientBirthDate = ""
    ds.StudyID = str(header.number)
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20000101"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "120000"
    ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.SeriesNumber = ds.InstanceNumber = 1
    ds.StudyDescription = "SYNTHETIC CHEST PHANTOM, NO PATIENT"


def _describe(ds: Dataset, phantom: Phantom, header: Header) -> None:
    ds.Modality = header.modality
    ds.Manufacturer = "Hilum phantom"
    ds.ManufacturerModelName = "Synthetic chest"
    ds.BodyPartExamined = "CHEST"
    ds.ViewPosition = phantom.view_position
    ds.PatientOrientation = ["L", "F"]
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.KVP = "120"
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    if header.modality == "DX":
        ds.PresentationIntentType = "FOR PRESENTATION"
        ds.ImageLaterality = "U"
        ds.DetectorType = "SCINTILLATOR"
        ds.PixelIntensityRelationship = "LOG"
        ds.PixelIntensityRelationshipSign = -1 if phantom.photometric == "MONOCHROME2" else 1
    else:
        ds.CassetteID = ""
        ds.DetectorType = "STORAGE"


def _add_pixels(ds: Dataset, phantom: Phantom) -> None:
    facts = phantom.facts
    ds.Rows, ds.Columns = facts.rows, facts.columns
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = facts.photometric
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, facts.bits_stored, facts.bits_stored - 1
    ds.PixelRepresentation = 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape = "INVERSE" if facts.photometric == "MONOCHROME1" else "IDENTITY"
    ds.WindowCenter = [f"{window.center:g}" for window in facts.windows]
    ds.WindowWidth = [f"{window.width:g}" for window in facts.windows]
    ds.WindowCenterWidthExplanation = [window.name for window in facts.windows]
    ds.VOILUTFunction = facts.voi_function
    if facts.spacing_mm is not None:
        ds.ImagerPixelSpacing = [f"{mm:.7g}" for mm in facts.spacing_mm]
    if facts.padding is not None:
        ds.PixelPaddingValue = facts.padding[0]
    ds.PixelData = phantom.pixels.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
