"""What counts as a sample, and what is left out of it."""

import numpy as np
import pytest

from analysis.statistics.sample import normal_quantile, take_sample


def test_a_film_without_a_finite_score_is_left_out_and_the_rest_keep_their_places():
    sample = take_sample([0, 1, 1, 0], [[1.0, 2.0], [np.nan, 0.0], [3.0, np.inf], [4.0, 5.0]], list("abca"))
    assert (sample.films.tolist(), sample.left_out, sample.abnormal.tolist()) == ([0, 3], 2, [False, False])
    assert sample.repeats_patients and sample.negative_patients == 1


def test_without_patients_each_film_is_its_own():
    sample = take_sample([0, 0, 1], [1.0, 2.0, 3.0])
    assert not sample.repeats_patients
    assert (sample.positives, sample.negatives, sample.positive_patients, sample.negative_patients) == (1, 2, 1, 2)


def test_one_class_has_no_roc_and_one_patient_no_interval():
    assert take_sample([0, 0], [1.0, 2.0]).why_undefined().startswith("No abnormal film has a score")
    assert "only one abnormal patient" in take_sample([0, 0, 1], [1.0, 2.0, 3.0]).why_no_interval()


@pytest.mark.parametrize(
    ("labels", "scores", "patients", "words"),
    [
        ([0, 1], [1.0], None, "one row for each film"),
        ([0, 2], [1.0, 2.0], None, "labels must be 0"),
        ([0, 1], [1.0, 2.0], ["a"], "name one patient for each of the 2 films"),
    ],
)
def test_what_does_not_fit_is_refused(labels, scores, patients, words):
    with pytest.raises(ValueError, match=words):
        take_sample(labels, scores, patients)


def test_the_quantile_of_a_confidence_is_two_sided():
    assert normal_quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    with pytest.raises(ValueError, match="between 0 and 1"):
        normal_quantile(1.0)
