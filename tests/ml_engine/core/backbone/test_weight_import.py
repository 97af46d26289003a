"""Weights brought into the weights folder: downloads from a local server, and imported files."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ml_engine.core import files, published_weights
from ml_engine.core.backbone import weight_import, weights
from ml_engine.core.backbone.features import random_state
from ml_engine.core.backbone.weights import StoredFile, WeightsMissing
from ml_engine.core.errors import IncompatibleModel, InvalidConfig
from ml_engine.core.published_weights import KnownFile
from tests.ml_engine.core.backbone.weight_files import numbered, own_file
from tests.paths import ROOT

DINOV2 = "timm:vit_small_patch14_dinov2"


@contextlib.contextmanager
def serving(body: bytes, *, status: int = 200, declared: int | None = None) -> Iterator[str]:
    """The address of a local server that returns ``body`` for any path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if declared is None else declared))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/file.pth"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A .pth file of resnet18 that replaces torchvision's in the table."""
    path = tmp_path / "published.pth"
    torch.save(random_state("resnet18", 5), path)
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:8]
    known = KnownFile("resnet18", f"https://example.org/resnet18-{digest}.pth", digest)
    monkeypatch.setitem(published_weights.KNOWN, "resnet18", known)
    return body


def test_download_stores_what_was_published_as_safetensors(published: bytes, tmp_path: Path) -> None:
    folder, seen = tmp_path / "weights", []
    with serving(published) as url:
        path = weight_import.download("resnet18", folder=folder, url=url, progress=lambda d, t: seen.append((d, t)))

    assert [p.name for p in folder.iterdir()] == [path.name]
    assert seen[-1] == (len(published), len(published))
    assert len(seen) > 10
    loaded = weights.load_backbone("imagenet", "resnet18", seed=0, folder=folder)
    expected = random_state("resnet18", 5)
    assert all(torch.equal(loaded.state[name], expected[name]) for name in expected)
    assert loaded.to_json() == {"name": "imagenet", "sha256": hashlib.sha256(published).hexdigest()}


@pytest.mark.parametrize(
    ("body", "status", "declared", "words"),
    [(b"no", 404, None, "404"), (b"part", 200, 1000, "ended after 4 of 1000|IncompleteRead|more expected")],
)
def test_a_failed_download_names_the_alternative_and_leaves_no_file(
    tmp_path: Path, body: bytes, status: int, declared: int | None, words: str
) -> None:
    folder = tmp_path / "weights"
    with serving(body, status=status, declared=declared) as url, pytest.raises(WeightsMissing, match=words) as refusal:
        weight_import.download("resnet18", folder=folder, url=url)

    assert "python manage.py weights import FILE" in str(refusal.value)
    assert list(folder.iterdir()) == []


def test_an_unreachable_server_is_reported(tmp_path: Path) -> None:
    with serving(b"") as url:
        pass
    with pytest.raises(WeightsMissing, match="could not be downloaded from http"):
        weight_import.download("resnet18", folder=tmp_path, url=url)


