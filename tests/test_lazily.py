"""Steps in pieces: what is computed slice by slice is what the whole gives, in memory that does not grow."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from brainfm.data import fingerprint as prints
from brainfm.data import preprocess, spool
from brainfm.data.lazy import Computed
from brainfm.data.preprocess import Step, prepare_lazily
from brainfm.data.preprocess.band_pass import BandPass
from brainfm.data.preprocess.notch import Notch
from brainfm.data.preprocess.pick import Pick
from brainfm.data.preprocess.reference import Reference
from brainfm.data.preprocess.resample import Resample
from brainfm.data.preprocess.robust_scale import RobustScale
from brainfm.data.preprocess.shaft_reference import ShaftReference
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.spool import Spool, blocks
from brainfm.part import known

SFREQ = 250.0
STEPS: list[Step] = [
    BandPass(low=1.0, high=40.0),
    BandPass(low=2.0),
    BandPass(high=30.0),
    Notch(line=50.0),
    Resample(sfreq=128.0),
    Resample(sfreq=250.0),
    Resample(sfreq=173.61),
    Resample(sfreq=600.0),
    Reference(to="average"),
    Reference(to=["A2"]),
    Reference(to=["A1", "A2"]),
    Reference(to="none"),
    ShaftReference(to="bipolar"),
    ShaftReference(to="laplacian"),
    Pick(names=["A3", "A1"]),
    RobustScale(scope="recording", clip=3.0),
    RobustScale(scope="recording", per="sensor", clip=None),
    RobustScale(scope="window"),
]
BREAKS = [(), (4000, 4100, 4101, 9000), tuple(range(500, 12000, 500))]


def recording(breaks: tuple[int, ...] = (), n: int = 12000) -> Recording:
    """A drifting signal, so that every edge matters."""
    rng = np.random.default_rng(3)
    data = 1e-5 * (rng.standard_normal((4, n)) + np.cumsum(rng.standard_normal((4, n)), axis=1) / 20)
    sensors = Sensors.of(["A1", "A2", "A3", "A4"], "seeg", "V")
    return Recording({"seeg": Signal(data, SFREQ, sensors, breaks)}, source="hand-made")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of some hundred samples, and medians by counting."""
    monkeypatch.setattr(spool, "BLOCK", 700 * 4)
    monkeypatch.setattr(spool, "AT_ONCE", 100)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("breaks", BREAKS, ids=["whole", "broken", "short"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.kind}-{step.model_dump_json()[:60]}")
def test_pieces_equal_the_whole(step: Step, breaks: tuple[int, ...], tmp_path: Path) -> None:
    """Within 1e-6 of the largest value: an FFT's rounding, or a spool's in float32."""
    before = recording(breaks)
    whole, pieces = step(before, "seeg"), step.lazily(before, "seeg", tmp_path)
    one, other = whole.signal("seeg"), pieces.signal("seeg")
    assert (one.sfreq, one.breaks, one.sensors.name, one.sensors.unit) == (
        other.sfreq,
        other.breaks,
        other.sensors.name,
        other.sensors.unit,
    )
    assert whole.notes == pieces.notes
    wanted = one.load()
    assert other.data.shape == wanted.shape
    for size in (197, 1000, wanted.shape[1]):
        cut = [np.asarray(other.data[:, a : a + size]) for a in range(0, wanted.shape[1], size)]
        assert np.abs(np.concatenate(cut, axis=1) - wanted).max() <= 1e-6 * np.abs(wanted).max()


def test_every_step_of_the_house_is_lazy() -> None:
    """One that is not is run on the whole: allowed, but known."""
    lazy = {
        type(step).__module__.rpartition(".")[2] for step in STEPS if type(step).lazily is not Step.lazily
    }
    assert lazy >= {"band_pass", "notch", "resample", "reference", "shaft_reference", "pick", "robust_scale"}
    assert lazy <= set(known(Step))


@pytest.mark.usefixtures("small_blocks")
def test_a_chain_equals_the_whole(tmp_path: Path) -> None:
    steps = [BandPass(low=0.5, high=45.0), Reference(to="average"), Resample(sfreq=128.0), STEPS[-3]]
    before = recording((4000,))
    (whole,) = preprocess.prepare([before], steps, "seeg")
    pieces = prepare_lazily(before, steps, "seeg", tmp_path)
    wanted = whole.signal("seeg").load()
    assert np.abs(np.concatenate(list(blocks(pieces.signal("seeg"))), axis=1) - wanted).max() < 1e-5
    assert pieces.notes == whole.notes


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("n", [101, 102, 3001, 3002])
def test_medians_by_counting_are_exact(n: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(n)
    data = np.stack(
        [rng.standard_normal(n), -(rng.uniform(size=n) ** 9), rng.integers(-2, 3, n), np.zeros(n)]
    )
    signal = Signal(data, 100.0, Sensors.of(list("abcd"), "eeg", "V"))
    middle, distance = Spool.of(signal, tmp_path).robust()
    values = data.astype(np.float32)
    wanted = np.median(values.astype(float), axis=1)
    np.testing.assert_array_equal(middle, wanted)
    away = np.abs(values - wanted[:, None].astype(np.float32)).astype(float)
    np.testing.assert_array_equal(distance, np.median(away, axis=1))


def made_up(n: int) -> Recording:
    """A recording of which nothing is in memory."""

    def read(first: int, stop: int) -> np.ndarray:
        return 1e-5 * np.sin(np.arange(first, stop) * np.array([[0.11], [0.37], [1.3], [2.1]]))

    sensors = Sensors.of(["A1", "A2", "A3", "A4"], "seeg", "V")
    return Recording({"seeg": Signal(Computed((4, n), read), SFREQ, sensors)})


def peak(n: int, scratch: Path) -> int:
    """Bytes held at most while a recording of n samples is gone through."""
    tracemalloc.start()
    steps = [BandPass(low=1.0, high=40.0), Resample(sfreq=128.0), RobustScale(scope="recording")]
    for block in blocks(prepare_lazily(made_up(n), steps, "seeg", scratch).signal("seeg")):
        assert np.isfinite(block).all()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "BLOCK", 40_000)
    monkeypatch.setattr(spool, "AT_ONCE", 10_000)
    short, long = peak(60_000, tmp_path), peak(900_000, tmp_path)
    assert long < 1.3 * short, (short, long)


def rhythmic(n: int) -> Recording:
    """A recording with landmarks, of which nothing is in memory."""
    waves = np.random.default_rng(7).uniform(2.5, 14, (4, 12))

    def read(first: int, stop: int) -> np.ndarray:
        time = np.arange(first, stop) / SFREQ
        return 1e-5 * np.sin(2 * np.pi * waves[..., None] * time + waves[::-1, :, None] ** 3).sum(axis=1)

    sensors = Sensors.of(["A1", "A2", "A3", "A4"], "seeg", "V")
    return Recording({"seeg": Signal(Computed((4, n), read), SFREQ, sensors, (40_000,))})


def test_a_fingerprint_by_pieces_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = rhythmic(100_000)
    monkeypatch.setattr(prints, "LONGEST", 1e9)
    whole = prints.fingerprint(raw, "seeg")
    monkeypatch.setattr(prints, "PIECE", 1)
    pieces = prints.fingerprint(raw, "seeg")
    assert whole.hashes().size > 300 and len(whole.stretches) == len(pieces.stretches) > 13
    assert prints.overlap(whole, pieces) > 0.99 and prints.overlap(pieces, whole) > 0.99
    for one, other in zip(whole.stretches, pieces.stretches, strict=True):
        assert len(set(one) ^ set(other)) <= 0.02 * max(len(one), 50)


def test_a_fingerprint_needs_no_more_memory_for_a_longer_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prints, "PIECE", 1)
    most = []
    for n in (60_000, 400_000):
        raw = rhythmic(n)
        tracemalloc.start()
        prints.fingerprint(raw, "seeg")
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert most[1] < 1.3 * most[0], most
