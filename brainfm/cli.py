"""The command line: thin, each verb calls one function. Nothing heavy is imported before a verb needs it."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from brainfm.errors import BrainfmError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Pretrain, fine-tune and honestly evaluate foundation models of brain recordings. Start with: brainfm demo",
)
data = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Data cards: list, show, fetch, check, export, and write a first one.",
)
app.add_typer(data, name="data")
tokenize = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Discrete codes of tokens: train them, look at them."
)
app.add_typer(tokenize, name="tokenize")


def a_folder(path: Path | None) -> Path | None:
    """Refuse a file where a folder is to be written, before the work and not after it."""
    if path is not None and path.exists() and not path.is_dir():
        raise BrainfmError(f"{path} is a file; choose another --out, a folder")
    return path


Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override one value, e.g. --set train.steps=100. May be repeated."),
]
Seed = Annotated[int | None, typer.Option(help="Seed of weights, order and masks.")]
Limit = Annotated[int | None, typer.Option(help="Read only this many recordings of each card.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on stdout; logs go to stderr.")
]
OnErrorOption = Annotated[
    Literal["raise", "skip", "repair"] | None,
    typer.Option(
        help="In a BIDS dataset, what to do where a table is at fault: raise (the default), skip, repair."
    ),
]
Protocol = Annotated[Literal["ridge", "logistic"], typer.Option(help="The linear probe.")]
PoolOption = Annotated[
    Literal["mean", "sensor", "time", "all"] | None,
    typer.Option(help="What stays apart when a window's tokens become one vector."),
]
MetricOption = Annotated[
    Literal["accuracy", "balanced_accuracy", "kappa", "weighted_f1", "auroc"] | None,
    typer.Option(help="Another score than the card's."),
]
SplitOption = Annotated[
    Literal["WithinSession", "CrossSession", "CrossSubject"] | None,
    typer.Option(help="Who is held out; the card says by default."),
]


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


def show_json(result: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    typer.echo(json.dumps(result, indent=1, allow_nan=False))


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


@app.command(epilog="Example: brainfm show smoke --set size=small")
def show(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A name in pretrain/ or finetune/ (finetune/smoke where both have one), or a path."
        ),
    ],
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Print a recipe as it resolves: every value explicit, with the hash that travels with checkpoints and reports."""
    resolved = load_recipe(recipe, set_)
    if json_:
        show_json({**resolved.model_dump(mode="json"), "hash": resolved.hash})
    else:
        typer.echo(f"{resolved.text}# hash {resolved.hash}")


def load_recipe(name: str, overrides: list[str] | None) -> Any:
    """A recipe of either kind: by name from whichever folder has it, by path from what it holds."""
    from brainfm import folders
    from brainfm.recipe import FinetuneRecipe, PretrainRecipe, read_yaml

    path = Path(name)
    if (
        path.parent.name in ("pretrain", "finetune") and not path.suffix
    ):  # finetune/smoke: one of two of a name
        kind: Any = FinetuneRecipe if path.parent.name == "finetune" else PretrainRecipe
        return kind.load(path.name, overrides or [])
    if path.suffix == ".yaml" and path.is_file():
        kind = (
            FinetuneRecipe if "card" in read_yaml(path) or path.parent.name == "finetune" else PretrainRecipe
        )
        return kind.load(name, overrides or [])
    kind = (
        FinetuneRecipe
        if path.stem not in folders.names("pretrain", ".yaml")
        and path.stem in folders.names("finetune", ".yaml")
        else PretrainRecipe
    )
    return kind.load(name, overrides or [])


@app.command(epilog="Example: brainfm pretrain smoke --out runs/smoke    (the same command again resumes it)")
def pretrain(
    recipe: Annotated[str, typer.Argument(help="A name in pretrain/, or a path to a recipe.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The run's folder; runs/RECIPE by default. Point at it again to resume.", callback=a_folder
        ),
    ] = None,
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
        list[str], typer.Argument(metavar="CHECKPOINT...", help="A run's folder, a checkpoint, or a Hub id.")
    ],
    card: Annotated[str, typer.Argument(help="A name in data_cards/, or a path to a card.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html and report.json.", callback=a_folder)
    ] = None,
    protocol: Protocol = "ridge",
    pool: PoolOption = None,
    split: SplitOption = None,
    metric: MetricOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="Untrained twins, where one checkpoint is given.")] = 3,
    seed: Seed = 0,
    limit: Limit = None,
    strict: Annotated[bool, typer.Option(help="Refuse test data that pretraining saw.")] = False,
    json_: Json = False,
) -> None:
    """Score frozen features beside chance, the untrained twin and the classical decoders, with intervals."""
    from brainfm.jobs.probe import Options
    from brainfm.jobs.probe import probe as run

    options = Options(protocol, pool, split, metric, seeds, seed or 0, limit, strict, quiet=json_)
    show_scores(run(checkpoints, card, options), card, out, f"Probe of {Path(card).stem}", json_)


