"""Splits: patients assigned to parts at a label cut-off. A split is frozen when it is created."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.imaging.views import FRONTAL
from portal.labels.events import labels_at
from portal.labels.resolving import Label
from portal.models import (
    AuditEvent,
    Cohort,
    CohortImage,
    Dataset,
    Image,
    LabelEvent,
    LabelOrigin,
    LabelValue,
    Part,
    QueueImage,
    ScreeningQueue,
    Site,
    Split,
    SplitImage,
    SplitMember,
    User,
)
from portal.people import audit, blinding
from portal.people.access import require
from portal.sets.approvals import why_ended
from portal.sets.cohorts import ADDED_BY_SCORE
from portal.sets.film_copies import FilmCopies
from portal.sets.patient_draw import (
    NORMALS_ONLY,
    TRAIN_FRACTIONS,
    FilmNumbers,
    InvalidFractions,
    TooFewPatients,
    check_fractions,
    draw_numbers,
    draw_parts,
    draw_train,
    keep_out_of_calibrate,
)
from portal.sets.same_person import parts_by_person
from portal.sets.training_films import out_of_test

LEARNED_FROM = frozenset({Part.ALIGN, Part.FIT})
FURTHER_COPY = "further copy of a film in the split"
MINED = "in test, with a label that software mined from a report"
ONE_EACH = "further film of a patient, of whom one is taken"
CONTRADICTING = "copy of a film with another label"
ALL_FRONTAL = "frontal"  # all films but those of another view
DEFAULT_FRACTIONS = {"fit": 0.45, "tune": 0.15, "calibrate": 0.2, "test": 0.2}


class InvalidSplit(Exception):
    """The message is shown to the user."""


@dataclass(frozen=True, kw_only=True)
class SplitRequest:
    """The parameters of a split, drawn or from a CSV. Films of other view positions are left out and counted, and those
    that show nothing are left out of align and fit. With cohorts, only their films are used, and the split's datasets
    are those of these films."""

    site: Site
    name: str
    datasets: Sequence[Dataset] = ()
    cohorts: Sequence[Cohort] = ()
    seed: int
    author: User
    label_cutoff: datetime | None = None  # None: now
    view_position: str = ""  # ALL_FRONTAL, a view, or "" for all
    fit_on_nothing: bool = False  # also take films that show nothing into align and fit
    # Also take labels into test that software mined from reports, where other films have labels that it did not.
    mined_in_test: bool = False


Assign = Callable[["SplitFilms"], dict[int, str]]  # patient id -> part


@dataclass(frozen=True)
class SplitFilms:
    """The films that could be in a split."""

    films: Sequence[Image]
    values: Mapping[int, str]  # labels at the cut-off, by film id
    names: Mapping[int, str]  # by patient id, the pseudonym that stands for the patient and all who share a film
    ranked: Collection[str]  # the names of those who must not calibrate
    mined: Collection[int] = frozenset()  # ids of films whose label software mined, and which stay out of test


def draw_split(request: SplitRequest, *, fractions: Mapping[str, float]) -> Split:
    """Draw the patients of the datasets into parts with a seed. Raises InvalidSplit."""
    unknown = sorted(set(fractions) - set(Part.values))
    if unknown:
        raise InvalidSplit(f"The part {unknown[0]!r} is unknown; parts are {', '.join(Part.values)}.")
    try:
        check_fractions(fractions)
    except InvalidFractions as error:
        raise InvalidSplit(str(error)) from error
    return _freeze(
        request,
        origin="drawn",
        fractions=fractions,
        assign=lambda films: draw_by_patient(
            films,
            lambda patients: keep_out_of_calibrate(draw_parts(patients, fractions, seed=request.seed), films.ranked),
        ),
    )


def split_from_csv(request: SplitRequest, *, train_is_fit: bool = False) -> Split:
    """Use the parts of the imported CSV. `train` is drawn by patient and seed into fit, tune and calibrate, or is
    entirely fit (`train_is_fit`, preset paper). Raises InvalidSplit."""

    def assign(films: SplitFilms) -> dict[int, str]:
        named = parts_by_person(_parts_named_by_csv(films.films), films.names)
        if train_is_fit:
            return {patient: Part.FIT if part == "train" else part for patient, part in named.items()}
        train = [film for film in films.films if named.get(film.patient_id) == film.csv_split == "train"]
        drawn = draw_by_patient(
            replace(films, films=train),
            lambda patients: keep_out_of_calibrate(draw_train(patients, seed=request.seed), films.ranked),
        )
        return drawn | {patient: part for patient, part in named.items() if part != "train"}

    return _freeze(request, origin="csv", fractions={"fit": 1.0} if train_is_fit else TRAIN_FRACTIONS, assign=assign)


def split_by_numbers(request: SplitRequest, *, numbers: FilmNumbers) -> Split:
    """Take so many PA films, each of another patient, drawn with a seed: normal ones for fit, normal and abnormal ones
    for test. With the numbers of the paper this is its split of PadChest. Raises InvalidSplit."""

    def one_each(films: SplitFilms) -> SplitFilms:
        taken: dict[str, Image] = {}
        for film in films.films:
            is_usable = films.values.get(film.pk) in (LabelValue.NORMAL, LabelValue.ABNORMAL)
            if not is_usable or (film.shows_nothing and not request.fit_on_nothing):
                continue
            first = taken.setdefault(films.names[film.patient_id], film)
            if first.pk in films.mined and film.pk not in films.mined:
                taken[films.names[film.patient_id]] = film
        return replace(films, films=list(taken.values()))

    def assign(films: SplitFilms) -> dict[int, str]:
        by_value: dict[str, list[str]] = defaultdict(list)
        for film in films.films:
            by_value[films.values[film.pk]].append(films.names[film.patient_id])
        mined = {films.names[film.patient_id] for film in films.films if film.pk in films.mined}
        normal, abnormal = by_value[LabelValue.NORMAL], by_value[LabelValue.ABNORMAL]
        try:
            drawn = draw_numbers(normal, abnormal, numbers, seed=request.seed, not_in_test=mined)
        except TooFewPatients as error:
            raise InvalidSplit(str(error)) from error
        people = {film.patient_id: films.names[film.patient_id] for film in films.films}
        return {patient: drawn[name] for patient, name in people.items() if name in drawn}

    return _freeze(
        replace(request, view_position="PA"), origin="paper", fractions=asdict(numbers), assign=assign, choose=one_each
    )


def _parts_named_by_csv(films: Sequence[Image]) -> dict[int, str]:
    """Patient id -> train or a part; other values, which imports kept before they counted them, are ignored."""
    named: dict[int, set[str]] = defaultdict(set)
    for film in films:
        if film.csv_split == "train" or film.csv_split in Part.values:
            named[film.patient_id].add(film.csv_split)
    divided = [sorted(parts) for parts in named.values() if len(parts) > 1]
    if divided:
        raise InvalidSplit(
            f"{len(divided)} patients have films in two parts of the CSV (the first: {' and '.join(divided[0])}). "
            "Each patient must be in a single part; correct the column 'split' and import into a new dataset."
        )
    return {patient: next(iter(parts)) for patient, parts in named.items()}


def draw_by_patient(films: SplitFilms, draw: Callable[[dict[str, bool]], dict[str, str]]) -> dict[int, str]:
    """Return parts by patient id, from the films labelled normal or abnormal. `draw` receives, by pseudonym, whether a
    patient has no normal film; patients who share a film are drawn as one."""
    without_normal: dict[str, bool] = {}
    for film in films.films:
        value = films.values.get(film.pk)
        if value in (LabelValue.NORMAL, LabelValue.ABNORMAL):
            name = films.names[film.patient_id]
            without_normal[name] = without_normal.get(name, True) and value == LabelValue.ABNORMAL
    drawn = draw(without_normal)
    patients = {film.patient_id for film in films.films}
    return {patient: drawn[films.names[patient]] for patient in patients if films.names[patient] in drawn}


def _has_view(film: Image, wanted: str) -> bool:
    if wanted == ALL_FRONTAL:
        return film.view_position in FRONTAL
    return wanted in ("", film.view_position)


def _freeze(
    request: SplitRequest,
    *,
    origin: str,
    fractions: Mapping[str, float],
    assign: Assign,
    choose: Callable[[SplitFilms], SplitFilms] = lambda films: films,
) -> Split:
    _check(request)
    now = _time_after_pending_labels()
    cutoff = request.label_cutoff or now
    if cutoff > now:
        raise InvalidSplit(f"The label cut-off {cutoff.isoformat()} is in the future; choose a past time.")
    all_films = list(_films(request))
    if why := why_ended(Dataset.objects.filter(pk__in={film.dataset_id for film in all_films}).select_related("site")):
        raise InvalidSplit(why)
    # who lands in fit, and the numbers of each part, tell labels: parts, seed and view are the author's choice
    blinding.refuse_file(request.author, Image.objects.filter(pk__in=[film.pk for film in all_films]), what="The split")
    films = [film for film in all_films if _has_view(film, request.view_position)]
    labels = labels_at([film.pk for film in films], cutoff)
    values = {image_id: label.value for image_id, label in labels.items()}
    mined = _mined(labels)
    copies = FilmCopies(request.site)
    contradicting = copies.contradicting(films, values)
    names = copies.names(films)
    ranked = {names[patient] for patient in _patients_ranked_by_score(films)}
    free = [film for film in films if film.pk not in contradicting]
    kept_from_test = frozenset() if request.mined_in_test or not _has_others(labels, mined) else mined
    usable = choose(SplitFilms(free, values, names, ranked, kept_from_test))
    parts = assign(usable)
    counted, trained_on = out_of_test(usable.films, parts, joined=copies.patients_joined_with)
    kept, counts = _films_that_count(
        replace(usable, films=counted), parts, copies, fit_on_nothing=request.fit_on_nothing
    )
    if contradicting:
        counts["left_out"][CONTRADICTING] = len(contradicting)
    if further := len(free) - len(usable.films):
        counts["left_out"][ONE_EACH] = further
    if in_test := sum(kept.get(image_id) == Part.TEST for image_id in mined):
        counts["mined_in_test"] = in_test
    if nothing := sum(bool(film.shows_nothing) and kept.get(film.pk) in LEARNED_FROM for film in films):
        counts["shows_nothing"] = nothing
    if unjudged := copies.unjudged_pairs(film for film in films if film.pk in kept):
        counts["unjudged_pairs"] = unjudged
    if len(all_films) > len(films):
        counts["left_out"][f"view position is not {request.view_position}"] = len(all_films) - len(films)
    counts["left_out"] |= trained_on
    if by_score := _labelled_by_score(kept, cutoff):
        counts["labelled_by_score"] = by_score
    if not any(part == Part.FIT for part in kept.values()):
        raise InvalidSplit(
            "No film would be in fit: a detector needs films that are labelled normal. "
            "Label some, or add a column 'split' with fit or train to the CSV."
        )
    split = Split(
        site=request.site,
        name=request.name.strip(),
        origin=origin,
        seed=request.seed,
        fractions=dict(fractions),
        label_cutoff=cutoff,
        frozen_at=now,
        counts=counts,
        created_by=request.author,
    )
    try:
        return _write(split, request, [film for film in films if film.pk in kept], parts)
    except IntegrityError as error:  # another split of this name was created after _check
        raise _name_is_taken(request) from error


def _mined(labels: Mapping[int, Label]) -> frozenset[int]:
    """The films whose label software mined from a report."""
    return frozenset(image_id for image_id, label in labels.items() if label.origin == LabelOrigin.SOFTWARE)


def _has_others(labels: Mapping[int, Label], mined: Collection[int]) -> bool:
    sure = (LabelValue.NORMAL, LabelValue.ABNORMAL)
    return any(label.value in sure and image_id not in mined for image_id, label in labels.items())


def _films(request: SplitRequest) -> QuerySet[Image]:
    films = Image.objects.select_related("patient").order_by("pk")
    if not request.cohorts:
        return films.filter(dataset__in=request.datasets)
    return films.filter(pk__in=CohortImage.objects.filter(cohort__in=request.cohorts).values("image"))


def _time_after_pending_labels() -> datetime:
    """Return the time, after all transactions that wrote earlier label events have committed: otherwise, labels at this
    cut-off could later include events that the split did not. SQLite has a single writer, for which a new transaction
    waits."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE portal_labelevent IN SHARE MODE")
        return timezone.now()