def test_another_file_than_published_is_refused(published: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    with serving(published + b"x") as url, pytest.raises(IncompatibleModel, match="SHA-256"):
        weight_import.download("resnet18", folder=folder, url=url)

    assert list(folder.iterdir()) == []


def test_only_web_addresses_are_fetched(published: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.pth").write_bytes(published)
    with pytest.raises(WeightsMissing, match="https://"):
        weight_import.download("resnet18", folder=tmp_path / "w", url=f"file://{tmp_path}/file.pth")


def test_import_takes_a_published_pth_by_its_checksum(published: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any-name.pth"
    path.write_bytes(published)

    stored = weight_import.import_file(path, folder=tmp_path / "w")

    assert stored.architecture == "resnet18"
    assert weight_import.ensure("imagenet", "resnet18", folder=tmp_path / "w") == "imagenet"


def test_import_never_reads_an_unknown_pth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.pth"
    torch.save(random_state("resnet18", 0), path)
    monkeypatch.setattr(torch, "load", None)  # calling it would be a TypeError

    with pytest.raises(IncompatibleModel, match="none of the files that are published for") as refusal:
        weight_import.import_file(path, folder=tmp_path / "w")
    assert "since a .pth file can run code. If you trust the file, three lines" in str(refusal.value)


@pytest.mark.parametrize("source", ["message", "page"])
def test_the_three_lines_make_a_file_that_is_imported(source: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(random_state("resnet18", 6), path)
    if source == "message":
        with pytest.raises(IncompatibleModel) as refusal:
            weight_import.import_file(path, folder=tmp_path / "w")
        text = str(refusal.value)
    else:
        text = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8").partition("Any `.pth`")[2]
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")][:3]

    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, check=True)

    stored = weight_import.import_file(tmp_path / "mine.safetensors", folder=tmp_path / "w")
    loaded = weights.load_backbone(stored.name, "resnet18", seed=0, folder=tmp_path / "w")
    assert torch.equal(loaded.state["fc.bias"], random_state("resnet18", 6)["fc.bias"])


def test_import_takes_safetensors_that_fit(tmp_path: Path) -> None:
    stored = weight_import.import_file(own_file(tmp_path / "My net.safetensors"), folder=tmp_path / "w")

    loaded = weights.load_backbone(stored.name, "resnet18", seed=0, folder=tmp_path / "w")
    assert stored.name.startswith("My-net-")
    assert torch.equal(loaded.state["fc.bias"], random_state("resnet18", 3)["fc.bias"])
    assert loaded.sha256 == files.sha256_of(tmp_path / "My net.safetensors")


def test_the_same_file_twice_is_stored_once(tmp_path: Path) -> None:
    path = own_file(tmp_path / "mine.safetensors")

    names = {weight_import.ensure(str(path), "resnet18", folder=tmp_path / "w") for _ in range(2)}

    assert len(names) == 1
    assert weight_import.ensure(names.pop(), "resnet18", folder=tmp_path / "w") in [
        p.name for p in (tmp_path / "w").iterdir()
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fc.bias": torch.zeros(5)}, r"fc.bias has the shape \(5,\) and should have \(1000,\)"),
        ({"head.bias": torch.zeros(5)}, "it has a tensor head.bias that the network does not have"),
    ],
)
def test_safetensors_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, torch.Tensor], words: str) -> None:
    path = own_file(tmp_path / "wrong.safetensors", **changes)

    with pytest.raises(IncompatibleModel, match=words):
        weight_import.import_file(path, folder=tmp_path / "w", architecture="resnet18")


def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"not really")

    with pytest.raises(IncompatibleModel, match="not a complete safetensors file"):
        weight_import.import_file(tmp_path / "bad.safetensors", folder=tmp_path / "w")


@pytest.fixture
def dinov2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A .pth file with the tensor names of DINOv2's authors, which replaces theirs in the table."""
    path = tmp_path / "dinov2_vits14_pretrain.pth"
    torch.save(numbered(DINOV2) | {"mask_token": torch.zeros(1, 384)}, path)
    known = KnownFile(DINOV2, f"https://example.org/{path.name}", files.sha256_of(path))
    monkeypatch.setitem(published_weights.SETS["dinov2"], DINOV2, known)
    return path


def test_dinov2_is_downloaded_and_takes_timms_names(dinov2: Path, tmp_path: Path) -> None:
    folder = tmp_path / "w"
    with serving(dinov2.read_bytes()) as url:
        path = weight_import.download(DINOV2, folder=folder, url=url)

    assert path.name == f"timm-vit_small_patch14_dinov2-{files.sha256_of(dinov2)[:8]}.safetensors"
    assert weight_import.ensure("dinov2", DINOV2, folder=folder) == "dinov2"
    loaded, expected = weights.load_backbone("dinov2", DINOV2, seed=0, folder=folder), numbered(DINOV2)
    assert loaded.sha256 == files.sha256_of(dinov2)
    assert set(loaded.state) == set(expected)
    assert all(torch.equal(loaded.state[key], expected[key]) for key in expected)


def test_a_published_file_of_another_network_is_refused(dinov2: Path, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleModel, match=f"holds weights of {DINOV2}, and resnet18 was expected"):
        weight_import.import_file(dinov2, folder=tmp_path / "w", architecture="resnet18")

    assert weight_import.import_file(dinov2, folder=tmp_path / "w").architecture == DINOV2


def test_weights_that_are_not_published_are_refused(tmp_path: Path) -> None:
    for obtain in (weights.resolve, weight_import.ensure):
        with pytest.raises(WeightsMissing, match="No weights called imagenet-v2 are published for resnet18"):
            obtain("imagenet-v2", "resnet18", folder=tmp_path)
    with pytest.raises(WeightsMissing, match="No weights called imagenet are published for timm:convnext_tiny"):
        weight_import.download("timm:convnext_tiny", folder=tmp_path)
    assert weights.named("imagenet-v2", "resnet18", folder=tmp_path) == {"name": "imagenet-v2", "sha256": None}


