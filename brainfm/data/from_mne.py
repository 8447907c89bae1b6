"""From MNE's objects to a `Recording`: what the file readers and `brainfm.read` share."""

import configparser
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.events import Events, from_array
from brainfm.data.lazy import LazyRaw
from brainfm.data.pauses import Pauses, joins
from brainfm.data.positions import Given
from brainfm.data.recording import Recording, Signal
from brainfm.data.selection import FIELD_KINDS, Selected, SensorChoice, listing
from brainfm.data.units import UNITS, in_si, spelled

NAMING = ("naming conventions", "does not conform to MNE")
"""Warnings of MNE that say nothing about the data."""
SI = {"mag": "T", "grad": "T/m"}
"""The SI units of MNE's channels that are not in volts."""
MICROVOLTS = ("RawEEGLAB", "RawCNT", "RawEGI", "RawMff", "RawANT", "EpochsEEGLAB")
"""Readers of formats that hold microvolts without saying so in a header."""
BOUNDARIES = ("boundary", "EDGE boundary", "New Segment/")
"""What annotations call an interruption."""

UNREADABLE = (
    ValueError,
    RuntimeError,
    OSError,
    EOFError,
    TypeError,
    LookupError,
    AttributeError,
    ImportError,
    struct.error,
    configparser.Error,
)
"""What MNE raises over a file that is broken or of another format."""


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect what MNE warns of, one sentence each, instead of printing it."""
    import mne

    heard: list[str] = []
    with warnings.catch_warnings(record=True) as caught, mne.use_log_level("warning"):
        warnings.simplefilter("always")
        yield heard
    said = dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)
    heard.extend(f"MNE: {text}" for text in said if not any(noise in text for noise in NAMING))


def recording_of_raw(
    raw: Any, choice: SensorChoice, unit: str | None, where: str, inside: Given | None = None
) -> Recording:
    """An `mne.io.Raw` as it is: lazy if it is not loaded, a signal for each instrument, events from annotations,
    else from stimulus channels."""
    types = raw.get_channel_types()
    given = given_places(raw)
    pauses = Pauses.of(raw)
    signals: dict[str, Signal] = {}
    notes: list[str] = []
    for modality in choice.held(raw.ch_names, types, where):
        selected = good(
            choice.select(raw.ch_names, types, places(modality, given, inside), where, modality), raw
        )
        held, rows = at_their_rate(raw, selected.rows)
        sfreq = float(held.info["sfreq"])
        recorded = pauses.recorded(sfreq, held.n_times)
        data = LazyRaw(held, rows, unit_scale(raw, selected.rows, unit), recorded)
        breaks = {*joins(recorded), *boundaries(raw, sfreq, data.shape[1])}
        signals[modality] = Signal(data, sfreq, selected.sensors, tuple(sorted(breaks)))
        notes += [*selected.notes, *upsampled(held, rows), *pauses.notes]
    events = annotations(raw)
    events = events if len(events) else stimuli(raw)
    notes = list(dict.fromkeys(notes))
    return Recording(signals, events=events, source=where, notes=tuple(notes), pauses=pauses.spans)


def recording_of_epochs(
    epochs: Any, choice: SensorChoice, unit: str | None, where: str, inside: Given | None = None
) -> Recording:
    """`mne.Epochs` as one signal with breaks, and one event for each at its time zero (or its start)."""
    epochs = epochs.copy().load_data()
    epochs.drop_bad(verbose="error")
    types = epochs.get_channel_types()
    given = given_places(epochs)
    sfreq, length = float(epochs.info["sfreq"]), len(epochs.times)
    breaks = tuple(range(length, len(epochs) * length, length))
    signals: dict[str, Signal] = {}
    notes: list[str] = []
    for modality in choice.held(epochs.ch_names, types, where):
        selected = good(
            choice.select(epochs.ch_names, types, places(modality, given, inside), where, modality), epochs
        )
        windows = epochs.get_data(picks=selected.rows, verbose="error")
        data = np.concatenate(list(windows), axis=1) if len(windows) else np.zeros((len(selected.rows), 0))
        data = data * unit_scale(epochs, selected.rows, unit)[:, None]
        signals[modality] = Signal(data, sfreq, selected.sensors, breaks)
        notes += selected.notes
    names = {code: name for name, code in epochs.event_id.items()}
    zero = -epochs.tmin if epochs.tmin <= 0 <= epochs.tmax else 0.0
    onset = np.arange(len(epochs)) * length / sfreq + zero
    duration = np.full(len(epochs), length / sfreq - zero)
    events = Events(onset, duration, tuple(names[code] for code in epochs.events[:, 2]))
    return Recording(signals, events=events, source=where, notes=tuple(dict.fromkeys(notes)))


def places(modality: str, given: Given, inside: Given | None) -> Given:
    """The file's own places, but for contacts, or for the scalp, those of the table beside it, by its frame."""
    if inside is None:
        return given
    return inside if modality == ("eeg" if inside.frame == "none" else "seeg") else given


