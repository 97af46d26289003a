from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from ml_engine.core import files, weights
from ml_engine.core.errors import IncompatibleModel
from ml_engine.core.features import random_state
from ml_engine.core.weights import KnownFile, WeightsMissing


@contextlib.contextmanager
def serving(body: bytes, *, status: int = 200, declared: int | None = None) -> Iterator[str]:
    """A local server that answers any path with ``body``; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if declared is None else declared))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
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
    """A .pth of resnet18 that takes the place of torchvision's in the table."""
    path = tmp_path / "published.pth"
    torch.save(random_state("resnet18", 5), path)
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:8]
    known = KnownFile("resnet18", f"https://example.org/resnet18-{digest}.pth", digest)
    monkeypatch.setitem(weights.KNOWN, "resnet18", known)
    return body


@pytest.mark.parametrize("architecture", sorted(weights.KNOWN))
def test_the_table_is_torchvisions(architecture: str) -> None:
    listed = torchvision.models.get_model_weights(architecture).IMAGENET1K_V1.url

    assert weights.KNOWN[architecture].url == listed
    assert listed.endswith(f"-{weights.KNOWN[architecture].digest[:8]}.pth")


def test_download_stores_what_was_published_as_safetensors(published: bytes, tmp_path: Path) -> None:
    folder, seen = tmp_path / "weights", []
    with serving(published) as url:
        path = weights.download("resnet18", folder=folder, url=url, progress=lambda d, t: seen.append((d, t)))

    assert [p.name for p in folder.iterdir()] == [path.name]
    assert seen[-1] == (len(published), len(published))
    assert len(seen) > 10
    found = weights.load_backbone("imagenet", "resnet18", seed=0, folder=folder)
    expected = random_state("resnet18", 5)
    assert all(torch.equal(found.state[name], expected[name]) for name in expected)
    assert found.to_json() == {"name": "imagenet", "sha256": hashlib.sha256(published).hexdigest()}


@pytest.mark.parametrize(
    ("body", "status", "declared", "words"),
    [(b"no", 404, None, "404"), (b"part", 200, 1000, "ended after 4 of 1000|IncompleteRead|more expected")],
)
def test_a_failed_download_names_the_other_way_and_leaves_nothing(
    tmp_path: Path, body: bytes, status: int, declared: int | None, words: str
) -> None:
    folder = tmp_path / "weights"
    with serving(body, status=status, declared=declared) as url, pytest.raises(WeightsMissing, match=words) as refusal:
        weights.download("resnet18", folder=folder, url=url)

    assert "python manage.py weights import FILE" in str(refusal.value)
    assert list(folder.iterdir()) == []


def test_no_server_at_all_is_a_sentence(tmp_path: Path) -> None:
    with serving(b"") as url:
        pass
    with pytest.raises(WeightsMissing, match="could not be downloaded from http"):
        weights.download("resnet18", folder=tmp_path, url=url)


