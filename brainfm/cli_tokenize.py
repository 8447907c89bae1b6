"""The verbs of `brainfm tokenize`: thin, as the others (`cli.py`)."""

from pathlib import Path
from typing import Annotated

import typer

from brainfm.options import Json, Limit, RunFolder, Seed, Set, a_folder, show_json, with_seed

tokenize = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Discrete codes of tokens: train them, look at them."
)
Cards = Annotated[
    list[str] | None,
    typer.Option(
        "--card", help="A name in data_cards/, or a path; the recipe's cards by default. May be repeated."
    ),
]


@tokenize.command("train", epilog="Example: brainfm tokenize train codes_eeg --out runs/codes_eeg")
def tokenize_train(
    recipe: Annotated[str, typer.Argument(help="A name in tokenizers/ with `codes:`, or a path to one.")],
    card: Cards = None,
    out: RunFolder = None,
    set_: Set = None,
    seed: Seed = None,
    limit: Limit = None,
    json_: Json = False,
) -> None:
    """Train the codes of a tokenizer. Fails with advice on their number where too few of them are used."""
    from brainfm.jobs.tokenize import train_codes
    from brainfm.recipe import TokenizeRecipe

    resolved = TokenizeRecipe.load(recipe, with_seed(set_, seed))
    resolved = resolved.on(card) if card else resolved
    ended = train_codes(resolved, out or Path("runs") / Path(recipe).stem, quiet=json_, limit=limit)
    if ended.health is None:  # another process of several: the main one speaks
        return
    if json_:
        show_json(ended.json)
    else:
        typer.echo(
            f"{ended.outcome.steps} steps, loss {ended.outcome.loss:.4f}, {ended.outcome.seconds:.0f} s"
        )
        typer.echo(f"{ended.health.advice}\n{ended.codec}\n{ended.outcome.out / 'report.html'}")


@tokenize.command("inspect", epilog="Example: brainfm tokenize inspect runs/codes_eeg --json")
def tokenize_inspect(
    run: Annotated[
        Path, typer.Argument(help="The folder of `brainfm tokenize train`, or one of its checkpoints.")
    ],
    card: Cards = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report; RUN/inspect by default.", callback=a_folder)
    ] = None,
    limit: Limit = None,
    json_: Json = False,
) -> None:
    """Show what codes say and cost, how they are used, and which size would fit, on held-out recordings."""
    from brainfm.jobs.tokenize import inspect

    found = inspect(run, card or (), out, limit)
    if json_:
        show_json(found.json)
    else:
        health = found.health
        typer.echo(f"correlation {health.correlation:.3f}, spectral error {health.spectral_error:.3f}")
        typer.echo(f"{health.advice}\n{(out or run / 'inspect') / 'report.html'}")


@tokenize.command(
    "words", epilog="Example: brainfm tokenize words runs/eegformer simulated_waveforms --longest 3"
)
def tokenize_words(
    run: Annotated[Path, typer.Argument(help="The folder of `brainfm tokenize train`, or a codec.")],
    card: Annotated[str, typer.Argument(help="A name in data_cards/, or a path, with labels to tell.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the report; RUN/words-CARD by default.", callback=a_folder),
    ] = None,
    longest: Annotated[int, typer.Option(min=1, max=6, help="Codes in a word, at most.")] = 3,
    books: Annotated[
        int,
        typer.Option(
            min=1, help="Quantizers that spell a code, from the first; more tell more and repeat less."
        ),
    ] = 1,
    top: Annotated[int, typer.Option(min=1, help="Words of each label that are shown.")] = 5,
    limit: Limit = None,
    json_: Json = False,
) -> None:
    """Which runs of codes (n-grams) on one sensor speak for a label: a table, their waveforms, where they occur, and how well
    naive Bayes of them tells the labels of people who were held out."""
    from rich.console import Console
    from rich.table import Table

    from brainfm.jobs.words import Options, row, words
    from brainfm.scores import table

    options = Options(longest=longest, books=books, top=top, limit=limit)
    found = words(run, card, out or run / f"words-{Path(card).stem}", options)
    if json_:
        show_json(found.json)
        return
    typer.echo(table(found.scores))
    rows = [row(word) for word in found.words]
    shown = Table(*rows[0], box=None)
    for one in rows:
        shown.add_row(*one.values())
    Console(width=120).print(shown)
    typer.echo(found.page)
