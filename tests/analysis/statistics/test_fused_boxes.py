"""The boxes of several readers become one box for each lesion."""

from __future__ import annotations

from analysis.statistics.fused_boxes import fused


def test_boxes_that_overlap_are_one_lesion_with_their_mean() -> None:
    assert fused([[(0, 0, 10, 10, "Nodule")], [(2, 0, 10, 10, "nodule")]]) == ((1, 0, 10, 10, "Nodule"),)


def test_boxes_apart_and_of_other_findings_stay() -> None:
    one, other, apart = (0, 0, 10, 10, "a"), (0, 0, 10, 10, "b"), (50, 50, 4, 4, "a")
    assert fused([[one], [other], [apart]]) == (one, other, apart)


def test_little_overlap_is_another_lesion() -> None:
    assert len(fused([[(0, 0, 10, 10, "a")], [(5, 0, 10, 10, "a")]])) == 2  # a third in common
    assert len(fused([[(0, 0, 10, 10, "a")], [(4, 0, 10, 10, "a")]])) == 1  # six of fourteen


def test_two_boxes_of_one_reader_are_two_lesions() -> None:
    assert len(fused([[(0, 0, 10, 10, "a"), (1, 0, 10, 10, "a")]])) == 2


def test_the_lesion_that_overlaps_most_is_taken() -> None:
    lesions = fused([[(0, 0, 10, 10, "a"), (4, 0, 10, 10, "a")], [(3, 0, 10, 10, "a")]])
    assert lesions == ((0, 0, 10, 10, "a"), (3.5, 0, 10, 10, "a"))


def test_three_readers() -> None:
    boxes = [[(0, 0, 9, 9, "a")], [(3, 0, 9, 9, "a")], [(0, 0, 9, 12, "a")]]
    assert fused(boxes) == ((1, 0, 9, 10, "a"),)
    assert fused([]) == ()
