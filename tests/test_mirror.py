"""Each module has a test file of its name in the same folders of `tests`, or an entry here that names its tests."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Any

import pytest

from tests.paths import ROOT

ROOMS = ("portal", "ml_engine", "analysis", "tools")

# module or pattern of modules -> why it has no test file of its name, and the files that test it instead
ELSEWHERE = {
    # Django's own files
    "*/apps.py": "Django loads it for every test of a page, such as tests/portal/views/test_frame.py",
    "*/urls.py": "tests/portal/test_strangers.py requests every URL",
    "portal/pages.py": "URLs of pages: tests/portal/test_strangers.py requests each",
    "portal/second_factor_pages.py": "URLs: tests/portal/views/test_second_factors.py",
    "portal/views/single_sign_on.py": "tests/portal/people/test_single_sign_on.py goes both ways",
    "portal/views/saml.py": "tests/portal/people/test_saml_assertions.py goes both ways",
    "*/views/downloads.py": "tables: tests/access/test_walk.py asks each URL",
    "portal/templatetags/figures.py": "tests/portal/project/test_content_policy.py renders it",
    "portal/api/session_authentication.py": "tests/portal/views/test_refused_forms.py asks the API",
    "portal/people/key_forms.py": "tests/portal/views/test_second_factors.py, tests/browser/test_second_factors.py",
    "portal/settings.py": "tests/test_project.py, in production too; tests/portal/project/test_environment.py",
    "portal/celery.py": "tests/ml_engine/runs/test_recovery.py runs a worker",
    "portal/project/bucket_storage.py": "options of a storage: tests/portal/intake/test_film_bucket.py uses it",
    "portal/wsgi.py": "tests/browser/test_whole_path.py starts gunicorn with it",
    "portal/models/*.py": "rows and constraints: tests/portal/labels/test_events.py, tests/portal/sets/test_splits.py",
    "portal/triggers.py": "changes refused: tests/portal/labels/test_events.py, tests/portal/sets/test_splits.py",
    "portal/tasks.py": "tests/portal/intake/test_zip_uploads.py",
    "ml_engine/models.py": "rows and constraints: tests/ml_engine/runs/test_lifecycle.py",
    "analysis/models.py": "rows: tests/analysis/reading/test_verdicts.py, tests/analysis/evaluation/test_looks.py",
    "ml_engine/admin.py": "tests/ml_engine/views/test_runs.py",
    "analysis/report/table_one_table.py": "tests/analysis/sections/test_table_one.py exports it",
    "analysis/api/label_exports.py": "tests/analysis/views/test_label_exports.py asks page and API for the same",
    "analysis/reading/exported_readings.py": "tests/analysis/views/test_label_exports.py",
    "analysis/management/commands/export_labels.py": "tests/analysis/views/test_label_exports.py",
    "analysis/report/head_tables.py": "tests/analysis/views/test_heads.py exports it",
    "analysis/studies/head_curve.py": "tests/analysis/views/test_heads.py draws and exports it",
    "analysis/views/head_proposals.py": "tests/analysis/reading/test_head_proposals.py requests its pages",
    "analysis/maps/head_maps.py": "tests/analysis/sections/test_semi_supervised.py draws them",
    "analysis/views/semi_supervised.py": "tests/analysis/sections/test_semi_supervised.py requests it",
    "ml_engine/boards/films.py": "tests/ml_engine/boards/test_canonicals.py draws and shows them",
    "ml_engine/runs/canonical_files.py": "tests/ml_engine/runs/test_run_bucket.py, views/test_boards.py",
    "ml_engine/runs/copies_here.py": "tests/ml_engine/runs/test_run_bucket.py",
    "ml_engine/runs/bucket_filling.py": "tests/ml_engine/runs/test_run_bucket.py",
    "ml_engine/runs/affine_decisions.py": "tests/ml_engine/boards/test_outcome.py",
    "ml_engine/forms/boards.py": "tests/ml_engine/views/test_boards.py fills it in",
    "ml_engine/views/board_data.py": "tests/ml_engine/views/test_boards.py reads it",
    "ml_engine/views/alignment_outcome.py": "tests/ml_engine/views/test_boards.py",
    "ml_engine/core/film/gray_scale.py": "tests/ml_engine/core/film/test_preprocess.py, which takes it from there",
    "ml_engine/core/head/limits.py": "a number: tests/ml_engine/core/head/test_confirmed_head.py",
    "ml_engine/runs/confirmed_reads.py": "tests/analysis/reading/test_confirmed_reads.py registers and asks",
    "ml_engine/runs/erased_films.py": "tests/analysis/evaluation/test_erasing.py",
    "ml_engine/runs/withdrawn.py": "tests/analysis/evaluation/test_erasing.py",
    "portal/intake/erased_patients.py": "tests/analysis/evaluation/test_erasing.py",
    "analysis/api/erasing.py": "tests/analysis/views/test_erasing.py",
    "analysis/management/commands/erase_patient.py": "tests/analysis/views/test_erasing.py",
    "portal/project/kept_conditions.py": "tests/portal/management/commands/test_doctor.py seeds each fault",
    "ml_engine/runs/run_conditions.py": "tests/portal/management/commands/test_doctor.py seeds each fault",
    "portal/project/shared_counts.py": "tests/portal/project/test_metrics.py counts in two processes",
    "ml_engine/runs/run_metrics.py": "tests/portal/project/test_metrics.py",
    "portal/backups/problems.py": "sentences that tests/portal/backups/test_restoring.py reads",
    "portal/backups/databases.py": "tests/portal/backups/test_restoring.py dumps and restores both kinds",
    "portal/intake/stored_files.py": "tests/portal/retention/test_collector.py stores and removes at once",
    "portal/management/commands/pseudonym_secret.py": "tests/portal/backups/test_escrow.py",
    "portal/management/commands/collect.py": "tests/portal/retention/test_collector.py",
    "portal/people/retired.py": "tests/portal/retention/test_retiring.py",
    "portal/views/retiring.py": "tests/portal/retention/test_retiring.py requests the pages",
    "portal/api/retiring.py": "tests/portal/retention/test_retiring.py asks it",
    "portal/backups/named_files.py": "tests/portal/backups/test_making.py loses them",
    "portal/management/commands/backup.py": "tests/portal/backups/test_making.py",
    "portal/management/commands/restore.py": "tests/portal/backups/test_restoring.py",
    "ml_engine/runs/restored_runs.py": "tests/portal/backups/test_restoring.py restores runs",
    "portal/management/commands/application_role.py": "tests/portal/project/test_application_role.py",
    "portal/management/commands/audit.py": "tests/portal/people/test_audit_chain.py",
    "ml_engine/api/burned_in.py": "tests/ml_engine/views/test_burned_in.py asks it",
    "ml_engine/runs/text_review.py": "tests/ml_engine/views/test_burned_in.py decides by it",
    "portal/api/deidentification.py": "tests/portal/views/test_deidentification.py asks it",
    "portal/management/commands/find_burned_in_text.py": "tests/portal/imaging/test_burned_in.py",
    "portal/management/commands/further_columns.py": "tests/portal/intake/test_kept_columns.py",
    "ml_engine/runs/head_folder.py": "tests/ml_engine/runs/test_head_requests.py reads the files",
    "ml_engine/forms/heads.py": "tests/ml_engine/runs/test_head_requests.py fills it in",
    "ml_engine/command/embed.py": "tests/ml_engine/engine/stages/test_embedding.py runs it",
    "ml_engine/engine/embedding_folder.py": "tests/ml_engine/engine/stages/test_embedding.py opens it",
    "ml_engine/runs/embedding_maps.py": "tests/ml_engine/runs/test_embedding_requests.py opens a finished map",
    "ml_engine/forms/embeddings.py": "tests/ml_engine/runs/test_embedding_requests.py fills it in",
    "ml_engine/api/embeddings.py": "tests/ml_engine/runs/test_embedding_requests.py",
    "portal/views/chosen_films.py": "tests/portal/sets/test_chosen_films.py",
    "portal/api/chosen_films.py": "tests/portal/sets/test_chosen_films.py",
    "analysis/api/embedding_maps.py": "tests/analysis/views/test_embedding_maps.py",
    "analysis/evaluation/shown_scores.py": "tests/analysis/views/test_embedding_maps.py colours by scores",
    "analysis/sections/map_colours.py": "tests/analysis/views/test_embedding_maps.py",
    "ml_engine/api/heads.py": "tests/ml_engine/runs/test_head_requests.py",
    "ml_engine/forms/setting_fields.py": "tests/ml_engine/views/test_runs.py requests the form",
    "ml_engine/views/forecasts.py": "tests/ml_engine/runs/test_run_forecasts.py requests it",
    "ml_engine/views/heads.py": "tests/ml_engine/runs/test_head_requests.py",
    "analysis/tasks.py": "tests/analysis/evaluation/test_set_evaluation.py calls it",
    "analysis/api/set_evaluations.py": "tests/analysis/views/test_set_evaluation.py asks it",
    "analysis/evaluation/set_progress.py": "tests/analysis/evaluation/test_set_evaluation.py",
    "analysis/admin.py": "tests/analysis/views/test_results.py",
    "ml_engine/__main__.py": "tests/test_project.py runs it; its work: tests/ml_engine/command/test_main.py",
    "ml_engine/command/run.py": "tests/ml_engine/engine/test_run_folder.py starts it",
    "ml_engine/command/merge.py": "tests/ml_engine/engine/test_merge_shards.py",
    "ml_engine/engine/joined_scores.py": "tests/ml_engine/engine/test_merge_shards.py joins them",
    "analysis/ablation.py": "the name of a documented command: tests/analysis/views/test_studies.py",
    "analysis/__main__.py": "the name of a documented command: tests/analysis/studies/test_evaluate_folder.py",
    "analysis/sweep.py": "the name of a documented command: tests/analysis/views/test_studies.py",
    # portal
    "portal/views/manual_pages.py": "tests/portal/views/test_manual.py",
    "portal/views/accounts.py": "tests/portal/people/test_accounts.py, tests/portal/views/test_people.py",
    "portal/api/declared_statuses.py": "tests/access/test_schema.py",
    "portal/api/film_lists.py": "tests/portal/views/test_film_lists.py asks page and API for the same",
    "analysis/api/search.py": "tests/analysis/views/test_search.py",
    "portal/api/filters.py": "tests/portal/people/test_accepted_query.py",
    "portal/api/renderers.py": "tests/portal/api/test_split_parts.py, tests/analysis/report/test_figure_tables.py",
    "portal/api/pagination.py": "tests/portal/api/test_views.py requests pages",
    "portal/api/serializers.py": "tests/portal/api/test_views.py",
    "portal/forms.py": "tests/portal/views/test_datasets.py and tests/portal/views/test_splits.py fill them in",
    "portal/people/audit.py": "the test of each action checks its entry, such as tests/portal/labels/test_events.py",
    "portal/people/signed_in.py": "types of a request, used by every page: tests/portal/views/test_frame.py",
    "portal/project/static_storage.py": "tests/test_project.py collects the static files",
    "portal/project/template_context.py": "the frame of every page: tests/portal/views/test_frame.py",
    "portal/intake/left_out.py": "tests/portal/intake/sources/test_padchest.py counts and reads the sentences",
    "portal/intake/sources/source.py": "tests/portal/intake/sources/test_importing.py, and the test of each source",
    "portal/intake/sources/registry.py": "tests/portal/intake/sources/test_importing.py",
    "portal/intake/sources/choice.py": "tests/portal/intake/sources/test_importing.py",
    "portal/intake/sources/server_folders.py": "tests/portal/intake/sources/test_importing.py",
    "portal/intake/sources/numbers.py": "tests/portal/intake/sources/test_rsna.py and test_nih.py",
    "portal/intake/sources/reported_findings.py": "tests/portal/intake/sources/test_chexpert.py and test_mimic.py",
    "portal/intake/csv_columns.py": "tests/portal/intake/test_csv_labels.py",
    "portal/intake/label_words.py": "tests/portal/intake/mapping/test_guesses.py",
    "portal/intake/zip_tables.py": "tests/portal/intake/test_zip_uploads.py",
    "portal/intake/entries.py": "tests/portal/intake/test_films.py, tests/portal/intake/test_zip_uploads.py",
    "portal/views/pacs.py": "tests/portal/dicomweb/test_pacs_imports.py requests the page",
    "portal/api/pacs.py": "tests/portal/dicomweb/test_pacs_imports.py",
    "portal/management/commands/import_pacs.py": "tests/portal/dicomweb/test_pacs_imports.py",
    "tools/orthanc.py": "tests/portal/dicomweb/test_client.py asks the Orthanc that it finds",
    "tools/nginx.py": "tests/shape/test_whole_shape.py starts the nginx that it finds",
    "tools/install_bundle.py": "tests/tools/test_bundle.py installs with it",
    "portal/api/usage.py": "tests/portal/intake/test_quotas.py",
    "portal/views/dataset_facts.py": "tests/portal/sets/test_approvals.py requests the page",
    "portal/api/dataset_facts.py": "tests/portal/sets/test_approvals.py",
    "portal/management/commands/change_dataset.py": "tests/portal/sets/test_approvals.py",
    "portal/intake/quarantine_files.py": "tests/portal/intake/test_quarantine.py",
    "portal/intake/import_plans.py": "tests/portal/intake/test_quarantine.py",
    "portal/intake/planned_imports.py": "tests/portal/intake/test_quarantine.py",
    "portal/intake/film_files.py": "tests/portal/intake/test_films.py",
    "portal/intake/bucket_objects.py": "tests/portal/intake/test_film_bucket.py, and runs/test_run_bucket.py",
    "portal/management/commands/status.py": "tests/ml_engine/management/commands/test_start.py",
    "portal/management/commands/stop.py": "tests/ml_engine/management/commands/test_start.py",
    "portal/management/commands/export_parts.py": "tests/portal/sets/test_parts_csv.py",
    "portal/management/commands/find_duplicates.py": "tests/portal/intake/test_fingerprints.py",
    "portal/intake/film_storage.py": "tests/portal/intake/test_films.py",
    "portal/intake/import_report.py": "tests/portal/intake/test_films.py reads the sentences of each import",
    "portal/sets/label_export.py": "tests/portal/sets/test_label_files.py, tests/analysis/views/test_label_exports.py",
    "portal/sets/bulk_insert.py": "tests/portal/sets/test_cohorts.py, tests/portal/views/test_queues.py",
    "portal/sets/film_pairs.py": "tests/portal/views/test_duplicates.py",
    "portal/sets/screening_queues.py": "tests/portal/views/test_queues.py",
    "portal/sets/sealing.py": "tests/analysis/evaluation/test_analysis_plan.py",
    "portal/imaging/grey_colour.py": "tests/portal/imaging/test_repaired_dicom.py",
    "portal/imaging/codestream_header.py": "tests/portal/imaging/test_repaired_dicom.py",
    "portal/imaging/codestreams.py": "tests/portal/imaging/test_malformed_dicom.py, tests/portal/imaging/test_dicom.py",
    "portal/imaging/dicom_display.py": "tests/portal/imaging/test_dicom.py",
    "portal/imaging/dicom_file.py": "tests/portal/imaging/test_dicom.py, tests/portal/imaging/test_malformed_dicom.py",
    "portal/imaging/errors.py": "an exception, raised in tests/portal/imaging/test_malformed_dicom.py",
    "portal/imaging/read_film.py": "tests/portal/imaging/test_dicom.py, tests/portal/imaging/test_raster.py",
    "portal/imaging/phantom/*.py": (
        "parts of a drawing and its file: tests/portal/imaging/phantom/test_phantom.py and "
        "tests/portal/imaging/phantom/test_demo_set.py"
    ),
    # the method
    "ml_engine/core/errors.py": "tests/ml_engine/test_sentences.py requires a test of every message",
    "ml_engine/core/alignment/canonical.py": "tests/ml_engine/core/alignment/test_search.py",
    "ml_engine/core/alignment/checkpoint.py": "tests/ml_engine/core/alignment/test_fit.py continues from a checkpoint",
    "ml_engine/core/alignment/columns.py": "names: tests/analysis/sections/test_alignment_quality.py",
    "ml_engine/core/alignment/model.py": "tests/ml_engine/core/alignment/test_fit.py",
    "ml_engine/core/alignment/quality.py": "tests/ml_engine/engine/test_run_folder.py measures each film's alignment",
    "ml_engine/core/bank/changes.py": "tests/ml_engine/engine/test_grow_and_forget.py",
    "ml_engine/core/bank/detectors.py": "tests/ml_engine/engine/test_baselines.py fits each",
    # the engine and its commands
    "ml_engine/command/ablation.py": "tests/ml_engine/engine/stages/test_ablation.py",
    "ml_engine/command/banks.py": "tests/ml_engine/engine/stages/test_bank_study.py",
    "ml_engine/command/explain.py": "tests/ml_engine/command/test_main.py",
    "ml_engine/command/fit.py": "tests/ml_engine/command/test_main.py",
    "ml_engine/command/grow_and_forget.py": "tests/ml_engine/engine/test_grow_and_forget.py",
    "ml_engine/command/prepare_run.py": "tests/ml_engine/command/test_main.py",
    "ml_engine/command/options.py": "tests/ml_engine/command/test_main.py",
    "ml_engine/command/repeat.py": "tests/ml_engine/engine/test_repeat.py",
    "ml_engine/command/score.py": "tests/ml_engine/command/test_main.py",
    "ml_engine/command/serve.py": "tests/ml_engine/engine/test_serve.py runs it",
    "ml_engine/command/sweep.py": "tests/ml_engine/engine/stages/test_sweep.py",
    "ml_engine/engine/approximate_banks.py": "tests/ml_engine/engine/test_grow_and_forget.py",
    "ml_engine/engine/archive.py": "tests/ml_engine/engine/test_repeat.py, tests/analysis/views/test_archive.py",
    "ml_engine/engine/explain.py": "tests/ml_engine/command/test_main.py",
    "ml_engine/engine/heatmap.py": "tests/ml_engine/engine/test_scored_folder.py",
    "ml_engine/engine/one_film.py": "tests/ml_engine/command/test_main.py explains one film",
    "ml_engine/engine/outcome.py": "values: tests/ml_engine/command/test_console.py",
    "ml_engine/engine/stages/changed_films.py": "tests/ml_engine/engine/stages/test_controls.py",
    "ml_engine/engine/stages/experiments.py": "tests/ml_engine/engine/stages/test_ablation.py",
    "ml_engine/engine/stages/fit_alignment.py": "tests/ml_engine/engine/test_run_folder.py",
    "ml_engine/engine/stages/fit_detector.py": "tests/ml_engine/engine/test_run_folder.py",
    "ml_engine/engine/stages/landmarks.py": "tests/ml_engine/engine/test_landmarks.py",
    "ml_engine/engine/stages/measure_alignment.py": "tests/ml_engine/engine/test_run_folder.py",
    "ml_engine/engine/stages/plans.py": "tests/ml_engine/engine/stages/test_sweep.py",
    "ml_engine/engine/stages/read_and_align.py": "tests/ml_engine/engine/test_run_folder.py",
    "ml_engine/engine/stages/run_context.py": "tests/ml_engine/engine/test_run_folder.py",
    "ml_engine/engine/stages/runner.py": "tests/ml_engine/engine/test_run_folder.py",
    "ml_engine/engine/stages/score.py": "tests/ml_engine/engine/test_run_folder.py",
    # runs of the portal
    "ml_engine/api/suspects.py": "tests/ml_engine/runs/test_suspect_normals.py",
    "ml_engine/api/bank_studies.py": "tests/ml_engine/runs/test_bank_requests.py",
    "ml_engine/api/serializers.py": "tests/ml_engine/api/test_views.py",
    "ml_engine/api/studies.py": "tests/ml_engine/runs/test_study_requests.py",
    "ml_engine/forms/banks.py": "tests/ml_engine/runs/test_bank_requests.py",
    "ml_engine/forms/runs.py": "tests/ml_engine/views/test_runs.py",
    "ml_engine/forms/studies.py": "tests/ml_engine/runs/test_study_requests.py",
    "ml_engine/management/commands/request_run.py": "tests/ml_engine/test_tasks.py",
    "ml_engine/management/commands/work_run.py": "tests/ml_engine/test_tasks.py",
    "ml_engine/runs/engine_process.py": "tests/ml_engine/runs/test_supervisor.py",
    "ml_engine/runs/nearest_normals.py": "tests/analysis/views/test_nearest_normals.py",
    "ml_engine/runs/requests.py": "tests/ml_engine/views/test_runs.py, tests/ml_engine/api/test_views.py",
    "ml_engine/runs/store_results.py": "tests/ml_engine/runs/test_supervisor.py",
    "ml_engine/runs/write_folder.py": "tests/ml_engine/runs/test_supervisor.py",
    "ml_engine/views/pictures.py": "tests/ml_engine/views/test_runs.py",
    "ml_engine/views/studies.py": "tests/ml_engine/runs/test_study_requests.py",
    # analysis
    "analysis/evaluation/disk_cache.py": "tests/analysis/sections/test_precision.py",
    "analysis/evaluation/run_results.py": "tests/analysis/evaluation/test_evaluate.py",
    "analysis/figures/*.py": "tests/analysis/figures/test_figures.py draws all figures by the same rules",
    "analysis/management/commands/demo.py": (
        "minutes of drawing and fitting; its parts: tests/portal/imaging/phantom/test_demo_set.py, "
        "tests/browser/test_whole_path.py, tests/tools/test_bootstrap.py"
    ),
    "analysis/maps/heatmap_picture.py": "tests/analysis/maps/test_dicom_export.py",
    "analysis/maps/heatmaps.py": "tests/analysis/views/test_results.py",
    "analysis/report/drawings.py": "tests/analysis/report/test_document.py",
    "analysis/report/gathering.py": "tests/analysis/report/test_document.py",
    "analysis/report/paper.py": "tests/analysis/report/test_document.py",
    "analysis/report/example_films.py": "tests/analysis/report/test_document.py",
    "analysis/report/references.py": "tests/analysis/report/test_document.py",
    "analysis/report/standards.py": "tests/analysis/report/test_document.py",
    "analysis/report/trivial_tables.py": "tests/analysis/report/test_document.py",
    "analysis/report/words.py": "tests/analysis/report/test_document.py",
    "analysis/sections/attributes.py": "tests/analysis/sections/test_breakdown.py",
    "analysis/sections/data_flow.py": "tests/analysis/sections/test_table_one.py",
    "analysis/sections/evaluation_figures.py": "tests/analysis/views/test_results.py",
    "analysis/sections/marked_lesions.py": "tests/analysis/sections/test_localisation.py",
    "analysis/report/score_table.py": "tests/analysis/views/test_results.py",
    "analysis/sections/wrong_reasons.py": "tests/analysis/sections/test_galleries.py",
    "analysis/studies/ablation.py": "tests/analysis/views/test_studies.py",
    "analysis/studies/ablation_figures.py": "tests/analysis/views/test_studies.py",
    "analysis/studies/bank_figures.py": "tests/analysis/studies/test_bank.py",
    "analysis/studies/bank_results.py": "tests/analysis/studies/test_bank.py",
    "analysis/studies/evaluation_words.py": "tests/analysis/studies/test_evaluate_folder.py prints them",
    "analysis/studies/print_evaluation.py": "tests/analysis/studies/test_evaluate_folder.py runs it",
    "analysis/studies/joining.py": "tests/analysis/views/test_studies.py",
    "analysis/studies/opening.py": "tests/analysis/views/test_studies.py, tests/analysis/studies/test_bank.py",
    "analysis/studies/print_ablation.py": "tests/ml_engine/engine/stages/test_ablation.py",
    "analysis/studies/print_sweep.py": "tests/ml_engine/engine/stages/test_sweep.py",
    "analysis/studies/segmentation.py": "tests/analysis/views/test_studies.py",
    "analysis/studies/sweep.py": "tests/analysis/views/test_studies.py",
    "analysis/studies/sweep_figures.py": "tests/analysis/views/test_studies.py",
    "analysis/studies/study_json.py": "tests/analysis/views/test_studies.py",
    # pages and API endpoints that only delegate: tested with their contents
    "analysis/api/adjudications.py": "tests/analysis/views/test_adjudications.py",
    "analysis/api/bank_studies.py": "tests/analysis/studies/test_bank.py",
    "analysis/api/drift.py": "tests/analysis/sections/test_drift.py",
    "analysis/api/study_size.py": "tests/analysis/sections/test_study_size.py",
    "analysis/api/films.py": "tests/analysis/views/test_films_by_api.py",
    "analysis/api/weights.py": "tests/analysis/views/test_films_by_api.py",
    "analysis/api/external.py": "tests/analysis/evaluation/test_external.py",
    "analysis/sections/external.py": "tests/analysis/evaluation/test_external.py",
    "analysis/views/external.py": "tests/analysis/evaluation/test_external.py",
    "analysis/report/risk_tables.py": "tests/analysis/sections/test_recalibration.py",
    "analysis/report/population_tables.py":
        "tests/analysis/sections/test_drift.py, tests/analysis/evaluation/test_external.py",
    "analysis/views/drift.py": "tests/analysis/sections/test_drift.py",
    "analysis/views/recalibration.py": "tests/analysis/sections/test_recalibration.py",
    "analysis/views/study_size.py": "tests/analysis/sections/test_study_size.py",
    "analysis/api/double_reading.py": "tests/analysis/views/test_double_reading.py",
    "analysis/api/dicom.py": "tests/analysis/maps/test_dicom_export.py",
    "analysis/api/exports.py": "tests/analysis/report/test_figure_tables.py, tests/analysis/report/test_document.py",
    "analysis/api/one_run.py": "tests/analysis/sections/test_precision.py, tests/analysis/sections/test_galleries.py",
    "analysis/api/planning.py": "tests/analysis/evaluation/test_analysis_plan.py",
    "analysis/api/errors.py": "tests/analysis/studies/test_bank.py, tests/analysis/views/test_studies.py",
    "analysis/api/studies.py": "tests/analysis/views/test_studies.py",
    "analysis/api/views.py": "tests/analysis/views/test_results.py, tests/analysis/evaluation/test_operating_points.py",
    "analysis/api/reader_studies.py": "tests/analysis/views/test_reader_studies.py",
    "analysis/api/worklists.py": "tests/analysis/views/test_reading.py",
    "analysis/views/aligned.py": "tests/analysis/sections/test_alignment_quality.py",
    "analysis/views/query_parameters.py": "page parameters: tests/analysis/evaluation/test_operating_points.py",
    "analysis/views/bank_studies.py": "tests/analysis/studies/test_bank.py",
    "analysis/views/breakdown.py": "tests/analysis/sections/test_breakdown.py",
    "analysis/views/changed_films.py": "tests/analysis/sections/test_comparison.py",
    "analysis/views/comparison.py": "tests/analysis/sections/test_comparison.py",
    "analysis/views/dicom.py": "tests/analysis/maps/test_dicom_export.py",
    "analysis/views/escalations.py": "tests/analysis/views/test_reading.py",
    "analysis/views/exports.py": "tests/analysis/report/test_document.py, tests/analysis/report/test_figure_tables.py",
    "analysis/views/film.py": "tests/analysis/views/test_results.py, tests/analysis/views/test_nearest_normals.py",
    "analysis/views/galleries.py": "tests/analysis/sections/test_galleries.py",
    "analysis/views/localising.py": "tests/analysis/sections/test_localisation.py",
    "analysis/views/operating.py": "tests/analysis/evaluation/test_operating_points.py",
    "analysis/views/planning.py": "tests/analysis/evaluation/test_analysis_plan.py",
    "analysis/views/precision.py": "tests/analysis/sections/test_precision.py",
    "analysis/views/proposals.py": "tests/analysis/reading/test_normal_proposals.py",
    "analysis/views/split_data.py": "tests/analysis/sections/test_table_one.py",
    "analysis/views/stard_flow.py": "tests/analysis/sections/test_stard_flow.py requests it",
    "analysis/views/study_film.py": "tests/analysis/views/test_studies.py",
    "analysis/views/worklists.py": "tests/analysis/views/test_reading.py",
}  # fmt: skip

# tests of several modules, and what they cover
WHOLE_PATHS = {
    "tests/portal/intake/test_identifiers.py": "what an import of files full of identifiers leaves",
    "tests/analysis/test_identifiers_out.py": "what leaves Hilum of films full of identifiers",
    "tests/gpu/test_gpu.py": "what holds on a GPU as on the processor, in coreset, search, features and runs",
    "tests/ml_engine/core/bank/test_exactness.py": "scores and maps against float64, by every search",
    "tests/ml_engine/core/test_pretended_gpu.py": "that no tensor of the processor meets those of a GPU, without one",
    "tests/access/*.py": "every URL, and what is withheld from whom",
    "tests/portal/sets/test_mined_labels.py": "labels that software mined from reports, from the import into a split",
    "tests/shape/*.py": "the services of docker-compose.yml together",
    "tests/fuzz/*.py": "random inputs for reader and tables",
    "tests/browser/*.py": "pages and the viewer's scripts in a real browser",
    "tests/test_*.py": "the project as a whole",
    "tests/analysis/figures/test_figures.py": "the rules for every figure",
    "tests/analysis/reading/test_normal_proposals_engine.py": "from films to the next normal set, with the engine",
    "tests/ml_engine/engine/test_memory.py": "the memory of a whole fit in a fresh process",
    "tests/analysis/statistics/test_coverage.py": "whether intervals cover, by simulation",
    "tests/analysis/views/test_films_by_api.py": "the API beside the pages of a film",
    "tests/analysis/views/test_nearest_normals.py": "the page, the run's bank and the engine's answer",
    "tests/ml_engine/command/test_offline.py": "fit and score with ImageNet weights and no network",
    "tests/ml_engine/core/test_properties.py": "properties of every film and every detector",
    "tests/ml_engine/engine/test_baselines.py": "each published detector from fit to score",
    "tests/ml_engine/engine/test_grow_and_forget_again.py": "chains of changes of one detector",
    "tests/ml_engine/runs/test_grown_scores.py": "a scoring run whose bank grows first, against the command",
    "tests/ml_engine/runs/test_recovery.py": "kill -9 in each kind of run",
    "tests/ml_engine/test_confirmed_phantoms.py": "a semi-supervised head on phantoms, from fit to score",
    "tests/ml_engine/test_phantoms.py": "the whole engine on films with known truth",
    "tests/ml_engine/test_sentences.py": "every message of a refusal",
    "tests/ml_engine/views/test_detector_page.py": "a page of a run",
    "tests/ml_engine/views/test_report_pages.py": "the report of a fit from its writer to the page of the run",
    "tests/portal/imaging/test_malformed_corpus.py": "thousands of broken files through every decoder and an import",
    "tests/portal/imaging/test_malformed_dicom.py": "hostile files through every decoder",
    "tests/portal/imaging/test_repaired_dicom.py": "good films whose files break a rule, and their warnings",
    "tests/portal/intake/test_cases.py": "reported inputs, from file to film, with the tests that make their own",
    "tests/portal/imaging/test_two_decoders.py": "lossless films by a second decoder",
    "tests/portal/intake/test_hostile_archives.py": "zips that lie, from upload to film or refusal",
    "tests/portal/intake/test_real_data.py": "real films from import to screen",
    "tests/portal/test_strangers.py": "every URL",
    "tests/upgrade/test_upgrade.py": "data of an earlier release, opened by this release",
}


def modules() -> set[str]:
    files = {path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    return {path for path in files if not path.endswith("/__init__.py") and "/migrations/" not in path}


def files_of_tests() -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}


def own_test(module: str) -> str:
    folder, _, name = module.rpartition("/")
    return f"tests/{folder}/test_{name.lstrip('_')}"


def find_gaps(
    modules: Iterable[str], tests: Iterable[str], elsewhere: dict[str, str], paths: dict[str, str]
) -> list[str]:
    """A message for each module or test without an entry, and for each entry that is not needed."""
    tests = set(tests)
    untested = [module for module in modules if own_test(module) not in tests]
    unmirrored = tests - {own_test(module) for module in modules}
    sentences = [
        f"{module} has neither {own_test(module)} nor a reason"
        for module in untested
        if not any(fnmatch(module, pattern) for pattern in elsewhere)
    ]
    sentences += [
        f"the reason for {pattern} is not needed: no such module is without a test of its name"
        for pattern in elsewhere
        if not any(fnmatch(module, pattern) for module in untested)
    ]
    for pattern, reason in elsewhere.items():
        files = re.findall(r"tests/[\w/]+\.py", reason)
        sentences += [f"the reason for {pattern} names no test"] * (not files)
        missing = [test for test in files if test not in tests]
        sentences += [f"the reason for {pattern} names {test}, which does not exist" for test in missing]
    sentences += [
        f"{test} has the name of no module; move it, or add what it covers to WHOLE_PATHS"
        for test in unmirrored
        if not any(fnmatch(test, pattern) for pattern in paths)
    ]
    sentences += [
        f"{pattern} is not needed among the whole paths"
        for pattern in paths
        if not any(fnmatch(test, pattern) for test in unmirrored)
    ]
    return sorted(sentences)


def test_each_module_has_a_test_of_its_name_or_a_reason() -> None:
    gaps = find_gaps(modules(), files_of_tests(), ELSEWHERE, WHOLE_PATHS)
    assert not gaps, "\n".join(gaps)


GOOD: dict[str, Any] = {
    "modules": ["portal/a.py", "portal/b.py"],
    "tests": ["tests/portal/test_a.py", "tests/portal/test_all.py"],
    "elsewhere": {"portal/b.py": "tests/portal/test_a.py"},
    "paths": {"tests/portal/test_all.py": "everything"},
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"elsewhere": {}}, "portal/b.py has neither tests/portal/test_b.py nor a reason"),
        ({"modules": ["portal/a.py"]}, "the reason for portal/b.py is not needed"),
        ({"elsewhere": {"portal/?.py": "too short to test"}}, "the reason for portal/?.py names no test"),
        (
            {"elsewhere": {"portal/b.py": "tests/portal/test_z.py"}},
            "names tests/portal/test_z.py, which does not exist",
        ),
        ({"paths": {}}, "tests/portal/test_all.py has the name of no module"),
        ({"tests": ["tests/portal/test_a.py"]}, "tests/portal/test_all.py is not needed among the whole paths"),
        (
            {"tests": ["tests/portal/test_a.py", "tests/portal/test_all.py", "tests/portal/test_b.py"]},
            "the reason for portal/b.py is not needed",
        ),
    ],
)
def test_each_kind_of_gap_is_detected(change: dict[str, Any], sentence: str) -> None:
    assert find_gaps(**GOOD) == []
    (message,) = find_gaps(**GOOD | change)
    assert sentence in message
