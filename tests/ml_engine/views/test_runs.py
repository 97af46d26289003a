"""The pages of runs: they work; a stranger is sent to log in, another site's run is a 404, a reader is refused."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from ml_engine.core.config import BACKBONES
from ml_engine.core.files import write_tensors
from ml_engine.core.published_weights import KNOWN, SETS
from ml_engine.engine.reports import MapThreshold, PicturePair
from ml_engine.engine.run_kinds import KINDS, RunKindFacts
from ml_engine.forms.runs import _OWN_WORDS
from ml_engine.forms.setting_fields import SETTINGS
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs import paths
from ml_engine.runs.requests import changes_from_preset, config_from
from ml_engine.views.runs import FORMS
from portal.models import Dataset, Membership, Role, Site, User
from portal.retention import retiring
from tests.ml_engine import made, reports
from tests.pages import one_line

pytestmark = pytest.mark.django_db


@pytest.fixture
def site(data_dir: Path) -> Site:
    return made.site()


@pytest.fixture
def split(site: Site) -> Any:
    return made.small_split(site)


@pytest.fixture
def analyst(site: Site) -> User:
    return made.person("ana", at=site, role=Role.ANALYST)


@pytest.fixture
def web(client: Client, analyst: User) -> Client:
    client.force_login(analyst)
    return client


@pytest.fixture
def reader(site: Site) -> Client:
    client = Client()
    client.force_login(made.person("rho", at=site, role=Role.READER))
    return client


def new(kind: str, **query: str) -> str:
    return reverse("ml_engine:run-new", args=[kind], query=query)


def at(name: str, run: Run) -> str:
    return reverse(f"ml_engine:{name}", args=[run.uuid])


@pytest.mark.parametrize(("kind", "facts"), list(KINDS.items()))
def test_the_page_of_a_new_run_is_headed_by_its_kind(web: Client, kind: RunKind, facts: RunKindFacts) -> None:
    page = web.get(new(kind)).text
    assert f"<h1>{facts.words}</h1>" in page
    assert f"<title>{facts.words} · Hilum</title>" in page


# Who may ---------------------------------------------------------------------------------------------

PAGES = ["run", "run-progress", "run-log"]
ACTIONS = ["run-cancel", "run-retry"]


def test_a_stranger_is_sent_to_log_in(client: Client, split: Any) -> None:
    run = made.run(split)
    addresses = [reverse("ml_engine:runs"), new("score"), *(at(name, run) for name in PAGES)]
    for address in addresses:
        assert client.get(address).headers["Location"].startswith("/accounts/login/")
    for name in ACTIONS:
        assert client.post(at(name, run)).headers["Location"].startswith("/accounts/login/")


def test_another_sites_run_does_not_exist(client: Client, split: Any) -> None:
    elsewhere = made.person("eve", at=made.site("Busan"), role=Role.MANAGER)
    client.force_login(elsewhere)
    run = made.run(split, name="Secret plan")
    assert [client.get(at(name, run)).status_code for name in PAGES] == [404] * 3
    assert [client.post(at(name, run)).status_code for name in ACTIONS] == [404] * 2
    assert client.get(new(run.kind, clone=str(run.uuid))).status_code == 404
    assert "Secret plan" not in client.get(reverse("ml_engine:runs")).text
    run.refresh_from_db()
    assert run.state == RunState.QUEUED


def test_a_reader_sees_runs_but_may_not_request_one(reader: Client, split: Any) -> None:
    run = made.run(split)
    assert [reader.get(at(name, run)).status_code for name in PAGES] == [200] * 3
    answers = [reader.get(new("fit_detector")), *(reader.post(at(name, run)) for name in ACTIONS)]
    assert [answer.status_code for answer in answers] == [403] * 3
    assert "you need one of these roles: analyst, manager" in answers[0].text
    assert "Clone with changes" not in reader.get(at("run", run)).text


@pytest.mark.parametrize("name", PAGES)
def test_pages_accept_only_get(web: Client, split: Any, name: str) -> None:
    assert web.post(at(name, made.run(split))).status_code == 405


@pytest.mark.parametrize("name", ACTIONS)
def test_actions_accept_only_post(web: Client, split: Any, name: str) -> None:
    assert web.get(at(name, made.run(split))).status_code == 405


# The list --------------------------------------------------------------------------------------------


def test_an_empty_list_explains_what_to_do(web: Client, reader: Client) -> None:
    assert "Fit a detector" in web.get(reverse("ml_engine:runs")).text
    assert "An analyst or a manager of the site can request one." in reader.get(reverse("ml_engine:runs")).text


def test_the_list_filters_by_kind_and_state(web: Client, split: Any) -> None:
    made.run(split, name="Waiting alignment")
    made.run(split, name="Failed detector", kind=RunKind.FIT_DETECTOR, state=RunState.FAILED, message="The disk.")
    by_kind = web.get(reverse("ml_engine:runs"), {"kind": "fit_detector"}).text
    by_state = web.get(reverse("ml_engine:runs"), {"state": "queued"}).text
    assert "Failed detector" in by_kind
    assert "The disk." in by_kind
    assert "Waiting alignment" not in by_kind
    assert "Waiting alignment" in by_state
    assert "Failed detector" not in by_state


def test_the_list_polls_while_a_run_is_active(web: Client, split: Any) -> None:
    run = made.run(split, state=RunState.RUNNING, stage="banks", done=3, total=10, run_seconds_left=75)
    address = reverse("ml_engine:runs")
    text = web.get(address).text
    assert 'hx-trigger="every 2s"' in text
    assert "selecting the memory banks, about 75 s left" in text
    fragment = web.get(address, headers={"HX-Request": "true"}).text
    assert fragment.lstrip().startswith('<div id="runs"')
    Run.objects.filter(pk=run.pk).update(state=RunState.DONE)
    assert "hx-trigger" not in web.get(address).text


def test_a_divided_run_shows_its_ranges_and_they_have_no_page(web: Client, split: Any) -> None:
    detector = made.detector_model(split)
    waits = {"stage": "ranges", "stage_index": 1, "stage_count": 2, "done": 13, "total": 20, "run_seconds_left": 600}
    run = made.run(split, kind=RunKind.SCORE, name="Divided", detector=detector, most_a_child=10, **waits)
    facts: dict[str, Any] = {"site": run.site, "kind": RunKind.SCORE, "parent": run, "detector": detector}
    done = Run.with_children.create(
        name="Divided: films 1 to 10", first_row=0, end_row=10, state=RunState.DONE, device="cpu", **facts
    )
    failed = {"state": RunState.FAILED, "message": "Too little memory."}
    Run.with_children.create(name="Divided: films 11 to 20", first_row=10, end_row=20, **facts, **failed)
    page = web.get(reverse("ml_engine:run", args=[run.uuid])).text
    assert "Running, 1 of 2 ranges" in one_line(page)
    assert "1 of 2 ranges done" in one_line(page)
    assert "13 of 20 films · about 10 min left of the whole run" in one_line(page)
    assert "films 11 to 20" in page
    assert "Too little memory." in page
    listed = web.get(reverse("ml_engine:runs")).text
    assert "working in ranges, about 10 min left" in one_line(listed)
    assert "Divided: films" not in listed
    for name in ("run", "run-progress", "run-log"):
        assert web.get(reverse(f"ml_engine:{name}", args=[done.uuid])).status_code == 404
    answer = web.get(reverse("api-run", args=[run.uuid])).json()
    assert (answer["state"], answer["stage"], answer["done"], answer["total"]) == ("queued", "ranges", 13, 20)
    assert web.get(reverse("api-run", args=[done.uuid])).status_code == 404


def test_a_divided_study_shows_its_detectors(web: Client, split: Any) -> None:
    waits = {"stage": "ranges", "stage_index": 1, "stage_count": 2, "done": 1, "total": 4}
    run = made.run(split, kind=RunKind.SWEEP, name="Divided", most_a_child=3, **waits)
    facts: dict[str, Any] = {"site": run.site, "kind": RunKind.SWEEP, "parent": run, "split": split}
    first = Run.with_children.create(name="1", first_row=0, end_row=1, state=RunState.DONE, **facts)
    Run.with_children.create(name="2", first_row=1, end_row=4, after=first, **facts)
    page = one_line(web.get(reverse("ml_engine:run", args=[run.uuid])).text)
    assert "Running, 1 of 4 detectors" in page and "1 of 4 detectors done" in page
    assert "ranges done" not in page
    assert ">detector 1<" in page and ">detectors 2 to 4<" in page


def test_the_list_takes_the_same_queries_for_any_number_of_runs(
    web: Client, split: Any, django_assert_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    made.run(split)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        web.get(reverse("ml_engine:runs"))
    first = made.run(split)
    for _ in range(5):
        made.run(split, kind=RunKind.FIT_DETECTOR, after=first, requested_by=User.objects.first())
    with django_assert_num_queries(len(queries)):
        web.get(reverse("ml_engine:runs"))


# A run -----------------------------------------------------------------------------------------------


def test_a_running_run_shows_its_progress(web: Client, split: Any) -> None:
    run = made.run(
        split,
        state=RunState.RUNNING,
        stage="features",
        stage_index=3,
        stage_count=8,
        done=30,
        total=90,
        seconds_left=400.0,
        memory_mib=1234.4,
    )
    paths.run_folder(run.uuid).mkdir(parents=True)
    (paths.run_folder(run.uuid) / "log.txt").write_text("Stage <features> begins.")
    text = one_line(web.get(at("run", run)))
    for words in (
        "Stage 4 of 8: <strong>extracting patch features</strong>",
        "30 of 90 · about 7 min left in this stage, the whole run's time is not known",
        "1234 MiB",
        "Stage &lt;features&gt; begins.",
        'hx-trigger="every 1s"',
        "Cancel",
    ):
        assert words in text
    assert "Retry</button>" not in text
    assert "random weights" not in text


def test_a_run_before_its_first_stage_says_what_it_does(web: Client, split: Any) -> None:
    run = made.run(split, state=RunState.RUNNING)
    assert "Preparing the run folder" in one_line(web.get(at("run", run)))
    paths.run_folder(run.uuid).mkdir(parents=True)
    (paths.run_folder(run.uuid) / "log.txt").write_text("Measuring what this machine takes for single steps.")
    assert "Starting: what single steps take here is measured" in one_line(web.get(at("run", run)))


def test_the_last_seconds_are_not_said_to_be_none(web: Client, split: Any) -> None:
    run = made.run(split, state=RunState.RUNNING, stage="results", run_seconds_left=0.2)
    assert "a few seconds left of the whole run" in one_line(web.get(at("run", run)))


def test_the_badge_names_the_stage_and_is_refreshed_with_the_progress(web: Client, split: Any) -> None:
    run = made.run(split, state=RunState.RUNNING, stage="mask", stage_index=2, stage_count=10)
    badge = '<span class="state state-running" id="run-state"> Running, stage 3 of 10 </span>'
    assert badge in one_line(web.get(at("run", run)))
    assert badge in one_line(web.get(at("run-progress", run)))
    assert "Running, stage 3 of 10" in one_line(web.get(reverse("ml_engine:runs")))


def test_a_queued_run_says_how_many_are_before_it(web: Client, split: Any) -> None:
    made.run(split, state=RunState.RUNNING, run_seconds_left=75)
    run = made.run(split, name="Next")
    made.run(split, name="Last")
    assert "1 run is before it, with about 75 s left." in one_line(web.get(at("run", run)))
    listed = one_line(web.get(reverse("ml_engine:runs")))
    assert "1 run is before it" in listed
    assert "2 runs are before it" in listed


def test_a_queued_run_is_said_to_wait_for_a_worker_only_if_none_takes_runs(web: Client, split: Any) -> None:
    run = made.run(split)
    text = one_line(web.get(at("run", run)))
    assert "It is the next one: a worker takes it within seconds." in text
    assert "No worker" not in text
    Run.objects.filter(pk=run.pk).update(queued_at=timezone.now() - timedelta(minutes=5))
    text = one_line(web.get(at("run", run)))
    assert "No worker has taken a run since" in text
    assert "manage.py status" in text


def test_a_run_whose_worker_is_gone_says_so(web: Client, split: Any) -> None:
    run = made.run(split, state=RunState.RUNNING, lease_until=timezone.now() - timedelta(seconds=9))
    Run.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now())
    assert "Its worker has not reported since" in one_line(web.get(at("run", run)))


def test_no_form_offers_what_is_retired(web: Client, split: Any, site: Site) -> None:
    boss = made.person("boss", at=site, role=Role.MANAGER)
    alignment, detector = made.alignment_model(split), made.detector_model(split)
    forms = [new(kind) for kind in (RunKind.FIT_DETECTOR, RunKind.SCORE, RunKind.BLIND_SPOTS)]
    forms.append(reverse("ml_engine:boards"))
    [source] = Dataset.objects.all()
    words = {str(alignment.uuid), str(detector.run.uuid), f"dataset:{source.uuid}"}

    def offered() -> list[set[str]]:
        return [{word for word in words if word in web.get(form).text} for form in forms]

    assert [len(of_form) for of_form in offered()] == [1, 1, 1, 2]
    for target in (alignment.run, detector.run, source):
        retiring.retire(target=target, reason="measured anew", author=boss)
    assert offered() == [set(), set(), set(), set()]


def test_polling_stops_when_the_run_has_ended(web: Client, split: Any) -> None:
    run = made.run(split, state=RunState.RUNNING)
    response = web.get(at("run-progress", run))
    assert "HX-Refresh" not in response.headers
    assert "hx-trigger" in response.text
    Run.objects.filter(pk=run.pk).update(state=RunState.DONE)
    response = web.get(at("run-progress", run))
    assert response.headers["HX-Refresh"] == "true"
    assert json.loads(response.headers["HX-Trigger"]) == {"hilum:ended": {"title": "A run", "body": "The run is done."}}
    assert "hx-trigger" not in response.text


def test_a_failed_run_shows_its_reason_a_reference_and_a_retry(web: Client, split: Any) -> None:
    run = made.run(split, state=RunState.FAILED, message="The disk is full: free some space.", detail="Traceback")
    text = web.get(at("run", run)).text
    assert "The disk is full: free some space." in text
    assert f'<code class="user-select-all">{run.uuid}</code>' in text
    assert "Retry</button>" in text
    assert "Traceback" not in text


def test_the_detail_is_for_staff(client: Client, split: Any) -> None:
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    run = made.run(split, state=RunState.FAILED, message="No.", detail="Traceback")
    assert "Traceback" in client.get(at("run", run)).text


def test_random_weights_are_marked(web: Client, split: Any) -> None:
    run = made.run(split, kind=RunKind.FIT_DETECTOR, random_weights=True)
    notice = '<p class="hilum-random" role="note">random weights, not for evaluation</p>'
    assert notice in web.get(at("run", run)).text
    assert "random weights, not for evaluation" in web.get(reverse("ml_engine:runs")).text


def test_a_choice_of_models_marks_random_weights(web: Client, split: Any) -> None:
    made.detector_model(split)
    made.run(split, name="Waiting", kind=RunKind.FIT_DETECTOR, random_weights=True)
    text = web.get(new("score")).text
    assert "A detector · split First · random weights, not for evaluation</option>" in text
    assert "Waiting · when it is done · random weights, not for evaluation</option>" in text
    made.alignment_model(split)
    assert "An alignment · split First</option>" in web.get(new("fit_detector")).text


def test_random_weights_are_marked_in_the_admin(client: Client, split: Any) -> None:
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    run = made.run(split, name="Untrained", kind=RunKind.FIT_DETECTOR, random_weights=True)
    trained = made.run(split, name="Trained", kind=RunKind.FIT_DETECTOR)
    words = "random weights, not for evaluation"
    assert f"Untrained: {words}" in client.get(reverse("admin:ml_engine_run_changelist")).text
    assert words in client.get(reverse("admin:ml_engine_run_change", args=[run.pk])).text
    assert words not in client.get(reverse("admin:ml_engine_run_change", args=[trained.pk])).text


def test_a_waiting_run_names_the_one_before(web: Client, split: Any) -> None:
    before = made.run(split, name="The alignment", state=RunState.RUNNING)
    run = made.run(split, kind=RunKind.FIT_DETECTOR, after=before)
    text = one_line(web.get(at("run", run)))
    assert f'Waiting for <a class="alert-link" href="{at("run", before)}">The alignment</a>, which is running.' in text
    assert f'<a href="{at("run", run)}">A run</a>' in web.get(at("run", before)).text


def test_an_alignment_shows_its_report(web: Client, split: Any) -> None:
    measures = reports.alignment_measures(films=6, ncc_after=0.7512, stack_variance_before=None, share_flagged=0.25)
    model = made.alignment_model(split, reports.alignment_report(measures=measures))
    text = web.get(at("run", model.run)).text
    assert "Alignment, measured on its 6 films" in text
    assert "0.751" in text
    assert "25 %" in text
    assert "–" in text


PAIR = PicturePair(
    name="worst-1", before="worst-1-before.png", after="worst-1-after.png", row=0, ncc_before=0.25, ncc_after=0.5
)


def pictured(split: Any) -> Run:
    """The run of an alignment with one picture on disk and two that are lost, and another file in its folder."""
    report = reports.alignment_report(pictures=["canonical.png", PAIR.before, PAIR.after], pairs=[PAIR])
    run = made.alignment_model(split, report).run
    for name in ("canonical.png", "other.png"):
        paths.picture_path(run.uuid, name).parent.mkdir(parents=True, exist_ok=True)
        paths.picture_path(run.uuid, name).write_bytes(b"a picture")
    return run


def picture(run: Run, name: str) -> str:
    return reverse("ml_engine:run-picture", args=[run.uuid, name])


def test_an_alignment_shows_its_pictures(web: Client, split: Any) -> None:
    run = pictured(split)
    text = one_line(web.get(at("run", run)))
    for name in ("canonical.png", PAIR.before, PAIR.after):
        assert f'src="{picture(run, name)}"' in text
    assert "Poorest fit 1, before and after: NCC 0.25 and 0.50" in text


def test_a_picture_is_private(web: Client, split: Any) -> None:
    response = web.get(picture(pictured(split), "canonical.png"))
    assert b"".join(response.streaming_content) == b"a picture"  # type: ignore[attr-defined]
    assert response.headers["Content-Type"] == "image/png"
    assert response.headers["Cache-Control"].startswith("private")


@pytest.mark.parametrize("name", ["other.png", PAIR.before, "..", "alignment.json"])
def test_no_other_file_is_served_as_a_picture(web: Client, split: Any, name: str) -> None:
    assert web.get(picture(pictured(split), name)).status_code == 404


def test_a_run_without_an_alignment_has_no_pictures(web: Client, split: Any) -> None:
    assert web.get(picture(made.run(split), "canonical.png")).status_code == 404


def test_pictures_are_of_the_site(client: Client, split: Any) -> None:
    address = picture(pictured(split), "canonical.png")
    assert client.get(address).status_code == 302
    client.force_login(made.person("eve", at=made.site("Busan"), role=Role.ANALYST))
    assert client.get(address).status_code == 404


def test_pictures_accept_only_get(web: Client, split: Any) -> None:
    assert web.post(picture(pictured(split), "canonical.png")).status_code == 405


def test_an_alignment_shows_the_errors_of_known_affines(web: Client, split: Any) -> None:
    measures = reports.alignment_measures(known=reports.KNOWN, consistency=reports.LEFT, landmarks=reports.LANDMARKS)
    model = made.alignment_model(split, reports.alignment_report(measures=measures))
    text = web.get(at("run", model.run)).text
    for words in ("Known affines, on 5 films", "8.50", "1.25", "Landmarks, on 7 of 8 films", "2.35"):
        assert words in text


@pytest.mark.parametrize("setting", ["method=landmarks", "canonical=file", "canonical=landmarks"])
def test_an_alignment_that_needs_a_file_is_refused(web: Client, split: Any, setting: str) -> None:
    advanced = f"alignment.perceptual=0\nalignment.{setting}"
    fields = {"name": "Mine", "split": split.uuid, "preset": "default", "advanced": advanced}
    response = web.post(new("fit_alignment"), fields)
    name, value = setting.split("=")
    assert f"alignment.{name} is {value}, which needs a file that only the command line takes" in response.text
    assert not Run.objects.exists()


def test_a_detector_shows_its_summary(web: Client, split: Any) -> None:
    model = made.detector_model(split)
    text = one_line(web.get(at("run", model.run)))
    for words in ("40 patches", "3 of 4 cells, 30 patches", "2.500", "79 %", "0.60 chosen on tune", "9, 4 abnormal"):
        assert words in text
    assert new("score") + f"?detector={model.run.uuid}" in text


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        (
            MapThreshold(kind="film", value=4.256, note="", rate=0.1, expected=0.0588, low=0.0016, high=0.206),
            "4.26, marks 6 % of normal films (0 % to 21 %)",
        ),
        (MapThreshold(kind="film", value=4.256, note="", rate=0.1), "4.26, for a rate of 10 %, without a guarantee"),
        (MapThreshold(kind="percentile", value=2.5, note=""), "2.50 </td>"),
        (MapThreshold(kind="film", value=None, note="A false-alarm rate of 0.1 needs more."), "of 0.1 needs more."),
    ],
)
def test_a_detector_shows_the_threshold_of_its_maps(
    web: Client, split: Any, threshold: MapThreshold, words: str
) -> None:
    model = made.detector_model(split, reports.detector_report(threshold=threshold))
    assert words in one_line(web.get(at("run", model.run)))


def test_the_log_is_plain_text(web: Client, split: Any) -> None:
    run = made.run(split)
    assert web.get(at("run-log", run)).text == "No log yet."
    paths.run_folder(run.uuid).mkdir(parents=True)
    (paths.run_folder(run.uuid) / "log.txt").write_text("one\ntwo\n")
    answer = web.get(at("run-log", run))
    assert (answer.text, answer.headers["Content-Type"]) == ("one\ntwo", "text/plain; charset=utf-8")


def test_cancel_and_retry(web: Client, split: Any) -> None:
    run = made.run(split)
    web.post(at("run-cancel", run))
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED
    assert "is already cancelled: nothing to cancel" in web.post(at("run-cancel", run), follow=True).text
    web.post(at("run-retry", run))
    run.refresh_from_db()
    assert run.state == RunState.QUEUED
    assert "only a failed or cancelled run is retried" in web.post(at("run-retry", run), follow=True).text


# A new run -------------------------------------------------------------------------------------------


def fit_fields(on: Any, /, **fields: Any) -> dict[str, Any]:
    small = {"size": 64, "backbone": "resnet18", "weights": "random", "rate": 0.1, "grid": 2, "mask": "no"}
    plain = {"name": "Mine", "split": on.uuid, "preset": "default", "alignment": "none"}
    return plain | small | fields


@pytest.mark.slow
def test_the_forms_open(web: Client, split: Any) -> None:
    for kind in FORMS:
        assert web.get(new(kind)).status_code == 200
    assert web.get(new("nonsense")).status_code == 404
    assert 'step="0.01"' in web.get(new("fit_detector")).text
    assert f'value="{split.uuid}" selected' in web.get(new("fit_detector", split=str(split.uuid))).text


def test_a_run_is_requested_at_the_site_of_its_split_or_detector(web: Client, analyst: User, split: Any) -> None:
    """The site in the bar is Aachen; split and detector are Seoul's."""
    Membership.objects.create(user=analyst, site=made.site("Aachen"), role=Role.ANALYST)
    detector = made.detector_model(split)
    assert web.get(new("fit_detector")).context["site"].name == "Aachen"
    page = web.get(new("fit_detector", split=str(split.uuid)))
    assert page.context["site"] == split.site
    assert f'value="{split.uuid}" selected' in page.text
    page = web.get(new("score", detector=str(detector.run.uuid)))
    assert f'value="{detector.run.uuid}" selected' in page.text
    answer = web.post(new("fit_detector", split=str(split.uuid)), fit_fields(split))
    assert answer.status_code == 302
    assert Run.objects.get(name="Mine").site == split.site


