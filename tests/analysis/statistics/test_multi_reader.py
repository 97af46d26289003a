"""The multi-reader analysis, against published output, plain loops, scipy and a simulation of no difference."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from analysis.statistics import auroc_interval, delong_paired, multi_reader_auroc, multi_reader_difference
from analysis.statistics.auroc import clustered_covariance, clustered_variance, placements
from analysis.statistics.sample import take_sample

# Van Dyke CW et al. 1993, Cine MRI in the diagnosis of thoracic aortic dissection, 79th RSNA meeting: five readers,
# spin echo and cine MRI. For each reader the ratings of 69 patients without a dissection, then of 45 with one, as in
# vignettes/VanDyke.lrc in the sources of RJafroc (dataset02 there, VanDyke in MRMCaov).
SPIN_ECHO = """
122151111111411111111131311214111113121211233131133111111221111332111555545554555434245555555154454553555115554451
232222222322522232222222422223222222222222222222222222222432232222222535555542555442225555555243354552425225555352
222235112242422232221232411322112224121412112222223211211221151421212545555555555542355555555252255552555225555552
111111311111111111112111211112111111111111111111331111111111111311111555555555555555155555555554544553555125555555
351211112221211122113221111211211231221113332111211111111341231212113525255551545452235555554144322151515115553552
"""
CINE = """
333222223213122222211111421312214323123122233111333113412421241442111535555554555544335555555355355554455535555551
322222223222222122221222322222212212222231223222222222322322222222122535555552555344245455545252355532425525555552
242222322211132222121121411512112122212221132111233113221232341242121525555555555354145555555253355543555534555551
221111312111122111211111321212111122112111112121212211111212111323211545555554555455555555555455445555555535555555
223122221222111222122212322321212222112121132122332122221222231233111525455555455343335555555251332532545533555553
"""
LABELS = np.r_[np.zeros(69, int), np.ones(45, int)]

# What MRMCaov prints for mrmc(empirical_auc(truth, rating), treatment, reader, case, VanDyke): Smith & Hillis,
# "MRMCaov: Multi-Reader Multi-Case ANOVA Software for R", docs/jss/MRMCaov.tex in its sources. RJafroc prints the same
# for the jackknife: Chakraborty, RJafrocBook, "Obuchowski-Rockette applications".
PUBLISHED = {
    "jackknife": {
        "components": (0.0015349993, 0.0002004025, 0.0008022883, 0.0003466137, 0.0003440748, 0.0002390284),
        "difference": (-0.04380032, 0.02074862, 15.25967, -0.0879594986, 0.0003588544, -2.110999, 0.05166569),
        "F": 4.456319,
        "spin echo": (0.8970370, 0.003082629, 0.0004839618, 0.03317360, 12.74465, 0.8252236, 0.9688505),
        "cine": (0.9408374, 0.001304602, 0.0002041879, 0.02156637, 12.71019, 0.8941378, 0.9875369),
    },
    "delong": {
        "components": (0.0015364254, 0.0002045840, 0.0007921325, 0.0003420090, 0.0003395265, 0.0002358497),
        "difference": (-0.04380032, 0.0206825, 15.06611, -0.0878671960, 0.0002665519, -2.117747, 0.05123303),
        "F": 4.484854,
        "spin echo": (0.8970370, 0.003082629, 0.0004775239, 0.03307642, 12.59597, 0.8253461, 0.9687280),
        "cine": (0.9408374, 0.001304602, 0.0002015292, 0.02150464, 12.56530, 0.8942155, 0.9874592),
    },
}
# of the jackknife: the AUROCs and, with fixed readers, difference and means; then one reader at a time
AUROCS = ((0.9196, 0.8588, 0.9039, 0.9731, 0.8298), (0.9478, 0.9053, 0.9217, 0.9994, 0.9300))
FIXED_DIFFERENCE = (-0.04380032, 0.01871748, -0.08048591, -0.00711473, -2.340075, 0.01927984)
FIXED_MEANS = ((0.8970370, 0.02428971, 0.8494301, 0.9446440), (0.9408374, 0.01677632, 0.9079564, 0.9737183))
ONE_READER = (
    (-0.02818035, 0.02551213, -0.078183215, 0.021822507, -1.1045864),
    (-0.04653784, 0.02630183, -0.098088476, 0.005012792, -1.7693768),
    (-0.01787440, 0.03120965, -0.079044180, 0.043295388, -0.5727202),
    (-0.02624799, 0.01729129, -0.060138290, 0.007642316, -1.5179891),
    (-0.10016103, 0.04405746, -0.186512066, -0.013809995, -2.2734182),
)


def van_dyke():
    return [np.array([list(row) for row in rows.split()], float).T for rows in (SPIN_ECHO, CINE)]


def components_of(result):
    c = result.components
    return (c.reader, c.modality_by_reader, c.error, c.cov1, c.cov2, c.cov3)


def simulate(seed, *, readers=5, positives=40, negatives=40, gain=0.0):
    """Roe & Metz 1997: the rating is a sum of effects of film, reader, modality and their interactions."""
    generator = np.random.default_rng(seed)
    labels = np.r_[np.ones(positives, int), np.zeros(negatives, int)]
    films = len(labels)
    case = generator.normal(0, 0.55, (films, 1, 1)) + generator.normal(0, 0.55, (films, 1, 2))
    by_reader = generator.normal(0, 0.45, (films, readers, 1)) + generator.normal(0, 0.45, (films, readers, 2))
    skill = generator.normal(0, 0.15, (1, readers, 1)) + generator.normal(0, 0.4, (1, readers, 2))
    signal = (1.5 + skill + np.array([gain, 0.0])) * labels[:, None, None]
    ratings = signal + case + by_reader
    return labels, ratings[:, :, 0], ratings[:, :, 1]


@pytest.mark.parametrize("covariance", ["jackknife", "delong"])
def test_van_dyke_as_published(covariance):
    published = PUBLISHED[covariance]
    result = multi_reader_difference(LABELS, *van_dyke(), covariance=covariance)
    assert components_of(result) == pytest.approx(published["components"], abs=6e-11)
    mean = result.mean
    assert mean is result.random
    got = (mean.value, mean.standard_error, mean.degrees_of_freedom, mean.low, mean.high, mean.statistic, mean.p_value)
    assert got == pytest.approx(published["difference"], rel=3e-6)
    assert mean.statistic**2 == pytest.approx(published["F"], rel=3e-7)
    for half, name in ((result.first, "spin echo"), (result.second, "cine")):
        one = half.mean
        got = (one.value, half.mean_square_reader, half.cov2, one.standard_error, one.degrees_of_freedom)
        assert (*got, one.low, one.high) == pytest.approx(published[name], rel=3e-7)
    table = (result.components.mean_square_modality, result.components.mean_square_interaction)
    assert table == pytest.approx((0.004796171, 0.0005510306), rel=2e-7)


def test_van_dyke_with_fixed_readers_as_published():
    result = multi_reader_difference(LABELS, *van_dyke(), covariance="jackknife")
    fixed = result.fixed
    got = (fixed.value, fixed.standard_error, fixed.low, fixed.high, fixed.statistic, fixed.p_value)
    assert got == pytest.approx(FIXED_DIFFERENCE, rel=1e-6)
    for half, published in zip((result.first, result.second), FIXED_MEANS, strict=True):
        one = half.fixed
        assert (one.value, one.standard_error, one.low, one.high) == pytest.approx(published, rel=3e-7)
        assert one.degrees_of_freedom is None


def test_van_dyke_by_reader_as_published():
    spin_echo, cine = van_dyke()
    result = multi_reader_difference(LABELS, spin_echo, cine)
    for half, published in zip((result.first, result.second), AUROCS, strict=True):
        assert [one.auroc for one in half.by_reader] == pytest.approx(published, abs=6e-5)
    for j, published in enumerate(ONE_READER):
        one = slice(j, j + 1)
        alone = multi_reader_difference(LABELS, spin_echo[:, one], cine[:, one], covariance="jackknife").mean
        got = (alone.value, alone.standard_error, alone.low, alone.high, alone.statistic)
        assert got == pytest.approx(published, rel=1e-6)
        assert result.by_reader[j].difference == pytest.approx(published[0], abs=6e-9)


def plain_covariances(labels, columns):
    """DeLong, Delong & Clarke-Pearson by their sums over all pairs."""
    positive, negative = columns[labels == 1], columns[labels == 0]
    wins = (positive[:, None] > negative[None]) + 0.5 * (positive[:, None] == negative[None])
    m, n, k = len(positive), len(negative), columns.shape[1]
    v10, v01, areas = wins.mean(axis=1), wins.mean(axis=0), wins.mean(axis=(0, 1))
    matrix = np.zeros((k, k))
    for r, s in itertools.product(range(k), repeat=2):
        s10 = sum((v10[i, r] - areas[r]) * (v10[i, s] - areas[s]) for i in range(m)) / (m - 1)
        s01 = sum((v01[i, r] - areas[r]) * (v01[i, s] - areas[s]) for i in range(n)) / (n - 1)
        matrix[r, s] = s10 / m + s01 / n
    return areas, matrix


def plain_difference(labels, first, second):
    """Obuchowski & Rockette with Hillis' degrees of freedom, in loops."""
    readers = first.shape[1]
    areas, matrix = plain_covariances(labels, np.hstack([first, second]))
    theta = {(i, j): areas[i * readers + j] for i in range(2) for j in range(readers)}
    pairs = {"var": [], "cov1": [], "cov2": [], "cov3": []}
    for i, j, k, m in itertools.product(range(2), range(readers), range(2), range(readers)):
        name = {(True, True): "var", (False, True): "cov1", (True, False): "cov2", (False, False): "cov3"}
        pairs[name[i == k, j == m]].append(matrix[i * readers + j, k * readers + m])
    var, cov1, cov2, cov3 = (float(np.mean(pairs[name])) for name in ("var", "cov1", "cov2", "cov3"))
    grand = np.mean(list(theta.values()))
    modality = [np.mean([theta[i, j] for j in range(readers)]) for i in range(2)]
    reader = [np.mean([theta[i, j] for i in range(2)]) for j in range(readers)]
    ms_t = readers * sum((one - grand) ** 2 for one in modality)
    ms_tr = sum((theta[i, j] - modality[i] - reader[j] + grand) ** 2 for i, j in theta) / (readers - 1)
    below = ms_tr + max(readers * (cov2 - cov3), 0)
    degrees = below**2 / (ms_tr**2 / (readers - 1))
    chi = ms_t / (var - cov1 + (readers - 1) * max(cov2 - cov3, 0))
    return ms_t / below, degrees, stats.f.sf(ms_t / below, 1, degrees), stats.chi2.sf(chi, 1), (var, cov1, cov2, cov3)


