"""Stream: a decoder and a signal that is still coming in, from LSL or from a file that is played; a decision every so often."""

from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]  # comes with accelerate
import torch
from numpy.typing import NDArray

from brainfm.answers import OF_LABELS
from brainfm.batch import Batch
from brainfm.data.live import Block, Played, Source
from brainfm.data.lsl import Lsl
from brainfm.data.modalities import owner
from brainfm.data.preprocess import on_windows, prepare_causally
from brainfm.data.ring import Cutter
from brainfm.data.selection import SensorChoice
from brainfm.data.windows import n_samples
from brainfm.errors import BrainfmError, CheckpointError, DataError
from brainfm.jobs.predict import read, require_sensors
from brainfm.model import BrainFM
from brainfm.model_config import DecoderSettings
from brainfm.whose import UNTOLD, Person, owned, require_known

LSL = "lsl:"
MINUTE = 60.0


@dataclass(frozen=True)
class Options:
    """How a signal is decoded while it comes in.

    `every` and `calibrate` are seconds of signal: between two decisions, and from which a scale is measured. `speed` is for
    files (0: as fast as possible), `unit`, `like` (a recording with the same sensors) and `patience` (seconds) for LSL. After
    `stop_after` seconds of signal it ends. A decision is computed by `threads` threads: a second one waits for its core when
    that does anything else, for seconds on a busy machine (LOG, 2026-11-29).
    """

    every: float = 0.5
    calibrate: float = 30.0
    speed: float = 1.0
    patience: float = 60.0
    stop_after: float | None = None
    unit: str | None = None
    like: Path | None = None
    threads: int = 1
    person: Person = UNTOLD
    """Whose it is, where sensors or a layer of the decoder are a person's own."""


@dataclass(frozen=True)
class Decision:
    """What the decoder says of the window that ends `time` seconds after the signal began.

    `told` has a number for each of its names: probabilities of labels or, where `of` says so, values in `unit` or expected
    counts; of a decoder that answers for every patch, those of the last. `latency_ms` is from the newest sample that was
    needed (its stamp) until the decision was there.
    """

    time: float
    told: Mapping[str, float]
    latency_ms: float
    of: str = "classes"
    unit: str = ""

    @property
    def label(self) -> str:
        """The likeliest."""
        return max(self.told, key=self.told.__getitem__)

    @property
    def text(self) -> str:
        """The same for the line that changes."""
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in self.told.items())
        said = (
            f"{self.label} {self.told[self.label]:.2f}" if self.of in OF_LABELS else f"{numbers} {self.unit}"
        )
        return f"{self.time:.1f} s · {said.strip()} · {self.latency_ms:.1f} ms"

    @property
    def json(self) -> dict[str, Any]:
        """A line of `stream`."""
        told = dict(self.told)
        said = (
            {"label": self.label, "probabilities": told}
            if self.of in OF_LABELS
            else {"value": told, "of": self.of, "unit": self.unit}
        )
        return {"time": round(self.time, 6), **said, "latency_ms": round(self.latency_ms, 3)}


