"""The only settings module. Every value that an installation may change comes from the environment;
docs/settings.md lists the names."""

import re
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF

from portal.dicomweb.targets import read_targets
from portal.project import environment, error_reports, logs, production, saml_provider

BASE_DIR = Path(__file__).resolve().parent.parent
PRODUCTION = environment.choice("HILUM_ENV", ("local", "production"), "local") == "production"
DEBUG = not PRODUCTION and environment.choice("HILUM_DEBUG", ("0", "1"), "0") == "1"

# Folders -------------------------------------------------------------------------------------------
DATA_DIR = Path(
    environment.required("HILUM_DATA_DIR", why="set it to the folder for pixels, runs and weights.")
    if PRODUCTION
    else environment.text("HILUM_DATA_DIR", str(BASE_DIR / "var"))
).resolve()
# Celery beat, WhiteNoise and uploads expect their folders to exist
for _folder in (DATA_DIR, DATA_DIR / "run", DATA_DIR / "static", DATA_DIR / "uploads"):
    environment.folder(_folder, why="HILUM_DATA_DIR")
MEDIA_ROOT = DATA_DIR / "uploads"  # not served directly: every file goes through a view that checks permissions

# Secrets -------------------------------------------------------------------------------------------
SECRET_KEY = environment.kept_secret("HILUM_SECRET_KEY", folder=DATA_DIR / "secrets", production=PRODUCTION)
# Pseudonyms are HMACs under a key derived from this secret. Without it, later films of a patient cannot be linked.
PSEUDONYM_SECRET = environment.kept_secret("HILUM_PSEUDONYM_SECRET", folder=DATA_DIR / "secrets", production=PRODUCTION)

# Web -----------------------------------------------------------------------------------------------
if PRODUCTION:
    environment.required(
        "HILUM_ALLOWED_HOSTS", why="set it to the host names of this installation, separated by commas."
    )
    environment.required(
        "DATABASE_URL", why="set it to the PostgreSQL server, postgres://user:password@host:5432/name."
    )
ALLOWED_HOSTS = environment.hosts("HILUM_ALLOWED_HOSTS", "" if PRODUCTION else "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = environment.origins("HILUM_TRUSTED_ORIGINS")
# nginx sends the files of films itself (deploy/nginx.conf). By a setting and not by a header of nginx, which anybody
# could send where another proxy passes it on.
X_ACCEL = environment.choice("HILUM_X_ACCEL", ("0", "1"), "0") == "1"
# Below which path of its host the portal is reached; tasks, which have no request, know it too
URL_PREFIX = environment.url_prefix("HILUM_URL_PREFIX")
FORCE_SCRIPT_NAME = URL_PREFIX or None
ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
INSTALLED_APPS = [
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.socialaccount.providers.saml",
    "portal",
    "ml_engine",
    "analysis",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "rest_framework",
    "drf_spectacular",
]
MIDDLEWARE = [
    "portal.project.logs.identify_requests",
    "portal.project.metrics.time_requests",
    "portal.project.middleware.private_by_default",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.project.content_policy.ContentPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.project.middleware.end_old_sessions",
    # Keep the order of these three: the last one reads the body for the token, which must not happen for strangers.
    "portal.project.middleware.BodyLimitMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.project.second_factor_demand.SecondFactorMiddleware",
    "portal.project.middleware.CurrentSiteMiddleware",
    "portal.project.middleware.AcceptedQueryMiddleware",
    "portal.project.middleware.BlindedAdminMiddleware",
    "portal.project.download_audit.audit_downloads",
    "portal.project.middleware.log_in_again",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.project.template_context.frame",
            ]
        },
    }
]
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = URL_PREFIX or "/"
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # a cookie would go to the whole host
CSRF_FAILURE_VIEW = "portal.views.refused_forms.refuse"
if PRODUCTION:
    SECURE_SSL_REDIRECT = environment.choice("HILUM_SSL_REDIRECT", ("0", "1"), "1") == "1"
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_REDIRECT_EXEMPT = [rf"^({re.escape(URL_PREFIX[1:])}/)?(healthz|readyz|metrics)$"]
    SECURE_HSTS_SECONDS = 31_536_000
    # Both bind other hosts of the domain too, and preloading cannot be taken back for months.
    SECURE_HSTS_INCLUDE_SUBDOMAINS = environment.choice("HILUM_HSTS_SUBDOMAINS", ("0", "1"), "0") == "1"
    SECURE_HSTS_PRELOAD = environment.choice("HILUM_HSTS_PRELOAD", ("0", "1"), "0") == "1"
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]  # which ask for both
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],  # and of pages with figures more: portal.project.content_policy
        "img-src": [SELF, "blob:", "data:"],
        "connect-src": [SELF],
        "font-src": [SELF, "data:"],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
