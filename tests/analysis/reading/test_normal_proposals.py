"""Films dismissed by readers -> the next version of the normal set."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client

from analysis.models import NormalDecision, NormalProposal, Worklist
from analysis.reading import normal_proposals
from analysis.reading.normal_proposals import ProposalRefused, compare
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import Run, RunState, Score
from ml_engine.runs import lifecycle
from ml_engine.runs.paths import run_folder
from portal.models import AuditEvent, Cohort, Exposure, Image, Role, SplitMember, User
from portal.people.blinding import close_read, open_for
from portal.sets.cohorts import ADDED_BY_SCORE, freeze_cohort, images_of
from tests.analysis.scored import Scored
from tests.analysis.worklists import items, read, reader, widened, worklist
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)


@pytest.fixture
def wide(scored: Scored) -> Scored:
    return widened(scored)


def new_films(wide: Scored) -> list[Image]:
    return wide.films[-6:]


def item_of(of: Worklist, film: Image) -> Any:
    return of.items.select_related("image__dataset", "worklist__run__site").get(image=film)


@pytest.fixture
def of(wide: Scored, analyst: User) -> Worklist:
    return worklist(wide, analyst, value=0.85)


def dismiss(of: Worklist, film: Image, by: User, reason: str = "normal variant") -> Any:
    return read(item_of(of, film), by, "normal", reason=reason)


def end(proposal: NormalProposal, scores: dict[Image, float]) -> NormalProposal:
    """End the proposal's run as if the engine had scored: these `scores`, and the old scores for the other films."""
    run = proposal.run
    changed = {film.pk: score for film, score in scores.items()}
    for score in Score.objects.filter(run=proposal.worklist.run):
        now = changed.get(score.image_id, score.fused_score)
        Score.objects.create(run=run, image_id=score.image_id, row=score.row, fused_score=now)
    folder = run_folder(run.uuid)
    folder.mkdir(parents=True)
    ScoredFolder(folder).write_summary(ScoredFolder(run_folder(proposal.worklist.run.uuid)).summary)
    Run.objects.filter(pk=run.pk).update(state=RunState.DONE)
    return NormalProposal.objects.get(pk=proposal.pk)


# Who is proposed --------------------------------------------------------------------------------------


def test_flagged_films_called_normal_for_a_variant_are_proposed_and_scored_again(
    of: Worklist, wide: Scored, analyst: User
) -> None:
    person = reader()
    first, second, third, *_ = new_films(wide)
    dismiss(of, first, person)
    dismiss(of, second, person, "device")
    dismiss(of, third, person, "artefact")
    proposal = normal_proposals.propose(worklist=of, author=analyst)
    assert list(proposal.films.order_by("pk")) == [first, second]
    assert list(proposal.run.grown_with.order_by("pk")) == [first, second]
    assert (proposal.run.rescores, proposal.run.state) == (wide.run, RunState.QUEUED)
    assert proposal.left_out == {"not called normal for a normal variant, device or positioning by every reader": 1}
    event = AuditEvent.objects.get(verb="propose normals")
    assert event.after["films"] == [str(first.uuid), str(second.uuid)]


def test_one_reader_who_sees_more_keeps_a_film_out(of: Worklist, wide: Scored, analyst: User) -> None:
    first, second, *_ = new_films(wide)
    for film in (first, second):
        dismiss(of, film, reader(f"one {film.pk}"))
    read(item_of(of, second), reader("another"), "abnormal")
    assert list(normal_proposals.propose(worklist=of, author=analyst).films.all()) == [first]


def test_a_corrected_reading_no_longer_counts(of: Worklist, wide: Scored, analyst: User) -> None:
    person, film = reader(), new_films(wide)[0]
    dismiss(of, film, person)
    read(item_of(of, film), person, "abnormal")
    with pytest.raises(ProposalRefused, match="No film can be proposed: 1 not called normal"):
        normal_proposals.propose(worklist=of, author=analyst)
    assert not Run.objects.filter(rescores__isnull=False).exists()


