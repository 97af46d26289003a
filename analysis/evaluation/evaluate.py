"""A scored run and a label cut-off -> an Evaluation.

An evaluation uses the split that its detector was fitted on. Making an evaluation is a look at the test part, and so
is moving the fusion weight there: each look is counted.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from analysis import statistics
from analysis.evaluation.analysis_plan import why_sealed
from analysis.evaluation.looks import CannotEvaluate, look_once
from analysis.evaluation.memory_cache import MemoryCache
from analysis.evaluation.run_results import results_of
from analysis.figures.palette import Kind
from analysis.models import Evaluation, ScoreKind, TestLook
from ml_engine.models import Run, RunKind, RunState, Score
from portal.labels.events import labels_at
from portal.labels.resolving import Label
from portal.models import LabelValue, Part, Split, SplitImage, User
from portal.people import audit
from portal.people.access import require
from portal.sets.film_copies import FilmCopies
from portal.sets.training_films import patients_of_model

EVALUATED_PARTS = (Part.TUNE, Part.TEST)  # the parts that hold abnormal films
TRAINED = "of patients whose films trained the semi-supervised head"
STEPS = 100  # the stored sweep has a score for each hundredth of the fusion weight


def is_stored(weight: float) -> bool:
    """Whether a run stores its films' scores at this weight: it stores them at 0, 0.01 … 1."""
    return 0 <= weight <= 1 and abs(weight * STEPS - round(weight * STEPS)) < 1e-9


@dataclass(frozen=True)
class ScoredPart:
    """The films of one part that have a score and the label normal or abnormal at the cut-off.

    `images` are the films' UUIDs; labels (N,) int8, 1 is abnormal; patients (N,) int64; sweep (N, 101) float32, each
    film's fused score at the weights 0, 0.01 … 1; rows (N,) int64, each film's row in the run's arrays. `left_out`
    counts the other films of the part, by reason.
    """

    part: str
    images: list[str]
    labels: NDArray[np.int8]
    patients: NDArray[np.int64]
    sweep: NDArray[np.float32]
    left_out: dict[str, int]
    rows: NDArray[np.int64]
    kind: str = ScoreKind.ONE_CLASS  # combined: `sweep` holds the combined score of a semi-supervised head throughout

    @cached_property
    def digest(self) -> bytes:
        """BLAKE2b of everything that statistics are computed from."""
        content = hashlib.blake2b(digest_size=16)
        content.update("".join(self.images).encode())
        for array in (self.labels, self.patients, self.sweep):
            content.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return content.digest()

    def scores_at(self, weight: float) -> NDArray[np.float32]:
        """(N,) fused scores at a weight of 0, 0.01 … 1."""
        return self.sweep[:, round(weight * STEPS)]


def evaluate(*, run: Run, author: User, label_cutoff: datetime | None = None) -> Evaluation:
    """The evaluation of a scored run at a cut-off, by default that of its split: made at the first call, fetched at
    later ones. While the test part is sealed it covers tune alone; a call after that adds test. Raises CannotEvaluate.
    """
    require(author, "evaluate runs", run.site)
    if run.kind != RunKind.SCORE or run.state != RunState.DONE or run.detector is None:
        raise CannotEvaluate(f"The run {run.name!r} has no scores; choose a scoring run that is done.")
    split = run.detector.split
    cutoff = label_cutoff or split.label_cutoff
    evaluation = Evaluation.objects.filter(run=run, split=split, label_cutoff=cutoff).first()
    parts = _parts_scored(run, split)
    sealed = why_sealed(split) if Part.TEST in parts else ""
    if sealed:
        parts.remove(Part.TEST)
    missing = [part for part in parts if evaluation is None or part not in evaluation.metrics["parts"]]
    if evaluation and not missing:
        return evaluation
    if not parts:
        raise CannotEvaluate(
            sealed
            or f"The run {run.name!r} scored no film of tune or test of the split {split.name!r}; score these parts."
        )
    with results_of(run) as folder:
        weight, source = folder.summary.fusion_weight, folder.summary.fusion_source
    if not is_stored(weight):
        raise CannotEvaluate(
            f"The run {run.name!r} has the fusion weight {weight:g}, and its scores are kept at "
            "hundredths only; fit its detector with a weight such as 0.33 or 0.6 and score again."
        )
    summaries = {part: summarise(scored_part(run, part=part, cutoff=cutoff), weight=weight) for part in missing}
    return _add(run, author, cutoff, summaries, weight=weight, weight_source=source)


