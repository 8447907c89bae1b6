"""The verbs of `brainfm data`: thin, as the others (`cli.py`)."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from brainfm.options import Json, Limit, OnErrorOption, a_folder, show_json

data = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Data cards: list, show, fetch, check, export, and write a first one.",
)


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
    from brainfm.recipe_yaml import to_yaml

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
    from brainfm.data.audit import audit, blanks
    from brainfm.data.cards import DataCard, recount
    from brainfm.data.store import is_store
    from brainfm.recipe_yaml import to_yaml

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
        open_ = [problem.field for problem in blanks(found)]
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
