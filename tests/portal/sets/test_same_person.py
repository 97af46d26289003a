"""Groups of patients who share a film, and the part of each group."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from portal.sets.same_person import Joined, parts_by_person


def test_groups_are_those_of_an_independent_search() -> None:
    pairs = np.random.default_rng(0).integers(0, 200, size=(150, 2))
    joined = Joined([(int(one), int(other)) for one, other in pairs])
    ones = np.ones(len(pairs))
    _, expected = connected_components(coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(200, 200)))
    first = [joined.first(thing) for thing in range(200)]
    for one in range(200):
        assert [first[one] == first[other] for other in range(200)] == (expected[one] == expected).tolist()


def test_the_strictest_part_counts_and_the_others_lose_their_patients() -> None:
    named = {1: "train", 2: "test", 3: "calibrate", 4: "fit", 5: "fit", 6: "tune"}
    names = {1: "a", 2: "a", 3: "a", 4: "b", 5: "b", 6: "b"}
    assert parts_by_person(named, names) == {2: "test", 6: "tune"}
