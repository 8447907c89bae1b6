"""Next event: nothing of the future is heard, targets are the next spikes, and planted synapses are found."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.spike_times import SpikeTimes
from brainfm.encoders.transformer import Transformer
from brainfm.errors import DataError, RecipeError
from brainfm.gather import stream
from brainfm.learner import Learner, learner
from brainfm.objectives import Shapes
from brainfm.objectives.next_event import NextEvent, NextEventLoss, fired, successor
from brainfm.recipe import PretrainRecipe
from tests.test_masks import tokens_of
from tests.tiny import drawn

MakeRecipe = Callable[..., PretrainRecipe]
SIGNAL = {
    "prepare": [{"kind": "bin_counts", "seconds": 0.001}],
    "seconds": 1.0,
    "tokenizer": {"kind": "spike_events", "seconds": 0.1, "sfreq": 1000.0},
}
RATES = np.array([12.0, 4.0, 8.0, 6.0, 10.0])
SECONDS = 120.0


@pytest.fixture(scope="module")
def neurons() -> Recording:
    """Five neurons; the second fires 4 ms after the first four times out of five."""
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, SECONDS, rng.poisson(rate * SECONDS))) for rate in RATES]
    caused = trains[0][rng.uniform(size=len(trains[0])) < 0.8] + 0.004
    trains[1] = np.sort(np.concatenate([trains[1], caused[caused < SECONDS]]))
    table = Sensors.of([f"n{row}" for row in range(5)], "neuron", "count", np.full((5, 3), np.nan), "none")
    signal = Signal(SpikeTimes.of(trains, SECONDS, 1000.0), 1000.0, table)
    return Recording({"spikes": signal}, source="test")


@pytest.fixture(scope="module")
def spikes(make_recipe: MakeRecipe, neurons: Recording) -> dict[str, Stream]:
    recipe = make_recipe(signals={"spikes": SIGNAL}, objectives={"next_event": {}})
    return {"spikes": stream([neurons], recipe.signals["spikes"], "spikes")}


def net(make: MakeRecipe, spikes: dict[str, Stream]) -> Learner:
    return learner(make(signals={"spikes": SIGNAL}, objectives={"next_event": {}}), spikes)


def module_of(found: Learner) -> NextEventLoss:
    module = found.objectives["next_event"]
    assert isinstance(module, NextEventLoss)
    return module


def test_a_causal_pass_hears_the_past_alone() -> None:
    """What later tokens say and what those at the same time say changes nothing; what earlier ones say does."""
    encoder = Transformer(depth=2, width=16, heads=2).build(1)
    tokens = tokens_of(batch=3, sensors=4, times=6)
    said = torch.randn(3, 24, 16, generator=drawn(0))
    tokens = replace(tokens.with_embedding(said), causal=True)
    now = tokens.time[:, :1] + 0 * tokens.time
    first = torch.arange(24) == 0
    other = torch.randn(3, 24, 16, generator=drawn(1))

    def at_first(changed: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            heard = encoder(tokens.with_embedding(torch.where(changed.unsqueeze(-1), other, said)))
        return heard.embedding[:, 0]

    plain = at_first(torch.zeros(3, 24, dtype=torch.bool))
    assert torch.equal(at_first((tokens.time >= now) & ~first), plain)
    earlier = tokens.time < now
    assert earlier.any(dim=1).all()
    assert (at_first(earlier) - plain).abs().amax(dim=1).min() > 1e-3
    with torch.no_grad():
        both = [
            encoder(replace(tokens.with_embedding(one), causal=False)).embedding[:, 0]
            for one in (said, other)
        ]
    assert not torch.allclose(*both)


def test_the_likelihood_of_a_spike_does_not_know_what_follows(
    make_recipe: MakeRecipe, spikes: dict[str, Stream]
) -> None:
    """Spikes after a moment are moved to other neurons: what was said of earlier ones stays."""
    found, stream_ = net(make_recipe, spikes), spikes["spikes"]
    batch = stream_.batch(max(stream_.layouts, key=len)[:4])
    late = torch.arange(batch.signal.shape[-1]) >= 500
    other = replace(batch, signal=torch.where(late, batch.signal.roll(1, 1), batch.signal))
    with torch.no_grad():
        costs = [
            module_of(found).costs(view.pieces[0], view.past[0])
            for view in (found.view((one,), Chance(0)) for one in (batch, other))
        ]
        (when, which, asked), (when_, which_, _) = costs
        tokens = found.model.tokenize(batch).tokens
        following, _ = successor(tokens)
    early, before = (following < 0.5) & asked, (tokens.time < 0.5) & asked
    assert early.sum() > 20
    torch.testing.assert_close(which_[early], which[early], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(when_[before], when[before], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(which_[asked & ~before], which[asked & ~before], atol=1e-3)


def test_the_target_is_the_next_moment_with_a_spike() -> None:
    counts = torch.zeros(1, 3, 10)
    for sensor, bin_ in [(0, 2), (1, 2), (2, 5), (0, 7), (1, 7), (1, 9)]:
        counts[0, sensor, bin_] = 1
    tokens = tokens_of(batch=1, sensors=1, times=8, shuffled=False)
    time = (torch.tensor([[2, 2, 5, 7, 7, 9, 0, 0]]) + 0.5) / 1000
    valid = torch.arange(8)[None] < 6
    following, there = successor(replace(tokens, time=time, valid=valid, padded=True))
    assert there.tolist() == [[True] * 5 + [False] * 3]
    assert (following[0, :5] * 1000).floor().tolist() == [5, 5, 7, 9, 9]
    share = fired(counts, following, 1000.0)[0, :5]
    assert share.tolist() == [[0, 0, 1], [0, 0, 1], [0.5, 0.5, 0], [0, 1, 0], [0, 1, 0]]


def homogeneous(module: NextEventLoss, found: Learner, batch: Batch, rates: np.ndarray) -> float:
    """Nats a spike of neurons that fire at constant rates, whatever happened, in the same bins."""
    piece = found.view((batch,), Chance(0)).pieces[0]
    tokens = piece.tokenized.tokens
    following, asked = successor(tokens)
    silent = float(np.exp(-rates.sum() / 1000))
    wait = torch.arange(1, 4000) / 1000
    bins = torch.zeros(module.part.bins).index_add(
        0, module.bin_of(wait[None])[0], silent ** torch.arange(3999) * (1 - silent)
    )
    when = -bins.log()[module.bin_of(following - tokens.time)]
    which = -fired(batch.signal, following, 1000.0) @ torch.from_numpy(np.log(rates / rates.sum())).float()
    return float((when + which)[asked].mean())


def test_planted_synapses_beat_constant_rates(make_recipe: MakeRecipe, spikes: dict[str, Stream]) -> None:
    """On later windows than were trained on; an untrained network does not."""
    found, stream_ = net(make_recipe, spikes), spikes["spikes"]
    rows = [layout for layout in stream_.layouts if len(layout) > 1]
    train = [stream_.batch(layout[layout < 90][:16]) for layout in rows if (layout < 90).sum() > 1]
    test = [stream_.batch(layout[layout >= 90]) for layout in rows if (layout >= 90).any()]
    total = sum(batch.signal.sum(dim=(0, 2)) for batch in train)
    assert isinstance(total, torch.Tensor)
    rates = (total / sum(len(batch) for batch in train)).double().numpy()
    module = module_of(found)

    def score() -> float:
        with torch.no_grad():
            return float(np.mean([float(found((batch,), Chance(0)).total) for batch in test]))

    baseline = float(np.mean([homogeneous(module, found, batch, rates) for batch in test]))
    before = score()
    optimizer = torch.optim.AdamW(found.parameters(), lr=3e-3)
    for step in range(120):
        found((train[step % len(train)],), Chance(0)).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = score()
    assert before > baseline and after < baseline - 0.3


def test_signals_that_are_no_events_are_refused(make_recipe: MakeRecipe, person: Recording) -> None:
    recipe = make_recipe(objectives={"next_event": {}})
    streams = {"eeg": stream([person], recipe.signals["eeg"], "eeg")}
    with pytest.raises(DataError, match="no objective has anything to learn from windows of eeg"):
        learner(recipe, streams)((streams["eeg"].batch(np.arange(2)),), Chance(0))
    with pytest.raises(RecipeError, match="reads in order of time, which the encoder axial can't"):
        make_recipe(
            objectives={"next_event": {}},
            encoder={"kind": "axial", "depth": 1, "width": 32, "heads": 2},
        )


def test_bins_widen_from_a_sample_to_the_longest() -> None:
    module = NextEvent(bins=12, longest=0.25).build(Shapes(8, {"spikes": 100}))
    found = module.bin_of(torch.tensor([[0.001, 0.002, 0.004, 0.05, 0.2499, 0.26, 3.0]]))[0]
    assert found[0] == 0 and (found.diff() >= 0).all() and found.tolist()[-3:] == [10, 11, 11]
    assert len(found.unique()) == 6
