from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Imported here and not in portal/__init__.py, so that portal.imaging can be imported without Celery.
        from allauth.mfa import signals
        from allauth.socialaccount.signals import social_account_added

        from portal import celery  # noqa: F401
        from portal.people import second_factors, single_sign_on
        from portal.project import download_audit, kept_conditions, system_checks  # noqa: F401

        signals.authenticator_added.connect(second_factors.audit_added)
        signals.authenticator_removed.connect(second_factors.audit_removed)
        signals.authenticator_reset.connect(second_factors.audit_new_codes)
        signals.authentication_failed.connect(second_factors.audit_failure)
        social_account_added.connect(single_sign_on.audit_connected)
