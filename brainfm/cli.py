"""The command line: thin, each verb calls one function. Nothing heavy is imported before a verb needs it."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from brainfm.cli_data import data
from brainfm.cli_live import live
from brainfm.cli_pictures import fit_pictures, pictures
from brainfm.cli_tokenize import tokenize
from brainfm.errors import BrainfmError
from brainfm.options import (
    Json,
    Limit,
    MetricOption,
    PoolOption,
    Protocol,
    RunFolder,
    Seed,
    SessionOption,
    Set,
    SplitOption,
    StrangerOption,
    SubjectOption,
    a_folder,
    show_json,
    with_seed,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Pretrain, fine-tune and honestly evaluate foundation models of brain recordings. Start with: brainfm demo",
)
app.add_typer(data, name="data")
app.add_typer(live)  # without a name: its verbs stand beside the others
app.add_typer(pictures)
app.add_typer(tokenize, name="tokenize")


def main() -> None:
    """Run the command line; a mistake of the user's ends in one sentence and a non-zero exit."""
    quiet_libraries()
    try:
        app()
    except BrainfmError as error:
        fail(error)
    except OSError as error:  # a full disk, a folder that may not be written, a file where a folder should be
        fail(BrainfmError(f"{error.filename or 'a file'}: {error.strerror or error}"))


def fail(error: BrainfmError) -> NoReturn:
    """Say what is wrong on stderr. A run that was asked to stop exits as shells expect: 128 + the signal."""
    typer.echo(f"error: {error}", err=True)
    sys.exit(128 + getattr(error, "signum", -126))


def quiet_libraries() -> None:
    """Keep other libraries' chatter off the terminal: a user should see brainfm's sentences."""
    import os

    os.environ.setdefault("MNE_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@app.command(epilog="Example: brainfm demo --out demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the run and report.html.", callback=a_folder)] = Path(
        "demo"
    ),
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """A simulated brain from start to end: pretrain, probe, fine-tune, and a report with pictures. Offline, a few minutes."""
    from brainfm.jobs.demo import demo as run

    result = run(out, seed or 0, quiet=json_)
    if json_:
        show_json(result.json)
    else:
        result.print()


@app.command(epilog="Example: brainfm show smoke --set size=small    (or: brainfm show --systems)")
def show(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A name in pretrain/ or finetune/ (finetune/smoke where both have one), or a path; of --systems, one of them."
        ),
    ] = None,
    set_: Set = None,
    cost: Annotated[
        bool,
        typer.Option(
            help="Instead, what a pretraining asks for: weights, tokens, operations, memory, hours."
        ),
    ] = False,
    systems: Annotated[
        bool,
        typer.Option(
            "--systems",
            help="Instead, the published systems that recipes stand for: parts, weights beside the paper's, what was shown.",
        ),
    ] = False,
    json_: Json = False,
) -> None:
    """Print a recipe as it resolves: every value explicit, with the hash that travels with checkpoints and reports."""
    if systems:
        show_systems(recipe, json_)
        return
    if recipe is None:
        raise BrainfmError("name a recipe, for example `brainfm show smoke`, or ask for --systems")
    from brainfm.any_recipe import load

    resolved: Any = load(recipe, set_ or ())
    if cost:
        show_cost(resolved, json_)
    elif json_:
        show_json({**resolved.model_dump(mode="json"), "hash": resolved.hash})
    else:
        typer.echo(f"{resolved.text}# hash {resolved.hash}")


def show_systems(name: str | None, as_json: bool) -> None:
    """All published systems, or one of them in full."""
    from brainfm.jobs.systems import rows, table

    found = rows([name] if name else ())
    if as_json:
        show_json({"rows": [row.json for row in found]})
    else:
        typer.echo(found[0].text if name else table(found))


def show_cost(recipe: Any, as_json: bool) -> None:
    """What a recipe asks for: of pretraining, or of a reconstruction."""
    from brainfm.recipe import FinetuneRecipe, PretrainRecipe

    if isinstance(recipe, FinetuneRecipe):
        raise BrainfmError(
            "--cost is for pretraining and for recipes with a generator; this one is of another kind"
        )
    if isinstance(recipe, PretrainRecipe):
        from brainfm.jobs.cost import cost

        found: Any = cost(recipe)
    else:
        from brainfm.jobs.cost_of_pictures import cost_of_pictures

        found = cost_of_pictures(recipe)
    if as_json:
        show_json(found.json)
    else:
        typer.echo(found.text)


@app.command(epilog="Example: brainfm pretrain smoke --out runs/smoke    (the same command again resumes it)")
def pretrain(
    recipe: Annotated[str, typer.Argument(help="A name in pretrain/, or a path to a recipe.")],
    out: RunFolder = None,
    set_: Set = None,
    seed: Seed = None,
    limit: Limit = None,
    json_: Json = False,
) -> None:
    """Pretrain on data cards without their labels. Also: accelerate launch -m brainfm pretrain RECIPE."""
    from brainfm.jobs.pretrain import pretrain as run
    from brainfm.recipe import PretrainRecipe

    resolved = PretrainRecipe.load(recipe, with_seed(set_, seed))
    ended = run(resolved, out or Path("runs") / Path(recipe).stem, quiet=json_, limit=limit)
    outcome = ended.outcome
    if not ended.sections:  # another process of several: the main one speaks
        return
    if json_:
        show_json(outcome.json)
    else:
        typer.echo(f"{outcome.steps} steps, loss {outcome.loss:.4f}, {outcome.seconds:.0f} s")
        typer.echo(f"{outcome.checkpoint}\n{outcome.out / 'report.html'}")


