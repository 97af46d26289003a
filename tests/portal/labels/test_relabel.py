"""A bulk relabel does what its preview says, to the films that are still as they were, and loses nothing in silence."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from typing import Any

import pytest
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db import connection

from portal.labels import relabel
from portal.labels.disagreements import adjudicate
from portal.labels.events import InvalidLabel, LabelChange, undo
from portal.labels.losses import losses_of
from portal.labels.relabel import PreviewOutdated, RelabelOutcome, RelabelPreview, apply_relabel, preview_relabel
from portal.models import AuditEvent, CurrentLabel, Dataset, Exposure, Image, LabelEvent, Role, User
from portal.people.blinding import open_for
from portal.sets.splits import SplitRequest, draw_split
from tests.portal import factories

pytestmark = [pytest.mark.both, pytest.mark.django_db]

BOX = {"x": 2.0, "y": 3.0, "width": 5.0, "height": 6.0, "finding": "nodule"}


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def ann() -> User:
    return factories.curator("ann")


@pytest.fixture
def ben() -> User:
    return factories.curator("ben")


def preview(of: Dataset, author: User, value: str, *images: Image, **change: Any) -> RelabelPreview:
    """Of these films, or of all films of the dataset."""
    films = of.images.filter(pk__in=[image.pk for image in images]) if images else of.images.all()
    return preview_relabel(
        images=films, among=of.images.all(), change=LabelChange(value=value, **change), author=author, site=of.site
    )


def applied(of: Dataset, author: User, value: str, *images: Image, **change: Any) -> RelabelOutcome:
    return apply_relabel(token=preview(of, author, value, *images, **change).token, author=author)


def label_now(image: Image) -> tuple[str, list[str]]:
    label = CurrentLabel.objects.get(image=image)
    return label.value, label.findings


def labels_by_film() -> dict[int, str]:
    return dict(CurrentLabel.objects.values_list("image", "value"))


# What a preview says is what happens ------------------------------------------------------------------------


@pytest.fixture
def mixed(of: Dataset, ann: User, ben: User) -> dict[str, Image]:
    """A film for each rule of a single label."""
    films = {
        name: factories.film(of) for name in ("bare", "imported", "boxed", "own", "others", "differing", "settled")
    }
    factories.event(films["imported"], "normal")
    factories.event(films["boxed"], "abnormal", findings=["nodule"], boxes=[BOX])
    factories.event(films["own"], "normal", ann, attributes=["device"])
    factories.event(films["others"], "normal", ben)
    for author, value in ((ann, "normal"), (ben, "abnormal")):
        factories.event(films["differing"], value, author)
        factories.event(films["settled"], value, author)
    judge, settling = factories.user("judge", Role.ADJUDICATOR), LabelChange(value="normal", attributes=["variant"])
    adjudicate(image=films["settled"], change=settling, author=judge, site=of.site)
    return films


@pytest.mark.parametrize("findings", [None, [], ["effusion"]])
@pytest.mark.parametrize("value", ["normal", "abnormal", "exclude"])
def test_the_preview_says_what_then_happens(
    of: Dataset, ann: User, mixed: dict[str, Image], value: str, findings: list[str] | None
) -> None:
    before = {film.pk: "unlabelled" for film in mixed.values()} | labels_by_film()
    seen = preview(of, ann, value, findings=findings)
    assert labels_by_film().items() <= before.items()  # a preview changes nothing
    done = apply_relabel(token=seen.token, author=ann)
    after = labels_by_film()
    assert dict(seen.moves) == Counter((before[pk], after[pk]) for pk in before)
    lost = losses_of(done.act)
    lost.pop(mixed["settled"].pk, None)  # the adjudicated label still counts
    assert Counter(seen.gone) == Counter(lost.values())
    assert (len(done.labelled), done.left_aside) == (len(mixed), ())
    assert LabelEvent.objects.filter(batch=done.act).count() == len(mixed)


def test_findings_and_boxes_stay_where_the_value_stays(of: Dataset, ann: User, mixed: dict[str, Image]) -> None:
    seen = preview(of, ann, "abnormal")
    assert (seen.keeping, [(gone.attributes, gone.findings) for gone in seen.gone]) == (1, [(("device",), ())])
    apply_relabel(token=seen.token, author=ann)
    event = mixed["boxed"].label_events.latest("pk")
    assert (event.findings, event.boxes, event.author) == (["nodule"], [BOX], ann)


def test_the_labels_of_others_decide_with_it(of: Dataset, ann: User, mixed: dict[str, Image]) -> None:
    assert preview(of, ann, "exclude", mixed["others"]).moves == {("normal", "unresolved"): 1}
    assert preview(of, ann, "abnormal", mixed["differing"]).moves == {("unresolved", "abnormal"): 1}
    assert preview(of, ann, "abnormal", mixed["settled"]).moves == {("normal", "normal"): 1}


def test_the_act_is_undone_as_one(of: Dataset, ann: User, mixed: dict[str, Image]) -> None:
    before = labels_by_film()
    done = applied(of, ann, "unsure")
    assert undo(act=done.act, author=ann, site=of.site) == len(mixed)
    assert labels_by_film() == before
    assert label_now(mixed["boxed"]) == ("abnormal", ["nodule"])


def test_it_is_audited_as_one_act(of: Dataset, ann: User) -> None:
    films = factories.films(of, normal=2, unlabelled=1)
    seen = preview(of, ann, "abnormal", findings=["nodule"], reason="seen on CT")
    factories.event(films[0], "exclude")
    done = apply_relabel(token=seen.token, author=ann)
    event = AuditEvent.objects.get(verb="relabel films")
    assert (event.before, event.reason, event.actor) == ({"normal": 1, "unlabelled": 1}, "seen on CT", ann)
    assert event.after == {
        "value": "abnormal", "films": 2, "act": str(done.act), "findings": ["nodule"], "left aside": 1,
    }  # fmt: skip


# What has changed since is left aside ----------------------------------------------------------------------


def test_a_film_that_was_labelled_in_between_is_left_aside(of: Dataset, ann: User, ben: User) -> None:
    theirs, own, imported, same = factories.films(of, normal=4)
    seen = preview(of, ann, "exclude")
    factories.event(theirs, "abnormal", ben)
    factories.event(own, "unsure", ann)
    factories.event(imported, "abnormal")
    done = apply_relabel(token=seen.token, author=ann)
    assert (done.labelled, done.left_aside) == ((same.pk,), (theirs.pk, own.pk, imported.pk))
    assert labels_by_film() == {theirs.pk: "abnormal", own.pk: "unsure", imported.pk: "abnormal", same.pk: "exclude"}


def test_a_film_whose_label_was_taken_back_is_left_aside(of: Dataset, ann: User) -> None:
    (film,) = factories.films(of, normal=1)
    act = factories.label_films(images=[film], value="abnormal", author=ann, site=of.site)
    seen = preview(of, ann, "exclude")
    undo(act=act, author=ann, site=of.site)
    done = apply_relabel(token=seen.token, author=ann)
    assert (done.labelled, label_now(film)[0]) == ((), "normal")
    assert not AuditEvent.objects.filter(verb="relabel films").exists()


def test_a_preview_is_applied_once(of: Dataset, ann: User) -> None:
    factories.films(of, normal=2)
    seen = preview(of, ann, "exclude")
    first, again = (apply_relabel(token=seen.token, author=ann) for _ in range(2))
    assert first == again
    assert LabelEvent.objects.filter(author=ann).count() == 2


def test_new_criteria_refuse_the_whole_act(of: Dataset, ann: User) -> None:
    factories.films(of, unlabelled=1)
    seen = preview(of, ann, "normal")
    assert seen.criteria is None
    criteria = factories.criteria("No device.")
    with pytest.raises(PreviewOutdated, match="has changed to v1"):
        apply_relabel(token=seen.token, author=ann)
    assert not CurrentLabel.objects.exists()
    again = preview(of, ann, "normal")
    assert again.criteria == criteria
    apply_relabel(token=again.token, author=ann)
    assert LabelEvent.objects.get().criteria == criteria


def test_an_old_preview_is_refused(of: Dataset, ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.films(of, unlabelled=1)
    seen = preview(of, ann, "normal")
    monkeypatch.setattr(relabel, "SECONDS_VALID", -1)
    with pytest.raises(PreviewOutdated, match="more than an hour old"):
        apply_relabel(token=seen.token, author=ann)


def test_a_preview_is_bound_to_its_author_and_content(of: Dataset, ann: User, ben: User) -> None:
    factories.films(of, unlabelled=1)
    seen = preview(of, ann, "normal")
    with pytest.raises(InvalidLabel, match="made by somebody else"):
        apply_relabel(token=seen.token, author=ben)
    for token in (seen.token[:-1], "", signing.dumps({"value": "normal"})):
        with pytest.raises(InvalidLabel, match="did not arrive as it was sent"):
            apply_relabel(token=token, author=ann)
    assert not LabelEvent.objects.exists()


def test_who_may_no_longer_label_applies_nothing(of: Dataset, ann: User) -> None:
    factories.films(of, unlabelled=1)
    seen = preview(of, ann, "normal")
    ann.memberships.all().delete()
    with pytest.raises(PermissionDenied):
        apply_relabel(token=seen.token, author=ann)
    with pytest.raises(PermissionDenied):
        preview(of, ann, "normal")


# Blinded films --------------------------------------------------------------------------------------------


def blind(person: User, *images: Image) -> None:
    open_for(person=person, images=images, source=uuid.uuid4(), words="the worklist Tuesday", days=28)


def test_withheld_films_are_omitted_and_counted_without_their_labels(of: Dataset, ann: User) -> None:
    read, other = factories.film(of, "normal", person="P"), factories.film(of, "abnormal", person="P")
    factories.films(of, abnormal=2)
    blind(ann, read)
    assert preview_by_label(of, ann, "abnormal").omitted == 2  # of all films: the number tells no label
    assert preview_by_label(of, ann, "abnormal").moves == {("abnormal", "exclude"): 2}
    with pytest.raises(InvalidLabel, match=r"no film to relabel\. 2 films are omitted: you have yet to read"):
        preview_by_label(of, ann, "normal")
    applied(of, ann, "exclude")
    assert {label_now(film)[0] for film in (read, other)} == {"normal", "abnormal"}


def preview_by_label(of: Dataset, author: User, label: str) -> RelabelPreview:
    films, change = of.images.filter(current_label__value=label), LabelChange(value="exclude")
    return preview_relabel(images=films, among=of.images.all(), change=change, author=author, site=of.site)


def test_a_film_withheld_after_the_preview_is_left_aside(of: Dataset, ann: User) -> None:
    blinded, free = factories.films(of, normal=2)
    seen = preview(of, ann, "exclude")
    blind(ann, blinded)
    done = apply_relabel(token=seen.token, author=ann)
    assert (done.labelled, done.left_aside) == ((free.pk,), (blinded.pk,))


def test_a_preview_is_recorded_as_a_look_at_the_labels(of: Dataset, ann: User) -> None:
    films = factories.films(of, normal=2)
    preview(of, ann, "exclude", films[0])
    assert list(Exposure.objects.values_list("person", "image", "kind")) == [(ann.pk, films[0].pk, "label")]


# Refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "change", "sentence"),
    [
        ("perhaps", {}, "is unknown"),
        ("abnormal", {"attributes": ["device"]}, "attribute of normal films"),
        ("normal", {"attributes": ["hat"]}, "'hat' is unknown"),
        ("abnormal", {"findings": ["a|b"]}, "contains '|'"),
    ],
)
def test_a_label_that_cannot_be_given_has_no_preview(
    of: Dataset, ann: User, value: str, change: dict[str, Any], sentence: str
) -> None:
    factories.films(of, unlabelled=1)
    with pytest.raises(InvalidLabel, match=sentence.replace("|", r"\|")):
        preview(of, ann, value, **change)


def test_too_many_films_and_none_are_refused(of: Dataset, ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidLabel, match=r"There is no film to relabel\.$"):
        preview(of, ann, "normal")
    factories.films(of, unlabelled=3)
    monkeypatch.setattr(relabel, "MOST_FILMS", 2)
    with pytest.raises(InvalidLabel, match="More than 2 films match"):
        preview(of, ann, "normal")


def test_films_in_the_test_part_of_a_split_are_counted(of: Dataset) -> None:
    boss = factories.user("boss", Role.MANAGER)
    factories.films(of, normal=20, abnormal=4)
    request = SplitRequest(site=of.site, name="one", datasets=[of], seed=1, author=boss)
    split = draw_split(request, fractions={"fit": 0.5, "test": 0.5})
    in_test = of.images.filter(split_images__member__part="test").count()
    assert 0 < in_test < 24
    assert preview(of, boss, "exclude").in_test == in_test
    before = split.counts
    applied(of, boss, "exclude")
    split.refresh_from_db()
    assert split.counts == before


# 5,000 films ----------------------------------------------------------------------------------------------


def many(of: Dataset, count: int) -> None:
    """Labelled films without pixels."""
    person = factories.patient("many")
    Image.objects.bulk_create(
        Image(
            dataset=of, patient=person, source_sha256=f"{n:064}", pixel_sha256=f"{n:064}", rows=9, columns=9, facts={}
        )
        for n in range(count)
    )
    LabelEvent.objects.bulk_create(
        LabelEvent(image=image, value="abnormal", source="import", findings=["nodule"]) for image in of.images.all()
    )


@pytest.mark.skipif(
    os.environ.get("HILUM_TEST_DATABASE") == "sqlite", reason="SQLite takes at most 999 values in a statement"
)
@pytest.mark.parametrize("films", [2, 400])
def test_the_number_of_queries_does_not_depend_on_the_films(
    of: Dataset, ann: User, films: int, django_assert_num_queries: Any
) -> None:
    many(of, films)
    with django_assert_num_queries(9):
        seen = preview(of, ann, "normal")
    with django_assert_num_queries(20):
        apply_relabel(token=seen.token, author=ann)


@pytest.mark.slow
def test_5000_films(of: Dataset, ann: User, django_assert_max_num_queries: Any) -> None:
    many(of, relabel.MOST_FILMS)
    on_sqlite = connection.vendor == "sqlite"
    with django_assert_max_num_queries(50 if on_sqlite else 15):
        seen = preview(of, ann, "normal")
    assert (seen.moves, len(seen.gone)) == ({("abnormal", "normal"): 5000}, 5000)
    assert len(seen.token) < 100_000
    with django_assert_max_num_queries(1000 if on_sqlite else 100):
        done = apply_relabel(token=seen.token, author=ann)
    assert len(done.labelled) == 5000
