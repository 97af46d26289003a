"""A scored film's heatmap as DICOM: a Secondary Capture for viewing, and a binary Segmentation for measuring.

Films are stored without their identifiers, so every UID here is derived from a UUID of Hilum (PS3.5 B.2: "2.25."
followed by the UUID as a number), including the film's SOP Instance UID. The hospital's UID is not known.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid5

import numpy as np
from django.db import transaction
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pydicom.valuerep import DS

from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.run_results import results_of
from analysis.figures import NOTICE, RANDOM_WEIGHTS
from analysis.maps.heatmap_picture import blend, with_legend
from analysis.maps.heatmaps import heatmap_of
from ml_engine.engine.heatmap import Heatmap, NoPlaceOnFilm
from ml_engine.models import Score
from portal.imaging.basic_profile import method_codes
from portal.imaging.errors import UnusableFile
from portal.imaging.film import Film, PixelFacts, shown_values, unpack
from portal.intake import film_files
from portal.models import Image, User
from portal.people import audit

Kind = Literal["heatmap", "segmentation"]

MAKER = "Hilum"
_FILM_CLASSES = {"CR": ComputedRadiographyImageStorage, "DX": DigitalXRayImageStorageForPresentation}
_SERIES_NUMBERS: dict[Kind, int] = {"heatmap": 901, "segmentation": 902}


class CannotExportDicom(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True)
class _Source:
    """The input of both objects."""

    score: Score
    facts: PixelFacts
    heatmap: Heatmap
    code_version: str

    @property
    def image(self) -> Image:
        return self.score.image


def export(*, score: Score, author: User, kind: Kind) -> bytes:
    """The bytes of the file. Each export is audited. Raises CannotExportDicom, and CannotEvaluate if files are gone.

    The caller checks whether the person may see the film's scores: `analysis.evaluation.blinding.scored_film`."""
    make: dict[Kind, Callable[[_Source], Dataset]] = {"heatmap": _secondary_capture, "segmentation": _segmentation}
    with results_of(score.run) as folder:
        code_version = folder.summary.code_version
    source = _Source(
        score=score,
        heatmap=heatmap_of(score),
        facts=PixelFacts.from_json(score.image.facts),
        code_version=code_version,
    )
    try:
        dataset = make[kind](source)
    except NoPlaceOnFilm as error:
        raise CannotEvaluate(str(error)) from error
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    with transaction.atomic():
        audit.record(
            verb="export heatmap",
            site=score.run.site,
            actor=author,
            target=score.image,
            after={"run": str(score.run.uuid), "as": kind},
        )
    return file.getvalue()


def film_uid(image: Image) -> str:
    return _uid(image.uuid)


def _secondary_capture(source: _Source) -> Dataset:
    import highdicom as hd

    image, run, facts = source.image, source.score.run, source.facts
    values = source.heatmap.in_original_pixels(facts.rows, facts.columns)
    picture = with_legend(
        blend(shown_values(_film(image, facts)), values, source.heatmap),
        source.heatmap,
        made_by=_made_by(source),
        random_weights=run.random_weights,
    )
    film = _film_as_dicom(source)
    capture = hd.sc.SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # replaced below: highdicom requires a value, and the film may have none
        study_instance_uid=film.StudyInstanceUID,
        series_instance_uid=_series_uid(source, "heatmap"),
        series_number=_SERIES_NUMBERS["heatmap"],
        series_description=_description(source, "heatmap"),
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=source.code_version[:64],
        patient_id=film.PatientID,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    orientation = image.header.get("patient_orientation", "")
    capture.PatientOrientation = orientation.split("\\") if orientation else []
    capture.BodyPartExamined = "CHEST"  # not a paired structure, so no laterality is required (PS3.3 C.7.3.1)
    capture.ConversionType = "WSD"
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.DerivationDescription = _made_by(source)
    capture.ImageComments = _notice(source)
    capture.SourceImageSequence = [_reference(film)]
    # BurnedInAnnotation says whether annotation in the picture identifies the patient (PS3.3 C.7.6.1, General Image).
    # The legend names nobody, so the film's value applies to the picture; without one the attribute is left out.
    if image.header.get("burned_in"):
        capture.BurnedInAnnotation = image.header["burned_in"]
    _set_spacing(capture, facts)
    return _without_identity(capture)