@pytest.mark.parametrize("seed", range(4))
def test_equals_plain_loops_on_other_studies(seed):
    labels, first, second = simulate(seed, readers=5 + seed, positives=13, negatives=17, gain=0.4)
    first, second = np.round(first * 2), np.round(second * 2)  # with ties
    result = multi_reader_difference(labels, first, second)
    f, degrees, p_value, p_fixed, covariances = plain_difference(labels, first, second)
    assert result.mean.statistic**2 == pytest.approx(f)
    assert (result.mean.degrees_of_freedom, result.mean.p_value) == pytest.approx((degrees, p_value))
    assert result.fixed.p_value == pytest.approx(p_fixed)
    assert components_of(result)[2:] == pytest.approx(covariances)


def test_jackknife_leaves_out_one_patient_at_a_time():
    labels, first, second = simulate(3, readers=5, positives=12, negatives=15)
    patients = np.arange(27) % 11  # most of them with films of both classes
    columns = np.hstack([first, second])
    without = np.array(
        [
            [roc_auc_score(labels[patients != p], columns[patients != p, k]) for k in range(10)]
            for p in np.unique(patients)
        ]
    )
    matrix = np.cov(without.T) * 10 * 10 / 11
    result = multi_reader_difference(labels, first, second, patients, covariance="jackknife")
    assert result.components.error == pytest.approx(np.diag(matrix).mean())
    assert result.components.cov1 == pytest.approx(np.diag(matrix[:5, 5:]).mean())