def good(selected: Selected, instance: Any) -> Selected:
    """What was chosen less what the file marks as bad, with a note."""
    names = [instance.ch_names[row] for row in selected.rows]
    bads = [name for name in names if name in instance.info["bads"]]
    keep = [row for row, name in enumerate(names) if name not in bads]
    notes = [*selected.notes, *listing("left out, marked bad in the file", bads)]
    return Selected([selected.rows[row] for row in keep], selected.sensors.take(keep), notes)


def given_places(raw: Any) -> Given:
    """Where the file says that its channels are and which way they point, in head coordinates; NaN where it does not.

    A planar gradiometer points where it takes the difference (MNE's first coil axis), other coils along their normal (its third).
    """
    position = np.full((len(raw.ch_names), 3), np.nan)
    orientation = position.copy()
    for row, (channel, type_) in enumerate(zip(raw.info["chs"], raw.get_channel_types(), strict=True)):
        loc = np.asarray(channel["loc"], dtype=float)
        if not loc[:3].any() or not np.isfinite(loc[:3]).all():
            continue
        turn, shift = to_head(raw.info, channel)
        position[row] = turn @ loc[:3] + shift
        if type_ in ("mag", "grad"):
            orientation[row] = turn @ (loc[3:6] if type_ == "grad" else loc[9:12])
    return Given(position, orientation)


def to_head(info: Any, channel: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rotation and the shift from a channel's coordinates (coils: the device's) to the head's, as far as the file knows."""
    from mne.io.constants import FIFF

    if channel["coord_frame"] == FIFF.FIFFV_COORD_DEVICE and info["dev_head_t"] is not None:
        matrix = np.asarray(info["dev_head_t"]["trans"], dtype=float)
        return matrix[:3, :3], matrix[:3, 3]
    return np.eye(3), np.zeros(3)


def unit_scale(raw: Any, picks: list[int], unit: str | None) -> NDArray[np.float64]:
    """(pick,) what MNE's numbers have to be multiplied by if the stored ones are in `unit` and not as labelled.

    A unit concerns the sensors that can have it: `fT` leaves gradiometers, in T/m, as they are.
    """
    if unit is None:
        return np.ones(len(picks))
    types = raw.get_channel_types()
    units = [SI.get(types[pick], "V") for pick in picks]
    every = [SI.get(type_, "V") for type_ in types if type_ in FIELD_KINDS]
    if not any(spelled(unit) in UNITS[si] for si in every):
        in_si(unit, units[0])  # says which there are
    labels = [
        stored_unit(raw, raw.ch_names[pick]) if si == "V" else si
        for pick, si in zip(picks, units, strict=True)
    ]
    return np.array(
        [
            in_si(unit, si) / in_si(label, si) if spelled(unit) in UNITS[si] else 1.0
            for si, label in zip(units, labels, strict=True)
        ]
    )


def stored_unit(raw: Any, name: str) -> str:
    """The unit that a file gives to a channel; volts where it says nothing, since MNE then takes the
    numbers as volts."""
    said = spelled(getattr(raw, "_orig_units", {}).get(name, ""))
    if said in ("V", "mV", "µV", "nV"):
        return said
    if type(raw).__name__ == "RawGDF":  # GDF codes its units, and MNE keeps only their sizes
        size = float(raw._raw_extras[0]["units"][raw.ch_names.index(name)])
        return {1e-6: "µV", 1e-3: "mV"}.get(size, "V")
    return "µV" if type(raw).__name__ in MICROVOLTS else "V"


