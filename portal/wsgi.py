import os

from django.apps import apps
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from portal.project.shared_counts import share
from portal.project.sub_path import below

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

share(settings.DATA_DIR)
application = below(get_wsgi_application(), settings.URL_PREFIX)

from portal.backups.restoring import refuse_unfinished  # noqa: E402  (needs the apps)

refuse_unfinished()

# Import the views and run each app's `warm_up` now, so that the first page does not have to wait for them.
_ = get_resolver().url_patterns
for app in apps.get_app_configs():
    getattr(app, "warm_up", lambda: None)()
