"""The schema of the API: each operation declares the statuses with which it refuses, beside those of its answers."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

REFUSAL = "Refusal"  # a component of the settings
_WORDS = {
    "400": "A parameter or field is unknown, missing or out of range, or the act is not possible now.",
    "403": "Nobody is signed in, or the person's roles, a blinded reading or a sealed test part do not allow it.",
    "404": "There is no such thing, or it belongs to a site of which the person is not a member.",
    "410": "The files of the run are no longer in the data folder.",
    "411": "The request has a body and no Content-Length.",
    "413": "The body is larger than the server takes.",
    "415": "The body is of another media type than JSON.",
    "503": "The database, the broker or the virus scanner is away; Retry-After says when to ask again.",
    "507": "The disk is full.",
}


class DeclaringSchema(AutoSchema):
    """Adds the refusals that any view may give: those of its base classes, of the middleware and of permissions; and
    those to write that a view has in its `own_refusals`, words by status."""

    def get_operation(self, *arguments: Any, **options: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*arguments, **options)
        if operation is None:
            return None
        statuses = ["400", "403", "404", "503", "507"]
        if type(self.view).__module__.startswith("analysis."):
            statuses.append("410")
        if self.method in ("POST", "PUT", "PATCH"):
            statuses += ["411", "413", "415"]
        words = _WORDS | (getattr(self.view, "own_refusals", {}) if self.method != "GET" else {})
        for status in sorted({*statuses, *(words.keys() - _WORDS.keys())}):
            refusal = {"application/json": {"schema": {"$ref": f"#/components/schemas/{REFUSAL}"}}}
            operation["responses"].setdefault(status, {"description": words[status], "content": refusal})
        return operation