def test_a_run_from_an_unknown_split_is_404(web: Client, split: Any) -> None:
    elsewhere = made.split(made.site("Busan"), name="Theirs")
    for address in (str(elsewhere.uuid), "nonsense"):
        assert web.get(new("fit_detector", split=address)).status_code == 404
        assert web.get(new("score", detector=address)).status_code == 404


def test_a_detector_is_requested(web: Client, split: Any, analyst: User) -> None:
    answer = web.post(new("fit_detector"), fit_fields(split, note="Why not.", advanced="batch=4\n\nimage_score = max"))
    run = Run.objects.get()
    assert answer.headers["Location"] == at("run", run)
    assert (run.kind, run.requested_by, run.note, run.random_weights) == ("fit_detector", analyst, "Why not.", True)
    assert {name: run.config[name] for name in ("size", "rate", "grid", "mask", "batch", "image_score", "align")} == {
        "size": 64,
        "rate": 0.1,
        "grid": 2,
        "mask": False,
        "batch": 4,
        "image_score": "max",
        "align": "none",
    }


def test_known_backbones_and_weights_are_choices(web: Client, split: Any, data_dir: Path) -> None:
    header = {"architecture": "timm:resnet26", "sha256": "0" * 64}
    write_tensors(data_dir / "weights" / "mine-00000000.safetensors", {"a": torch.zeros(1)}, header)
    page = web.get(new("fit_detector")).text
    for name in (*BACKBONES, "timm:resnet26"):
        assert f'<option value="{name}">' in page
    for name in ("imagenet", "imagenet-v2", "dinov2", "random"):
        assert f'<option value="{name}">' in page
    assert '<option value="mine-00000000.safetensors">mine-00000000.safetensors (of timm:resnet26)</option>' in page


