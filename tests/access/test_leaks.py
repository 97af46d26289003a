"""Ways to learn, by acts and by inference, what is withheld from a person who reads blinded."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone

from analysis.models import WorklistReader
from analysis.reading.worklists import begin
from portal.models import User
from portal.people.blinding import open_for
from tests.access.world import everyone
from tests.analysis.scored import Scored, scored_run
from tests.analysis.worklists import items, read_stage, read_study, study
from tests.portal import factories

pytestmark = pytest.mark.django_db
LIST = UUID(int=5)


@pytest.fixture
def scored(data_dir: Path) -> Scored:
    return scored_run(factories.site(), author=everyone("boss", factories.site()))


@pytest.fixture
def boss(scored: Scored) -> User:
    return User.objects.get(username="boss")


@pytest.fixture
def person(scored: Scored) -> User:
    return everyone("reader", factories.site())


@pytest.fixture
def web(client: Client, person: User) -> Client:
    client.force_login(person)
    return client


def withhold(person: User, *films: Any) -> None:
    open_for(person=person, images=films, source=LIST, words="the worklist Tuesday", days=28)


# The model's result ----------------------------------------------------------------------------------------


def test_a_crossover_that_began_with_the_model_does_not_show_it_again_before_the_reading_without(
    scored: Scored, boss: User, person: User, web: Client
) -> None:
    of = study(scored, boss, design="crossover", washout_days=10)
    begin(worklist=of, reader=person)
    WorklistReader.objects.update(first_stage="aided")
    read_study(of, person, lambda item, stage: "normal")
    twice = {item.image_id for item in items(of) if item.repeat}
    item = next(item for item in items(of) if item.image_id not in twice)
    addresses = [f"/reading/{of.uuid}/items/{item.uuid}/revealed/{name}" for name in ("overlay", "maps")]

    def statuses() -> list[int]:
        shown = web.post(f"/api/v1/worklists/{of.uuid}/items/{item.uuid}/reveal/")
        return [shown.status_code, *(web.get(address).status_code for address in addresses)]

    assert statuses() == [400, 403, 403]  # during the washout
    WorklistReader.objects.update(first_ended_at=timezone.now() - timedelta(days=11))
    assert statuses() == [400, 403, 403]
    read_stage(item, person, "unaided")
    assert statuses() == [200, 200, 200]
