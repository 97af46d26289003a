"""The filters of the film grid, shared by pages, bulk labelling and the API."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db import connection
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery

from portal.labels.resolving import SETTLED
from portal.models import (
    CurrentLabel,
    Dataset,
    Image,
    LabelEvent,
    LabelOrigin,
    LabelSource,
    NormalAttribute,
    NormalCriteria,
    Part,
    Split,
    SplitImage,
    TaggedFilm,
)

UNLABELLED = "unlabelled"
LABELS = [*CurrentLabel.VALUES, UNLABELLED]
OLDER, NO_CRITERIA = "older", "none"  # values of the filter by criteria, beside a version's number
NOTHING = "nothing"  # the value of the filter by warnings
# Values of the filter by origin beside those of LabelOrigin: labels of a table that does not say what they were made
# from, and labels that people gave here.
TABLE, PEOPLE = "table", "people"
ORIGINS = {
    LabelOrigin.SOFTWARE: "mined from the report by software",
    LabelOrigin.REPORT: "taken from the report by a physician",
    LabelOrigin.READER: "read on the film by its makers",
    TABLE: "of a table that does not say",
    PEOPLE: "given by people here",
}


FILTERS = ("label", "view", "finding", "split", "part", "attribute", "criteria", "warning", "tag", "origin")


class UnknownFilter(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True)
class Filters:
    """Blank means any. `part` is a part of `split` and is ignored without a split. `criteria` is the version of the
    criteria of normal that the label was given under: its number, OLDER (a person's label that does not name the newest
    version) or NO_CRITERIA. `warning`: NOTHING for films that show nothing. `tag`: the name of a tag of the site.
    `origin`: one of ORIGINS."""

    label: str = ""
    view: str = ""
    finding: str = ""
    split: Split | None = None
    part: str = ""
    attribute: str = ""
    criteria: str = ""
    warning: str = ""
    tag: str = ""
    origin: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, Any], splits: Iterable[Split]) -> "Filters":
        """Return the filters of a page's query string; unknown values count as any."""
        label, part, split_uuid = (_text(query, key) for key in ("label", "part", "split"))
        attribute, criteria = (_text(query, key) for key in ("attribute", "criteria"))
        split = next((candidate for candidate in splits if str(candidate.uuid) == split_uuid), None)
        return cls(
            label=label if label in LABELS else "",
            view=_text(query, "view")[:8],
            finding=_text(query, "finding")[:100],
            split=split,
            part=part if split and part in [*Part.values, "none"] else "",
            attribute=attribute if attribute in NormalAttribute.values else "",
            criteria=criteria if criteria in (OLDER, NO_CRITERIA) or _is_version(criteria) else "",
            warning=NOTHING if _text(query, "warning") == NOTHING else "",
            tag=_text(query, "tag")[:30],
            origin=_text(query, "origin") if _text(query, "origin") in ORIGINS else "",
        )

    @classmethod
    def exactly(cls, query: Mapping[str, Any], splits: Iterable[Split]) -> "Filters":
        """`from_query` for a client that is to get what it asked for, or a refusal: raises UnknownFilter."""
        filters = cls.from_query(query, splits)
        kept = filters.facts() | ({"split": str(filters.split.uuid)} if filters.split else {})
        for name in query:
            if name not in FILTERS:
                raise UnknownFilter(f"There is no filter {name[:40]!r}: the filters are {', '.join(FILTERS)}.")
            if query[name] and kept.get(name) != query[name]:
                raise UnknownFilter(
                    f"The filter {name} is {str(query[name])[:40]!r}, which no film of this dataset can have: leave it "
                    "out, or choose a value that the page of the dataset offers (a part only together with its split)."
                )
        return filters

    def apply(self, films: QuerySet[Image], *, but_label: bool = False) -> QuerySet[Image]:
        films = films if but_label else self._by_label(films)
        if self.view:
            films = films.filter(view_position="" if self.view == "unknown" else self.view)
        if self.finding:
            films = films.filter(current_label__finding_words__contains=f"|{self.finding}|")
        if self.attribute:
            films = films.filter(current_label__attribute_words__contains=f"|{self.attribute}|")
        if self.criteria:
            films = self._by_criteria(films)
        if self.warning:
            films = films.filter(shows_nothing=True)
        if self.tag:
            tagged = TaggedFilm.objects.filter(tag__name=self.tag, removed_by__isnull=True)
            films = films.filter(pk__in=tagged.values("image"))
        if self.origin:
            films = films.filter(**_of_origin(self.origin))
        if self.split and self.part:
            of_split = Q(split_images__member__split=self.split)
            films = (
                films.exclude(pk__in=SplitImage.objects.filter(member__split=self.split).values("image"))
                if self.part == "none"
                else films.filter(of_split & Q(split_images__member__part=self.part))
            )
        return films

    def _by_label(self, films: QuerySet[Image]) -> QuerySet[Image]:
        if self.label == UNLABELLED:
            return films.filter(current_label__isnull=True)
        return films.filter(current_label__value=self.label) if self.label else films

    def _by_criteria(self, films: QuerySet[Image]) -> QuerySet[Image]:
        if self.criteria == NO_CRITERIA:
            return films.filter(current_label__isnull=False, current_label__criteria__isnull=True)
        if self.criteria != OLDER:
            return films.filter(current_label__criteria__version=int(self.criteria))
        of_site = NormalCriteria.objects.filter(site=OuterRef("dataset__site")).order_by("-version")
        newest = Subquery(of_site.values("version")[:1])
        older = Q(current_label__criteria__version__lt=newest) | Q(current_label__criteria__isnull=True)
        by_people = Q(current_label__source__in=[LabelSource.READER, *SETTLED])
        return films.filter(by_people & older)

    def facts(self) -> dict[str, str]:
        """The filters that are set, by their names in the query string."""
        words = {"label": self.label, "view": self.view, "finding": self.finding, "part": self.part}
        words |= {"attribute": self.attribute, "criteria": self.criteria, "warning": self.warning, "tag": self.tag}
        words["origin"] = self.origin
        if self.split:
            words["split"] = str(self.split.uuid)
        return {key: value for key, value in words.items() if value}

    def query(self) -> str:
        """The filters as a query string, to carry them from the grid to a film and back."""
        return urlencode(self.facts())

    def words(self) -> str:
        """The filters as text for people; blank without filters."""
        words = [self.label, self.view, self.finding, self.attribute, self._criteria_words()]
        words.append("showing nothing" if self.warning else "")
        words.append(f"tagged {self.tag}" if self.tag else "")
        words.append(f"labels {ORIGINS[self.origin]}" if self.origin else "")
        if self.split:
            words.append(f"{self.part or 'any part'} of {self.split.name}")
        return ", ".join(word for word in words if word)

    def _criteria_words(self) -> str:
        known = {"": "", OLDER: "not by the newest criteria", NO_CRITERIA: "by no criteria"}
        return known.get(self.criteria, f"by criteria v{self.criteria}")