def _check(request: SplitRequest) -> None:
    require(request.author, "make splits", request.site)
    if not request.name.strip():
        raise InvalidSplit("The split has no name; enter one, such as 'PA normals 2026-11'.")
    if request.cohorts and request.datasets:
        raise InvalidSplit(
            "Both cohorts and datasets are chosen; choose either cohorts or datasets with all their films."
        )
    if not request.cohorts and not request.datasets:
        raise InvalidSplit("No dataset is chosen; choose at least one, or a cohort.")
    if any(cohort.site_id != request.site.pk for cohort in request.cohorts):
        raise InvalidSplit(f"A cohort belongs to another site; choose cohorts of {request.site.name}.")
    if any(dataset.site_id != request.site.pk for dataset in request.datasets):
        raise InvalidSplit(f"A dataset belongs to another site; choose datasets of {request.site.name}.")
    if Split.objects.filter(site=request.site, name=request.name.strip()).exists():
        raise _name_is_taken(request)


def _name_is_taken(request: SplitRequest) -> InvalidSplit:
    return InvalidSplit(
        f"A split named {request.name.strip()!r} already exists at {request.site.name}; choose another name."
    )


def _films_that_count(
    usable: SplitFilms, parts: Mapping[int, str], copies: FilmCopies, *, fit_on_nothing: bool
) -> tuple[dict[int, str], dict[str, Any]]:
    """Return parts by film id, and the counts of the split: films by part and label, and left-out films by reason."""
    kept: dict[int, str] = {}
    by_part: dict[str, Counter[str]] = defaultdict(Counter)
    left_out: Counter[str] = Counter()
    part_of_name = {usable.names[patient]: part for patient, part in parts.items()}
    seen: set[str] = set()
    for film in usable.films:
        value = usable.values.get(film.pk, "unlabelled")
        part, name = parts.get(film.patient_id), usable.names[film.patient_id]
        if value not in (LabelValue.NORMAL, LabelValue.ABNORMAL):
            left_out[value] += 1
        elif part is None and film.csv_split and name in part_of_name:
            left_out[f"of a patient who shares a film with one in {part_of_name[name]}"] += 1
        elif part is None:
            left_out["in no part"] += 1
        elif value == LabelValue.ABNORMAL and part in NORMALS_ONLY:
            left_out[f"abnormal film of a patient in {part}"] += 1
        elif film.shows_nothing and part in LEARNED_FROM and not fit_on_nothing:
            left_out[f"shows nothing, of a patient in {part}"] += 1
        elif part == Part.TEST and film.pk in usable.mined:
            left_out[MINED] += 1
        elif part == Part.CALIBRATE and name in usable.ranked:
            left_out["in calibrate, of a patient whose films were cleaned or added by their score"] += 1
        elif copies.film(film.pixel_sha256) in seen:
            left_out[FURTHER_COPY] += 1
        else:
            seen.add(copies.film(film.pixel_sha256))
            kept[film.pk] = part
            by_part[part][value] += 1
    return kept, {
        "parts": {part: dict(by_part[part]) for part in Part.values if part in by_part},
        "left_out": dict(left_out),
    }