def test_clustered_covariances_agree_with_the_variances_of_columns_and_of_differences():
    labels, first, _ = simulate(4, readers=2)
    sample = take_sample(labels, first, np.arange(80) % 30)
    positive, negative = placements(sample)
    matrix = clustered_covariance(sample, positive, negative)
    assert np.diag(matrix) == pytest.approx(clustered_variance(sample, positive, negative))
    of_difference = clustered_variance(sample, positive[:, :1] - positive[:, 1:], negative[:, :1] - negative[:, 1:])
    assert matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1] == pytest.approx(of_difference[0])


@pytest.mark.parametrize("covariance", ["delong", "jackknife"])
def test_the_same_film_twice_of_each_patient_adds_nothing(covariance):
    labels, first, second = simulate(5)
    patients = np.arange(len(labels))
    once = multi_reader_difference(labels, first, second, patients, covariance=covariance)
    twice = multi_reader_difference(
        *(np.concatenate([one, one]) for one in (labels, first, second, patients)), covariance=covariance
    )
    assert dataclasses.astuple(twice.random)[1:8] == pytest.approx(dataclasses.astuple(once.random)[1:8])
    independent = multi_reader_difference(
        *(np.concatenate([one, one]) for one in (labels, first, second)), covariance=covariance
    )
    assert independent.random.standard_error < once.random.standard_error


