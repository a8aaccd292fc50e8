"""Options that several commands share: which language model, and how it is asked. Knows nothing of what commands do with them."""

from typing import Annotated

import typer

Base = Annotated[str | None, typer.Option(help="Language model: hub id, directory or package:NAME.", show_default=False)]
Adapter = Annotated[
    str | None,
    typer.Option(help="Its adapter: hub id, directory, or none (default: the one that comes with Daywatch).", show_default=False),
]
Precision = Annotated[str | None, typer.Option(help="auto (default), fp32, bf16, int8 or nf4.", show_default=False)]
Shots = Annotated[int | None, typer.Option(help="Examples in the prompt (default: 0).", show_default=False)]
Share = Annotated[float | None, typer.Option(help="Share of windows that the language model may read (default: 0.05).", show_default=False)]