@transaction.atomic
def _add(
    run: Run, author: User, cutoff: datetime, summaries: dict[str, Any], *, weight: float, weight_source: str
) -> Evaluation:
    """Save the summaries of the parts that the evaluation does not cover yet."""
    assert run.detector is not None
    split = run.detector.split
    evaluation, is_new = Evaluation.objects.select_for_update(of=("self",), no_key=True).get_or_create(
        run=run,
        split=split,
        label_cutoff=cutoff,
        defaults={
            "metrics": {"parts": {}, "weight": weight, "weight_source": weight_source},
            "created_by": author,
        },
    )
    new = {part: summary for part, summary in summaries.items() if part not in evaluation.metrics["parts"]}
    if not new:
        return evaluation
    evaluation.metrics["parts"] |= new
    evaluation.save(update_fields=["metrics"])
    if Part.TEST in new:
        look_once(split=split, author=author, reason="evaluation made", run=run, evaluation=evaluation, weight=weight)
    verb = "evaluate run" if is_new else "evaluate test"
    audit.record(verb=verb, site=run.site, actor=author, target=evaluation)
    return evaluation


def is_test_unseen(evaluation: Evaluation) -> bool:
    """Whether the run scored test films that the evaluation does not cover, since test was sealed when it was made."""
    return Part.TEST not in evaluation.metrics["parts"] and Part.TEST in _parts_scored(evaluation.run, evaluation.split)


def _parts_scored(run: Run, split: Split) -> list[str]:
    """Those of the evaluated parts of which the run has a film, including films that it could not score."""
    scored = SplitImage.objects.filter(member__split=split, image__scores__run=run)
    parts = set(scored.values_list("member__part", flat=True).distinct())
    return [part for part in EVALUATED_PARTS if part in parts]


def look_at_weight(*, evaluation: Evaluation, author: User, weight: float) -> TestLook | None:
    """Count a look at test at another fusion weight, unless it was counted before; the caller draws the figures after
    it."""
    return look_once(
        split=evaluation.split,
        author=author,
        reason="fusion weight moved on test",
        run=evaluation.run,
        evaluation=evaluation,
        weight=weight,
    )


CLASSES: dict[str, int] = {LabelValue.NORMAL: 0, LabelValue.ABNORMAL: 1}


def scored_part(run: Run, *, part: str, cutoff: datetime, classes: Mapping[str, int] = CLASSES) -> ScoredPart:
    """The scored films of `part` whose label is a key of `classes`, which maps it to 1 (abnormal) or 0 (normal). Raises
    CannotEvaluate when the run's folder is gone."""
    assert run.detector is not None
    members = SplitImage.objects.filter(member__split=run.detector.split, member__part=part)
    patient_of = dict(members.values_list("image_id", "member__patient_id"))
    labels = labels_at(patient_of, cutoff)
    scores = list(
        Score.objects.filter(run=run, image_id__in=members.values("image_id")).select_related("image").order_by("row")
    )
    return labelled_part(run, part, scores, patient_of=patient_of, labels=labels, classes=classes)


def labelled_part(
    run: Run,
    part: str,
    scores: Sequence[Score],
    *,
    patient_of: Mapping[int, int],
    labels: Mapping[int, Label],
    classes: Mapping[str, int] = CLASSES,
) -> ScoredPart:
    """Those of the scored films that can be used, from scores with their `image`, and by primary key of a film its
    patient and its label; films of `patient_of` without a score are counted. Raises as `scored_part`."""
    left_out: Counter[str] = Counter()
    left_out["not scored by this run"] = len(patient_of) - len(scores)
    trained_on: set[int] = set()
    if run.head:
        trained_on = FilmCopies(run.site).patients_joined_with(patients_of_model(run.head.uuid))
    kept = []
    for score in scores:
        if patient_of[score.image_id] in trained_on:
            left_out[TRAINED] += 1
            continue
        label = labels.get(score.image_id)
        if label is None or label.value not in classes:
            left_out[label.value if label else "unlabelled"] += 1
        elif score.error:
            left_out["unreadable"] += 1
        else:
            kept.append(score)
    return ScoredPart(
        part=part,
        images=[str(score.image.uuid) for score in kept],
        labels=np.array([classes[labels[score.image_id].value] for score in kept], dtype=np.int8),
        patients=np.array([patient_of[score.image_id] for score in kept], dtype=np.int64),
        sweep=sweep_rows(run, np.array([score.row for score in kept], dtype=np.int64)),
        left_out={reason: count for reason, count in left_out.items() if count},
        rows=np.array([score.row for score in kept], dtype=np.int64),
    )


