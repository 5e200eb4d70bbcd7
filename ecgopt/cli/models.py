"""`ecgopt models`: list, show and check public checkpoints."""

from pathlib import Path
from typing import Any

from cyclopts import App

from ecgopt.cli.data_output import cell, new_table, open_console

app = App(name="models", help="List, show and check public checkpoints.")


@app.command(name="list")
def list_(*, json: bool = False) -> None:
    """List the public checkpoints that have a card.

    Example: `ecgopt models list`

    Args:
        json: Print JSON instead of a table.
    """
    from ecgopt.models.cards import card_names, load_card

    rows: list[dict[str, Any]] = []
    for name in card_names():
        card = load_card(name)
        rows.append(
            {
                "name": name,
                "title": card.title,
                "licence": card.licence,
                "rate_hz": card.input.rate_hz,
                "seconds": card.input.crop_seconds or card.input.seconds,
                "leads": len(card.input.leads),
                "pretraining_data": list(card.pretraining_data),
                "golden_pair": card.golden is not None,
            }
        )
    console = open_console()
    if json:
        import json as json_module

        console.print_json(json_module.dumps(rows))
        return
    columns = [column for column in rows[0] if column != "pretraining_data"]
    table = new_table(*(column.replace("_", " ") for column in columns))
    for row in rows:
        table.add_row(*(cell(row[column]) for column in columns))
    console.print(table)
    console.print("`ecgopt models card NAME` shows all that is known of one.", style="dim")


@app.command
def card(name: str, *, json: bool = False) -> None:
    """Show a card: source, licence, network, names, input and recipe.

    The text is a TOML file; save it and change it to write a card of your own.

    Example: `ecgopt models card ecgfounder`

    Args:
        name: Name in `ecgopt models list`, or the path of a card of your own.
        json: Print JSON instead of the file.
    """
    from ecgopt.models.cards import card_path, load_card

    found = load_card(name)
    console = open_console()
    if json:
        console.print_json(found.model_dump_json())
    else:
        console.print(card_path(name).read_text(encoding="utf-8").rstrip())


@app.command
def check(name: str, weights: Path, *, golden: Path | None = None) -> None:
    """Load a checkpoint by its card, and compare its features with those of its authors' code.

    Example: `ecgopt models check ecgfounder 12_lead_ECGFounder.pth --golden pair.safetensors`

    Args:
        name: Name in `ecgopt models list`, or the path of a card of your own.
        weights: The checkpoint as published.
        golden: A safetensors file with the tensors `input` and `features`; by default the one that
            the card names, next to the weights.
    """
    from ecgopt.models.cards import load_card
    from ecgopt.models.foreign import check_golden, load_by_card

    found = load_card(name)
    public = load_by_card(weights, found)
    console = open_console()
    console.print(f"{weights}: {public.n_loaded} tensors loaded, {len(public.dropped)} left out")
    console.print(f"{public.share:.2%} of the weights of {found.network.name} came from the file")
    difference = check_golden(public, found, golden, weights=weights)
    console.print(f"golden pair reproduced: features differ by {difference:.2g} of the largest")