def test_one_reader_is_the_paired_test_of_delong():
    labels, first, second = simulate(6, readers=1, gain=0.5)
    patients = np.arange(80) % 50
    result = multi_reader_difference(labels, first, second, patients)
    paired = delong_paired(labels, first[:, 0], second[:, 0], patients)
    assert (result.mean.value, result.mean.low, result.mean.high, result.mean.p_value) == pytest.approx(
        (paired.difference, paired.low, paired.high, paired.p_value)
    )
    assert result.by_reader == (paired,)
    assert (result.components.cov2, result.components.reader) == (None, None)
    alone = multi_reader_auroc(labels, first)
    assert alone.mean.standard_error**2 == pytest.approx(auroc_interval(labels, first[:, 0]).variance)


@pytest.mark.parametrize("readers", [1, 2, 4])
def test_fewer_than_five_readers_are_taken_as_fixed_and_said_so(readers):
    labels, first, second = simulate(7, readers=readers)
    result = multi_reader_difference(labels, first, second)
    assert (result.readers, result.mean) == ("fixed", result.fixed)
    assert result.mean.p_value is not None
    assert (result.random.value, result.random.p_value, result.random.low) == (result.fixed.value, None, None)
    assert result.random.reason.startswith(f"With {readers} of at least 5 readers, how readers vary is not known well")
    assert (result.first.readers, result.first.random.low) == ("fixed", None)
    assert result.first.mean.low < result.first.mean.value < result.first.mean.high


def test_one_modality_alone():
    spin_echo, _ = van_dyke()
    result = multi_reader_auroc(LABELS, spin_echo)
    assert result == multi_reader_difference(LABELS, *van_dyke()).first
    areas = [roc_auc_score(LABELS, column) for column in spin_echo.T]
    assert result.mean.value == pytest.approx(np.mean(areas))
    assert result.mean_square_reader == pytest.approx(np.var(areas, ddof=1))
    assert result.by_reader[2] == auroc_interval(LABELS, spin_echo[:, 2], np.arange(114))
    wider = multi_reader_auroc(LABELS, spin_echo, confidence=0.99)
    quantile = stats.t.ppf(0.995, wider.mean.degrees_of_freedom)
    assert wider.mean.low == pytest.approx(wider.mean.value - quantile * wider.mean.standard_error)