def _segmentation(source: _Source) -> Dataset:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    threshold, facts = source.heatmap.threshold, source.facts
    if threshold is None:
        raise CannotExportDicom(
            f"The run {source.score.run.name!r} has no threshold for its maps, so nothing can be segmented. "
            "Score with a detector that was calibrated; the heatmap itself can be exported."
        )
    marked = source.heatmap.in_original_pixels(facts.rows, facts.columns) >= threshold
    algorithm = hd.AlgorithmIdentificationSequence(
        name=f"{MAKER} {_method(source)}",
        family=codes.DCM.ArtificialIntelligence,
        version=source.code_version,
        parameters={"threshold": f"{threshold:.9g}", "fusion weight": f"{source.heatmap.weight:g}"},
    )
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Anomaly score at or above the threshold",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )
    segmentation = hd.seg.Segmentation(
        source_images=[_film_as_dicom(source)],
        pixel_array=marked.astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[segment],
        series_instance_uid=_series_uid(source, "segmentation"),
        series_number=_SERIES_NUMBERS["segmentation"],
        series_description=_description(source, "segmentation"),
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=source.code_version[:64],
        device_serial_number=_detector(source),
        content_label="ANOMALY",
        content_description=_description(source, "segmentation"),
        content_qualification="RESEARCH",
        omit_empty_frames=False,  # an empty segment (nothing reaches the threshold) is a result, too
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    segmentation.ImageComments = _notice(source)
    segmentation.BodyPartExamined = "CHEST"
    segmentation.PatientOrientation = []  # type 2C: the pixels are not turned, and the film's header may have none
    if facts.spacing_mm is not None:
        segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = hd.PixelMeasuresSequence(
            facts.spacing_mm, None
        )
    return _without_identity(segmentation)


def _film(image: Image, facts: PixelFacts) -> Film:
    try:
        packed = film_files.pixels_here(image.pixel_sha256).read_bytes()
        return Film(unpack(packed, image.rows, image.columns), facts)
    except (OSError, UnusableFile) as error:
        raise CannotEvaluate(
            "The pixels of this film are not in the data folder any more; import the film again."
        ) from error


def _film_as_dicom(source: _Source) -> Dataset:
    """The header attributes that a derived object copies from its film, with pseudonyms."""
    image = source.image
    film = Dataset()
    film.SOPClassUID = _FILM_CLASSES.get(image.header.get("modality", ""), SecondaryCaptureImageStorage)
    film.SOPInstanceUID = film_uid(image)
    # A film without a study in its header gets its own study.
    film.StudyInstanceUID = _uid(image.study.uuid if image.study else uuid5(image.uuid, "study"))
    film.SeriesInstanceUID = _uid(uuid5(image.uuid, "series"))
    film.Modality = image.header.get("modality", "") or "OT"
    film.PatientID = image.patient.pseudonym
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"):
        setattr(film, keyword, "")
    film.StudyTime = ""
    film.Rows, film.Columns = image.rows, image.columns
    return film


def _reference(film: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = film.SOPClassUID
    item.ReferencedSOPInstanceUID = film.SOPInstanceUID
    return item


def _set_spacing(capture: Dataset, facts: PixelFacts) -> None:
    """Pixel Spacing equal to Imager Pixel Spacing means a spacing at the detector, not at the patient (PS3.3 10.7)."""
    if facts.spacing_mm is None:
        if facts.pixel_aspect != 1:
            capture.PixelAspectRatio = [round(1000 * facts.pixel_aspect), 1000]
        return
    capture.PixelSpacing = [DS(value, auto_format=True) for value in facts.spacing_mm]
    if facts.spacing_plane == "detector":
        capture.ImagerPixelSpacing = capture.PixelSpacing


def _without_identity(dataset: Dataset) -> Dataset:
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Hilum: allow-list of header facts, keyed pseudonyms"
    dataset.DeidentificationMethodCodeSequence = method_codes()
    return dataset


def _detector(source: _Source) -> str:
    detector = source.score.run.detector
    return detector.sha256[:12] if detector else "unknown"


def _method(source: _Source) -> str:
    detector = source.score.run.detector
    return str(detector.config.get("detector", "patchcore")) if detector else "patchcore"


def _made_by(source: _Source) -> str:
    return f"Run {str(source.score.run.uuid)[:8]}, detector {_detector(source)}, Hilum {source.code_version}."


def _notice(source: _Source) -> str:
    return ". ".join([RANDOM_WEIGHTS, NOTICE] if source.score.run.random_weights else [NOTICE])


def _description(source: _Source, kind: Kind) -> str:
    """At most 64 characters (VR LO)."""
    loud = f", {RANDOM_WEIGHTS}" if source.score.run.random_weights else ""
    return f"{kind.capitalize()}, research only{loud}"


def _series_uid(source: _Source, kind: Kind) -> str:
    return _uid(uuid5(source.score.run.uuid, f"{source.image.uuid} {kind}"))


def _uid(address: UUID) -> str:
    return f"2.25.{address.int}"
