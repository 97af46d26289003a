"""DICOM radiographs: which files are films, their stored pixels, and the header facts needed to show them correctly."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from portal.imaging import codestreams, deidentify
from portal.imaging.codestreams import Layout
from portal.imaging.deidentify import MODALITY_WORDS, RADIOGRAPH_MODALITIES
from portal.imaging.dicom_display import MAX_FACTOR, lut_of, narrowed, voi_function_of, voi_luts_of, windows_of
from portal.imaging.dicom_file import DicomFile, cut_off, parse
from portal.imaging.elements import items, mend_decimal_commas, number, numbers, text, whole
from portal.imaging.errors import UnusableFile
from portal.imaging.film import MAX_PIXELS, MAX_SIDE, Film, PixelFacts
from portal.imaging.film_warnings import warned
from portal.imaging.grey_colour import colour, grey_of_channels, grey_palette, is_colour, is_palette
from portal.imaging.handled_elements import HANDLED, to_text
from portal.imaging.handled_header import handled_elements

# Only these modalities are quoted in a message: the element can hold any text.
_OTHER_MODALITIES = frozenset(
    {
        "AR", "AU", "BDUS", "BI", "BMD", "CT", "DG", "ECG", "EPS", "ES", "FID", "GM", "HC", "HD",
        "IO", "IVOCT", "IVUS", "KER", "KO", "LEN", "LS", "MG", "MR", "NM", "OAM", "OCT", "OP",
        "OPM", "OPT", "OPTBSV", "OPTENF", "OPV", "OSS", "PLAN", "PR", "PT", "REG", "RESP", "RTDOSE",
        "RTIMAGE", "RTINTENT", "RTPLAN", "RTRECORD", "RTSEGANN", "RTSTRUCT", "RWV", "SEG", "SM",
        "SMR", "SR", "SRF", "STAIN", "TG", "US", "VA", "XA", "XC"
    }
)  # fmt: skip
# Storage classes accepted as a radiograph where the modality is missing or not a term of DICOM (PS3.4 B.5).
_RADIOGRAPH_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{suffix}" for suffix in ("1", "1.1", "1.1.1", "7", "12.2"))
_DECIMAL_STRINGS = (
    *("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "PixelSpacing", "ImagerPixelSpacing"),
    *("KVP", "ExposureInuAs", "Exposure"),
)
_MIN_SLOPE = 1e-9
_MIN_SPACING_MM, _MAX_SPACING_MM, _MAX_ASPECT = 0.005, 20.0, 10.0


def read_dicom(data: bytes) -> tuple[Film, dict[str, str]]:
    """Return the film in the bytes of a DICOM file and its allowed header (see `read_film`).

    Raises UnusableFile; a hostile file may cause any other exception, which `read_film` turns into UnusableFile.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values
        file = parse(data)
        _check_radiograph(file)
        mended: set[str] = set()  # keys of `WARNINGS`
        if mend_decimal_commas(file.ds, _DECIMAL_STRINGS):
            mended.add("decimal_comma")
        layout = _layout(file.ds)
        stored, bits_stored, offset = _stored(file, layout, mended)
        facts = _facts(file.ds, layout, mended, bits_stored=bits_stored, offset=offset)
        header = deidentify.header(file.ds)
        handled = to_text(handled_elements(file.ds, header))
        return Film(stored, facts), {**header, **warned(mended), HANDLED: handled}


# --- is it a radiograph? ---------------------------------------------------------------------------------


def _check_radiograph(file: DicomFile) -> None:
    ds = file.ds
    modality = text(ds, "Modality").upper()
    storage_class = text(ds, "SOPClassUID")
    if modality in _OTHER_MODALITIES:
        raise UnusableFile("not_a_radiograph", f"This is {modality}, not a radiograph (CR, DX, RG, PX, RF, OT).")
    is_radiograph = modality in RADIOGRAPH_MODALITIES or (
        modality in MODALITY_WORDS and storage_class in _RADIOGRAPH_CLASSES
    )
    if modality and not is_radiograph:
        raise UnusableFile("not_a_radiograph", "The header's modality is none of CR, DX, RG, PX, RF, OT.")
    if file.is_cut_off:
        raise cut_off()
    if not modality and storage_class and storage_class not in _RADIOGRAPH_CLASSES:
        raise UnusableFile(
            "not_a_radiograph", "The header gives no modality, and its storage class is not that of a radiograph."
        )
    if "FloatPixelData" in ds or "DoubleFloatPixelData" in ds:
        raise UnusableFile("unsupported", "The pixels of this file are floating-point numbers; a film has integers.")
    if "PixelData" not in ds:
        raise UnusableFile("no_pixels", "This DICOM file has a header but no picture.")


