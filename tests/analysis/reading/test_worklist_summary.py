"""The summary of a worklist's readings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied

from analysis.models import Reading
from analysis.reading.worklist_summary import FilmVerdict, estimates, require_summary, summarise
from analysis.reading.worklists import begin, hand_back
from portal.models import Exposure, Role, User
from portal.people.exposure import record_exposure
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, read, reader, worklist
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of(scored: Scored, analyst: User) -> Any:
    return worklist(scored, analyst)


def verdicts(flagged: str, unflagged: str, *, probability: float) -> list[FilmVerdict]:
    """One film per letter (a: abnormal), each of its own patient."""
    letters = [(letter, True, 1.0) for letter in flagged] + [(letter, False, probability) for letter in unflagged]
    return [FilmVerdict(k, letter == "a", kind, chance) for k, (letter, kind, chance) in enumerate(letters)]


def test_films_represent_those_they_were_drawn_from() -> None:
    """10 flagged films, all read, 6 abnormal; 5 of 50 others read, 1 abnormal: 6 + 10 of 60 are abnormal."""
    shares = estimates(verdicts("aaaaaannnn", "annnn", probability=0.1), {True: 10, False: 5}, {True: 10, False: 50})
    assert shares["abnormal_among_flagged"]["value"] == pytest.approx(0.6)
    assert shares["false_alarms_among_flagged"]["value"] == pytest.approx(0.4)
    assert shares["abnormal_among_unflagged"]["value"] == pytest.approx(0.2)
    assert shares["abnormal"]["value"] == pytest.approx(16 / 60)
    assert shares["sensitivity"]["value"] == pytest.approx(6 / 16)
    assert shares["represented"] == pytest.approx(60)
    assert all(
        share["low"] < share["value"] < share["high"]
        for share in shares.values()
        if isinstance(share, dict) and "low" in share
    )


def test_while_reading_goes_on_the_read_films_represent_the_rest_of_their_kind() -> None:
    """Half of the flagged films and a fifth of the others are read: the whole stays 10 flagged and 50 others."""
    shares = estimates(verdicts("aaann", "n", probability=0.1), {True: 10, False: 5}, {True: 10, False: 50})
    assert shares["represented"] == pytest.approx(60)
    assert shares["abnormal"]["value"] == pytest.approx(6 / 60)


def test_a_kind_without_a_verdict_has_a_reason_in_place_of_a_number() -> None:
    shares = estimates(verdicts("an", "", probability=0.1), {True: 2, False: 1}, {True: 2, False: 10})
    assert shares["abnormal_among_unflagged"] == {
        "value": None, "low": None, "high": None, "reason": "None of these films has a verdict.",
    }  # fmt: skip
    why = "None of the 10 unflagged films has a verdict, so nothing can be estimated for all films."
    for name in ("abnormal", "sensitivity"):  # the flagged films do not represent the others
        assert (shares[name]["value"], shares[name]["reason"]) == (None, why)
    alone = estimates(verdicts("an", "", probability=0.1), {True: 2, False: 0}, {True: 2, False: 0})
    assert alone["abnormal"]["value"] == 0.5
    assert estimates([], {True: 2, False: 1}, {True: 2, False: 10}) == {}


def test_a_summary_counts_readers_reasons_and_corrections(of: Any) -> None:
    first, second = reader("one"), reader("two")
    flagged, unflagged = items(of, flagged=True)[:2], items(of, flagged=False)[0]
    read(flagged[0], first, "abnormal", active_seconds=4)
    read(flagged[1], first, "normal", reason="device", active_seconds=6)
    read(unflagged, first, "unsure", active_seconds=8)
    read(flagged[0], second, "abnormal")
    read(flagged[1], second, "normal")
    read(flagged[1], second, "normal", reason="device")  # corrected
    summary = summarise(of)
    assert [(row["reader"], row["read"], row["median_active_seconds"]) for row in summary["readers"]] == [
        ("one", 3, 6), ("two", 2, 8),
    ]  # fmt: skip
    assert (summary["readings"], summary["corrected"], summary["read"]) == (5, 1, 3)
    by_reason = {row["reason"]: row for row in summary["by_reason"]}
    assert by_reason["true finding"]["flagged"] == {"agree": 2, "disagree": 0, "unsure": 0}
    assert by_reason["device"]["flagged"] == {"agree": 0, "disagree": 2, "unsure": 0}
    assert by_reason["nothing to note"]["unflagged"] == {"agree": 0, "disagree": 0, "unsure": 1}
    assert summary["left_out"] == {"unsure": 1}
    (kappa,) = summary["kappa"]
    assert (kappa["films"], kappa["kappa"], kappa["observed_percent"]) == (2, 1.0, 100)


def test_a_summary_counts_what_may_be_used_as_reference_and_why_not(scored: Scored, analyst: User) -> None:
    blinded = worklist(scored, analyst, blinded=True)
    first, second, third, fourth = items(blinded)[:4]
    person = reader()
    read(first, person)
    record_exposure(person, Exposure.Kind.LABEL, [second.image_id])
    read(second, person)
    record_exposure(person, Exposure.Kind.SCORE, [third.image_id], run=scored.run.uuid)
    read(third, person)
    Reading.objects.create(
        image=fourth.image, run=scored.run, item=fourth, reader=person, verdict="normal", exposure_known=False,
        model_shown=False, active_seconds=1, total_seconds=1,
    )  # fmt: skip
    summary = summarise(blinded)
    assert (summary["usable_as_reference"], summary["usable_unverified"]) == (2, 1)
    assert summary["not_usable"] == {"label shown": 1, "model shown": 1}


def test_a_film_on_which_readers_differ_has_no_verdict(of: Any) -> None:
    item = items(of)[0]
    read(item, reader("one"), "normal")
    read(item, reader("two"), "abnormal")
    summary = summarise(of)
    assert summary["left_out"] == {"readers differ": 1}
    assert summary["estimates"] == {}


def test_kappa_is_that_of_the_films_both_read(of: Any) -> None:
    """1 of 4 apart: observed 0.75, by chance 0.5 · 0.75 + 0.5 · 0.25 = 0.5."""
    one, two = reader("one"), reader("two")
    for item, first, second in zip(items(of), "aann", "annn", strict=False):
        words = {"a": "abnormal", "n": "normal"}
        read(item, one, words[first])
        read(item, two, words[second])
    (kappa,) = summarise(of)["kappa"]
    assert kappa["kappa"] == pytest.approx(0.5)
    assert np.isfinite([kappa["low"], kappa["high"]]).all()


def test_a_person_who_still_reads_gets_no_summary(of: Any) -> None:
    both = factories.user("both", Role.READER, Role.ANALYST)
    require_summary(both, of)
    begin(worklist=of, reader=both)
    with pytest.raises(PermissionDenied, match=f"You have {len(items(of))} films? of this worklist left"):
        require_summary(both, of)
    hand_back(worklist=of, reader=both)
    require_summary(both, of)
    begin(worklist=of, reader=both)
    for item in items(of):
        read(item, both)
    require_summary(both, of)


def test_a_reader_sees_no_summary(of: Any) -> None:
    with pytest.raises(PermissionDenied, match="To make worklists"):
        require_summary(reader(), of)
