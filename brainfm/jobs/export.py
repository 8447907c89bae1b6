"""Export: a decoder, or an encoder that embeds, as a graph that runs without brainfm."""

import importlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from brainfm.answers import OF_LABELS
from brainfm.batch import Batch
from brainfm.corpus import Stream
from brainfm.data.cards import DataCard
from brainfm.data.modalities import owner
from brainfm.data.reading import read_one
from brainfm.data.recording import Recording, Sensors
from brainfm.errors import BrainfmError, CheckpointError, DataError
from brainfm.files import write_file
from brainfm.jobs.predict import cut_windows, read, same_sensors
from brainfm.layers.fixed import Tape
from brainfm.model import BrainFM, throughout
from brainfm.pooling import Pool, pool_tokens
from brainfm.whose import UNTOLD, Person, owned, require_known

Form = Literal["torch", "onnx"]
ALLOWED = 1e-4
"""The largest difference between a graph's numbers and PyTorch's with which it is written."""
RANDOM = 8
REAL = 16
"""Windows that a graph is compared on."""
INPUT, DESCRIPTION = "signal", "brainfm.json"
"""What a graph's input is called, and the entry of its file that says what belongs into it."""


@dataclass(frozen=True)
class Asked:
    """What is to be exported where that is not the decoder's own choice: windows, pooling, whose sensors."""

    recording: Path | None = None
    modality: str | None = None
    seconds: float | None = None
    pool: Pool = "mean"
    seed: int = 0
    person: Person = UNTOLD
    """Whose the recording is, where sensors of the decoder are a person's own: the graph knows these alone."""


@dataclass(frozen=True)
class Exported:
    """The file, what it says of itself, and by how much its numbers differ from PyTorch's."""

    out: Path
    form: Form
    description: dict[str, Any]
    apart: dict[str, float]

    @property
    def json(self) -> dict[str, Any]:
        """What `export --json` prints."""
        return {
            "out": str(self.out),
            "format": self.form,
            "parity": self.apart,
            "allowed": ALLOWED,
            "graph": self.description,
        }

    @property
    def text(self) -> str:
        """The same for a reader."""
        into, out = self.description["input"], self.description["output"]
        windows = f"{shown(into['shape'])} windows of {into['seconds']:g} s at {into['sfreq']:g} Hz"
        apart = ", ".join(f"{by:.1e} on {name} windows" for name, by in self.apart.items())
        return (
            f"{windows}, prepared, to {out['name']} {shown(out['shape'])}\n"
            f"from PyTorch at most {apart}: under {ALLOWED:g}\n{self.out}"
        )


class Graph(nn.Module):
    """Prepared windows of one layout in, the head's output (or pooled features) out: everything else is a constant."""

    def __init__(self, model: BrainFM, one: Batch, pool: Pool | None) -> None:
        super().__init__()
        self.model, self.one, self.pool = model, one, pool
        self.tape = Tape()
        with torch.no_grad(), self.tape.recording():
            self.outputs = list(told(model, one, pool).shape[1:])

    def forward(self, signal: Float[Tensor, "batch sensor time"]) -> Float[Tensor, "batch ... out"]:
        with self.tape.playing():
            return told(self.model, like(self.one, signal), self.pool)


def shown(shape: list[Any]) -> str:
    """A shape for a reader."""
    return f"({', '.join(map(str, shape))})"


def told(model: BrainFM, batch: Batch, pool: Pool | None) -> Float[Tensor, "batch ... out"]:
    """What the decoder's head puts out of windows; with a pooling, the encoder's features."""
    return model.decode(batch) if pool is None else pool_tokens(model(batch), pool)


def like(one: Batch, signal: Float[Tensor, "batch sensor time"]) -> Batch:
    """Windows of the sensors of a batch of one. Their number is asked of the shape: `len` would fix it in a graph."""
    count = signal.shape[0]
    tensors = [field.name for field in fields(one) if isinstance(getattr(one, field.name), Tensor)]
    wide = {name: getattr(one, name).expand(count, *getattr(one, name).shape[1:]) for name in tensors}
    return replace(one, **{**wide, "signal": signal})


