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
  IF to_jsonb(NEW) - 'extra' = to_jsonb(OLD) - 'extra' AND NEW.extra <@ OLD.extra AND NEW.extra <> OLD.extra
  THEN RETURN NEW; END IF;
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
        if before.reverse_code is not None:
            before.reverse_code(apps, schema_editor)
        before.code(apps, schema_editor)

    return migrations.RunPython(create, drop)


# Blacking out text ---------------------------------------------------------------------------------------

_BLACKED_OUT = """EXISTS (
  SELECT 1 FROM portal_textdecision WHERE image_id = OLD.id AND verdict = 'blacked out'
    AND pixels_before = OLD.pixel_sha256 AND pixels_after = NEW.pixel_sha256
)"""
_POSTGRESQL_BLACKED_OUT = """
  IF to_jsonb(NEW) - ARRAY['pixel_sha256', 'header', 'warning'] =
      to_jsonb(OLD) - ARRAY['pixel_sha256', 'header', 'warning']
    AND {is_blacked_out}
  THEN RETURN NEW; END IF;
"""


def pixels_may_be_blacked_out() -> migrations.RunPython:
    """`further_columns_may_be_dropped` for films whose pixels may change, and with them header and warning, as a row of
    portal_textdecision says."""

    def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        connection = schema_editor.connection
        if connection.vendor == "postgresql":
            columns = ", ".join(f"'{column}'" for column in CORRECTABLE)
            body = _POSTGRESQL_SHRINKING.format(columns=columns)
            branch = _POSTGRESQL_BLACKED_OUT.format(is_blacked_out=_BLACKED_OUT)
            body = body.replace("  RAISE EXCEPTION", f"{branch}  RAISE EXCEPTION")
            schema_editor.execute(body.replace("%", "%%"), ())
            return
        for name in ("portal_image_guard_UPDATE", "portal_image_guard_UPDATE_never"):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}")
        with connection.cursor() as cursor:
            fields = connection.introspection.get_table_description(cursor, "portal_image")
        free = (*CORRECTABLE, "extra", "pixel_sha256")
        never = ", ".join(f'"{field.name}"' for field in fields if field.name not in free)
        corrected = ", ".join(f'"{column}"' for column in CORRECTABLE)
        is_blacked_out = f"OLD.pixel_sha256 <> NEW.pixel_sha256 AND {_BLACKED_OUT}"
        guard = _SQLITE_CORRECTABLE.replace("BEFORE UPDATE ON", f"BEFORE UPDATE OF {corrected} ON")
        guard = guard.replace("WHEN NOT EXISTS", f"WHEN NOT ({is_blacked_out}) AND NOT EXISTS")
        schema_editor.execute(guard)
        schema_editor.execute(_SQLITE_NEVER.format(columns=never))
        schema_editor.execute(
            "CREATE TRIGGER portal_image_guard_UPDATE_pixels BEFORE UPDATE OF pixel_sha256 ON portal_image "
            f"WHEN NOT ({is_blacked_out}) "
            "BEGIN SELECT RAISE(ABORT, 'portal_image is write-once: UPDATE refused'); END;"
        )

    def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "sqlite":
            schema_editor.execute("DROP TRIGGER IF EXISTS portal_image_guard_UPDATE_pixels")
            schema_editor.execute("DROP TRIGGER IF EXISTS portal_image_guard_UPDATE_extra")
            for name in ("portal_image_guard_UPDATE", "portal_image_guard_UPDATE_never"):
                schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}")
        further_columns_may_be_dropped().code(apps, schema_editor)

    return migrations.RunPython(create, drop)


# Erasing a patient ---------------------------------------------------------------------------------------