def test_a_backbone_brings_its_layers_and_weights_along(web: Client, split: Any, data_dir: Path) -> None:
    known = SETS["dinov2"]["timm:vit_small_patch14_dinov2"]
    write_tensors(data_dir / "weights" / known.stored_name, {"a": torch.zeros(1)}, {"architecture": known.architecture})
    web.post(new("fit_detector"), fit_fields(split, backbone="timm:vit_small_patch14_dinov2", weights="", size=""))
    run = Run.objects.get()
    assert [run.config[name] for name in ("layers", "weights", "size")] == ["last", "dinov2", 224]
    clone = web.get(new("fit_detector", clone=str(run.uuid))).text
    assert '<option value="timm:vit_small_patch14_dinov2" selected>' in clone
    assert '<option value="dinov2" selected>' in clone


def test_absent_weights_are_refused_before_the_run(web: Client, split: Any, data_dir: Path) -> None:
    page = web.post(new("fit_detector"), fit_fields(split, weights="imagenet"))
    assert page.status_code == 400
    assert "The ImageNet weights of resnet18 are not on this machine. Download them" in one_line(page.text)
    page = web.post(new("fit_detector"), fit_fields(split, alignment="first", advanced="alignment.method=network"))
    assert "The ImageNet weights of vgg19 are not on this machine." in one_line(page.text)
    assert "Or set alignment.perceptual=0 to fit the alignment without the loss that needs them." in one_line(page.text)
    assert not Run.objects.exists()
    fields = fit_fields(split, alignment="first", advanced="alignment.method=network\nalignment.perceptual=0")
    assert web.post(new("fit_detector"), fields).status_code == 302
    assert list(Run.objects.values_list("kind", flat=True).order_by("kind")) == ["fit_alignment", "fit_detector"]


