from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Here and not in portal/__init__.py, so that portal.imaging imports without Celery.
        from portal import celery  # noqa: F401
