"""What people agree on for the films of a scored run, with the chance that each film had of being read.

A film was read because it scored high, so each verdict is weighted by the inverse of the probability with which some
worklist drew the film and it has been read since. Curators' labels are of films that nobody drew: their weight is 1.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from analysis.evaluation.score_kinds import FIELDS
from analysis.models import Reading, ScoreKind, Verdict, Worklist, WorklistItem
from ml_engine.models import ReadSource, Run, Score
from ml_engine.runs.confirmed_reads import LABELS, READINGS, ConfirmedRead, GatheredReads
from portal.labels.events import labels_at
from portal.models import Image, LabelValue, SplitImage

SURE = (Verdict.NORMAL, Verdict.ABNORMAL)
DIFFER = "on which people differ: settle the label first"
UNSURE = "on which nobody is sure"


@dataclass
class _Opinions:
    """What people said of a film."""

    readings: set[str] = field(default_factory=set)
    blinded: bool = False  # at least one of the readings was made without the model
    label: str = ""

    @property
    def sure(self) -> set[str]:
        return {value for value in {*self.readings, self.label} if value in SURE}


def gather(scored: Run, sources: Collection[str]) -> GatheredReads:
    """The verdicts on the films that `scored` scored, from `sources`. Films on which people differ are left out."""
    scored_films = Score.objects.filter(run=scored, error="")
    opinions: dict[int, _Opinions] = defaultdict(_Opinions)
    if READINGS in sources:
        for reading in _last_readings(scored_films.values("image")):
            opinions[reading.image_id].readings.add(reading.verdict)
            opinions[reading.image_id].blinded |= not reading.model_shown
    if LABELS in sources:
        labels = labels_at(scored_films.values_list("image_id", flat=True), timezone.now())
        for image, label in labels.items():
            if label.value in (LabelValue.NORMAL, LabelValue.ABNORMAL):
                opinions[image].label = label.value
    left_out: Counter[str] = Counter()
    verdicts: dict[int, str] = {}
    for image, of_film in opinions.items():
        if len(of_film.sure) == 1:
            verdicts[image] = next(iter(of_film.sure))
        else:
            left_out[DIFFER if of_film.sure else UNSURE] += 1
    read = [image for image in verdicts if not opinions[image].label]
    chances = reading_probabilities(read)
    reads = [
        ConfirmedRead(
            image=image,
            verdict=verdict,
            source=_source(opinions[image]),
            weight=1 / chances.get(image, 1.0),
            model_shown=bool(opinions[image].readings) and not opinions[image].blinded,
        )
        for image, verdict in sorted(verdicts.items())
    ]
    return GatheredReads(tuple(reads), dict(left_out))


def _source(of_film: _Opinions) -> ReadSource:
    if not of_film.readings & set(SURE):
        return ReadSource.LABEL
    return ReadSource.BLINDED if of_film.blinded else ReadSource.ASSISTED


def _last_readings(images: QuerySet[Score, Any]) -> Iterable[Reading]:
    """Each reader's last reading of each film: in a reader study, that with the model replaces that without it."""
    rows = Reading.objects.filter(item__isnull=False, item__repeat=0, replaced_by__isnull=True, image__in=images)
    last = {(reading.reader_id, reading.image_id): reading for reading in rows.order_by("created_at", "pk")}
    return last.values()


def reading_probabilities(images: Collection[int]) -> dict[int, float]:
    """The probability with which each of these films was drawn by some worklist and read, by primary key.

    Worklists draw independently of each other, so it is 1 - prod(1 - p) over all worklists whose films were drawn from
    scores that include the film. p is the sampling probability times the share of the drawn films of its kind, flagged
    or unflagged, that are read: films are read in random order.
    """
    wanted = set(images)
    lists = Worklist.objects.filter(items__readings__image__in=wanted).distinct().select_related("run__detector__split")
    missed = dict.fromkeys(wanted, 1.0)
    for worklist in lists:
        for image, probability in _probabilities(worklist, wanted).items():
            missed[image] *= 1 - probability
    return {image: 1 - chance for image, chance in missed.items()}


def _probabilities(worklist: Worklist, wanted: Collection[int]) -> dict[int, float]:
    """The probability with which the worklist drew each of these films, and it was read."""
    items = list(WorklistItem.objects.filter(worklist=worklist, repeat=0))
    done = Reading.objects.filter(item__worklist=worklist, item__repeat=0)
    done_items = set(done.values_list("item_id", flat=True))
    drawn = Counter(item.flagged for item in items)
    read = Counter(item.flagged for item in items if item.pk in done_items)
    share = {flagged: read[flagged] / count for flagged, count in drawn.items()}
    own = {item.image_id: item.sampling_probability * share[item.flagged] for item in items}
    frame = _frame(worklist)
    per_patient = _films_per_patient(frame) if worklist.design else {}
    probabilities = {}
    for image in wanted:
        if image in own:
            probabilities[image] = own[image]
        elif image in frame:
            flagged = frame[image] >= worklist.threshold
            counts = worklist.counts["flagged" if flagged else "unflagged"]
            chance = counts["drawn"] / counts["films"] if counts["films"] else 0.0
            probabilities[image] = chance * share.get(flagged, 0.0) / per_patient.get(image, 1)
    return probabilities


def _frame(worklist: Worklist) -> dict[int, float]:
    """The scores of the films that the worklist was drawn from."""
    rows = Score.objects.filter(run=worklist.run, error="")
    if worklist.parts and worklist.run.detector is not None:
        members = SplitImage.objects.filter(member__split=worklist.run.detector.split, member__part__in=worklist.parts)
        rows = rows.filter(image_id__in=members.values("image_id"))
    scores = rows.values_list("image_id", FIELDS[ScoreKind(worklist.score)])
    return {image: score for image, score in scores if score is not None}


def _films_per_patient(frame: Mapping[int, float]) -> dict[int, int]:
    """Of each film, how many films of its patient a reader study drew one from."""
    patients = dict(Image.objects.filter(pk__in=frame).values_list("pk", "patient_id"))
    count = Counter(patients.values())
    return {image: count[patient] for image, patient in patients.items()}
