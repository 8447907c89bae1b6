"""Which windows make up which step: all of them once a pass, no mixture of layouts, and nothing but seed and step decides."""

import itertools
from collections import Counter

import numpy as np
import pytest

from brainfm.corpus import Plan, Stream
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.windows.sliding import Sliding

SFREQ = 32.0
MONTAGES = {"A": ["C3", "C4", "Cz"], "B": ["O1", "O2"], "C": ["C4", "C3", "Cz"]}
SECONDS = {"A": [41, 13, 27], "B": [30], "C": [9, 6]}


def recording(names: list[str], seconds: int, number: int) -> Recording:
    """Every sample tells its recording, its sensor and its second."""
    time = np.repeat(np.arange(seconds), int(SFREQ))
    data = 1000.0 * number + 100.0 * np.arange(len(names))[:, None] + time
    return Recording({"eeg": Signal(data, SFREQ, Sensors.of(names, "eeg", "V"))}, source=f"{number}")


def stream_of() -> Stream:
    kinds = ["A", "B", "A", "C", "A", "C"]  # layouts alternate
    lengths = {name: iter(values) for name, values in SECONDS.items()}
    recordings = [recording(MONTAGES[k], next(lengths[k]), number) for number, k in enumerate(kinds)]
    return Stream("eeg", recordings, Sliding(seconds=1.0)(recordings, "eeg", []))


@pytest.fixture(scope="module")
def stream() -> Stream:
    return stream_of()


def plan(stream: Stream, seed: int = 0, batch: int = 8) -> Plan:
    return Plan({"eeg": stream}, batch, seed)


def one_pass(plan: Plan, lap: int = 0) -> list[np.ndarray]:
    return [plan.rows(step)[1] for step in range(lap * plan.steps_in_pass, (lap + 1) * plan.steps_in_pass)]


def test_layouts_are_told_apart_by_names_and_their_order(stream: Stream) -> None:
    assert len(stream.windows) == 126
    assert sorted(len(rows) for rows in stream.layouts) == [15, 30, 81]
    assert np.array_equal(np.sort(np.concatenate(stream.layouts)), np.arange(126))


@pytest.mark.parametrize("batch", [1, 7, 8, 64, 1000])
@pytest.mark.parametrize("lap", [0, 1, 5])
def test_every_window_occurs_once_in_a_pass(stream: Stream, batch: int, lap: int) -> None:
    rows = np.concatenate(one_pass(plan(stream, batch=batch), lap))
    assert Counter(rows.tolist()) == Counter(range(126))


def test_a_batch_never_mixes_layouts(stream: Stream) -> None:
    layout = np.empty(126, int)
    for number, rows in enumerate(stream.layouts):
        layout[rows] = number
    for rows in one_pass(plan(stream)):
        assert len(set(layout[rows])) == 1
        stream.batch(rows)  # raises where sensors differ


@pytest.mark.parametrize("batch", [4, 8, 10, 12])
def test_sizes_stay_near_the_batch(stream: Stream, batch: int) -> None:
    """The rest of a layout is spread over its batches; none is left as a tiny one."""
    for rows in one_pass(plan(stream, batch=batch)):
        assert batch / 1.5 <= len(rows) <= 1.5 * batch


def test_a_layout_smaller_than_a_batch_is_one_batch(stream: Stream) -> None:
    assert sorted(len(rows) for rows in one_pass(plan(stream, batch=1000))) == [15, 30, 81]


def test_a_step_depends_on_seed_and_number_alone() -> None:
    """Whatever was asked before, and whoever asks."""
    steps = [0, 3, 17, 40, 41, 200]
    once = [plan(stream_of()).rows(step)[1].tolist() for step in steps]
    asked = plan(stream_of())
    for step in range(0, 300, 7):
        asked.rows(step)
    assert [asked.rows(step)[1].tolist() for step in reversed(steps)][::-1] == once


def test_passes_and_seeds_differ(stream: Stream) -> None:
    def words(plan: Plan, lap: int) -> list[list[int]]:
        return [rows.tolist() for rows in one_pass(plan, lap)]

    assert words(plan(stream), 0) != words(plan(stream), 1)
    assert words(plan(stream, seed=1), 0) != words(plan(stream), 0)
    contents = {frozenset(rows) for rows in words(plan(stream), 0)}
    assert not contents & {
        frozenset(rows) for rows in words(plan(stream), 1) if len(rows) not in (15, 30, 81)
    }


def test_layouts_are_interleaved(stream: Stream) -> None:
    """Batches of one layout do not come in one run, or the network would learn montage after montage."""
    small = set(stream.layouts[0].tolist())
    order = [bool(small & set(rows.tolist())) for rows in one_pass(plan(stream, batch=4))]
    assert sum(a != b for a, b in itertools.pairwise(order)) > 4


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_pieces_partition_a_step(stream: Stream, parts: int) -> None:
    made = plan(stream)
    for step in range(made.steps_in_pass):
        pieces = [made.piece(step, part, parts)[1] for part in range(parts)]
        assert np.array_equal(np.concatenate(pieces), made.rows(step)[1])
        assert max(map(len, pieces)) - min(map(len, pieces)) <= 1
        assert min(map(len, pieces)) > 0


def test_more_processes_than_windows_still_get_one_each(stream: Stream) -> None:
    made = plan(stream, batch=1)
    assert [len(made.piece(0, part, 3)[1]) for part in range(3)] == [1, 1, 1]


def test_two_modalities_share_a_pass(stream: Stream) -> None:
    other = stream_of()
    made = Plan({"eeg": stream, "other": other}, 8, 0)
    seen = [made.rows(step) for step in range(made.steps_in_pass)]
    for name in ("eeg", "other"):
        rows = np.concatenate([rows for modality, rows in seen if modality == name])
        assert np.array_equal(np.sort(rows), np.arange(126))
    first = {
        name: [rows.tolist() for modality, rows in seen if modality == name] for name in ("eeg", "other")
    }
    assert sorted(first["eeg"]) != sorted(first["other"])  # each modality is shuffled on its own


def test_a_batch_holds_the_windows_that_were_asked_for(stream: Stream) -> None:
    rows = stream.layouts[0][[7, 0, 50]]
    batch = stream.batch(rows)
    assert batch.signal.shape == (3, 3, 32)
    owner, second = stream.windows.recording[rows], stream.windows.start[rows]
    np.testing.assert_array_equal(batch.signal[:, 0, 0].numpy(), 1000 * owner + second)
    np.testing.assert_array_equal(batch.signal[:, 2, 31].numpy(), 1000 * owner + 200 + second)
    assert batch.recording.tolist() == owner.tolist()
    assert (batch.sfreq, len(batch)) == (SFREQ, 3)
    assert not batch.located.any() and not batch.position.any() and batch.valid.all()
