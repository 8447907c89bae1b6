"""The verbs that take a decoder out of brainfm or put it to a signal that is coming in: thin, as the others (`cli.py`)."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from brainfm.options import (
    Json,
    PoolOption,
    Seed,
    SessionOption,
    StrangerOption,
    SubjectOption,
    show_json,
)

live = typer.Typer(rich_markup_mode=None)


@live.command(epilog="Example: brainfm export runs/decoder/decoder --format onnx --out decoder.onnx")
def export(
    checkpoint: Annotated[str, typer.Argument(help="A decoder, a run's folder, a checkpoint, or a Hub id.")],
    out: Annotated[Path, typer.Option(help="The file to write; what it holds is described inside.")],
    form: Annotated[
        Literal["torch", "onnx"], typer.Option("--format", help="torch.export's .pt2, or ONNX.")
    ] = "torch",
    recording: Annotated[
        Path | None,
        typer.Option(
            help="A recording with the sensors that the graph is for; the first of the decoder's card by default."
        ),
    ] = None,
    modality: Annotated[
        str | None, typer.Option(help="Without a decoder: which instrument, where several are known.")
    ] = None,
    pool: PoolOption = "mean",
    seconds: Annotated[
        float | None,
        typer.Option(help="Without a decoder: length of a window; that of pretraining by default."),
    ] = None,
    subject: SubjectOption = "",
    session: SessionOption = "",
    stranger: StrangerOption = False,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Write a decoder, or an encoder that embeds, as a graph that runs without brainfm, compared with PyTorch."""
    from brainfm.jobs.export import Asked
    from brainfm.jobs.export import export as run
    from brainfm.whose import Person

    person = Person(subject, session, stranger)
    asked = Asked(recording, modality, seconds, pool or "mean", seed or 0, person)
    found = run(checkpoint, form, out, asked)
    if json_:
        show_json(found.json)
    else:
        typer.echo(found.text)


@live.command(
    epilog="Example: brainfm stream runs/decoder/decoder lsl:Amplifier --every 0.25    (or a file, played: recording.edf)"
)
def stream(
    decoder: Annotated[str, typer.Argument(help="A decoder that `brainfm finetune` saved.")],
    source: Annotated[
        str, typer.Argument(help="lsl:NAME, an LSL stream (or its source id); or a recording.")
    ],
    every: Annotated[float, typer.Option(help="Seconds from one decision to the next.")] = 0.5,
    calibrate: Annotated[
        float,
        typer.Option(
            help="Seconds at the beginning that a scale is measured on, where the preparation has one."
        ),
    ] = 30.0,
    speed: Annotated[
        float,
        typer.Option(help="Of a file: how many times as fast as it was recorded; 0: as fast as possible."),
    ] = 1.0,
    unit: Annotated[
        str | None,
        typer.Option(help="Of an LSL stream: the unit of its numbers, where it does not say or is wrong."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(help="For an LSL stream: a recording with the same sensors, which says where they are."),
    ] = None,
    patience: Annotated[
        float, typer.Option(help="Seconds for which an LSL stream that went away is waited for.")
    ] = 60.0,
    threads: Annotated[
        int,
        typer.Option(
            min=1,
            help="That compute a decision; more help large networks on a machine with nothing else to do.",
        ),
    ] = 1,
    subject: SubjectOption = "",
    session: SessionOption = "",
    stranger: StrangerOption = False,
    stop_after: Annotated[float | None, typer.Option(help="End after so many seconds of signal.")] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="End with the summary as one more JSON line on stdout.")
    ] = False,
) -> None:
    """Decode a signal while it comes in, from LSL or a file: a JSON line a decision. Ctrl-C ends it with a summary."""
    from brainfm.jobs.stream import Options
    from brainfm.jobs.stream import stream as run
    from brainfm.launch import stop_signals
    from brainfm.progress import line
    from brainfm.whose import Person

    def say(text: str) -> None:
        typer.echo(text, err=True)

    person = Person(subject, session, stranger)
    options = Options(every, calibrate, speed, patience, stop_after, unit, like, threads, person)
    running = run(decoder, source, options, say)
    for text in running.said:
        say(text)
    with stop_signals() as asked, line() as show:
        try:
            for decision in running.decisions(lambda: asked() != 0):
                sys.stdout.write(f"{json.dumps(decision.json)}\n")
                sys.stdout.flush()
                show(f"{decision.text} · {running.tally.brief}")
        except BrokenPipeError:  # who read the decisions has ended, and so does this
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            say(running.tally.text)
    if json_:
        typer.echo(json.dumps({"summary": running.tally.json}))