FILE_UPLOAD_TEMP_DIR = DATA_DIR / "uploads"  # a zip may be larger than /tmp, and is moved to its final place from here
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 2**20  # of any body except a zip of films (portal.project.middleware)
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000  # labelling in bulk sends a field for each film
UPLOAD_LIMIT_BYTES = environment.integer("HILUM_UPLOAD_LIMIT_GIB", 20, low=1, high=1000) * 2**30
# Processes that decode the films of an import, each for one film at a time
IMPORT_PROCESSES = environment.integer("HILUM_IMPORT_PROCESSES", min(8, environment.cores()), low=1, high=64)
# Days for which the bytes of a file in quarantine are kept; 0: never. They are as they came, identifiers included.
QUARANTINE_DAYS = environment.integer("HILUM_QUARANTINE_DAYS", 90, low=0, high=3650)
# The virus scanner to which uploads are sent before anything reads them; None: there is none
SCANNER = environment.scanner("HILUM_CLAMD")
# Folders of this folder may be imported as published datasets, without being sent
IMPORT_FOLDER = environment.existing_folder("HILUM_IMPORT_FOLDER")
PACS_TARGETS = read_targets(environment.text("HILUM_PACS_FILE", ""))  # from which films may be fetched
SITE_QUOTA_GIB = environment.integer("HILUM_SITE_QUOTA_GIB", 0, low=0, high=1_000_000)  # of each site; 0: no quota
# Days after which an unfinished upload is removed, and the files of a failed or cancelled run (0: never)
UNFINISHED_UPLOAD_DAYS = environment.integer("HILUM_UNFINISHED_UPLOAD_DAYS", 1, low=1, high=365)
FAILED_RUN_DAYS = environment.integer("HILUM_FAILED_RUN_DAYS", 0, low=0, high=3650)
# Who was erased, for restores of earlier backups; without it the list lies in the data folder
ERASURE_LIST = environment.text("HILUM_ERASURE_LIST", "")
FREE_BYTES_KEPT = environment.integer("HILUM_FREE_DISK_GIB", 1, low=0, high=1000) * 2**30

# Database ------------------------------------------------------------------------------------------
DATABASES = {"default": environment.database(f"sqlite:///{DATA_DIR / 'hilum.sqlite3'}")}
if "sqlite3" in DATABASES["default"]["ENGINE"]:
    # Without IMMEDIATE, a transaction that reads before it writes fails at once with "database is locked", despite the
    # timeout.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # secure_delete: what is deleted, such as an erased patient, is overwritten and does not stay in the file.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000; "
        "PRAGMA secure_delete=ON;",
    }
