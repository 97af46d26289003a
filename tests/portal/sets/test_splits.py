"""Splits: the parts of patients, films that are left out with the reason, and that a frozen split never changes."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from portal.intake.csv_labels import read_labels
from portal.intake.entries import entries_of_folder
from portal.intake.films import Batch, import_batches
from portal.intake.import_report import ImportReport
from portal.labels.events import LabelChange, label_as_seen, labels_at
from portal.models import AuditEvent, Cohort, Dataset, Image, Role, Split, SplitImage, SplitMember, Upload, User
from portal.people import audit
from portal.sets.cohorts import ADDED_BY_SCORE, freeze_cohort, images_of
from portal.sets.parts_csv import parts_csv
from portal.sets.screening_queues import Suspect, queue_suspects
from portal.sets.splits import InvalidSplit, SplitRequest, draw_split, split_from_csv
from tests.portal import factories

pytestmark = [pytest.mark.django_db]

HALVES = {"fit": 0.5, "test": 0.5}


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


def request_for(*datasets: Dataset, **fields: Any) -> SplitRequest:
    defaults = {"name": "PA normals", "seed": 0, "site": factories.site(), "datasets": datasets}
    return SplitRequest(**{"author": fields.pop("author", None) or factories.curator(), **defaults, **fields})


def parts(split: Split) -> dict[str, set[str]]:
    """Part -> UUIDs of its films."""
    uuids: dict[str, set[str]] = {}
    for member_film in SplitImage.objects.filter(member__split=split).select_related("member", "image"):
        uuids.setdefault(member_film.member.part, set()).add(str(member_film.image.uuid))
    return uuids


# drawn ----------------------------------------------------------------------------------------------------


def test_a_drawn_split_shares_out_patients_and_counts(of: Dataset) -> None:
    factories.films(of, normal=8, abnormal=4, unsure=1, exclude=2, unlabelled=3)
    split = draw_split(request_for(of), fractions=HALVES)
    assert split.counts == {
        "parts": {"fit": {"normal": 4}, "test": {"normal": 4, "abnormal": 4}},
        "left_out": {"unsure": 1, "exclude": 2, "unlabelled": 3},
    }
    assert {part: len(films) for part, films in parts(split).items()} == {"fit": 4, "test": 8}
    assert split.frozen_at is not None
    assert (split.origin, split.fractions, list(split.datasets.all())) == ("drawn", HALVES, [of])


@pytest.mark.both
def test_the_same_seed_draws_the_same_films(of: Dataset) -> None:
    factories.films(of, normal=12, abnormal=4)
    author = factories.curator()
    first, again, other = (
        parts(draw_split(request_for(of, author=author, name=name, seed=seed), fractions=HALVES))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    assert first != other


def test_all_films_of_a_patient_are_on_one_side(of: Dataset) -> None:
    for number in range(24):
        factories.film(of, "normal", person=f"person {number % 6}")
    split = draw_split(request_for(of), fractions=HALVES)
    assert split.members.count() == 6
    assert split.counts["parts"] == {"fit": {"normal": 12}, "test": {"normal": 12}}


def test_one_person_in_two_datasets_is_one_patient(of: Dataset) -> None:
    second = factories.dataset("More")
    for dataset in (of, second):
        for number in range(4):
            factories.film(dataset, "normal", person=f"person {number}")
    split = draw_split(request_for(of, second), fractions=HALVES)
    assert split.members.count() == 4
    assert SplitImage.objects.count() == 8


def test_a_fit_patient_s_abnormal_films_are_in_no_part(of: Dataset) -> None:
    for number in range(4):
        factories.film(of, "normal", person=f"ill {number}")
        factories.film(of, "abnormal", person=f"ill {number}")
    factories.films(of, normal=4)
    split = draw_split(request_for(of), fractions={"fit": 1.0})
    assert split.counts == {
        "parts": {"fit": {"normal": 8}},
        "left_out": {"abnormal film of a patient in fit": 4},
    }


def test_labels_count_as_at_the_cutoff(of: Dataset) -> None:
    films = factories.films(of, normal=4)
    cutoff = timezone.now()
    factories.event(films[0], "abnormal")
    split = draw_split(request_for(of, label_cutoff=cutoff), fractions={"fit": 1.0})
    assert split.counts["parts"] == {"fit": {"normal": 4}}
    assert split.label_cutoff == cutoff


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_split_waits_for_labels_that_are_being_written(of: Dataset) -> None:
    """Otherwise labels at its cut-off could later include events that the split did not."""
    films = factories.films(of, normal=2, unlabelled=4)
    author, split_request = factories.curator("labeller"), request_for(of)
    written, go_on = threading.Event(), threading.Event()

    def label() -> None:
        with transaction.atomic():
            factories.label_films(images=films[2:], value="normal", author=author, site=of.site)
            written.set()
            go_on.wait(20)
        connection.close()

    def freeze() -> Split:
        try:
            return draw_split(split_request, fractions={"fit": 1.0})
        finally:
            connection.close()

    with ThreadPoolExecutor() as threads:
        labelling = threads.submit(label)
        assert written.wait(20)
        freezing = threads.submit(freeze)
        with pytest.raises(TimeoutError):
            freezing.result(timeout=0.5)
        go_on.set()
        labelling.result(20)
        split = freezing.result(20)
    assert split.counts["parts"] == {"fit": {"normal": 6}}
    assert len(labels_at([film.pk for film in films], split.label_cutoff)) == 6


@pytest.mark.django_db(transaction=True)
def test_sets_that_are_frozen_while_films_arrive_keep_their_films(of: Dataset, tmp_path: Path) -> None:
    """Three films are there, three arrive meanwhile, three afterwards; all are of the three patients that are there."""
    for n in range(9):
        factories.png(tmp_path / f"{n}.png", seed=n)
    rows = [{"filename": f"{n}.png", "label": "normal", "patient_id": f"person {n % 3}"} for n in range(9)]
    labels = read_labels(factories.table(tmp_path / "labels.csv", *rows))
    entries = entries_of_folder(tmp_path, labels, None, ImportReport())
    split_request, upload = request_for(of), Upload.objects.create(dataset=of)
    are_there, are_frozen = threading.Event(), threading.Event()

    def batches() -> Iterator[Batch]:
        yield Batch(entries[:3], rows=3)
        are_there.set()
        yield Batch(entries[3:6], rows=3)
        assert are_frozen.wait(60)
        yield Batch(entries[6:], rows=3)

    def arrive() -> None:
        try:
            import_batches(upload=upload, batches=batches(), total=9, report=ImportReport(), actor=None)
        finally:
            connection.close()

    with ThreadPoolExecutor() as threads:
        arriving = threads.submit(arrive)
        assert are_there.wait(60)
        split = draw_split(split_request, fractions=HALVES)
        cohort = freeze_cohort(site=of.site, name="May", images=of.images.all(), author=split_request.author)
        before = parts_csv(split), set(images_of(cohort))
        are_frozen.set()
        arriving.result(60)
    assert of.images.count() == 9
    assert (parts_csv(split), set(images_of(cohort))) == before
    split.refresh_from_db()
    lines = len(before[0].splitlines()) - 1
    assert 3 <= lines <= 6
    assert sum(split.counts["parts"][part]["normal"] for part in HALVES) == lines
    assert 3 <= cohort.films == len(before[1]) <= 6


@pytest.mark.django_db(transaction=True)
def test_labels_that_wait_for_a_split_are_dated_after_it(of: Dataset) -> None:
    """PostgreSQL only: on SQLite, a new transaction waits for the other writer."""
    film, author = factories.films(of, unlabelled=1)[0], factories.curator("labeller")

    def label() -> None:
        factories.label_films(images=[film], value="normal", author=author, site=of.site)
        connection.close()

    with ThreadPoolExecutor() as threads, transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE portal_labelevent IN SHARE MODE")
        labelling = threads.submit(label)
        with pytest.raises(TimeoutError):
            labelling.result(timeout=0.5)
        cutoff = timezone.now()
        transaction.set_rollback(True)
    labelling.result(20)
    assert film.label_events.get().created_at > cutoff


def test_films_of_another_view_are_left_out_and_counted(of: Dataset) -> None:
    for view in ("PA", "PA", "AP", ""):
        factories.film(of, "normal", view=view)
    split = draw_split(request_for(of, view_position="PA"), fractions={"fit": 1.0})
    assert split.counts == {"parts": {"fit": {"normal": 2}}, "left_out": {"view position is not PA": 2}}


def test_films_that_show_nothing_stay_out_of_fit_unless_somebody_says_otherwise(of: Dataset) -> None:
    for part in ("align", "fit", "tune", "calibrate", "test"):
        for nothing in (False, True, None):
            factories.film(of, "normal", csv_split=part, shows_nothing=nothing)
    split = split_from_csv(request_for(of))
    assert split.counts == {
        "parts": {
            "align": {"normal": 2},
            "fit": {"normal": 2},
            "tune": {"normal": 3},
            "calibrate": {"normal": 3},
            "test": {"normal": 3},
        },
        "left_out": {"shows nothing, of a patient in align": 1, "shows nothing, of a patient in fit": 1},
    }
    assert not SplitImage.objects.filter(
        member__split=split, member__part__in=["align", "fit"], image__shows_nothing=True
    ).exists()
    kept = split_from_csv(request_for(of, name="all", author=split.created_by, fit_on_nothing=True))
    assert (kept.counts["left_out"], kept.counts["shows_nothing"]) == ({}, 2)
    assert AuditEvent.objects.get(target_uuid=kept.uuid, verb="freeze split").after["shows_nothing"] == 2


def test_freezing_is_audited(of: Dataset) -> None:
    factories.films(of, normal=2)
    split = draw_split(request_for(of, seed=9), fractions={"fit": 1.0})
    audited = AuditEvent.objects.get(verb="freeze split")
    assert (audited.target_uuid, audited.after["seed"]) == (split.uuid, 9)


# from the CSV ---------------------------------------------------------------------------------------------


def test_parts_of_the_csv_are_used_unchanged(of: Dataset) -> None:
    named = {part: factories.film(of, "normal", csv_split=part) for part in ("align", "fit", "tune", "test")}
    factories.film(of, "normal", csv_split="boxed")
    factories.film(of, "normal")
    split = split_from_csv(request_for(of))
    assert parts(split) == {part: {str(film.uuid)} for part, film in named.items()}
    assert split.counts["left_out"] == {"in no part": 2}
    assert split.origin == "csv"


def test_train_is_drawn_by_patient_into_70_15_15(of: Dataset) -> None:
    for number in range(20):
        factories.film(of, "normal", csv_split="train", person=f"person {number}")
        factories.film(of, "normal", csv_split="train", person=f"person {number}")
    factories.film(of, "abnormal", csv_split="train", person="ill")
    factories.film(of, "abnormal", csv_split="test", person="in test")
    split = split_from_csv(request_for(of))
    assert split.counts["parts"] == {
        "fit": {"normal": 28},
        "tune": {"normal": 6, "abnormal": 1},
        "calibrate": {"normal": 6},
        "test": {"abnormal": 1},
    }


def test_train_may_be_all_fit(of: Dataset) -> None:
    """As in the paper: all normal films of train are fit, even those of a patient with an abnormal film."""
    for number in range(4):
        factories.film(of, "normal", csv_split="train", person=f"person {number}")
    factories.film(of, "abnormal", csv_split="train", person="person 0")
    factories.film(of, "abnormal", csv_split="train", person="only abnormal")
    split = split_from_csv(request_for(of), train_is_fit=True)
    assert split.counts == {
        "parts": {"fit": {"normal": 4}},
        "left_out": {"abnormal film of a patient in fit": 2},
    }
    assert split.members.count() == 4


@pytest.mark.parametrize("part", ["fit", "align", "calibrate"])
def test_abnormal_films_of_patients_in_normal_parts_are_in_no_part(of: Dataset, part: str) -> None:
    factories.films(of, normal=0)
    factories.film(of, "normal", csv_split="fit", person="other")
    factories.film(of, "normal", csv_split=part, person="ill")
    factories.film(of, "abnormal", csv_split=part, person="ill")
    split = split_from_csv(request_for(of))
    assert split.counts["left_out"] == {f"abnormal film of a patient in {part}": 1}
    assert "abnormal" not in split.counts["parts"][part]


def test_a_patient_in_two_parts_of_the_csv_is_refused(of: Dataset) -> None:
    factories.film(of, "normal", csv_split="fit", person="torn")
    factories.film(of, "normal", csv_split="test", person="torn")
    with pytest.raises(InvalidSplit, match=r"1 patients have .* \(the first: fit and test\)"):
        split_from_csv(request_for(of))
    assert not Split.objects.exists()


# refused ----------------------------------------------------------------------------------------------------


def test_a_part_that_does_not_exist(of: Dataset) -> None:
    factories.films(of, normal=1)
    with pytest.raises(InvalidSplit, match="'train' is unknown; parts are align, fit"):
        draw_split(request_for(of), fractions={"fit": 0.5, "train": 0.5})


def test_fractions_that_do_not_sum_to_1(of: Dataset) -> None:
    with pytest.raises(InvalidSplit, match=r"sum to 0\.7"):
        draw_split(request_for(of), fractions={"fit": 0.5, "test": 0.2})


def test_nothing_to_fit_on(of: Dataset) -> None:
    factories.films(of, abnormal=3, unlabelled=2)
    with pytest.raises(InvalidSplit, match="No film would be in fit"):
        draw_split(request_for(of), fractions=HALVES)
    with pytest.raises(InvalidSplit, match="No film would be in fit"):
        split_from_csv(request_for(of, author=factories.curator("other")))


def test_a_cutoff_in_the_future(of: Dataset) -> None:
    with pytest.raises(InvalidSplit, match="is in the future"):
        draw_split(request_for(of, label_cutoff=timezone.now() + timedelta(minutes=1)), fractions=HALVES)


def test_the_dataset_of_another_site(of: Dataset) -> None:
    foreign = factories.dataset(at=factories.site("Busan"))
    with pytest.raises(InvalidSplit, match="another site"):
        draw_split(request_for(of, foreign), fractions=HALVES)


def test_no_dataset_and_no_name(of: Dataset) -> None:
    author = factories.curator()
    with pytest.raises(InvalidSplit, match="No dataset"):
        draw_split(request_for(author=author), fractions=HALVES)
    with pytest.raises(InvalidSplit, match="no name"):
        draw_split(request_for(of, author=author, name="  "), fractions=HALVES)


def test_a_name_is_used_once_a_site(of: Dataset) -> None:
    factories.films(of, normal=2)
    author = factories.curator()
    draw_split(request_for(of, author=author), fractions={"fit": 1.0})
    with pytest.raises(InvalidSplit, match="'PA normals' already exists at Seoul; choose another"):
        draw_split(request_for(of, author=author, name=" PA normals "), fractions={"fit": 1.0})


def test_two_splits_of_one_name_at_once(of: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other split is written after the check of the name."""
    factories.films(of, normal=2)
    author = factories.curator()
    draw_split(request_for(of, author=author), fractions={"fit": 1.0})
    monkeypatch.setattr("portal.sets.splits._check", lambda request: None)
    with pytest.raises(InvalidSplit, match="'PA normals' already exists at Seoul"):
        draw_split(request_for(of, author=author), fractions={"fit": 1.0})


