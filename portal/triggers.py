"""Migration operations that make the database refuse changes to a table.

Triggers, not Python code, so that bulk updates, a shell and other programs are refused as well.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

_POSTGRESQL = """
CREATE OR REPLACE FUNCTION hilum_refuse_{table}() RETURNS trigger AS $$
BEGIN RAISE EXCEPTION '{table} is {rule}: % refused', TG_OP; END; $$ LANGUAGE plpgsql;
CREATE TRIGGER {table}_guard BEFORE {acts} ON {table}
FOR EACH ROW EXECUTE FUNCTION hilum_refuse_{table}();
"""
_SQLITE = """
CREATE TRIGGER {table}_guard_{act} BEFORE {act} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is {rule}: {act} refused'); END;
"""
_POSTGRESQL_SAME_PATIENT = """
CREATE OR REPLACE FUNCTION hilum_same_patient() RETURNS trigger AS $$
BEGIN
  IF (SELECT patient_id FROM portal_image WHERE id = NEW.image_id)
    IS DISTINCT FROM (SELECT patient_id FROM portal_splitmember WHERE id = NEW.member_id)
  THEN RAISE EXCEPTION 'the film is not of the member''s patient' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END; $$ LANGUAGE plpgsql;
CREATE TRIGGER portal_splitimage_same_patient BEFORE INSERT ON portal_splitimage
FOR EACH ROW EXECUTE FUNCTION hilum_same_patient();
"""
_SQLITE_SAME_PATIENT = """
CREATE TRIGGER portal_splitimage_same_patient BEFORE INSERT ON portal_splitimage
WHEN (SELECT patient_id FROM portal_image WHERE id = NEW.image_id)
  IS NOT (SELECT patient_id FROM portal_splitmember WHERE id = NEW.member_id)
BEGIN SELECT RAISE(ABORT, 'the film is not of the member''s patient'); END;
"""
_POSTGRESQL_SAME_FILM = """
CREATE OR REPLACE FUNCTION hilum_same_film() RETURNS trigger AS $$
BEGIN
  IF NEW.pixel_sha256 IS DISTINCT FROM (SELECT pixel_sha256 FROM portal_image WHERE id = NEW.image_id)
    OR NEW.split_id IS DISTINCT FROM (SELECT split_id FROM portal_splitmember WHERE id = NEW.member_id)
  THEN RAISE EXCEPTION 'split and pixels are not those of member and film'
    USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END; $$ LANGUAGE plpgsql;
CREATE TRIGGER portal_splitimage_same_film BEFORE INSERT ON portal_splitimage
FOR EACH ROW EXECUTE FUNCTION hilum_same_film();
"""
_SQLITE_SAME_FILM = """
CREATE TRIGGER portal_splitimage_same_film BEFORE INSERT ON portal_splitimage
WHEN NEW.pixel_sha256 IS NOT (SELECT pixel_sha256 FROM portal_image WHERE id = NEW.image_id)
  OR NEW.split_id IS NOT (SELECT split_id FROM portal_splitmember WHERE id = NEW.member_id)