def export(checkpoint: str | Path, form: Form, out: Path, asked: Asked | None = None) -> Exported:
    """Write a decoder (else the encoder and a pooling) as a graph that takes (window, sensor, time) prepared windows.

    Windows are as the checkpoint's preparation leaves them; their number is free, sensors and length are not. The file is read
    back and compared with PyTorch on random windows and on those of a recording. Raises `BrainfmError`, and leaves nothing
    behind, where they differ by `ALLOWED` or where the network can't be a graph.
    """
    asked = asked or Asked()
    if out.is_dir():
        raise BrainfmError(f"{out} is a folder; choose another --out, a file")
    if form == "onnx":
        require_onnx()
    model = BrainFM.from_pretrained(checkpoint).eval()
    recording = example(model, checkpoint, asked)
    stream = windows_of(model, recording, asked)
    real = stream.batch(np.arange(min(REAL, len(stream.windows))))
    pool = None if model.decoder else asked.pool
    graph = Graph(model, real.windows(slice(0, 1)), pool).eval()
    random = np.random.default_rng(asked.seed).standard_normal((RANDOM, *real.signal.shape[1:]))
    compared = {
        "random": like(graph.one, torch.from_numpy(random.astype(np.float32))),
        "real": real,
    }
    said = description(model, str(checkpoint), stream, graph, recording)
    program = traced(graph, str(checkpoint))
    apart: dict[str, float] = {}

    def write(passing: Path) -> None:
        with quietly():
            WRITERS[form](program, said, passing)
            run = RUNNERS[form](passing)
        for name, batch in compared.items():
            apart[name] = difference(run, model, batch, pool)
            if not apart[name] < ALLOWED:
                raise CheckpointError(
                    f"{checkpoint}: on {name} windows the {form} graph is {apart[name]:.1e} from PyTorch, not under "
                    f"{ALLOWED:g}, so nothing was written; try the other --format"
                )

    return Exported(write_file(out, write), form, said, apart)


def example(model: BrainFM, checkpoint: str | Path, asked: Asked) -> Recording:
    """A recording with the sensors that the graph is made for: the one asked for, else the first that the decoder learnt from."""
    if asked.recording is not None:
        return read(model.decoder, asked.recording) if model.decoder else read_one(asked.recording)
    if model.decoder is None:
        raise BrainfmError(
            f"{checkpoint} has no decoder, so nothing says for which sensors; name a recording: --recording FILE"
        )
    try:
        card = DataCard.load(model.decoder.card)
        return card.read(card.entries()[0])
    except DataError:
        raise DataError(
            f"the recordings of {model.decoder.card}, which say where the sensors are, are not here; "
            "name one with the same sensors: --recording FILE"
        ) from None


def windows_of(model: BrainFM, recording: Recording, asked: Asked) -> Stream:
    """The recording's windows, prepared as the graph will be given them."""
    decoder = model.decoder
    if decoder is not None:
        mine = owned(same_sensors(recording, decoder), decoder, asked.person)
        prepared = model.prepare([mine], decoder.modality)
        require_known(model, prepared[0], asked.person)
        return regular(model.stream(prepared, cut_windows(prepared, decoder)[0], decoder.modality))
    if asked.person != UNTOLD:
        raise DataError(
            "--subject, --session and --stranger are for decoders, which know a card's people; leave them away"
        )
    modality = asked.modality or model.heard_in(recording)
    prepared = model.prepare([recording], modality)
    seconds = asked.seconds or model.signals[modality].seconds
    return regular(model.stream(prepared, throughout(prepared, modality, seconds), modality))


def regular(stream: Stream) -> Stream:
    """Refuse windows of events: as many tokens as events is no graph of one shape."""
    if stream.ragged:
        raise CheckpointError(
            f"{stream.modality} is read event by event, in windows of no one shape; a graph can't be made of that"
        )
    return stream