def test_a_detector_whose_weights_are_gone_cannot_score(web: Client, split: Any, data_dir: Path) -> None:
    config = made.small_config(weights="mine.safetensors").to_json()
    detector = made.detector_model(split, config=config)
    fields = {"name": "S", "detector": detector.run.uuid, "parts": ["test"]}
    assert "There are no weights called &#x27;mine.safetensors&#x27;" in web.post(new("score"), fields).text
    write_tensors(data_dir / "weights" / "mine.safetensors", {"a": torch.zeros(1)}, {"architecture": "resnet18"})
    assert web.post(new("score"), fields).status_code == 302


def test_weights_that_come_with_hilum_need_no_file(web: Client, split: Any, data_dir: Path) -> None:
    fields = fit_fields(split, backbone="tf_efficientnet_lite2", weights="imagenet")
    assert web.post(new("fit_detector"), fields).status_code == 302
    assert not (data_dir / "weights").exists()  # a web process converts nothing


def test_the_form_names_the_presets_whose_weights_are_absent(web: Client, split: Any, data_dir: Path) -> None:
    page = one_line(web.get(new("fit_detector")).text)
    assert "Not on this machine:" in page
    assert "imagenet of wide_resnet50_2 (preset paper), imagenet of wide_resnet50_2 (preset paper-448)." in page
    write_tensors(data_dir / "weights" / KNOWN["wide_resnet50_2"].stored_name, {"a": torch.zeros(1)}, {})
    assert "Not on this machine:" not in web.get(new("fit_detector")).text