BEGIN SELECT RAISE(ABORT, 'split and pixels are not those of member and film'); END;
"""


def append_only(table: str) -> migrations.RunPython:
    """Refuse UPDATE and DELETE."""
    return _guard(table, ("UPDATE", "DELETE"), "append-only")


def append_only_again(table: str) -> migrations.RunPython:
    """`append_only` for a table that SQLite has made anew, without its triggers, to add a column that may not be null.
    PostgreSQL keeps the triggers."""
    guard = append_only(table)

    def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "sqlite":
            guard.code(apps, schema_editor)

    return migrations.RunPython(create, migrations.RunPython.noop)


def write_once(table: str) -> migrations.RunPython:
    """Refuse UPDATE. A row may be deleted."""
    return _guard(table, ("UPDATE",), "write-once")


def frozen(table: str) -> migrations.RunPython:
    """Refuse UPDATE and DELETE, since results depend on the rows."""
    return _guard(table, ("UPDATE", "DELETE"), "frozen")


def same_patient() -> migrations.RunPython:
    """Accept a film of a split only under its own patient, who is in the split once; so each film is in one part."""
    return _agree("same_patient", _POSTGRESQL_SAME_PATIENT, _SQLITE_SAME_PATIENT)


def same_film() -> migrations.RunPython:
    """Accept a film of a split only with the split of its member and the hash of its own pixels, which are in a split
    once; so no two copies of a film are in a split."""
    return _agree("same_film", _POSTGRESQL_SAME_FILM, _SQLITE_SAME_FILM)


def _agree(rule: str, on_postgresql: str, on_sqlite: str) -> migrations.RunPython:
    def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        schema_editor.execute(on_postgresql if schema_editor.connection.vendor == "postgresql" else on_sqlite)

    def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP FUNCTION IF EXISTS hilum_{rule}() CASCADE")
        else:
            schema_editor.execute(f"DROP TRIGGER IF EXISTS portal_splitimage_{rule}")

    return migrations.RunPython(create, drop)


# What a film takes from a later file with the same pixels.
CORRECTABLE = (
    *("patient_id", "study_id", "acquired_day", "facts", "header", "view_position", "laterality", "warning"),
    "shows_nothing",
)
_POSTGRESQL_CORRECTABLE = """
CREATE OR REPLACE FUNCTION hilum_refuse_portal_image() RETURNS trigger AS $$
BEGIN
  IF to_jsonb(NEW) - ARRAY[{columns}] = to_jsonb(OLD) - ARRAY[{columns}]
    AND EXISTS (SELECT 1 FROM portal_headerdifference WHERE image_id = OLD.id AND state = 'taking')
  THEN RETURN NEW; END IF;
  RAISE EXCEPTION 'portal_image is write-once: % refused', TG_OP;
END; $$ LANGUAGE plpgsql;
CREATE TRIGGER portal_image_guard BEFORE UPDATE ON portal_image
FOR EACH ROW EXECUTE FUNCTION hilum_refuse_portal_image();
"""
_SQLITE_CORRECTABLE = """
CREATE TRIGGER portal_image_guard_UPDATE BEFORE UPDATE ON portal_image
WHEN NOT EXISTS (SELECT 1 FROM portal_headerdifference WHERE image_id = OLD.id AND state = 'taking')
BEGIN SELECT RAISE(ABORT, 'portal_image is write-once: UPDATE refused'); END;
"""
_SQLITE_NEVER = """
CREATE TRIGGER portal_image_guard_UPDATE_never BEFORE UPDATE OF {columns} ON portal_image
BEGIN SELECT RAISE(ABORT, 'portal_image is write-once: UPDATE refused'); END;
"""
_POSTGRESQL_UNTIL_DECIDED = """
CREATE OR REPLACE FUNCTION hilum_refuse_{table}() RETURNS trigger AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.state IN ('pending', 'taking') THEN RETURN NEW; END IF;
  RAISE EXCEPTION '{table} is kept: % refused', TG_OP;
