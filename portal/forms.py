from django import forms

from portal.intake.sources.registry import SOURCES
from portal.intake.sources.source import VIEW_WORDS
from portal.models import Cohort, Dataset, Part, Split, Upload
from portal.sets.splits import ALL_FRONTAL, DEFAULT_FRACTIONS

CHECK = {"class": "form-check-input"}


class DatasetForm(forms.ModelForm):
    class Meta:
        model = Dataset
        fields = ["name", "source", "licence", "ethics_approval", "purpose", "expires_on"]
        labels = {"expires_on": "Approved until"}
        widgets = {"expires_on": forms.DateInput(attrs={"type": "date"})}


class SourceForm(forms.Form):
    """Of which published dataset files are, and what to take of it."""

    source = forms.ChoiceField(choices=[(key, source.title) for key, source in SOURCES.items()])
    views = forms.ChoiceField(
        choices=[("", "The usual of the dataset"), *((view.value, words) for view, words in VIEW_WORDS.items())],
        required=False,
    )
    children = forms.BooleanField(required=False)


class UploadForm(forms.Form):
    file = forms.FileField(label="Zip of films, or a CSV of labels")
    patients = forms.ChoiceField(choices=Upload.Patients.choices, required=False)
    check_columns = forms.BooleanField(required=False)


class SplitForm(forms.Form):
    name = forms.CharField(max_length=100)
    datasets = forms.ModelMultipleChoiceField(
        Dataset.objects.none(),
        to_field_name="uuid",
        required=False,
        widget=forms.CheckboxSelectMultiple(attrs=CHECK),
    )
    cohorts = forms.ModelMultipleChoiceField(
        Cohort.objects.none(),
        to_field_name="uuid",
        required=False,
        widget=forms.CheckboxSelectMultiple(attrs=CHECK),
    )
    origin = forms.ChoiceField(
        choices=Split._meta.get_field("origin").choices or [], widget=forms.RadioSelect(attrs=CHECK), initial="drawn"
    )
    seed = forms.IntegerField(min_value=0, max_value=2**31 - 1, initial=0)
    view_position = forms.ChoiceField(
        choices=[
            (ALL_FRONTAL, "All frontal views: PA, AP and those without a view"),
            ("PA", "PA only"),
            ("AP", "AP only"),
            ("", "All views, laterals too"),
        ],
        initial=ALL_FRONTAL,
        required=False,
    )
    fit_on_nothing = forms.BooleanField(
        required=False,
        label="Take films that show nothing into fit",
        widget=forms.CheckboxInput(attrs=CHECK),
    )
    mined_in_test = forms.BooleanField(
        required=False,
        label="Take labels into test that software mined from reports",
        widget=forms.CheckboxInput(attrs=CHECK),
    )
    train_is_fit = forms.BooleanField(
        required=False, label="Take all of train as fit (preset paper)", widget=forms.CheckboxInput(attrs=CHECK)
    )

    def __init__(self, *args: object, datasets: object, cohorts: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["datasets"].queryset = datasets  # type: ignore[attr-defined]
        self.fields["cohorts"].queryset = cohorts  # type: ignore[attr-defined]
        for part in Part:
            self.fields[part.value] = forms.FloatField(
                min_value=0, max_value=1, required=False, initial=DEFAULT_FRACTIONS.get(part.value, 0), label=part.label
            )

    def fractions(self) -> dict[str, float]:
        """The parts with a fraction above 0."""
        return {part: self.cleaned_data[part] for part in Part.values if self.cleaned_data.get(part)}

    def part_fields(self) -> list[forms.BoundField]:
        return [self[part] for part in Part.values]
