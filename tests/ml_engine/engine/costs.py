"""Unit costs of a machine that does not exist, and the file of this one."""

from __future__ import annotations

from ml_engine.engine.unit_costs import AligningCosts, BackboneCosts, BankCosts, ProcessCosts, UnitCosts

COSTS = UnitCosts(
    process=ProcessCosts(start_seconds=3.0, memory_mib=500.0, pixel_seconds=0.02, film_seconds=0.001),
    backbone=BackboneCosts(film_seconds=0.05, dimensions=100, memory_mib=200.0),
    bank=BankCosts(
        exact_row=1e-8,
        exact_pick=0.0,
        exact_product=1e-10,
        projected_row=1e-10,
        projected_pick=0.0,
        projected_product=1e-10,
        radius_row=1e-9,
        radius_product=1e-10,
        search_call=1e-3,
        search_row=1e-7,
        search_product=1e-10,
    ),
    aligning=AligningCosts(place_seconds=0.03, round_seconds=0.04, rest_seconds=0.1),
)