def test_a_reader_may_not_create_a_split(of: Dataset) -> None:
    with pytest.raises(PermissionDenied, match="To make splits at Seoul you need one of these roles: analyst"):
        draw_split(request_for(of, author=factories.user("reader", Role.READER)), fractions=HALVES)


# what the database enforces ----------------------------------------------------------------------------------


@pytest.mark.both
def test_the_database_refuses_a_patient_in_two_parts(of: Dataset) -> None:
    factories.films(of, normal=4)
    split = draw_split(request_for(of), fractions=HALVES)
    member = split.members.filter(part="fit").first()
    assert member is not None
    with pytest.raises(IntegrityError), transaction.atomic():
        SplitMember.objects.create(split=split, patient=member.patient, part="test")


@pytest.mark.both
def test_the_database_refuses_a_film_under_another_patient(of: Dataset) -> None:
    """So a film cannot be in two parts either, since its patient is a single member of the split."""
    films = factories.films(of, normal=4)
    split = draw_split(request_for(of), fractions=HALVES)
    for member in split.members.exclude(patient=films[0].patient):
        with pytest.raises(IntegrityError, match="not of the member's patient"), transaction.atomic():
            SplitImage.objects.bulk_create([SplitImage.under(member, films[0])])
    own = split.members.get(patient=films[0].patient)
    with pytest.raises(IntegrityError, match=r"split_image_once|UNIQUE"), transaction.atomic():
        SplitImage.under(own, films[0]).save()
    assert SplitImage.objects.filter(image=films[0]).count() == 1


