"""The kinds of run in one table, for the engine, the database, forms, API and pages. Imports neither Django nor torch.

CONTRIBUTING.md lists what else a new kind needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class RunKind(StrEnum):
    FIT_ALIGNMENT = "fit_alignment"
    FIT_DETECTOR = "fit_detector"
    SCORE = "score"
    ABLATION = "ablation"
    SWEEP = "sweep"
    BANK_STUDY = "bank_study"
    BLIND_SPOTS = "blind_spots"
    FIT_HEAD = "fit_head"
    EMBEDDING = "embedding"


@dataclass(frozen=True, kw_only=True)
class RunKindFacts:
    """``words`` is the kind's name on pages. ``starts_from`` is the fitted model that the run starts from: a detector,
    or an alignment unless films are not aligned. ``has_labels`` is false if images.csv must hold no labels.

    A study writes all its results into its folder, ``<kind>.json`` last; its stages are in the module of its name in
    ``ml_engine.engine.stages``. ``divided_by`` is what a run of the kind is made of, where it may be divided among
    workers: films, or the cells of a study, in the words of its pages. ``asked`` are the keys of run.json, each a JSON
    object, with the study's settings besides the config. ``page`` is the URL name of its results, empty for a kind
    without such a page.
    """

    words: str
    starts_from: Literal["alignment", "detector", ""] = ""
    has_labels: bool = True
    is_study: bool = False
    divided_by: str = ""
    asked: tuple[str, ...] = ()
    page: str = ""


KINDS = {
    RunKind.FIT_ALIGNMENT: RunKindFacts(words="Fit an alignment"),
    RunKind.FIT_DETECTOR: RunKindFacts(words="Fit a detector", starts_from="alignment"),
    RunKind.SCORE: RunKindFacts(words="Score films", starts_from="detector", has_labels=False, divided_by="films"),
    RunKind.ABLATION: RunKindFacts(
        words="Ablation of the paper", is_study=True, divided_by="detectors", page="analysis:ablation"
    ),
    RunKind.SWEEP: RunKindFacts(
        words="Sweep of settings", is_study=True, divided_by="detectors", page="analysis:sweep"
    ),
    RunKind.BANK_STUDY: RunKindFacts(
        words="How many normals, how clean",
        starts_from="alignment",
        is_study=True,
        divided_by="banks",
        asked=("bank",),
        page="analysis:bank-study",
    ),
    RunKind.BLIND_SPOTS: RunKindFacts(
        words="Blind spots",
        starts_from="detector",
        has_labels=False,
        is_study=True,
        asked=("lesions",),
        page="analysis:blind-spots",
    ),
    RunKind.FIT_HEAD: RunKindFacts(
        words="Fit a semi-supervised head",
        starts_from="detector",
        is_study=True,
        asked=("head",),
    ),
    RunKind.EMBEDDING: RunKindFacts(words="Embedding map", has_labels=False, asked=("embedding",)),
}
DIVIDED = tuple(kind for kind, facts in KINDS.items() if facts.divided_by)
STUDIES = tuple(kind for kind, facts in KINDS.items() if facts.is_study)
ASKED = tuple(name for facts in KINDS.values() for name in facts.asked)
