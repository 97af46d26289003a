"""Every URL of the project that can show results on the test part, in a world in which nobody has looked at one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ml_engine.models import Score
from ml_engine.runs.paths import run_folder
from portal.models import Image, User
from portal.sets.sealing import TestRules, set_test_rules
from tests.access import world as worlds
from tests.access.test_walk import SLOW, Walk
from tests.access.url_table import URLS, Look, Url, evaluations
from tests.access.world import World
from tests.analysis.sections.test_comparison import scored_again

pytestmark = pytest.mark.django_db


def not_looked_at() -> World:
    """A world with a run, and a film of test in it, at which nobody has looked in any way: not by a worklist either."""
    world = worlds.build(opened=False)
    run = scored_again(world.things["scored"], seed=1, config={})
    (run_folder(run.uuid) / "run.json").write_text(json.dumps({"kind": "score"}))
    for score in Score.objects.filter(run=run):  # digits that occur nowhere else
        Score.objects.filter(pk=score.pk).update(fused_score=3.141592653 + score.row)
    world.things["run"] = run
    return world


def urls_of(world: World) -> dict[str, Url]:
    """The URLs of which the world has the things."""
    return {
        name: url
        for name, url in URLS.items()
        if all(thing in world.things for thing in url.of) and url.query is not evaluations
    }


def test_a_look_at_test_is_counted_where_the_table_says_so(data_dir: Any) -> None:
    world = not_looked_at()
    boss = User.objects.get(username="boss")
    walk, urls = Walk(boss, world), urls_of(world)
    counting = {name for name, url in URLS.items() if url.look is Look.COUNTS}
    assert len(counting) > 8
    assert counting <= urls.keys()
    assert {name for name, url in urls.items() if walk.ask(name, url).looks} == counting
    set_test_rules(site=world.site, rules=TestRules(plan=True, second_person=True), author=boss)
    assert [name for name in sorted(counting) if walk.ask(name, URLS[name]).looks] == []


def test_no_url_shows_results_on_test_while_it_is_sealed(data_dir: Any) -> None:
    world = not_looked_at()
    boss, run = User.objects.get(username="boss"), world.things["run"]
    set_test_rules(site=world.site, rules=TestRules(plan=True, second_person=True), author=boss)
    films = Image.objects.filter(split_images__member__split=run.detector.split, split_images__member__part="test")
    secrets = {word for film in films for word in worlds.scores_of(film, run=run)}
    assert len(secrets) == len(films) == 12
    of_run = {name for name, url in URLS.items() if url.of == ("run", "test film")} | {"analysis:run-archive"}
    assert len(of_run) > 8
    wrong: dict[str, Any] = {}
    walk = Walk(boss, world)
    for name, url in urls_of(world).items():
        if url.method != "get" or name in SLOW:
            continue
        answer = walk.ask(name, url)
        if shown := {word for word in secrets if word in answer.text}:
            wrong[name] = shown
        if name in of_run and (answer.status, "sealed" in answer.body) != (403, True):
            wrong[name] = answer.status
    assert wrong == {}
