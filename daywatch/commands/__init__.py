"""One module for each group of subcommands; each exposes a Typer callable that `daywatch.cli` registers."""