def _layout(ds: Dataset) -> Layout:
    rows, columns = _shape(ds)
    photometric, samples = _checked_photometric(ds)
    allocated = whole(ds, "BitsAllocated") or 0
    if allocated not in (8, 16):
        raise UnusableFile(
            "unsupported", f"This file allocates {allocated} bits for a pixel; only 8 and 16 are supported."
        )
    bits = whole(ds, "BitsStored")
    bits = allocated if bits is None else bits
    if not 1 <= bits <= allocated:
        raise UnusableFile(
            "unreadable", f"The header gives {bits} stored bits of {allocated} allocated bits in a pixel."
        )
    high_bit = whole(ds, "HighBit")
    if high_bit is None or not bits - 1 <= high_bit < allocated:
        high_bit = bits - 1
    representation = whole(ds, "PixelRepresentation") or 0
    if representation not in (0, 1):
        raise UnusableFile("unreadable", "The header's PixelRepresentation is neither 0 nor 1.")
    return Layout(
        rows=rows,
        columns=columns,
        bits_allocated=allocated,
        bits_stored=bits,
        high_bit=high_bit,
        is_signed=representation == 1,
        photometric=photometric,
        samples=samples,
        is_planar=whole(ds, "PlanarConfiguration") == 1,
    )


def _shape(ds: Dataset) -> tuple[int, int]:
    rows, columns = whole(ds, "Rows") or 0, whole(ds, "Columns") or 0
    if rows == 0 or columns == 0:
        raise UnusableFile("no_pixels", f"The header gives {rows} rows and {columns} columns: no picture.")
    if rows < 0 or columns < 0:
        raise UnusableFile("unreadable", f"The header gives {rows} rows and {columns} columns.")
    if max(rows, columns) > MAX_SIDE or rows * columns > MAX_PIXELS:
        raise UnusableFile(
            "too_large", f"The header gives {rows} x {columns} pixels; a film has at most {MAX_PIXELS:,}."
        )
    return rows, columns


def _checked_photometric(ds: Dataset) -> tuple[str, int]:
    """The photometric interpretation and the number of channels of a single picture that may be grey."""
    frames = whole(ds, "NumberOfFrames")
    if frames is not None and frames > 1:
        raise UnusableFile("multi_frame", f"This file holds {frames} frames; a film is one picture.")
    photometric = text(ds, "PhotometricInterpretation").upper()
    samples = whole(ds, "SamplesPerPixel")
    samples = 1 if samples is None else samples
    if is_colour(photometric, samples):
        return photometric, samples
    if samples != 1 or photometric.startswith(("RGB", "YBR", "PALETTE", "HSV", "ARGB", "CMYK")):
        raise colour()
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnusableFile(
            "unreadable", "The header does not specify whether small values are white or black. Export it again."
        )
    return photometric, samples


# --- stored pixels ---------------------------------------------------------------------------------------


def _stored(file: DicomFile, layout: Layout, mended: set[str]) -> tuple[NDArray[np.uint16], int, int]:
    """Stored values (H, W) uint16, bits stored, and the offset that was added to signed ones."""
    element = file.ds["PixelData"]
    data = element.value
    if not isinstance(data, bytes) or not data:
        raise UnusableFile("no_pixels", "The picture in this file is empty. Export it again.")
    has_overlay = _has_embedded_overlay(file.ds)
    if codestreams.is_native(file.transfer_syntax):
        if element.is_undefined_length:
            raise UnusableFile(
                "unreadable", "The picture is compressed, but the header marks it as uncompressed. Export it again."
            )
        raw = codestreams.decode_native(
            data,
            layout,
            is_little_endian=file.is_little_endian,
            is_word_swapped=not file.is_little_endian and layout.bits_allocated == 8 and element.VR == "OW",
        )
        if layout.samples == 3:
            raw = grey_of_channels(raw, layout.photometric)
        return _masked(raw, layout, has_overlay=has_overlay)
    decoded = codestreams.decode_encapsulated(data, file.transfer_syntax, layout, mended)
    if layout.samples == 3:
        decoded = grey_of_channels(decoded, "RGB")
    if file.transfer_syntax != RLELossless and not has_overlay:
        return _fitted(decoded, layout, mended)
    return _masked(decoded, layout, has_overlay=has_overlay)


