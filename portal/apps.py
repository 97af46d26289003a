from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Imported here and not in portal/__init__.py, so that portal.imaging can be imported without Celery.
        from portal import celery  # noqa: F401
        from portal.project import system_checks  # noqa: F401
