"""Putting a tag on films and taking it off, one film or many at once, with undo."""

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404

from portal.grid.tags import ACTIVE, MOST_TAGS, InvalidTag, clean_name, put_on
from portal.models import FilmTag, Image, Site, TagAct, TaggedFilm, User
from portal.people import audit, blinding
from portal.people.access import require


@dataclass(frozen=True)
class Tagged:
    """What an act did. `act` is None where no film changed; `same` are films that were so already; `omitted` a sentence
    about films that the author has yet to read blinded."""

    act: UUID | None
    tag: str
    adds: bool
    films: int
    same: int
    omitted: str

    @property
    def words(self) -> str:
        """As a sentence for the page."""
        films = "1 film" if self.films == 1 else f"{self.films:,} films"
        had = "had" if self.adds else "did not have"
        same = f"{self.same:,} {had} it already" if self.adds else f"{self.same:,} {had} it"
        done = f"Tagged: {films} “{self.tag}”" if self.adds else f"Taken off: “{self.tag}” from {films}"
        return ". ".join(filter(None, [done, same if self.same else "", self.omitted.rstrip(".")])) + "."


def add_tag(*, images: QuerySet[Image], name: str, author: User, site: Site, among: QuerySet[Image]) -> Tagged:
    """Put the tag on the films, and make it if the site does not have it. Films that the author has yet to read blinded
    are left out; how many is counted over `among`, which must not depend on labels or tags. Raises InvalidTag."""
    require(author, "tag films", site)
    name = clean_name(name)
    with transaction.atomic():
        Site.objects.select_for_update(no_key=True).get(pk=site.pk)  # two people who make the same tag make it once
        shown = _shown(images, author, site)
        total = shown.count()
        if not total:
            raise InvalidTag(_none_of(among, author))
        tag = _tag_named(name, author, site)
        have = TaggedFilm.objects.filter(ACTIVE, tag=tag).values("image")
        fresh = list(shown.exclude(pk__in=have).order_by("pk").values_list("pk", flat=True))
        act = put_on(tag, fresh, author)
        if act:
            _record("tag films", act)
    return Tagged(
        act=act.uuid if act else None,
        tag=name,
        adds=True,
        films=len(fresh),
        same=total - len(fresh),
        omitted=blinding.omitted_among(among, author),
    )


def remove_tag(*, images: QuerySet[Image], name: str, author: User, site: Site, among: QuerySet[Image]) -> Tagged:
    """Take the tag from the films. Raises InvalidTag."""
    require(author, "tag films", site)
    name = clean_name(name)
    with transaction.atomic():
        tag = FilmTag.objects.select_for_update().filter(site=site, name=name).first()
        if tag is None:
            raise InvalidTag(f"There is no tag “{name}” at {site.name}; choose one of its tags.")
        shown = _shown(images, author, site)
        total = shown.count()
        if not total:
            raise InvalidTag(_none_of(among, author))
        rows = TaggedFilm.objects.filter(ACTIVE, tag=tag, image__in=shown.values("pk"))
        act = _take_off(tag, rows, author)
        if act:
            _record("untag films", act)
    films = act.films if act else 0
    return Tagged(
        act=act.uuid if act else None,
        tag=name,
        adds=False,
        films=films,
        same=total - films,
        omitted=blinding.omitted_among(among, author),
    )


def undo_tagging(*, act: UUID, author: User) -> Tagged:
    """Undo an act of the author's own, on the films that are still as it left them. Raises InvalidTag, or Http404 where
    there is no such act."""
    with transaction.atomic():
        of_author = TagAct.objects.filter(uuid=act, author=author, undoes__isnull=True).select_related("tag__site")
        done = of_author.first()
        if done is None:
            raise Http404("No such act of yours; its tag may have been deleted.")
        tag = FilmTag.objects.select_for_update().select_related("site").get(pk=done.tag_id)
        require(author, "tag films", tag.site)
        if TagAct.objects.filter(undoes=done).exists():
            raise InvalidTag("There is nothing to undo: the act was undone before.")
        rows = done.added.filter(ACTIVE) if done.adds else done.removed.all()
        blinding.refuse_file(author, Image.objects.filter(pk__in=rows.values("image")), what="The act")
        undone = _take_off(tag, rows, author, undoes=done) if done.adds else _put_back(tag, rows, author, done)
        if undone is None:
            raise InvalidTag("There is nothing to undo: others have changed these tags since.")
        _record("undo tags", undone)
    return Tagged(
        act=undone.uuid,
        tag=tag.name,
        adds=undone.adds,
        films=undone.films,
        same=done.films - undone.films,
        omitted="",
    )


def _shown(images: QuerySet[Image], author: User, site: Site) -> QuerySet[Image]:
    of_site = images.filter(dataset__site=site)
    return Image.objects.filter(pk__in=blinding.without_withheld(of_site, author).order_by().values("pk"))


def _none_of(among: QuerySet[Image], author: User) -> str:
    return " ".join(["There is no film to tag.", blinding.omitted_among(among, author)]).strip()


def _tag_named(name: str, author: User, site: Site) -> FilmTag:
    tag = FilmTag.objects.select_for_update().filter(site=site, name=name).first()
    if tag is not None:
        return tag
    if FilmTag.objects.filter(site=site).count() >= MOST_TAGS:
        raise InvalidTag(f"{site.name} has {MOST_TAGS} tags; use one of them, or let a manager merge some.")
    return FilmTag.objects.create(site=site, name=name, created_by=author)


def _take_off(tag: FilmTag, rows: QuerySet[TaggedFilm], author: User, *, undoes: TagAct | None = None) -> TagAct | None:
    films = rows.count()
    if not films:
        return None
    act = TagAct.objects.create(tag=tag, author=author, adds=False, films=films, undoes=undoes)
    rows.update(removed_by=act)
    return act


def _put_back(tag: FilmTag, rows: QuerySet[TaggedFilm], author: User, done: TagAct) -> TagAct | None:
    have = TaggedFilm.objects.filter(ACTIVE, tag=tag).values("image")
    image_ids = list(rows.exclude(image__in=have).order_by("image").values_list("image", flat=True))
    return put_on(tag, image_ids, author, undoes=done)


def _record(verb: str, act: TagAct) -> None:
    after = {"tag": act.tag.name, "films": act.films, "act": str(act.uuid)}
    undone = {"act": str(act.undoes.uuid)} if act.undoes else None
    audit.record(verb=verb, site=act.tag.site, actor=act.author, target=act.tag, before=undone, after=after)
