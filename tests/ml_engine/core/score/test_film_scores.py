from __future__ import annotations

import math

import numpy as np
import pytest

from ml_engine.core.score import film_scores, fusion
from ml_engine.core.score.film_scores import FAMILY, PARTS, Member, PartStatistics


def maps(n: int = 3, side: int = 6, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(5, 2, (n, 2, side, side))
    values[:, :, 0, :2] = np.nan
    values[:, :, 3, 3] = np.nan
    return values


def plain_score(fused: np.ndarray, member: Member) -> float:
    """The score of a film's fused map (h, w), by plain loops."""
    patches = sorted(value for value in fused.ravel().tolist() if not math.isnan(value))
    if member.kind == "mean":
        return sum(patches) / len(patches)
    if member.kind == "max":
        return patches[-1]
    if member.kind == "top":
        count = max(1, math.ceil(member.share * len(patches)))
        return sum(patches[-count:]) / count
    boxes = []
    for r, c in np.argwhere(~np.isnan(fused)):
        around = fused[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2]
        boxes.append(np.nanmean(around))
    return max(boxes) - float(np.median(patches))


@pytest.mark.parametrize("name", FAMILY)
def test_each_member_at_each_weight_equals_a_plain_loop(name: str) -> None:
    values = maps()

    scores = film_scores.member_scores(values, [FAMILY[name]])

    assert scores.shape == (3, 1, 101)
    for film in range(3):
        for at in (0, 25, 60, 100):
            expected = plain_score(fusion.fuse(values, at / 100)[film], FAMILY[name])
            assert scores[film, 0, at] == pytest.approx(expected, rel=1e-12)


def test_members_do_not_depend_on_the_others_that_are_computed() -> None:
    together = film_scores.member_scores(maps())

    for k, member in enumerate(FAMILY.values()):
        np.testing.assert_array_equal(film_scores.member_scores(maps(), [member])[:, 0], together[:, k])


def test_a_config_names_a_member_of_the_family_whatever_its_share_is() -> None:
    """So that its scores are not computed twice."""
    named = [Member.of("mean", 0.01), Member.of("max", 0.2), Member.of("box", 0.3), Member.of("top", 0.05)]
    assert named == [FAMILY[name] for name in ("mean", "max", "box", "top5")]


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.25, 9), (0.5, 17), (1.0, 33)])
def test_the_highest_share_is_rounded_up(share: float, count: int) -> None:
    assert film_scores.top_count(33, share) == count


def test_a_film_without_any_score_is_nan_and_no_film_gives_no_row() -> None:
    values = maps()
    values[1] = np.nan

    scores = film_scores.member_scores(values)

    assert np.isnan(scores).all(axis=(1, 2)).tolist() == [False, True, False]
    assert film_scores.member_scores(values[:0]).shape == (0, len(FAMILY), 101)


def test_a_single_fused_map_scores_as_both_maps_that_are_equal_to_it() -> None:
    fused = fusion.fuse(maps(), 0.6)

    np.testing.assert_array_equal(film_scores.image_scores(fused, how="max"), np.nanmax(fused, axis=(1, 2)))
    np.testing.assert_allclose(film_scores.image_scores(fused, how="mean"), np.nanmean(fused, axis=(1, 2)))


def test_the_combined_score_is_the_sum_of_both_parts_standardised_by_the_normals() -> None:
    values, normals = maps(4), maps(9, seed=1)
    statistics = film_scores.part_statistics(film_scores.part_scores(normals))

    scores = film_scores.scores_at(values, how="mean+top", top_share=0.2, parts=statistics)

    for at in (0, 60, 100):
        expected = np.zeros(4)
        for name in PARTS:
            of = lambda films: np.array([plain_score(film, FAMILY[name]) for film in fusion.fuse(films, at / 100)])  # noqa: B023, E731
            expected += (of(values) - of(normals).mean()) / of(normals).std(ddof=1)
        np.testing.assert_allclose(scores[:, at], expected, rtol=1e-9)
    at_one = film_scores.scores_at(values, how="mean+top", top_share=0.2, parts=statistics, weights=np.array([0.6]))
    np.testing.assert_allclose(at_one[:, 0], scores[:, 60])


def test_without_normals_the_combined_score_is_unknown() -> None:
    assert film_scores.part_statistics(film_scores.part_scores(maps(1))) is None
    assert np.isnan(film_scores.scores_at(maps(), how="mean+top", top_share=0.01, parts=None)).all()


def test_equal_normals_standardise_by_one() -> None:
    statistics = film_scores.part_statistics(np.full((3, 2, 101), 4.0))

    assert statistics is not None
    np.testing.assert_array_equal(statistics.standardised(np.full((1, 2, 101), 6.0)), np.full((1, 2, 101), 2.0))


def test_each_normal_is_standardised_by_the_others() -> None:
    scores = film_scores.part_scores(maps(7))

    held_out = film_scores.held_out_parts(scores)

    for film in range(7):
        others = np.delete(scores, film, axis=0)
        expected = PartStatistics(others.mean(axis=0), others.std(axis=0, ddof=1)).standardised(scores[film])
        np.testing.assert_allclose(held_out[film], expected, rtol=1e-9)
    both = film_scores.held_out_parts(scores[:2])
    np.testing.assert_allclose(both.sum(axis=0), 0, atol=1e-9)  # with two films, both contribute
    assert np.isnan(film_scores.held_out_parts(scores[:1])).all()


def test_scores_of_normals_are_those_of_the_combined_kind_or_of_one_member() -> None:
    values = maps(5)

    combined = film_scores.normal_scores_at(values, how="mean+top", top_share=0.01)
    top = film_scores.normal_scores_at(values, how="top", top_share=0.2, weights=np.array([0.3]))

    np.testing.assert_allclose(combined, film_scores.held_out_parts(film_scores.part_scores(values)).sum(axis=1))
    np.testing.assert_array_equal(top[:, 0], film_scores.member_scores(values, [FAMILY["top20"]])[:, 0, 30])
