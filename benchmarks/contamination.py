"""How often is a recording known again after what happens to files, and how often is another taken for it?

    python benchmarks/contamination.py --json contamination.json

Every recording of the cards whose files are here goes into one manifest. Each is then changed as files are changed and
asked about: its recall is how often the verdict is "seen". The same copies are asked about with their own recording taken
out of the manifest: what is "seen" then is a false positive.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mne
import numpy as np
from asked import Asked
from score_tables import Found, markdown

from brainfm import read
from brainfm.data.cards import DataCard, list_cards
from brainfm.data.gate import content_hash
from brainfm.data.preprocess.band_pass import BandPass
from brainfm.data.preprocess.reference import Reference
from brainfm.data.preprocess.resample import Resample
from brainfm.data.recording import Recording, Signal
from brainfm.data.spike_times import SpikeTimes
from brainfm.errors import BrainfmError
from brainfm.manifest import Entry, Manifest

PIECES = 4
"""Of one recording and length, evenly spaced, that are asked about."""
Copies = Iterator[Recording]
Change = Callable[[Recording, str, Path], Copies]


@dataclass(frozen=True)
class Count:
    """What was said of the copies that a change made."""

    change: str
    modality: str
    copies: int
    seen: int
    unknown: int
    wrong: int
    """Copies called seen with their own recording taken out."""
    pairs: int


def main() -> None:
    """Ask about every copy, print the table, write the JSON."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--limit", type=int, help="recordings of each card")
    chosen = arguments.parse_args()
    print(table(measure(here(chosen.limit), chosen.json)))  # noqa: T201 - this is the command's output


def measured(asked: Asked) -> dict[str, Any]:
    """Every change of every recording that is here; a check asks about that many of each card."""
    return as_json(measure(here(asked.limit)))


def lines(found: Found) -> list[str]:
    """Copies that are called seen, that can't be told, and that are missed, by change."""
    rows = []
    for change in dict.fromkeys(row["change"] for row in found["rows"]):
        some = [row for row in found["rows"] if row["change"] == change]
        copies, seen, unknown = (sum(row[key] for row in some) for key in ("copies", "seen", "unknown"))
        rows.append([change, f"{seen}/{copies}", str(unknown), str(copies - seen - unknown)])
    wrong = f"{found['false_positives']} false positives in {found['copies']} copies ({found['comparisons']} comparisons)."
    return [*markdown(["change", "seen / copies", "unknown", "missed"], rows), "", wrong]


def here(limit: int | None = None) -> list[tuple[Recording, str]]:
    """The recordings of all cards whose folder is here, each with its modality."""
    found = []
    for name in list_cards():
        card = DataCard.load(name)
        if card.reader is None or card.simulated:
            continue
        try:
            found += [(one, card.modality) for one in card.recordings(limit)]
        except BrainfmError:  # its files are not here
            continue
    return found


def measure(recordings: Sequence[tuple[Recording, str]], save: Path | None = None) -> list[Count]:
    """Every change of every recording, asked about; what is counted so far goes to `save` after each recording."""
    manifest = Manifest()
    for recording, modality in recordings:
        manifest = manifest + Manifest.of([recording], modality, with_labels=False)
    tally: dict[tuple[str, str], list[int]] = {}
    for recording, modality in recordings:
        ask(recording, modality, manifest, tally)
        if save:
            save.write_text(json.dumps(as_json(counted(tally)), indent=1))
    return counted(tally)


def counted(tally: dict[tuple[str, str], list[int]]) -> list[Count]:
    """The rows of a tally."""
    return [Count(*key, *row) for key, row in tally.items()]


def ask(
    recording: Recording, modality: str, manifest: Manifest, tally: dict[tuple[str, str], list[int]]
) -> None:
    """Every change of one recording, asked about with its own entry in the manifest and without."""
    others = Manifest(entries=[one for one in manifest.entries if not own(one, recording)])
    with tempfile.TemporaryDirectory() as folder:
        for name, change in CHANGES.items():
            for copy in made(change, recording, modality, Path(folder)):
                said, wrong = manifest.verdict(copy, modality), others.verdict(copy, modality)
                row = tally.setdefault((name, modality), [0, 0, 0, 0, 0])
                seen, lost = said.startswith("seen"), said == "unknown"
                new = [1, seen, lost, wrong.startswith("seen"), len(others.entries)]
                row[:] = [before + int(one) for before, one in zip(row, new, strict=True)]