@dataclass
class Tally:
    """What was received and decided so far."""

    received: int = 0
    missing: int = 0
    gaps: int = 0
    seconds: float = 0.0
    latency: "array[float]" = field(default_factory=lambda: array("f"))
    """Milliseconds of every decision: four bytes each, a megabyte in three days at one a second."""
    memory: list[float] = field(default_factory=list)
    """Megabytes that the process held when the first decision was made or a minute was over, whichever came last; and now."""

    def take(self, block: Block) -> None:
        """Count a block."""
        self.received += block.data.shape[1]
        self.missing += block.missing
        self.gaps += not block.follows and block.first > 0

    def weigh(self, early: bool) -> None:
        """Note the memory; until the first minute is over it is the first figure."""
        now = psutil.Process().memory_info().rss / 1e6
        self.memory = [now, now] if early or not self.memory else [self.memory[0], now]

    @property
    def brief(self) -> str:
        """For the line that changes."""
        return f"{len(self.latency)} decisions, {self.received} samples, {self.missing} missing"

    @property
    def json(self) -> dict[str, Any]:
        """What `stream --json` ends with."""
        found = np.array(self.latency) if len(self.latency) else None
        middle, rare, most = (
            (None,) * 3 if found is None else (*np.percentile(found, [50, 99]).tolist(), float(found.max()))
        )
        return {
            "seconds": self.seconds,
            "decisions": len(self.latency),
            "latency_ms": {"p50": middle, "p99": rare, "max": most},
            "received": self.received,
            "missing": self.missing,
            "gaps": self.gaps,
            "memory_mb": {"early": self.memory[0], "end": self.memory[1]} if self.memory else None,
        }

    @property
    def text(self) -> str:
        """The same for a reader."""
        found = self.json
        late = found["latency_ms"]
        took = (
            f"latency p50 {late['p50']:.1f} ms, p99 {late['p99']:.1f} ms, longest {late['max']:.1f} ms"
            if self.latency
            else "none was due"
        )
        held = (
            f"; memory {self.memory[0]:.0f} MB at first, {self.memory[1]:.0f} MB at the end"
            if self.memory
            else ""
        )
        return (
            f"{len(self.latency)} decisions in {self.seconds:.1f} s of signal: {took}\n"
            f"{self.received} samples received, {self.missing} missing in {self.gaps} gaps{held}"
        )


