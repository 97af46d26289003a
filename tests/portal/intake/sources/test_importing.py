"""A published dataset is imported from a folder, a zip or the server, goes on after a kill, and says what it left
out."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import override_settings

from portal.intake import films, zip_uploads
from portal.intake.sources.choice import OWN_FILES, chosen_source
from portal.intake.sources.server_folders import InvalidFolder, listed_folders, server_folder
from portal.intake.sources.source import InvalidSource
from portal.intake.tables import InvalidCsv
from portal.models import Dataset, LabelEvent, Upload
from portal.people import blinding
from portal.tasks import import_upload
from tests.portal import factories
from tests.portal.intake.sources import published
from tests.portal.intake.sources.published import counts_of, run
from tests.portal.intake.sources.test_padchest import row

pytestmark = [pytest.mark.django_db]
FILMS = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six films; of two rows the file is missing."""
    folder = tmp_path / "padchest"
    rows = [row(f"{name}.png") for name in "abcdefxy"]
    published.write(folder / published.PADCHEST_FILE, published.PADCHEST, rows)
    for number, name in enumerate("abcdef"):
        factories.png(folder / "0" / f"{name}.png", seed=number)
    return folder


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker imports what is queued."""
    for name in ("portal.intake.zip_uploads.publish", "portal.tasks.publish", "portal.tasks.publish_look"):
        monkeypatch.setattr(name, lambda row: None)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.intake.sources.importing.ROWS_TOGETHER", 3)


@pytest.mark.usefixtures("small_batches")
def test_a_killed_import_goes_on_without_opening_what_is_there(
    of: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed_after_a_batch(progress: Any, *more: Any) -> None:
        if of.images.count() == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(films._Progress, "at", killed_after_a_batch)
        with pytest.raises(KeyboardInterrupt):
            run(of, "padchest", folder)
    there = of.images.count()
    assert 0 < there < FILMS
    for image in of.images.all():
        (folder / "0" / image.original_name).write_bytes(b"would go to quarantine if it were opened")
    assert counts_of(run(of, "padchest", folder)) == {
        "there already": there,
        "imported": FILMS - there,
        "left out: no file": 2,
    }
    assert LabelEvent.objects.count() == FILMS
    upload = of.uploads.first()
    assert upload is not None
    assert (upload.done, upload.total, upload.state) == (8, 8, "done")


@pytest.mark.usefixtures("small_batches")
def test_no_more_than_one_batch_is_kept(of: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    batch = films._import_batch

    def counted(upload: Upload, part: films.Batch, *more: Any, **choices: Any) -> None:
        sizes.append(len(part.entries))
        batch(upload, part, *more, **choices)

    monkeypatch.setattr(films, "_import_batch", counted)
    run(of, "padchest", folder)
    assert sizes == [3, 3, 0]


def test_a_zip_is_imported_by_the_worker(of: Dataset, folder: Path, tmp_path: Path, queued: None) -> None:
    members = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    archive = factories.zipped(tmp_path / "films.zip", members)
    upload = zip_uploads.receive_zip(
        dataset=of,
        file=SimpleUploadedFile("films.zip", archive.read_bytes()),
        author=factories.curator(at=of.site),
        of_source=chosen_source({"source": "padchest"}),
    )
    import_upload(str(upload.uuid))
    upload.refresh_from_db()
    assert upload.state == "done", upload.message
    assert (upload.counts["imported"], upload.counts["left out: no file"]) == (FILMS, 2)
    assert upload.options == {"views": "pa", "children": False}


def test_a_folder_of_the_server_is_imported_by_the_worker(of: Dataset, folder: Path, queued: None) -> None:
    upload = Upload.objects.create(dataset=of, source="padchest", folder=folder.name)
    with override_settings(IMPORT_FOLDER=folder.parent):
        import_upload(str(upload.uuid))
    upload.refresh_from_db()
    assert (upload.state, upload.counts["imported"]) == ("done", FILMS)


def test_a_folder_elsewhere_is_refused(folder: Path, tmp_path: Path) -> None:
    with override_settings(IMPORT_FOLDER=None), pytest.raises(InvalidFolder, match="imports no folders of its server"):
        server_folder("padchest")
    imports = tmp_path / "imports"
    imports.mkdir()
    shutil.move(folder, imports / folder.name)
    (imports / "link").symlink_to("/etc")
    (imports / ".hidden").mkdir()
    with override_settings(IMPORT_FOLDER=imports):
        assert listed_folders() == ["padchest"]
        for name in ("..", "/etc", "link", ".hidden", "padchest/0"):
            with pytest.raises(InvalidFolder, match="it has: padchest"):
                server_folder(name)


def test_the_command(of: Dataset, folder: Path) -> None:
    out = io.StringIO()
    call_command("import_images", folder, source="padchest", dataset=of.name, site=of.site.name, stdout=out)
    assert "2 rows of the published tables left out, because their films are not among the files" in out.getvalue()
    assert of.images.count() == FILMS


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"views": "pa"}, "pass --source too"),
        ({"source": "padchest", "boxes": Path("b.csv")}, "leave --boxes and --mapping out"),
        ({"source": "padchest", "labels": Path("none.csv")}, "There is no table none.csv"),
        ({"source": "nih"}, r"NIH ChestX-ray14 is imported with its table Data_Entry_2017_v2020\.csv"),
    ],
)
def test_the_command_refuses(options: dict[str, Any], sentence: str, of: Dataset, folder: Path) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("import_images", folder, dataset=of.name, site=of.site.name, stdout=io.StringIO(), **options)


def test_a_table_may_lie_elsewhere(of: Dataset, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / published.PADCHEST_FILE
    shutil.move(folder / published.PADCHEST_FILE, table)
    arguments = {"source": "padchest", "labels": table, "dataset": of.name, "site": of.site.name}
    call_command("import_images", folder, stdout=io.StringIO(), **arguments)
    assert of.images.count() == FILMS


def test_two_tables_of_one_kind_are_refused(of: Dataset, folder: Path) -> None:
    shutil.copy(folder / published.PADCHEST_FILE, folder / "copy.csv")
    with pytest.raises(InvalidCsv, match=r"are both the table PADCHEST_chest.* of PadChest; keep one"):
        run(of, "padchest", folder)


def test_films_that_no_row_names_fail_the_import(of: Dataset, folder: Path) -> None:
    published.write(folder / published.PADCHEST_FILE, published.PADCHEST, [row("x.png")])
    run(of, "padchest", folder)
    upload = of.uploads.get()
    assert upload.state == "failed"
    assert "the tables of PadChest name none of these files" in upload.message


def test_choices() -> None:
    assert chosen_source({}) == OWN_FILES
    assert chosen_source({"source": "nih", "children": "1"}).options == {"views": "frontal", "children": True}
    with pytest.raises(InvalidSource, match="choose one of padchest, nih, chexpert, mimic, rsna, vindr"):
        chosen_source({"source": "Openi"})
    with pytest.raises(InvalidSource, match="choose pa, frontal, all"):
        chosen_source({"source": "nih", "views": "side"})
    with pytest.raises(InvalidSource, match="are chosen for a published dataset"):
        chosen_source({"views": "pa"})


def test_a_reader_who_is_blinded_changes_nothing(of: Dataset, folder: Path) -> None:
    """What is counted of a row would tell whether its label is that of the film."""
    run(of, "padchest", folder)
    ann = factories.curator("ann", at=of.site)
    film = of.images.get(original_name="a.png")
    blinding.open_for(person=ann, images=[film], source=factories.somewhere(), words="the worklist Tuesday", days=3)
    upload = Upload.objects.create(dataset=of, source="padchest", folder=folder.name, uploaded_by=ann)
    rows = [row("a.png", Labels="['nodule']"), row("b.png")]
    published.write(folder / published.PADCHEST_FILE, published.PADCHEST, rows)
    with override_settings(IMPORT_FOLDER=folder.parent):
        zip_uploads.import_upload_of_source(upload, zip_uploads.zip_path(upload))
    upload.refresh_from_db()
    assert upload.counts == {"read blinded": 1, "there already": 1}
    assert film.label_events.get().value == "normal"