def _of_origin(origin: str) -> dict[str, Any]:
    if origin == PEOPLE:
        return {"current_label__source__in": [LabelSource.READER, *SETTLED]}
    imported = {"current_label__source": LabelSource.IMPORT}
    return imported | {"current_label__origin": "" if origin == TABLE else origin}


def _is_version(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 7


def _text(query: Mapping[str, Any], key: str) -> str:
    """The value without NUL, which PostgreSQL refuses even in comparisons."""
    return str(query.get(key, "")).replace("\0", "")


@dataclass(frozen=True)
class FilmPage:
    """Films in the order of import, and the UUIDs of the first films of the previous and the next page."""

    films: list[Image]
    previous: UUID | None
    next: UUID | None


def page_from(films: QuerySet[Image], uuid: str, *, size: int) -> FilmPage:
    """Return the page that begins with the film of this UUID, or the first page if there is no such film. The cost does
    not grow with the position of the page."""
    first = _first_pk(uuid)
    ahead = list(films.filter(pk__gte=first).order_by("pk")[: size + 1])
    before = list(films.filter(pk__lt=first).order_by("-pk").values_list("uuid", flat=True)[:size]) if first else []
    return FilmPage(ahead[:size], before[-1] if before else None, ahead[size].uuid if len(ahead) > size else None)


def _first_pk(uuid: str) -> int:
    try:
        return Image.objects.filter(uuid=UUID(uuid)).values_list("pk", flat=True).first() or 0
    except ValueError:
        return 0


def events_of(films: Iterable[Image]) -> dict[int, int]:
    """Return the number of label events by film id, with which a page later proves what it has seen."""
    rows = LabelEvent.objects.filter(image__in=[film.pk for film in films]).order_by().values_list("image")
    return dict(rows.annotate(events=Count("pk")))


def labelled(films: Iterable[Image]) -> list[int]:
    """The ids of those films that have a label. Select `current_label` with the films."""
    return [film.pk for film in films if getattr(film, "current_label", None) is not None]


def label_counts(dataset: Dataset, filters: Filters, *, without: Collection[int] = ()) -> dict[str, int]:
    """Return the number of films of the dataset by label, under all filters except that of the label. Contains every
    label, and the sum as "all". `without` are ids of patients whose films are not counted."""
    if replace(filters, label="", split=None) != Filters():
        films = filters.apply(dataset.images.all(), but_label=True).order_by()
        counts = _by_label(films)
    else:  # uses indexes only
        labelled = CurrentLabel.objects.filter(dataset=dataset).order_by().values_list("value")
        counts = dict(labelled.annotate(films=Count("*")))
        counts[None] = dataset.images.count() - sum(counts.values())
    if without:
        films = filters.apply(dataset.images.filter(patient_id__in=without), but_label=True).order_by()
        withheld = _by_label(films)
        counts = {label: count - withheld.get(label, 0) for label, count in counts.items()}
    counts[UNLABELLED] = counts.pop(None, 0)
    return {"all": sum(counts.values())} | {label: counts.get(label, 0) for label in LABELS}


def _by_label(films: QuerySet[Image]) -> dict[str | None, int]:
    """The number of films by label, None for unlabelled ones."""
    return dict(films.values_list("current_label__value").annotate(films=Count("pk")))


def counts_by_dataset(datasets: Sequence[Dataset], *, without: Collection[int] = ()) -> dict[int, dict[str, int]]:
    """Return the number of films by dataset id and label, with the sum as "all". `without` are ids of patients whose
    films are not counted."""
    films = Image.objects.filter(dataset__in=datasets).order_by().values_list("dataset").annotate(films=Count("*"))
    counts: dict[int, dict[str, int]] = {dataset.pk: {"all": 0} for dataset in datasets}
    for dataset_id, count in films:
        counts[dataset_id] = {"all": count, UNLABELLED: count}
    labelled = CurrentLabel.objects.filter(dataset__in=datasets).order_by().values_list("dataset", "value")
    for dataset_id, value, count in labelled.annotate(films=Count("*")):
        counts[dataset_id][value] = count
        counts[dataset_id][UNLABELLED] -= count
    if without:
        hidden = Image.objects.filter(dataset__in=datasets, patient_id__in=without)
        for dataset_id, label in hidden.values_list("dataset", "current_label__value"):
            counts[dataset_id]["all"] -= 1
            counts[dataset_id][label or UNLABELLED] -= 1
    return counts


def findings_of(dataset: Dataset, *, without: Collection[int] = ()) -> list[tuple[str, int]]:
    """Return (finding, number of films) of the dataset's current labels, most frequent first. `without` are ids of
    patients whose films are not counted."""
    return _counted(dataset, "finding_words", without)


def attributes_of(dataset: Dataset, *, without: Collection[int] = ()) -> list[tuple[str, int]]:
    """Return (attribute of normals, number of films) of the dataset's current labels, most frequent first. `without` as
    for findings."""
    return _counted(dataset, "attribute_words", without)


def showing_nothing(dataset: Dataset, *, without: Collection[int] = ()) -> int:
    """Return the number of films that show nothing. `without` as for findings."""
    return dataset.images.filter(shows_nothing=True).exclude(patient_id__in=without).count()


def _counted(dataset: Dataset, field: str, without: Collection[int]) -> list[tuple[str, int]]:
    labels = CurrentLabel.objects.filter(dataset=dataset).exclude(**{field: ""}).order_by()
    counts = _by_word(labels, field)
    if without:
        counts -= _by_word(labels.filter(image__patient_id__in=without), field)
    return counts.most_common()


def _by_word(labels: QuerySet[CurrentLabel], field: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for words, films in labels.values_list(field).annotate(films=Count("*")):
        for word in words.strip("|").split("|"):
            counts[word] += films
    return counts


def origin_choices(dataset: Dataset, *, without: Collection[int] = ()) -> list[tuple[str, str]]:
    """Return (value, words) of the filter by origin, with numbers of films of those that published datasets state; none
    where no label states one. `without` as for findings."""
    labels = CurrentLabel.objects.filter(dataset=dataset).exclude(origin="").exclude(image__patient_id__in=without)
    counts = dict(labels.order_by().values_list("origin").annotate(films=Count("*")))
    if not counts:
        return []
    stated = [(str(value), f"{ORIGINS[value]} ({counts[value]})") for value in LabelOrigin if value in counts]
    return [*stated, (TABLE, ORIGINS[TABLE]), (PEOPLE, ORIGINS[PEOPLE])]


def criteria_choices(newest: int) -> list[tuple[str, str]]:
    """Return (value, words) of the filter by criteria, for a site whose newest version is this."""
    versions = [(str(version), f"criteria v{version}") for version in range(newest, 0, -1)]
    return [(OLDER, f"labelled, but not by v{newest}"), *versions, (NO_CRITERIA, "no criteria")]


def views_of(dataset: Dataset) -> list[str]:
    """Return the view positions of the dataset, by jumping through the index; DISTINCT would scan all of it."""
    query = """
        WITH RECURSIVE views(view) AS (
          SELECT min(view_position) FROM portal_image WHERE dataset_id = %s
          UNION ALL
          SELECT (SELECT min(view_position) FROM portal_image WHERE dataset_id = %s AND view_position > view)
          FROM views WHERE view IS NOT NULL
        ) SELECT view FROM views WHERE view IS NOT NULL
    """
    with connection.cursor() as cursor:
        cursor.execute(query, [dataset.pk, dataset.pk])
        return [view or "unknown" for (view,) in cursor.fetchall()]


def parts_of(films: list[Image], split: Split | None) -> dict[int, str]:
    """Return the parts in the split by film id."""
    if split is None:
        return {}
    rows = SplitImage.objects.filter(member__split=split, image__in=films)
    return dict(rows.values_list("image_id", "member__part"))
