"""Copies of a film: films of a site with equal pixels, in two datasets or under two patients, and pairs that a person
judged the same film (portal.sets.judging_pairs).

A split has one copy of a film. Patients who share a film count as one, since a film under two names is most often one
person under two names: they are drawn together, and what holds for one of them holds for all. So do patients with films
that may be the same, until somebody has judged them different.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from django.db.models import Count, Q, QuerySet

from portal.models import FilmPair, Image, Site, Split, SplitImage
from portal.sets.same_person import Joined

_PAIR = ("first__pixel_sha256", "second__pixel_sha256", "first__patient", "second__patient")
CHUNK = 500  # rows in a query; old builds of SQLite allow 999 parameters


class FilmCopies:
    """The copies among all films of a site, whichever dataset or view they are of."""

    def __init__(self, site: Site) -> None:
        pairs = FilmPair.objects.filter(site=site).exclude(verdict=FilmPair.Verdict.DIFFERENT)
        rows = list(pairs.values_list("verdict", *_PAIR))
        self._films = Joined((one, other) for verdict, one, other, *_ in rows if verdict)
        self._unjudged = [(one, other) for verdict, one, other, *_ in rows if not verdict]
        of_pairs = ((one, other) for *_, one, other in rows)
        self._people = Joined([*_patients_with_equal_pixels(site), *of_pairs])

    def film(self, pixel_sha256: str) -> str:
        """Equal for the pixels of copies of a film."""
        return self._films.first(pixel_sha256)

    def unjudged_pairs(self, films: Iterable[Image]) -> int:
        """How many pairs of these films may be the same film, and nobody has judged."""
        pixels = {film.pixel_sha256 for film in films}
        return sum(one in pixels and other in pixels for one, other in self._unjudged)

    def person(self, patient_id: int) -> int:
        """The id of a patient, equal for patients who share a film."""
        return self._people.first(patient_id)

    def patients_joined_with(self, patients: Collection[int]) -> set[int]:
        """These patients, and those who share a film with one of them."""
        joined = set(patients)
        for group in self._people.groups():
            if not group.isdisjoint(joined):
                joined |= group
        return joined

    def names(self, films: Sequence[Image]) -> dict[int, str]:
        """By patient id of the films: the pseudonym that stands for the patient and those who share a film with them,
        the first in order among these films."""
        pseudonyms = {film.patient_id: film.patient.pseudonym for film in films}
        first: dict[int, str] = {}
        for patient, pseudonym in pseudonyms.items():
            person = self.person(patient)
            first[person] = min(pseudonym, first.get(person, pseudonym))
        return {patient: first[self.person(patient)] for patient in pseudonyms}

    def contradicting(self, films: Sequence[Image], values: Mapping[int, str]) -> set[int]:
        """The ids of the films whose copies among these have a different label; unsure and exclude count as labels."""
        labels: dict[str, set[str]] = defaultdict(set)
        for film in films:
            if film.pk in values:
                labels[self.film(film.pixel_sha256)].add(values[film.pk])
        return {film.pk for film in films if film.pk in values and len(labels[self.film(film.pixel_sha256)]) > 1}


def _patients_with_equal_pixels(site: Site) -> list[tuple[int, int]]:
    """Pairs of patients with films of equal pixels. Films that show nothing say nothing about who is on them."""
    of_site = Image.objects.filter(dataset__site=site).exclude(shows_nothing=True).order_by()
    shared = of_site.values("pixel_sha256").annotate(patients=Count("patient", distinct=True)).filter(patients__gt=1)
    hashes = list(shared.values_list("pixel_sha256", flat=True))
    first: dict[str, int] = {}
    pairs = []
    for start in range(0, len(hashes), CHUNK):
        rows = of_site.filter(pixel_sha256__in=hashes[start : start + CHUNK]).values_list("pixel_sha256", "patient")
        pairs += [(patient, first.setdefault(pixels, patient)) for pixels, patient in rows]
    return [(one, other) for one, other in pairs if one != other]


def outside_copies_of(split: Split, part: str) -> QuerySet[Image]:
    """The films of the site that are in no part of the split and have the pixels of a film of this part, or were judged
    the same film by a person. Films that show nothing are copies of none."""
    pixels = SplitImage.objects.filter(member__split=split, member__part=part).values("image__pixel_sha256")
    same = FilmPair.objects.filter(site=split.site_id, verdict=FilmPair.Verdict.SAME)
    is_copy = (
        Q(pixel_sha256__in=pixels)
        | Q(pixel_sha256__in=same.filter(first__pixel_sha256__in=pixels).values("second__pixel_sha256"))
        | Q(pixel_sha256__in=same.filter(second__pixel_sha256__in=pixels).values("first__pixel_sha256"))
    )
    of_site = Image.objects.filter(is_copy, dataset__site=split.site_id).exclude(shows_nothing=True)
    return of_site.exclude(pk__in=SplitImage.objects.filter(member__split=split).values("image"))


# Splits that were frozen before copies were looked for, or judged --------------------------------------------


def divided_films(splits: Sequence[Split]) -> dict[int, int]:
    """By id of the splits that have copies of a film in two parts: the number of such films, copies counted once."""
    divided = _divided_equal(splits)
    pairs = FilmPair.objects.filter(site__in={split.site_id for split in splits}, verdict=FilmPair.Verdict.SAME)
    for split, films in _divided_pairs(splits, pairs).items():
        divided[split] |= films
    return {split: len(films) for split, films in divided.items()}


def unjudged_in_two_parts(split: Split) -> int:
    """How many films of the split may be the same as one in another part."""
    pairs = FilmPair.objects.filter(site=split.site_id, verdict="")
    return len(_divided_pairs([split], pairs).get(split.pk, ()))


def _divided_equal(splits: Sequence[Split]) -> dict[int, set[str]]:
    """By split: the hashes of films with equal pixels in two parts."""
    old = SplitImage.objects.filter(member__split__in=[split.pk for split in splits], pixel_sha256__isnull=True)
    divided: dict[int, set[str]] = defaultdict(set)
    for split in set(old.order_by().values_list("member__split", flat=True).distinct()):
        films = SplitImage.objects.filter(member__split=split).values_list("image__pixel_sha256", "member__part")
        parts: dict[str, str] = {}
        for pixels, part in films.iterator():
            if parts.setdefault(pixels, part) != part:
                divided[split].add(pixels)
    return divided


def _divided_pairs(splits: Sequence[Split], pairs: QuerySet[FilmPair]) -> dict[int, set[str]]:
    """By split: a hash for each group of films of these pairs, or copies of them, that is in two parts."""
    films = Joined(pairs.values_list(*_PAIR[:2]))
    hashes = sorted(set().union(*films.groups()))
    parts: dict[tuple[int, str], set[str]] = defaultdict(set)
    for start in range(0, len(hashes), CHUNK):
        rows = SplitImage.objects.filter(
            member__split__in=splits, image__pixel_sha256__in=hashes[start : start + CHUNK]
        ).values_list("member__split", "image__pixel_sha256", "member__part")
        for split, pixels, part in rows:
            parts[split, films.first(pixels)].add(part)
    divided: dict[int, set[str]] = defaultdict(set)
    for (split, film), of_film in parts.items():
        if len(of_film) > 1:
            divided[split].add(film)
    return divided


def divided_note(split: Split) -> str:
    """A sentence for what is shown of a split that has copies of a film in two parts; "" otherwise."""
    films = divided_films([split]).get(split.pk, 0)
    if not films:
        return ""
    which = "1 film of this split is" if films == 1 else f"{films} films of this split are"
    return f"{which} in two parts, as copies of one film."