class Stream:
    """A decoder at a source. `decisions` runs until the source ends; `tally` says how it went, at any time."""

    def __init__(
        self, model: BrainFM, source: Source, options: Options, say: Callable[[str], None] = lambda text: None
    ) -> None:
        if not options.every > 0 or not options.calibrate > 0:
            raise BrainfmError("--every and --calibrate are seconds above 0")
        self.model, self.source, self.options, self.say = model.eval(), source, options, say
        self.decoder = decoder_of(model, "this checkpoint")
        modality = self.decoder.modality
        settings = model.signals[modality]
        self.steps = settings.prepare
        self.chain, self.prepared = prepare_causally(
            owned(source.recording, self.decoder, options.person), self.steps, modality, options.calibrate
        )
        self.notes = require_known(model, self.prepared, options.person)
        signal = self.prepared.signal(modality)
        self.sfreq, self.raw_sfreq = signal.sfreq, source.recording.signal(modality).sfreq
        wanted = settings.tokenizer.sfreq
        if abs(self.sfreq - wanted) > 1e-6 * wanted:
            raise DataError(
                f"{source.recording.name} comes in at {self.raw_sfreq:g} Hz and the decoder needs {wanted:g} Hz, which its "
                "preparation does not make of it: send it at that rate, or train with a `resample` step"
            )
        self.cutter = Cutter(
            n_samples(self.decoder.window.seconds, self.sfreq),
            len(signal.sensors),
            options.every * self.sfreq,
        )
        self.tally = Tally()

    @property
    def said(self) -> list[str]:
        """What a user should know before the first decision."""
        late = (
            f"decisions are {1000 * self.chain.delay:.0f} ms behind the signal by preparation"
            if self.chain.delay
            else ""
        )
        wait = max(self.chain.held, self.decoder.window.seconds)
        first = f"the first decision comes after {wait:g} s of signal"
        return [*self.notes, *self.chain.said, *([late] if late else []), first]

    def decisions(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Decision]:
        """The decisions as they are due. Raises `DataError` where the source fails."""
        with threads(self.options.threads):
            self.warm_up()
            begin = 0
            self.cutter.restart(self.chain.held * self.sfreq)
            for block in self.source.blocks():
                if stop():
                    return
                if block is None:
                    continue
                self.tally.take(block)
                if not block.follows and block.first:
                    begin = self.resume(block)
                for end, window in self.cutter.take(self.chain(block.data)):
                    yield self.decision(end, window, begin, block)
                self.tally.seconds = (block.last + 1) / self.raw_sfreq
                if self.options.stop_after and self.tally.seconds >= self.options.stop_after:
                    return

    def warm_up(self) -> None:
        """Decide once on nothing: what torch prepares at its first call must not delay the first decision."""
        shape = (len(self.prepared.signal(self.decoder.modality).sensors), self.cutter.ring.size)
        self.decide(np.random.default_rng(0).poisson(1.0, shape).astype(np.float64))

    def resume(self, block: Block) -> int:
        """Begin anew behind a gap: no filter and no window reaches over it. The number of the first sample behind it."""
        lost = f"{block.missing} samples are missing" if block.missing else "the recording is interrupted"
        self.say(f"{block.first / self.raw_sfreq:.2f} s: {lost}; filters and window begin anew")
        self.chain.restart()
        self.cutter.restart(self.chain.held * self.sfreq)
        return block.first

    def decision(self, end: int, window: NDArray[np.float64], begin: int, block: Block) -> Decision:
        """The one for a window that ends before prepared sample `end`, counted from raw sample `begin`."""
        told = self.decide(window)
        needed = begin + int(((end - 1) / self.sfreq + self.chain.delay) * self.raw_sfreq + 1e-6)
        stamp = block.stamp - (block.last - min(needed, block.last)) / self.raw_sfreq / self.source.pace
        latency = 1000 * (self.source.clock() - stamp)
        self.tally.latency.append(latency)
        at = begin / self.raw_sfreq + end / self.sfreq
        self.tally.weigh(at <= MINUTE)
        answer, named = self.decoder.answer, dict(zip(self.decoder.labels, told.tolist(), strict=True))
        return Decision(at, named, latency, answer.of, answer.unit)

    @torch.inference_mode()
    def decide(self, window: NDArray[np.float64]) -> NDArray[np.float64]:
        """(label,) what is told of a prepared (sensor, time) window, of its last patch where each has an answer."""
        modality = self.decoder.modality
        one, signal = self.prepared, self.prepared.signal(modality)
        values = on_windows(self.steps, window[None], signal.sensors).astype(np.float32)
        batch = Batch.of(
            modality,
            values,
            self.sfreq,
            [signal.sensors],
            places=[owner(self.prepared, modality)],
            subjects=[f"{one.dataset}/{one.subject}" if one.subject else ""],
        )
        told = self.decoder.answer.told(self.model.decode(batch))[0]
        return (told[-1] if told.ndim == 2 else told).cpu().numpy()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def decoder_of(model: BrainFM, checkpoint: str | Path) -> DecoderSettings:
    """Its decoder. Raises `CheckpointError` where it has none."""
    if model.decoder is None:
        raise CheckpointError(
            f"{checkpoint} has no decoder; make one with `brainfm finetune RECIPE --from {checkpoint}`"
        )
    return model.decoder


def stream(
    decoder: str | Path,
    source: str,
    options: Options | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Stream:
    """The decoder at a file, or at the LSL stream of a name or source id (`lsl:NAME`). Nothing is decoded yet.

    Raises `BrainfmError` where there is no decoder, no source, where a sensor is missing, the rate is wrong, a step of the
    preparation needs the whole recording, or sensors are known by their owner and none of these is.
    """
    options = options or Options()
    model = BrainFM.from_pretrained(decoder)
    settings = decoder_of(model, decoder)
    if not source.startswith(LSL):
        recording = read(settings, Path(source))
        require_sensors(recording.signal(settings.modality).sensors.name, recording.name, settings)
        played = Played(recording, settings.modality, settings.sensors, options.speed)
        return Stream(model, played, options, say)
    like = read(settings, options.like) if options.like else None
    choice = settings.reader if isinstance(settings.reader, SensorChoice) else None
    name = source.removeprefix(LSL)
    found = Lsl(name, settings.modality, settings.sensors, choice, like, options.unit, options.patience, say)
    return Stream(model, found, options, say)
