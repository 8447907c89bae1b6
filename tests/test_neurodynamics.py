"""The neurodynamics objective: what is asked of rows, pairs and windows, how it is weighed, and what may not be looked at."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.errors import DataError
from brainfm.learner import Learner, learner
from brainfm.objectives import Shapes
from brainfm.objectives.neurodynamics import (
    Answer,
    Describe,
    Neurodynamics,
    NeurodynamicsLoss,
    PairHead,
    Scale,
    per_row,
    waves,
)
from brainfm.recipe import PretrainRecipe
from brainfm.run_folder import MEMORY, load_memory, save_memory
from brainfm.statistics import (
    FIELD,
    pair_fields,
    pair_names,
    pair_statistics,
    pairs_of,
    row_fields,
    row_names,
    row_statistics,
    window_names,
)
from brainfm.statistics.memory import Memory
from brainfm.tokenizers.patch import Patch
from brainfm.tokenizers.spike_counts import SpikeCounts
from brainfm.tokens import Tokenized
from tests.tiny import drawn

MakeRecipe = Callable[..., PretrainRecipe]
SOME = ("power", "entropy", "locking")


def net(make: MakeRecipe, streams: dict[str, Stream], **settings: Any) -> Learner:
    return learner(make(objectives={"neurodynamics": settings}), streams)


def asked(found: Learner) -> NeurodynamicsLoss:
    module = found.objectives["neurodynamics"]
    assert isinstance(module, NeurodynamicsLoss)
    return module


def describer(of: Sequence[str] = SOME, width: int = 16, **settings: Any) -> Describe:
    return Describe(Neurodynamics(of=list(of), **settings), width, "eeg", Memory())


def tokens_of(windows: Batch) -> Tokenized:
    with torch.no_grad():
        made: Tokenized = Patch(seconds=0.25, sfreq=128.0).build(16, 0)(windows)
    return made


def answers(describe: Describe, windows: Batch, kept: torch.Tensor | None = None) -> dict[str, Answer]:
    """Told from these tokens, all unless said."""
    tokens = tokens_of(windows).tokens
    seen = tokens if kept is None else tokens.take(kept.expand(len(windows), -1))
    found: dict[str, Answer] = describe(windows, windows.signal, seen, Chance(0))
    return found


def test_statistics_are_standardised_over_the_corpus(windows: Batch) -> None:
    """Those of rows over all rows, of pairs over all pairs, of the window over windows."""
    describe = describer()
    describe.fit([(windows, tokens_of(windows))])
    rows = row_statistics(windows.signal, windows.sfreq, "eeg", SOME)
    pairs = pair_statistics(windows.signal, windows.sfreq, "eeg", SOME)
    fields = torch.cat([row_fields(rows, windows.position, windows.located), pair_fields(pairs)], dim=-1)
    for level, values, names in (
        ("row", rows, row_names("eeg", SOME)),
        ("pair", pairs, pair_names("eeg", SOME)),
        ("window", fields, window_names("eeg", SOME)),
    ):
        scale = describe.scales[level]
        assert isinstance(scale, Scale)
        flat = values.flatten(0, -2)
        torch.testing.assert_close(scale.mean, flat.mean(dim=0))
        torch.testing.assert_close(scale.std, flat.std(dim=0, correction=0).clamp(min=1e-3))
        assert scale.mean.shape == (len(names),)
        wanted = answers(describe, windows)[level].wanted.flatten(0, 1)
        torch.testing.assert_close(wanted, ((flat - scale.mean) / scale.std).clamp(-5, 5))
    assert "scales.row.mean" in describe.state_dict()


def test_a_field_that_never_varies_does_not_explode(windows: Batch) -> None:
    one = replace(windows.windows(slice(0, 1)), signal=windows.signal[:1])
    describe = describer()
    describe.fit([(one, tokens_of(one))])
    scale = describe.scales["window"]
    assert isinstance(scale, Scale)
    assert torch.isfinite(scale.std).all() and (scale.std >= 1e-3).all()


def test_targets_are_of_full_precision_in_a_run_of_less(windows: Batch) -> None:
    describe = describer()
    describe.fit([(windows, tokens_of(windows))])
    plain = answers(describe, windows)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = answers(describe, windows)
    for level, answer in plain.items():
        assert torch.equal(rounded[level].wanted, answer.wanted), level
    assert not torch.equal(rounded["row"].told, plain["row"].told)


def test_every_block_weighs_the_same_unless_said(windows: Batch) -> None:
    plain, heavy = describer(), describer(block_weights={"entropy": 3.0})
    rows, pairs = plain.scales["row"], plain.scales["pair"]
    assert isinstance(rows, Scale) and isinstance(pairs, Scale)
    torch.testing.assert_close(rows.share, torch.tensor([0.1] * 5 + [0.5]))  # five bands, one entropy
    torch.testing.assert_close(pairs.share, torch.full((5,), 0.2))
    weighed = heavy.scales["row"]
    assert isinstance(weighed, Scale)
    torch.testing.assert_close(weighed.share, torch.tensor([0.05] * 5 + [0.75]))
    torch.testing.assert_close(plain.scales["window"].share.sum(), torch.tensor(1.0))


def test_the_loss_is_the_weighted_smooth_l1_of_every_level(
    make_recipe: MakeRecipe, streams: dict[str, Stream], windows: Batch
) -> None:
    """Computed again by hand."""
    found = net(make_recipe, streams, of=list(SOME))
    with torch.no_grad():
        (answer,) = asked(found).answers(found.view((windows,), Chance(0)))
        expected = 0.0
        for one in answer.values():
            apart = (one.told - one.wanted).abs()
            apart = torch.where(apart < 1, 0.5 * apart**2, apart - 0.5)
            windows_ = [
                (row @ one.share)[counted].mean()
                for row, counted in zip(apart, one.counted, strict=True)
                if counted.any()
            ]
            assert len(windows_) == len(windows)
            expected += float(torch.stack(windows_).mean())
        assert float(found((windows,), Chance(0)).parts["statistics"]) == pytest.approx(expected, rel=1e-5)


def test_tokens_are_averaged_sensor_by_sensor(windows: Batch) -> None:
    tokens = tokens_of(windows).tokens
    order = torch.randperm(64, generator=drawn(0)).expand(8, -1)
    few = tokens.take(order[:, :20])
    pooled, counted = per_row(few, 8)
    for row in range(8):
        for sensor in range(8):
            mine = few.embedding[row][few.sensor[row] == sensor]
            assert bool(counted[row, sensor]) == bool(len(mine))
            if len(mine):
                torch.testing.assert_close(pooled[row, sensor], mine.mean(dim=0), atol=1e-5, rtol=1e-5)
    _, some = per_row(tokens.take(torch.arange(8).expand(8, -1)), 8)
    assert some.sum() == 8  # only the first sensor of each window


def test_a_row_of_which_nothing_was_seen_is_not_asked(windows: Batch) -> None:
    """Nor a pair with one: what an unseen sensor held moves the fields of the whole head alone."""
    describe = describer()
    describe.fit([(windows, tokens_of(windows))])
    seen = tokens_of(windows).tokens.take(torch.arange(24).expand(8, -1))  # sensors 0, 1 and 2
    signal = windows.signal.clone()
    signal[:, 5] = torch.randn(signal[:, 5].shape, generator=drawn(0))
    with torch.no_grad():
        plain = describe(windows, windows.signal, seen, Chance(0))
        other = describe(replace(windows, signal=signal), signal, seen, Chance(0))
        assert plain["row"].counted.sum(dim=1).tolist() == [3] * 8
        assert plain["pair"].counted.sum(dim=1).tolist() == [3] * 8
        for level in ("row", "pair"):
            torch.testing.assert_close(plain[level].error, other[level].error)
            assert not torch.allclose(plain[level].wanted, other[level].wanted)
        assert not torch.allclose(plain["window"].error, other["window"].error, rtol=1e-4)
        signal[:, 1] = torch.randn(signal[:, 1].shape, generator=drawn(1))
        third = describe(replace(windows, signal=signal), signal, seen, Chance(0))
        assert not torch.allclose(plain["row"].error, third["row"].error, rtol=1e-3)
        assert not torch.allclose(plain["pair"].error, third["pair"].error, rtol=1e-3)


def test_of_many_rows_some_pairs_are_asked_for_anew_each_time(windows: Batch) -> None:
    """Seen ones first; the targets are those of the pairs drawn."""
    describe = describer(pair_rows=3)
    counted = torch.ones(8, 8, dtype=torch.bool)
    counted[:, :4] = False
    rows = describe.some(counted, Chance(0))
    assert rows.shape == (8, 3) and int(rows.min()) >= 4
    assert (rows.diff(dim=1) > 0).all()
    assert len({tuple(row) for row in rows.tolist()}) > 1
    assert not torch.equal(rows, describe.some(counted, Chance(1)))
    values = describe.statistics(windows, windows.signal, rows, virtual=False)["pair"]
    expected = pair_statistics(windows.signal[2:3, rows[2]], windows.sfreq, "eeg", SOME)
    torch.testing.assert_close(values[2:3], expected, atol=1e-5, rtol=1e-5)
    assert describer(pair_rows=8).some(counted, Chance(0)).tolist() == [list(range(8))] * 8


def test_it_does_not_matter_which_of_two_rows_comes_first() -> None:
    head, rows = PairHead(16, 5, 4), torch.randn(2, 6, 16, generator=drawn(0))
    pairs = pairs_of(6, rows.device)
    torch.testing.assert_close(head(rows, pairs), head(rows, pairs.flip(0)))
    alone = head(rows, pairs) - head(rows * torch.tensor([1.0, 1, 1, 1, 1, 0])[:, None], pairs)
    touched = (pairs == 5).any(dim=0)
    assert alone[:, touched].abs().min() > 0 and alone[:, ~touched].abs().max() == 0


def test_the_pair_head_can_tell_what_two_rows_have_in_common() -> None:
    """A product of both, which no sum of what each says alone can give."""
    rows = torch.randn(64, 6, 8, generator=drawn(0))
    pairs = pairs_of(6, rows.device)
    wanted = (rows[:, pairs[0]] * rows[:, pairs[1]]).mean(dim=-1, keepdim=True)
    torch.manual_seed(0)
    head = PairHead(8, 1, 8)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(300):
        loss = (head(rows, pairs) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1 * float(wanted.var())


def test_neurons_are_described_by_their_counts() -> None:
    """Not by the roots of them that tokens are made of: a rate is a rate."""
    count = torch.poisson(torch.full((2, 3, 80), 0.5), generator=drawn(0))
    one = torch.ones(2, 3)
    batch = Batch(
        modality="spikes",
        signal=count,
        sfreq=40.0,
        position=torch.zeros(2, 3, 3),
        located=one.bool(),
        orientation=torch.zeros(2, 3, 3),
        kind=one.long(),
        identity=one.long(),
        region=one.long(),
        lobe=one.long(),
        valid=one.bool(),
        recording=torch.zeros(2, dtype=torch.long),
    )
    made = SpikeCounts(seconds=0.25, sfreq=40.0).build(16, 0)(batch)
    assert not torch.equal(made.targets["spikes"].value.flatten(), count.flatten())
    told = row_statistics(waves(batch, made), 40.0, "spikes", ("rate",))
    torch.testing.assert_close(told[..., 0].exp() - 0.1, count.mean(dim=-1) * 40.0, atol=1e-4, rtol=1e-4)


def test_a_recipe_names_blocks_that_exist() -> None:
    with pytest.raises(ValidationError, match="'entropi' is not known; did you mean 'entropy'"):
        Neurodynamics(of=["power", "entropi"])
    with pytest.raises(ValidationError, match="'hjorth' has a weight but is not asked for"):
        Neurodynamics(of=["power"], block_weights={"hjorth": 2.0})
    with pytest.raises(ValidationError, match="greater than 0"):
        Neurodynamics(of=["power"], block_weights={"power": 0.0})
    with pytest.raises(ValidationError):
        Neurodynamics(of=[])


def test_pairs_alone_and_rows_alone_are_possible(
    make_recipe: MakeRecipe, streams: dict[str, Stream], windows: Batch
) -> None:
    for of, levels in ((["locking"], {"pair", "window"}), (["power"], {"row", "window"})):
        found = net(make_recipe, streams, of=of)
        (answer,) = asked(found).answers(found.view((windows,), Chance(0)))
        assert answer.keys() == levels
        assert torch.isfinite(found((windows,), Chance(0)).total)


def test_one_sensor_has_no_pairs(windows: Batch) -> None:
    one = windows.sensors(torch.tensor([2]))
    describe = describer()
    describe.fit([(one, tokens_of(one))])
    found = answers(describe, one)
    assert float(found["pair"].error.detach()) == 0.0
    assert float(found["row"].error.detach()) > 0
    assert torch.isfinite(found["window"].error)


SLOW = [name for name, block in FIELD.items() if block.slow]


def test_what_is_slow_is_computed_once(windows: Batch) -> None:
    """Under the content of each window, whatever batch it comes in, and to the bit what is computed anew."""
    calls: list[int] = []

    def slow(signal: torch.Tensor, sfreq: float) -> torch.Tensor:
        calls.append(len(signal))
        return row_statistics(signal, sfreq, "eeg", SLOW)

    memory = Memory()
    first = memory("entropy", slow, windows.signal, windows.sfreq)
    again = memory("entropy", slow, windows.signal.flip(0), windows.sfreq)
    assert calls == [8]
    assert torch.equal(again, first.flip(0))
    other = windows.signal.clone()
    other[3, 0, 0] += 1e-3
    changed = memory("entropy", slow, other, windows.sfreq)
    assert calls == [8, 1]
    assert torch.equal(changed, slow(other, windows.sfreq))
    memory("lempel_ziv", slow, windows.signal, windows.sfreq)
    memory("entropy", slow, windows.signal, 64.0)
    assert calls[3:] == [8, 8]


def test_networks_of_one_process_know_what_one_of_them_computed(
    make_recipe: MakeRecipe, streams: dict[str, Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So seeds and ablations on one corpus begin without its slow statistics."""
    net(make_recipe, streams, of=["entropy"])

    def again(signal: torch.Tensor) -> torch.Tensor:
        raise AssertionError("computed twice")

    monkeypatch.setattr("brainfm.statistics.sample_entropy", again)
    net(make_recipe, streams, of=["entropy"])
    with monkeypatch.context() as patch:
        patch.setattr("brainfm.objectives.neurodynamics.of_this_process", Memory)
        with pytest.raises(AssertionError, match="computed twice"):
            net(make_recipe, streams, of=["entropy"])