def own(entry: Entry, recording: Recording) -> bool:
    """Whether an entry is of this recording, or of another with the same content."""
    return entry.content_hash == recording.content_hash


def made(change: Change, recording: Recording, modality: str, folder: Path) -> Copies:
    """The copies, under another name and with the hash of what they hold; none where the change does not apply."""
    try:
        for copy in change(recording, modality, folder):
            stranger = replace(copy, dataset="elsewhere", subject="x", session="", run="", source="")
            yield replace(stranger, content_hash=content_hash(stranger))
    except (BrainfmError, ValueError, RuntimeError, OverflowError):  # no such format for this rate or sensor
        return


def of_field(recording: Recording, modality: str) -> Signal | None:
    """Its signal, where it is one that is sampled fast enough to be filtered and cut by seconds."""
    signal = recording.signal(modality)
    return None if isinstance(signal.data, SpikeTimes) or signal.sfreq < 10 else signal


def renamed(recording: Recording, modality: str, folder: Path) -> Copies:
    yield recording


def sixteen_bits(recording: Recording, modality: str, folder: Path) -> Copies:
    """Rounded to 16 bits of each sensor's range; spikes to a millisecond."""
    signal = recording.signal(modality)
    if isinstance(signal.data, SpikeTimes):
        data: Any = SpikeTimes(
            np.round(signal.data.time, 3), signal.data.neuron, signal.data.neurons, signal.data.seconds
        )
    else:
        values = signal.load()
        step = np.abs(values).max(axis=1, keepdims=True) / 32767
        data = np.round(values / np.where(step > 0, step, 1)) * step
    yield recording.with_signal(modality, replace(signal, data=data))


def saved_as(suffix: str) -> Change:
    """Written to a file of another format and read again."""

    def change(recording: Recording, modality: str, folder: Path) -> Copies:
        signal = of_field(recording, modality)
        if signal is None or modality not in ("eeg", "seeg"):
            return
        kind = "eeg" if modality == "eeg" else "seeg"
        raw = mne.io.RawArray(
            signal.load(), mne.create_info(list(signal.sensors.name), signal.sfreq, kind), verbose="error"
        )
        path = folder / f"copy_raw{suffix}"
        if suffix == ".fif":
            raw.save(path, overwrite=True, verbose="error")
        else:
            mne.export.export_raw(path, raw, overwrite=True, verbose="error")
        yield read(path, kinds={"*": kind}, positions="none", unit="V" if suffix == ".fif" else None)

    return change


def resampled(recording: Recording, modality: str, folder: Path) -> Copies:
    signal = of_field(recording, modality)
    if signal is not None:
        yield Resample(sfreq=128.0 if signal.sfreq > 160 else 0.8 * signal.sfreq)(recording, modality)


def pieces_of(seconds: float) -> Change:
    """Pieces of so many seconds, none at a round place."""

    def change(recording: Recording, modality: str, folder: Path) -> Copies:
        signal = recording.signal(modality)
        if signal.seconds < seconds:
            return
        latest = signal.seconds - seconds
        for start in np.unique(np.linspace(0.37 * min(1.0, latest), latest, PIECES)):
            yield recording.with_signal(modality, part(signal, float(start), float(start) + seconds))

    return change


def part(signal: Signal, start: float, stop: float) -> Signal:
    """A stretch of a signal, its clock from zero."""
    first, last = round(start * signal.sfreq), round(stop * signal.sfreq)
    if isinstance(signal.data, SpikeTimes):
        kept = (signal.data.time >= start) & (signal.data.time < stop)
        spikes = SpikeTimes(
            signal.data.time[kept] - start, signal.data.neuron[kept], signal.data.neurons, stop - start
        )
        return replace(signal, data=spikes)
    inside = tuple(edge - first for edge in signal.breaks if first < edge < last)
    return replace(signal, data=np.asarray(signal.data[:, first:last]), breaks=inside)