def test_weights_of_another_network_are_refused_before_the_run(web: Client, split: Any, data_dir: Path) -> None:
    header = {"architecture": "resnet50", "sha256": "0" * 64}
    write_tensors(data_dir / "weights" / "mine.safetensors", {"a": torch.zeros(1)}, header)
    answer = web.post(new("fit_detector"), fit_fields(split, weights="mine.safetensors"))
    assert "The weights mine.safetensors are of resnet50, and the backbone is resnet18: choose weights" in answer.text
    assert not Run.objects.exists()


def test_an_alignment_may_be_fitted_first(web: Client, split: Any) -> None:
    web.post(new("fit_detector"), fit_fields(split, alignment="first", advanced="alignment.perceptual=0"))
    run = Run.objects.get(kind=RunKind.FIT_DETECTOR)
    assert run.after is not None
    assert (run.after.kind, run.after.name, run.after.split) == ("fit_alignment", "Mine: alignment", split)
    assert run.config["align"] == "network"


def test_an_alignment_is_requested(web: Client, split: Any) -> None:
    fields = {"name": "Mine", "split": split.uuid, "preset": "paper", "seed": 7}
    fields["advanced"] = "alignment.epochs=3\nalignment.perceptual=0"
    web.post(new("fit_alignment"), fields)
    run = Run.objects.get()
    assert (run.kind, run.seed, run.config["alignment"]["epochs"]) == ("fit_alignment", 7, 3)