def test_films_of_tune_and_test_patients_are_refused_with_a_sentence(of: Worklist, wide: Scored, analyst: User) -> None:
    person = reader()
    held = [item.image for item in items(of, flagged=True) if item.image.csv_split in ("tune", "test")]
    held = [film for film in held if film.label_events.get().value == "normal"]
    for film in held:
        dismiss(of, film, person)
    assert held
    with pytest.raises(ProposalRefused, match=f"{len(held)} of patients in tune, calibrate or test of the detector's"):
        normal_proposals.propose(worklist=of, author=analyst)


def test_a_film_labelled_abnormal_is_left_out(of: Worklist, wide: Scored, analyst: User) -> None:
    person = reader()
    normal, abnormal = new_films(wide)[0], new_films(wide)[3]
    dismiss(of, normal, person)
    dismiss(of, abnormal, person)
    proposal = normal_proposals.propose(worklist=of, author=analyst)
    assert list(proposal.films.all()) == [normal]
    assert proposal.left_out == {"labelled abnormal: settle the label first": 1}


def test_a_film_that_was_not_flagged_is_no_dismissed_alarm(of: Worklist, wide: Scored, analyst: User) -> None:
    item = items(of, flagged=False)[0]
    kept = read(item, reader(), "normal", reason="device")
    with pytest.raises(ProposalRefused, match="No film can be proposed: 1 not flagged"):
        normal_proposals.propose(worklist=of, author=analyst, readings=[kept])


def test_only_the_chosen_films_are_proposed(of: Worklist, wide: Scored, analyst: User) -> None:
    person = reader()
    chosen, other, *_ = new_films(wide)
    kept = dismiss(of, chosen, person)
    dismiss(of, other, person)
    assert list(normal_proposals.propose(worklist=of, author=analyst, readings=[kept]).films.all()) == [chosen]


# What would change ------------------------------------------------------------------------------------


def lowest(wide: Scored) -> Image:
    """The tune film with the lowest score, a normal film whose score does not move the threshold."""
    low = wide.films[int(wide.sweep[:12, 60].argmin())]
    assert low.label_events.get().value == "normal"
    return low


@pytest.fixture
def proposal(of: Worklist, wide: Scored, analyst: User) -> NormalProposal:
    """A proposal of the first film. With its bank the second film, the abnormal one and an unlabelled one are no longer
    flagged, and a film that was not flagged is."""
    films = new_films(wide)
    dismiss(of, films[0], reader())
    new = normal_proposals.propose(worklist=of, author=analyst)
    return end(new, {films[0]: 0.1, films[1]: 0.2, films[3]: 0.3, films[4]: 0.4, lowest(wide): 20})


def test_crossings_are_listed_by_their_labels(proposal: NormalProposal, wide: Scored, analyst: User) -> None:
    films = new_films(wide)
    effect = compare(proposal, viewer=analyst)
    assert [crossing.image for crossing in effect.vanished] == [films[0], films[1]]
    assert [crossing.is_proposed for crossing in effect.vanished] == [True, False]
    assert [(crossing.image, crossing.label) for crossing in effect.lost] == [(films[3], "abnormal")]
    assert [(crossing.image, crossing.label) for crossing in effect.unflagged] == [(films[4], "unlabelled")]
    assert [(crossing.image, crossing.after) for crossing in effect.appeared] == [(lowest(wide), 20)]
    assert effect.flagged_before - effect.flagged_after == 3
    assert effect.threshold_after == effect.threshold_before
    assert effect.films == len(wide.films)


def test_a_label_given_since_changes_nothing(proposal: NormalProposal, wide: Scored, analyst: User) -> None:
    factories.event(new_films(wide)[4], "abnormal", analyst)
    assert [crossing.label for crossing in compare(proposal, viewer=analyst).unflagged] == ["unlabelled"]