@app.command(
    epilog="Example: brainfm probe runs/smoke simulated_eeg    (several checkpoints: the seeds of one recipe)"
)
def probe(
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="CHECKPOINT...",
            help="A run's folder, a checkpoint, a Hub id, or braindecode:NAME[@WEIGHTS].",
        ),
    ],
    card: Annotated[
        str, typer.Argument(help="A name in data_cards/, a path to a card, or a task of finetune/.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html and report.json.", callback=a_folder)
    ] = None,
    protocol: Protocol = "ridge",
    pool: PoolOption = None,
    split: SplitOption = None,
    metric: MetricOption = None,
    train_on: Annotated[
        list[str] | None,
        typer.Option(help="Train on this card instead (CrossDataset); may be repeated."),
    ] = None,
    windows_per_class: Annotated[
        str | None,
        typer.Option(help="A learning curve at these numbers of labelled windows, e.g. 1,5,10,50."),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(min=1, help="Untrained twins of a single checkpoint, shuffles, draws of a curve."),
    ] = 3,
    seed: Seed = None,
    limit: Limit = None,
    strict: Annotated[bool, typer.Option(help="Refuse test data that pretraining saw.")] = False,
    worth: Annotated[
        bool,
        typer.Option(
            help="Also who the features know, what nuisances reach alone, what worse recordings cost."
        ),
    ] = False,
    json_: Json = False,
) -> None:
    """Score frozen features beside chance, the untrained twin and the classical decoders, with intervals."""
    from brainfm.jobs.probe import Options
    from brainfm.jobs.probe import probe as run
    from brainfm.tasks import card_of

    options = Options(
        protocol,
        pool,
        split,
        metric,
        seeds,
        seed,
        limit,
        strict,
        quiet=json_,
        train_on=train_on or (),
        windows_per_class=numbers(windows_per_class),
        worth=worth,
    )
    found = run(checkpoints, card, options)
    show_scores(found, card_of(card), out, f"Probe of {Path(card).stem}", json_)


@app.command(epilog="Example: brainfm finetune smoke --from runs/smoke --out runs/decoder")
def finetune(
    recipe: Annotated[str, typer.Argument(help="A name in finetune/, or a path to a recipe.")],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="The checkpoint to start from; a recipe with a generator or a network of its own needs none.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the decoder and the report; runs/RECIPE-finetuned by default.", callback=a_folder
        ),
    ] = None,
    set_: Set = None,
    metric: MetricOption = None,
    seed: Seed = None,
    limit: Limit = None,
    json_: Json = False,
) -> None:
    """Fine-tune a decoder, score it beside training from scratch, and save it for `brainfm predict`."""
    from brainfm.jobs.finetune import finetune as run
    from brainfm.jobs.probe import Options
    from brainfm.recipe import FinetuneRecipe

    folder = out or Path("runs") / f"{Path(recipe).stem}-finetuned"
    from brainfm.any_recipe import has_generator

    if has_generator(recipe):
        fit_pictures(recipe, from_, folder, with_seed(set_, seed), json_)
        return
    resolved = FinetuneRecipe.load(recipe, with_seed(set_, seed))
    options = Options(metric=metric, limit=limit, quiet=json_)
    decoded = run(resolved, from_, folder, options)
    show_scores(
        decoded.scores,
        resolved.card,
        folder,
        f"Fine-tuning on {Path(resolved.card).stem}",
        json_,
        {"decoder": str(decoded.decoder)},
        resolved,
    )


@app.command(epilog="Example: brainfm predict runs/decoder/decoder recording.edf --out labels.csv")
def predict(
    decoder: Annotated[str, typer.Argument(help="A decoder that `brainfm finetune` saved.")],
    file: Annotated[Path, typer.Argument(help="A recording to decode.")],
    out: Annotated[Path | None, typer.Option(help="Write the table here instead of printing it.")] = None,
    subject: SubjectOption = "",
    session: SessionOption = "",
    stranger: StrangerOption = False,
    json_: Json = False,
) -> None:
    """Decode a new file, at its events where the decoder learnt trials, else throughout: label and probabilities."""
    from brainfm.files import write_text
    from brainfm.jobs.predict import predict as run

    found = run(decoder, file, subject, session, stranger)
    if json_:
        show_json(found.json)
        return
    for note in found.notes:
        typer.echo(note, err=True)
    if out:
        typer.echo(f"{len(found.start)} windows ({found.cut}): {write_text(out, found.csv())}")
    else:
        typer.echo(found.csv(), nl=False)
        typer.echo(f"{len(found.start)} windows: {found.cut}", err=True)


