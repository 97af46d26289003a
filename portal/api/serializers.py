from typing import Any

from rest_framework import serializers

from portal.models import Cohort, CohortImage, Dataset, Image, NormalCriteria, QueueImage, ScreeningQueue, Split
from portal.people.signed_in import person
from portal.sets.double_reading import hides_source


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    films = serializers.IntegerField(read_only=True)

    class Meta:
        model = Dataset
        fields = [
            *("uuid", "name", "source", "licence", "ethics_approval", "purpose", "expires_on", "created_at", "films"),
        ]


class ImageSerializer(serializers.ModelSerializer[Image]):
    label = serializers.SerializerMethodField()  # type: ignore[assignment]  # the metaclass collects it as a field
    findings = serializers.SerializerMethodField()
    attributes = serializers.SerializerMethodField(help_text="Of a normal film, such as device.")
    criteria = serializers.SerializerMethodField(
        help_text="Version of the site's criteria of normal that the label was given under; null for an imported label."
    )
    patient = serializers.UUIDField(source="patient.uuid", read_only=True)
    tags = serializers.SerializerMethodField()

    class Meta:
        model = Image
        fields = [
            *("uuid", "patient", "label", "findings", "attributes", "criteria", "view_position", "rows", "columns"),
            *("pixel_sha256", "warning", "shows_nothing", "tags"),
        ]

    def get_tags(self, film: Image) -> list[str]:
        names: list[str] = self.context["tags"].get(film.pk, [])  # of the whole page, in one query
        return names

    def get_label(self, film: Image) -> str | None:
        label = getattr(film, "current_label", None)
        return label.value if label else None

    def get_findings(self, film: Image) -> list[str]:
        label = getattr(film, "current_label", None)
        return label.findings if label else []

    def get_attributes(self, film: Image) -> list[str]:
        label = getattr(film, "current_label", None)
        return label.attributes if label else []

    def get_criteria(self, film: Image) -> int | None:
        label = getattr(film, "current_label", None)
        return label.criteria.version if label and label.criteria else None


class CriteriaSerializer(serializers.ModelSerializer[NormalCriteria]):
    class Meta:
        model = NormalCriteria
        fields = ["uuid", "version", "text", "created_at"]


class SplitSerializer(serializers.ModelSerializer[Split]):
    moved = serializers.IntegerField(help_text="Films that have another patient since the split was frozen.")
    in_two_parts = serializers.IntegerField(help_text="Those of them whose patient is in another part of it too.")
    waiting = serializers.IntegerField(help_text="Films that came again under another patient, not decided yet.")

    class Meta:
        model = Split
        fields = [
            *("uuid", "name", "origin", "seed", "fractions", "label_cutoff", "frozen_at", "counts"),
            *("moved", "in_two_parts", "waiting"),
        ]


class CohortSerializer(serializers.ModelSerializer[Cohort]):
    class Meta:
        model = Cohort
        fields = ["uuid", "name", "version", "note", "filters", "counts", "films", "created_at"]


class CohortImageSerializer(serializers.ModelSerializer[CohortImage]):
    """`label`: when the cohort was frozen; blank for unlabelled films."""

    image = serializers.UUIDField(source="image.uuid", read_only=True)

    class Meta:
        model = CohortImage
        fields = ["image", "label"]


class QueueSerializer(serializers.ModelSerializer[ScreeningQueue]):
    class Meta:
        model = ScreeningQueue
        fields = ["uuid", "name", "source", "order", "seed", "films", "blinded", "created_at"]

    def to_representation(self, instance: ScreeningQueue) -> dict[str, Any]:
        """Without the source where it could reveal labels to those who read or adjudicate the queue."""
        row = super().to_representation(instance)
        return {**row, "source": ""} if hides_source(instance, person(self.context["request"])) else row


class QueueImageSerializer(serializers.ModelSerializer[QueueImage]):
    image = serializers.UUIDField(source="image.uuid", read_only=True)

    class Meta:
        model = QueueImage
        fields = ["position", "image", "outline"]


class LabelRequest(serializers.Serializer[None]):
    """Label films in a single act, like the page."""

    images = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=5000)
    value = serializers.CharField(max_length=8)
    findings = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        help_text="Without it, a film whose label has this value already keeps its findings; an empty list states that "
        "there are none.",
    )
    boxes = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        help_text="Boxes of a single film, {x, y, width, height, finding} in original pixels; kept like findings.",
    )
    attributes = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        help_text="Of normal films: device, post-operative, variant, old fracture, poor inspiration. Without it, a "
        "film that is normal keeps those that it has; an empty list states that there are none.",
    )
    reason = serializers.CharField(max_length=500, default="", allow_blank=True)
    seen = serializers.DictField(
        child=serializers.IntegerField(min_value=0),
        required=False,
        help_text="Film UUID -> number of its label events when it was viewed; a film that another person has changed "
        "since is not labelled and is listed in `changed`.",
    )
    act = serializers.UUIDField(
        required=False, help_text="A UUID chosen by the client: an act that is sent twice is stored once."
    )