def test_the_rule_fixes_the_threshold_again_on_the_new_scores(of: Worklist, wide: Scored, analyst: User) -> None:
    """Every tune film scores half as much, so the threshold halves."""
    dismiss(of, new_films(wide)[0], reader())
    proposal = normal_proposals.propose(worklist=of, author=analyst)
    tune = {film: float(wide.sweep[k, 60]) / 2 for k, film in enumerate(wide.films[:12])}
    effect = compare(end(proposal, tune), viewer=analyst)
    assert effect.threshold_after == pytest.approx(effect.threshold_before / 2)
    after = dict(Score.objects.filter(run=proposal.run).values_list("image_id", "fused_score"))
    assert effect.flagged_after == sum(score >= effect.threshold_after for score in after.values())
    assert effect.flagged_after > sum(score >= effect.threshold_before for score in after.values())


def test_nothing_is_compared_before_the_run_is_done(of: Worklist, wide: Scored, analyst: User) -> None:
    dismiss(of, new_films(wide)[0], reader())
    proposal = normal_proposals.propose(worklist=of, author=analyst)
    with pytest.raises(ProposalRefused, match="is not done yet"):
        compare(proposal, viewer=analyst)
    with pytest.raises(ProposalRefused, match="accept once it shows what would change"):
        normal_proposals.accept(proposal=proposal, author=factories.user("head", Role.MANAGER), name="normals")


def test_a_curator_sees_how_many_and_not_which(proposal: NormalProposal) -> None:
    effect = compare(proposal, viewer=factories.curator())
    assert (effect.vanished, effect.lost, effect.unflagged, effect.appeared) == ([], [], [], [])
    assert dict(effect.hidden) == {"vanished": 2, "lost": 1, "unflagged": 1, "appeared": 1}


def test_a_withheld_film_is_in_no_list_and_in_the_count_of_no_list(
    as_analyst: Client, analyst: User, proposal: NormalProposal, wide: Scored
) -> None:
    """The number of films of each list that are withheld would reveal their labels."""
    film, source = new_films(wide)[3], uuid.UUID(int=3)  # a true positive that would be lost
    address = f"/reading/normals/{proposal.uuid}/"
    open_for(person=analyst, images=[film, wide.films[0]], source=source, words="the worklist", days=28)
    effect = compare(proposal, viewer=analyst)
    assert (effect.lost, dict(effect.hidden)) == ([], {})
    page = as_analyst.get(address).text
    assert str(film.uuid) not in page
    assert "2 films are omitted" in page  # one of which crosses no threshold
    assert not Exposure.objects.filter(person=analyst, image=film).exists()
    close_read(person=analyst, image=film, source=source)
    assert str(film.uuid) in as_analyst.get(address).text
    shown = Exposure.objects.filter(person=analyst, image=film).values_list("kind", "run")
    runs = (proposal.run.uuid, wide.run.uuid)
    assert set(shown) == {("label", Exposure.NO_RUN), *(("score", run) for run in runs)}


def test_a_withheld_film_is_not_shown_as_proposed(as_analyst: Client, analyst: User, proposal: NormalProposal) -> None:
    film = proposal.films.get()
    open_for(person=analyst, images=[film], source=uuid.UUID(int=3), words="the worklist", days=28)
    page = as_analyst.get(f"/reading/normals/{proposal.uuid}/").text
    assert str(film.uuid) not in page
    assert "0 films of the worklist" in " ".join(page.split())


# The decision -----------------------------------------------------------------------------------------


def test_acceptance_freezes_the_fitted_films_and_the_proposed_ones(proposal: NormalProposal, wide: Scored) -> None:
    decision = normal_proposals.accept(
        proposal=proposal, author=factories.curator(), name="normals", reason="as discussed"
    )
    fitted = Image.objects.filter(csv_split="fit")
    assert set(images_of(decision.cohort)) == {*fitted, new_films(wide)[0]}
    assert str(decision.cohort) == "normals v1"
    assert AuditEvent.objects.get(verb="accept normals").after == {"cohort": str(decision.cohort.uuid)}
    with pytest.raises(ProposalRefused, match="decided already"):
        normal_proposals.refuse(proposal=proposal, author=decision.author, reason="after all not")
    assert Cohort.objects.count() == 1


