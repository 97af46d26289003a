"""Options that several commands take: the films, and the settings of the method."""

from __future__ import annotations

import argparse
from pathlib import Path

from ml_engine.core.config import BACKBONES, DETECTORS, PRESETS, PipelineConfig
from ml_engine.core.errors import InvalidConfig

OPTIONS = (
    "detector", "size", "backbone", "weights", "rate", "neighbours", "distance", "grid", "mask", "align",
    "fusion_weight", "seed", "device", "threads",
)  # fmt: skip
PLACES = ("device", "threads")  # where it runs, not what it computes


def add_films(
    parser: argparse.ArgumentParser,
    *,
    csv: str = "CSV with the column filename; label, patient_id and split are used where present",
) -> None:
    """Where the films are and what is known of them; ``csv`` says which columns count."""
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder where the CSV's paths start")
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE", help=csv)


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, metavar="MODEL_DIR", help="folder that fit made")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """One option a setting, all None unless given."""
    add = parser.add_argument
    add("--preset", choices=PRESETS, help="values that all settings start from (default: default)")
    add(
        "--size",
        type=int,
        metavar="PX",
        help="side of the canonical image in pixels, a multiple of 32 or of a ViT's patch",
    )
    add("--detector", choices=tuple(DETECTORS), help="PatchCore, or a published detector on the same features")
    add(
        "--backbone", metavar="NAME", help=f"network that gives the patch features: {', '.join(BACKBONES)} or timm:NAME"
    )
    add(
        "--weights",
        metavar="imagenet|random|FILE",
        help="its weights: imagenet, imagenet-v2, dinov2 or a file; random is untrained, for trying out only",
    )
    add("--rate", type=float, metavar="S", help="share of patches kept in a memory bank (s), above 0 to 1")
    add("--neighbours", type=int, metavar="K", help="nearest bank vectors that a score is the mean over (K)")
    add("--distance", choices=("squared", "l2"), help="squared Euclidean distance (Eq. 1), or its root")
    add("--grid", type=int, metavar="N", help="cells along each side, each with a bank of its own (n)")
    add("--mask", action=argparse.BooleanOptionalAction, help="leave out patches that the mean film shows black")
    add("--align", choices=("none", "network"), help="whether films are aligned first")
    add("--fusion-weight", type=float, metavar="W", help="weight of the region map, 0 to 1; the rest is global")
    add("--seed", type=int, metavar="N", help="fixes every random draw")
    add("--device", choices=("auto", "cpu", "cuda"), help="where it runs; auto takes a GPU where there is one")
    add("--threads", type=int, metavar="N", help="CPU threads; the same number gives the same bytes")
    add(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="any other setting by name, such as mask.keep=0.8 or alignment.epochs=10; may be repeated",
    )


def configured(options: argparse.Namespace, base: PipelineConfig | None = None) -> PipelineConfig:
    """The config that the options ask for, from a preset or on top of ``base``. Raises InvalidConfig."""
    config = base or PipelineConfig.from_preset(options.preset or "default")
    return config.replace_fields(given_settings(options))


def given_settings(options: argparse.Namespace) -> dict[str, str]:
    """Every setting that is given, by name, as text; --set after the options of their own."""
    texts = {name: str(getattr(options, name)) for name in OPTIONS if getattr(options, name) is not None}
    for assignment in options.set:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InvalidConfig(f"--set {assignment!r}: write FIELD=VALUE, such as mask.keep=0.8.")
        texts[name.strip().replace("-", "_")] = text
    return texts
