"""Ablations, sweeps, bank studies and blind spots joined with labels; only `joining`, `bank_results` and `opening` use
the database."""
