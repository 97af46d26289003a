"""At every door by which a stranger's file comes in, the virus scanner has it before anything opens it."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.test import override_settings
from rest_framework import serializers

from portal import tasks
from portal.imaging.decoding import Decoder
from portal.intake import folder_imports, quarantine_files
from portal.intake.sources.choice import SourceChoice
from portal.intake.virus_scan import AWAY, AWAY_AT_COMMAND
from portal.models import AuditEvent, Dataset, QuarantinedFile, Upload, User
from tests.paths import ROOT
from tests.portal import factories
from tests.portal.intake import clamd
from tests.portal.intake.sources import published as sources
from tests.portal.intake.sources.test_padchest import row
from tests.portal.intake.test_films import counts_of, run
from tests.portal.intake.test_quarantine import put_in, try_again

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def kim() -> User:
    return factories.curator("kim")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three films, of which the second is infected: as a picture, it would be imported."""
    folder = tmp_path / "films"
    for seed, name in enumerate("abc"):
        factories.png(folder / f"{name}.png", seed=seed)
    infect(folder / "b.png")
    return folder


def infect(path: Path) -> None:
    path.write_bytes(path.read_bytes() + clamd.EICAR)


def command(folder: Path | None, **options: Any) -> str:
    out = StringIO()
    call_command(
        "import_images",
        *([folder] if folder else []),
        **{"dataset": "Normals", "site": factories.site().name, **options},
        stdout=out,
        stderr=StringIO(),
    )
    return out.getvalue()


# films ------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_an_infected_film_of_a_folder_is_refused_alone(of: Dataset, folder: Path, scanner: Any) -> None:
    rows = [{"filename": f"{name}.png", "label": "normal"} for name in "abc"]
    labels = factories.table(folder.parent / "l.csv", *rows)
    assert counts_of(run(of, folder, labels=labels)) == {"imported": 2, "infected": 1}
    assert set(of.images.values_list("original_name", flat=True)) == {"a.png", "c.png"}
    file = QuarantinedFile.objects.get()
    assert (file.name, file.reason, file.kept_at) == ("b.png", "infected", None)
    assert file.sentence.startswith(f"The virus scanner found {clamd.FOUND} in this file.")
    event = AuditEvent.objects.get(verb="find virus")
    assert event.after == {
        "upload": str(Upload.objects.get().uuid),
        "sha256": file.source_sha256,
        "signature": clamd.FOUND,
    }
    assert "1 file refused, because the virus scanner found something in it" in Upload.objects.get().message
    assert counts_of(run(of, folder, labels=labels)) == {"there already": 2, "infected": 1}
    assert QuarantinedFile.objects.count() == 1


