"""Which windows make up which step: all of them once a pass, no mixture of layouts, and nothing but seed and step decides."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from brainfm.corpus import Plan, Stream
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError
from brainfm.gather import FEWEST, with_enough
from brainfm.lengths import PADDING
from brainfm.tokenizers.patch import Patch
from brainfm.tokenizers.spike_events import SpikeEvents

SFREQ = 32.0
EVENTS = SpikeEvents(seconds=0.25, sfreq=SFREQ)
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
    return [plan.rows(step)[1] for step in plan.steps_of(lap)]


def test_layouts_are_told_apart_by_names_and_their_order(stream: Stream) -> None:
    assert len(stream.windows) == 126
    assert sorted(len(rows) for rows in stream.layouts) == [15, 30, 81]
    assert np.array_equal(np.sort(np.concatenate(stream.layouts)), np.arange(126))


def test_passes_follow_one_another(stream: Stream) -> None:
    made = plan(stream)
    assert [made.steps_of(lap) for lap in (0, 1, 7)] == [range(16), range(16, 32), range(112, 128)]
    assert made.steps_in_pass == 16


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
        pieces = [made.piece(step, part, parts).rows for part in range(parts)]
        assert np.array_equal(np.concatenate(pieces), made.rows(step)[1])
        assert max(map(len, pieces)) - min(map(len, pieces)) <= 1
        assert min(map(len, pieces)) > 0


def test_more_processes_than_windows_still_get_one_each(stream: Stream) -> None:
    made = plan(stream, batch=1)
    assert [len(made.piece(0, part, 3).rows) for part in range(3)] == [1, 1, 1]


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


def neurons(person: str, session: str, rate: float, seed: int) -> Recording:
    """Twenty seconds of eight neurons at about this rate, of one name in every session."""
    rng = np.random.default_rng(seed)
    counts = (rng.uniform(size=(8, 2000)) < rate / 100).astype(float)
    table = Sensors.of([f"n{row}" for row in range(8)], "neuron", "count")
    return Recording({"spikes": Signal(counts, 100.0, table)}, dataset="d", subject=person, session=session)


def of_neurons(ragged: bool) -> Stream:
    """Two people, one of them with two sessions."""
    recordings = [neurons("1", "a", 20.0, 1), neurons("1", "b", 20.0, 2), neurons("2", "a", 25.0, 3)]
    return Stream(
        "spikes",
        recordings,
        Sliding(seconds=1.0)(recordings, "spikes", []),
        tokenizer=EVENTS if ragged else None,
    )


def test_neurons_of_one_name_share_no_batch_across_sessions() -> None:
    stream = of_neurons(ragged=False)
    assert stream.owners == ["d/1/a", "d/1/b", "d/2/a"]
    assert [set(stream.windows.recording[rows].tolist()) for rows in stream.layouts] == [{0}, {1}, {2}]
    first, second = (stream.batch(rows[:2]) for rows in stream.layouts[:2])
    assert not set(first.identity[0].tolist()) & set(second.identity[0].tolist())


def test_electrodes_of_one_name_share_a_batch_across_people() -> None:
    """Cz is everyone's: two people with the same cap are one layout and one identity."""
    both = [
        replace(recording(MONTAGES["A"], 5, number), dataset="d", subject=f"{number}") for number in (1, 2)
    ]
    stream = Stream("eeg", both, Sliding(seconds=1.0)(both, "eeg", []))
    assert len(stream.layouts) == 1
    batch = stream.batch(np.array([0, 9]))
    assert batch.identity[0].tolist() == batch.identity[1].tolist()


def test_windows_of_events_share_a_batch_with_those_of_about_as_many() -> None:
    stream = of_neurons(ragged=True)
    assert np.array_equal(np.sort(np.concatenate(stream.layouts)), np.arange(60))
    for rows in stream.layouts:
        length = stream.lengths[rows]
        assert length.min() >= (1 - PADDING) * length.max() - 1e-9
    assert any(len(set(stream.windows.recording[rows].tolist())) > 1 for rows in stream.layouts)
    for row in (0, 30, 59):
        assert stream.lengths[row] == stream.batch(np.array([row])).signal.sum()