@app.command(epilog="Example: brainfm finetune smoke --from runs/smoke --out runs/decoder")
def finetune(
    recipe: Annotated[str, typer.Argument(help="A name in finetune/, or a path to a recipe.")],
    from_: Annotated[str, typer.Option("--from", help="The checkpoint to start from.")],
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

    resolved = FinetuneRecipe.load(recipe, with_seed(set_, seed))
    folder = out or Path("runs") / f"{Path(recipe).stem}-finetuned"
    options = Options(metric=metric, seed=resolved.seed, limit=limit, quiet=json_)
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
    json_: Json = False,
) -> None:
    """Decode a new file, at its events where the decoder learnt trials, else throughout: label and probabilities."""
    from brainfm.files import write_text
    from brainfm.jobs.predict import predict as run

    found = run(decoder, file)
    if json_:
        show_json(found.json)
    elif out:
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
    unit: Annotated[
        str | None, typer.Option(help="The unit of the file's numbers, where the file is wrong about it.")
    ] = None,
    json_: Json = False,
) -> None:
    """Turn a recording into features, one row a window."""
    from brainfm.jobs.embed import embed as run

    found = run(checkpoint, file, out, pool or "mean", seconds, unit)
    if json_:
        show_json(found)
    else:
        typer.echo(f"{found['windows']} windows × {found['features']} features: {out}")


@app.command(epilog="Example: brainfm doctor --json")
def doctor(json_: Json = False) -> None:
    """Say what is installed, which device would be used, what is missing and how to get it."""
    from brainfm.jobs.doctor import doctor as run

    found = run()
    if json_:
        show_json(found.json)
    else:
        typer.echo(found.text)


