"""Labels in an order without times: what is told, how it is scored, and that CTC finds the times itself."""

import json
from itertools import product
from pathlib import Path

import decoders
import numpy as np
import pytest
import tiny
import torch
from typer.testing import CliRunner

from brainfm.answers import Answer, spelled
from brainfm.cli import app
from brainfm.data.cards import DataCard
from brainfm.data.recording import Events, Recording
from brainfm.data.targets import BLANK
from brainfm.data.targets.event_sequence import EventSequence, patches_for
from brainfm.data.windows import Windows
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError
from brainfm.heads.sequence import Sequence as SequenceHead
from brainfm.jobs.predict import Spelled, predict
from brainfm.sequence_probe import SequenceProbe
from brainfm.sequence_scores import OF_SEQUENCES, best_constant, collapsed, edits
from brainfm.targeted import Targeted


def recording(*events: tuple[float, str]) -> Recording:
    onset = np.array([when for when, _ in events], float)
    return Recording({}, Events(onset, np.zeros(len(events)), tuple(label for _, label in events)), {})


def windows(*starts: float, seconds: float = 4.0) -> Windows:
    rows = np.zeros(len(starts), np.int64)
    return Windows(recording=rows, start=np.array(starts), seconds=seconds, label=rows, labels=())


# ---- what is told


def test_events_of_a_window_are_told_in_order_of_time() -> None:
    one = recording((5.0, "b"), (1.0, "a"), (2.0, "other"), (3.9, "a"), (4.0, "b"))
    found = EventSequence(labels=["a", "b"])([one], windows(0.0, 2.0, 8.0), "eeg", 8)
    assert found.value.tolist() == [[0, 0, -1], [0, 1, 1], [-1, -1, -1]]
    assert found.names == ("a", "b", BLANK) and found.parts == 8
    assert found.known.tolist() == [True, True, False]


def test_a_lag_says_when_the_signal_follows() -> None:
    found = EventSequence(labels=["a"], lag=0.5)([recording((3.8, "a"))], windows(0.0, 4.0), "eeg", 8)
    assert found.value.tolist() == [[-1], [0]]


def test_more_events_than_patches_are_refused_with_the_place() -> None:
    crowded = recording(*((0.1 * n, "a") for n in range(5)))
    with pytest.raises(DataError, match="at 0 s: 5 events ask for 9 patches and the window has 8"):
        EventSequence(labels=["a"])([crowded], windows(0.0), "eeg", 8)
    with pytest.raises(DataError, match="a head that answers for every patch"):
        EventSequence(labels=["a"])([crowded], windows(0.0), "eeg", 1)
    assert [patches_for(one) for one in ([], [0], [0, 1], [0, 0], [0, 0, 0])] == [0, 1, 2, 3, 5]


# ---- how it is scored


def test_what_is_said_is_collapsed_as_ctc_reads_it() -> None:
    moments = [2, 0, 0, 2, 0, 1, 1, 2]
    assert collapsed(np.eye(3)[[moments]]) == [(0, 0, 1)]
    assert collapsed(np.eye(3)[[[2] * 4]]) == [()]


