"""Little files of fMRI and of spikes, as scanners and laboratories leave them: what the tests of their readers share."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from brainfm.data.readers import Reader
from brainfm.data.reading import read
from brainfm.data.recording import Recording
from brainfm.data.spike_times import SpikeTimes

REAL = Path(os.environ.get("BRAINFM_DATA", Path(__file__).parents[2] / "shared" / "data"))

# --- fMRI ---------------------------------------------------------------------------------------------------

SHAPE = (4, 5, 3)
TIMES = 40
AFFINE = np.array([[-3.0, 0, 0, 30], [0, 3, 0, -60], [0, 0, 4, -20], [0, 0, 0, 1]])


def series(times: int = TIMES, seed: int = 0) -> NDArray[np.float64]:
    """Scanner units around 1000 that vary by 1.5 percent; the first plane of x lies outside the head and holds zeros."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(800, 1200, SHAPE)
    values = base[..., None] * (1 + 0.015 * rng.standard_normal((*SHAPE, times)))
    values[0] = 0.0
    return values


def image(
    path: Path, values: NDArray[Any], tr: float = 2.5, unit: str = "sec", mni: bool = False, code: int = 1
) -> Path:
    """A NIfTI file; `unit` "unknown" leaves the header without one."""
    made = nib.Nifti1Image(values.astype(np.float32), AFFINE)
    made.set_sform(AFFINE, 4 if mni else code)
    made.set_qform(AFFINE, 4 if mni else code)
    made.header.set_xyzt_units("mm", None if unit == "unknown" else unit)
    if values.ndim == 4:
        made.header.set_zooms((3, 3, 4, tr))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(made, path)
    return path


def bold(path: Path, **given: Any) -> Recording:
    """A recording of `path` through the NIfTI reader, its unit raw unless told otherwise."""
    return read(path, reader={"kind": "nifti", "unit": "raw", **given})


def responses(file: Path, **given: Any) -> Any:
    """A reader of two tasks × (voxel, label, run) in `file`, which it writes; voxel 3 holds zeros alone."""
    values = np.random.default_rng(0).standard_normal((2, 6, 3, 4))
    values[:, 3] = 0
    savemat(file, {"one": values[0], "two": values[1]})
    settings = {
        "kind": "matlab_responses",
        "responses": ["one", "two"],
        "axes": ["sensor", "label", "run"],
        "classes": ["face", "car", "house"],
        "unit": "%",
        "on_bad": "drop",
        **given,
    }
    return Reader.model_validate(settings), values


# --- spikes -------------------------------------------------------------------------------------------------

SECONDS = 60.0


def same(recording: Recording, trains: list[np.ndarray]) -> bool:
    """Whether these are the recording's neurons' times, to the microsecond."""
    data = recording.signal("spikes").data
    assert isinstance(data, SpikeTimes) and data.neurons == len(trains)
    return all(
        len(data.train(row)) == len(train) and np.allclose(data.train(row), train, atol=1e-6, rtol=0)
        for row, train in enumerate(trains)
    )


def cell(arrays: list[Any]) -> np.ndarray:
    """A MATLAB cell array."""
    out = np.empty(len(arrays), dtype=object)
    out[:] = arrays
    return out


