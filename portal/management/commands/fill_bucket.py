from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal.intake import bucket_objects, film_bucket, film_files
from portal.intake.film_bucket import BucketAway
from portal.models import Image


class Command(BaseCommand):
    help = (
        "Put each film of the data folder that the bucket of HILUM_FILM_BUCKET lacks into it, and with "
        "HILUM_RUNS_IN_BUCKET each run: once where a bucket is new, and after a restore. It may be ended and started "
        "again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not film_bucket.is_used():
            raise CommandError("HILUM_FILM_BUCKET is not set, so there is no bucket to fill.")
        try:
            there = film_bucket.objects()
            hashes = set(Image.objects.values_list("pixel_sha256", flat=True).distinct())
            lacking = sorted(hashes - there.keys())
            here = [sha256 for sha256 in lacking if film_files.pixel_path(sha256).exists()]
            for number, sha256 in enumerate(here, 1):
                film_bucket.keep(sha256, film_files.pixel_path(sha256))
                if number % 1000 == 0:
                    self.stdout.write(f"{number} of {len(here)} films")
            others = bucket_objects.fill_more() if settings.RUNS_IN_BUCKET else []
        except BucketAway as away:
            raise CommandError(f"{away} Start the command again: it goes on from there.") from away
        self.stdout.write(
            f"{len(here)} put into the bucket, {len(hashes) - len(lacking)} were there, {len(lacking) - len(here)} "
            "missing in the data folder too."
        )
        for one in others:
            self.stdout.write(
                f"{one.what}: {one.put} put into the bucket, {one.there} were there, {one.missing} have files that are "
                "missing in the data folder too."
            )
        if any(one.missing for one in others):
            raise CommandError(
                "Runs are missing: restore their folders from a backup, then start the command again. Where machines "
                "have data folders of their own, start it on each."
            )
        if len(here) < len(lacking):
            raise CommandError("Films are missing: restore them from a backup, then start the command again.")
