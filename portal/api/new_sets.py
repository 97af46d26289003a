"""API that makes datasets, splits, cohorts and queues, by the forms and rules of the pages."""

from typing import Any

from django import forms
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from portal.api.filters import exact_filters
from portal.api.serializers import QueueSerializer
from portal.forms import DatasetForm, SplitForm
from portal.models import Cohort, Dataset, Part, ScreeningQueue, Site, Split, User
from portal.people import blinding
from portal.people.access import get_visible, require, sites_of
from portal.people.signed_in import person
from portal.sets.cohorts import InvalidCohort, freeze_cohort, images_of
from portal.sets.screening_queues import InvalidQueue, Order, queue_films
from portal.sets.splits import ALL_FRONTAL, DEFAULT_FRACTIONS, InvalidSplit
from portal.views.datasets import save_dataset
from portal.views.splits import make_split


class NewDataset(serializers.Serializer[None]):
    site = serializers.UUIDField(required=False, help_text="Needed by members of several sites.")
    name = serializers.CharField(max_length=100)
    source = serializers.CharField(max_length=200, default="", allow_blank=True)  # type: ignore[assignment]
    licence = serializers.CharField(max_length=200, default="", allow_blank=True)
    ethics_approval = serializers.CharField(max_length=200, default="", allow_blank=True)
    purpose = serializers.CharField(max_length=200, default="", allow_blank=True)
    expires_on = serializers.DateField(required=False, allow_null=True)


class NewSplit(serializers.Serializer[None]):
    name = serializers.CharField(max_length=100)
    datasets = serializers.ListField(child=serializers.UUIDField(), default=list)
    cohorts = serializers.ListField(child=serializers.UUIDField(), default=list)
    origin = serializers.ChoiceField(["drawn", "csv"], default="drawn")
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=0)
    view_position = serializers.ChoiceField([ALL_FRONTAL, "PA", "AP", ""], default=ALL_FRONTAL)
    fit_on_nothing = serializers.BooleanField(default=False)
    train_is_fit = serializers.BooleanField(default=False, help_text="All of train of the CSV goes into fit.")
    fractions = serializers.DictField(
        child=serializers.FloatField(min_value=0, max_value=1),
        required=False,
        help_text=f"Share of each part of {', '.join(Part.values)}, for a drawn split.",
    )


class NewCohort(serializers.Serializer[None]):
    name = serializers.CharField(max_length=100)
    note = serializers.CharField(max_length=500, default="", allow_blank=True)


class NewQueue(serializers.Serializer[None]):
    name = serializers.CharField(max_length=100)
    order = serializers.ChoiceField([Order.UNLABELLED.value, Order.RANDOM.value, Order.IMPORTED.value])
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=0)


def _sentences(form: forms.BaseForm) -> dict[str, list[str]]:
    return {name: [str(error) for error in errors] for name, errors in form.errors.items()}


def make_dataset(request: Request) -> Dataset:
    data = _valid(NewDataset(data=request.data))
    site = require(person(request), "import films", _site(person(request), data.pop("site", None)))
    form = DatasetForm(data)
    dataset = save_dataset(form, site=site, author=person(request))
    if dataset is None:
        raise ValidationError(_sentences(form))
    return dataset


def make_split_of(request: Request) -> Split:
    data = _valid(NewSplit(data=request.data))
    sets = [get_visible(Dataset.objects.all(), person(request), uuid) for uuid in data["datasets"]]
    cohorts = [get_visible(Cohort.objects.all(), person(request), uuid) for uuid in data["cohorts"]]
    sites = {row.site_id for row in sets} | {row.site_id for row in cohorts}
    if len(sites) != 1:
        raise ValidationError({"detail": "Name datasets or cohorts of one site, of which the split is to be made."})
    site = require(person(request), "make splits", Site.objects.get(pk=sites.pop()))
    fractions = data.pop("fractions", DEFAULT_FRACTIONS)
    if unknown := sorted(set(fractions) - set(Part.values)):
        raise ValidationError({"fractions": [f"There is no part {unknown[0]!r}: name {', '.join(Part.values)}."]})
    form = SplitForm(
        data | fractions, datasets=Dataset.objects.filter(site=site), cohorts=Cohort.objects.filter(site=site)
    )
    if not form.is_valid():
        raise ValidationError(_sentences(form))
    try:
        return make_split(person(request), site, form)
    except InvalidSplit as error:
        raise ValidationError({"detail": str(error)}) from error


def freeze_films(request: Request, dataset: Dataset) -> Cohort:
    """The films under the filters of the query. Refused while the person has yet to read one of the dataset blinded."""
    data = _valid(NewCohort(data=request.data))
    blinding.refuse_file(person(request), dataset.images.all(), what="The dataset")
    filters = exact_filters(request.query_params, dataset)
    try:
        return freeze_cohort(
            site=dataset.site,
            name=data["name"],
            images=filters.apply(dataset.images.all()),
            author=person(request),
            note=data["note"],
            filters={"dataset": dataset.name, **filters.facts()},
        )
    except InvalidCohort as error:
        raise ValidationError({"detail": str(error)}) from error


def queue_of_dataset(request: Request, dataset: Dataset) -> dict[str, Any]:
    """The films under the filters of the query."""
    filters = exact_filters(request.query_params, dataset)
    words = filters.words() or "all films"
    source = f"{dataset.name}: {words}" if filters.words() else f"{dataset.name}, {words}"
    return _queue(request, dataset.site, images=filters.apply(dataset.images.all()), source=source)


def queue_of_cohort(request: Request, cohort: Cohort) -> dict[str, Any]:
    return _queue(request, cohort.site, images=images_of(cohort), source=f"cohort {cohort}")


def _queue(request: Request, site: Site, *, images: Any, source: str) -> dict[str, Any]:
    """Without the films that the person has yet to read blinded."""
    data = _valid(NewQueue(data=request.data))
    require(person(request), "make queues", site)
    if blinding.withheld_patients(person(request)):
        images = blinding.without_withheld(images, person(request))
        source = f"{source}, without films read blinded"
    try:
        queue: ScreeningQueue = queue_films(
            site=site,
            name=data["name"],
            images=images,
            author=person(request),
            source=source,
            order=data["order"],
            seed=data["seed"],
            readers=[],
        )
    except InvalidQueue as error:
        raise ValidationError({"detail": str(error)}) from error
    return dict(QueueSerializer(queue, context={"request": request}).data)


def _site(author: User, uuid: Any) -> Site | None:
    """The site of which the person is a member: the one named, or their only one."""
    sites = sites_of(author)
    if uuid is not None:
        return get_visible(Site.objects.all(), author, uuid)
    if sites.count() > 1:
        raise ValidationError({"site": ["You are a member of several sites: name the one of the dataset."]})
    return sites.first()


def _valid(serializer: serializers.Serializer[None]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    data: dict[str, Any] = serializer.validated_data
    return dict(data)
