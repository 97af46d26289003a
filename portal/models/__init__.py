"""The portal's data: people, films, labels, cohorts, splits, queues, uploads and the audit.

Integer keys are internal; URLs use `uuid`. Triggers of the database (portal.triggers) refuse UPDATE and DELETE on the
tables that must not change."""

from portal.models.addressed import Addressed
from portal.models.burned_in import TextDecision, TextLook
from portal.models.erasures import Erasure
from portal.models.films import Dataset, FilmFingerprint, FilmPair, Image, Patient, Study
from portal.models.grid import DefaultFilmView, FilmTag, FilmView, TagAct, TaggedFilm
from portal.models.intake import ColumnMapping, HeaderDifference, PartialUpload, QuarantinedFile, Upload
from portal.models.labels import (
    Adjudication,
    AdjudicatorVerdict,
    CurrentLabel,
    LabelEvent,
    LabelOrigin,
    LabelSource,
    LabelValue,
    NormalAttribute,
    NormalCriteria,
)
from portal.models.people import ApiToken, Membership, Role, Site, User
from portal.models.queues import (
    Consensus,
    DoubleReading,
    QueueImage,
    QueuePlace,
    QueueReader,
    QueueReading,
    ScreeningQueue,
)
from portal.models.records import AuditEvent, AuditSeal, BlindedFilm, DownloadCount, Exposure
from portal.models.sets import Cohort, CohortImage, Part, Split, SplitImage, SplitMember, TrainingFilm

__all__ = [
    "Addressed",
    "Adjudication",
    "AdjudicatorVerdict",
    "ApiToken",
    "AuditEvent",
    "AuditSeal",
    "BlindedFilm",
    "Cohort",
    "CohortImage",
    "ColumnMapping",
    "Consensus",
    "CurrentLabel",
    "Dataset",
    "DefaultFilmView",
    "DoubleReading",
    "DownloadCount",
    "Erasure",
    "Exposure",
    "FilmFingerprint",
    "FilmPair",
    "FilmTag",
    "FilmView",
    "HeaderDifference",
    "Image",
    "LabelEvent",
    "LabelOrigin",
    "LabelSource",
    "LabelValue",
    "Membership",
    "NormalAttribute",
    "NormalCriteria",
    "Part",
    "PartialUpload",
    "Patient",
    "QuarantinedFile",
    "QueueImage",
    "QueuePlace",
    "QueueReader",
    "QueueReading",
    "Role",
    "ScreeningQueue",
    "Site",
    "Split",
    "SplitImage",
    "SplitMember",
    "Study",
    "TagAct",
    "TaggedFilm",
    "TextDecision",
    "TextLook",
    "TrainingFilm",
    "Upload",
    "User",
]