# Of the patient whose erasure is open.
_FILMS_TO_ERASE = """
  SELECT film.id FROM portal_image AS film JOIN portal_erasure AS erasure ON erasure.patient_id = film.patient_id
  WHERE erasure.state = 'open'
"""
_PATIENT_TO_ERASE = "SELECT patient_id FROM portal_erasure WHERE state = 'open'"
_POSTGRESQL_ERASABLE = """
CREATE OR REPLACE FUNCTION hilum_refuse_{table}() RETURNS trigger AS $$
BEGIN
  IF TG_OP = 'DELETE' AND {is_erased} THEN RETURN OLD; END IF;
  {before}
  RAISE EXCEPTION '{table} is {rule}: % refused', TG_OP;
END; $$ LANGUAGE plpgsql;
"""
_SQLITE_ERASABLE = """
CREATE TRIGGER {table}_guard_DELETE BEFORE DELETE ON {table} WHEN NOT ({is_erased})
BEGIN SELECT RAISE(ABORT, '{table} is {rule}: DELETE refused'); END;
"""
_UNTIL_DECIDED = "IF TG_OP = 'UPDATE' AND OLD.state IN ('pending', 'taking') THEN RETURN NEW; END IF;"


def erasable(table: str, rule: str, column: str = "image_id", *, of: str = "") -> migrations.RunPython:
    """Let the guard of a table, which says `rule`, pass the deletion of rows of a patient whose erasure is open. The
    `column` holds a film (`image_id`), a patient (`patient_id`), or a row of the table `of`, which has an
    `image_id`."""
    rows = _PATIENT_TO_ERASE if column == "patient_id" else _FILMS_TO_ERASE
    if of:
        rows = f"SELECT id FROM {of} WHERE image_id IN ({rows})"  # noqa: S608 (names of tables, from migrations)
    is_erased = f"OLD.{column} IN ({rows})"
    before = _UNTIL_DECIDED if rule == "kept" else ""

    def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        _replace(schema_editor, is_erased, before)

    def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        _replace(schema_editor, "1 = 0", before)

    def _replace(schema_editor: BaseDatabaseSchemaEditor, is_erased: str, before: str) -> None:
        facts = {"table": table, "rule": rule, "is_erased": is_erased, "before": before}
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(_POSTGRESQL_ERASABLE.format(**facts).replace("%", "%%"), ())
            return
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {table}_guard_DELETE")
        schema_editor.execute(_SQLITE_ERASABLE.format(**facts))

    return migrations.RunPython(create, drop)


def scrubbable(table: str, rule: str, columns: tuple[str, ...]) -> migrations.RunPython:
    """Let the guard of a table pass changes of these columns alone while an erasure is open: they may name the erased
    films."""
    listed = ", ".join(f"'{column}'" for column in columns)
    is_open = "EXISTS (SELECT 1 FROM portal_erasure WHERE state = 'open')"
    before = (
        f"IF TG_OP = 'UPDATE' AND {is_open} AND to_jsonb(NEW) - ARRAY[{listed}] = to_jsonb(OLD) - ARRAY[{listed}] "
        "THEN RETURN NEW; END IF;"
    )

    def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        connection = schema_editor.connection
        if connection.vendor == "postgresql":
            facts = {"table": table, "rule": rule, "is_erased": "1 = 0", "before": before}
            schema_editor.execute(_POSTGRESQL_ERASABLE.format(**facts).replace("%", "%%"), ())
            return
        with connection.cursor() as cursor:
            fields = connection.introspection.get_table_description(cursor, table)
        never = ", ".join(f'"{field.name}"' for field in fields if field.name not in columns)
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is {rule}: UPDATE refused'); END;"
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {table}_guard_UPDATE")
        schema_editor.execute(f"CREATE TRIGGER {table}_guard_UPDATE BEFORE UPDATE OF {never} ON {table} {refuse}")
        schema_editor.execute(
            f"CREATE TRIGGER {table}_guard_UPDATE_open BEFORE UPDATE ON {table} WHEN NOT {is_open} {refuse}"
        )

    def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "postgresql":
            facts = {"table": table, "rule": rule, "is_erased": "1 = 0", "before": ""}
            schema_editor.execute(_POSTGRESQL_ERASABLE.format(**facts).replace("%", "%%"), ())
            return
        for name in ("UPDATE", "UPDATE_open"):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {table}_guard_{name}")
        schema_editor.execute(_SQLITE.format(table=table, act="UPDATE", rule=rule))

    return migrations.RunPython(create, drop)


