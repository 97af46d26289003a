"""AUROC by finding, against the same films taken by hand and SciPy's rank test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import auroc_interval, finding_aurocs, holm


def films(seed: int = 0, *, a_patient: int = 1) -> tuple[np.ndarray, np.ndarray, list[tuple[str, ...]], np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = (np.arange(240) % 2).astype(int)
    scores = generator.normal(size=240) + 0.6 * labels
    findings = [("effusion", "nodule") if n % 6 == 1 else ("nodule",) if n % 3 == 0 else () for n in range(240)]
    findings[1] = ("effusion", "rare")
    return labels, scores, findings, np.arange(240) // a_patient


@pytest.mark.parametrize("a_patient", [1, 2])
def test_each_finding_stands_against_all_normals(a_patient: int) -> None:
    labels, scores, findings, patients = films(a_patient=a_patient)
    rows = {row.name: row for row in finding_aurocs(labels, scores, findings, patients)}
    assert list(rows) == ["nodule", "effusion", "rare"]
    for name, row in rows.items():
        kept = [k for k in range(240) if labels[k] == 0 or name in findings[k]]
        assert row.films == sum(labels[k] == 1 and name in findings[k] for k in range(240))
        assert row.films < 30 or row.auroc == auroc_interval(labels[kept], scores[kept], patients[kept])


def test_the_area_is_that_of_the_rank_test() -> None:
    labels, scores, findings, _ = films()
    row = next(row for row in finding_aurocs(labels, scores, findings) if row.name == "effusion")
    mine = [k for k in range(240) if labels[k] == 1 and "effusion" in findings[k]]
    u = stats.mannwhitneyu(scores[mine], scores[labels == 0]).statistic
    assert row.auroc.auroc == pytest.approx(u / (len(mine) * 120))


def test_few_films_have_no_area_and_no_p_value_and_the_others_holm_s() -> None:
    labels, scores, findings, _ = films()
    rows = finding_aurocs(labels, scores, findings)
    tested = [row for row in rows if row.p_value is not None]
    assert [row.name for row in tested] == ["nodule", "effusion"]
    assert [row.adjusted_p_value for row in tested] == pytest.approx(holm([row.p_value or 0 for row in tested]))
    for row in tested:
        area = row.auroc
        assert area.auroc is not None and area.variance is not None
        z = abs(area.auroc - 0.5) / np.sqrt(area.variance)
        assert row.p_value == pytest.approx(2 * stats.norm.sf(z))
    assert rows[-1].reason == rows[-1].auroc.reason == "1 film: below 30 no AUROC is given."
    assert (rows[-1].auroc.auroc, rows[-1].auroc.low, rows[-1].auroc.variance) == (None, None, None)


def test_findings_of_normal_films_count_for_nothing() -> None:
    labels, scores, _, _ = films()
    assert finding_aurocs(labels, scores, [("scar",) if label == 0 else () for label in labels]) == ()


def test_findings_of_other_films_are_refused() -> None:
    with pytest.raises(ValueError, match="2 films have findings and 3 have labels"):
        finding_aurocs([0, 1, 1], [1, 2, 3], [(), ()])