@data.command("list", epilog="Example: brainfm data list --modality meg --access open")
def data_list(
    modality: Annotated[str | None, typer.Option(help="Only this: eeg, meg, seeg, fmri or spikes.")] = None,
    access: Annotated[
        str | None,
        typer.Option(
            help="Only this: open, registration, agreement, application or local (files of your own)."
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Name the data cards that brainfm ships, with what each is about and who may have it."""
    from brainfm.data.catalogue import chosen, row, table

    cards = chosen(modality, access)
    if json_:
        show_json({"cards": [row(card) for card in cards]})
    else:
        typer.echo(table(cards))


@data.command("read", epilog="Example: brainfm data read study/ --subject 01 --on-error repair")
def data_read(
    path: Annotated[Path, typer.Argument(help="A recording, or a BIDS dataset.")],
    subject: Annotated[
        list[str] | None, typer.Option(help="Of a dataset, only this. May be repeated.")
    ] = None,
    session: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    run: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    on_error: OnErrorOption = None,
    json_: Json = False,
) -> None:
    """Read recordings through every check, and say what they hold, what was repaired and what was left out."""
    from brainfm.data.reading import read
    from brainfm.data.recordings import Recordings, as_table, line_of, summary

    asked: dict[str, Any] = {
        "subject": subject,
        "session": session,
        "task": task,
        "run": run,
        "on_error": on_error,
    }
    found = read(path, **{name: value for name, value in asked.items() if value})
    rows = [summary(recording) for recording in (found if isinstance(found, Recordings) else [found])]
    log = found.log if isinstance(found, Recordings) else [line_of(found, said) for said in found.repairs]
    lines = [{"recording": line.recording, "said": line.said} for line in log]
    if json_:
        show_json({"recordings": rows, "log": lines})
    else:
        typer.echo(as_table(rows) or "no recording could be read")
        typer.echo(f"\n{as_table(lines)}" if lines else "nothing was repaired or left out")


@data.command("show", epilog="Example: brainfm data show eeg_arithmetic")
def data_show(
    card: Annotated[str, typer.Argument(help="A name in data_cards/, or a path.")], json_: Json = False
) -> None:
    """Print a card: the facts that the loader uses, and the prose."""
    from brainfm.data.cards import DataCard
    from brainfm.recipe import to_yaml

    found = DataCard.load(card)
    facts = found.model_dump(mode="json")
    if json_:
        show_json({"card": found.name, **facts, "prose": found.prose, "hash": found.hash})
    else:
        typer.echo(f"{to_yaml(facts)}# hash {found.hash}\n\n{found.prose}")


@data.command("fetch", epilog="Example: brainfm data fetch meg_brainstorm_auditory --limit 2")
def data_fetch(
    card: Annotated[str, typer.Argument(help="A name in data_cards/, or a path.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the files; where the card looks for them by default.", callback=a_folder
        ),
    ] = None,
    subjects: Annotated[str | None, typer.Option(help="Only these, e.g. --subjects 01,02.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many files or subjects.")] = None,
    json_: Json = False,
) -> None:
    """Get a public dataset: never asks, goes on where it was cut, checks hashes; refuses what is not given to anybody."""
    import contextlib

    from brainfm.data.cards import DataCard
    from brainfm.data.fetch import fetch, target

    found = DataCard.load(card)
    wanted = [one.strip() for one in (subjects or "").split(",") if one.strip()]
    files = []
    with contextlib.redirect_stdout(sys.stderr):  # other libraries tell of their progress
        for path in fetch(found, out, wanted, limit):
            files.append(str(path))
            typer.echo(path, err=True)
    terms = {"licence": found.licence, "use": found.use, "citation": found.citation}
    if json_:
        show_json({"card": found.name, "out": str(out or target(found)), "files": files, **terms})
    else:
        typer.echo(f"{found.name}: {len(files)} there, under {out or target(found)}")
        typer.echo("\n".join(f"{name}: {said}" for name, said in terms.items() if said))


@data.command("check", epilog="Example: brainfm data check data_cards/eeg_arithmetic.md")
def data_check(
    card: Annotated[str, typer.Argument(help="A name in data_cards/, or a path.")], json_: Json = False
) -> None:
    """Read every recording of a card and count its facts again; of a catalogue card, check its licence and sources; of a
    prepared store, compare every byte's checksum."""
    from brainfm.data.audit import audit
    from brainfm.data.cards import DataCard, recount
    from brainfm.data.store import is_store
    from brainfm.recipe import to_yaml

    if is_store(card):
        check_store(card, json_)
        return
    found = DataCard.load(card)
    catalogue = found.reader is None
    counted, wrong = (None, audit(found)) if catalogue else recount(found)
    problems = [{"field": p.field, "said": p.said, "found": p.found} for p in wrong]
    facts = counted.model_dump() if counted else {}
    if json_:
        show_json({"card": found.name, "ok": not problems, "problems": problems, "counted": facts})
    else:
        what = "found" if catalogue else "the files say"
        lines = [f"{p['field']}: the card says {p['said']}, {what} {p['found']}" for p in problems]
        fine = (
            "every fact of the card has a source"
            if catalogue
            else "nothing in the card disagrees with the files"
        )
        typer.echo("\n".join(lines) or f"{found.name}: {fine}")
        typer.echo(to_yaml({"counted": facts}) if facts else "", nl=False)
        open_ = [name for name, value in found.model_dump(mode="json").items() if "FILL IN" in str(value)]
        typer.echo(f"still to fill in: {', '.join(open_)}" if open_ else "", nl=bool(open_))
        if catalogue:
            typer.echo(
                "a catalogue card: nothing here is counted, because it does not say how files are read"
            )
        elif found.task is None:
            typer.echo("no task yet: pretrain reads the card, probe and finetune need `task:`")
    if problems:
        sys.exit(1)


def check_store(root: str, as_json: bool) -> None:
    """Every file of a prepared store against its checksum; a damaged one ends in a non-zero exit."""
    from brainfm.data.store import open_store

    store = open_store(root)
    problems = [{"field": name, "said": said, "found": found} for name, said, found in store.check()]
    if as_json:
        show_json({"store": root, "ok": not problems, "problems": problems, "recordings": len(store.rows)})
    else:
        lines = [f"{p['field']}: prepared as {p['said']}, now {p['found']}" for p in problems]
        typer.echo("\n".join(lines) or f"{root}: {len(store.rows)} recordings, every byte as it was prepared")
    if problems:
        sys.exit(1)


@data.command(
    "prepare",
    epilog="Example: brainfm data prepare simulated_eeg --tokenizer patch_250ms --out stores/eeg --jobs 2",
)
def data_prepare(
    cards: Annotated[
        list[str], typer.Argument(metavar="CARD...", help="Names in data_cards/, or paths to cards.")
    ],
    out: Annotated[
        Path,
        typer.Option(help="The store's folder; what it holds already is kept.", callback=a_folder),
    ] = Path("stores/prepared"),
    tokenizer: Annotated[
        list[str] | None,
        typer.Option(
            help="A name in tokenizers/ or a path: its preparation is done now. MODALITY=NAME where cards are of several; "
            "without one, signals are stored as they are read."
        ),
    ] = None,
    dtype: Annotated[
        Literal["int16", "float16"], typer.Option(help="How samples are held; the scale is recorded.")
    ] = "int16",
    jobs: Annotated[int | None, typer.Option(help="Recordings prepared at once; -1: one a core.")] = None,
    limit: Limit = None,
    json_: Json = False,
) -> None:
    """Turn recordings into a prepared store, to read windows from at speed. Run it again after a crash: it goes on."""
    from brainfm.jobs.prepare import prepare as run

    found = run(cards, tokenizer or [], out, dtype, jobs, limit, quiet=json_).json
    if json_:
        show_json(found)
    else:
        typer.echo(
            f"{found['recordings']} recordings ({found['prepared']} prepared now), {found['hours']:.2f} h, "
            f"{found['bytes'] / 1e6:.1f} MB, off by {found['largest_error']:.1e} robust scales at most: {found['store']}"
        )


@data.command(
    "export", epilog="Example: brainfm data export eeg_arithmetic --as croissant --out croissant.json"
)
def data_export(
    card: Annotated[str, typer.Argument(help="A name in data_cards/, or a path.")],
    form: Annotated[
        Literal["huggingface", "croissant"],
        typer.Option("--as", help="Hugging Face's dataset card, or Croissant's JSON-LD."),
    ],
    out: Annotated[Path | None, typer.Option(help="Write it here instead of printing it.")] = None,
    json_: Json = False,
) -> None:
    """Write a card in the words of others."""
    from brainfm.data.cards import DataCard
    from brainfm.data.export import export
    from brainfm.files import write_text

    found = DataCard.load(card)
    text = export(found, form)
    if out:
        write_text(out, text)
    if json_:
        show_json({"card": found.name, "as": form, **({"out": str(out)} if out else {"text": text})})
    else:
        typer.echo(out if out else text, nl=bool(out))


@data.command("new", epilog="Example: brainfm data new recordings/ --out my_study.md")
def data_new(
    folder: Annotated[Path, typer.Argument(help="A folder of recordings.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write the card; FOLDER.md beside the folder by default.")
    ] = None,
    on_error: OnErrorOption = None,
    json_: Json = False,
) -> None:
    """Look at the files of a folder and write a first card, with notes on what to fill in."""
    from brainfm.data.new_card import look_at, written
    from brainfm.data.recordings import as_table
    from brainfm.errors import DataError
    from brainfm.files import write_text

    folder = folder.resolve()
    path = out or folder.with_suffix(".md")
    if path.exists():
        raise DataError(f"{path} exists already; choose another --out")
    look = look_at(folder, on_error)
    write_text(path, written(folder, look))
    lines = [{"recording": line.recording, "said": line.said} for line in look.log]
    if json_:
        show_json({"card": str(path), "log": lines})
    else:
        typer.echo(f"{as_table(lines)}\n" if lines else "", nl=bool(lines))
        typer.echo(f"{path}\nFill in what it asks for, then: brainfm data check {path}")


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
    out: Annotated[
        Path | None,
        typer.Option(
            help="The run's folder; runs/RECIPE by default. Point at it again to resume.", callback=a_folder
        ),
    ] = None,
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


def with_seed(overrides: list[str] | None, seed: int | None) -> list[str]:
    """`--seed N` is `--set seed=N`."""
    return [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]


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
