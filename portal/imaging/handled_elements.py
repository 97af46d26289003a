"""What de-identification did with each element of a file's header, and with the metadata of a picture: by name and tag,
never by value. `handled_header` says it of DICOM; this module loads no pydicom, which pictures do not need."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from PIL import Image, TiffTags

HANDLED = "report:elements"  # the key of a header under which `to_text` travels


class ElementOutcome(StrEnum):
    REMOVED = "removed"
    CLEANED = "cleaned"  # reduced to a known word, or to a coarser number
    REPLACED = "replaced"  # by a keyed hash, or a shifted day
    KEPT = "kept"  # as a number, a term of the standard, or a picture


@dataclass(frozen=True, order=True)
class HandledElement:
    """`tag`: (gggg,eeee), blank for the metadata of a picture. `is_nested`: inside a sequence."""

    tag: str
    name: str
    outcome: ElementOutcome
    is_nested: bool = False


_PICTURE_METADATA = {
    "exif": "EXIF",
    "icc_profile": "ICC profile",
    "xmp": "XMP",
    "XML:com.adobe.xmp": "XMP",
    "comment": "comment",
    "photoshop": "IPTC and Photoshop data",
    "dpi": "resolution",
}
_TIFF_OF_PIXELS = frozenset({254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 339})


def handled_metadata(image: Image.Image) -> list[HandledElement]:
    """What became of the metadata of a PNG, JPEG or TIFF picture: nothing of it is kept, but its orientation is
    applied."""
    names = {name for key, name in _PICTURE_METADATA.items() if key in image.info}
    if getattr(image, "text", None):
        names.add("text chunks")
    for tag in getattr(image, "tag_v2", {}):
        if tag not in _TIFF_OF_PIXELS:
            known = TiffTags.lookup(tag).name
            names.add(known if known != "unknown" and tag in TiffTags.TAGS_V2 else "private TIFF tags")
    return [HandledElement("", name, ElementOutcome.REMOVED) for name in sorted(names)]


def to_text(elements: Iterable[HandledElement]) -> str:
    """For the way from the process that decodes."""
    return json.dumps([[one.tag, one.name, one.outcome, one.is_nested] for one in elements])


def from_text(text: str) -> list[HandledElement]:
    return [
        HandledElement(tag, name, ElementOutcome(outcome), nested) for tag, name, outcome, nested in json.loads(text)
    ]
