"""Worklists that are assigned to named readers."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from analysis.models import Worklist, WorklistAssignment
from analysis.reading import verdicts
from analysis.reading.assignments import AssignmentRefused, assign, possible_readers, shown_to, unassign
from analysis.reading.worklists import begin
from portal.models import AuditEvent, Role, Site, User
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, new_reading, reader, worklist
from tests.portal import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def of(scored: Scored, analyst: User) -> Any:
    return worklist(scored, analyst)


def test_an_assigned_worklist_is_read_by_its_readers_only(of: Any, analyst: User) -> None:
    mine, other = reader("mine"), reader("other")
    begin(worklist=of, reader=other)
    assert assign(worklist=of, readers=[mine], author=analyst) == 1
    begin(worklist=of, reader=mine)
    item = items(of)[0]
    with pytest.raises(PermissionDenied, match="This worklist is assigned to other readers"):
        begin(worklist=of, reader=other)
    with pytest.raises(PermissionDenied, match="assigned to other readers"):
        verdicts.record(item=item, reader=other, new=new_reading())
    for act in (verdicts.show_heatmap, verdicts.reveal):
        with pytest.raises(PermissionDenied, match="assigned to other readers"):
            act(item=item, reader=other)
    with pytest.raises(PermissionDenied, match="assigned to other readers"):
        verdicts.escalate(item=item, reader=other, reason="tension")
    verdicts.record(item=item, reader=mine, new=new_reading())


def test_it_is_shown_to_its_readers_and_to_those_who_make_worklists(of: Any, analyst: User) -> None:
    mine, other = reader("mine"), reader("other")
    nowhere = Site.objects.none()

    def seen_by(person: User, makes: Any = nowhere) -> list[Worklist]:
        return list(shown_to(Worklist.objects.all(), person, makes=makes))

    assert seen_by(other) == [of]
    assign(worklist=of, readers=[mine], author=analyst)
    assert (seen_by(mine), seen_by(other)) == ([of], [])
    assert seen_by(analyst, Site.objects.all()) == [of]


def test_an_assignment_is_audited_and_removed_until_its_reader_has_begun(of: Any, analyst: User) -> None:
    one, two = reader("one"), reader("two")
    assign(worklist=of, readers=[one, two], author=analyst)
    assert assign(worklist=of, readers=[two], author=analyst) == 0
    assert AuditEvent.objects.get(verb="assign worklist").after == {"readers": ["one", "two"]}
    unassign(worklist=of, reader=one, author=analyst)
    assert AuditEvent.objects.get(verb="unassign worklist").before == {"readers": ["one"]}
    with pytest.raises(AssignmentRefused, match="This worklist is not assigned to one"):
        unassign(worklist=of, reader=one, author=analyst)
    begin(worklist=of, reader=two)
    with pytest.raises(AssignmentRefused, match="two has begun this worklist, so the assignment stays"):
        unassign(worklist=of, reader=two, author=analyst)
    assert [row.reader for row in WorklistAssignment.objects.all()] == [two]


def test_only_people_who_may_read_are_assigned_and_only_by_those_who_make_worklists(of: Any, analyst: User) -> None:
    curator, mine = factories.curator(), reader("mine")
    with pytest.raises(AssignmentRefused, match="curator may not read worklists at Seoul; give them the role reader"):
        assign(worklist=of, readers=[mine, curator], author=analyst)
    assert not WorklistAssignment.objects.exists()
    for act in (lambda: assign(worklist=of, readers=[mine], author=mine),
                lambda: unassign(worklist=of, reader=mine, author=mine)):  # fmt: skip
        with pytest.raises(PermissionDenied):
            act()
    assert list(possible_readers(of.run.site)) == [mine]
    factories.user("elsewhere", Role.READER, at=factories.site("Busan"))
    assert list(possible_readers(of.run.site)) == [mine]
