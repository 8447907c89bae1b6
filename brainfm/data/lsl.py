"""Signals of the Lab Streaming Layer (Kothe et al. 2025, doi:10.1162/IMAG.a.136), through mne-lsl."""

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.gate import check_amplitude, faults
from brainfm.data.live import NAP, Block, numbers
from brainfm.data.modalities import modality as find_modality
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.selection import FIELDS, SensorChoice
from brainfm.data.units import UNITS, in_si
from brainfm.errors import DataError

FOUND = 5.0
"""Seconds in which a stream must be found and opened."""
STALLED = 5.0
"""Seconds without a sample after which a stream is looked for anew."""
JUMP = 0.25
"""Seconds between the stamps of two samples that are no jitter: what lies between is missing."""
LOOKED_AT = 5.0
"""Seconds whose amplitude must be plausible for the unit."""
MOST = 4096
"""Samples that are taken at once."""
WORDS = {"volts": "V", "millivolts": "mV", "microvolts": "µV", "nanovolts": "nV", "tesla": "T"}
CONFIGS = ("lsl_api.cfg", "~/lsl_api/lsl_api.cfg", "/etc/lsl_api/lsl_api.cfg")
"""Where liblsl looks for its settings."""


class Lsl:
    """A stream by name or source id. When it goes away it is waited for, `patience` seconds long, and goes on where it is then.

    Samples that were not received are counted by the stamps before and after. Raises `DataError` where the stream is not
    there, has not the sensors, or does not say its unit and nobody else does.
    """

    pace = 1.0

    def __init__(
        self,
        name: str,
        modality: str,
        sensors: Sequence[str],
        choice: SensorChoice | None = None,
        like: Recording | None = None,
        unit: str | None = None,
        patience: float = 60.0,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.lsl = mne_lsl()
        self.name, self.modality, self.patience, self.say = name, modality, patience, say
        self.where = f"LSL stream {name}" if name else "LSL stream"
        info = self.found()
        self.name, self.source_id = info.name, info.source_id
        self.where = f"LSL stream {info.name}"
        self.inlet = self.opened(info)
        self.layout = layout(self.inlet, self.where)
        self.sfreq = self.layout[1]
        names, kinds, units = self.layout[0], self.layout[2], self.layout[3]
        self.rows, table = matched(names, kinds, modality, sensors, choice, like, self.where)
        self.scale = scales([units[row] for row in self.rows], table, unit, self.where)[:, None]
        signal = Signal(np.zeros((len(table), 0)), self.sfreq, table)
        self.recording = Recording({modality: signal}, source=self.where)

    def clock(self) -> float:
        return float(self.lsl.local_clock())

    def blocks(self) -> Iterator[Block | None]:
        """Every sample that arrives. Raises `DataError` where the stream stays away, or comes back as another."""
        yield from numbers(self.plausible(self.received()), self.sfreq)

    def received(self) -> Iterator[Block | None]:
        """The blocks as they arrive, through every interruption."""
        last: float | None = None  # the stamp of the newest sample
        heard = self.clock()
        first = 0
        follows = True
        while True:
            try:
                data, stamps = self.pulled()
            except Exception as error:
                if type(error).__name__ != "LostError":
                    raise
                self.say(f"{self.where} went away at {first / self.sfreq:.1f} s; waiting for it")
                yield from self.again(heard)
                follows = False
                continue
            if not len(stamps):
                if self.clock() - heard > STALLED:
                    self.say(
                        f"{self.where} gives no samples since {first / self.sfreq:.1f} s; waiting for it"
                    )
                    yield from self.again(heard)
                    follows = False
                yield None
                continue
            for start, stop in pieces(stamps, last, self.sfreq):
                missing = 0
                if last is not None and (start or not follows or jumped(stamps[0] - last, self.sfreq)):
                    silence = max(0.0, self.clock() - heard)
                    missing = absent(
                        float(stamps[start] - (stamps[start - 1] if start else last)), silence, self.sfreq
                    )
                    follows = False
                first += missing
                yield Block(data[:, start:stop], first, float(stamps[stop - 1]), follows, missing)
                first, follows = first + stop - start, True
            last, heard = float(stamps[-1]), self.clock()

    def pulled(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(sensor, time) samples in SI units and their stamps: all that is there, or the next within `NAP`."""
        one, stamp = self.inlet.pull_sample(timeout=NAP)
        if stamp is None:
            return np.zeros((len(self.rows), 0)), np.zeros(0)
        one = np.array(one, np.float64)[None]
        rest, stamps = self.inlet.pull_chunk(timeout=0.0, max_samples=MOST)
        data = np.concatenate([one, np.asarray(rest, np.float64)])[:, self.rows].T * self.scale
        return data, np.concatenate([[stamp], stamps])

    def again(self, heard: float) -> Iterator[None]:
        """Look for the stream until it is back."""
        while self.clock() - heard < self.patience:
            yield None
            found = self.lsl.resolve_streams(
                timeout=4 * NAP, name=self.name, source_id=self.source_id or None
            )
            if not found:
                continue
            try:
                inlet = self.opened(found[0])
                now = layout(inlet, self.where)
            except (DataError, TimeoutError, RuntimeError):
                continue  # gone again
            if now != self.layout:
                raise DataError(
                    f"{self.where} came back with other sensors, units or another rate; start again"
                )
            self.inlet = inlet
            self.say(f"{self.where} is back")
            return
        raise DataError(
            f"{self.where} went away and did not come back within {self.patience:g} s; start it, or wait longer with "
            "--patience"
        )

    def plausible(self, blocks: Iterator[Block | None]) -> Iterator[Block | None]:
        """The blocks; an amplitude that the unit can't have, or none, is refused as soon as enough of it is there."""
        kind = find_modality(self.modality)
        seen: list[NDArray[np.float64]] | None = []
        for block in blocks:
            yield block
            if block is None or seen is None:
                continue
            seen.append(block.data)
            if sum(one.shape[1] for one in seen) >= LOOKED_AT * self.sfreq:
                data = np.nan_to_num(np.concatenate(seen, axis=1))
                signal = Signal(data, self.sfreq, self.recording.signal(self.modality).sensors)
                check_amplitude(self.recording.with_signal(self.modality, signal), kind)
                for name, fault in faults(signal, kind).items():
                    raise DataError(
                        f"{self.where}: sensor {name} {fault}, and the decoder needs it; look at it"
                    )
                seen = None

    def found(self) -> Any:
        """The stream's description. Raises `DataError` that lists what is on the network."""
        tries = [{"name": self.name}, {"source_id": self.name}] if self.name else []
        for words in tries:
            if found := self.lsl.resolve_streams(timeout=FOUND / 2, **words):
                return found[0]
        there = [one for one in self.lsl.resolve_streams(timeout=1.0) if one.sfreq and one.dtype is not str]
        late = [one for one in there if self.name in ("", one.name, one.source_id)]
        if late and (self.name or len(there) == 1):
            return late[0]
        names = ", ".join(f"lsl:{one.name}" for one in there) or "none"
        asked = f"there is no LSL stream {self.name}" if self.name else "say which LSL stream"
        raise DataError(f"{asked}; streams on this network: {names}")

    def opened(self, info: Any) -> Any:
        """An inlet that receives. Raises `DataError` where the stream does not answer."""
        inlet = self.lsl.StreamInlet(info, recover=False, processing_flags=["clocksync"])
        try:
            inlet.open_stream(timeout=FOUND)
        except (TimeoutError, RuntimeError) as error:
            raise DataError(f"{self.where} does not answer ({error}); start it again") from error
        return inlet


def pieces(stamps: NDArray[np.float64], last: float | None, sfreq: float) -> list[tuple[int, int]]:
    """Where samples of these stamps follow on each other: (first, stop) of each run."""
    cuts = (np.flatnonzero(jumped(np.diff(stamps), sfreq)) + 1).tolist()
    return list(zip([0, *cuts], [*cuts, len(stamps)], strict=True))


def jumped(step: Any, sfreq: float) -> Any:
    """Whether a step between two stamps is no jitter."""
    return step > JUMP + 1 / sfreq


def absent(step: float, silence: float, sfreq: float) -> int:
    """How many samples lie between two stamps; by how long nothing was heard where a sender's clock began anew."""
    if step < 0 or step > silence + 10.0:
        step = silence
    return max(0, round(step * sfreq) - 1)


def layout(inlet: Any, where: str) -> tuple[tuple[str, ...], float, tuple[str, ...], tuple[str, ...]]:
    """Names, rate, types and units of a stream's channels. Raises `DataError` where it can't be a signal."""
    info = inlet.get_sinfo(timeout=FOUND)
    names = info.get_channel_names()
    if not info.sfreq or info.dtype is str:
        raise DataError(f"{where} has no constant rate, so it is no signal; choose another stream")
    if not names or None in names:
        raise DataError(f"{where} does not name its channels; let what sends it name them")

    def words(found: list[str | None] | None) -> tuple[str, ...]:
        return tuple(word or "" for word in found) if found else ("",) * len(names)

    return tuple(names), float(info.sfreq), words(info.get_channel_types()), words(info.get_channel_units())


def matched(
    names: Sequence[str],
    types: Sequence[str],
    modality: str,
    wanted: Sequence[str],
    choice: SensorChoice | None,
    like: Recording | None,
    where: str,
) -> tuple[list[int], Sensors]:
    """The channel of each wanted sensor, and their table: `like` a recording's, else as a reader would have it.

    Raises `DataError` that names the sensors which the stream lacks.
    """
    if like is not None:
        table = like.signal(modality).sensors
        rows = list(range(len(names)))
        called = list(names)
    elif modality in FIELDS:
        usual = next(iter(find_modality(modality).kinds))
        known = [kind.lower() if kind else usual for kind in types]
        chosen = (choice or SensorChoice()).select(names, known, None, where, modality)
        rows, table, called = chosen.rows, chosen.sensors, list(chosen.sensors.name)
    else:
        kind, of = next(iter(find_modality(modality).kinds.items()))
        unit = "count" if of.unit == "Hz" else of.unit
        rows, table, called = list(range(len(names))), Sensors.of(names, kind, unit), list(names)
    missing = [name for name in wanted if name not in called]
    if missing:
        raise DataError(
            f"{where} lacks {', '.join(missing)}, which the decoder was trained with; it has {', '.join(names[:20])}"
        )
    return [rows[called.index(name)] for name in wanted], table.take(
        [table.name.index(name) for name in wanted]
    )


def scales(units: Sequence[str], table: Sensors, given: str | None, where: str) -> NDArray[np.float64]:
    """(sensor,) what a stream's numbers have to be multiplied by to be in SI units."""
    return np.array(
        [
            scale(given or unit, si, name, where)
            for unit, si, name in zip(units, table.unit, table.name, strict=True)
        ]
    )


def scale(unit: str, si: str, name: str, where: str) -> float:
    """One sensor's, from a unit, a word for it, or the power of ten that MNE-LSL writes."""
    if si not in UNITS:  # counts
        return 1.0
    if unit.lstrip("+-").isdigit():
        return float(10.0 ** int(unit))
    if not unit:
        raise DataError(f"{where} does not say the unit of {name}; say it: --unit µV")
    return in_si(WORDS.get(unit.lower(), unit), si)


def mne_lsl() -> Any:
    """mne-lsl's `lsl`, its library kept from chatting on stderr. Raises `DataError` where it is not installed."""
    if "LSLAPICFG" not in os.environ and not any(Path(name).expanduser().exists() for name in CONFIGS):
        os.environ["LSLAPICFG"] = str(Path(__file__).with_name("lsl_api.cfg"))
    try:
        return importlib.import_module("mne_lsl.lsl")
    except ImportError as error:
        raise DataError(
            f"LSL streams need mne-lsl ({error}): pip install 'brainfm-toolkit[stream]'"
        ) from None
