"""manage.py weights list | download [ARCHITECTURE] [NAME] | import FILE | verify [NAME]"""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ml_engine.core.backbone.weight_import import download, import_file
from ml_engine.core.backbone.weights import StoredFile, list_files, verify
from ml_engine.core.errors import EngineError
from ml_engine.core.published_weights import SETS, all_known
from ml_engine.runs import paths


class Command(BaseCommand):
    help = "The weight files of the backbones: what is here, bring a file, check what is here."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="list|download|import|verify")
        acts.add_parser("list", help="what is in the weights folder, and what is known but missing")
        get = acts.add_parser("download", help="fetch a published file and check its SHA-256")
        architectures = sorted({known.architecture for known in all_known()})
        get.add_argument("architecture", nargs="?", default="wide_resnet50_2", choices=architectures)
        get.add_argument("name", nargs="?", default="", choices=["", *SETS], help="the usual one unless given")
        bring = acts.add_parser("import", help="take a local .safetensors file, or a published .pth")
        bring.add_argument("file", type=Path)
        bring.add_argument("--architecture", help="the network that it is for, such as timm:NAME; guessed unless given")
        check = acts.add_parser("verify", help="read files whole and compare them with what was imported")
        check.add_argument("name", nargs="?", help="one file; all without it")

    def handle(self, *args: Any, act: str, **options: Any) -> None:
        try:
            {
                "list": self.list,
                "download": lambda: self.download(options["architecture"], options["name"]),
                "import": lambda: self.import_(options["file"], options["architecture"]),
                "verify": lambda: self.verify(options["name"]),
            }[act]()
        except EngineError as refusal:
            raise CommandError(str(refusal)) from refusal

    def list(self) -> None:
        folder = paths.weights_folder()
        here = list_files(folder)
        for file in here:
            self.stdout.write(_line(file))
        names = {file.name for file in here}
        for published, files in SETS.items():
            for known in files.values():
                if known.stored_name not in names:
                    self.stdout.write(f"{known.stored_name}  {known.architecture}  {published}, not here: {known.url}")

    def download(self, architecture: str, name: str) -> None:
        shown = -1

        def progress(done: int, total: int) -> None:
            nonlocal shown
            percent = 100 * done // total if total else 0
            if percent >= shown + 5:
                shown = percent
                self.stdout.write(f"{done / 2**20:.0f} of {total / 2**20:.0f} MiB")

        path = download(architecture, name=name, folder=paths.weights_folder(), progress=progress)
        self.stdout.write(f"Stored as {path.name}.")

    def import_(self, file: Path, architecture: str | None) -> None:
        stored = import_file(file, folder=paths.weights_folder(), architecture=architecture)
        self.stdout.write(f"Imported: {_line(stored)}")

    def verify(self, name: str | None) -> None:
        folder = paths.weights_folder()
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
    return f"{file.name}  {file.architecture}  SHA-256 {file.sha256}"
