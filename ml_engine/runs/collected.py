"""What the collector has to know of runs: where their files lie, and which rows name them."""

import re
from collections.abc import Collection

from ml_engine.models import AlignmentModel, CanonicalBoard, DetectorModel, HandMadeCanonical, HeadModel, Run
from ml_engine.runs.canonical_files import VARIANCE
from portal.retention.collector import Kind, uuid_pattern, uuids_named

_SHA256 = r"[0-9a-f]{64}"
_TEMPORARY = re.compile(r"(?:.*/)?\..*")  # `paths.link`, `core.files.whole` and the boards begin them with a point
_MODELS = (AlignmentModel, DetectorModel, HeadModel)


def kinds() -> list[Kind]:
    return [
        Kind("folders of runs", "runs", uuid_pattern(), _runs_named),
        Kind(
            "fitted models",
            "models",
            re.compile(rf"[0-9a-f]{{2}}/(?P<name>{_SHA256})\.safetensors"),
            _models_named,
            re.compile(r"[0-9a-f]{2}/\..*"),
        ),
        Kind(
            "hand-made canonical images",
            "models/canonicals",
            re.compile(rf"(?P<name>{_SHA256})(?:-variance)?\.npy"),
            canonicals_named,
            _TEMPORARY,
        ),
        Kind("pictures of runs", "models/pictures", uuid_pattern(), _runs_named),
        Kind("stacks of boards", "boards", uuid_pattern(), uuids_named(CanonicalBoard)),
    ]


def _runs_named(names: Collection[str]) -> set[str]:
    """Children of divided runs too, which most queries leave out."""
    return {str(uuid) for uuid in Run.with_children.filter(uuid__in=names).values_list("uuid", flat=True)}


def _models_named(names: Collection[str]) -> set[str]:
    """Withdrawn ones too: whoever withdrew them has removed the file, unless another model has the same bytes."""
    rows = [kind.objects.filter(sha256__in=names).values_list("sha256", flat=True) for kind in _MODELS]
    return {digest for row in rows for digest in row}


def canonicals_named(names: Collection[str]) -> set[str]:
    """Of the images, and of the variances beside them."""
    images = {name.removesuffix(VARIANCE) for name in names}
    known = set(HandMadeCanonical.objects.filter(sha256__in=images).values_list("sha256", flat=True))
    return {name for name in names if name.removesuffix(VARIANCE) in known}
