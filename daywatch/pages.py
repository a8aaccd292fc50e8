"""A report's page on the terminal: the same tiles and tables that the HTML shows. Knows nothing of what they mean."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sinks.report import Page
from sinks.report import Table as PageTable

_MOODS = {"good": "green", "bad": "red"}


def print_page(page: Page, console: Console) -> None:
    """Print title, tiles and tables; drawings and timelines are left to the HTML."""
    console.print(Text(page.title, style="bold"))
    console.print(Text(page.subtitle, style="dim"))
    tiles = Table.grid(padding=(0, 2))
    tiles.add_column(justify="right")
    for tile in page.tiles:
        tiles.add_row(Text(tile.value, style=f"bold {_MOODS.get(tile.mood, '')}".strip()), Text(tile.name))
    console.print()
    console.print(tiles)
    for section in page.sections:
        for table in section.tables:
            console.print()
            console.print(Text(table.title, style="bold"))
            console.print(_table(table))


def _table(table: PageTable) -> Table:
    drawn = Table(header_style="dim", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, name in enumerate(table.columns):
        drawn.add_column(Text(name), justify="right" if place else "left", no_wrap=place > 0, min_width=0 if place else 14)
    for row in table.rows:
        drawn.add_row(*(Text(cell, style="bold" if row.strong else "") for cell in row.cells))
    return drawn