def test_the_second_generation_is_checked_by_its_own_checksum(published: bytes, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="The imagenet-v2 weights of resnet50 are not on this machine"):
        weights.load_backbone("imagenet-v2", "resnet50", seed=0, folder=tmp_path)
    with serving(published) as url, pytest.raises(IncompatibleModel, match="11ad3fa6 was expected"):
        weight_import.download("resnet50", name="imagenet-v2", folder=tmp_path, url=url)


def test_torchxrayvisions_module_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", None)  # calling it would be a TypeError
    by_name = tmp_path / "nih-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"
    by_hash = tmp_path / "all.pt"
    for path in (by_name, by_hash):
        path.write_bytes(b"a module")
    monkeypatch.setattr(published_weights, "XRV_PICKLE", files.sha256_of(by_hash))

    for path in (by_name, by_hash):
        with pytest.raises(IncompatibleModel, match="is torchxrayvision's file, a pickled module") as refusal:
            weight_import.import_file(path, folder=tmp_path / "w")
        assert "docs/weights.md" in str(refusal.value)


def imported(tmp_path: Path, tensors: dict[str, torch.Tensor], architecture: str | None = None) -> StoredFile:
    save_file(tensors, tmp_path / "given.safetensors")
    return weight_import.import_file(tmp_path / "given.safetensors", folder=tmp_path / "w", architecture=architecture)


def test_the_network_of_a_file_is_recognised(tmp_path: Path) -> None:
    xrv = imported(tmp_path, numbered("xrv_densenet121") | {"op_threshs": torch.zeros(18)})

    assert xrv.architecture == "xrv_densenet121"
    assert xrv.sha256 == files.sha256_of(tmp_path / "given.safetensors")


def test_a_file_that_fits_two_networks_needs_an_architecture(tmp_path: Path) -> None:
    name = "timm:vit_small_patch16_224"
    with pytest.raises(IncompatibleModel, match=rf"fits {name} and {name}.dino, which normalise films differently"):
        imported(tmp_path, numbered(name))

    assert imported(tmp_path, numbered(name), f"{name}.dino").architecture == f"{name}.dino"


def test_a_file_that_fits_none_names_the_nearest_and_what_differs(tmp_path: Path) -> None:
    tensors = numbered("densenet121") | {"classifier.bias": torch.zeros(5)}

    with pytest.raises(IncompatibleModel) as refusal:
        imported(tmp_path, tensors)

    assert "it is nearest to densenet121: classifier.bias has the shape (5,) and should have (1000,)." in str(
        refusal.value
    )


def test_a_vits_file_of_another_grid_keeps_it(tmp_path: Path) -> None:
    embedding = torch.rand(1, 257, 384)

    stored = imported(tmp_path, numbered(DINOV2) | {"pos_embed": embedding}, DINOV2)

    state = weights.load_backbone(stored.name, DINOV2, seed=0, folder=tmp_path / "w").state
    assert torch.equal(state["pos_embed"], embedding)


@pytest.mark.parametrize("shape", [(1, 258, 384), (1, 257, 192), (2, 257, 384)])
def test_a_position_embedding_that_is_no_square_of_the_network_is_refused(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    with pytest.raises(IncompatibleModel, match=r"pos_embed has the shape \(.*\) and should have \(1, 1370, 384\)"):
        imported(tmp_path, numbered(DINOV2) | {"pos_embed": torch.zeros(shape)}, DINOV2)


def test_hugging_faces_names_need_an_architecture(tmp_path: Path) -> None:
    with pytest.raises(IncompatibleModel, match="has the tensor names of Hugging Face's transformers: state the"):
        imported(tmp_path, {"embeddings.cls_token": torch.zeros(1, 1, 384), "layernorm.bias": torch.zeros(384)})


def test_the_error_for_a_timm_file_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(IncompatibleModel, match="A file of another network of timm needs --architecture timm:NAME"):
        imported(tmp_path, numbered("timm:resnet26"))

    assert imported(tmp_path, numbered("timm:resnet26"), "timm:resnet26").architecture == "timm:resnet26"


def test_the_own_network_and_timms_of_the_same_name_are_distinguished(tmp_path: Path) -> None:
    tensors = numbered("tf_efficientnet_lite0")
    name = "tf_efficientnet_lite0"

    assert [imported(tmp_path, tensors, given).architecture for given in (None, name, f"timm:{name}")] == [
        name,
        name,
        f"timm:{name}",
    ]


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="backbone is 'resnet19'"):
        imported(tmp_path, {"a": torch.zeros(1)}, "resnet19")