def test_films_without_a_rating_of_every_reader_are_left_out_and_counted():
    labels, first, second = simulate(8, gain=0.3)
    holes = first.copy(), second.copy()
    holes[0][3, 0] = holes[0][4, 0] = holes[1][4, 2] = holes[1][70, 4] = math.nan
    result = multi_reader_difference(labels, *holes)
    kept = np.delete(np.arange(80), [3, 4, 70])
    complete = multi_reader_difference(labels[kept], first[kept], second[kept])
    assert result.random == complete.random
    assert (result.left_out, result.first.positives, result.first.negatives) == (3, 38, 39)
    assert result.films_rated == (78, 80, 79, 80, 79)
    assert multi_reader_auroc(labels, holes[0]).left_out == 2


def test_too_little_data_has_a_reason():
    labels, first, second = simulate(9)
    nobody = multi_reader_difference(labels, first[:, :0], second[:, :0])
    assert (nobody.reason, nobody.mean.value) == ("No reader has rated a film.", None)
    missing = first.copy()
    missing[labels == 1, 2] = math.nan
    no_abnormal = multi_reader_difference(labels, missing, second)
    assert no_abnormal.reason.startswith("Abnormal films with a rating of every reader: 0, normal films: 40.")
    assert (no_abnormal.mean.value, no_abnormal.components, no_abnormal.first.mean.value) == (None, None, None)
    assert no_abnormal.random.reason == no_abnormal.reason
    nothing = multi_reader_difference([], np.empty((0, 5)), np.empty((0, 5)))
    assert nothing.mean.value is None and "normal films: 0" in nothing.reason
    one_patient = multi_reader_difference(labels, first, second, labels)
    assert one_patient.reason.startswith("Films of only one abnormal and one normal patient")
    assert one_patient.mean.value is not None and one_patient.mean.low is None


def test_no_variance_has_a_reason():
    labels, first, _ = simulate(10)
    same = multi_reader_difference(labels, first, first)
    assert (same.random.value, same.random.p_value) == (0.0, None)
    assert same.random.reason.startswith("These ratings leave no variance")
    perfect = multi_reader_auroc(labels, np.repeat(labels[:, None] * 100.0, 5, axis=1))
    assert (perfect.mean.value, perfect.mean.low) == (1.0, None)
    assert perfect.mean.reason == same.random.reason


def test_readers_who_do_not_differ_have_a_normal_distribution():
    labels, first, second = simulate(11, readers=1, gain=1.0)
    five = multi_reader_difference(labels, np.repeat(first, 5, axis=1), np.repeat(second, 5, axis=1))
    assert five.random.degrees_of_freedom is None
    paired = delong_paired(labels, first[:, 0], second[:, 0])
    assert (five.random.p_value, five.random.low) == pytest.approx((paired.p_value, paired.low))


def test_misuse_raises():
    labels, first, second = simulate(12)
    with pytest.raises(ValueError, match="expected \\(films, readers\\)"):
        multi_reader_auroc(labels, first[:, 0])
    with pytest.raises(ValueError, match="same films and the same readers"):
        multi_reader_difference(labels, first, second[:, :4])
    with pytest.raises(ValueError, match="'delong' or 'jackknife'"):
        multi_reader_auroc(labels, first, covariance="unbiased")
    with pytest.raises(ValueError, match="confidence"):
        multi_reader_difference(labels, first, second, confidence=95)
    with pytest.raises(ValueError, match="labels must be 0"):
        multi_reader_auroc(labels + 1, first)


@pytest.mark.slow
def test_no_difference_is_rarely_called_one():
    """Of 400 simulated studies without a difference about 5 % are significant, and 95 % of intervals hold it."""
    results = [multi_reader_difference(*simulate(seed, positives=30, negatives=30)) for seed in range(400)]
    assert 0.02 <= np.mean([result.random.p_value < 0.05 for result in results]) <= 0.08
    assert 0.92 <= np.mean([result.random.low <= 0 <= result.random.high for result in results]) <= 0.98
    # the readers' own differences are noise to an analysis that takes them as fixed
    assert np.mean([result.fixed.p_value < 0.05 for result in results]) > 0.1


def test_a_difference_is_called_one():
    results = [multi_reader_difference(*simulate(seed, gain=1.5)) for seed in range(60)]
    assert np.mean([result.random.p_value < 0.05 for result in results]) > 0.8
    assert all(result.random.value > 0 for result in results)