_POSTGRESQL_ERASURE = """
CREATE OR REPLACE FUNCTION hilum_refuse_portal_erasure() RETURNS trigger AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN RAISE EXCEPTION 'portal_erasure is kept: DELETE refused'; END IF;
  IF TG_OP = 'INSERT' AND NEW.state <> 'begun' THEN RAISE EXCEPTION 'portal_erasure begins as begun'; END IF;
  IF TG_OP = 'UPDATE' AND OLD.state = 'done' THEN RAISE EXCEPTION 'portal_erasure is kept: UPDATE refused'; END IF;
  IF NEW.state = 'open' AND NOT EXISTS (SELECT 1 FROM portal_auditevent WHERE target_uuid = NEW.uuid)
  THEN RAISE EXCEPTION 'portal_erasure opens with its audit event only'; END IF;
  RETURN NEW;
END; $$ LANGUAGE plpgsql;
CREATE TRIGGER portal_erasure_guard BEFORE INSERT OR UPDATE OR DELETE ON portal_erasure
FOR EACH ROW EXECUTE FUNCTION hilum_refuse_portal_erasure();
CREATE OR REPLACE FUNCTION hilum_erasure_is_closed() RETURNS trigger AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM portal_erasure WHERE id = NEW.id AND state = 'open')
  THEN RAISE EXCEPTION 'portal_erasure is open at the end of its transaction'; END IF;
  RETURN NULL;
END; $$ LANGUAGE plpgsql;
CREATE CONSTRAINT TRIGGER portal_erasure_closed AFTER INSERT OR UPDATE ON portal_erasure
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hilum_erasure_is_closed();
"""
_SQLITE_ERASURE = (
    """
CREATE TRIGGER portal_erasure_guard_DELETE BEFORE DELETE ON portal_erasure
BEGIN SELECT RAISE(ABORT, 'portal_erasure is kept: DELETE refused'); END;
""",
    """
CREATE TRIGGER portal_erasure_guard_INSERT BEFORE INSERT ON portal_erasure WHEN NEW.state <> 'begun'
BEGIN SELECT RAISE(ABORT, 'portal_erasure begins as begun'); END;
""",
    """
CREATE TRIGGER portal_erasure_guard_UPDATE BEFORE UPDATE ON portal_erasure WHEN OLD.state = 'done'
BEGIN SELECT RAISE(ABORT, 'portal_erasure is kept: UPDATE refused'); END;
""",
    """
CREATE TRIGGER portal_erasure_guard_open BEFORE UPDATE ON portal_erasure
WHEN NEW.state = 'open' AND NOT EXISTS (SELECT 1 FROM portal_auditevent WHERE target_uuid = NEW.uuid)
BEGIN SELECT RAISE(ABORT, 'portal_erasure opens with its audit event only'); END;
""",
)


def audited_erasures() -> migrations.RunPython:
    """An erasure begins closed, opens after its audit event only, cannot end a transaction open (on PostgreSQL), and
    never changes once done."""

    def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(_POSTGRESQL_ERASURE.replace("%", "%%"), ())
            return
        for statement in _SQLITE_ERASURE:
            schema_editor.execute(statement)

    def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute("DROP FUNCTION IF EXISTS hilum_refuse_portal_erasure() CASCADE")
            schema_editor.execute("DROP FUNCTION IF EXISTS hilum_erasure_is_closed() CASCADE")
            return
        for name in ("DELETE", "INSERT", "UPDATE", "open"):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS portal_erasure_guard_{name}")

    return migrations.RunPython(create, drop)
