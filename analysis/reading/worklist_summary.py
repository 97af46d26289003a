"""The summary of a worklist's readings: of the films read, and estimates for all scored films they were drawn from."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from statistics import median
from typing import Any

import numpy as np
from django.core.exceptions import PermissionDenied

from analysis import statistics
from analysis.models import Escalation, Reading, Reason, Stage, Verdict, Worklist, WorklistItem, WorklistReader
from analysis.reading.verdicts import agrees, usable_as_reference, why_no_reference
from analysis.reading.worklists import begun_by, unread
from portal.models import User
from portal.people.access import require

_RANK = {Verdict.NORMAL: 0.0, Verdict.UNSURE: 1.0, Verdict.ABNORMAL: 2.0}
NO_REASON = "nothing to note"


@dataclass(frozen=True)
class FilmVerdict:
    """The verdict on which the readers of a film agree: normal or abnormal."""

    patient: int
    abnormal: bool
    flagged: bool
    probability: float


def require_summary(user: User, worklist: Worklist) -> None:
    """Raises PermissionDenied, also while the person still reads this worklist: the summary shows the others' verdicts
    and which films are flagged."""
    require(user, "make worklists", worklist.run.site)
    begun = begun_by(worklist, user)
    if begun is None:
        return
    begun.worklist = worklist
    left = len(unread(begun))
    if left:
        raise PermissionDenied(
            f"You have {left} film{'' if left == 1 else 's'} of this worklist left to read, and the summary "
            "shows which are flagged: read them first, or hand the worklist back."
        )


def readings_of(worklist: Worklist) -> list[Reading]:
    """The current readings of every reader, by reader and then by time."""
    return list(
        _current(worklist)
        .select_related("item__worklist", "image", "reader", "adjudication_proposal")
        .order_by("reader_id", "created_at", "pk")
    )


def counted_readings(worklist: Worklist) -> list[Reading]:
    """Those of `readings_of` that the summary counts: in a reader study, of the showing that counts, without the
    model."""
    return [
        reading
        for reading in readings_of(worklist)
        if reading.stage != Stage.AIDED and reading.item is not None and not reading.item.repeat
    ]


def _current(worklist: Worklist) -> Any:
    return Reading.objects.filter(item__worklist=worklist, replaced_by__isnull=True)


def summarise(worklist: Worklist) -> dict[str, Any]:
    """JSON: progress, agreement by reason, estimates with intervals, kappa, times, escalations."""
    readings = counted_readings(worklist)
    drawn = {kind: worklist.counts[kind] for kind in ("flagged", "unflagged")}
    films = sum(int(of["drawn"]) for of in drawn.values())
    verdicts, left_out = film_verdicts(worklist, readings)
    return {
        "films": films,
        "readers": _progress(worklist, readings, films),
        "read": len({reading.item_id for reading in readings}),
        "readings": len(readings),
        "corrected": Reading.objects.filter(item__worklist=worklist, replaces__isnull=False).count(),
        "by_reason": by_reason(readings),
        "estimates": estimates(
            verdicts,
            {kind == "flagged": int(of["drawn"]) for kind, of in drawn.items()},
            {kind == "flagged": int(of["films"]) for kind, of in drawn.items()},
        ),
        "left_out": left_out,
        "kappa": kappas(readings),
        "escalations": Escalation.objects.filter(item__worklist=worklist).count(),
        "escalations_open": Escalation.objects.filter(item__worklist=worklist, answer__isnull=True).count(),
        **_references(readings),
    }


def _references(readings: Sequence[Reading]) -> dict[str, Any]:
    """How many readings can serve as reference labels, how many of these are unverified, and why the others cannot."""
    usable = usable_as_reference(readings)
    others = [reading for reading in readings if reading.pk not in usable]
    return {
        "usable_as_reference": len(usable),
        "usable_unverified": sum(reading.pk in usable and not reading.exposure_known for reading in readings),
        "not_usable": dict(Counter(why_no_reference(reading, usable=False).split(";")[0] for reading in others)),
    }


def _progress(worklist: Worklist, readings: Sequence[Reading], films: int) -> list[dict[str, Any]]:
    by_reader: dict[int, list[Reading]] = defaultdict(list)
    for reading in readings:
        by_reader[reading.reader_id].append(reading)
    rows = []
    for begun in WorklistReader.objects.filter(worklist=worklist).select_related("reader").order_by("pk"):
        own = by_reader[begun.reader_id]
        active = [reading.active_seconds for reading in own]
        rows.append(
            {
                "reader": begun.reader.get_full_name() or begun.reader.username,
                "read": len(own),
                "films": films,
                "median_active_seconds": median(active) if own else None,
                "active_minutes": sum(active) / 60,
                "total_minutes": sum(reading.total_seconds for reading in own) / 60,
                "heatmap_shown": sum(reading.heatmap_shown for reading in own),
            }
        )
    return rows


def by_reason(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """Reason -> readings of flagged and of unflagged films that agree with the model, disagree, or are unsure."""
    counts: Counter[tuple[str, bool, bool | None]] = Counter()
    for reading in readings:
        assert reading.item is not None
        agree = agrees(flagged=reading.item.flagged, verdict=reading.verdict)
        counts[reading.reason or NO_REASON, reading.item.flagged, agree] += 1
    words: dict[bool | None, str] = {True: "agree", False: "disagree", None: "unsure"}
    rows = []
    for reason in [*Reason.values, NO_REASON]:
        row = {
            kind: {words[agree]: counts[reason, flagged, agree] for agree in words}
            for kind, flagged in (("flagged", True), ("unflagged", False))
        }
        total = sum(sum(part.values()) for part in row.values())
        if total:
            rows.append({"reason": reason, "total": total, **row})
    return rows


def film_verdicts(worklist: Worklist, readings: Sequence[Reading]) -> tuple[list[FilmVerdict], dict[str, int]]:
    """One verdict per film read, and the number of films without one, by reason: readers differ, or all are unsure."""
    by_item: dict[int, set[str]] = defaultdict(set)
    for reading in readings:
        assert reading.item_id is not None
        by_item[reading.item_id].add(reading.verdict)
    verdicts: list[FilmVerdict] = []
    left_out: Counter[str] = Counter()
    for item in WorklistItem.objects.filter(pk__in=by_item, worklist=worklist).select_related("image"):
        sure = by_item[item.pk] - {Verdict.UNSURE}
        if len(sure) != 1:
            left_out["readers differ" if sure else "unsure"] += 1
            continue
        abnormal = sure == {Verdict.ABNORMAL}
        verdicts.append(FilmVerdict(item.image.patient_id, abnormal, item.flagged, item.sampling_probability))
    return verdicts, dict(left_out)


def estimates(verdicts: Sequence[FilmVerdict], drawn: Mapping[bool, int], scored: Mapping[bool, int]) -> dict[str, Any]:
    """JSON: shares of all scored films (Hájek estimator), {} without a verdict. `drawn` and `scored` are numbers of
    flagged (True) and unflagged (False) films: in the worklist, and in the films that it was drawn from.

    A film represents 1 / π scored films. π is its sampling probability times the share of the drawn films of its kind,
    flagged or unflagged, that have a verdict: films are read in random order, so those read represent the rest.
    """
    if not verdicts:
        return {}
    labels = np.array([verdict.abnormal for verdict in verdicts], dtype=int)
    flagged = np.array([verdict.flagged for verdict in verdicts], dtype=int)
    patients = np.array([verdict.patient for verdict in verdicts], dtype=np.int64)
    judged = Counter(bool(flag) for flag in flagged)
    probabilities = np.array(
        [verdict.probability * judged[verdict.flagged] / drawn[verdict.flagged] for verdict in verdicts]
    )

    def rates(truth: Any, called: Any) -> statistics.SampledRates:
        return statistics.sampled_rates(truth, called, patients, probabilities=probabilities)

    def among(kind: bool, counted: Any) -> dict[str, Any]:
        """The share of the `counted` films among the flagged (True) or unflagged (False) films."""
        if not judged[kind]:
            return asdict(_none("None of these films has a verdict."))
        return asdict(rates(counted, flagged if kind else 1 - flagged).positive_predictive_value)

    everything = rates(labels, flagged)
    unknown = [kind for kind in (True, False) if scored[kind] and not judged[kind]]
    if unknown:  # the verdicts on films of the other kind do not apply to these
        word = "flagged" if unknown[0] else "unflagged"
        why = f"None of the {scored[unknown[0]]} {word} films has a verdict, so nothing can be estimated for all films."
        everything = replace(everything, prevalence=_none(why), sensitivity=_none(why))
    return {
        "abnormal_among_flagged": among(True, labels),
        "false_alarms_among_flagged": among(True, 1 - labels),
        "abnormal_among_unflagged": among(False, labels),
        "abnormal": asdict(everything.prevalence),
        "sensitivity": asdict(everything.sensitivity),
        "judged": {"flagged": judged[True], "unflagged": judged[False]},
        "patients": everything.patients,
        "represented": everything.represented,
    }


def _none(reason: str) -> statistics.Estimate:
    return statistics.Estimate(None, None, None, reason)


def kappas(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """Cohen's kappa of each pair of readers on the films that both read, unweighted: normal, unsure, abnormal."""
    readers: dict[int, dict[int, float]] = defaultdict(dict)
    name_of: dict[int, str] = {}
    for reading in readings:
        assert reading.item_id is not None
        readers[reading.reader_id][reading.item_id] = _RANK[Verdict(reading.verdict)]
        name_of[reading.reader_id] = reading.reader.get_full_name() or reading.reader.username
    rows = []
    for first, second in combinations(sorted(readers), 2):
        both = sorted(readers[first].keys() & readers[second].keys())
        kappa = statistics.cohen_kappa(
            [readers[first][item] for item in both],
            [readers[second][item] for item in both],
            categories=list(_RANK.values()),
        )
        rows.append(
            {
                "readers": [name_of[first], name_of[second]],
                "films": kappa.films,
                "kappa": kappa.kappa,
                "low": kappa.low,
                "high": kappa.high,
                "observed_percent": None if kappa.observed is None else 100 * kappa.observed,
                "reason": kappa.reason,
            }
        )
    return rows