def slow_edits(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(slow_edits(a[1:], b) + 1, slow_edits(a, b[1:]) + 1, slow_edits(a[1:], b[1:]) + (a[0] != b[0]))


def test_edits_are_those_of_the_definition() -> None:
    several = [one for length in range(4) for one in product(range(2), repeat=length)]
    assert all(edits(a, b) == slow_edits(a, b) for a in several for b in several)


def test_the_score_is_one_minus_the_error_rate_and_chance_the_best_constant() -> None:
    metric, true = OF_SEQUENCES["symbol_accuracy"], np.array([[0, 1, -1], [1, -1, -1], [0, 1, 1]])
    said = np.eye(3)[[[0, 2, 1, 2, 2], [2, 2, 2, 2, 2], [0, 1, 2, 1, 2]]]
    assert metric(said, true) == pytest.approx(1 - 1 / 6)
    assert best_constant(3, true) == pytest.approx(1 - 2 / 6), "always (0, 1)"
    with pytest.raises(DataError, match="window 1 is not a finite number"):
        metric(np.where(np.arange(3)[:, None, None] == 1, np.nan, said), true)


# ---- how it is learnt


def test_the_loss_is_the_sum_over_all_ways_to_say_it() -> None:
    """By hand, over every path of four moments that collapses to the sequence."""
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    true = torch.tensor([[0, 1], [1, -1]])
    logs = logits.log_softmax(dim=-1)
    expected = []
    for row, wanted in enumerate(((0, 1), (1,))):
        paths = [
            sum(logs[row, moment, symbol] for moment, symbol in enumerate(path))
            for path in product(range(3), repeat=4)
            if collapsed(np.eye(3)[[path]])[0] == wanted
        ]
        expected.append(-torch.logsumexp(torch.stack(paths), dim=0) / len(wanted))
    torch.testing.assert_close(spelled(logits, true), torch.stack(expected).mean())
    name, loss = Answer(of="sequences").loss(logits, true)
    assert name == "ctc"
    torch.testing.assert_close(loss, spelled(logits, true))


def planted(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features in which each symbol is a bump at a moment of its own, told without the moment."""
    features = rng.normal(size=(count, 12, 6)).astype(np.float32)
    true = np.full((count, 3), -1, np.int64)
    for row in range(count):
        moments = np.sort(rng.choice(np.arange(0, 12, 2), size=rng.integers(1, 4), replace=False))
        true[row, : len(moments)] = rng.integers(0, 2, size=len(moments))
        features[row, moments, true[row, : len(moments)]] += 6.0
    return features, true


def test_a_probe_finds_the_times_that_nobody_told() -> None:
    rng = np.random.default_rng(0)
    features, true = planted(80, rng)
    folds = [(np.arange(40), np.arange(40, 80))]
    said = SequenceProbe(folds, 3).fit(features, true).predict_proba(planted(40, np.random.default_rng(1))[0])
    fresh = planted(40, np.random.default_rng(1))[1]
    metric = OF_SEQUENCES["symbol_accuracy"]
    assert metric(said, fresh) > 0.85 > best_constant(3, fresh) + 0.3
    noise = rng.normal(size=features.shape).astype(np.float32)
    blind = SequenceProbe(folds, 3).fit(noise, true).predict_proba(noise[:40])
    assert metric(blind, fresh) < 0.6, "without the bumps there is nothing to find"


# ---- the whole


def test_a_file_is_decoded_into_sequences(tmp_path: Path) -> None:
    """One row a window, blanks taken out, the same as the model's own probabilities collapse to."""
    settings = {
        "head": SequenceHead(rows="mean"),
        "labels": ["left", "right", BLANK],
        "answer": Answer(of="sequences"),
    }
    model = decoders.decoding(decoders.network(), **settings)
    model.save_pretrained(tmp_path / "decoder")
    file = tmp_path / "someone_raw.fif"
    tiny.raw_of(tiny.person(1, 10.0)).save(file, verbose="error")
    found = predict(tmp_path / "decoder", file)
    assert isinstance(found, Spelled) and len(found.sequence) == len(found.start)
    said = {label for sequence in found.sequence for label in sequence}
    assert said <= {"left", "right"} and any(found.sequence)
    assert found.json["windows"][0] == {"start": found.start[0], "sequence": found.sequence[0]}
    rows = found.csv().splitlines()
    assert rows[0] == "start,seconds,sequence" and rows[1].endswith(" ".join(found.sequence[0]))


RECIPE = """
card: {card}
target: {{kind: event_sequence, labels: [left_hand, right_hand]}}
window: {{kind: sliding, seconds: 8.0, stride: 4.0}}
folds: 2
head: {{kind: sequence, rows: mean}}
train: {{steps: 2, batch: 4, learning_rate: 1.0e-3, precision: "no", save_every: 2}}
"""


def test_a_decoder_of_sequences_is_trained_scored_and_decodes_a_file(folder: Path) -> None:
    card = tiny.people(folder, subjects=3, seconds=60.0)
    (folder / "order.yaml").write_text(RECIPE.format(card=card), encoding="utf-8")
    run = str(folder / "order")
    trained = CliRunner().invoke(
        app, ["finetune", str(folder / "order.yaml"), "--from", "brainfm-tiny", "--out", run, "--json"]
    )
    assert trained.exit_code == 0, trained.output
    found = json.loads(trained.stdout)
    assert found["metric"] == "symbol_accuracy"
    rows = {row["name"]: row["score"] for row in found["rows"]}
    assert {"frozen", "untrained", "shuffled", "scratch", "finetuned"} <= rows.keys()
    assert all(score <= 1 for score in rows.values())
    assert found["protocol"] == "ctc", "what was really used, which is no ridge"


def test_sessions_of_one_stretch_are_parted_in_time_with_a_gap(folder: Path) -> None:
    """Each fold tests a block of every session, and nothing is trained on that lies nearer than a window."""
    card = DataCard.load(tiny.people(folder, subjects=3, seconds=60.0, name="parted"))
    target = EventSequence(labels=["left_hand", "right_hand"])
    window = Sliding(seconds=6.0, stride=3.0)
    found = Targeted.of_target(card, target, 24, "WithinSession", window, folds=3)
    assert len(found.folds) == 3
    tested = np.concatenate([fold.test for fold in found.folds])
    assert sorted(tested) == list(range(len(found.windows)))
    start, owner = found.windows.start, found.windows.recording
    for fold in found.folds:
        assert set(owner[fold.test]) == {0, 1, 2}
        for one in range(3):
            train, test = (start[rows[owner[rows] == one]] for rows in (fold.train, fold.test))
            assert np.abs(train[:, None] - test).min() >= 12.0
