"""manage.py weights list | download [ARCHITECTURE] [NAME] | import FILE | verify [NAME]"""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ml_engine.core.backbone.weight_import import download, import_file
from ml_engine.core.backbone.weights import StoredFile, list_files, verify
from ml_engine.core.errors import EngineError
from ml_engine.core.published_weights import SETS, all_known
from ml_engine.runs import paths
from portal.intake.scanned_files import Infected, TooLargeToScan, require_clean
from portal.intake.virus_scan import AWAY_AT_COMMAND, ScannerAway


class Command(BaseCommand):
    help = "The weight files of the backbones: list, download, import and verify them."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="list|download|import|verify")
        acts.add_parser("list", help="list the files in the weights folder and the known ones that are missing")
        get = acts.add_parser("download", help="fetch a published file and check its SHA-256")
        architectures = sorted({known.architecture for known in all_known()})
        get.add_argument("architecture", nargs="?", default="wide_resnet50_2", choices=architectures)
        get.add_argument(
            "name", nargs="?", default="", choices=["", *SETS], help="which published weights; default: the usual ones"
        )
        bring = acts.add_parser(
            "import",
            help="import a local .safetensors file or a published .pth",
            epilog="docs/weights.md: three lines for any other .pth; files of RAD-DINO, OmniRad and torchxrayvision.",
        )
        bring.add_argument("file", type=Path)
        bring.add_argument(
            "--architecture",
            help="the file's network, such as tf_efficientnet_lite0 or timm:NAME; guessed by default",
        )
        check = acts.add_parser("verify", help="compare the SHA-256 of the files with that at their import")
        check.add_argument("name", nargs="?", help="one file; default: all")

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
        stored = list_files(folder)
        for file in stored:
            self.stdout.write(_line(file))
        names = {file.name for file in stored}
        for published, files in SETS.items():
            for known in files.values():
                if known.stored_name not in names:
                    missing = f"{known.architecture}  {published}, not here: {known.source}"
                    self.stdout.write(f"{known.stored_name}  {missing}")

    def download(self, architecture: str, name: str) -> None:
        printed_percent = -1

        def progress(done: int, total: int) -> None:
            nonlocal printed_percent
            percent = 100 * done // total if total else 0
            if percent >= printed_percent + 5:
                printed_percent = percent
                self.stdout.write(f"{done / 2**20:.0f} of {total / 2**20:.0f} MiB")

        path = download(architecture, name=name, folder=paths.weights_folder(), progress=progress)
        self.stdout.write(f"Stored as {path.name}.")

    def import_(self, file: Path, architecture: str | None) -> None:
        try:
            require_clean(file, words=str(file))
        except (Infected, TooLargeToScan) as refusal:
            raise CommandError(str(refusal)) from refusal
        except ScannerAway as away:
            raise CommandError(AWAY_AT_COMMAND) from away
        stored = import_file(file, folder=paths.weights_folder(), architecture=architecture)
        self.stdout.write(f"Imported: {_line(stored)}")

    def verify(self, name: str | None) -> None:
        folder = paths.weights_folder()
        names = [name] if name else [path.name for path in sorted(folder.glob("*.safetensors"))]
        if not names:
            self.stdout.write("There is no weight file yet: add one with manage.py weights import FILE.")
        damaged = 0
        for file_name in names:
            try:
                self.stdout.write(f"good: {_line(verify(file_name, folder=folder))}")
            except EngineError as problem:
                damaged += 1
                self.stderr.write(str(problem))
        if damaged:
            raise CommandError(f"{damaged} of {len(names)} files have changed since they were imported.")


def _line(file: StoredFile) -> str:
    return f"{file.name}  {file.architecture}  SHA-256 {file.sha256}"