def _masked(raw: NDArray[Any], layout: Layout, *, has_overlay: bool) -> tuple[NDArray[np.uint16], int, int]:
    """Keep the stored bits only; the others hold an overlay, the sign, or zeros (PS3.5 8.1.1)."""
    bits, lowest = layout.bits_stored, layout.high_bit - layout.bits_stored + 1
    values = raw.astype(np.uint16)  # modulo 2**16, so two's complement stays
    if not has_overlay and not _are_other_bits_empty(values, layout):
        raise UnusableFile(
            "unreadable",
            f"The pixels have values outside the {bits} bits that the header gives, and there is no overlay: "
            "the header's bits are wrong. Export it again.",
        )
    values >>= np.uint16(lowest)
    values &= np.uint16(2**bits - 1)
    offset = 0
    if layout.is_signed:  # flipping the sign bit of two's complement adds the offset
        offset = 2 ** (bits - 1)
        values ^= np.uint16(offset)
    return values, bits, offset


def _are_other_bits_empty(values: NDArray[np.uint16], layout: Layout) -> bool:
    """Whether the bits beside the stored ones are 0 or, above signed values, repeat the sign."""
    bits, lowest = layout.bits_stored, layout.high_bit - layout.bits_stored + 1
    inside = np.uint16((2**bits - 1) << lowest)
    if (lowest == 0 and int(values.max()) <= inside) or not (values & ~inside).any():
        return True
    if not layout.is_signed or lowest:
        return False
    allocated = np.uint16(2**layout.bits_allocated - 1)
    above = values & (allocated & ~inside)
    is_negative = (values & np.uint16(1 << layout.high_bit)) != 0
    return bool(((above == 0) | (is_negative & (above == (allocated & ~inside)))).all())


def _fitted(values: NDArray[Any], layout: Layout, mended: set[str]) -> tuple[NDArray[np.uint16], int, int]:
    """Keep a codestream's values unchanged, with as many bits as they need, even if the header gives fewer."""
    low, high = int(values.min()), int(values.max())
    bits = layout.bits_stored
    if layout.is_signed:
        bits = max(bits, high.bit_length() + 1, (-low - 1).bit_length() + 1 if low < 0 else 1)
    else:
        bits = max(bits, high.bit_length())
    if bits > 16 or (low < 0 and not layout.is_signed):
        raise UnusableFile("unsupported", "The picture has values outside 16 bits. Export it again.")
    if bits > layout.bits_stored:
        mended.add("bits")
    offset = 2 ** (bits - 1) if layout.is_signed else 0
    stored = values.astype(np.uint16)
    stored += np.uint16(offset)  # modulo 2**16 again
    return stored, bits, offset


def _has_embedded_overlay(ds: Dataset) -> bool:
    """Whether an overlay lies in unused pixel bits (retired): it has no Overlay Data (PS3.3 C.9.2, PS3.5 8.1.2)."""
    return any((0x6000 + group, 0x0100) in ds and (0x6000 + group, 0x3000) not in ds for group in range(0, 32, 2))


# --- header facts ----------------------------------------------------------------------------------------


def _facts(ds: Dataset, layout: Layout, mended: set[str], *, bits_stored: int, offset: int) -> PixelFacts:
    """The facts of the header; the keys of what was repaired or left out are added to `mended`."""
    slope, intercept = _rescale(ds, mended)
    windows, is_one_left_out = windows_of(ds)
    if is_one_left_out:
        mended.add("window")
    modality_luts = items(ds, "ModalityLUTSequence")[:1]
    modality_lut = lut_of(modality_luts[0], is_signed=layout.is_signed, shift=offset) if modality_luts else None
    lowest = min(intercept + slope * (end - offset) for end in (0, 2**bits_stored - 1))
    is_voi_signed = modality_lut is None and lowest < 0
    if layout.samples == 3:
        mended.add("equal_channels")
    voi_luts, is_narrower = voi_luts_of(ds, is_signed=is_voi_signed)
    if is_palette(layout.photometric, layout.samples):  # it gives the brightness on screen, as a VOI LUT does
        mended.add("palette")
        palette = grey_palette(ds)
        voi_luts, is_narrower = (narrowed(palette),), narrowed(palette) != palette
    if is_narrower:
        mended.add("voi_lut_bits")
    spacing, plane = _spacing(ds)
    return PixelFacts(
        rows=layout.rows,
        columns=layout.columns,
        bits_stored=bits_stored,
        offset=offset,
        photometric="MONOCHROME2" if is_colour(layout.photometric, layout.samples) else layout.photometric,
        slope=slope,
        intercept=intercept,
        modality_lut=modality_lut,
        windows=windows,
        voi_function=voi_function_of(ds),
        voi_luts=voi_luts,
        padding=_padding(ds, layout, bits_stored=bits_stored, offset=offset),
        spacing_mm=spacing,
        spacing_plane=plane,
        pixel_aspect=_pixel_aspect(ds),
        presentation_inverse=_is_presentation_inverse(ds, layout),
        source="dicom",
    )


