"""The command ``python -m analysis.sweep``; the work is done in analysis.studies.print_sweep."""

from analysis.studies.print_sweep import main

if __name__ == "__main__":
    raise SystemExit(main())