END; $$ LANGUAGE plpgsql;
CREATE TRIGGER {table}_guard BEFORE UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION hilum_refuse_{table}();
"""
_SQLITE_UNTIL_DECIDED = """
CREATE TRIGGER {table}_guard_UPDATE BEFORE UPDATE ON {table} WHEN OLD.state NOT IN ('pending', 'taking')
BEGIN SELECT RAISE(ABORT, '{table} is kept: UPDATE refused'); END;
"""


def write_once_or_corrected() -> migrations.RunPython:
    """Refuse UPDATE of films, except of what a film takes from a later file, while a row of portal_headerdifference
    says so."""

    def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        connection = schema_editor.connection
        if connection.vendor == "postgresql":
            columns = ", ".join(f"'{column}'" for column in CORRECTABLE)
            schema_editor.execute(_POSTGRESQL_CORRECTABLE.format(columns=columns).replace("%", "%%"), ())
            return
        with connection.cursor() as cursor:
            fields = connection.introspection.get_table_description(cursor, "portal_image")
        never = ", ".join(f'"{field.name}"' for field in fields if field.name not in CORRECTABLE)
        schema_editor.execute(_SQLITE_CORRECTABLE)
        schema_editor.execute(_SQLITE_NEVER.format(columns=never))

    def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute("DROP FUNCTION IF EXISTS hilum_refuse_portal_image() CASCADE")
            return
        for name in ("portal_image_guard_UPDATE", "portal_image_guard_UPDATE_never"):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}")

    return migrations.RunPython(create, drop)


def kept_once_decided(table: str) -> migrations.RunPython:
    """Refuse DELETE, and UPDATE of rows whose `state` is neither pending nor taking."""

    def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(_POSTGRESQL_UNTIL_DECIDED.format(table=table).replace("%", "%%"), ())
            return
        schema_editor.execute(_SQLITE_UNTIL_DECIDED.format(table=table))
        schema_editor.execute(_SQLITE.format(table=table, act="DELETE", rule="kept"))

    return migrations.RunPython(create, _guard(table, ("UPDATE", "DELETE"), "").reverse_code)


def _guard(table: str, acts: tuple[str, ...], rule: str) -> migrations.RunPython:
    def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(
                _POSTGRESQL.format(table=table, acts=" OR ".join(acts), rule=rule).replace("%", "%%"), ()
            )
            return
        for act in acts:
            schema_editor.execute(_SQLITE.format(table=table, act=act, rule=rule))

    def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP FUNCTION IF EXISTS hilum_refuse_{table}() CASCADE")
            return
        for act in acts:
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {table}_guard_{act}")

    return migrations.RunPython(create, drop)


_POSTGRESQL_SHRINKING = """
CREATE OR REPLACE FUNCTION hilum_refuse_portal_image() RETURNS trigger AS $$
BEGIN
  IF to_jsonb(NEW) - 'extra' = to_jsonb(OLD) - 'extra' AND NEW.extra <@ OLD.extra THEN RETURN NEW; END IF;
  IF to_jsonb(NEW) - ARRAY[{columns}] = to_jsonb(OLD) - ARRAY[{columns}]
    AND EXISTS (SELECT 1 FROM portal_headerdifference WHERE image_id = OLD.id AND state = 'taking')
  THEN RETURN NEW; END IF;
  RAISE EXCEPTION 'portal_image is write-once: % refused', TG_OP;
END; $$ LANGUAGE plpgsql;
"""
_SQLITE_SHRINKING = """
CREATE TRIGGER portal_image_guard_UPDATE_extra BEFORE UPDATE OF extra ON portal_image
WHEN EXISTS (
  SELECT 1 FROM json_each(NEW.extra) AS kept WHERE NOT EXISTS (
    SELECT 1 FROM json_each(OLD.extra) AS old WHERE old.key = kept.key AND old.value IS kept.value
  )
)
BEGIN SELECT RAISE(ABORT, 'portal_image is write-once: UPDATE refused'); END;
"""


def further_columns_may_be_dropped() -> migrations.RunPython:
    """`write_once_or_corrected` for films whose further columns of the CSV may be dropped, and never added to or
    changed."""

    def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        connection = schema_editor.connection
        if connection.vendor == "postgresql":
            columns = ", ".join(f"'{column}'" for column in CORRECTABLE)
            schema_editor.execute(_POSTGRESQL_SHRINKING.format(columns=columns).replace("%", "%%"), ())
            return
        for name in ("portal_image_guard_UPDATE", "portal_image_guard_UPDATE_never"):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}")
        with connection.cursor() as cursor:
            fields = connection.introspection.get_table_description(cursor, "portal_image")
        never = ", ".join(f'"{field.name}"' for field in fields if field.name not in (*CORRECTABLE, "extra"))
        corrected = ", ".join(f'"{column}"' for column in CORRECTABLE)
        schema_editor.execute(_SQLITE_CORRECTABLE.replace("BEFORE UPDATE ON", f"BEFORE UPDATE OF {corrected} ON"))
        schema_editor.execute(_SQLITE_NEVER.format(columns=never))
        schema_editor.execute(_SQLITE_SHRINKING)

    def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "sqlite":
            schema_editor.execute("DROP TRIGGER IF EXISTS portal_image_guard_UPDATE_extra")
        before = write_once_or_corrected()
        before.reverse_code(apps, schema_editor)
        before.code(apps, schema_editor)

    return migrations.RunPython(create, drop)
