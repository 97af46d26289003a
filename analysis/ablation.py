"""The command ``python -m analysis.ablation``; the work is done in analysis.studies.print_ablation."""

from analysis.studies.print_ablation import main

if __name__ == "__main__":
    raise SystemExit(main())
