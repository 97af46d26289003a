"""Runs of many cells joined with labels; pure but for `joining`, which asks the database."""