def traced(graph: Graph, checkpoint: str) -> torch.export.ExportedProgram:
    """The network's operations, for any number of windows. Raises `CheckpointError` where they depend on the windows."""
    shape = graph.one.signal.shape[1:]
    windows = torch.zeros(2, *shape)  # two: a graph of one window would be a graph for one window
    try:
        with quietly(), torch.no_grad():
            return torch.export.export(graph, (windows,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except (RuntimeError, ValueError, IndexError) as error:
        parts = (graph.model.signals[graph.one.modality].tokenizer.kind, graph.model.config.encoder["kind"])
        raise CheckpointError(
            f"{checkpoint}: {' with '.join(parts)} looks at its windows to choose its operations "
            f"({type(error).__name__}), so it can't be a graph"
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Keep off the terminal what torch warns of, logs and prints while it exports: brainfm says it in its sentences."""
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def write_torch(program: torch.export.ExportedProgram, said: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={DESCRIPTION: json.dumps(said)})


def write_onnx(program: torch.export.ExportedProgram, said: dict[str, Any], path: Path) -> None:
    outputs = [said["output"]["name"]]
    made = torch.onnx.export(program, input_names=[INPUT], output_names=outputs, verbose=False)
    assert made is not None  # without a file the exporter gives the program
    made.model.metadata_props[DESCRIPTION] = json.dumps(said)
    made.save(path, external_data=False)


Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def run_torch(path: Path) -> Run:
    """The file's graph as a function of arrays."""
    with path.open("rb") as file:
        module = torch.export.load(file).module()

    def run(signal: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(signal)).numpy())

    return run


def run_onnx(path: Path) -> Run:
    """The same by ONNX Runtime, on the CPU."""
    session = importlib.import_module("onnxruntime").InferenceSession(
        path.read_bytes(), providers=["CPUExecutionProvider"]
    )
    return lambda signal: np.asarray(session.run(None, {INPUT: signal})[0])


WRITERS: dict[Form, Callable[[torch.export.ExportedProgram, dict[str, Any], Path], None]] = {
    "torch": write_torch,
    "onnx": write_onnx,
}
RUNNERS: dict[Form, Callable[[Path], Run]] = {"torch": run_torch, "onnx": run_onnx}


def difference(run: Run, model: BrainFM, batch: Batch, pool: Pool | None) -> float:
    """The largest difference between a graph and the model, over all of a batch, its first window, and all but that."""
    worst = 0.0
    for part in (slice(None), slice(0, 1), slice(1, None)):
        some = batch.windows(part)
        if not len(some):
            continue
        with torch.inference_mode():
            right = told(model, some, pool).numpy()
        worst = max(worst, float(np.abs(run(some.signal.numpy()) - right).max()))
    return worst


def require_onnx() -> None:
    """Raise `BrainfmError` unless ONNX can be written and run here."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise BrainfmError(f"--format onnx needs {package}: pip install 'brainfm-toolkit[export]'")


def description(
    model: BrainFM, checkpoint: str, stream: Stream, graph: Graph, recording: Recording
) -> dict[str, Any]:
    """What belongs into the graph and what comes out, for whoever has the file alone."""
    decoder, signal = model.decoder, stream.recordings[0].signal(stream.modality)
    name = ("logits" if decoder.answer.of in OF_LABELS else "numbers") if decoder else "features"
    raw = decoder.sensors if decoder else list(recording.signal(stream.modality).sensors.name)
    steps = [step.model_dump(mode="json") for step in model.signals[stream.modality].prepare]
    return {
        "checkpoint": checkpoint,
        "recipe_hash": model.config.recipe_hash,
        "modality": stream.modality,
        "input": {
            "name": INPUT,
            "shape": ["batch", *graph.one.signal.shape[1:]],
            "sfreq": signal.sfreq,
            "seconds": stream.windows.seconds,
            "unit": sorted(set(signal.sensors.unit)),
        },
        "sensors": table_of(signal.sensors),
        "whose": owner(stream.recordings[0], stream.modality),
        "prepare": {"sensors": raw, "steps": steps},
        "output": {"name": name, "shape": ["batch", *graph.outputs]},
        **(
            {"labels": decoder.labels, "answer": decoder.answer.model_dump(mode="json", exclude={"matching"})}
            if decoder
            else {"pool": graph.pool}
        ),
        "sensors_of": recording.name,
    }


def table_of(sensors: Sensors) -> list[dict[str, Any]]:
    """Each sensor of the prepared windows, in order; places in metres."""
    rows = zip(sensors.name, sensors.kind, sensors.position, sensors.located, strict=True)
    return [
        {"name": name, "kind": kind, "position": np.round(at, 6).tolist() if known else None}
        for name, kind, at, known in rows
    ]