def _is_presentation_inverse(ds: Dataset, layout: Layout) -> bool:
    """Whether Presentation LUT Shape requires an inversion that the photometric interpretation does not imply.

    A MONOCHROME1 image *shall* carry INVERSE (PS3.3 C.8.11.3): that is one inversion, not two.
    """
    return layout.photometric == "MONOCHROME2" and text(ds, "PresentationLUTShape").upper() == "INVERSE"


def _rescale(ds: Dataset, mended: set[str]) -> tuple[float, float]:
    slope, intercept = number(ds, "RescaleSlope"), number(ds, "RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if slope == 0 and intercept == 0:  # a placeholder: it would make every pixel the same
        mended.add("slope")
        return 1.0, 0.0
    if not (math.isfinite(slope) and _MIN_SLOPE <= abs(slope) <= MAX_FACTOR):
        raise UnusableFile("unreadable", f"The header's rescale slope is {slope:g}. Export the film again.")
    if not (math.isfinite(intercept) and abs(intercept) <= MAX_FACTOR):
        raise UnusableFile("unreadable", f"The header's rescale intercept is {intercept:g}. Export the film again.")
    return slope, intercept


def _padding(ds: Dataset, layout: Layout, *, bits_stored: int, offset: int) -> tuple[int, int] | None:
    """The inclusive range of stored padding values (PS3.3 C.7.5.1.1.2); None if absent or outside the stored range."""
    first = _signed_16(whole(ds, "PixelPaddingValue"), layout)
    if first is None:
        return None
    last = _signed_16(whole(ds, "PixelPaddingRangeLimit"), layout)
    ends = sorted((first + offset, (first if last is None else last) + offset))
    low, high = max(ends[0], 0), min(ends[1], 2**bits_stored - 1)
    return (low, high) if low <= high else None


def _signed_16(value: int | None, layout: Layout) -> int | None:
    if value is None:
        return None
    value &= 0xFFFF  # may be written as US or SS whatever the sign of the pixels
    return value - 0x10000 if layout.is_signed and value >= 0x8000 else value


def _spacing(ds: Dataset) -> tuple[tuple[float, float] | None, str]:
    """Spacing between rows and columns in mm and its plane (PS3.3 10.7.1).

    A PixelSpacing equal to ImagerPixelSpacing was not corrected for magnification, so it is the detector's.
    """
    patient, detector = _pair(ds, "PixelSpacing"), _pair(ds, "ImagerPixelSpacing")
    if patient is not None:
        return patient, "detector" if patient == detector else "patient"
    return (detector, "detector") if detector is not None else (None, "")


def _pair(ds: Dataset, keyword: str) -> tuple[float, float] | None:
    try:
        pair = numbers(ds, keyword)
    except UnusableFile:
        return None  # a film without a scale is still a film
    if len(pair) != 2 or not all(_MIN_SPACING_MM <= value <= _MAX_SPACING_MM for value in pair):
        return None
    return (pair[0], pair[1]) if _is_sane_aspect(pair[0] / pair[1]) else None


def _is_sane_aspect(aspect: float) -> bool:
    return 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT


def _pixel_aspect(ds: Dataset) -> float:
    """Vertical over horizontal size of a pixel (PS3.3 C.7.6.3.1.7), 1 if absent or implausible."""
    try:
        pair = numbers(ds, "PixelAspectRatio")
    except UnusableFile:
        return 1.0
    if len(pair) != 2 or not (pair[0] > 0 and pair[1] > 0 and _is_sane_aspect(pair[0] / pair[1])):
        return 1.0
    return pair[0] / pair[1]
