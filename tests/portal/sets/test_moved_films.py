"""Splits say where a film has another patient by now; what makes films move is in `test_corrections`."""

from __future__ import annotations

from typing import Any

import pytest

from portal.models import HeaderDifference, Part, Split, SplitImage, SplitMember, Upload
from portal.sets.moved_films import MovedFilms, moved_films
from tests.portal import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def of(data_dir: Any) -> Any:
    return factories.dataset()


def test_only_films_of_the_split_count(of: Any) -> None:
    inside, outside = factories.films(of, normal=2)
    split = Split.objects.create(
        site=of.site, name="Old", origin="drawn", seed=0, label_cutoff=of.created_at, frozen_at=of.created_at
    )
    member = SplitMember.objects.create(split=split, patient=inside.patient, part=Part.FIT)
    SplitImage.under(member, inside).save()
    assert not moved_films(split)
    for film in (inside, outside):
        HeaderDifference.objects.create(
            image=film, upload=Upload.objects.create(dataset=of), fact="patient", old={}, new={"pseudonym": "x"}
        )
        HeaderDifference.objects.create(
            image=film, upload=Upload.objects.create(dataset=of), fact="view", old="PA", new="AP"
        )
    assert moved_films(split) == MovedFilms(moved=0, in_two_parts=0, waiting=1)