def test_another_file_than_published_is_refused(published: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    with serving(published + b"x") as url, pytest.raises(IncompatibleModel, match="SHA-256"):
        weights.download("resnet18", folder=folder, url=url)

    assert list(folder.iterdir()) == []


def test_only_web_addresses_are_fetched(published: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.pth").write_bytes(published)
    with pytest.raises(WeightsMissing, match="https://"):
        weights.download("resnet18", folder=tmp_path / "w", url=f"file://{tmp_path}/file.pth")


def test_import_takes_a_published_pth_by_its_checksum(published: bytes, tmp_path: Path) -> None:
    given = tmp_path / "any-name.pth"
    given.write_bytes(published)

    stored = weights.import_file(given, folder=tmp_path / "w")

    assert stored.architecture == "resnet18"
    assert weights.ensure("imagenet", "resnet18", folder=tmp_path / "w") == "imagenet"


def test_import_never_reads_an_unknown_pth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "mine.pth"
    torch.save(random_state("resnet18", 0), given)
    monkeypatch.setattr(torch, "load", None)  # calling it would be a TypeError

    with pytest.raises(IncompatibleModel, match="none of the files that torchvision publishes"):
        weights.import_file(given, folder=tmp_path / "w")


def own_file(path: Path, architecture: str = "resnet18", **changes: torch.Tensor) -> Path:
    save_file({name: t.contiguous() for name, t in (random_state(architecture, 3) | changes).items()}, path)
    return path


def test_import_takes_safetensors_that_fit(tmp_path: Path) -> None:
    stored = weights.import_file(own_file(tmp_path / "My net.safetensors"), folder=tmp_path / "w")

    found = weights.load_backbone(stored.name, "resnet18", seed=0, folder=tmp_path / "w")
    assert stored.name.startswith("My-net-")
    assert torch.equal(found.state["fc.bias"], random_state("resnet18", 3)["fc.bias"])
    assert found.sha256 == files.sha256_of(tmp_path / "My net.safetensors")


def test_the_same_file_twice_is_stored_once(tmp_path: Path) -> None:
    given = own_file(tmp_path / "mine.safetensors")

    names = {weights.ensure(str(given), "resnet18", folder=tmp_path / "w") for _ in range(2)}

    assert len(names) == 1
    assert weights.ensure(names.pop(), "resnet18", folder=tmp_path / "w") in [
        p.name for p in (tmp_path / "w").iterdir()
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fc.bias": torch.zeros(5)}, r"fc.bias has the shape \(5,\) and should have \(1000,\)"),
        ({"head.bias": torch.zeros(5)}, "it has a tensor head.bias that the network has not"),
    ],
)
def test_safetensors_that_do_not_fit_are_a_sentence(
    tmp_path: Path, changes: dict[str, torch.Tensor], words: str
) -> None:
    given = own_file(tmp_path / "wrong.safetensors", **changes)

    with pytest.raises(IncompatibleModel, match=words):
        weights.import_file(given, folder=tmp_path / "w", architecture="resnet18")


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    stored = weights.import_file(own_file(tmp_path / "a.safetensors"), folder=tmp_path / "w")

    with pytest.raises(IncompatibleModel, match="does not fit resnet50"):
        weights.load_backbone(stored.name, "resnet50", seed=0, folder=tmp_path / "w")


def test_a_file_that_is_no_safetensors_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"not really")

    with pytest.raises(IncompatibleModel, match="no whole safetensors file"):
        weights.import_file(tmp_path / "bad.safetensors", folder=tmp_path / "w")


def test_missing_weights_name_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="weights import FILE") as refusal:
        weights.load_backbone("imagenet", "resnet18", seed=0, folder=tmp_path)
    assert "random" in str(refusal.value)
    for name in ("nothing.safetensors", "../secret", "/etc/passwd"):
        with pytest.raises(WeightsMissing, match="no weights called"):
            weights.load_backbone(name, "resnet18", seed=0, folder=tmp_path)
    with pytest.raises(WeightsMissing, match="neither imagenet nor random nor a file"):
        weights.ensure("imagnet", "resnet18", folder=tmp_path)


def test_random_has_a_name_and_no_hash(tmp_path: Path) -> None:
    found = weights.load_backbone("random", "resnet18", seed=4, folder=tmp_path)

    assert found.to_json() == {"name": "random", "sha256": None}
    assert torch.equal(found.state["conv1.weight"], random_state("resnet18", 4)["conv1.weight"])


def test_list_and_verify(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    stored = weights.import_file(own_file(tmp_path / "a.safetensors"), folder=folder)
    (folder / "broken.safetensors").write_bytes(b"x")

    assert weights.list_files(folder) == [stored]
    assert weights.list_files(tmp_path / "nowhere") == []
    assert weights.verify(stored.name, folder=folder) == stored
    raw = bytearray((folder / stored.name).read_bytes())
    raw[-1] ^= 1
    (folder / stored.name).write_bytes(raw)
    with pytest.raises(IncompatibleModel, match="not what was imported"):
        weights.verify(stored.name, folder=folder)


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_DATA_DIR", str(tmp_path))
    assert weights.default_folder() == tmp_path / "weights"
    monkeypatch.delenv("HILUM_DATA_DIR")
    assert weights.default_folder().parts[-2:] == ("var", "weights")