def labelled(raw: Any, name: str) -> bool:
    """Whether the file itself says a channel's unit, so that `stored_unit` is no convention of the format."""
    if type(raw).__name__ in MICROVOLTS:
        return False
    units = getattr(raw, "_orig_units", {})
    return not units or spelled(units.get(name, "")) in UNITS["V"]


def annotations(raw: Any) -> Events:
    """The annotations, in seconds from the first sample, pauses left out."""
    marks = raw.annotations
    onset = np.asarray(marks.onset, dtype=float) - raw.first_time
    duration = np.asarray(marks.duration, dtype=float)
    return Pauses.of(raw).leave_out(Events(onset, duration, tuple(str(word) for word in marks.description)))


def stimuli(raw: Any) -> Events:
    """The onsets in the stimulus channels, under their codes; none where there is no such channel."""
    import mne

    if "stim" not in raw.get_channel_types():
        return Events()
    found = mne.find_events(raw, shortest_event=1, initial_event=True, verbose="error")
    return Pauses.of(raw).leave_out(from_array(found, float(raw.info["sfreq"]), raw.first_samp))


def boundaries(raw: Any, sfreq: float, n_times: int) -> set[int]:
    """The samples of a recording at this rate at which the file says that it was interrupted."""
    marks = raw.annotations
    onset = np.asarray(marks.onset, float)[np.isin(marks.description, BOUNDARIES)] - raw.first_time
    # EEGLAB's lie half-way between two samples: the later one begins the next stretch
    edges = np.floor(Pauses.of(raw).at(onset) * sfreq + 0.5).astype(int)
    return {int(edge) for edge in edges if 0 < edge < n_times}


def at_their_rate(raw: Any, picks: list[int]) -> tuple[Any, list[int]]:
    """What to slice these channels from, and which they are there.

    An EDF may store channels at several rates. MNE brings all to the highest within each slice that is asked for, so that a
    sample is another in every slice. Channels that share a lower rate are read without the others, at their own; if they do
    not share one, all is read at once.
    """
    share = share_of_rate(raw)[picks]
    if raw.preload or (share == 1).all():
        return raw, picks
    if len(set(share.tolist())) == 1:
        names = [raw.ch_names[pick] for pick in picks]
        alone = without_others(raw, names)
        if alone is not None:
            return alone, [alone.ch_names.index(name) for name in names]
    return raw.copy().load_data(verbose="error"), picks


def without_others(raw: Any, names: list[str]) -> Any | None:
    """The file of `raw` opened anew with these channels alone; None where that is not the same stretch at one rate."""
    import mne

    others = [name for name in raw.ch_names if name not in names]
    alone = mne.io.read_raw(raw.filenames[0], exclude=others, verbose="error")
    missed = abs(alone.n_times / alone.info["sfreq"] - raw.n_times / raw.info["sfreq"])
    same = raw.first_samp == 0 and missed < 1 / alone.info["sfreq"] and set(names) <= set(alone.ch_names)
    return alone if same and (share_of_rate(alone) == 1).all() else None


def share_of_rate(raw: Any) -> NDArray[np.float64]:
    """(channel,) the rate at which the file stores each channel, by the one at which MNE gives all."""
    extras = (raw._raw_extras[0] or {}) if raw._raw_extras else {}
    if "n_samps" not in extras or "max_samp" not in extras:
        return np.ones(len(raw.ch_names))
    stored = np.asarray(extras["n_samps"], float)[np.asarray(extras["sel"], int)]
    return stored[np.asarray(raw._read_picks[0], int)] / float(extras["max_samp"])


def upsampled(raw: Any, picks: list[int]) -> list[str]:
    """A note where sensors are stored at several rates and MNE has brought them to the highest."""
    share = share_of_rate(raw)
    return listing(
        "upsampled to the file's highest rate", [raw.ch_names[pick] for pick in picks if share[pick] < 1]
    )