def test_acceptance_adds_to_the_latest_version_of_a_name(proposal: NormalProposal, wide: Scored) -> None:
    head = factories.user("head", Role.MANAGER)
    known = list(Image.objects.filter(csv_split="fit")[:3])
    freeze_cohort(site=wide.run.site, name="normals", images=known, author=head, filters={ADDED_BY_SCORE: ["earlier"]})
    decision = normal_proposals.accept(proposal=proposal, author=head, name=" normals ")
    assert decision.cohort.version == 2
    assert set(images_of(decision.cohort)) == {*known, new_films(wide)[0]}
    assert decision.cohort.filters[ADDED_BY_SCORE] == ["earlier", str(new_films(wide)[0].uuid)]


def test_a_film_whose_patient_is_in_test_since_is_not_accepted(proposal: NormalProposal, wide: Scored) -> None:
    film = proposal.films.get()
    SplitMember.objects.create(split=wide.split, patient=film.patient, part="test")
    with pytest.raises(ProposalRefused, match="they stay there"):
        normal_proposals.accept(proposal=proposal, author=factories.curator(), name="normals")
    assert not Cohort.objects.exists()


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_a_bad_name_is_refused_and_decides_nothing(proposal: NormalProposal, name: str) -> None:
    with pytest.raises(ProposalRefused, match="The cohort needs a name"):
        normal_proposals.accept(proposal=proposal, author=factories.curator(), name=name)
    assert not NormalDecision.objects.exists()


def test_only_curators_and_managers_decide(proposal: NormalProposal, analyst: User) -> None:
    for act in (
        lambda: normal_proposals.accept(proposal=proposal, author=analyst, name="normals"),
        lambda: normal_proposals.refuse(proposal=proposal, author=analyst, reason="no"),
    ):
        with pytest.raises(PermissionDenied):
            act()
    with pytest.raises(ProposalRefused, match="Write why the proposal is refused"):
        normal_proposals.refuse(proposal=proposal, author=factories.curator(), reason=" ")


# The pages ----------------------------------------------------------------------------------------------


def test_from_the_summary_to_the_cohort_by_pages(of: Worklist, wide: Scored, as_analyst: Client) -> None:
    kept = dismiss(of, new_films(wide)[0], reader())
    answer = as_analyst.post(f"/reading/{of.uuid}/normals/", {"reading": str(kept.uuid)})
    proposal = NormalProposal.objects.get()
    assert answer["Location"] == f"/reading/normals/{proposal.uuid}/"
    assert "is not done yet" in as_analyst.get(answer["Location"]).content.decode()
    end(proposal, {new_films(wide)[0]: 0.1, new_films(wide)[3]: 0.2})
    page = as_analyst.get(answer["Location"]).content.decode()
    assert 'True positives that would be lost: <span class="tabular">1</span>' in page
    assert "A curator or a manager accepts or refuses it." in page
    head = Client()
    head.force_login(factories.user("head", Role.MANAGER))
    head.post(f"/reading/normals/{proposal.uuid}/decide/", {"decision": "accept", "name": "normals"})
    assert "normals v1" in head.get(f"/reading/normals/{proposal.uuid}/").content.decode()
    assert "accepted" in head.get("/reading/normals/").content.decode()


def test_a_refusal_is_shown_on_the_page_it_came_from(of: Worklist, as_analyst: Client) -> None:
    page = as_analyst.post(f"/reading/{of.uuid}/normals/", follow=True).content.decode()
    assert "No film can be proposed." in page


def test_a_proposal_does_not_exist_for_another_site(proposal: NormalProposal) -> None:
    theirs = Client()
    theirs.force_login(factories.user("theirs", *Role, at=factories.site("Busan")))
    assert theirs.get(f"/reading/normals/{proposal.uuid}/").status_code == 404
    assert theirs.post(f"/reading/normals/{proposal.uuid}/decide/", {"decision": "accept"}).status_code == 404


def test_a_grown_run_is_no_run_to_clone(proposal: NormalProposal, as_analyst: Client) -> None:
    page = as_analyst.get(f"/runs/{proposal.run.uuid}/").content.decode()
    assert "extended with 1 film" in page
    assert "Clone with changes" not in page
    assert as_analyst.get(f"/runs/new/score/?clone={proposal.run.uuid}").status_code == 404
