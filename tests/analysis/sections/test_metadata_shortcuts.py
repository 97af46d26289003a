"""Numbers, order of arrival, file sizes and types of films."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from analysis.evaluation.evaluate import evaluate, scored_part
from analysis.sections.metadata_shortcuts import Shortcuts, shortcuts_of
from portal.intake.film_files import pixel_path
from portal.models import User
from tests.analysis.scored import Scored, scored_run
from tests.portal import factories

pytestmark = pytest.mark.django_db


def shortcuts(scored: Scored, analyst: User) -> Shortcuts:
    evaluation = evaluate(run=scored.run, author=analyst)
    return shortcuts_of(scored_part(scored.run, part="test", cutoff=evaluation.label_cutoff))


def named(names: Sequence[str], analyst: User) -> Scored:
    """A run whose 24 films have these names, over and over."""
    facts = [{"original_name": names[k % len(names)]} for k in range(24)]
    return scored_run(factories.site(), author=analyst, facts=facts)


@pytest.mark.usefixtures("data_dir")
def test_the_first_number_of_the_name_counts(analyst: User) -> None:
    names = ["00002576_008.png", "person12_virus_3.JPEG", "folder7/IM-0115-0001.jpg", "scan", "1234567890123.png", ""]
    known = shortcuts(named(names, analyst), analyst)
    np.testing.assert_array_equal(known.numbers["number"][:6], [2576, 12, 115, np.nan, np.nan, np.nan])
    assert known.types[:6] == ["png", "jpeg", "jpg", "unknown", "png", "unknown"]
    assert known.reasons == {}


def test_arrival_is_the_order_of_import(scored: Scored, analyst: User) -> None:
    arrival = shortcuts(scored, analyst).numbers["arrival"]
    assert (np.diff(arrival) > 0).all()  # the films of the fixture are created one after the other


def test_size_is_that_of_the_stored_pixels(scored: Scored, analyst: User) -> None:
    pixel_path(scored.films[13].pixel_sha256).write_bytes(b"x" * 77)
    pixel_path(scored.films[14].pixel_sha256).unlink()
    sizes = shortcuts(scored, analyst).numbers["bytes"]
    assert sizes[1] == 77
    assert np.isnan(sizes[2])


def test_what_no_film_has_gives_the_reason(scored: Scored, analyst: User) -> None:
    for film in scored.films:
        pixel_path(film.pixel_sha256).unlink()
    assert shortcuts(scored, analyst).reasons == {
        "number": "No file name is kept: only an import with a CSV keeps names.",
        "bytes": "The pixel files are not in the data folder.",
    }


@pytest.mark.usefixtures("data_dir")
def test_names_without_a_number_give_the_reason(analyst: User) -> None:
    assert shortcuts(named(["scan.png"], analyst), analyst).reasons == {"number": "No file name has a number."}
