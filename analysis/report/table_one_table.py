"""Table 1 of a split as a table to export: its texts as they are printed on the page."""

from __future__ import annotations

from analysis.report.csv_tables import Table
from analysis.sections.table_one import AGE, TableOne, compared, differences_in_words, in_words


def table_one_table(table: TableOne) -> Table:
    """A column for each group, and behind them one for each standardised difference, which stands in the first row of
    its attribute."""
    groups, others = table.groups, compared(table)
    by_attribute = dict(differences_in_words(table))
    rows = []
    for name, texts in in_words(table):
        attribute = name.partition(",")[0] if name == AGE else name.partition(":")[0]
        differences = by_attribute.pop(attribute, [""] * len(others))
        rows.append([name, *texts, *differences])
    columns = [group.name for group in groups]
    columns += [f"standardised difference of {group.name} from {group.compared_with}" for group in others]
    return Table(("characteristic", *columns), rows)