def fewer_sensors(recording: Recording, modality: str, folder: Path) -> Copies:
    """Every second sensor, the last first."""
    signal = recording.signal(modality)
    rows = list(range(len(signal.sensors)))[::-2]
    if len(signal.sensors) > 1:
        data: Any = signal.data.take(rows) if isinstance(signal.data, SpikeTimes) else signal.load()[rows]
        yield recording.with_signal(modality, replace(signal, data=data, sensors=signal.sensors.take(rows)))


def filtered(recording: Recording, modality: str, folder: Path) -> Copies:
    if of_field(recording, modality) is not None:
        yield BandPass(low=1.0, high=min(40.0, 0.45 * recording.signal(modality).sfreq))(recording, modality)


def referenced(recording: Recording, modality: str, folder: Path) -> Copies:
    if of_field(recording, modality) is not None and len(recording.signal(modality).sensors) > 2:
        yield Reference(to="average")(recording, modality)


def all_at_once(recording: Recording, modality: str, folder: Path) -> Copies:
    """Rounded to 16 bits, resampled and cut into minutes."""
    for rounded in sixteen_bits(recording, modality, folder):
        spikes = isinstance(rounded.signal(modality).data, SpikeTimes)
        for slower in [rounded] if spikes else resampled(rounded, modality, folder):
            yield from pieces_of(60.0)(slower, modality, folder)


CHANGES: dict[str, Change] = {
    "renamed": renamed,
    "16 bits": sixteen_bits,
    "saved as EDF": saved_as(".edf"),
    "saved as FIF": saved_as(".fif"),
    "resampled": resampled,
    "pieces of 60 s": pieces_of(60.0),
    "pieces of 30 s": pieces_of(30.0),
    "pieces of 10 s": pieces_of(10.0),
    "half of the sensors": fewer_sensors,
    "1 to 40 Hz": filtered,
    "16 bits, resampled, pieces of 60 s": all_at_once,
    "average reference": referenced,
}


def total(counts: Sequence[Count], **wanted: str) -> Count:
    """The sum of what fits."""
    some = [one for one in counts if all(getattr(one, key) == value for key, value in wanted.items())]
    numbers = [
        sum(getattr(one, name) for one in some) for name in ("copies", "seen", "unknown", "wrong", "pairs")
    ]
    return Count(wanted.get("change", "all"), wanted.get("modality", "all"), *numbers)


def table(counts: Sequence[Count]) -> str:
    """Recall by change and instrument, in Markdown, and the false positives of all."""
    modalities = sorted({one.modality for one in counts})
    lines = [
        "| change | copies | seen | unknown | missed | " + " | ".join(modalities) + " |",
        "|---" * (5 + len(modalities)) + "|",
    ]
    for name in dict.fromkeys(one.change for one in counts):
        one = total(counts, change=name)
        each = [total(counts, change=name, modality=modality) for modality in modalities]
        cells = [f"{part.seen}/{part.copies}" if part.copies else "–" for part in each]
        missed = one.copies - one.seen - one.unknown
        lines.append(
            f"| {name} | {one.copies} | {one.seen / one.copies:.3f} | {one.unknown} | {missed} | {' | '.join(cells)} |"
        )
    every = total(counts)
    lines.append(
        f"\nFalse positives: {every.wrong} of {every.copies} copies, in {every.pairs} comparisons with other recordings."
    )
    return "\n".join(lines)


def as_json(counts: Sequence[Count]) -> dict[str, Any]:
    """Every count, and the rates over all instruments."""
    every = total(counts)
    names = dict.fromkeys(one.change for one in counts)
    return {
        "rows": [vars(one) for one in counts],
        "recall": {name: (one := total(counts, change=name)).seen / one.copies for name in names},
        "false_positives": every.wrong,
        "copies": every.copies,
        "comparisons": every.pairs,
    }


if __name__ == "__main__":
    main()
