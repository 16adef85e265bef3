"""A titled table of texts on a console; nothing in a cell is read as markup."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table under its title; nothing where it has no row."""
    if not rows:
        return
    table = Table(header_style="bold", pad_edge=False, box=None, title=title, title_justify="left", title_style="bold underline")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print()
    console.print(table)
