"""A report's page on the terminal: the same tiles and tables that the HTML shows. Knows nothing of what they mean."""

from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sinks.report import Page
from sinks.report import Table as PageTable


def print_page(page: Page, console: Console) -> None:
    """Print title, tiles and tables; drawings and timelines are left to the HTML."""
    console.print(Text(page.title, style="bold"))
    console.print(Text(page.subtitle, style="dim"))
    tiles = [Panel(Text.assemble((tile.value, "bold"), "\n", (tile.name, "dim")), expand=False) for tile in page.tiles]
    console.print(Columns(tiles))
    for section in page.sections:
        for table in section.tables:
            console.print(_table(table))


def _table(table: PageTable) -> Table:
    drawn = Table(title=Text(table.title, style="bold"), title_justify="left", header_style="dim", box=None, pad_edge=False)
    for place, name in enumerate(table.columns):
        drawn.add_column(Text(name), justify="right" if place else "left")
    for row in table.rows:
        drawn.add_row(*(Text(cell, style="bold" if row.strong else "") for cell in row.cells))
    return drawn