def parts_at(run: Run, rows: NDArray[np.int64], *, weight: float) -> NDArray[np.float32] | None:
    """(N, 2) `mean_z` and `top_z` of the films at these rows of the run's arrays, at a weight of 0, 0.01 … 1: the mean
    of all patches and of the highest 1 %, each standardised by the calibration normals. None if the engine of the run
    did not write them. Raises CannotEvaluate when the run's folder is gone."""
    with results_of(run) as folder:
        folder.check_there()
        if not folder.has_parts:
            return None
        return np.asarray(folder.array("parts")[rows][:, :, round(weight * STEPS)], dtype=np.float32)


def sweep_rows(run: Run, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N, 101) float32: scores of these rows of the run at each stored weight. Raises CannotEvaluate when the run's
    folder is gone."""
    with results_of(run) as folder:
        return np.asarray(folder.array("sweep")[rows], dtype=np.float32)


def summarise(scored: ScoredPart, *, weight: float) -> dict[str, Any]:
    """Counts, the three AUROCs at `weight` with their intervals, and for tune the best weight, if it can be chosen."""
    sweep = sweep_of(scored)
    summary: dict[str, Any] = {
        "normal": int((scored.labels == 0).sum()),
        "abnormal": int((scored.labels == 1).sum()),
        "patients": len(np.unique(scored.patients)),
        "left_out": scored.left_out,
        "auroc": {kind: asdict(auroc) for kind, auroc in aurocs(scored, sweep, weight=weight).items()},
    }
    if scored.part == Part.TUNE:
        summary["chosen_weight"] = None if sweep.reason else statistics.choose_weight(sweep)
    return summary


_statistics = MemoryCache(256)  # a few kilobytes each


def clear_memory() -> None:
    """Empty the cache of this process. For tests and benchmarks."""
    _statistics.clear()


def cache_statistics(
    scored: ScoredPart, *, weight: float, sweep: statistics.FusionSweep, band: statistics.RocBand
) -> None:
    """Put the stored statistics of a part into the cache of this process."""
    _statistics.put(("sweep", scored.digest), sweep)
    _statistics.put(("band", scored.digest, round(weight * STEPS)), band)


def sweep_of(scored: ScoredPart) -> statistics.FusionSweep:
    def compute() -> statistics.FusionSweep:
        return statistics.fusion_sweep(scored.labels, scored.sweep, scored.patients)

    return _statistics.get_or_compute(("sweep", scored.digest), compute)


def band_of(scored: ScoredPart, *, weight: float) -> statistics.RocBand:
    def compute() -> statistics.RocBand:
        return statistics.roc_band(scored.labels, scored.scores_at(weight), scored.patients)

    return _statistics.get_or_compute(("band", scored.digest, round(weight * STEPS)), compute)


def aurocs(scored: ScoredPart, sweep: statistics.FusionSweep, *, weight: float) -> dict[Kind, statistics.Auroc]:
    """Kind of score -> its AUROC: global is the weight 0, region the weight 1. The intervals use the scale of the sweep
    (logit or not), so that the table and the sweep show the same interval for the same AUROC."""
    weights: dict[Kind, float] = {"global": 0.0, "region": 1.0, "fused": weight}
    return {
        kind: statistics.auroc_interval(scored.labels, scored.scores_at(at), scored.patients, logit=sweep.logit)
        for kind, at in weights.items()
    }


def parts_of(evaluation: Evaluation) -> list[str]:
    """The evaluated parts, tune before test: a database may store the keys of a JSON value in any order."""
    return [part for part in EVALUATED_PARTS if part in evaluation.metrics["parts"]]


def chosen_on_tune(evaluation: Evaluation) -> float | None:
    weight: float | None = evaluation.metrics["parts"].get(Part.TUNE, {}).get("chosen_weight")
    return weight


def why_none_chosen(evaluation: Evaluation) -> str:
    """Why `chosen_on_tune` is None, for the user."""
    tune = evaluation.metrics["parts"].get(Part.TUNE)
    if tune is None:
        return "This run did not score tune, so no best weight can be chosen there."
    return f"No best weight can be chosen on tune. {tune['auroc']['fused']['reason']}"