def _patients_ranked_by_score(films: Sequence[Image]) -> set[int]:
    """The ids of the patients who must not calibrate: those with films in a queue ordered by a model's scores in
    which labels were given, and those with films that joined a normal set because of their score (`Cohort.filters`,
    key `ADDED_BY_SCORE`).

    A threshold promises a rate for films drawn like the calibration films. Films that were kept, removed or added by
    their score are not drawn like new ones.
    """
    datasets = {film.dataset_id for film in films}
    cleaned = LabelEvent.objects.filter(queue__order=ScreeningQueue.Order.SCORE, image__dataset__in=datasets)
    in_queues = QueueImage.objects.filter(queue__in=cleaned.values("queue"))
    ranked = set(in_queues.values_list("image_id", flat=True))
    added = Cohort.objects.filter(site__datasets__in=datasets, filters__has_key=ADDED_BY_SCORE)
    names = {uuid for filters in added.values_list("filters", flat=True) for uuid in filters[ADDED_BY_SCORE]}
    names |= _proposed_before(datasets)
    return {film.patient_id for film in films if film.pk in ranked or str(film.uuid) in names}


def _proposed_before(datasets: set[int]) -> set[str]:
    """The films of accepted proposals of 0.2.0 and before, whose cohorts name the proposal and not its films: they are
    in the audit of the proposal."""
    cohorts = Cohort.objects.filter(site__datasets__in=datasets, filters__has_key="proposal")
    proposals = cohorts.exclude(filters__has_key=ADDED_BY_SCORE).values_list("filters__proposal", flat=True)
    acts = AuditEvent.objects.filter(verb="propose normals", target_uuid__in=list(proposals))
    return {uuid for after in acts.values_list("after", flat=True) for uuid in (after or {}).get("films", [])}


