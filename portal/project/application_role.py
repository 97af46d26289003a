"""The role of the database as which web server and workers work: it reads and writes rows, and owns nothing.

Triggers refuse changes of what is append-only. Whoever owns a table can switch its triggers off, drop them or empty the
table by TRUNCATE, so in production the tables belong to another role, which only migrations use.
"""

from django.db import DatabaseError, connection, transaction
from psycopg import sql

RIGHTS = (
    "GRANT CONNECT ON DATABASE {database} TO {role}",
    "GRANT USAGE ON SCHEMA public TO {role}",
    "REVOKE CREATE ON SCHEMA public FROM {role}",
    "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
    "REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {role}",
)


class CannotLimit(Exception):
    """Why the role could not be given its rights, as a sentence."""


def set_up(*, role: str, password: str) -> None:
    """Make the role, or give it this password, and exactly the rights that the application needs on all tables that
    there are. Run it as the owner of the tables, after every migration. Raises CannotLimit."""
    if connection.vendor != "postgresql":
        raise CannotLimit(f"Roles need PostgreSQL, and DATABASE_URL is one of {connection.vendor}.")
    owner = connection.settings_dict["USER"]
    if role == owner:
        raise CannotLimit(f"{role} owns the tables: choose another name for the role of the application.")
    name, database = sql.Identifier(role), sql.Identifier(connection.settings_dict["NAME"])
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [role])
            row = cursor.fetchone()
            if row and row[0]:
                raise CannotLimit(f"{role} is a superuser, whom no right can be denied: choose another role.")
            act = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}" if row else "CREATE ROLE {} LOGIN PASSWORD {}")
            cursor.execute(act.format(name, sql.Literal(password)))
            for statement in RIGHTS:
                cursor.execute(sql.SQL(statement).format(role=name, database=database))
    except DatabaseError as problem:
        raise CannotLimit(
            f"The database refused to set up the role {role}: {str(problem).splitlines()[0]}. Run this as the owner of "
            "the tables, who may create roles (CREATEROLE)."
        ) from problem


def owns_tables() -> bool:
    """Whether this process could switch off the guards: its role owns the tables, or is a superuser. On SQLite, which
    has no roles, False."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_has_role(current_user, relowner, 'MEMBER') FROM pg_class "
            "WHERE oid = 'portal_auditevent'::regclass"
        )
        return bool(cursor.fetchone()[0])