def test_a_full_memory_still_answers(windows: Batch) -> None:
    memory = Memory(limit=3)
    found = memory("entropy", lambda signal, _: signal.sum(dim=-1, keepdim=True), windows.signal, 128.0)
    assert len(memory.known) == 3
    torch.testing.assert_close(found[..., 0], windows.signal.sum(dim=-1))


def test_slow_blocks_are_remembered_in_training(
    make_recipe: MakeRecipe,
    streams: dict[str, Stream],
    windows: Batch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BRAINFM_CACHE", str(tmp_path))  # what other tests asked for is remembered, too
    found = net(make_recipe, streams, of=["power", "entropy"])
    memory = asked(found).memory
    known = len(memory.known)
    assert known == len(streams["eeg"].windows)  # the corpus's spread was learnt from all of them
    found((windows,), Chance(0))
    assert len(memory.known) == known


def test_instruments_of_which_the_same_is_asked_may_share_their_maps(windows: Batch) -> None:
    """What is learnt of one is then told of the other, also by a copy; neurons, of which other things are asked, stay apart."""
    shapes = Shapes(16, {"eeg": 32, "seeg": 32, "spikes": 10})
    for shared in (True, False):
        found = Neurodynamics(of=["power", "rate", "locking"], shared=shared).build(shapes)
        twin = copy.deepcopy(found)
        twin.load_state_dict(found.state_dict())
        eeg, seeg, spikes = (twin.describe[name] for name in shapes.patches)
        before = [one.tells("row").weight.detach().clone() for one in (eeg, seeg, spikes)]
        with torch.no_grad():
            for parameter in eeg.parameters():
                parameter.add_(1.0)
        moved = [
            not torch.equal(one.tells("row").weight, was)
            for one, was in zip((eeg, seeg, spikes), before, strict=True)
        ]
        assert moved == [True, shared, False]
        assert torch.equal(found.describe["seeg"].tells("row").weight, before[1])
        assert any(name.startswith("describe.seeg.heads") for name in found.state_dict()) != shared


def test_a_memory_is_kept_and_taken_up_again(windows: Batch, tmp_path: Path) -> None:
    """Of windows with other numbers of rows, too; a damaged file is none."""
    memory, other = Memory(), Memory()
    assert load_memory(tmp_path) == {}
    save_memory(tmp_path, memory.arrays())
    other.restore(load_memory(tmp_path))
    assert other.known == {}

    def of(signal: torch.Tensor, sfreq: float) -> torch.Tensor:
        return row_statistics(signal, sfreq, "eeg", ("entropy",))

    whole, few = (memory("entropy", of, signal, 128.0) for signal in (windows.signal, windows.signal[:, :3]))
    save_memory(tmp_path, memory.arrays())
    other.restore(load_memory(tmp_path))

    def never(signal: torch.Tensor, sfreq: float) -> torch.Tensor:
        raise AssertionError("it is known already")

    assert torch.equal(other("entropy", never, windows.signal, 128.0), whole)
    assert torch.equal(other("entropy", never, windows.signal[:, :3], 128.0), few)
    (tmp_path / MEMORY).write_bytes(b"broken")
    assert load_memory(tmp_path) == {}


def test_windows_that_are_no_process_are_refused_before_a_step(batch: Batch) -> None:
    """A map of responses is one sample: its statistics in time are no numbers, and so was the loss from its first step on."""
    describe = Describe(Neurodynamics(), 16, "fmri", Memory())
    maps = replace(batch, signal=batch.signal[..., :1], modality="fmri", sfreq=1.0)
    made = tokens_of(batch)
    with pytest.raises(
        DataError, match="windows of 1 samples of fmri are too short to be described as a process"
    ):
        describe.fit([(maps, made)])
