"""The command line ``python -m analysis``; the work is done in analysis.studies.print_evaluation."""

from analysis.studies.print_evaluation import main

if __name__ == "__main__":
    raise SystemExit(main())