def test_windows_of_too_few_events_are_left_out_and_counted() -> None:
    quiet = neurons("3", "a", 0.9, 4)
    stream = Stream("spikes", [quiet], Sliding(seconds=1.0)([quiet], "spikes", []), tokenizer=EVENTS)
    few = int((stream.lengths < FEWEST).sum())
    assert 0 < few < 20
    kept = with_enough(stream)
    assert len(kept.windows) == 20 - few and kept.lengths.min() >= FEWEST
    assert kept.windows.dropped == {f"fewer than {FEWEST} events": few}
    silent = neurons("3", "a", 0.0, 5)
    with pytest.raises(DataError, match="no window of spikes holds 8 events"):
        with_enough(
            Stream("spikes", [silent], Sliding(seconds=1.0)([silent], "spikes", []), tokenizer=EVENTS)
        )


def datasets_of(*names: str) -> Stream:
    """A recording of 20, then 40, then 60 seconds … of each dataset; two sensors, one-second windows."""
    recordings = [
        replace(recording(MONTAGES["B"], 20 * (number + 1), number), dataset=name)
        for number, name in enumerate(names)
    ]
    windows = Sliding(seconds=1.0)(recordings, "eeg", [])
    return Stream("eeg", recordings, windows, tokenizer=Patch(seconds=0.25, sfreq=SFREQ))


def test_a_step_holds_about_so_many_tokens(stream: Stream) -> None:
    """Whatever the number of sensors: three of them give 12 tokens a window here, two give 8."""
    told = replace(stream, tokenizer=Patch(seconds=0.25, sfreq=SFREQ))
    assert sorted(set(told.tokens.tolist())) == [8, 12]
    made = Plan({"eeg": told}, 999, 0, tokens=60)
    sums = [int(told.tokens[rows].sum()) for rows in one_pass(made)]
    assert all(60 / 1.5 <= one <= 60 * 1.5 for one in sums)
    rows = np.concatenate(one_pass(made))
    assert Counter(rows.tolist()) == Counter(range(126))


def test_a_window_larger_than_the_budget_is_a_step_of_its_own() -> None:
    made = Plan({"eeg": datasets_of("a")}, 64, 0, tokens=3)
    assert [len(rows) for rows in one_pass(made)] == [1] * 20


def test_weights_decide_the_share_of_each_dataset() -> None:
    stream = datasets_of("a", "b", "c")  # 20, 40 and 60 windows
    made = Plan({"eeg": stream}, 10, 0, weights={"a": 2.0, "b": 1.0, "c": 1.0})
    laps = [Counter(np.concatenate(one_pass(made, lap)).tolist()) for lap in (0, 1)]
    first, second, third = (np.arange(*bounds) for bounds in ((0, 20), (20, 60), (60, 120)))
    for lap in laps:
        assert [sum(lap[row] for row in rows) for rows in (first, second, third)] == [60, 30, 30]
        assert {lap[row] for row in first.tolist()} == {3}  # each as often as every other
        assert {lap[row] for row in third.tolist()} == {0, 1}
    assert laps[0] != laps[1], "other windows are left out in every pass"


def people(dataset: str, count: int, seconds: int) -> list[Recording]:
    """As many people with two contacts each, which are their own: each person is a layout."""
    table = Sensors.of(["A1", "A2"], "seeg", "V")
    signal = Signal(np.zeros((2, seconds * int(SFREQ))), SFREQ, table)
    return [Recording({"seeg": signal}, dataset=dataset, subject=f"{number}") for number in range(count)]


