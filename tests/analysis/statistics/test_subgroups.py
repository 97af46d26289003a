"""Holm's adjustment and AUROCs by subgroup, against published numbers, SciPy and a bootstrap of the patients."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from analysis.statistics import auroc_interval, delong, holm, normal_attribute_aurocs, subgroup_aurocs


def make_films(*, seed, films=200, films_a_patient=1, groups=("a", "b")):
    generator = np.random.default_rng(seed)
    patients = np.arange(films) // films_a_patient
    labels = (generator.random(films) < 0.45).astype(int)
    scores = generator.normal(size=films) + labels + generator.normal(size=films)[patients]
    return labels, scores.round(1), np.array(groups)[np.arange(films) % len(groups)], patients


def slow_holm(values):
    """By the definition: the smallest level at which the step-down procedure rejects each."""
    adjusted = []
    for mine in values:
        ranked = sorted(values)
        levels = [value * (len(values) - k) for k, value in enumerate(ranked) if value <= mine]
        adjusted.append(min(1.0, max(levels)))
    return adjusted


@pytest.mark.parametrize(
    "values", [[0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.9], [0.2], [0.0, 1.0, 0.049, 0.03], [0.02, 0.02, 0.02]]
)
def test_holm_is_the_step_down_procedure(values):
    assert holm(values) == pytest.approx(slow_holm(values))


def test_holm_as_in_r():
    # p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") of R's stats
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert len(holm([])) == 0


@pytest.mark.parametrize("values", [[-0.1], [1.1], [math.nan], [[0.1, 0.2]]])
def test_holm_refuses_what_is_no_p_value(values):
    with pytest.raises(ValueError, match="they must be one row of numbers in 0 to 1"):
        holm(values)


@pytest.mark.parametrize("films_a_patient", [1, 2])
def test_each_group_has_the_interval_of_its_own_films(films_a_patient):
    labels, scores, groups, patients = make_films(seed=1, films_a_patient=films_a_patient, groups=("a", "a", "b", "b"))
    rows = subgroup_aurocs(labels, scores, groups, patients)
    assert [row.name for row in rows] == ["a", "b"]
    for row in rows:
        inside = groups == row.name
        assert row.films == inside.sum()
        assert row.auroc == auroc_interval(labels[inside], scores[inside], patients[inside])
        assert row.rest == auroc_interval(labels[~inside], scores[~inside], patients[~inside])


def test_difference_of_different_patients_is_the_unpaired_delong_test():
    labels, scores, groups, _ = make_films(seed=2, groups=("a", "b", "c"))
    rows = subgroup_aurocs(labels, scores, groups)
    for row in rows:
        inside = groups == row.name
        first, second = delong(labels[inside], scores[inside]), delong(labels[~inside], scores[~inside])
        error = math.sqrt(first.variance + second.variance)
        assert row.difference == pytest.approx(first.auroc - second.auroc)
        assert row.p_value == pytest.approx(2 * stats.norm.sf(abs(row.difference) / error))
        assert row.high - row.low == pytest.approx(2 * stats.norm.ppf(0.975) * error)
    assert [row.adjusted_p_value for row in rows] == pytest.approx(slow_holm([row.p_value for row in rows]))


def test_two_groups_are_one_test_of_no_difference():
    labels, scores, groups, _ = make_films(seed=2, groups=("a", "b"))
    first, second = subgroup_aurocs(labels, scores, groups)
    assert first.p_value == pytest.approx(second.p_value)
    assert (first.adjusted_p_value, second.adjusted_p_value) == (first.p_value, second.p_value)


def test_difference_knows_patients_with_films_in_both_groups():
    labels, scores, groups, patients = make_films(seed=3, films=400, films_a_patient=2)  # one film of each in each
    labels = labels[patients * 2]
    row = subgroup_aurocs(labels, scores, groups, patients)[0]
    generator = np.random.default_rng(0)
    differences = []
    for _ in range(300):
        drawn = generator.integers(0, 200, 200)
        sides = [(labels[drawn * 2 + k], scores[drawn * 2 + k]) for k in (0, 1)]
        areas = [stats.mannwhitneyu(s[y == 1], s[y == 0]).statistic / (y.sum() * (1 - y).sum()) for y, s in sides]
        differences.append(areas[0] - areas[1])
    error = (row.high - row.low) / 2 / stats.norm.ppf(0.975)
    assert error == pytest.approx(np.std(differences), rel=0.12)
    unpaired = math.sqrt(row.auroc.variance + row.rest.variance)
    assert error < 0.85 * unpaired


def test_a_small_group_has_no_auroc():
    labels, scores, groups, _ = make_films(seed=4, films=110)
    groups = np.r_[["few"] * 30, groups[30:]]
    assert {row.name: row for row in subgroup_aurocs(labels, scores, groups)}["few"].auroc is not None
    scores[29] = np.nan
    rows = {row.name: row for row in subgroup_aurocs(labels, scores, groups)}
    assert (rows["few"].films, rows["few"].auroc, rows["few"].p_value) == (29, None, None)
    assert rows["few"].reason == "29 films with a score: below 30 no AUROC is given."
    assert rows["a"].films + rows["b"].films == 80
    assert rows["a"].adjusted_p_value == pytest.approx(
        min(1, 2 * min(r.p_value for r in rows.values() if r.p_value)), 1
    )


def test_one_group_alone_has_nothing_to_compare_with():
    labels, scores, _, _ = make_films(seed=5)
    (row,) = subgroup_aurocs(labels, scores, ["all"] * 200)
    assert row.auroc.auroc is not None
    assert (row.rest, row.difference) == (None, None)
    assert row.reason == "0 other films with a score: below 30 there is nothing to compare with."


def test_a_group_without_abnormal_films_says_so():
    labels, scores, groups, _ = make_films(seed=6)
    rows = subgroup_aurocs(np.where(groups == "a", 0, labels), scores, groups)
    assert all("No abnormal film" in row.reason for row in rows)
    assert rows[1].auroc.auroc is not None and rows[1].difference is None


def test_complete_separation_is_not_tested():
    labels, scores, groups, _ = make_films(seed=7)
    row = subgroup_aurocs(labels, np.where(groups == "a", 10.0 * labels, scores), groups)[0]
    assert row.auroc.auroc == 1.0 and row.difference > 0
    assert (row.low, row.p_value, row.adjusted_p_value) == (None, None, None)
    assert row.reason == "The classes separate completely on one side, which leaves no variance to test with."


@pytest.mark.parametrize("films_a_patient", [1, 2])  # of two films, many patients have a normal and an abnormal one
def test_the_same_films_on_both_sides_are_not_tested(films_a_patient):
    labels, scores, _, patients = make_films(seed=8, films_a_patient=films_a_patient)
    doubled = subgroup_aurocs(np.tile(labels, 2), np.tile(scores, 2), np.repeat(["a", "b"], 200), np.tile(patients, 2))
    assert doubled[0].difference == 0.0
    assert doubled[0].reason == "The same patients make both sides, which leaves no variance to test with."


def test_groups_must_fit_the_films():
    with pytest.raises(ValueError, match=r"groups \(1,\) must name one group for each of the 2 films"):
        subgroup_aurocs([0, 1], [0.0, 1.0], ["a"])


def test_a_group_whose_films_all_lack_a_score_is_still_told():
    labels, scores, groups, _ = make_films(seed=9)
    scores[groups == "b"] = np.nan
    assert [(row.name, row.films) for row in subgroup_aurocs(labels, scores, groups)] == [("a", 100), ("b", 0)]


@pytest.mark.parametrize("films_a_patient", [1, 2])
def test_turned_scores_of_the_same_patients_differ_by_twice_the_auroc_less_one(films_a_patient):
    labels, scores, _, patients = make_films(seed=10, films_a_patient=films_a_patient)
    row = subgroup_aurocs(np.tile(labels, 2), np.r_[scores, -scores], np.repeat(["a", "b"], 200), np.tile(patients, 2))[
        0
    ]
    assert row.difference == pytest.approx(2 * row.auroc.auroc - 1)
    error = (row.high - row.low) / 2 / stats.norm.ppf(0.975)
    assert error == pytest.approx(2 * math.sqrt(row.auroc.variance), rel=1e-9)


def with_attributes(labels, *, seed, share=0.4):
    """Attributes of each film; those of abnormal films must not count."""
    generator = np.random.default_rng(seed)
    has_device, has_variant = generator.random((2, len(labels))) < [[share], [0.6]]
    return [
        ("device",) * int(d) + ("variant",) * int(v) for d, v in zip(has_device, has_variant, strict=True)
    ], has_device


def test_all_abnormals_are_compared_with_the_normals_of_each_attribute():
    labels, scores, _, patients = make_films(seed=11, films=400)
    attributes, has_device = with_attributes(labels, seed=0)
    rows = {row.name: row for row in normal_attribute_aurocs(labels, scores, attributes, patients)}
    assert list(rows) == ["variant", "device"]  # most frequent first
    row, normal = rows["device"], labels == 0
    with_it, without = (labels == 1) | (normal & has_device), (labels == 1) | (normal & ~has_device)
    assert row.films == (normal & has_device).sum()
    assert row.auroc.auroc == pytest.approx(roc_auc_score(labels[with_it], scores[with_it]))
    assert row.rest.auroc == pytest.approx(roc_auc_score(labels[without], scores[without]))
    assert row.auroc == auroc_interval(labels[with_it], scores[with_it], patients[with_it])
    assert [row.adjusted_p_value for row in rows.values()] == pytest.approx(
        slow_holm([row.p_value for row in rows.values()])
    )


def test_difference_of_attributes_is_delongs_with_paired_abnormals():
    labels, scores, _, _ = make_films(seed=12, films=400)
    attributes, has_device = with_attributes(labels, seed=1)
    row = next(row for row in normal_attribute_aurocs(labels, scores, attributes) if row.name == "device")

    def placed(positive, negatives):
        return np.mean([(positive > negative) + 0.5 * (positive == negative) for negative in negatives])

    abnormal = scores[labels == 1]
    first, second = (scores[(labels == 0) & chosen] for chosen in (has_device, ~has_device))
    differences = [placed(score, first) - placed(score, second) for score in abnormal]
    shares = [[1 - placed(score, abnormal) for score in normals] for normals in (first, second)]
    variance = np.var(differences, ddof=1) / len(abnormal) + sum(np.var(v, ddof=1) / len(v) for v in shares)
    assert row.difference == pytest.approx(np.mean(differences))
    assert row.high - row.low == pytest.approx(2 * stats.norm.ppf(0.975) * math.sqrt(variance))
    assert row.p_value == pytest.approx(2 * stats.norm.sf(abs(row.difference) / math.sqrt(variance)))


@pytest.mark.slow
def test_difference_of_attributes_knows_patients_with_several_films():
    labels, scores, _, patients = make_films(seed=13, films=600, films_a_patient=3)
    attributes, has_device = with_attributes(labels, seed=2)
    row = next(row for row in normal_attribute_aurocs(labels, scores, attributes, patients) if row.name == "device")
    generator = np.random.default_rng(0)
    differences = []
    for _ in range(300):
        drawn = (generator.integers(0, 200, 200)[:, None] * 3 + np.arange(3)).ravel()
        y, s, device = labels[drawn], scores[drawn], has_device[drawn]
        first, second = ((y == 1) | ((y == 0) & chosen) for chosen in (device, ~device))
        differences.append(roc_auc_score(y[first], s[first]) - roc_auc_score(y[second], s[second]))
    error = (row.high - row.low) / 2 / stats.norm.ppf(0.975)
    assert error == pytest.approx(np.std(differences), rel=0.12)


def test_few_normals_with_an_attribute_have_no_auroc():
    labels = np.r_[np.zeros(70, int), np.ones(40, int)]
    scores = np.random.default_rng(14).normal(size=110) + labels
    attributes = [("few",)] * 29 + [("most",)] * 41 + [("abnormal",)] * 40
    rows = normal_attribute_aurocs(labels, scores, attributes)
    assert [row.name for row in rows] == ["most", "few"]  # an attribute of abnormal films alone has no row
    assert (rows[1].films, rows[1].auroc, rows[1].p_value) == (29, None, None)
    assert rows[1].reason == "29 normal films with a score: below 30 no AUROC is given."
    assert rows[0].auroc.auroc is not None and rows[0].rest is None
    assert rows[0].reason == "29 other normal films with a score: below 30 there is nothing to compare with."


def test_attributes_must_fit_the_films():
    with pytest.raises(ValueError, match="1 films have attributes and 2 labels; give both"):
        normal_attribute_aurocs([0, 1], [0.0, 1.0], [()])
    assert normal_attribute_aurocs([0, 1], [0.0, 1.0], [(), ()]) == ()