FROZEN = {
    "portal_split": "seed = 1",
    "portal_split_datasets": "dataset_id = dataset_id",
    "portal_splitmember": "part = 'test'",
    "portal_splitimage": "image_id = image_id",
}


@pytest.mark.both
@pytest.mark.parametrize("table", FROZEN)
@pytest.mark.parametrize("act", ["UPDATE", "DELETE"])
def test_a_frozen_split_cannot_be_changed(of: Dataset, table: str, act: str) -> None:
    factories.films(of, normal=4)
    split = draw_split(request_for(of), fractions=HALVES)
    before = parts(split)
    change = f"UPDATE {table} SET {FROZEN[table]}" if act == "UPDATE" else f"DELETE FROM {table}"
    with (
        pytest.raises(DatabaseError, match=f"{table} is frozen: {act} refused"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(change)
    split.refresh_from_db()
    assert (parts(split), split.seed, list(split.datasets.all())) == (before, 0, [of])


@pytest.mark.both
def test_a_split_cannot_be_deleted(of: Dataset) -> None:
    factories.films(of, normal=4)
    split = draw_split(request_for(of), fractions=HALVES)
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
        split.delete()
    assert Split.objects.get().members.count() == 4


def test_a_member_has_a_known_part(of: Dataset) -> None:
    factories.films(of, normal=2)
    split = draw_split(request_for(of), fractions={"fit": 1.0})
    with pytest.raises(IntegrityError), transaction.atomic():
        SplitMember.objects.create(split=split, patient=factories.patient("x"), part="train")


# From cohorts -------------------------------------------------------------------------------------------------


def cohort_of(films: list[Image], name: str = "normals") -> Cohort:
    person = User.objects.filter(username="freezer").first() or factories.curator("freezer")
    return freeze_cohort(site=factories.site(), name=name, images=films, author=person)


def request_from(*cohorts: Cohort, **fields: Any) -> SplitRequest:
    person = User.objects.get(username="freezer")
    return SplitRequest(site=factories.site(), name="drawn", cohorts=cohorts, seed=3, author=person, **fields)


def test_only_films_of_the_cohorts_are_drawn() -> None:
    first, second = factories.dataset("First"), factories.dataset("Second")
    normals, abnormals = factories.films(first, normal=12), factories.films(second, abnormal=4)
    factories.films(first, unsure=2)
    drawn_from = [cohort_of(normals[:8]), cohort_of(abnormals[:3], "abnormals")]
    split = draw_split(request_from(*drawn_from), fractions={"fit": 0.5, "test": 0.5})
    drawn = set(SplitImage.objects.filter(member__split=split).values_list("image_id", flat=True))
    assert drawn == {film.pk for film in normals[:8] + abnormals[:3]}
    assert set(split.datasets.all()) == {first, second}
    assert set(split.cohorts.all()) == set(drawn_from)
    assert split.counts["left_out"] == {}


def test_the_current_labels_of_a_cohorts_films_count() -> None:
    films = factories.films(factories.dataset(), normal=4)
    cohort = cohort_of(films)
    factories.event(films[0], "unsure")
    split = draw_split(request_from(cohort), fractions={"fit": 1.0})
    assert split.counts == {"parts": {"fit": {"normal": 3}}, "left_out": {"unsure": 1}}


def test_cohorts_and_datasets_do_not_mix_and_stay_at_their_site() -> None:
    cohort = cohort_of(factories.films(factories.dataset(), normal=2))
    with pytest.raises(InvalidSplit, match="Both cohorts and datasets"):
        draw_split(request_from(cohort, datasets=[Dataset.objects.get()]), fractions={"fit": 1.0})
    busan = factories.site("Busan")
    theirs = freeze_cohort(
        site=busan,
        name="normals",
        images=[factories.film(factories.dataset(at=busan), "normal")],
        author=factories.curator("kim", at=busan),
    )
    with pytest.raises(InvalidSplit, match="A cohort belongs to another site"):
        draw_split(request_from(theirs), fractions={"fit": 1.0})


def test_the_cohorts_of_a_split_are_frozen_with_it() -> None:
    split = draw_split(request_from(cohort_of(factories.films(factories.dataset(), normal=2))), fractions={"fit": 1.0})
    with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
        split.cohorts.clear()


def test_a_split_counts_labels_from_queues_ordered_by_score() -> None:
    """A curator who saw films in the order of a model's scores did not label independently of it."""
    of, ann = factories.dataset(), factories.curator("ann")
    films = factories.films(of, normal=6)
    first = draw_split(request_for(of, author=ann, name="first"), fractions={"fit": 1.0})
    suspects = [Suspect(film.pk) for film in films]
    queue = queue_suspects(
        site=of.site, name="suspects", suspects=suspects, split=first, author=ann, source="a detector"
    )
    for film in films[:4]:
        seen = {film.pk: 1}
        as_normal = LabelChange(value="normal")
        label_as_seen(
            images=[film], seen=seen, change=as_normal, act=uuid.uuid4(), author=ann, site=of.site, queue=queue
        )
    second = draw_split(request_for(of, author=ann, name="second"), fractions=HALVES)
    by_score = second.counts["labelled_by_score"]
    assert sum(by_score.values()) == 4
    assert set(by_score) <= {"fit", "test"}
    assert "labelled_by_score" not in first.counts


CLEANED = "in calibrate, of a patient whose films were cleaned or added by their score"


def cleaned_by_score(of: Dataset, films: list[Image], labelled: int) -> None:
    """A queue of these films by score, in which the first ones are labelled normal."""
    ann = factories.curator("ann")
    first = draw_split(request_for(of, author=ann, name="first"), fractions={"fit": 1.0})
    queue = queue_suspects(
        site=of.site,
        name="suspects",
        suspects=[Suspect(film.pk) for film in films],
        split=first,
        author=ann,
        source="-",
    )
    for film in films[:labelled]:
        label_as_seen(
            images=[film], seen={film.pk: 1}, change=LabelChange(value="normal"), act=uuid.uuid4(), author=ann,
            site=of.site, queue=queue,
        )  # fmt: skip


@pytest.mark.parametrize(("labelled", "barred"), [(0, 0), (1, 8)])
def test_films_cleaned_by_their_score_never_calibrate(labelled: int, barred: int) -> None:
    """A queue in which nobody labelled a film has cleaned nothing."""
    of = factories.dataset()
    films = factories.films(of, normal=12)
    cleaned_by_score(of, films[:8], labelled)
    fractions = {"fit": 0.5, "calibrate": 0.5}
    split = draw_split(request_for(of, name="second"), fractions=fractions)
    in_calibrate = parts(split)["calibrate"]
    assert len(in_calibrate) == (4 if barred else 6)
    assert bool(in_calibrate & {str(film.uuid) for film in films[:8]}) == (not barred)


def test_cleaned_films_that_a_csv_puts_in_calibrate_are_left_out() -> None:
    of = factories.dataset()
    films = [factories.film(of, "normal", csv_split=part) for part in ("fit", "fit", "calibrate", "calibrate")]
    cleaned_by_score(of, films[1:3], 1)
    split = split_from_csv(request_for(of, name="second"))
    assert split.counts["left_out"] == {CLEANED: 1}
    assert split.counts["parts"]["calibrate"] == {"normal": 1}


def test_films_added_by_their_score_never_calibrate() -> None:
    of = factories.dataset()
    films = factories.films(of, normal=6)
    freeze_cohort(
        site=of.site, name="normals", images=films, author=factories.curator("ann"),
        filters={ADDED_BY_SCORE: [str(film.uuid) for film in films[:4]]},
    )  # fmt: skip
    split = draw_split(request_for(of), fractions={"fit": 0.5, "calibrate": 0.5})
    assert parts(split)["calibrate"] == {str(film.uuid) for film in films[4:]}


def test_films_added_by_a_proposal_of_an_earlier_release_never_calibrate() -> None:
    """Until 0.2.0 a cohort named the proposal alone; its films are in the audit of the proposal."""
    of = factories.dataset()
    films = factories.films(of, normal=6)
    ann = factories.curator("ann")
    proposal = of  # any object with a UUID: proposals belong to another app
    audit.record(
        verb="propose normals", site=of.site, actor=ann, target=proposal,
        after={"films": [str(film.uuid) for film in films[:4]]},
    )  # fmt: skip
    filters = {"proposal": str(proposal.uuid)}
    freeze_cohort(site=of.site, name="normals", images=films, author=ann, filters=filters)
    split = draw_split(request_for(of), fractions={"fit": 0.5, "calibrate": 0.5})
    assert parts(split)["calibrate"] == {str(film.uuid) for film in films[4:]}