def test_the_decoder_never_sees_it(of: Dataset, folder: Path, scanner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, opened = Decoder._send_to_child, []

    def noted(decoder: Decoder, request: dict[str, Any]) -> None:
        opened.append(Path(request["path"]).name)
        sent(decoder, request)

    monkeypatch.setattr(Decoder, "_send_to_child", noted)
    run(of, folder)
    assert sorted(opened) == ["a.png", "c.png"]


def test_a_film_that_the_scanner_does_not_take_is_not_kept(of: Dataset, folder: Path, scanner: Any) -> None:
    scanner.most_bytes = (folder / "a.png").stat().st_size - 1
    assert counts_of(run(of, folder))["not_scanned"] == 3
    assert of.images.count() == 0
    assert {(file.reason, file.kept_at) for file in QuarantinedFile.objects.all()} == {("not_scanned", None)}


def test_the_command_names_what_was_refused_and_stores_no_name(of: Dataset, folder: Path, scanner: Any) -> None:
    assert f"refused by the virus scanner: {folder / 'b.png'}" in command(folder)
    stored = " ".join(str(row) for row in [*Upload.objects.values(), *QuarantinedFile.objects.values()])
    assert "b.png" not in stored


def test_without_its_scanner_the_command_imports_nothing(of: Dataset, folder: Path, settings: Any) -> None:
    settings.SCANNER = clamd.nowhere()
    with pytest.raises(CommandError, match="nothing is imported unscanned"):
        command(folder)
    upload = Upload.objects.get()
    assert (upload.state, upload.message, of.images.count()) == ("failed", AWAY_AT_COMMAND, 0)


def test_a_file_out_of_quarantine_is_scanned_and_leaves_the_disk(
    of: Dataset, kim: User, tmp_path: Path, settings: Any, published: list[str]
) -> None:
    """It came before there was a scanner, or before the scanner knew it."""
    (tmp_path / "kept").mkdir()
    file = put_in(of, tmp_path / "kept")
    with clamd.running() as server:
        server.finds = (tmp_path / "kept" / "Quagga_7.dcm").read_bytes()
        settings.SCANNER = server.address
        upload = try_again(of, kim, file)
    assert (upload.state, upload.counts, of.images.count()) == ("done", {"infected": 1}, 0)
    file.refresh_from_db()
    assert (file.reason, file.kept_at) == ("infected", None)
    assert not quarantine_files.kept_path(file).exists()


def test_a_try_out_of_quarantine_waits_for_its_scanner(
    of: Dataset, kim: User, tmp_path: Path, settings: Any, published: list[str]
) -> None:
    (tmp_path / "kept").mkdir()
    file = put_in(of, tmp_path / "kept")
    settings.SCANNER = clamd.nowhere()
    upload = try_again(of, kim, file)
    assert (upload.state, upload.message) == ("received", AWAY)
    with clamd.running() as server:
        settings.SCANNER = server.address
        tasks.import_upload(str(upload.uuid))
    assert of.images.count() == 1


# tables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["labels", "boxes", "mapping"])
def test_an_infected_table_ends_the_command_before_anything(
    option: str, of: Dataset, folder: Path, tmp_path: Path, scanner: Any
) -> None:
    table = factories.table(tmp_path / "t.csv", {"filename": "a.png", "label": "normal"})
    infect(table)
    with pytest.raises(CommandError, match=f"found {clamd.FOUND} in .*t.csv. It was not opened"):
        command(folder, **{option: table})
    assert not Upload.objects.exists()
    assert AuditEvent.objects.get(verb="find virus").after == {"signature": clamd.FOUND}


def test_a_table_that_is_too_large_or_without_scanner(of: Dataset, tmp_path: Path, settings: Any, scanner: Any) -> None:
    table = factories.table(tmp_path / "t.csv", {"filename": "a.png", "label": "normal"})
    scanner.most_bytes = 3
    with pytest.raises(CommandError, match=r"t\.csv is larger than what the virus scanner takes"):
        command(None, labels=table)
    settings.SCANNER = clamd.nowhere()
    with pytest.raises(CommandError, match="nothing is imported unscanned"):
        command(None, labels=table)


# published datasets -----------------------------------------------------------------------------------------


@pytest.fixture
def padchest(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "imports" / "padchest"
    sources.write(folder / sources.PADCHEST_FILE, sources.PADCHEST, [row(f"{name}.png") for name in "abc"])
    for seed, name in enumerate("abc"):
        factories.png(folder / "0" / f"{name}.png", seed=seed)
    with override_settings(IMPORT_FOLDER=tmp_path / "imports"):
        yield folder


def of_the_server(of: Dataset, kim: User) -> Upload:
    choice = SourceChoice("padchest", {"views": "all"})
    upload = folder_imports.import_server_folder(dataset=of, folder="padchest", of_source=choice, author=kim)
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    return upload


def test_a_folder_of_the_server_is_scanned_film_by_film(
    of: Dataset, kim: User, padchest: Path, scanner: Any, published: list[str]
) -> None:
    infect(padchest / "0" / "b.png")
    upload = of_the_server(of, kim)
    assert (upload.state, upload.counts["imported"], upload.counts["infected"]) == ("done", 2, 1)
    assert (padchest / sources.PADCHEST_FILE).read_bytes() in scanner.scanned


def test_an_infected_table_of_the_server_is_not_opened(
    of: Dataset, kim: User, padchest: Path, scanner: Any, published: list[str]
) -> None:
    infect(padchest / sources.PADCHEST_FILE)
    upload = of_the_server(of, kim)
    assert upload.state == "failed"
    assert f"found {clamd.FOUND} in table.csv" in upload.message
    assert AuditEvent.objects.get(verb="find virus").after["upload"] == str(upload.uuid)
    assert of.images.count() == 0
    with pytest.raises(CommandError, match=f"found {clamd.FOUND}"):
        command(padchest, source="padchest")


def test_a_folder_of_the_server_waits_for_its_scanner(
    of: Dataset, kim: User, padchest: Path, settings: Any, published: list[str]
) -> None:
    settings.SCANNER = clamd.nowhere()
    upload = of_the_server(of, kim)
    assert (upload.state, upload.message, of.images.count()) == ("received", AWAY, 0)
    with pytest.raises(CommandError, match="nothing is imported unscanned"):
        command(padchest, source="padchest")


# no door is forgotten ---------------------------------------------------------------------------------------

OURS = ("portal", "ml_engine", "analysis")
# what takes a file or bytes from outside -> its row in the table of docs/admin.md, or why it is not scanned
DOORS = {
    "portal.forms.UploadForm.file": "zip",
    "request.FILES in portal/views/datasets.py": "zip",
    "request.stream in portal/api/resumable.py": "zip",
    "import_images folder": "manage.py import_images",
    "import_images --labels": "manage.py import_images",
    "import_images --boxes": "manage.py import_images",
    "import_images --mapping": "manage.py import_images",
    "weights import file": "manage.py weights import",
    "http.client in portal/dicomweb/client.py": "PACS",
    "urllib.request in ml_engine/core/backbone/weight_import.py": "by its SHA-256",
    "request.body in ml_engine/views/boards.py": "JSON of a page, of bounded length",
    "import_pacs --studies": "a list of UIDs, each checked",
    "restore folder": "our own, sealed",
    "backup folder": "written, not read",
    "audit export --to": "written, not read",
    "restore --passphrase-file": "a secret",
    "backup --passphrase-file": "a secret",
    "pseudonym_secret file": "our own, sealed",
    "pseudonym_secret --passphrase-file": "a secret",
}


def test_every_door_is_known() -> None:
    found = {*_arguments(), *_fields(), *_sources()}
    assert found == set(DOORS), "scan what comes in by a new door (portal.intake.scanned_files), and name it here"


def test_the_table_of_doors_is_in_the_manual() -> None:
    section = (ROOT / "docs" / "admin.md").read_text().split("## A virus scanner")[1].split("\n## ")[0]
    for words in {"zip", "manage.py import_images", "manage.py weights import", "PACS", "Quarantine"}:
        assert any(line.startswith("|") and words in line for line in section.splitlines()), words


def test_only_files_of_a_zip_count_as_scanned_and_every_zip_is() -> None:
    said = [path for path in _modules() if "are_scanned=True" in path.read_text()]
    assert [path.name for path in said] == ["zip_uploads.py"]
    opened = re.findall(r" open_zip\((.*)\)", said[0].read_text())
    assert len(opened) == 3
    assert sum("scanner=settings.SCANNER" in call for call in opened) == 2  # the third is `unpack`, of tests


def _arguments() -> Iterator[str]:
    """The arguments of our commands that are paths."""
    for name, app in get_commands().items():
        if app in OURS:
            parser = load_command_class(str(app), name).create_parser("manage.py", name)
            yield from (f"{name} {argument}" for argument in _paths_of(parser))


def _paths_of(parser: Any) -> Iterator[str]:
    for action in parser._actions:
        for act, below in (action.choices or {}).items() if isinstance(action.choices, dict) else ():
            yield from (f"{act} {argument}" for argument in _paths_of(below))
        is_path = action.type is Path or action.dest == "folder"  # of backups: a folder or a bucket
        if is_path and action.dest != "out":
            yield action.option_strings[0] if action.option_strings else action.dest


def _fields() -> Iterator[str]:
    """The fields of our forms and serializers that take a file."""
    for name in OURS:
        for module in pkgutil.walk_packages([str(ROOT / name)], f"{name}."):
            if not re.search(r"migrations|__main__|asgi|wsgi|management", module.name):
                importlib.import_module(module.name)
    for kind, field in ((forms.BaseForm, forms.FileField), (serializers.BaseSerializer, serializers.FileField)):
        for one in _below(kind):
            fields = {**getattr(one, "base_fields", {}), **getattr(one, "_declared_fields", {})}
            if one.__module__.split(".")[0] in OURS:
                yield from (
                    f"{one.__module__}.{one.__name__}.{key}" for key, each in fields.items() if isinstance(each, field)
                )


def _below(kind: type) -> Iterator[type]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)


def _sources() -> Iterator[str]:
    """The modules that read a request's bytes, or ask another machine for some."""
    pattern = re.compile(r"\brequest\.(?:FILES|stream|body)\b|\b(?:urllib\.request|http\.client)\b(?=\n)")
    for path in _modules():
        for words in set(pattern.findall(path.read_text())):
            yield f"{words} in {path.relative_to(ROOT)}"


def _modules() -> Iterator[Path]:
    for name in OURS:
        yield from sorted((ROOT / name).rglob("*.py"))
