"""How people find films in the grid again: saved views, and tags."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from portal.models.addressed import Addressed
from portal.models.films import Dataset, Image
from portal.models.people import Site


class FilmView(Addressed):
    """Filters and order of a dataset's grid under a name. Its owner alone sees it, unless it is shared with the
    site."""

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="film_views")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    name = models.CharField(max_length=60)
    query = models.JSONField(default=dict)  # names and values as in the query string of the grid
    words = models.CharField(max_length=300, blank=True)  # what it shows, as it was when it was saved
    is_shared = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset", "owner", "name"], name="film_view_name_once")]
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name


class DefaultFilmView(models.Model):
    """The view with which a dataset opens for a person."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="+")
    view = models.ForeignKey(FilmView, models.CASCADE, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "dataset"], name="default_film_view_once")]


class FilmTag(Addressed):
    """A word that a site puts on films to find them again. It is not a label, and no evaluation reads it."""

    site = models.ForeignKey(Site, models.PROTECT, related_name="film_tags")
    name = models.CharField(max_length=30)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "name"], name="film_tag_name_once_a_site")]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class TagAct(Addressed):
    """A tag put on films, or taken from them, by one person at once. It is undone as a whole."""

    tag = models.ForeignKey(FilmTag, models.CASCADE, related_name="acts")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    adds = models.BooleanField()  # otherwise it removes
    films = models.PositiveIntegerField()  # that it changed
    undoes = models.OneToOneField("self", models.CASCADE, null=True, related_name="undone_by")


class TaggedFilm(models.Model):
    """That a film has, or had, a tag. The row stays when the tag is removed, so that the removal can be undone."""

    tag = models.ForeignKey(FilmTag, models.CASCADE, related_name="films")
    image = models.ForeignKey(Image, models.PROTECT, related_name="tagged")
    added_by = models.ForeignKey(TagAct, models.CASCADE, related_name="added")
    removed_by = models.ForeignKey(TagAct, models.CASCADE, null=True, related_name="removed")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tag", "image"], condition=Q(removed_by__isnull=True), name="tagged_film_once"
            )
        ]
