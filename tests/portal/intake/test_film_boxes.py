from __future__ import annotations

from portal.intake.csv_labels import Box
from portal.intake.film_boxes import FittedBoxes, fit_boxes


def test_boxes_inside_stay_to_the_last_digit() -> None:
    boxes = (Box(0, 0, 64, 48), Box(10.5, 12.25, 0.1, 0.2, "mass"))
    assert fit_boxes(boxes, rows=48, columns=64) == FittedBoxes(boxes)


def test_boxes_beside_the_film_are_left_out_and_those_across_its_edge_cut() -> None:
    boxes = (
        Box(2000, 1500, 300, 300, "mass"),  # in the pixels of a larger film
        Box(-40, -30, 20, 20, "mass"),
        Box(64, 0, 5, 5, "mass"),  # touches the edge only
        Box(50, 40, 62, 46, "mass"),  # the lower right corner in place of the size
        Box(-5, 10, 20, 10, "mass"),
    )
    inside = (Box(50, 40, 14, 8, "mass"), Box(0, 10, 15, 10, "mass"))
    assert fit_boxes(boxes, rows=48, columns=64) == FittedBoxes(inside, outside=3, cut=2)


def test_boxes_of_stored_pixels_turn_with_the_film() -> None:
    """A picture of 64 x 48 that lies on its side: 64 rows and 48 columns on screen."""
    fitted = fit_boxes((Box(50, 40, 14, 8, "disc"),), rows=64, columns=48, orientation=6)
    assert fitted == FittedBoxes((Box(0, 50, 8, 14, "disc"),), turned=1)


def test_boxes_that_fit_the_turned_film_only_were_drawn_on_it() -> None:
    upright = Box(10, 55, 5, 5)
    assert fit_boxes((upright,), rows=64, columns=48, orientation=6) == FittedBoxes((upright,))
    beside = fit_boxes((upright, Box(900, 900, 5, 5)), rows=64, columns=48, orientation=6)
    assert (beside.outside, beside.turned) == (2, 2)
