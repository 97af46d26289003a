"""A retired worklist is left out of lists and begun by nobody; one that is being read is not retired."""

from __future__ import annotations

import pytest

from analysis.reading.worklists import WorklistRefused, begin, hand_back
from portal.models import Role
from portal.retention.retiring import CannotRetire, plan_of, retire
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, read, reader, worklist
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


def test_a_worklist_is_retired_once_nobody_reads_it(scored: Scored) -> None:
    boss, kim = factories.user("boss", Role.MANAGER, at=scored.run.site), reader("kim")
    made = worklist(scored, boss, name="Zebra list")
    read(items(made)[0], kim)
    with pytest.raises(CannotRetire, match=r"The worklist is being read \(kim\)"):
        retire(target=made, reason="drawn too early", author=boss)
    hand_back(worklist=made, reader=kim)
    assert plan_of(made).depends == ["1 reading by 1 person"]
    assert "1 worklist: Zebra list" in plan_of(scored.run).depends
    retire(target=made, reason="drawn too early", author=boss)
    with pytest.raises(WorklistRefused, match=r"The worklist “Zebra list” was retired on .* \(drawn too early\)"):
        begin(worklist=made, reader=kim)
    client = as_(boss)
    assert "Zebra list" not in client.get("/reading/").text
    assert client.get("/api/v1/worklists/").json()["results"] == []
    assert "boss retired this worklist" in client.get(f"/reading/{made.uuid}/summary/").text


def test_no_worklist_is_drawn_from_a_retired_run(scored: Scored) -> None:
    boss = factories.user("boss", Role.MANAGER, at=scored.run.site)
    retire(target=scored.run, reason="wrong detector", author=boss)
    with pytest.raises(WorklistRefused, match="was retired on"):
        worklist(scored, boss)