def test_a_weight_set_by_hand_is_not_chosen_on_tune(web: Client, split: Any) -> None:
    web.post(new("fit_detector"), fit_fields(split, fusion_weight="0.3"))
    config = Run.objects.get().config
    assert (config["fusion_weight"], config["fusion_choice"]) == (0.3, "config")


def test_scores_are_requested_by_part_or_by_dataset(web: Client, split: Any) -> None:
    detector = made.detector_model(split)
    web.post(new("score"), {"name": "By part", "detector": detector.run.uuid, "parts": ["test", "tune"]})
    dataset = split.site.datasets.get()
    web.post(new("score"), {"name": "By set", "detector": detector.run.uuid, "datasets": [dataset.uuid]})
    by_part, by_set = Run.objects.get(name="By part"), Run.objects.get(name="By set")
    assert (by_part.parts, by_part.detector, by_part.random_weights) == (["tune", "test"], detector, True)
    assert list(by_set.datasets.all()) == [dataset]


def test_scores_may_wait_for_their_detector(web: Client, split: Any) -> None:
    fit = made.run(split, kind=RunKind.FIT_DETECTOR, random_weights=True)
    web.post(new("score"), {"name": "Later", "detector": fit.uuid, "parts": ["test"]})
    run = Run.objects.get(name="Later")
    assert (run.after, run.detector, run.random_weights) == (fit, None, True)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": ""}, "This field is required."),
        ({"split": ""}, "This field is required."),
        ({"size": 65}, "size is 65: it must be a multiple of 32, such as 224 or 448."),
        ({"rate": 2}, "rate is 2.0: it must be from 1e-06 to 1."),
        ({"fusion_weight": "0.333"}, "fusion_weight is 0.333: it must be a whole number of hundredths"),
        ({"advanced": "nonsense"}, "Line 1 is “nonsense”: write FIELD=VALUE, such as alignment.epochs=20."),
        ({"advanced": "mystery=1"}, "mystery is not a setting."),
        ({"advanced": "batch=many"}, "batch is &#x27;many&#x27;: it must be a whole number."),
    ],
)
def test_a_bad_request_is_refused_with_a_sentence(web: Client, split: Any, fields: Any, sentence: str) -> None:
    answer = web.post(new("fit_detector"), fit_fields(split, **fields))
    assert answer.status_code == 400
    assert sentence in answer.text
    assert not Run.objects.exists()