def write_nwb(path: Path, trains: list[np.ndarray], start: float = 0.0, scale: float = 1.0) -> Path:
    """A session with sorted units, trials, a cursor, a wheel at uneven times, licks and two channels of LFP."""
    from pynwb import NWBHDF5IO, NWBFile, TimeSeries
    from pynwb.behavior import BehavioralEvents, Position, SpatialSeries
    from pynwb.ecephys import ElectricalSeries
    from pynwb.file import Subject

    nwb = NWBFile("a test", "id1", datetime(2024, 1, 1, tzinfo=UTC), session_id="day2")
    nwb.subject = Subject(subject_id="m7", species="Mus musculus", age="P90D", sex="F")
    group = nwb.create_electrode_group("shank", "a shank", "VISp", nwb.create_device("probe"))
    for row in range(4):
        nwb.add_electrode(group=group, location=f"VISp{row}", x=100.0 * row, y=20.0, z=3000.0)
    nwb.add_unit_column("quality", "by hand")
    for row, (train, word) in enumerate(zip(trains, ["good", "mua", "noise", "good"], strict=True)):
        nwb.add_unit(
            spike_times=(train + start) * scale,
            quality=word,
            electrodes=[3 - row, 0],
            obs_intervals=[[start, start + 30.0], [start + 32.0, start + SECONDS]],
        )
    nwb.add_trial_column("direction", "of the target")
    nwb.add_trial_column("go_cue_time", "when it may move")
    for row in range(5):
        begin = start + 2.0 + 10 * row
        nwb.add_trial(
            start_time=begin,
            stop_time=begin + 3,
            direction=["left", "right"][row % 2],
            go_cue_time=begin + 0.5,
        )
    behavior = nwb.create_processing_module("behavior", "what it did")
    cursor = SpatialSeries(
        name="cursor", data=np.arange(600.0).reshape(300, 2), reference_frame="screen", unit="m", conversion=0.01,
        starting_time=start + 1.0, rate=5.0,
    )  # fmt: skip
    behavior.add(Position(spatial_series=cursor))
    licks = TimeSeries(
        name="lick", data=np.ones(3), unit="n/a", timestamps=start + np.array([4.0, 9.0, 21.0])
    )
    behavior.add(BehavioralEvents(time_series=licks))
    uneven = start + np.arange(100) / 10 + np.random.default_rng(0).uniform(0, 0.01, 100)
    nwb.add_acquisition(TimeSeries(name="wheel", data=np.arange(100), unit="rad", timestamps=uneven))
    chosen = nwb.create_electrode_table_region([1, 3], "two of them")
    nwb.add_acquisition(
        ElectricalSeries(
            name="lfp",
            data=np.random.default_rng(1).normal(0, 40, (25_000, 2)),
            electrodes=chosen,
            rate=500.0,
            starting_time=start + 5.0,
            conversion=1e-6,
        )
    )
    with NWBHDF5IO(str(path), "w") as io:
        io.write(nwb)
    return path


def write_temporaldata(path: Path, trains: list[np.ndarray], scale: float = 1.0, shift: float = 0.0) -> Path:
    """A session as brainsets prepares it: spikes, units, trials with split masks, a cursor and a gaze, split domains."""
    import h5py
    from temporaldata import ArrayDict, Data, Interval, IrregularTimeSeries, RegularTimeSeries

    time = np.concatenate(trains)
    order = np.argsort(time, kind="stable")
    index = np.repeat(np.arange(len(trains)), [len(train) for train in trains])[order]
    start, end = np.arange(5) * 10 + 2.0, np.arange(5) * 10 + 5.0
    whole = Interval(start=np.array([0.0, 32.0]) + shift, end=np.array([30.0, SECONDS]) + shift)
    mask = np.array([True, True, True, False, False])
    data = Data(
        brainset=Data(id="a_set", domain=None),
        subject=Data(id="monkey_j", domain=None),
        session=Data(id="j_20240101", domain=None),
        spikes=IrregularTimeSeries(timestamps=(time[order] + shift) * scale, unit_index=index, domain=whole),
        units=ArrayDict(
            id=np.array(
                [f"group_0/elec{row}/{'multiunit' if row == 1 else 'unit'}_{row}" for row in range(4)]
            ),
            type=np.array([0, 1, 0, 0]),
            brain_region=np.array(["M1", "M1", "PMd", "PMd"]),
        ),
        trials=Interval(
            start=start + shift,
            end=end + shift,
            target=np.array(["left", "right", "left", "right", "left"]),
            train_mask=mask,
            test_mask=~mask,
            timekeys=["start", "end"],
        ),
        cursor=RegularTimeSeries(
            pos=np.arange(1200.0).reshape(600, 2), sampling_rate=10.0, domain_start=shift
        ),
        gaze=IrregularTimeSeries(
            timestamps=np.arange(0, 50, 0.02) + shift, xy=np.ones((2500, 2)), domain="auto"
        ),
        train_domain=Interval(start=np.array([0.0]) + shift, end=np.array([40.0]) + shift),
        domain=whole,
    )
    with h5py.File(path, "w") as file:
        data.to_hdf5(file)
    return path
