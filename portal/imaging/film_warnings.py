"""Warnings about films whose header is doubtful or whose file was repaired on reading: each has a sentence, shown with
the film, and words by which the report of an import counts the films that have it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

PREFIX = "warning:"


@dataclass(frozen=True)
class FilmWarning:
    """`sentence` belongs to a film; `one` and `several` follow a number of films in the report of an import."""

    sentence: str
    one: str
    several: str


def _header(sentence: str, words: str, *, plural: str = "") -> FilmWarning:
    """A warning that is counted as "film whose header WORDS", "films whose headers WORDS"."""
    return FilmWarning(sentence, f"film whose header {words}", f"films whose headers {plural or words}")


WARNINGS: Mapping[str, FilmWarning] = {
    "burned_in": FilmWarning(
        "According to the header, text is burned into the picture: check it for names.",
        "film with text burned into it, according to its header: check it for names",
        "films with text burned into them, according to their headers: check them for names",
    ),
    "no_contrast": FilmWarning(
        "The film shows nothing: 98 % of its pixels have one value.",
        "film shows nothing: 98 % of its pixels have one value, and it stays out of fit unless you say otherwise",
        "films show nothing: 98 % of their pixels have one value, and they stay out of fit unless you say otherwise",
    ),
    "window_beside": FilmWarning(
        "Under the header's window or lookup table the film shows nothing; the next one or percentiles are used.",
        "film shows nothing under its header's window, and it stays out of fit unless you say otherwise",
        "films show nothing under their headers' windows, and they stay out of fit unless you say otherwise",
    ),
    "modality": _header("The header gives no modality.", "gives no modality", plural="give no modality"),
    "modality_word": FilmWarning(
        "The header's modality is not a term of DICOM; its storage class is that of a radiograph.",
        "film whose modality is not a term of DICOM, but whose storage class is that of a radiograph",
        "films whose modality is not a term of DICOM, but whose storage class is that of a radiograph",
    ),
    "body_part": FilmWarning(
        "The header's body part is not chest.",
        "film whose body part is not chest, according to its header",
        "films whose body part is not chest, according to their headers",
    ),
    "intent": FilmWarning(
        "This is a detector's raw image (FOR PROCESSING), not meant for diagnosis.",
        "film is a detector's raw image (FOR PROCESSING)",
        "films are detectors' raw images (FOR PROCESSING)",
    ),
    "view": FilmWarning(
        "The header names the view in a way that is not known; it is kept as unknown.",
        "film whose header names the view in a way that is not known",
        "films whose headers name the view in a way that is not known",
    ),
    "two_views": FilmWarning(
        "The header names two views that exclude each other; the one in words was kept.",
        "film whose header names two views that exclude each other: the one in words was kept",
        "films whose headers name two views that exclude each other: the one in words was kept",
    ),
    "window": FilmWarning(
        "A window of the header cannot be used and was left out.",
        "film with a window that cannot be used: it is shown by its next one, or by percentiles",
        "films with a window that cannot be used: they are shown by their next ones, or by percentiles",
    ),
    "slope": FilmWarning(
        "The header's rescale slope and intercept of 0 were ignored.",
        "film whose rescale slope and intercept of 0 were ignored",
        "films whose rescale slopes and intercepts of 0 were ignored",
    ),
    "voi_lut_bits": FilmWarning(
        "The header's lookup table uses fewer bits than it declares and was scaled by those that it uses.",
        "film whose lookup table uses fewer bits than it declares and was scaled by those",
        "films whose lookup tables use fewer bits than they declare and were scaled by those",
    ),
    "bits": FilmWarning(
        "The compressed picture has more bits than the header gives; all were kept.",
        "film whose compressed picture has more bits than its header gives, all of which were kept",
        "films whose compressed pictures have more bits than their headers give, all of which were kept",
    ),
    "sign": FilmWarning(
        "Header and compressed picture differ in whether values are signed; the header was followed.",
        "film whose header and compressed picture differ in whether values are signed",
        "films whose headers and compressed pictures differ in whether values are signed",
    ),
    "syntax": FilmWarning(
        "The picture is compressed in another way than the header says and was decoded as what it is.",
        "film that is compressed in another way than its header says",
        "films that are compressed in other ways than their headers say",
    ),
    "lossy": FilmWarning(
        "The picture was compressed with loss, although the header calls it lossless.",
        "film that was compressed with loss, although its header calls it lossless",
        "films that were compressed with loss, although their headers call them lossless",
    ),
    "end_marker": FilmWarning(
        "The end of the compressed picture was repaired; all its pixels are there.",
        "film whose compressed picture had a wrong end and was repaired; all its pixels are there",
        "films whose compressed pictures had a wrong end and were repaired; all their pixels are there",
    ),
    "equal_channels": FilmWarning(
        "The picture is stored as colour, with three equal channels, one of which was kept.",
        "film that was stored as colour with three equal channels",
        "films that were stored as colour with three equal channels",
    ),
    "palette": FilmWarning(
        "The picture is stored with a palette of greys, which is used as its lookup table.",
        "film that was stored with a palette of greys",
        "films that were stored with palettes of greys",
    ),
    "png_checksum": FilmWarning(
        "A checksum of this PNG file is wrong beside the pixels, as in a comment; that part was left out.",
        "film (PNG) with a wrong checksum beside the pixels",
        "films (PNG) with wrong checksums beside the pixels",
    ),
    "turned": FilmWarning(
        "The picture was turned by its EXIF orientation.",
        "film that was turned by its EXIF orientation, and its boxes with it",
        "films that were turned by their EXIF orientations, and their boxes with them",
    ),
    "decimal_comma": FilmWarning(
        "Decimal commas in the header were read as points.",
        "film with decimal commas in its header, read as points",
        "films with decimal commas in their headers, read as points",
    ),
}


def warned(keys: Collection[str]) -> dict[str, str]:
    """Return the warnings as keys of a header, "warning:KEY" -> sentence, in the order of `WARNINGS`."""
    return {f"{PREFIX}{key}": warning.sentence for key, warning in WARNINGS.items() if key in keys}


def keys_of(header: Mapping[str, str]) -> list[str]:
    """Return the keys of the warnings in a film's header."""
    return [key.removeprefix(PREFIX) for key in header if key.startswith(PREFIX)]
