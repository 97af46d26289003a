"""Judging whether two films are the same, and what follows for splits."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction

from portal.models import AuditEvent, Dataset, FilmPair, Image, Role, SplitImage
from portal.sets.film_copies import divided_films, unjudged_in_two_parts
from portal.sets.judging_pairs import InvalidJudgement, judge_pair
from portal.sets.splits import SplitRequest, draw_split
from tests.ml_engine import made
from tests.portal import factories

pytestmark = [pytest.mark.django_db]

HALVES = {"fit": 0.5, "test": 0.5}


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def films(of: Dataset) -> list[Image]:
    return [factories.film(of, "normal", person=f"person {number}") for number in range(8)]


def judge(pair: FilmPair, verdict: str, *, seen: str = "", name: str = "judge") -> FilmPair:
    from portal.models import User

    author = User.objects.filter(username=name).first() or factories.curator(name)
    return judge_pair(pair=pair, verdict=verdict, seen=seen, author=author)


def split_of(of: Dataset, **fields: Any) -> Any:
    name = fields.pop("name", "S")
    request = SplitRequest(site=of.site, name=name, datasets=[of], author=factories.curator(name), **fields)
    return draw_split(request, fractions=HALVES)


def part_of(split: Any) -> dict[int, str]:
    return dict(SplitImage.objects.filter(member__split=split).values_list("image_id", "member__part"))


@pytest.mark.both
def test_a_judgement_is_kept_with_who_and_when_and_audited(films: list[Image]) -> None:
    pair = factories.pair(films[0], films[1])
    judged = judge(pair, "same")
    assert (judged.verdict, judged.judged_by.username) == ("same", "judge")
    assert judged.judged_at is not None
    corrected = judge(pair, "different", seen="same", name="second")
    assert corrected.verdict == "different"
    events = AuditEvent.objects.filter(verb="judge duplicate", target_uuid=pair.uuid).order_by("pk")
    assert [(event.before, event.after) for event in events] == [
        ({"verdict": ""}, {"verdict": "same"}),
        ({"verdict": "same"}, {"verdict": "different"}),
    ]


def test_what_cannot_be_judged_is_refused(films: list[Image]) -> None:
    pair = factories.pair(films[0], films[1])
    with pytest.raises(InvalidJudgement, match="The verdict is 'maybe'; expected same or different"):
        judge(pair, "maybe")
    judge(pair, "same")
    with pytest.raises(InvalidJudgement, match="Somebody judged this pair same in the meantime"):
        judge(pair, "different", name="late")
    reader = factories.user("reader", Role.READER)
    with pytest.raises(PermissionDenied, match="To judge duplicates at"):
        judge_pair(pair=pair, verdict="same", seen="same", author=reader)


@pytest.mark.both
def test_the_database_holds_pairs_once_in_order_and_judged_by_somebody(films: list[Image]) -> None:
    pair = factories.pair(films[0], films[1])
    for fields in (
        {"first": films[0], "second": films[1]},
        {"first": films[2], "second": films[1]},
        {"first": films[0], "second": films[2], "verdict": "same"},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            FilmPair.objects.create(site=pair.site, correlation=0.9, **fields)


# What follows for splits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_unjudged_films_are_both_kept_in_one_part_and_counted(of: Dataset, films: list[Image], seed: int) -> None:
    factories.pair(films[0], films[1])
    factories.pair(films[1], films[2])
    split = split_of(of, seed=seed)
    parts = part_of(split)
    assert parts[films[0].pk] == parts[films[1].pk] == parts[films[2].pk]
    assert (len(parts), split.counts["unjudged_pairs"], split.counts["left_out"]) == (8, 2, {})


def test_of_a_pair_judged_the_same_one_film_is_kept(of: Dataset, films: list[Image]) -> None:
    judge(factories.pair(films[0], films[1]), "same")
    split = split_of(of, seed=0)
    assert films[1].pk not in part_of(split)
    assert split.counts["left_out"] == {"further copy of a film in the split": 1}
    assert "unjudged_pairs" not in split.counts


def test_a_pair_judged_the_same_with_two_labels_is_left_out(of: Dataset, films: list[Image]) -> None:
    ill = factories.film(of, "abnormal", person="ill")
    judge(factories.pair(films[0], ill), "same")
    assert split_of(of, seed=0).counts["left_out"] == {"copy of a film with another label": 2}


def test_films_judged_different_are_separate(of: Dataset, films: list[Image]) -> None:
    pairs = [factories.pair(films[0], film) for film in films[1:]]
    assert set(part_of(split_of(of, seed=0, name="Joined")).values()) == {"fit"}
    for pair in pairs:
        judge(pair, "different")
    split = split_of(of, seed=0)
    assert split.counts == {"parts": {"fit": {"normal": 4}, "test": {"normal": 4}}, "left_out": {}}


def test_frozen_splits_with_a_pair_in_two_parts_are_counted_once_it_is_judged(of: Dataset, films: list[Image]) -> None:
    pair, within = factories.pair(films[0], films[4]), factories.pair(films[1], films[2])
    split = made.split(of.site, {"fit": films[:4], "test": films[4:]})
    assert (divided_films([split]), unjudged_in_two_parts(split)) == ({}, 1)
    judge(pair, "same")
    judge(within, "same")
    assert (divided_films([split]), unjudged_in_two_parts(split)) == ({split.pk: 1}, 0)