def of_people(recordings: list[Recording]) -> Stream:
    windows = Sliding(seconds=1.0)(recordings, "seeg", [])
    return Stream("seeg", recordings, windows, tokenizer=Patch(seconds=0.25, sfreq=SFREQ))


@pytest.mark.parametrize("weight", [2.0, 4.0])
def test_sets_of_many_small_layouts_get_their_share(weight: float) -> None:
    """Layouts of one window, of which each alone would be rounded to none or to one in every pass."""
    made = Plan({"seeg": of_people(people("a", 40, 1) + people("b", 40, 1))}, 8, 0, weights={"b": weight})
    passes = [one_pass(made, lap) for lap in range(30)]
    seen = Counter(np.concatenate([rows for one in passes for rows in one]).tolist())
    first, second = (sum(seen[row] for row in range(*bounds)) for bounds in ((0, 40), (40, 80)))
    assert second / first == pytest.approx(weight, rel=0.02)
    assert seen.keys() == set(range(80)), "every window occurs"
    share = [80 / (1 + weight), 80 * weight / (1 + weight)]
    for one in passes:
        assert all(len(rows) for rows in one), "a layout that no window is drawn of has no step"
        rows = np.concatenate(one)
        np.testing.assert_allclose([(rows < 40).sum(), (rows >= 40).sum()], share, atol=1)
    drawn = [frozenset(np.concatenate(one).tolist()) for one in passes[:2]]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("weight", [0.015, 0.012])
def test_many_people_beside_one_large_one_get_their_share(weight: float) -> None:
    """Half a window a person and pass: by a little more or less, all people got twice their share or nothing."""
    stream = of_people(people("many", 100, 20) + people("one", 1, 2000))
    made = Plan({"seeg": stream}, 8, 0, tokens=256, weights={"many": weight})
    seen = Counter(np.concatenate([rows for lap in range(10) for rows in one_pass(made, lap)]).tolist())
    many = sum(count for row, count in seen.items() if row < 2000)
    assert many / seen.total() == pytest.approx(weight / (1 + weight), rel=0.02)
    each = [sum(seen[row] for row in range(20 * person, 20 * person + 20)) for person in range(100)]
    assert max(each) - min(each) <= 2, "every person as often as every other"


def test_a_step_of_a_weighted_plan_depends_on_seed_and_number_alone() -> None:
    """Passes differ in length, and where one begins is known whatever was asked before."""

    def fresh() -> Plan:
        stream = of_people(people("a", 40, 1) + people("b", 40, 1))
        return Plan({"seeg": stream}, 8, 3, weights={"b": 2.0})

    ordered = fresh()
    assert len({len(ordered.steps_of(lap)) for lap in range(10)}) > 1
    steps = [step for lap in range(10) for step in ordered.steps_of(lap)]
    assert steps == list(range(len(steps)))
    rows = [ordered.rows(step)[1].tolist() for step in steps]
    shuffled = np.random.default_rng(0).permutation(steps).tolist()
    asked = fresh()
    assert {step: asked.rows(step)[1].tolist() for step in shuffled} == dict(enumerate(rows))
    assert fresh().rows(steps[-1])[1].tolist() == rows[-1]


def test_a_dataset_that_weighs_nothing_is_left_out() -> None:
    made = Plan({"eeg": datasets_of("a", "b")}, 10, 0, weights={"b": 0.0})
    assert set(np.concatenate(one_pass(made)).tolist()) == set(range(20))


def test_pieces_say_where_they_lie() -> None:
    made = Plan({"eeg": datasets_of("a")}, 20, 0)
    pieces = [made.piece(0, part, 3) for part in range(3)]
    assert [(one.first, len(one.rows), one.total) for one in pieces] == [(0, 7, 20), (7, 7, 20), (14, 6, 20)]
    more = [made.piece(0, part, 23) for part in range(23)]
    assert sum(len(one.rows) for one in more if one.counted) == 20
    assert [one.counted for one in more] == [True] * 20 + [False] * 3
