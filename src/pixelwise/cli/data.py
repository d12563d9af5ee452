"""placeholder until the data commands land."""

import typer

app = typer.Typer()
