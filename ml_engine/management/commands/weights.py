"""manage.py weights list | download [ARCHITECTURE] | import FILE | verify [NAME]"""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ml_engine import storage
from ml_engine.core.errors import EngineError
from ml_engine.core.weights import KNOWN, StoredFile, download, import_file, list_files, verify


class Command(BaseCommand):
    help = "The weight files of the backbones: what is here, bring a file, check what is here."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="list|download|import|verify")
        acts.add_parser("list", help="what is in the weights folder, and what is known but missing")
        get = acts.add_parser("download", help="fetch torchvision's file and check its SHA-256")
        get.add_argument("architecture", nargs="?", default="wide_resnet50_2", choices=sorted(KNOWN))
        bring = acts.add_parser("import", help="take a local .safetensors file, or a .pth that torchvision publishes")
        bring.add_argument("file", type=Path)
        check = acts.add_parser("verify", help="read files whole and compare them with what was imported")
        check.add_argument("name", nargs="?", help="one file; all without it")

    def handle(self, *args: Any, act: str, **options: Any) -> None:
        try:
            {
                "list": self.list,
                "download": lambda: self.download(options["architecture"]),
                "import": lambda: self.import_(options["file"]),
                "verify": lambda: self.verify(options["name"]),
            }[act]()
        except EngineError as refusal:
            raise CommandError(str(refusal)) from refusal

    def list(self) -> None:
        folder = storage.weights_folder()
        here = list_files(folder)
        for file in here:
            self.stdout.write(_line(file))
        names = {file.name for file in here}
        for known in KNOWN.values():
            if known.stored_name not in names:
                self.stdout.write(f"{known.stored_name}  {known.architecture}  not here: {known.url}")

    def download(self, architecture: str) -> None:
        shown = -1

        def progress(done: int, total: int) -> None:
            nonlocal shown
            percent = 100 * done // total if total else 0
            if percent >= shown + 5:
                shown = percent
                self.stdout.write(f"{done / 2**20:.0f} of {total / 2**20:.0f} MiB")

        path = download(architecture, folder=storage.weights_folder(), progress=progress)
        self.stdout.write(f"Stored as {path.name}.")

    def import_(self, file: Path) -> None:
        self.stdout.write(f"Imported: {_line(import_file(file, folder=storage.weights_folder()))}")

    def verify(self, name: str | None) -> None:
        folder = storage.weights_folder()
        names = [name] if name else [path.name for path in sorted(folder.glob("*.safetensors"))]
        if not names:
            self.stdout.write("There is no weight file yet: bring one with manage.py weights import FILE.")
        bad = 0
        for one in names:
            try:
                self.stdout.write(f"good: {_line(verify(one, folder=folder))}")
            except EngineError as problem:
                bad += 1
                self.stderr.write(str(problem))
        if bad:
            raise CommandError(f"{bad} of {len(names)} files are not as they were imported.")


def _line(file: StoredFile) -> str:
    return f"{file.name}  {file.architecture}  SHA-256 {file.sha256[:16]}"
