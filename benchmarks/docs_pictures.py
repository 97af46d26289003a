"""Draw the pictures of docs/ that show the quarantine page and the page of a PACS: phantoms, and nothing else.

    python -m benchmarks.docs_pictures

Writes docs/images/quarantine.png and docs/images/pacs.png. Starts the portal on a database of its own, imports files
that are no films, fills an Orthanc (tools/orthanc.py installs it) with phantoms, and opens both pages in Chromium.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image as PillowImage
from playwright.sync_api import Page, sync_playwright

from benchmarks.database import throw_away_portal
from benchmarks.web import gunicorn
from portal.imaging.phantom import make_phantom
from portal.imaging.phantom.dicom_file import Header, write_dicom
from tests.portal.dicomweb.pacs import PASSWORD as PACS_PASSWORD
from tests.portal.dicomweb.pacs import running_pacs
from tools.browser import find_chromium

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PASSWORD = "a long enough one"
SIDE = 512
STUDIES = 6


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with running_pacs() as pacs, throw_away_portal() as folder:
        films = folder / "phantoms"
        films.mkdir()
        pacs.store(*(study(films / f"{number}.dcm", number) for number in range(1, STUDIES + 1)))
        listed = [
            {"name": "ward", "url": pacs.target.url, "user": pacs.target.user, "password_variable": "WARD_PASSWORD"}
        ]
        (folder / "pacs.json").write_text(json.dumps(listed))
        os.environ |= {"HILUM_PACS_FILE": str(folder / "pacs.json"), "WARD_PASSWORD": PACS_PASSWORD}
        dataset = quarantined(folder / "sent")
        with gunicorn() as address, sync_playwright() as playwright:
            root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses root
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--disable-gpu", *root])
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            log_in(page, address)
            draw_quarantine(page, f"{address}/datasets/{dataset.uuid}/quarantine/")
            draw_pacs(page, f"{address}/datasets/{dataset.uuid}/pacs/")
            browser.close()


def study(path: Path, number: int) -> Path:
    """A phantom as the only film of a study, of the 10th of November 2026 and the days after."""
    phantom = make_phantom(seed=number, size=SIDE)
    header = Header(f"picture {number}", f"PHANTOM-{number:04}", number, "DX" if number % 3 else "CR", is_rle=False)
    write_dicom(path, phantom, header)
    with pydicom.dcmread(path) as film:
        film.StudyDate = f"202611{9 + number:02}"
        film.save_as(path)
    return path


def quarantined(folder: Path) -> Any:
    """A dataset with files in quarantine: phantoms in colour, as CT and cut off, and a file that is no picture."""
    from portal.intake.csv_labels import read_labels
    from portal.intake.entries import entries_of_folder
    from portal.intake.films import import_entries
    from portal.intake.import_report import ImportReport
    from portal.models import Dataset, Membership, Role, Site, Upload, User

    site = Site.objects.create(name="Seoul")
    person = User.objects.create_user("kim", password=PASSWORD)
    for role in (Role.CURATOR, Role.MANAGER):
        Membership.objects.create(user=person, site=site, role=role)
    dataset = Dataset.objects.create(site=site, name="Normals")
    folder.mkdir()
    gray = make_phantom(seed=21, size=SIDE).pixels
    bright = (gray / gray.max() * 255).astype(np.uint8)
    PillowImage.fromarray(np.dstack([bright, bright // 2, bright // 4])).save(folder / "film-0021.png")
    with (folder / "labels.csv").open("w", newline="") as table:
        csv.writer(table).writerows([["filename", "label"], ["film-0021.png", "normal"]])
    report = ImportReport()
    rows = read_labels(folder / "labels.csv")
    import_entries(
        upload=Upload.objects.create(dataset=dataset, uploaded_by=person),
        entries=entries_of_folder(folder, rows, None, report),
        report=report,
        actor=person,
    )
    for name in ("film-0021.png", "labels.csv"):
        (folder / name).unlink()
    with pydicom.dcmread(study(folder / "ct.dcm", 22)) as film:
        film.Modality = "CT"
        film.save_as(folder / "ct.dcm")
    cut = study(folder / "cut.dcm", 23)
    cut.write_bytes(cut.read_bytes()[: SIDE * SIDE])
    (folder / "notes.dcm").write_bytes(b"No film. " * 40)
    report = ImportReport()
    import_entries(
        upload=Upload.objects.create(dataset=dataset, uploaded_by=person),
        entries=entries_of_folder(folder, None, None, report),
        report=report,
        actor=person,
    )
    return dataset


def log_in(page: Page, address: str) -> None:
    page.goto(f"{address}/accounts/login/")
    page.locator("[name=login]").fill("kim")
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("main form button").first.click()
    page.wait_for_url("**/datasets/")


def draw_quarantine(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_function("() => [...document.querySelectorAll('tbody img')].every((one) => one.naturalWidth > 0)")
    page.screenshot(path=IMAGES / "quarantine.png")


def draw_pacs(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_label("First day").fill("2026-11-10")
    page.get_by_label("Last day").fill("2026-11-30")
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator("tbody tr").nth(STUDIES - 1).wait_for()
    page.screenshot(path=IMAGES / "pacs.png")


if __name__ == "__main__":
    main()
