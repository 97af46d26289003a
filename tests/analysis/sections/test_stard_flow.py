"""The flow of films through an evaluation: counts that add up, the drawing, page, CSV and PDF."""

from __future__ import annotations

import csv
import io
import re

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.operating_point import RequestedPoint
from analysis.evaluation.operating_points import apply_operating_point
from analysis.evaluation.scored_parts import evaluated_part
from analysis.figures import FlowBox, FlowEnd, FlowStep, flow_figure, place_flow
from analysis.models import Evaluation
from analysis.sections.stard_flow import StardFlow, stard_flow
from ml_engine.models import Score
from portal.models import User
from tests.analysis.scored import Scored
from tests.pages import without_gaps
from tests.portal import factories

TOP = RequestedPoint(target=0.8)


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    """In test a film that was not scored, an unreadable one and an unsure one; a film imported after the split."""
    test = scored.films[12:]
    Score.objects.filter(image=test[0]).delete()
    without = dict.fromkeys(("global_score", "region_score", "fused_score"))
    Score.objects.filter(image=test[1]).update(error="The file is damaged.", **without)
    made = evaluate(run=scored.run, author=analyst)
    factories.label_films(images=[test[2]], value="unsure", author=factories.curator(), site=scored.run.site)
    factories.film(scored.split.datasets.get(), "normal", person="later")
    Evaluation.objects.filter(pk=made.pk).update(label_cutoff=timezone.now())
    return Evaluation.objects.get(pk=made.pk)


def flow_of(evaluation: Evaluation, point: RequestedPoint = TOP) -> StardFlow:
    scored = evaluated_part(evaluation, "test")
    return stard_flow(evaluation, scored, apply_operating_point(evaluation, scored, weight=0.6, point=point))


@pytest.mark.django_db
def test_each_box_is_the_one_above_less_what_is_left_out(evaluation: Evaluation) -> None:
    flow = flow_of(evaluation)
    for above, below in zip(flow.steps, flow.steps[1:], strict=False):
        assert below.box.films == above.box.films - sum(above.left_out.values())
    assert [step.box.films for step in flow.steps] == [33, 32, 12, 10, 9]
    assert flow.steps[0].left_out == {"films imported after the split was frozen": 1}
    assert flow.steps[1].left_out == {"films in fit": 8, "films in tune": 12}
    assert flow.steps[2].left_out == {"not scored by this run": 1, "unreadable": 1}
    assert flow.steps[3].left_out == {"unsure": 1}
    assert [step.box.patients for step in flow.steps] == [None, 32, 12, None, 9]


@pytest.mark.django_db
def test_the_ends_are_the_confusion_matrix(evaluation: Evaluation) -> None:
    flow = flow_of(evaluation)
    scored = evaluated_part(evaluation, "test")
    result = apply_operating_point(evaluation, scored, weight=0.6, point=TOP)
    positive, negative = flow.ends
    assert (positive.abnormal, positive.normal) == (result.true_positives, result.false_positives)
    assert (negative.abnormal, negative.normal) == (result.false_negatives, result.true_negatives)
    assert positive.box.films + negative.box.films == flow.steps[-1].box.films == 9
    assert (positive.abnormal + negative.abnormal, positive.normal + negative.normal) == (6, 3)


@pytest.mark.django_db
def test_without_a_threshold_only_the_labels_are_counted(evaluation: Evaluation) -> None:
    flow = flow_of(evaluation, RequestedPoint(target=0.999))  # of 6 normals
    assert flow.ends == (FlowEnd(FlowBox("Reference standard", 9), 6, 3),)


def test_nothing_of_the_drawing_overlaps() -> None:
    steps = [
        FlowStep(FlowBox("Films", 9, 8), "Left out", {"for a reason that takes several lines of its box": 4, "x": 1}),
        FlowStep(FlowBox("Evaluated", 4, 4), "", {}),
    ]
    for ends in (
        [FlowEnd(FlowBox("Positive", 3), 2, 1), FlowEnd(FlowBox("Negative, a title that is much longer", 1), 0, 1)],
        [FlowEnd(FlowBox("Reference", 4), 2, 2)],
    ):
        drawing = place_flow(steps, ends)
        for k, one in enumerate(drawing.boxes):
            assert 0 <= one.left < one.left + one.width <= 1
            for other in drawing.boxes[:k]:
                beside = one.left >= other.left + other.width or other.left >= one.left + one.width
                assert beside or one.top >= other.bottom or other.top >= one.bottom
        assert sum(box.label == "abnormal" for box in drawing.boxes) == len(ends)
        assert all(line.y1 >= line.y0 and line.x1 >= line.x0 for line in drawing.connectors)


def test_the_figure_says_what_is_in_the_boxes() -> None:
    steps = [FlowStep(FlowBox("Films", 1234, 1100), "Left out", {"unsure": 4})]
    figure = flow_figure(steps, [FlowEnd(FlowBox("Reference", 1230), 1000, 230)], random_weights=True)
    texts = [re.sub("<[^>]*>", " ", note.text) for note in figure.layout.annotations]
    for text in ("n = 1,234 films of 1,100", "Left out, n = 4", "4 unsure", "n = 1,000", "random weights", "Research"):
        assert any(text in " ".join(words.split()) for words in texts), text


@pytest.mark.django_db
@pytest.mark.parametrize("door", ["analysis:figure-csv", "api-figure-csv"])
def test_its_csv_has_the_numbers(as_analyst: Client, evaluation: Evaluation, door: str) -> None:
    query = {"part": "test", "target": "0.8"}
    answer = as_analyst.get(reverse(door, args=[evaluation.uuid, "flow"]), query)
    rows = {row["box"]: row for row in csv.DictReader(io.StringIO(answer.content.decode()))}
    flow = flow_of(evaluation)
    assert rows["Films of test"]["count [patients]"] == "12"
    assert rows["left out, no reference standard: unsure"]["count [films]"] == "1"
    assert rows[f"{flow.ends[0].box.title}: abnormal"]["count [films]"] == str(flow.ends[0].abnormal)
    refused = as_analyst.get(reverse(door, args=[evaluation.uuid, "roc"]), {"part": "test", "score": "combined"})
    assert refused.status_code == 400
    assert "The figure roc is of the one-class score: leave out the score" in refused.content.decode()


@pytest.mark.django_db
def test_the_page_draws_it_at_its_operating_point(as_analyst: Client, evaluation: Evaluation) -> None:
    query = {"part": "test", "rule": "specificity", "target": "0.8", "prevalence": "0.02"}
    section = without_gaps(as_analyst.get(reverse("analysis:flow", args=[evaluation.uuid]), query))
    assert "Index test positive:" in section
    assert "target=0.8&amp;prevalence=0.02" in section
    assert "Looks at this test part" in section
    wrong = without_gaps(as_analyst.get(reverse("analysis:flow", args=[evaluation.uuid]), query | {"weight": "0.1"}))
    assert "On test the weight is the run's" in wrong.replace("&#x27;", "'")
    page = without_gaps(as_analyst.get(reverse("analysis:evaluation", args=[evaluation.uuid])))
    assert reverse("analysis:flow", args=[evaluation.uuid]) in page
