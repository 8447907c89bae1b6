"""The verb that makes pictures of responses: thin, as the others (`cli.py`)."""

from pathlib import Path
from typing import Annotated

import typer

from brainfm.errors import BrainfmError
from brainfm.options import Json, Seed, a_folder, show_json

pictures = typer.Typer(rich_markup_mode=None)


@pictures.command(epilog="Example: brainfm reconstruct runs/digits fmri_digits69 --out runs/digits-seen")
def reconstruct(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="A run's folder that `brainfm finetune` wrote for a recipe with a generator."),
    ],
    card: Annotated[
        str | None, typer.Argument(help="A data card whose people it knows; that of its recipe by default.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for pictures, numbers and page; CHECKPOINT/reconstructed by default.",
            callback=a_folder,
        ),
    ] = None,
    subject: Annotated[list[str] | None, typer.Option(help="Only this person. May be repeated.")] = None,
    pictures: Annotated[
        int | None, typer.Option(help="At most so many test pictures of each person.", min=4)
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="A folder with the networks that published scores compare by; the caches are looked at, too."
        ),
    ] = None,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Make pictures of what was seen, beside what was seen, with scores, their ceiling, and controls."""
    from brainfm.jobs.reconstruct import reconstruct as run

    found = run(checkpoint, card, out, seed or 0, pictures, subject or (), weights, quiet=json_)
    if json_:
        show_json(found.json)
    else:
        typer.echo(found.text)
        typer.echo(found.report)


def fit_pictures(recipe: str, start: str | None, out: Path, overrides: list[str], json_: bool) -> None:
    """`brainfm finetune` for such a recipe: all of its stages."""
    from brainfm.jobs.fit_reconstruction import fit
    from brainfm.recipe_reconstruct import ReconstructRecipe

    if start is not None:
        raise BrainfmError(f"{recipe} has a generator and trains all of its stages itself; leave --from out")
    fitted = fit(ReconstructRecipe.load(recipe, overrides), out, quiet=json_)
    said = {
        "out": str(out),
        "checkpoint": str(fitted.checkpoint),
        "people": [one.name for one in fitted.known + fitted.new],
    }
    if json_:
        show_json(said)
    else:
        typer.echo(f"{fitted.checkpoint}; look at what it sees by: brainfm reconstruct {out}")
