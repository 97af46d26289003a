import json
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.models import Site
from portal.people import audit_chain
from portal.people.audit_chain import Head

INSTALLATION = "-"


class Command(BaseCommand):
    help = "Verify the hash chain of the audit, or export it as JSON lines. Changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        verify = acts.add_parser("verify", help="read each chain from its start; exit with 1 where one does not hold")
        verify.add_argument("--site", help="the name of one site, or - for events of no site; all by default")
        verify.add_argument(
            "--head", metavar="NUMBER:SHA256", help="a head that was kept elsewhere, of the chain of --site"
        )
        export = acts.add_parser("export", help="write the sealed events of a site as JSON lines")
        export.add_argument("--site", required=True, help="the name of the site, or - for events of no site")
        export.add_argument("--to", type=Path, metavar="FILE", help="a new file; the standard output by default")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["act"] == "export":
            self._export(_site(options["site"]), options["to"])
        else:
            self._verify(options["site"], options["head"])

    def _verify(self, name: str | None, kept: str | None) -> None:
        if kept and not name:
            raise CommandError("--head is the head of one chain: name its site with --site, or - for no site.")
        sites = [_site(name)] if name else audit_chain.chains()
        verdicts = [audit_chain.verify(site, kept=_head(kept) if kept else None) for site in sites]
        for verdict in verdicts:
            numbers = (
                f"{verdict.head.number} sealed, {verdict.erased} of them erased, {verdict.unsealed} not sealed yet"
            )
            self.stdout.write(f"{verdict.name}: {numbers}. {verdict.fault or 'The chain holds.'}")
            if not verdict.fault:
                self.stdout.write(f"  head {verdict.head}")
        if faults := sum(bool(verdict.fault) for verdict in verdicts):
            raise CommandError(
                f"Chains that do not hold: {faults}. Compare with the last export or backup before you do anything."
            )

    def _export(self, site: Site | None, to: Path | None) -> None:
        try:
            count = _write(site, to)
        except FileExistsError:
            raise CommandError(f"{to} exists already: name a new file.") from None
        except OSError as problem:
            raise CommandError(
                f"{to or 'The standard output'} cannot be written ({problem.strerror}). Nothing was kept; name a file "
                "in a folder that is there and that has room, with --to."
            ) from problem
        self.stderr.write(f"{count} sealed events; head {audit_chain.head_of(site)}")


def _write(site: Site | None, to: Path | None) -> int:
    """Write the events to a new file, or to the standard output; returns their number. A file that could not be written
    whole is removed. Raises OSError."""
    stream = to.open("x", encoding="utf-8") if to else sys.stdout
    count = 0
    try:
        for line in audit_chain.lines(site):
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
        stream.flush()
        if to:
            stream.close()
    except BaseException:
        if to:
            with suppress(OSError):
                stream.close()
            to.unlink()
        raise
    return count


def _site(name: str) -> Site | None:
    if name == INSTALLATION:
        return None
    site = Site.objects.filter(name=name).first()
    if site is None:
        names = ", ".join(Site.objects.values_list("name", flat=True)) or "none yet"
        raise CommandError(f"There is no site {name!r}; existing sites: {names}; - stands for events of no site.")
    return site


def _head(text: str) -> Head:
    if not re.fullmatch(r"[0-9]+:[0-9a-f]{64}", text):
        raise CommandError(f"--head {text}: write NUMBER:SHA256, as `manage.py audit verify` prints it.")
    number, _, digest = text.partition(":")
    return Head(int(number), digest)
