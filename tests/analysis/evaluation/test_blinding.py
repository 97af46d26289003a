"""What the pages, files and API of results keep from a person who has yet to read a film of the patient blinded, and
what they record when they show it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from analysis.evaluation import blinding
from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation, Worklist
from analysis.reading import verdicts
from ml_engine.runs.paths import run_folder
from portal.models import BlindedFilm, Exposure, Image, User
from portal.people.blinding import close_read, hand_back, open_for
from tests.analysis.scored import Scored
from tests.analysis.sections.test_comparison import again
from tests.analysis.worklists import items, read, reader, worklist
from tests.portal import factories

pytestmark = pytest.mark.django_db
LIST = uuid.UUID(int=3)  # the person's blinded worklist


@dataclass(frozen=True)
class Site:
    """A superuser, who reads a film blinded; another film of the same patient, which the run scored, which is labelled
    and which others have read."""

    person: User
    film: Image
    read_blinded: Image
    evaluation: Evaluation
    compared: Evaluation
    of: Worklist

    def withhold(self) -> None:
        open_for(person=self.person, images=[self.read_blinded], source=LIST, words="the worklist Tuesday", days=28)

    def shown(self) -> set[tuple[str, str]]:
        """(kind, run) of what was recorded that the person was shown of the film."""
        rows = Exposure.objects.filter(person=self.person, image=self.film).values_list("kind", "run")
        names = {self.evaluation.run.uuid: "run", self.compared.run.uuid: "compared", Exposure.NO_RUN: ""}
        return {(kind, names[run]) for kind, run in rows}


@pytest.fixture
def site(scored: Scored, analyst: User) -> Site:
    of = worklist(scored, analyst)
    item = next(one for one in items(of, flagged=True) if one.image.csv_split == "test")
    other = reader("other")
    reading = read(item, other, "normal", comment="a zebra")  # differs from the model
    verdicts.propose_adjudication(reading=reading, author=analyst)
    verdicts.escalate(item=item, reader=other, reason="call the ward")
    film = Image.objects.select_related("dataset", "patient").get(pk=item.image_id)
    place = [one.pk for one in scored.films].index(film.pk) - 12  # among the test films: six normal, six abnormal
    sibling = factories.film(film.dataset, person=f"test {('normal', 'abnormal')[place // 6]} {place % 6}")
    assert sibling.patient_id == film.patient_id
    (run_folder(scored.run.uuid) / "run.json").write_text(json.dumps({"kind": "score"}))
    return Site(
        person=factories.user("root", is_superuser=True),
        film=film,
        read_blinded=sibling,
        evaluation=evaluate(run=scored.run, author=analyst),
        compared=again(scored, analyst, seed=4, config={}),
        of=of,
    )


LABEL, SCORE, MAP = ("label", ""), ("score", "run"), ("map", "run")
SCORES = {LABEL, SCORE}
BOTH = {*SCORES, ("score", "compared")}
PAIR = "evaluation={evaluation}&evaluation={compared}&part=test"
# address, whether the page omits the film or is refused whole, what it shows
CASES: dict[str, tuple[str, str, set[tuple[str, str]]]] = {
    "evaluation": ("/results/{evaluation}/?part=test", "omits", SCORES),
    "figures": ("/results/{evaluation}/figures?part=test&weight=0.6", "omits", SCORES),
    "precision": ("/results/{evaluation}/precision?part=test", "omits", SCORES),
    "galleries": ("/results/{evaluation}/galleries?part=test", "omits", {*SCORES, MAP}),
    "comparison": ("/results/compare/?" + PAIR, "omits", BOTH),
    "film": ("/results/runs/{run}/films/{film}/", "refused", SCORES),
    "overlay": ("/results/runs/{run}/films/{film}/overlay", "refused", {MAP}),
    "maps": ("/results/runs/{run}/films/{film}/maps", "refused", {MAP}),
    "scores of a film": ("/results/films/{film}/scores/", "omits", {SCORE, ("score", "compared")}),
    "scores.csv": ("/results/{evaluation}/scores.csv", "refused", SCORES),
    "ROC as CSV": ("/results/{evaluation}/figures/roc.csv?part=test", "refused", SCORES),
    "scatter as CSV": ("/results/compare/figures/scatter.csv?" + PAIR, "refused", BOTH),
    "archive": ("/results/runs/{run}/archive", "refused", {SCORE, MAP}),
    "summary of a worklist": ("/reading/{worklist}/summary/", "omits", SCORES),
    "readings.csv": ("/reading/{worklist}/readings.csv", "refused", SCORES),
    "escalations": ("/reading/escalations/", "omits", {LABEL}),
    "adjudications": ("/reading/adjudications/", "omits", set()),
    "galleries by API": ("/api/v1/evaluations/{evaluation}/galleries/?part=test", "omits", {*SCORES, MAP}),
    "scores by API": ("/api/v1/evaluations/{evaluation}/scores/", "refused", SCORES),
    "ROC by API": ("/api/v1/evaluations/{evaluation}/figures/roc.csv?part=test", "refused", SCORES),
    "scatter by API": ("/api/v1/evaluations/compare/figures/scatter.csv?" + PAIR, "refused", BOTH),
    "readings by API": ("/api/v1/worklists/{worklist}/readings/", "refused", SCORES),
    "escalations by API": ("/api/v1/escalations/", "omits", {LABEL}),
}  # fmt: skip
CURVES = {"precision", "ROC as CSV", "ROC by API"}  # which name only the films at their corners
REFUSED_ONLY = [  # these need files that the test's run has not
    "/results/runs/{run}/films/{film}/nearest",
    "/results/runs/{run}/films/{film}/heatmap.dcm",
    "/results/runs/{run}/films/{film}/segmentation.dcm",
    "/api/v1/runs/{run}/films/{film}/heatmap.dcm",
    "/api/v1/runs/{run}/films/{film}/segmentation.dcm",
]
AGGREGATED = [
    "/results/{evaluation}/figures/histogram.csv?part=test",
    "/results/{evaluation}/figures/sweep.csv?part=test",
    "/results/{evaluation}/figures/forest.csv?part=test",
    "/results/{evaluation}/figures/operating.csv?part=test",
    "/results/compare/figures/roc.csv?" + PAIR,
    "/results/{evaluation}/report.pdf",
    "/results/{evaluation}/operating?part=test",
    "/results/{evaluation}/breakdown?part=test",
    "/results/{evaluation}/localisation?part=test",
    "/api/v1/evaluations/{evaluation}/",
    "/api/v1/worklists/{worklist}/summary/",
]


def filled(address: str, site: Site) -> str:
    return address.format(
        evaluation=site.evaluation.uuid,
        compared=site.compared.uuid,
        run=site.evaluation.run.uuid,
        film=site.film.uuid,
        worklist=site.of.uuid,
    )


def content(answer: Any) -> str:
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return f"{body.decode(errors='replace')} {answer.headers}"


def names(text: str, site: Site) -> bool:
    """Whether the film is named, by its UUID or by the start of it, which is its name on pages."""
    return str(site.film.uuid)[:8] in text


@pytest.mark.parametrize("case", CASES)
def test_a_film_of_the_patient_is_withheld_until_the_verdict(client: Client, site: Site, case: str) -> None:
    address, how, kinds = CASES[case]
    client.force_login(site.person)
    site.withhold()
    answer = client.get(filled(address, site))
    text = content(answer)
    if how == "refused":
        assert answer.status_code == 403
        assert "blinded" in text
    else:
        assert answer.status_code == 200
        assert not names(text.replace(filled(address, site), ""), site)
        says_so = ("1 film is omitted", "1 film of test is hidden", '"hidden":1', "are left out here and not counted")
        assert any(sentence in text for sentence in says_so)
        assert "zebra" not in text
        assert "call the ward" not in text
    assert site.shown() == set()

    close_read(person=site.person, image=site.read_blinded, source=LIST)
    again = client.get(filled(address, site))
    assert again.status_code == 200
    text = content(again)
    assert "omitted:" not in text
    if case in CURVES and not names(text, site):
        assert site.shown() == set()
        return
    if how == "omits":
        assert names(text, site)
    assert site.shown() == kinds


@pytest.mark.parametrize("address", REFUSED_ONLY)
def test_maps_of_the_film_are_refused(client: Client, site: Site, address: str) -> None:
    client.force_login(site.person)
    site.withhold()
    answer = client.get(filled(address, site))
    assert answer.status_code == 403
    assert "blinded" in content(answer)
    hand_back(person=site.person, source=LIST)
    assert client.get(filled(address, site)).status_code in (200, 409, 410)


@pytest.mark.parametrize("address", AGGREGATED)
def test_aggregated_figures_stay(client: Client, site: Site, address: str) -> None:
    """They count the film and name none."""
    client.force_login(site.person)
    before = content(client.get(filled(address, site)))
    site.withhold()
    answer = client.get(filled(address, site))
    assert answer.status_code == 200
    assert not names(before, site)
    if not address.endswith(".pdf"):  # which prints the time
        assert content(answer).split(" {")[0] == before.split(" {")[0]


def test_a_figure_names_no_film_at_all_meanwhile(client: Client, site: Site, scored: Scored) -> None:
    """If only the withheld film had no name, its point of the curve would be known."""
    client.force_login(site.person)
    site.withhold()
    for address in (CASES["figures"][0], CASES["precision"][0], CASES["comparison"][0]):
        text = content(client.get(filled(address, site)))
        assert not any(str(film.uuid) in text for film in scored.films)
    sentence = client.get(filled(CASES["figures"][0], site)).json()["summary"]
    assert blinding.UNNAMED.split(",")[0] in sentence


def test_galleries_count_the_film_in_no_kind(client: Client, site: Site) -> None:
    """How many films of each kind are hidden would reveal what the model and the label say."""
    client.force_login(site.person)
    address = filled(CASES["galleries by API"][0], site)
    everything = client.get(address).json()
    kind = next(
        name for name, page in everything["galleries"].items() if str(site.film.uuid) in json.dumps(page["shown"])
    )
    site.withhold()
    for query in ("", f"&kind={kind}", "&kind=" + next(name for name in everything["galleries"] if name != kind)):
        answer = client.get(address + query).json()
        assert answer["hidden"] == 1
        for page in answer["galleries"].values():
            assert page["films"] == len(page["shown"])


def test_expiry_and_other_people_are_not_concerned(client: Client, site: Site) -> None:
    site.withhold()
    address = filled(CASES["film"][0], site)
    client.force_login(User.objects.get(username="analyst"))
    assert client.get(address).status_code == 200
    client.force_login(site.person)
    assert client.get(address).status_code == 403
    BlindedFilm.objects.update(expires_at="2020-01-01T00:00Z")
    assert client.get(address).status_code == 200


@pytest.mark.parametrize("case", [case for case, (_, _, kinds) in CASES.items() if kinds & {SCORE, MAP}])
def test_no_browser_keeps_a_copy(client: Client, site: Site, case: str) -> None:
    """A copy made before a blinded worklist was begun could be shown while it is read."""
    client.force_login(site.person)
    answer = client.get(filled(CASES[case][0], site))
    assert "no-store" in answer.headers["Cache-Control"]


def test_an_answer_to_an_escalation_is_refused(client: Client, site: Site) -> None:
    """The answer of the API repeats the reason."""
    escalation = site.of.items.get(image=site.film).escalations.get()
    client.force_login(site.person)
    site.withhold()
    for name in ("analysis:answer-escalation", "api-escalation-answer"):
        answer = client.post(reverse(name, args=[escalation.uuid]), {"action": "called"})
        assert answer.status_code == 403
        assert "ward" not in content(answer)


def test_one_reading_is_not_proposed_as_normal_to_learn_why_not(client: Client, site: Site) -> None:
    reading = site.film.readings.get()
    client.force_login(site.person)
    site.withhold()
    address = reverse("analysis:propose-normals", args=[site.of.uuid])
    refused = client.post(address, {"reading": str(reading.uuid)}, follow=True)
    assert refused.status_code == 403
    close_read(person=site.person, image=site.read_blinded, source=LIST)
    assert "No film can be proposed" in content(client.post(address, {"reading": str(reading.uuid)}, follow=True))


def test_withheld_films_are_found_among_many(site: Site, scored: Scored) -> None:
    uuids = [str(film.uuid) for film in scored.films]
    assert blinding.withheld_of(site.person, uuids) == set()
    site.withhold()
    assert blinding.withheld_of(site.person, uuids) == {str(site.film.uuid)}