@app.command(epilog="Example: brainfm embed runs/smoke recording.edf --out features.npz")
def embed(
    checkpoint: Annotated[str, typer.Argument(help="A run's folder, a checkpoint, or a Hub id.")],
    file: Annotated[Path, typer.Argument(help="A recording.")],
    out: Annotated[
        Path, typer.Option(help="Where to write values (window, feature) and start (seconds).")
    ] = Path("features.npz"),
    pool: PoolOption = "mean",
    seconds: Annotated[
        float | None, typer.Option(help="Length of a window; that of pretraining by default.")
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(help="The instrument, where the file holds several that the checkpoint reads."),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="The unit of the file's numbers, where the file is wrong about it.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of the file's reader, e.g. --set tr=2.5 or --set atlas=labels.nii.gz. May be repeated.",
        ),
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="Of which card, where the checkpoint met a subject of that name in several.")
    ] = "",
    subject: SubjectOption = "",
    session: SessionOption = "",
    stranger: StrangerOption = False,
    json_: Json = False,
) -> None:
    """Turn a recording of any instrument that the checkpoint reads into features, one row a window."""
    from brainfm.jobs.embed import Asked
    from brainfm.jobs.embed import embed as run
    from brainfm.whose import Person

    person = Person(subject, session, stranger, dataset)
    found = run(checkpoint, file, out, Asked(pool or "mean", seconds, modality, unit, set_ or (), person))
    if json_:
        show_json(found)
        return
    for note in found["notes"]:
        typer.echo(note, err=True)
    typer.echo(f"{found['windows']} windows × {found['features']} features: {out}")


@app.command(epilog="Example: brainfm push runs/mine me/my-model --report runs/mine-probe")
def push(
    checkpoint: Annotated[str, typer.Argument(help="A run's folder or a checkpoint.")],
    name: Annotated[str, typer.Argument(help="The repository on the Hugging Face Hub, OWNER/NAME.")],
    report: Annotated[
        list[Path] | None,
        typer.Option(help="A report whose scores go into the model card. May be repeated."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="The weights' licence, as the Hub spells it: apache-2.0.")
    ] = None,
    private: Annotated[bool, typer.Option(help="Create the repository for its owner alone.")] = False,
    json_: Json = False,
) -> None:
    """Upload a checkpoint with its manifest and a card that says what made it, what it saw and what it scored."""
    from brainfm.jobs.push import push as run

    done = run(checkpoint, name, report or (), licence, private)
    if json_:
        show_json(done)
    else:
        typer.echo(f"{done['name']}: {', '.join(done['files'])}")


@app.command(epilog="Example: brainfm report runs/mine-probe --format moabb --out results.hdf5")
def report(
    run: Annotated[Path, typer.Argument(help="The --out of a probe or a fine-tuning, or its report.json.")],
    out: Annotated[Path, typer.Option(help="A .hdf5 or .csv file for moabb, a folder for neuroprobe.")],
    format_: Annotated[
        Literal["moabb", "neuroprobe"], typer.Option("--format", help="Whose form the results take.")
    ] = "moabb",
    row: Annotated[
        str, typer.Option(help="The row of the table that is submitted to Neuroprobe.")
    ] = "frozen",
    task: Annotated[str, typer.Option(help="Neuroprobe's name of the task; the card's by default.")] = "",
    json_: Json = False,
) -> None:
    """Write the scores of a report as MOABB or Neuroprobe keep theirs."""
    from brainfm.exchange import write_moabb, write_neuroprobe
    from brainfm.model_card import read_report

    scores = read_report(run)["scores"]
    written = [write_moabb(scores, out)] if format_ == "moabb" else write_neuroprobe(scores, out, row, task)
    if json_:
        show_json({"written": [str(path) for path in written]})
    else:
        typer.echo("\n".join(map(str, written)))


@app.command(epilog="Example: brainfm doctor --json")
def doctor(json_: Json = False) -> None:
    """Say what is installed, which device would be used, what is missing and how to get it."""
    from brainfm.jobs.doctor import doctor as run

    found = run()
    if json_:
        show_json(found.json)
    else:
        typer.echo(found.text)


def numbers(words: str | None) -> list[int]:
    """`1,5,10` as numbers. Raises `BrainfmError` where they are none, or not positive."""
    try:
        found = [int(word) for word in (words or "").split(",") if word.strip()]
    except ValueError:
        found = [0]
    if any(one < 1 for one in found):
        raise BrainfmError(f"--windows-per-class takes whole numbers from 1 on, as 1,5,10,50, not {words!r}")
    return found


def show_scores(
    scores: Any,
    card: str,
    out: Path | None,
    title: str,
    as_json: bool,
    more: dict[str, str] | None = None,
    recipe: Any = None,
) -> None:
    """The table on the terminal or as JSON, and the report where a folder is given."""
    from brainfm.scores import scores_json, table

    if out is not None:
        from brainfm.jobs.reporting import write_scores

        more = {**(more or {}), "report": str(write_scores(scores, out, title, card, recipe))}
    if as_json:
        show_json({**scores_json(scores), **(more or {})})
    else:
        typer.echo(table(scores))
        for name, path in (more or {}).items():
            typer.echo(f"{name}: {path}")