def _labelled_by_score(parts: Mapping[int, str], cutoff: datetime) -> dict[str, int]:
    """Return, by part, the number of films with a label chosen in a queue ordered by a model's scores. Such a label is
    not independent of the model and may bias an evaluation on these films."""
    events = LabelEvent.objects.filter(
        queue__order=ScreeningQueue.Order.SCORE, created_at__lte=cutoff, reverts__isnull=True, reverted_by__isnull=True
    )
    films = set(events.values_list("image_id", flat=True))
    return dict(Counter(part for image_id, part in parts.items() if image_id in films))


@transaction.atomic
def _write(split: Split, request: SplitRequest, films: Sequence[Image], parts: Mapping[int, str]) -> Split:
    split.save(force_insert=True)
    datasets = Dataset.objects.filter(pk__in={film.dataset_id for film in films})
    split.datasets.set(datasets if request.cohorts else request.datasets)
    split.cohorts.set(request.cohorts)
    members = SplitMember.objects.bulk_create(
        [
            SplitMember(split=split, patient_id=patient, part=parts[patient])
            for patient in sorted({film.patient_id for film in films})
        ],
        batch_size=500,
    )
    member_of = {member.patient_id: member for member in members}
    SplitImage.objects.bulk_create(
        [SplitImage.under(member_of[film.patient_id], film) for film in films], batch_size=500
    )
    after = {**split.counts, "seed": split.seed}
    audit.record(verb="freeze split", site=split.site, actor=request.author, target=split, after=after)
    return split
