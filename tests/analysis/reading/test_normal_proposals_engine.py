"""From films to the next normal set with the real engine: fit, score, worklist, readings, proposal, run, decision."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.reading import normal_proposals
from analysis.reading.normal_proposals import compare
from analysis.reading.worklists import WorklistRequest, make_worklist
from ml_engine.models import Run, RunState
from ml_engine.runs import lifecycle, requests, supervisor
from ml_engine.runs.requests import RunRequest
from portal.models import Image, Role
from portal.sets.cohorts import images_of
from tests.analysis.worklists import items, read
from tests.ml_engine import made

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def ended(run: Run) -> Run:
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert (run.state, run.message, run.detail) == (RunState.DONE, "", "")
    return run


def test_dismissed_alarms_lose_their_alarm_once_the_bank_has_grown(
    data_dir: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)
    site = made.site()
    split = made.small_split(site)
    dataset = split.members.first().images.first().image.dataset
    outside = [made.film(dataset, number=number, label="normal") for number in range(200, 206)]
    head, reader = made.person("head", at=site, role=Role.MANAGER), made.person("reader", at=site, role=Role.READER)
    fitted = requests.request_detector(RunRequest(site=site, name="Fit"), split=split, config=made.small_config())
    scored = requests.request_score(RunRequest(site=site, name="Score"), after=fitted, datasets=[dataset])
    ended(fitted)
    ended(scored)
    request = WorklistRequest(run=scored, name="All", author=head, point="calibrate specificity", value=0.5)
    worklist = make_worklist(request)
    flagged = [item for item in items(worklist, flagged=True) if item.image in outside]
    assert flagged
    for item in flagged:
        read(item, reader, "normal", reason="positioning")
    proposal = normal_proposals.propose(worklist=worklist, author=head)
    assert set(proposal.films.all()) == {item.image for item in flagged}
    ended(proposal.run)
    proposal.refresh_from_db()
    effect = compare(proposal, viewer=head)
    assert effect.films == Image.objects.count()
    assert {crossing.image for crossing in effect.vanished if crossing.is_proposed}
    assert all(crossing.after < crossing.before for crossing in effect.vanished)
    assert effect.flagged_after < effect.flagged_before
    decision = normal_proposals.accept(proposal=proposal, author=head, name="normals")
    fit = set(Image.objects.filter(split_images__member__part="fit"))
    assert set(images_of(decision.cohort)) == fit | {item.image for item in flagged}
