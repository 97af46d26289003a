"""The outcome of a fitted alignment, film by film: accept its place, make it by hand, or exclude the film.

A decision is a row of its own. Later runs with the alignment place a film by its hand-made affine, and fit no detector
on one that is excluded; runs that were made before keep what they had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from django.db import transaction
from django.db.models import QuerySet

from ml_engine.boards import films
from ml_engine.core.alignment.hand_placement import InvalidPlacement, usable
from ml_engine.core.config import PipelineConfig
from ml_engine.core.json_objects import IncompleteJson
from ml_engine.engine import manifest
from ml_engine.engine.manifest import InvalidManifest
from ml_engine.engine.scored_folder import ResultsMissing, ScoredFolder
from ml_engine.models import AffineDecision, AffineVerdict, AlignmentModel, Run, RunKind, RunState, Score
from ml_engine.runs import run_bucket
from ml_engine.runs.affine_decisions import current_decisions
from ml_engine.runs.lifecycle import RunRefused
from portal.models import Image, User
from portal.people import audit
from portal.people.access import require
from portal.people.blinding import refuse_withheld

RUNS_LISTED = 20


@dataclass(frozen=True)
class AlignedFilm:
    """A film that the alignment places. ``matrix`` (9) is original_from_canonical in pixels of a frame of the
    side of `films.frame_side`, as the run has it; ``is_flagged`` if that failed a check."""

    image: Image
    matrix: list[float]
    is_flagged: bool
    decision: AffineDecision | None

    @property
    def state(self) -> str:
        """The words of what was decided; "flagged" where nobody has yet, and it failed a check."""
        if self.decision is not None:
            return str(AffineVerdict(self.decision.verdict).label).lower()
        return "flagged" if self.is_flagged else ""


def placing_runs(alignment: AlignmentModel) -> list[Run]:
    """The newest finished scoring runs whose films the alignment placed."""
    scored = Run.objects.filter(kind=RunKind.SCORE, state=RunState.DONE, parent=None, detector__alignment=alignment)
    return list(scored.select_related("detector").order_by("-pk")[:RUNS_LISTED])


def is_placed(alignment: AlignmentModel, image: Image) -> bool:
    """Whether the alignment was fitted on the film, or a scoring run placed it by the alignment."""
    if Score.objects.filter(image=image, run__detector__alignment=alignment, run__state=RunState.DONE).exists():
        return True
    return str(image.uuid) in films.fitted_affines(alignment)


def aligned_films(alignment: AlignmentModel, placed_by: Run | None = None) -> list[AlignedFilm]:
    """The films of the alignment's own run, or of a scoring run that it `placed_by`; flagged ones that nobody has
    decided first. Empty where the run's folder is gone."""
    run = placed_by or alignment.run
    folder = run_bucket.here(run)
    try:
        rows = manifest.read(folder / "images.csv")
        at = ScoredFolder(folder).summary.flagged or () if placed_by else alignment.fit_report.flagged
    except (InvalidManifest, IncompleteJson, ResultsMissing):
        return []
    flagged = {rows[k].image for k in at if k < len(rows)}
    to_own = np.diag([_frame_of(run, alignment), _frame_of(run, alignment), 1.0])
    affines, decisions = films.placed_affines(run), current_decisions(alignment)
    by_name = {str(image.uuid): image for image in _images(list(affines))}
    aligned = [
        AlignedFilm(
            image=by_name[row.image],
            matrix=(np.vstack([affines[row.image], [0.0, 0.0, 1.0]]) @ to_own).ravel().tolist(),
            is_flagged=row.image in flagged,
            decision=decisions.get(by_name[row.image].pk),
        )
        for row in rows
        if row.image in by_name
    ]
    return sorted(aligned, key=lambda film: not (film.is_flagged and film.decision is None))


def _frame_of(run: Run, alignment: AlignmentModel) -> float:
    """The side of the run's frame, as its ratio to that of the alignment's own."""
    if run.detector is None:
        return 1.0
    return PipelineConfig.from_json(run.detector.config).alignment.size / films.frame_side(alignment)


def _images(uuids: Sequence[str]) -> list[Image]:
    rows: QuerySet[Image] = Image.objects.select_related("dataset__site")
    return [image for start in range(0, len(uuids), 500) for image in rows.filter(uuid__in=uuids[start : start + 500])]


@transaction.atomic
def decide(
    *, alignment: AlignmentModel, image: Image, verdict: str, author: User, matrix: Sequence[float] | None = None
) -> AffineDecision:
    """Decide of a film that the alignment places: `verdict` is accept, by hand (with the `matrix` (9),
    original_from_canonical in pixels of the alignment's frame, an affine) or exclude.

    Raises RunRefused, InvalidPlacement, PermissionDenied.
    """
    require(author, "align by hand", alignment.site)
    refuse_withheld(author, image)
    if verdict not in AffineVerdict.values:
        raise RunRefused(f"The verdict is “{verdict[:40]}”: it must be one of {', '.join(AffineVerdict.values)}.")
    if image.dataset.site_id != alignment.site_id:
        raise RunRefused("This film belongs to another site; choose one of this site.")
    affine, size = None, None
    if verdict == AffineVerdict.BY_HAND:
        if matrix is None:
            raise InvalidPlacement("A place by hand needs the transform: move the film first.")
        size = films.frame_side(alignment)
        placed = usable(matrix, side=size, film=(image.rows, image.columns), affine=True)
        affine = placed[:2].tolist()
    row = AffineDecision.objects.create(
        alignment=alignment, image=image, verdict=verdict, affine=affine, canonical_size=size, author=author
    )
    audit.record(
        verb="decide of alignment",
        site=alignment.site,
        actor=author,
        target=image,
        after={"alignment": str(alignment.uuid), "verdict": verdict},
    )
    return row