def test_scoring_nothing_is_refused(web: Client, split: Any) -> None:
    detector = made.detector_model(split)
    answer = web.post(new("score"), {"name": "Nothing", "detector": detector.run.uuid})
    assert "Choose what to score: parts of the detector&#x27;s split, or datasets." in answer.text
    answer = web.post(new("score"), {"name": "Empty", "detector": detector.run.uuid, "parts": ["align"]})
    assert "has no film in part align" in answer.text


def test_an_alignment_of_another_split_is_refused(web: Client, split: Any) -> None:
    other = made.split(split.site, {"fit": [made.film(split.site.datasets.get(), number=900)]}, name="Second")
    alignment = made.alignment_model(other)
    answer = web.post(new("fit_detector"), fit_fields(split, alignment=alignment.uuid))
    assert "was fitted on the split “Second”, where this split&#x27;s test films may have been" in answer.text


def test_an_alignment_that_prepared_films_differently_is_refused(web: Client, split: Any) -> None:
    alignment = made.alignment_model(split)
    answer = web.post(new("fit_detector"), fit_fields(split, alignment=alignment.uuid, preset="paper"))
    assert "intensity is minmax here and was window when the alignment was fitted" in answer.text


def test_another_sites_split_is_no_choice(web: Client, split: Any) -> None:
    other = made.split(made.site("Busan"), name="Theirs")
    assert web.post(new("fit_detector"), fit_fields(other)).status_code == 400
    assert not Run.objects.exists()


# Clones ----------------------------------------------------------------------------------------------


def test_a_clone_starts_with_the_whole_request(web: Client, split: Any) -> None:
    web.post(
        new("fit_detector"), fit_fields(split, fusion_weight="0.3", seed="5", advanced="batch=4\nalignment.epochs=3")
    )
    run = Run.objects.get()
    form = web.get(new("fit_detector", clone=str(run.uuid))).context["form"]
    web.post(
        new("fit_detector", clone=str(run.uuid)),
        {field.name: field.value() for field in form if field.value() is not None},
    )
    clone = Run.objects.exclude(pk=run.pk).get()
    assert clone.clone_of == run
    assert clone.name == "Mine (copy)"
    assert clone.config == run.config


def test_a_clone_of_scores_keeps_detector_and_parts(web: Client, split: Any) -> None:
    run = made.run(split, kind=RunKind.SCORE, detector=made.detector_model(split), parts=["test"])
    form = web.get(new("score", clone=str(run.uuid))).context["form"]
    assert (form["detector"].value(), form["parts"].value()) == (str(run.detector.run.uuid), ["test"])


