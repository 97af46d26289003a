"""Options that several commands share: the films, and the settings of the method."""

from __future__ import annotations

import argparse
from pathlib import Path

from ml_engine.core.config import BACKBONES, DETECTORS, PRESETS, PipelineConfig
from ml_engine.core.errors import InvalidConfig

OPTIONS = (
    "detector", "size", "backbone", "weights", "rate", "neighbours", "distance", "grid", "mask", "align",
    "fusion_weight", "seed", "device", "threads",
)  # fmt: skip
PLACES = ("device", "threads")  # where a run is computed; no effect on the method


def add_films(
    parser: argparse.ArgumentParser,
    *,
    csv: str = "CSV with the column filename; label, patient_id and split are used if present",
) -> None:
    """Add --images and --csv; ``csv`` is the help on its columns."""
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="base folder of the CSV's paths")
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE", help=csv)


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, metavar="MODEL_DIR", help="folder that fit wrote")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add one option per setting; the value is None unless the user sets it."""
    add = parser.add_argument
    add("--preset", choices=PRESETS, help="initial values of all settings (default: default)")
    add(
        "--size",
        type=int,
        metavar="PX",
        help="side of the canonical image in pixels, a multiple of 32 or of a ViT's patch",
    )
    add("--detector", choices=tuple(DETECTORS), help="PatchCore, or a published detector on the same features")
    add(
        "--backbone",
        metavar="NAME",
        help=f"network that computes the patch features: {', '.join(BACKBONES)} or timm:NAME",
    )
    add(
        "--weights",
        metavar="imagenet|random|FILE",
        help="its weights: imagenet, imagenet-v2, dinov2 or a file; random is untrained, for trying out only",
    )
    add("--rate", type=float, metavar="S", help="share of patches kept in a memory bank (s), above 0 to 1")
    add("--neighbours", type=int, metavar="K", help="number of nearest bank vectors that a score averages over (K)")
    add("--distance", choices=("squared", "l2"), help="squared Euclidean distance (Eq. 1), or its root")
    add("--grid", type=int, metavar="N", help="cells along each side of the region grid, each with its own bank (n)")
    add("--mask", action=argparse.BooleanOptionalAction, help="leave out patches that are black in the mean film")
    add("--align", choices=("none", "network"), help="whether films are aligned first")
    add("--fusion-weight", type=float, metavar="W", help="weight of the region map, 0 to 1; the rest is global")
    add("--seed", type=int, metavar="N", help="fixes every random draw")
    add("--device", choices=("auto", "cpu", "cuda"), help="device to run on; auto takes a GPU if there is one")
    add("--threads", type=int, metavar="N", help="CPU threads; the same number gives the same bytes")
    add(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="any other setting by name, such as mask.keep=0.8 or alignment.epochs=10; may be repeated",
    )


def config_from_options(options: argparse.Namespace, base: PipelineConfig | None = None) -> PipelineConfig:
    """The config of a preset, or ``base``, with the settings of the options. Raises InvalidConfig."""
    config = base or PipelineConfig.from_preset(options.preset or "default")
    return config.replace_fields(explicit_settings(options))


def explicit_settings(options: argparse.Namespace) -> dict[str, str]:
    """The settings that the user set, as text by name; --set overrides the other options."""
    texts = {name: str(getattr(options, name)) for name in OPTIONS if getattr(options, name) is not None}
    for assignment in options.set:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InvalidConfig(f"--set {assignment!r}: write FIELD=VALUE, such as mask.keep=0.8.")
        texts[name.strip().replace("-", "_")] = text
    return texts
