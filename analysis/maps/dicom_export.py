"""A scored film's heatmap as DICOM: a Secondary Capture to look at, and a binary Segmentation to measure with.

Films are stored without their identifiers, so every identifier here is made from Hilum's own addresses (PS3.5 B.2:
"2.25." and a UUID as a number), the film's SOP Instance UID too. That of the hospital is not known.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid5

import highdicom as hd
import numpy as np
from django.db import transaction
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
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
    """A sentence for the user."""


@dataclass(frozen=True)
class _Source:
    """What both objects are made from."""

    score: Score
    facts: PixelFacts
    heatmap: Heatmap
    code_version: str

    @property
    def image(self) -> Image:
        return self.score.image


def export(*, score: Score, author: User, kind: Kind) -> bytes:
    """The file. Each export is audited. Raises CannotExport, and CannotEvaluate where files are gone.

    Whether the person may see the film's scores is the caller's to ask: `analysis.evaluation.blinding.scored_film`."""
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
        made = make[kind](source)
    except NoPlaceOnFilm as error:
        raise CannotEvaluate(str(error)) from error
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
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
    image, run, facts = source.image, source.score.run, source.facts
    values = source.heatmap.in_original_pixels(facts.rows, facts.columns)
    picture = with_legend(
        blend(shown_values(_film(image, facts)), values, source.heatmap),
        source.heatmap,
        made_by=_made_by(source),
        random_weights=run.random_weights,
    )
    film = _film_as_dicom(source)
    made = hd.sc.SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # replaced below: highdicom asks for one, and a film may not tell
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
    made.PatientOrientation = orientation.split("\\") if orientation else []
    made.BodyPartExamined = "CHEST"  # no paired structure, so that no laterality is owed (PS3.3 C.7.3.1)
    made.ConversionType = "WSD"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.DerivationDescription = _made_by(source)
    made.ImageComments = _notice(source)
    made.SourceImageSequence = [_reference(film)]
    # BurnedInAnnotation says whether annotation in the picture identifies the patient (PS3.3 C.7.6.1, General Image).
    # The legend names nobody, so the picture is what its film was; a header that said nothing leaves it open.
    if image.header.get("burned_in"):
        made.BurnedInAnnotation = image.header["burned_in"]
    _say_spacing(made, facts)
    return _without_identity(made)


def _segmentation(source: _Source) -> Dataset:
    threshold, facts = source.heatmap.threshold, source.facts
    if threshold is None:
        raise CannotExportDicom(
            f"The run {source.score.run.name!r} has no threshold for its maps, so there is nothing to segment by. "
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
    made = hd.seg.Segmentation(
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
        omit_empty_frames=False,  # that nothing reaches the threshold is a result, too
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    made.ImageComments = _notice(source)
    made.BodyPartExamined = "CHEST"
    made.PatientOrientation = []  # type 2C: nothing turns the pixels, and the film's header may not have told
    if facts.spacing_mm is not None:
        made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = hd.PixelMeasuresSequence(facts.spacing_mm, None)
    return _without_identity(made)


def _film(image: Image, facts: PixelFacts) -> Film:
    try:
        packed = film_files.pixel_path(image.pixel_sha256).read_bytes()
        return Film(unpack(packed, image.rows, image.columns), facts)
    except (OSError, UnusableFile) as error:
        raise CannotEvaluate(
            "The pixels of this film are not in the data folder any more; import the film again."
        ) from error


def _film_as_dicom(source: _Source) -> Dataset:
    """The film's header as an object made from it needs it, under the film's pseudonyms."""
    image = source.image
    film = Dataset()
    film.SOPClassUID = _FILM_CLASSES.get(image.header.get("modality", ""), SecondaryCaptureImageStorage)
    film.SOPInstanceUID = film_uid(image)
    # A film whose header named no study is a study of its own.
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


def _say_spacing(made: Dataset, facts: PixelFacts) -> None:
    """Pixel Spacing beside an equal Imager Pixel Spacing means: at the detector, not the patient (PS3.3 10.7)."""
    if facts.spacing_mm is None:
        if facts.pixel_aspect != 1:
            made.PixelAspectRatio = [round(1000 * facts.pixel_aspect), 1000]
        return
    made.PixelSpacing = [DS(one, auto_format=True) for one in facts.spacing_mm]
    if facts.spacing_plane == "detector":
        made.ImagerPixelSpacing = made.PixelSpacing


def _without_identity(made: Dataset) -> Dataset:
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = "Hilum: allow-list of header facts, keyed pseudonyms"
    return made


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
    """At most 64 characters, as an LO has."""
    loud = f", {RANDOM_WEIGHTS}" if source.score.run.random_weights else ""
    return f"{kind.capitalize()}, research only{loud}"


def _series_uid(source: _Source, kind: Kind) -> str:
    return _uid(uuid5(source.score.run.uuid, f"{source.image.uuid} {kind}"))


def _uid(address: UUID) -> str:
    return f"2.25.{address.int}"
