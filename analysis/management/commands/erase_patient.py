import sys
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from analysis.evaluation.erasing import CannotErase, ErasurePlan, confirmation_of, erase_patient, plan_erasure
from ml_engine.runs import erased_films
from portal.imaging.deidentify import pseudonym
from portal.intake.pseudonym_key import site_key
from portal.models import Patient, Site

_QUARANTINED = "Of {} files in quarantine at the site, those whose table or header names the patient would be deleted."


class Command(BaseCommand):
    help = (
        "Erase a patient whose consent was withdrawn: films, labels, readings, scores and maps. Without --confirm it "
        "says what that means and changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "patient",
            help="UUID of the patient in Hilum, or - to read the hospital's identifier from standard input, so that it "
            "is in no history of commands",
        )
        parser.add_argument("--site", required=True, help="name of the site")
        parser.add_argument("--reason", default="", help="why, without names")
        parser.add_argument("--confirm", metavar="PSEUDONYM", help="the first 8 characters of the pseudonym")
        parser.add_argument("--fit-again", action="store_true", help="queue the fits of withdrawn models again")

    def handle(self, *args: Any, **options: Any) -> None:
        patient = self._patient(self._site(options["site"]), options["patient"])
        plan = plan_erasure(patient)
        if options["confirm"] is None:
            self._say(plan)
            return
        try:
            erasure = erase_patient(
                patient=patient, reason=options["reason"], confirmation=options["confirm"], actor=None
            )
        except CannotErase as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"Erased: {erasure.report['films']} films. What remains is {erasure.uuid}.")
        if nameless := erasure.report["nameless"]:
            self.stdout.write(
                f"{nameless} files in quarantine name no patient and stay; look at them, and delete those of this one."
            )
        if options["fit_again"]:
            for sentence in erased_films.fit_again(erasure, None):
                self.stdout.write(sentence)

    def _say(self, plan: ErasurePlan) -> None:
        lines = [
            f"{plan.films} films would be erased, and taken out of {len(plan.runs.scored)} scoring runs.",
            f"The folders of {len(plan.runs.deleted)} other runs would be deleted.",
            *(f"Withdrawn: {model.run.name}" for model in plan.runs.models),
            *(f"Handed out: {row['what']} {row['run']}, {row['who']}, {row['when']}" for row in plan.handed_out),
            *([f"{plan.copies} films of other patients have equal pixels, and stay."] if plan.copies else []),
            *([_QUARANTINED.format(plan.quarantined)] if plan.quarantined else []),
            *plan.obstacles,
            f"To do it, pass --reason and --confirm {confirmation_of(plan.patient)}. This cannot be undone.",
        ]
        self.stdout.write("\n".join(lines))

    def _site(self, name: str) -> Site:
        site = Site.objects.filter(name=name).first()
        if site is None:
            names = ", ".join(Site.objects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"There is no site {name!r}; existing sites: {names}.")
        return site

    def _patient(self, site: Site, text: str) -> Patient:
        patients = Patient.objects.filter(site=site).select_related("site")
        if text == "-":
            identifier = sys.stdin.readline().strip()
            patient = patients.filter(pseudonym=pseudonym(site_key(site), identifier)).first() if identifier else None
            if patient is None:
                raise CommandError(f"No patient of {site.name} has this identifier; check it, and the site.")
            return patient
        try:
            patient = patients.filter(uuid=UUID(text)).first()
        except ValueError:
            raise CommandError(f"{text[:40]!r} is no UUID of a patient; pass one, or - for the identifier.") from None
        if patient is None:
            raise CommandError(f"{site.name} has no patient {text}; check the UUID on the page of a film.")
        return patient
