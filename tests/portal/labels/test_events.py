"""The label that follows from a film's events, who may append them, and that none can be removed."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection, connections, transaction
from django.utils import timezone

from portal.labels.events import (
    InvalidLabel,
    LabelAct,
    LabelChange,
    append,
    label_as_seen,
    labels_at,
    last_act,
    undo,
)
from portal.labels.resolving import Label, resolve
from portal.models import (
    Adjudication,
    AuditEvent,
    CurrentLabel,
    Image,
    LabelEvent,
    LabelSource,
    Role,
    Split,
    SplitImage,
    SplitMember,
)
from portal.sets.splits import SplitRequest, draw_split
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def film() -> Image:
    return factories.film(factories.dataset())


@pytest.fixture
def ann() -> Any:
    return factories.curator("ann")


@pytest.fixture
def ben() -> Any:
    return factories.curator("ben")


def label(film: Image, value: str, author: Any, **fields: Any) -> uuid.UUID:
    return factories.label_films(images=[film], value=value, author=author, site=film.dataset.site, **fields)


def current(film: Image) -> tuple[str, str] | None:
    row = CurrentLabel.objects.filter(image=film).first()
    return (row.value, row.source) if row else None


def resolved(film: Image) -> Label | None:
    return resolve(list(film.label_events.order_by("created_at", "pk")))


# which label counts -----------------------------------------------------------------------------------


def test_a_film_without_events_has_no_label(film: Image) -> None:
    assert resolved(film) is None
    assert current(film) is None


def test_the_import_counts_until_a_reader_labels(film: Image, ann: Any) -> None:
    factories.event(film, "normal", findings=["none"])
    assert resolved(film) == Label("normal", ("none",), LabelSource.IMPORT)
    label(film, "abnormal", ann)
    assert resolved(film) == Label("abnormal", (), LabelSource.READER)


def test_the_latest_import_replaces_the_earlier_one(film: Image) -> None:
    factories.event(film, "normal")
    factories.event(film, "abnormal")
    assert current(film) == ("abnormal", "import")


def test_readers_who_agree_make_the_label(film: Image, ann: Any, ben: Any) -> None:
    label(film, "abnormal", ann, findings=["nodule"])
    label(film, "abnormal", ben, findings=["effusion"])
    assert resolved(film) == Label("abnormal", ("effusion",), LabelSource.READER)


def test_readers_who_differ_leave_it_unresolved(film: Image, ann: Any, ben: Any) -> None:
    factories.event(film, "normal")
    label(film, "normal", ann)
    label(film, "abnormal", ben)
    assert resolved(film) == Label("unresolved", (), "")
    assert current(film) == ("unresolved", "")


def test_a_later_label_of_a_reader_replaces_the_earlier(film: Image, ann: Any, ben: Any) -> None:
    label(film, "normal", ann)
    label(film, "abnormal", ben)
    label(film, "abnormal", ann)
    assert current(film) == ("abnormal", "reader")


def test_adjudication_settles_what_readers_differ_on(film: Image, ann: Any, ben: Any) -> None:
    judge = factories.user("judge", Role.ADJUDICATOR)
    label(film, "normal", ann)
    label(film, "abnormal", ben)
    factories.event(film, "abnormal", judge, source=LabelSource.ADJUDICATION)
    label(film, "normal", ann)  # a label after the verdict does not reopen it
    assert current(film) == ("abnormal", "adjudication")


def test_a_reverted_event_does_not_count(film: Image, ann: Any) -> None:
    factories.event(film, "normal")
    act = label(film, "abnormal", ann)
    undo(act=act, author=ann, site=film.dataset.site)
    assert resolved(film) == Label("normal", (), LabelSource.IMPORT)


def test_undo_restores_the_authors_earlier_label(film: Image, ann: Any) -> None:
    label(film, "unsure", ann)
    undo(act=label(film, "abnormal", ann), author=ann, site=film.dataset.site)
    assert current(film) == ("unsure", "reader")


# at a cut-off -------------------------------------------------------------------------------------------


def test_labels_at_a_cutoff_ignore_later_events(film: Image, ann: Any) -> None:
    first = factories.event(film, "normal")
    label(film, "abnormal", ann)
    assert labels_at([film.pk], first.created_at) == {film.pk: Label("normal", (), "import")}
    assert labels_at([film.pk], timezone.now())[film.pk].value == "abnormal"
    assert labels_at([film.pk], first.created_at - timedelta(microseconds=1)) == {}


def test_a_label_counts_that_is_given_after_the_clock_was_set_back(
    film: Image, ann: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(film, "normal", ann)
    true_time = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: true_time() - timedelta(minutes=10))
    act = label(film, "abnormal", ann)

    assert CurrentLabel.objects.get(image=film).value == "abnormal"
    assert labels_at([film.pk], true_time())[film.pk].value == "abnormal"
    last = last_act(author=ann, site=film.dataset.site)
    assert last is not None and last.uuid == act  # which is undone next
    undo(act=act, author=ann, site=film.dataset.site)
    assert CurrentLabel.objects.get(image=film).value == "normal"


def test_an_undo_after_the_cutoff_leaves_the_label_at_the_cutoff(film: Image, ann: Any) -> None:
    act = label(film, "abnormal", ann)
    cutoff = timezone.now()
    undo(act=act, author=ann, site=film.dataset.site)
    assert labels_at([film.pk], cutoff)[film.pk].value == "abnormal"
    assert labels_at([film.pk], timezone.now()) == {}


def test_labels_of_more_films_than_fit_in_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.labels.events.CHUNK", 2)
    films = factories.films(factories.dataset(), normal=3, abnormal=2)
    labels = labels_at([film.pk for film in films], timezone.now())
    assert [labels[film.pk].value for film in films] == ["normal"] * 3 + ["abnormal"] * 2


# appending ------------------------------------------------------------------------------------------------


def test_an_act_is_one_batch_with_author_time_and_audit(ann: Any) -> None:
    of = factories.dataset()
    films = factories.films(of, unlabelled=3)
    before = timezone.now()
    act = factories.label_films(images=films, value="exclude", author=ann, site=of.site, reason="upside down")
    events = LabelEvent.objects.filter(batch=act)
    assert {(e.value, e.author, e.reason, e.source) for e in events} == {("exclude", ann, "upside down", "reader")}
    assert all(before <= event.created_at <= timezone.now() for event in events)
    audited = AuditEvent.objects.get(verb="label films")
    assert (audited.actor, audited.after["films"], audited.after["act"]) == (ann, 3, str(act))


def test_the_current_label_is_updated(film: Image, ann: Any) -> None:
    acts = [label(film, value, ann, findings=["nodule", "effusion"]) for value in ("normal", "abnormal")]
    row = CurrentLabel.objects.get(image=film)
    assert (row.value, row.findings, row.finding_words) == ("abnormal", ["nodule", "effusion"], "|nodule|effusion|")
    for act in reversed(acts):
        undo(act=act, author=ann, site=film.dataset.site)
    assert current(film) is None


def test_an_unknown_value_writes_nothing(film: Image, ann: Any) -> None:
    with pytest.raises(InvalidLabel, match="'normale' is unknown; use one of normal"):
        label(film, "normale", ann)
    assert not LabelEvent.objects.exists()


@pytest.mark.parametrize("finding", ["a|b", "", " "])
def test_a_finding_that_no_filter_could_match_is_refused(film: Image, ann: Any, finding: str) -> None:
    with pytest.raises(InvalidLabel, match="finding"):
        label(film, "abnormal", ann, findings=[finding])


@pytest.mark.parametrize("fields", [{"reason": "a\0b"}, {"findings": ["nodule", "\0"]}])
def test_a_nul_character_is_refused(film: Image, ann: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidLabel, match="contains a NUL character"):
        label(film, "abnormal", ann, **fields)
    assert not LabelEvent.objects.exists()


def test_films_of_two_sites_are_not_one_act(film: Image, ann: Any) -> None:
    other = factories.film(factories.dataset(at=factories.site("Busan")))
    with pytest.raises(InvalidLabel, match="another site"):
        factories.label_films(images=[film, other], value="normal", author=ann, site=film.dataset.site)
    assert not LabelEvent.objects.exists()


@pytest.mark.parametrize("role", [Role.READER, Role.ANALYST])
def test_some_roles_do_not_label(film: Image, role: Role) -> None:
    with pytest.raises(PermissionDenied, match="curator"):
        label(film, "normal", factories.user("someone", role))


# undo -----------------------------------------------------------------------------------------------------


def test_undo_reverts_the_whole_act(ann: Any) -> None:
    of = factories.dataset()
    films = factories.films(of, normal=2, unlabelled=1)
    act = factories.label_films(images=films, value="abnormal", author=ann, site=of.site)
    assert undo(act=act, author=ann, site=of.site) == 3
    assert [current(film) for film in films] == [("normal", "import"), ("normal", "import"), None]


def test_nobody_undoes_the_act_of_another(film: Image, ann: Any, ben: Any) -> None:
    act = label(film, "abnormal", ann)
    with pytest.raises(InvalidLabel, match="not yours"):
        undo(act=act, author=ben, site=film.dataset.site)
    assert current(film) == ("abnormal", "reader")


def test_an_act_is_undone_once(film: Image, ann: Any) -> None:
    act = label(film, "abnormal", ann)
    undo(act=act, author=ann, site=film.dataset.site)
    with pytest.raises(InvalidLabel, match="already undone"):
        undo(act=act, author=ann, site=film.dataset.site)


def test_repeated_undo_reverts_act_by_act(film: Image, ann: Any) -> None:
    acts = [label(film, value, ann) for value in ("normal", "abnormal", "unsure")]
    place = film.dataset.site
    for act in reversed(acts):
        last = last_act(author=ann, site=place)
        assert last is not None and last.uuid == act
        undo(act=act, author=ann, site=place)
    assert last_act(author=ann, site=place) is None


def test_an_act_is_described_by_its_value_its_films_and_its_time(film: Image, ann: Any, ben: Any) -> None:
    more = factories.films(film.dataset, unlabelled=4)
    place = film.dataset.site
    label(film, "normal", ann)
    act = factories.label_films(images=more, value="exclude", author=ann, site=place)
    label(film, "abnormal", ben)
    made_at = LabelEvent.objects.filter(batch=act).latest("created_at", "pk").created_at
    assert last_act(author=ann, site=place) == LabelAct(
        act, "exclude", 4, tuple(str(labelled) for labelled in more[:3]), made_at
    )


def test_a_films_last_act_is_the_last_that_touched_it(film: Image, ann: Any) -> None:
    other = factories.film(film.dataset)
    act = label(film, "normal", ann)
    label(other, "normal", ann)
    last = last_act(author=ann, site=film.dataset.site, image=film)
    assert last is not None and last.uuid == act
    untouched = factories.film(film.dataset)
    assert last_act(author=ann, site=film.dataset.site, image=untouched) is None


def test_an_undo_is_audited(film: Image, ann: Any) -> None:
    act = label(film, "abnormal", ann)
    undo(act=act, author=ann, site=film.dataset.site)
    assert AuditEvent.objects.get(verb="undo labels").before == {"act": str(act)}


# what the database enforces ---------------------------------------------------------------------------------


def _rows_of_every_guarded_table() -> None:
    of = factories.dataset()
    ann = factories.curator()
    films = factories.films(of, normal=8, abnormal=4)
    event = factories.event(films[0], "normal", ann, source=LabelSource.ADJUDICATION)
    Adjudication.objects.create(image=films[0], adjudicator=ann, verdict="normal", reason="r", label_event=event)
    draw_split(
        SplitRequest(site=of.site, name="s", datasets=[of], seed=0, author=ann), fractions={"fit": 0.5, "test": 0.5}
    )


APPEND_ONLY = [LabelEvent, Adjudication, AuditEvent]
WRITE_ONCE = [Image, Split, SplitMember, SplitImage]


@pytest.mark.parametrize("model", [*APPEND_ONLY, *WRITE_ONCE])
def test_the_database_refuses_an_update(model: Any) -> None:
    _rows_of_every_guarded_table()
    before = list(model.objects.order_by("pk").values())
    column = {SplitMember: "part", SplitImage: "image_id"}.get(model, "uuid")
    value = "'test'" if column == "part" else "image_id" if column == "image_id" else "uuid"
    with pytest.raises(DatabaseError, match="refused"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE {model._meta.db_table} SET {column} = {value}")
    assert list(model.objects.order_by("pk").values()) == before


@pytest.mark.parametrize("model", APPEND_ONLY)
def test_the_database_refuses_a_delete(model: Any) -> None:
    _rows_of_every_guarded_table()
    before = model.objects.count()
    with pytest.raises(DatabaseError, match="refused"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {model._meta.db_table}")
    assert model.objects.count() == before > 0


def test_an_event_either_states_a_value_or_reverts(film: Image, ann: Any) -> None:
    event = factories.event(film, "normal", ann)
    for wrong in ({"value": ""}, {"value": "normal", "reverts": event}, {"value": "perhaps"}):
        with pytest.raises(DatabaseError), transaction.atomic():
            LabelEvent.objects.create(image=film, author=ann, source="reader", **wrong)


def test_a_readers_event_has_an_author(film: Image) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        LabelEvent.objects.create(image=film, value="normal", source="reader")


# two people at once ----------------------------------------------------------------------------------------


def _at_once(*acts: Any) -> list[BaseException]:
    """Run the acts in threads that start together, and return the exceptions."""
    ready, raised = threading.Barrier(len(acts)), []

    def run(act: Any) -> None:
        ready.wait()
        try:
            act()
        except Exception as error:
            raised.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return raised


@pytest.mark.django_db(transaction=True)
def test_two_events_that_are_appended_at_once_leave_a_film_unresolved(ann: Any, ben: Any) -> None:
    of = factories.dataset()
    for film in factories.films(of, unlabelled=8):
        assert not _at_once(
            lambda film=film: factories.event(film, "normal", ann),
            lambda film=film: factories.event(film, "abnormal", ben),
        )
        assert current(film) == ("unresolved", "")


@pytest.mark.django_db(transaction=True)
def test_of_two_people_who_label_the_same_films_at_once_the_first_labels_them_all(ann: Any, ben: Any) -> None:
    """Each names them in a different order, which must not cause a deadlock."""
    of = factories.dataset()
    films = factories.films(of, unlabelled=20)
    outcomes = []

    def label_all(images: list[Image], author: Any) -> None:
        change, act = LabelChange(value="normal"), uuid.uuid4()
        outcomes.append(label_as_seen(images=images, seen={}, change=change, act=act, author=author, site=of.site))

    assert not _at_once(lambda: label_all(films, ann), lambda: label_all(films[::-1], ben))
    assert sorted((len(outcome.labelled), len(outcome.changed)) for outcome in outcomes) == [(0, 20), (20, 0)]
    assert CurrentLabel.objects.filter(value="normal").count() == LabelEvent.objects.count() == 20


@pytest.mark.django_db(transaction=True)
def test_an_act_undone_twice_at_once_is_undone_once(ann: Any) -> None:
    of = factories.dataset()
    films = factories.films(of, normal=5)
    act = factories.label_films(images=films, value="abnormal", author=ann, site=of.site)
    raised = _at_once(*[lambda: undo(act=act, author=ann, site=of.site)] * 2)
    assert [type(error) for error in raised] == [InvalidLabel]
    assert LabelEvent.objects.filter(reverts__isnull=False).count() == 5
    assert {current(film) for film in films} == {("normal", "import")}


# attributes of normal films, and the criteria in force ---------------------------------------------------


def test_a_normal_film_has_attributes_and_keeps_them_when_it_is_confirmed(film: Image, ann: Any, ben: Any) -> None:
    label(film, "normal", ann, attributes=["old fracture", "device"])
    row = CurrentLabel.objects.get(image=film)
    assert (row.attributes, row.attribute_words) == (["device", "old fracture"], "|device|old fracture|")
    label(film, "normal", ben)
    assert resolved(film) == Label("normal", (), LabelSource.READER, ("device", "old fracture"))
    label(film, "normal", ben, attributes=[])
    assert CurrentLabel.objects.get(image=film).attribute_words == ""


def test_attributes_go_when_the_value_changes(film: Image, ann: Any) -> None:
    label(film, "normal", ann, attributes=["variant"])
    label(film, "abnormal", ann)
    assert CurrentLabel.objects.get(image=film).attributes == []
    label(film, "normal", ann)
    assert film.label_events.latest("pk").attributes == []


@pytest.mark.parametrize(("value", "attributes", "sentence"), [
    ("normal", ["pacemaker"], "'pacemaker' is unknown; use one of device, post-operative, variant"),
    ("abnormal", ["device"], "'device' is an attribute of normal films"),
    ("unsure", ["variant"], "attribute of normal films"),
    ("exclude", ["variant"], "attribute of normal films"),
])  # fmt: skip
def test_attributes_are_known_and_only_of_normal_films(
    film: Image, ann: Any, value: str, attributes: list[str], sentence: str
) -> None:
    with pytest.raises(InvalidLabel, match=sentence):
        label(film, value, ann, attributes=attributes)
    assert not LabelEvent.objects.exists()


def test_a_label_names_the_criteria_in_force_when_it_was_given(film: Image, ann: Any, ben: Any) -> None:
    factories.event(film, "normal")
    label(film, "normal", ann)
    first = factories.criteria("No device.")
    factories.criteria("All.", at=factories.site("Busan"))
    factories.film(factories.dataset("Further films"))
    label(film, "normal", ben)
    second = factories.criteria("A device is normal.")
    factories.event(film, "abnormal")
    label(film, "unsure", ann)
    undo(act=label(film, "normal", ann), author=ann, site=film.dataset.site)
    events = film.label_events.order_by("pk").values_list("source", "criteria")
    assert list(events) == [
        ("import", None),
        ("reader", None),
        ("reader", first.pk),
        ("import", None),
        ("reader", second.pk),
        ("reader", second.pk),
        ("reader", None),  # the undo gives no label
    ]
    label(film, "normal", ann)
    assert CurrentLabel.objects.get(image=film).criteria == second


def test_films_of_two_sites_name_the_criteria_of_their_own() -> None:
    here, there = factories.dataset(), factories.dataset(at=factories.site("Busan"))
    wanted = [factories.criteria("Here."), factories.criteria("There.", at=there.site)]
    author = factories.curator()
    events = [
        LabelEvent(image=factories.film(of), value="normal", author=author, source="reader") for of in (here, there)
    ]
    with transaction.atomic():
        append(events)
    assert [event.criteria for event in LabelEvent.objects.order_by("pk")] == wanted
