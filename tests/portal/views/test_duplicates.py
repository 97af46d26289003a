"""Pages on which pairs of films that may be the same are listed and judged."""

from __future__ import annotations

import pytest
from django.test import Client

from portal.models import Dataset, FilmPair, Image, Role, Site
from portal.people.blinding import open_for
from tests.pages import one_line
from tests.portal import factories
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def films(of: Dataset) -> list[Image]:
    return [factories.film(of, "normal", person=f"person {n}", original_name=f"name-{n}.png") for n in range(6)]


@pytest.fixture
def pairs(films: list[Image]) -> list[FilmPair]:
    """Most alike first: 0-1, 2-3, 4-5."""
    return [factories.pair(films[2 * n], films[2 * n + 1], correlation=0.9 - n / 10) for n in range(3)]


def test_the_list_shows_what_is_to_be_judged_and_what_was(curator: Client, pairs: list[FilmPair]) -> None:
    page = one_line(curator.get("/duplicates/"))
    assert "Judge the first of 3" in page
    places = [page.index(pair.first.neutral_name) for pair in pairs]
    assert places == sorted(places)
    curator.post(f"/duplicates/{pairs[0].uuid}/judge/", {"verdict": "same"})
    page = one_line(curator.get("/duplicates/?show=same"))
    assert pairs[0].first.neutral_name in page
    assert "same, curator" in page
    assert pairs[1].first.neutral_name not in page
    assert "No pair was judged different yet." in one_line(curator.get("/duplicates/?show=different"))


def test_an_empty_list_says_when_films_are_compared(curator: Client, of: Dataset) -> None:
    assert "No pair waits for a judgement. Films are compared after each import" in one_line(
        curator.get("/duplicates/")
    )


def test_after_a_judgement_the_next_pair_comes_and_the_last_can_be_corrected(
    curator: Client, pairs: list[FilmPair]
) -> None:
    answer = curator.post(f"/duplicates/{pairs[0].uuid}/judge/", {"verdict": "same", "seen": ""})
    assert answer["Location"] == f"/duplicates/{pairs[1].uuid}/?last={pairs[0].uuid}"
    page = one_line(curator.get(answer["Location"]))
    assert f'href="/duplicates/{pairs[0].uuid}/"' in page
    assert "2 to judge" in page
    answer = curator.post(f"/duplicates/{pairs[2].uuid}/judge/", {"verdict": "different"})
    assert answer["Location"].startswith(f"/duplicates/{pairs[1].uuid}/")  # back at the top of the list
    answer = curator.post(f"/duplicates/{pairs[1].uuid}/judge/", {"verdict": "different"}, follow=True)
    assert "No pair is left to judge." in one_line(answer)
    assert list(FilmPair.objects.order_by("pk").values_list("verdict", flat=True)) == ["same", "different", "different"]


def test_a_page_shows_both_films_and_their_correlation_and_no_label_or_file_name(
    curator: Client, pairs: list[FilmPair]
) -> None:
    page = one_line(curator.get(f"/duplicates/{pairs[0].uuid}/"))
    for film in (pairs[0].first, pairs[0].second):
        assert f"/images/{film.uuid}/pixels" in page
        assert f"/images/{film.uuid}/preview" in page
        assert film.original_name not in page
    assert 'Correlation <span class="tabular">0.90</span> · two patients' in page
    assert "label-normal" not in page


def test_the_pairs_of_a_dataset(curator: Client, pairs: list[FilmPair], films: list[Image]) -> None:
    other = factories.dataset("More")
    across = factories.pair(films[1], factories.film(other, person="x"), correlation=0.55)
    page = one_line(curator.get(f"/duplicates/?dataset={other.uuid}"))
    assert "Judge the first of 1" in page
    assert f"/duplicates/{across.uuid}/?dataset={other.uuid}" in page
    answer = curator.post(f"/duplicates/{across.uuid}/judge/?dataset={other.uuid}", {"verdict": "same"})
    assert answer["Location"] == f"/duplicates/?dataset={other.uuid}"


def test_dataset_and_split_form_give_the_number(curator: Client, pairs: list[FilmPair], of: Dataset) -> None:
    assert "3 possible duplicates" in one_line(curator.get(f"/datasets/{of.uuid}/"))
    form = one_line(curator.get("/splits/new/"))
    assert "3 pairs of films at this site may be the same film, and nobody has judged them" in form
    FilmPair.objects.filter(pk__in=[pair.pk for pair in pairs[1:]]).delete()
    assert "1 possible duplicate " in one_line(curator.get(f"/datasets/{of.uuid}/"))
    assert "nobody has judged it" in one_line(curator.get("/splits/new/"))


def test_a_split_says_which_pairs_were_not_judged(curator: Client, pairs: list[FilmPair], of: Dataset) -> None:
    data = {"name": "S", "datasets": [of.uuid], "origin": "drawn", "seed": "0", "fit": "0.5", "test": "0.5"}
    page = one_line(curator.post("/splits/new/", data, follow=True))
    assert "3 pairs of films had not been judged when the split was frozen" in page


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"verdict": "maybe"}, "The verdict is &#x27;maybe&#x27;; expected same or different."),
        ({"verdict": "same", "seen": "different"}, "Somebody judged this pair"),
    ],
)
def test_a_judgement_that_does_not_count_is_explained(
    curator: Client, pairs: list[FilmPair], data: dict[str, str], words: str
) -> None:
    answer = curator.post(f"/duplicates/{pairs[0].uuid}/judge/", data)
    assert (answer.status_code, words in one_line(answer)) == (400, True)
    assert not FilmPair.objects.exclude(verdict="").exists()


def test_who_may_see_and_judge(pairs: list[FilmPair], of: Dataset) -> None:
    address = f"/duplicates/{pairs[0].uuid}/"
    reader = as_(factories.user("reader", Role.READER, at=of.site))
    page = one_line(reader.get(address))
    assert "The same film" not in page
    assert reader.post(f"{address}judge/", {"verdict": "same"}).status_code == 403
    stranger = factories.user("stranger", Role.MANAGER, at=Site.objects.create(name="Busan"))
    elsewhere = as_(stranger)
    assert [elsewhere.get(address).status_code, elsewhere.post(f"{address}judge/").status_code] == [404, 404]


def test_pairs_of_a_film_that_is_read_blinded_are_left_out(pairs: list[FilmPair], of: Dataset) -> None:
    ann = factories.curator("ann")
    open_for(person=ann, images=[pairs[0].second], source=of.uuid, words="the worklist X", days=9)
    client = as_(ann)
    page = one_line(client.get("/duplicates/"))
    assert pairs[0].first.neutral_name not in page
    assert "Judge the first of 2" in page
    assert "are left out here and not counted" in page
    assert client.get(f"/duplicates/{pairs[0].uuid}/").status_code == 403
    assert client.post(f"/duplicates/{pairs[0].uuid}/judge/", {"verdict": "same"}).status_code == 403