def test_the_changes_from_the_preset_make_the_same_config_again() -> None:
    changes = {"size": "448", "mask": "no", "mask_keep": "none", "alignment.epochs": "2", "alignment.rounds": "1"}
    config = config_from("default", changes)
    from_config = changes_from_preset(config.to_json())
    assert from_config == changes
    assert config_from("default", from_config) == config


def test_the_form_shows_a_field_with_help_for_every_setting(web: Client, split: Any) -> None:
    text = one_line(web.get(new("fit_detector")))
    assert [name for name in SETTINGS if f'name="{name}"' not in text] == []
    helps = [str(escape(setting.metadata["help"])) for setting in SETTINGS.values()]
    own = {*_OWN_WORDS, "weights", "seed"}
    assert [name for name, words in zip(SETTINGS, helps, strict=True) if name not in own and words not in text] == []


def test_three_choices_are_open_and_filled_in(web: Client, split: Any) -> None:
    newest = made.split(split.site, {"fit": [made.film(split.site.datasets.get(), number=901)]}, name="Newest")
    form = web.get(new("fit_detector")).context["form"]
    shown, *folded = form.grouped()
    assert [field.name for field in shown["fields"]] == ["split", "preset", "name"]
    assert [form[name].value() for name in ("split", "preset")] == [str(newest.uuid), "default"]
    assert form["name"].value().startswith("Fit a detector 20")
    assert all(section["folded"] and not section["opened"] for section in folded)
    start = {field.name: field.value() for field in form if field.value() is not None}
    start |= {"split": str(split.uuid), "alignment": "none", "backbone": "resnet18", "weights": "random"}
    assert web.post(new("fit_detector"), start).status_code == 302


def test_all_faults_stand_at_their_fields_at_once(web: Client, split: Any) -> None:
    faulty = {"name": "", "size": 65, "rate": 2, "halo": "wide", "top_share": "3", "alignment.epochs": "0"}
    response = web.post(new("fit_detector"), fit_fields(split, **faulty))
    assert response.status_code == 400
    form = response.context["form"]
    assert set(form.errors) == set(faulty)
    assert form.errors["halo"] == ["halo is 'wide': it must be a whole number."]
    opened = {section["title"] for section in form.grouped() if section["opened"]}
    assert {"Films", "Mask and memory banks", "Alignment"} <= opened
    assert "Backbone" not in opened


def test_a_refused_request_stands_at_its_field(web: Client, split: Any) -> None:
    empty = made.split(split.site, name="Empty")
    form = web.post(new("fit_detector"), fit_fields(empty)).context["form"]
    assert "has no film in part fit" in form.errors["split"][0]
    form = web.post(new("fit_detector"), fit_fields(split, weights="imagenet")).context["form"]
    assert "are not on this machine" in form.errors["weights"][0]
    form = web.post(
        new("sweep"), {"name": "S", "split": split.uuid, "preset": "default", "align": "none", "axis_rate": "often"}
    ).context["form"]
    assert form.errors["axis_rate"] == ["rate is 'often': it must be a number."]


def test_an_alignment_names_its_split_so_that_the_page_offers_those_that_fit(web: Client, split: Any) -> None:
    model = made.alignment_model(split)
    page = one_line(web.get(new("fit_detector")))
    assert f'<option value="{model.uuid}" data-split="{split.uuid}">' in page


def test_a_folded_section_says_what_is_changed_in_it(web: Client, split: Any) -> None:
    web.post(new("fit_detector"), fit_fields(split, halo="2"))
    clone = web.get(new("fit_detector", clone=str(Run.objects.get().uuid))).context["form"]
    banks = next(section for section in clone.grouped() if section["title"] == "Mask and memory banks")
    assert banks["changed"] == "mask no, rate 0.1, grid 2, halo 2"


def test_settings_are_called_as_the_field_writes_them(web: Client, split: Any) -> None:
    fields = web.get(new("fit_detector")).context["form"].fields
    written = {"alignment.ssim": "SSIM (L_S)", "alignment.local_ncc": "Local NCC", "clahe_tiles": "CLAHE tiles"}
    written |= {"memory_gib": "Memory (GiB)", "padim_dimensions": "PaDiM dimensions", "halo": "Halo"}
    assert {name: fields[name].label for name in written} == written
    web.post(new("fit_detector"), fit_fields(split, memory_gib="3"))
    clone = web.get(new("fit_detector", clone=str(Run.objects.get().uuid))).context["form"]
    machine = next(section for section in clone.grouped() if section["title"] == "Seed, machine, note")
    assert "memory (GiB) 3" in machine["changed"]


def test_the_backbones_of_a_sweep_are_chosen(web: Client, split: Any) -> None:
    fields = {"name": "S", "split": split.uuid, "preset": "default", "align": "none", "axis_rate": "0.1"}
    chosen = ["tf_efficientnet_lite0", "tf_efficientnet_lite2"]
    assert web.post(new("sweep"), {**fields, "axis_backbone": chosen}).status_code == 302
    run = Run.objects.get()
    assert run.asked["axes"]["backbone"] == chosen
    clone = web.get(new("sweep", clone=str(run.uuid))).text
    assert '<option value="tf_efficientnet_lite0" selected>' in clone
    assert web.post(new("sweep"), {**fields, "axis_backbone": ["lenet"]}).status_code == 400
