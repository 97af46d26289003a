"""The results of a reader study: progress, agreement, what the model changed, and readers with and without it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import median
from typing import Any

import numpy as np
from django.core.exceptions import PermissionDenied

from analysis import statistics
from analysis.models import Reading, Stage, StudyReference, Verdict, Worklist, WorklistReader
from analysis.reading.reader_studies import readings_needed
from analysis.reading.study_reference import current_reference, reference_labels
from analysis.reading.worklist_summary import require_summary
from ml_engine.models import Score
from portal.models import User

STAGES = (Stage.UNAIDED, Stage.AIDED)
_RANK = {Verdict.NORMAL: 0.0, Verdict.UNSURE: 1.0, Verdict.ABNORMAL: 2.0}
NO_REFERENCE = "State first what the readers are compared with."
NOBODY = "No reader has read all films yet, without and with the model."


@dataclass(frozen=True)
class StudyData:
    """The readings of those who have read everything, as arrays: N films, R readers, stages without and with the model.

    ratings (N, R, 2) of 0 to 100 and ranks (N, R, 2) of verdicts, 0 normal, 1 unsure, 2 abnormal; labels (N,) of 0 and
    1, NaN without a label of the reference; flagged (N,) the model's calls of 0 and 1, and its scores (N,).
    """

    readers: list[User]
    images: list[str]
    patients: np.ndarray
    labels: np.ndarray
    ratings: np.ndarray
    ranks: np.ndarray
    flagged: np.ndarray
    scores: np.ndarray

    @property
    def calls(self) -> np.ndarray:
        """(N, R, 2) of 0 and 1, NaN for an unsure reading."""
        return np.where(self.ranks == 1, np.nan, self.ranks / 2)

    def labelled(self) -> "StudyData":
        """The films with a label."""
        kept = np.isfinite(self.labels)
        return StudyData(
            readers=self.readers,
            images=[image for image, keep in zip(self.images, kept, strict=True) if keep],
            patients=self.patients[kept],
            labels=self.labels[kept].astype(int),
            ratings=self.ratings[kept],
            ranks=self.ranks[kept],
            flagged=self.flagged[kept],
            scores=self.scores[kept],
        )


def require_study(user: User, worklist: Worklist) -> None:
    """Raises PermissionDenied, also for those who have yet to read the study, since its results show verdicts."""
    require_summary(user, worklist)
    begun = WorklistReader.objects.filter(worklist=worklist, reader=user).first()
    if begun is None and worklist.assignments.filter(reader=user).exists():
        raise PermissionDenied(
            "This study is assigned to you, and its results show the others' verdicts: read it first, or let somebody "
            "remove the assignment."
        )


def study_data(worklist: Worklist, labels: dict[int, int]) -> StudyData:
    items = list(worklist.items.filter(repeat=0).select_related("image").order_by("position"))
    place = {item.pk: row for row, item in enumerate(items)}
    readings = Reading.objects.filter(item__worklist=worklist, item__repeat=0).select_related("reader")
    by_reader: dict[int, list[Reading]] = defaultdict(list)
    for reading in readings.order_by("reader__username", "pk"):
        by_reader[reading.reader_id].append(reading)
    complete = [own for own in by_reader.values() if len(own) == len(STAGES) * len(items)]
    shape = (len(items), len(complete), len(STAGES))
    ratings, ranks = np.full(shape, np.nan), np.full(shape, np.nan)
    for column, own in enumerate(complete):
        for reading in own:
            assert reading.item_id is not None
            where = place[reading.item_id], column, STAGES.index(Stage(reading.stage))
            ratings[where] = reading.confidence
            ranks[where] = _RANK[Verdict(reading.verdict)]
    scores = dict(Score.objects.filter(run=worklist.run).values_list("image_id", "fused_score"))
    return StudyData(
        readers=[own[0].reader for own in complete],
        images=[str(item.image.uuid) for item in items],
        patients=np.array([item.image.patient_id for item in items], dtype=np.int64),
        labels=np.array([labels.get(item.image_id, np.nan) for item in items], dtype=np.float64),
        ratings=ratings,
        ranks=ranks,
        flagged=np.array([item.flagged for item in items], dtype=np.float64),
        scores=np.array([scores.get(item.image_id) for item in items], dtype=np.float64),
    )


def study_results(worklist: Worklist) -> dict[str, Any]:
    """JSON. Until a reference is stated and a reader is complete, `with_reference` is None and `why_not` a sentence."""
    reference = current_reference(worklist)
    labels, left_out = reference_labels(reference) if reference is not None else ({}, {})
    data = study_data(worklist, labels)
    why_not = NO_REFERENCE if reference is None else "" if data.readers else NOBODY
    return {
        "design": worklist.design,
        "films": len(data.images),
        "repeats": worklist.items.filter(repeat__gt=0).count(),
        "progress": progress(worklist),
        "complete": [name_of(reader) for reader in data.readers],
        "agreement": agreement(data),
        "repeat_kappa": repeat_kappas(worklist),
        "reference": reference_json(reference, labels, left_out),
        "why_not": why_not,
        "with_reference": None if why_not else with_reference(data.labelled()),
    }


def reference_json(
    reference: StudyReference | None, labels: dict[int, int], left_out: dict[str, int]
) -> dict[str, Any] | None:
    if reference is None:
        return None
    return {
        "source": reference.get_source_display(),
        "statement": reference.statement,
        "label_cutoff": reference.label_cutoff.isoformat(),
        "stated_by": name_of(reference.stated_by),
        "stated_at": reference.created_at.isoformat(),
        "version": reference.worklist.references.filter(pk__lte=reference.pk).count(),
        "abnormal": sum(labels.values()),
        "normal": len(labels) - sum(labels.values()),
        "left_out": left_out,
    }


def name_of(person: User) -> str:
    return person.get_full_name() or person.username


def progress(worklist: Worklist) -> list[dict[str, Any]]:
    """A row for each person who is assigned or has begun."""
    films = worklist.items.filter(repeat=0).count()
    needed = readings_needed(films, worklist.items.filter(repeat__gt=0).count())
    readings = Reading.objects.filter(item__worklist=worklist).order_by("pk")
    own: dict[int, list[Reading]] = defaultdict(list)
    for reading in readings.defer("boxes", "findings", "comment"):
        own[reading.reader_id].append(reading)
    begun = {row.reader_id: row for row in worklist.readers.select_related("reader")}
    people = {row.reader_id: row.reader for row in worklist.assignments.select_related("reader")}
    people |= {pk: row.reader for pk, row in begun.items()}
    return [
        {
            "reader": name_of(person),
            "username": person.username,
            "state": _state(begun.get(pk), len(own[pk]), needed),
            "first_stage": begun[pk].first_stage if pk in begun else "",
            "readings": len(own[pk]),
            "needed": needed,
            "median_seconds": {stage.value: _median_seconds(own[pk], stage) for stage in STAGES},
            "model_seen_before": sum(r.model_shown for r in own[pk] if r.stage == Stage.UNAIDED),
            "label_seen_before": sum(r.label_shown for r in own[pk] if r.stage == Stage.UNAIDED),
        }
        for pk, person in sorted(people.items(), key=lambda entry: entry[1].username)
    ]


def _state(begun: WorklistReader | None, readings: int, needed: int) -> str:
    if begun is None:
        return "not begun"
    if readings >= needed:
        return "complete"
    return "handed back" if begun.handed_back_at is not None else "reading"


def _median_seconds(readings: Sequence[Reading], stage: Stage) -> float | None:
    seconds = [reading.active_seconds for reading in readings if reading.stage == stage]
    return median(seconds) if seconds else None


# Agreement ---------------------------------------------------------------------------------------------------


def agreement(data: StudyData) -> dict[str, Any]:
    """By stage: alpha of all verdicts and ratings, and kappa of each pair of readers, unweighted, of three verdicts."""
    return {
        stage.value: {
            "verdicts": asdict(statistics.krippendorff_alpha(data.ranks[:, :, k], level="nominal")),
            "ratings": asdict(statistics.krippendorff_alpha(data.ratings[:, :, k], level="interval")),
            "pairs": [
                {
                    "readers": [name_of(data.readers[one]), name_of(data.readers[two])],
                    **_kappa_json(
                        statistics.cohen_kappa(
                            data.ranks[:, one, k], data.ranks[:, two, k], categories=list(_RANK.values())
                        )
                    ),
                }
                for one, two in combinations(range(len(data.readers)), 2)
            ],
        }
        for k, stage in enumerate(STAGES)
    }


def repeat_kappas(worklist: Worklist) -> list[dict[str, Any]]:
    """Kappa of each reader's two readings without the model of the films that were shown twice."""
    both: dict[str, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    readings = Reading.objects.filter(
        item__worklist=worklist,
        stage=Stage.UNAIDED,
        image__in=worklist.items.filter(repeat__gt=0).values("image_id"),
    ).select_related("item", "reader")
    for reading in readings.order_by("reader__username", "pk"):
        assert reading.item is not None
        both[name_of(reading.reader)][reading.image_id][reading.item.repeat] = _RANK[Verdict(reading.verdict)]
    rows = []
    for reader, films in both.items():
        pairs = [(film[1], film[0]) for film in films.values() if len(film) == 2]
        first, second = ([pair[k] for pair in pairs] for k in (0, 1))
        kappa = statistics.repeat_kappa(first, second, categories=list(_RANK.values()))
        rows.append({"reader": reader, **_kappa_json(kappa)})
    return rows


def _kappa_json(kappa: statistics.Kappa) -> dict[str, Any]:
    return {name: getattr(kappa, name) for name in ("kappa", "low", "high", "observed", "films", "reason")}


# With a reference --------------------------------------------------------------------------------------------


def with_reference(data: StudyData) -> dict[str, Any]:
    """JSON, of films with a label: the model, the readers with it and without it, and what it changed."""
    difference = statistics.multi_reader_difference(
        data.labels, data.ratings[:, :, 1], data.ratings[:, :, 0], data.patients
    )
    points = [statistics.reader_points(data.labels, data.calls[:, :, k], data.patients) for k in (0, 1)]
    return {
        "model": asdict(statistics.auroc_interval(data.labels, data.scores, data.patients)),
        "model_point": asdict(statistics.reader_points(data.labels, data.flagged[:, None], data.patients)[0]),
        "mean": asdict(difference.mean),
        "random": asdict(difference.random),
        "fixed": asdict(difference.fixed),
        "unaided": asdict(difference.second.mean),
        "aided": asdict(difference.first.mean),
        "components": asdict(difference.components) if difference.components is not None else None,
        "left_out": difference.left_out,
        "readers": [
            {
                "reader": name_of(reader),
                "unaided": asdict(difference.second.by_reader[column]),
                "aided": asdict(difference.first.by_reader[column]),
                "difference": asdict(difference.by_reader[column]),
                "point_unaided": asdict(points[0][column]),
                "point_aided": asdict(points[1][column]),
            }
            for column, reader in enumerate(data.readers)
        ],
        "bias": bias(data),
    }


def bias(data: StudyData) -> dict[str, Any]:
    """JSON: right to wrong and wrong to right with the model, over all readers, by whether the model was right."""
    readers = len(data.readers)
    changed = statistics.automation_bias(
        np.repeat(data.labels, readers),
        data.calls[:, :, 0].ravel(),
        data.calls[:, :, 1].ravel(),
        np.repeat(data.flagged, readers),
        np.repeat(data.patients, readers),
    )
    return asdict(changed)