else:
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# People --------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "portal.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "portal:home"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "portal.people.passwords.GuessableValidator"},
]
AUTHENTICATION_BACKENDS = [
    "portal.people.exact_names.ExactNames",
    "allauth.account.auth_backends.AuthenticationBackend",
]
ACCOUNT_ADAPTER = "portal.people.accounts.Adapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]  # nobody can sign up (see the adapter)
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_SESSION_REMEMBER = True
# A session ends so long after its last request, 0: never, and so long after the log-in
SESSION_IDLE_MINUTES = environment.integer("HILUM_SESSION_IDLE_MINUTES", 720, low=0, high=100_000)
SESSION_COOKIE_AGE = environment.integer("HILUM_SESSION_HOURS", 336, low=1, high=10_000) * 3600
# Wrong passwords (portal.people.wrong_passwords): for an account from one address, and from that address, from which a
# whole ward may log in; for an account from everywhere; and in a browser that the account knows. login_failed is for
# wrong codes, which follow a right password: allauth forgets all of these after a right code.
ACCOUNT_RATE_LIMITS = {
    "login": "300/m/ip",
    "login_failed": "5/5m/key,50/5m/ip",
    "wrong_password": "5/5m/key,50/5m/ip",
    "wrong_password_anywhere": "100/h/key",
    "wrong_password_known": "5/5m/key",
    "reset_password": "20/m/ip,5/h/key",  # links by mail, which anybody may ask for
}
# Who has to have a second factor; anybody may
SECOND_FACTOR = environment.choice("HILUM_SECOND_FACTOR", ("nobody", "managers", "everybody"), "nobody")
# Log-in through an OpenID Connect or a SAML provider, beside passwords
SOCIALACCOUNT_ADAPTER = "portal.people.single_sign_on.SignOnAdapter"
SOCIALACCOUNT_PROVIDERS = environment.single_sign_on(production=PRODUCTION) | saml_provider.from_environment(
    production=PRODUCTION
)
SOCIALACCOUNT_LOGIN_ON_GET = True  # a link: after a form, the policy of contents would stop the way to the provider
SOCIALACCOUNT_REAUTHENTICATION_REQUIRED = True  # before an account is connected
SOCIALACCOUNT_REQUESTS_TIMEOUT = 10  # seconds
OIDC_LINK_EMAIL = environment.choice("HILUM_OIDC_LINK_EMAIL", ("0", "1"), "0") == "1"
PASSWORDS = environment.passwords(single_sign_on=bool(SOCIALACCOUNT_PROVIDERS))
MFA_ALLOW_UNVERIFIED_EMAIL = True  # addresses are not used to log in
MFA_ADAPTER = "portal.people.second_factors.FactorAdapter"
MFA_FORMS = {
    "add_webauthn": "portal.people.key_forms.AddKeyForm",
    "authenticate_webauthn": "portal.people.key_forms.AskForKeyForm",
    "reauthenticate_webauthn": "portal.people.key_forms.ConfirmByKeyForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "Hilum"
MFA_TOTP_TOLERANCE = 1  # 30 seconds to either side, for a telephone whose clock is wrong
MFA_RECOVERY_CODES_SHOW_ONCE = True
# A proxy in front of the portal writes the address that a request came from.
ALLAUTH_TRUSTED_PROXY_COUNT = environment.integer("HILUM_PROXIES", 1 if PRODUCTION else 0, low=0, high=5)

# Mail ----------------------------------------------------------------------------------------------
_MAIL = environment.mail()
EMAIL_HOST, EMAIL_PORT = _MAIL["HOST"], _MAIL["PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _MAIL["USER"], _MAIL["PASSWORD"]
EMAIL_USE_TLS, EMAIL_USE_SSL = _MAIL["TLS"], _MAIL["SSL"]
EMAIL_TIMEOUT = 20  # seconds
DEFAULT_FROM_EMAIL = _MAIL["FROM"]
PUBLIC_ADDRESS = next(iter(CSRF_TRUSTED_ORIGINS), "")  # for links in mail; without it they have none

# Language and time ---------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

# Static files --------------------------------------------------------------------------------------
STATIC_URL = f"{URL_PREFIX}/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "static"
WHITENOISE_USE_FINDERS = not PRODUCTION
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "portal.project.static_storage.ModuleStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
# The bucket in which the pixels of films are kept; without it the data folder keeps them
if FILM_BUCKET := environment.bucket("HILUM_FILM_BUCKET", "HILUM_FILM_BUCKET_URL"):
    STORAGES["films"] = {"BACKEND": "portal.project.bucket_storage.BucketStorage", "OPTIONS": FILM_BUCKET}
# The folders of runs too, so that machines need not share a data folder
RUNS_IN_BUCKET = environment.runs_in_bucket("HILUM_RUNS_IN_BUCKET", bucket=FILM_BUCKET)

# For the bucket that `manage.py backup` names, which may be of another service
BACKUP_BUCKET: dict[str, Any] = {
    "BACKEND": "portal.project.bucket_storage.BucketStorage",
    "OPTIONS": environment.backup_bucket(films=FILM_BUCKET),
}

# API -----------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "portal.api.session_authentication.PageAuthentication",
        "portal.api.token_authentication.TokenAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "portal.api.pagination.Pages",
    "DEFAULT_SCHEMA_CLASS": "portal.api.declared_statuses.DeclaringSchema",
    "PAGE_SIZE": 100,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Hilum",
    "VERSION": "1",
    "SERVERS": [{"url": URL_PREFIX}] if URL_PREFIX else [],
    "SERVE_INCLUDE_SCHEMA": False,
    "APPEND_COMPONENTS": {
        "schemas": {
            "Refusal": {
                "type": "object",
                "description": "Why: `detail` is a sentence; of a request's fields, each name has a list of sentences.",
                "additionalProperties": {},
            }
        }
    },
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "ENUM_NAME_OVERRIDES": {
        "RetiredKindEnum": "portal.models.Retired.Kind",
        "StageEnum": "analysis.models.Stage",  # of one field and of a list
        "ImportStateEnum": "portal.models.Upload.State",  # two fields of one name
        "RunKindEnum": "ml_engine.models.KIND_CHOICES",
        "RunStateEnum": "ml_engine.models.RunState",
        "VerdictEnum": "analysis.models.Verdict",
        "SameFilmEnum": "portal.models.FilmPair.Verdict",
        "AffineVerdictEnum": "ml_engine.models.AffineVerdict",
        "TextVerdictEnum": "portal.models.TextDecision.Verdict",
        "QueueOrderEnum": "portal.models.ScreeningQueue.Order",
        "NewQueueOrderEnum": ["unlabelled", "random", "imported"],
        "ReadingOrderEnum": ["random", "imported"],
    },
}

# Background tasks ----------------------------------------------------------------------------------
CELERY_BROKER_URL = (
    environment.required("HILUM_BROKER_URL", why="set it to the Valkey or Redis server, redis://host:6379/0.")
    if PRODUCTION
    else environment.text("HILUM_BROKER_URL", f"redis+socket://{environment.broker_socket(DATA_DIR)}")
)
if PRODUCTION:
    production.check(
        secret_key=SECRET_KEY,
        hosts=ALLOWED_HOSTS,
        database=DATABASES["default"],
        broker=CELERY_BROKER_URL,
        accepted=environment.words("HILUM_ACCEPT"),
    )
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# The counts of wrong passwords. The embedded portal has a single web process; in production all share the broker.
if CELERY_BROKER_URL.startswith(("redis://", "rediss://")):
    CACHES = {"default": {"BACKEND": "portal.project.shared_cache.SharedCache", "LOCATION": CELERY_BROKER_URL}}
# If the broker is down, a page that starts a run waits for a second; the reaper publishes the run later.
CELERY_BROKER_TRANSPORT_OPTIONS = {"connect_retries_timeout": 1, "interval_start": 0.1, "interval_step": 0.1}
if CELERY_BROKER_URL.startswith("redis"):
    # The broker would redeliver a killed worker's task after 12 h; our own reaper restarts the run within a minute.
    CELERY_BROKER_TRANSPORT_OPTIONS |= {
        "visibility_timeout": 43_200,
        "unacked_restore_interval": 15,
        "unacked_restore_throttle": 1,
    }
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TRACK_STARTED = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND = None
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# The lease on the Run row makes a second delivery harmless, so a broker restart must not end a long run.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_TASK_DEFAULT_QUEUE = "cpu"
CELERY_TASK_ROUTES = {
    "ml_engine.tasks.execute_run": {"queue": "gpu"},
    # What finds lost runs and imports never waits behind an import.
    "ml_engine.tasks.reap_runs": {"queue": "upkeep"},
    "ml_engine.tasks.mail_end": {"queue": "upkeep"},
    "portal.tasks.resume_uploads": {"queue": "upkeep"},
    "analysis.tasks.advance_set_evaluations": {"queue": "upkeep"},
    "portal.tasks.seal_audit": {"queue": "upkeep"},
    "portal.tasks.audit_downloads": {"queue": "upkeep"},
    "portal.tasks.tidy_up": {"queue": "upkeep"},
    "ml_engine.tasks.remove_failed_runs": {"queue": "upkeep"},
    "portal.tasks.look_after_broker": {"queue": "upkeep"},
    "portal.tasks.look_everywhere": {"queue": "upkeep"},  # asks for the search of a site, which is among the imports
}
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE = {
    "look-after-broker": {"task": "portal.tasks.look_after_broker", "schedule": 15.0},
    "reap-runs": {"task": "ml_engine.tasks.reap_runs", "schedule": 15.0},
    "resume-uploads": {"task": "portal.tasks.resume_uploads", "schedule": 60.0},
    "advance-set-evaluations": {"task": "analysis.tasks.advance_set_evaluations", "schedule": 3.0},
    "remove-failed-runs": {"task": "ml_engine.tasks.remove_failed_runs", "schedule": 3600.0},
    "seal-audit": {"task": "portal.tasks.seal_audit", "schedule": 60.0},
    "audit-downloads": {"task": "portal.tasks.audit_downloads", "schedule": 300.0},
    "tidy-up": {"task": "portal.tasks.tidy_up", "schedule": 3600.0},
    "look-for-near-copies": {"task": "portal.tasks.look_everywhere", "schedule": 900.0},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "run" / "beat-schedule")

RUN_LEASE_SECONDS = environment.integer("HILUM_RUN_LEASE_SECONDS", 30, low=2, high=3600)
RUN_HEARTBEAT_SECONDS = RUN_LEASE_SECONDS / 6
RUN_ATTEMPTS = 3
RUN_DEVICE = environment.choice("HILUM_DEVICE", ("auto", "cpu", "cuda"), "auto")
RUN_WORKERS = environment.integer("HILUM_RUN_WORKERS", 1, low=1, high=64)
SHARD_FILMS = environment.integer("HILUM_SHARD_FILMS", 10_000, low=0, high=10_000_000)
SHARD_CELLS = environment.integer("HILUM_SHARD_CELLS", 1, low=0, high=60)
ENGINE_THREADS = environment.integer("HILUM_ENGINE_THREADS", 2, low=1, high=256)

# Watching ------------------------------------------------------------------------------------------
METRICS_TOKEN = environment.token("HILUM_METRICS_TOKEN")  # for /metrics from another machine

SENTRY_DSN = environment.text("HILUM_SENTRY_DSN", "")
if SENTRY_DSN:
    error_reports.start(SENTRY_DSN, environment="production" if PRODUCTION else "local")
SYSLOG = environment.text("HILUM_SYSLOG", "")
LOGGING = logs.configuration(
    form=environment.choice("HILUM_LOG_FORMAT", ("line", "json"), "line"),
    folder=DATA_DIR / "logs",
    file_mib=environment.integer("HILUM_LOG_FILE_MIB", 0, low=0, high=10_000),
    syslog=SYSLOG,
    log_requests=environment.choice("HILUM_LOG_REQUESTS", ("0", "1"), "1" if PRODUCTION else "0") == "1",
)
