"""A black-out reaches the folders of runs; runs that were made before say so, and one that is reading refuses it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from ml_engine.models import Run, RunState
from ml_engine.runs import paths
from ml_engine.runs.blacked_out_films import black_out_film, had_other_pixels, renew_after_crash
from ml_engine.runs.earlier_facts import earlier_facts
from portal.imaging.black_out import PixelBox
from portal.intake.film_files import pixel_path
from portal.intake.text_decisions import InvalidTextDecision, black_out_copies
from portal.models import Image, Role, User
from tests.analysis.scored import Scored, scored_run
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
BOX = PixelBox(2, 15, 8, 6)


@pytest.fixture
def scored(data_dir: Path) -> Scored:
    made = scored_run(factories.site(), author=factories.user("analyst", Role.ANALYST))
    Run.objects.update(started_at=timezone.now() - timedelta(hours=1))
    made.run.refresh_from_db()
    return made


@pytest.fixture
def author() -> User:
    return factories.curator()


def linked(run: Run, film: Image) -> Path:
    """The film's pixels in the folder of the run, as `write_folder` puts them there."""
    target = paths.run_folder(run.uuid) / "files" / f"{film.uuid}.u16.gz"
    target.parent.mkdir(parents=True, exist_ok=True)
    paths.link(pixel_path(film.pixel_sha256), target)
    with (paths.run_folder(run.uuid) / "images.csv").open("a") as listed:
        listed.write(f"files/{film.uuid}.u16.gz,{film.uuid}\n")
    return target


def test_the_folder_of_a_run_gets_the_new_pixels(
    scored: Scored, author: User, django_capture_on_commit_callbacks: Any
) -> None:
    film, other = scored.films[:2]
    target, untouched = linked(scored.run, film), linked(scored.run, other)
    old, kept = target.read_bytes(), untouched.read_bytes()
    with django_capture_on_commit_callbacks(execute=True):
        black_out_film(image=film, boxes=[BOX], pixels_seen=film.pixel_sha256, author=author)
    film.refresh_from_db()
    assert target.read_bytes() == pixel_path(film.pixel_sha256).read_bytes() != old
    assert untouched.read_bytes() == kept


def test_runs_of_before_are_marked(scored: Scored, author: User) -> None:
    film, other = scored.films[:2]
    black_out_film(image=film, boxes=[BOX], pixels_seen=film.pixel_sha256, author=author)
    assert earlier_facts(scored.run) == {"pixels": 1}
    assert had_other_pixels(scored.run, film)
    assert not had_other_pixels(scored.run, other)
    scored.run.started_at = timezone.now()
    assert earlier_facts(scored.run) == {}
    assert not had_other_pixels(scored.run, film)


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING])
def test_a_run_that_reads_the_film_comes_first(scored: Scored, author: User, state: str) -> None:
    film = scored.films[0]
    linked(scored.run, film)
    Run.objects.filter(pk=scored.run.pk).update(state=state, **_running(state))
    with pytest.raises(InvalidTextDecision, match="1 run is reading this film"):
        black_out_film(image=film, boxes=[BOX], pixels_seen=film.pixel_sha256, author=author)
    film.refresh_from_db()
    assert not film.text_decisions.exists()


def _running(state: str) -> dict[str, Any]:
    lease = {"lease_owner": "w", "lease_until": timezone.now()} if state == RunState.RUNNING else {}
    return {"finished_at": None, **lease}


def test_a_black_out_that_was_killed_is_finished_later(scored: Scored, author: User) -> None:
    film = scored.films[0]
    target, old = linked(scored.run, film), pixel_path(film.pixel_sha256)
    black_out_copies(image=film, boxes=[BOX], pixels_seen=film.pixel_sha256, author=author)
    film.refresh_from_db()
    assert old.exists()
    for _ in range(2):
        renew_after_crash()
        assert target.read_bytes() == pixel_path(film.pixel_sha256).read_bytes()
        assert not old.exists()
