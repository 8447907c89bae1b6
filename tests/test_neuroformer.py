"""Neuroformer's parts: events hear the past of other streams, are as likely as is said, are made up, and tell who drives whom."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.data.modalities.behaviour import simulate as simulate_behaviour
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.spike_times import SpikeTimes
from brainfm.errors import CheckpointError, DataError
from brainfm.event_model import Clock, EventModel
from brainfm.gather import stream
from brainfm.generation import generate
from brainfm.learner import Learner, learner
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig
from brainfm.objectives import Shapes
from brainfm.objectives.next_event import NextEvent, NextEventLoss
from brainfm.recipe import FinetuneRecipe, PretrainRecipe
from brainfm.spike_glm import SpikeGLM, filtered
from brainfm.spike_likelihood import bits_per_spike, log_likelihood, poisson
from brainfm.spike_pairs import cross_correlogram, lagged_partial_correlation
from brainfm.tasks import labelled
from brainfm.wiring import connectivity, watched
from tests.tiny import drawn

MakeRecipe = Callable[..., PretrainRecipe]
SPIKES = {
    "prepare": [{"kind": "bin_counts", "seconds": 0.001}],
    "seconds": 1.0,
    "tokenizer": {"kind": "spike_events", "seconds": 0.1, "sfreq": 1000.0},
}
BEHAVIOUR = {
    "prepare": [],
    "seconds": 1.0,
    "tokenizer": {"kind": "named_patch", "seconds": 0.2, "sfreq": 50.0, "told": "level"},
}
RATES = np.array([12.0, 5.0, 8.0, 15.0])
SECONDS = 120.0


def recording(planted: bool) -> Recording:
    """Four neurons of constant rates; where synapses are planted the second fires 4 ms after the first, mostly."""
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, SECONDS, rng.poisson(rate * SECONDS))) for rate in RATES]
    if planted:
        caused = trains[0][rng.uniform(size=len(trains[0])) < 0.8] + 0.004
        trains[1] = np.sort(np.concatenate([trains[1], caused[caused < SECONDS]]))
    table = Sensors.of([f"n{row}" for row in range(4)], "neuron", "count", np.full((4, 3), np.nan), "none")
    signal = Signal(SpikeTimes.of(trains, SECONDS, 1000.0), 1000.0, table)
    return Recording({"spikes": signal}, source="test")


def trained(make: MakeRecipe, planted: bool, steps: int = 250) -> tuple[EventModel, Stream]:
    recipe = make(signals={"spikes": SPIKES}, objectives={"next_event": {}})
    found = stream([recording(planted)], recipe.signals["spikes"], "spikes")
    net = learner(recipe, {"spikes": found})
    rows = [layout[layout < 100] for layout in found.layouts if (layout < 100).sum() > 1]
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for step in range(steps):
        batch = found.batch(rows[step % len(rows)][:16])
        net((batch,), Chance(0, step)).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    return EventModel.of(net.eval()), found


@pytest.fixture(scope="module")
def constant(make_recipe: MakeRecipe) -> tuple[EventModel, Stream]:
    return trained(make_recipe, planted=False)


@pytest.fixture(scope="module")
def planted(make_recipe: MakeRecipe) -> tuple[EventModel, Stream]:
    return trained(make_recipe, planted=True)


@pytest.fixture(scope="module")
def beside(make_recipe: MakeRecipe) -> tuple[Learner, tuple[Stream, Stream]]:
    """An untrained network of spikes and behaviour, and streams of both, window by window."""
    recipe = make_recipe(
        signals={"spikes": SPIKES, "behaviour": BEHAVIOUR}, objectives={"next_event": {}, "contrastive": {}}
    )
    moved = simulate_behaviour(np.random.default_rng(0), seconds=SECONDS)
    streams = {
        "spikes": stream([recording(planted=False)], recipe.signals["spikes"], "spikes"),
        "behaviour": stream([moved], recipe.signals["behaviour"], "behaviour"),
    }
    return learner(recipe, streams), (streams["spikes"], streams["behaviour"])


def test_events_hear_what_was_over_before_and_nothing_else(
    beside: tuple[Learner, tuple[Stream, Stream]],
) -> None:
    """Behaviour is changed from 0.5 s on, in the middle of a patch that ends at 0.6 s."""
    net, streams = beside
    spikes, moved = (one.batch(np.arange(6)) for one in streams)
    late = torch.arange(50) >= 25
    other = replace(moved, signal=torch.where(late, moved.signal + 3.0, moved.signal))
    with torch.no_grad():
        views = [net.view((spikes, one), Chance(0)) for one in (moved, other)]
        heard, heard_ = (view.past[0] for view in views)
    apart = (heard.embedding - heard_.embedding).abs().amax(dim=-1)
    time = views[0].pieces[0].tokenized.tokens.time
    before, after = (time < 0.6) & heard.valid, (time > 0.6) & heard.valid
    assert ((time > 0.5) & before).sum() > 5 and after.sum() > 20
    assert float(apart[before].max()) < 1e-5 and float(apart[after].min()) > 1e-5


def test_the_weights_of_a_recipe_reach_the_loss(make_recipe: MakeRecipe) -> None:
    """.45, .30 and .25, as the published code weighs them."""
    recipe = make_recipe(
        signals={"spikes": SPIKES, "behaviour": BEHAVIOUR},
        objectives={"next_event": {"which": 0.45, "when": 0.3}, "contrastive": {"weight": 0.25}},
    )
    moved = simulate_behaviour(np.random.default_rng(0), seconds=20.0)
    streams = {
        "spikes": stream([recording(planted=False)], recipe.signals["spikes"], "spikes"),
        "behaviour": stream([moved], recipe.signals["behaviour"], "behaviour"),
    }
    net = learner(recipe, streams)
    loss = net(tuple(one.batch(np.arange(3)) for one in streams.values()), Chance(0))
    assert loss.weights == {"when": 0.3, "which": 0.45, "contrastive": 0.25}
    assert loss.parts.keys() == loss.weights.keys()


def test_waits_have_probabilities_that_add_up() -> None:
    head = NextEventLoss(NextEvent(bins=12, longest=0.1), 4)
    head.late.fill_(0.05)
    clock = Clock(head, 1000.0)
    told = torch.randn(12, generator=drawn(0)).masked_fill(clock.empty, -torch.inf).log_softmax(dim=0)
    told = told.double()
    wait = torch.arange(1, 1500)
    each = clock.at(told.expand(len(wait), -1), wait).exp()
    assert float(each.sum()) == pytest.approx(1.0, abs=1e-6)
    left = clock.beyond(told.expand(len(wait), -1), wait).exp()
    torch.testing.assert_close(left[:-1] - left[1:], each[:-1], atol=1e-9, rtol=1e-5)
    assert float(left[0]) == pytest.approx(1.0, abs=1e-6)


def test_the_likelihood_of_a_stretch_is_that_of_its_parts(constant: tuple[EventModel, Stream]) -> None:
    model, found = constant
    batch = found.batch(np.arange(100, 108))
    whole, first, second = (
        log_likelihood(model, [batch], *among, RATES) for among in ((0.3, 0.9), (0.3, 0.55), (0.55, 0.9))
    )
    np.testing.assert_allclose(whole, first + second, rtol=1e-6)
    begun = log_likelihood(
        model, [batch], 0.0, 0.3, RATES
    )  # before a window's first spike rates alone are known
    assert np.isfinite(begun).all() and (begun < 0).all()


def test_constant_rates_are_told_as_well_as_they_can_be_and_made_up_again(
    constant: tuple[EventModel, Stream],
) -> None:
    """Fitted on Poisson neurons: as likely as under their own rates on later windows, and as many spikes of each made up."""
    model, found = constant
    batch = found.batch(np.arange(100, 119))
    told = log_likelihood(model, [batch], 0.25, 1.0, RATES).sum()
    true = float(poisson(batch.signal[..., 250:], torch.from_numpy(RATES)[:, None] / 1000))
    spikes = float(batch.signal[..., 250:].sum())
    assert abs(bits_per_spike(told, true, spikes)) < 0.1
    prefix = found.batch(np.arange(100, 106))
    made = generate(model, prefix, 2.0, drawn(0))
    again = generate(model, prefix, 2.0, drawn(0))
    assert [one.time.tolist() for one in made] == [one.time.tolist() for one in again]
    other = generate(model, prefix, 2.0, drawn(1))
    assert [one.time.tolist() for one in made] != [one.time.tolist() for one in other]
    rates = np.mean([one.rates() for one in made], axis=0)
    spread = np.sqrt(RATES / 12)  # of 12 s
    assert (np.abs(rates - RATES) < 4 * spread).all(), rates


def test_what_is_made_up_does_not_know_what_lies_beside_it_later(
    beside: tuple[Learner, tuple[Stream, Stream]],
) -> None:
    net, streams = beside
    model = EventModel.of(net.eval())
    spikes, moved = (one.batch(np.arange(2)) for one in streams)
    prefix = replace(spikes, signal=spikes.signal[..., :400])
    late = torch.arange(50) >= 40
    other = replace(moved, signal=torch.where(late, moved.signal + 9.0, moved.signal))
    made, made_ = (generate(model, prefix, 0.6, drawn(0), [one]) for one in (moved, other))
    for one, two in zip(made, made_, strict=True):
        np.testing.assert_array_equal(one.time[one.time < 0.4], two.time[two.time < 0.4])
    with pytest.raises(DataError, match="behaviour ends before what is to be generated"):
        generate(model, prefix, 5.0, drawn(0), [moved])
    with pytest.raises(DataError, match="nothing fires in a prefix"):
        generate(model, replace(prefix, signal=prefix.signal * 0), 0.1, drawn(0))


def test_colder_and_narrower_draws_are_likelier(constant: tuple[EventModel, Stream]) -> None:
    model, found = constant
    prefix = found.batch(np.arange(100, 104))
    cold = [one.rates() for one in generate(model, prefix, 1.0, drawn(0), temperature=0.1)]
    narrow = [one.rates() for one in generate(model, prefix, 1.0, drawn(0), top_p=0.3)]
    for rates in (np.mean(cold, axis=0), np.mean(narrow, axis=0)):
        assert rates[3] / rates.sum() > RATES[3] / RATES.sum() + 0.2  # the fastest is the likeliest


def test_planted_connections_are_found_and_independent_neurons_are_flat(
    planted: tuple[EventModel, Stream], constant: tuple[EventModel, Stream]
) -> None:
    """The second neuron follows the first: by what the network says, by a regression and by the classical measures."""
    effects = []
    for model, found in (planted, constant):
        effects.append(connectivity(model, found, np.arange(40)))
    assert np.unravel_index(effects[0].argmax(), effects[0].shape) == (1, 0)
    assert effects[0][1, 0] > 0.5 and np.abs(effects[1]).max() < effects[0][1, 0] / 3
    counts = recording(True).signal("spikes").load().astype(float)
    for found in (cross_correlogram(counts, 1000.0), lagged_partial_correlation(counts, 1000.0)):
        assert np.unravel_index(found.argmax(), found.shape) == (1, 0)
    coupling = SpikeGLM(1000.0, longest=0.05, filters=5).fit(counts, np.arange(60_000)).coupling()
    np.fill_diagonal(coupling, 0)
    assert np.unravel_index(coupling.argmax(), coupling.shape) == (1, 0)


def test_attention_that_is_watched_is_what_the_encoder_pays(planted: tuple[EventModel, Stream]) -> None:
    """Rows sum to one, nothing later is attended to, the network says the same; attention of no recording is mixed."""
    model, found = planted
    batch = found.batch(np.arange(4))
    plain = model.heard([batch])
    with watched(model.model.encoder) as weights:
        seen = model.heard([batch])
    assert torch.equal(plain.tokens.embedding, seen.tokens.embedding)
    assert len(weights) == model.model.config.encoder["depth"]
    time, valid = plain.tokens.time, plain.tokens.valid
    later = (time.unsqueeze(1) >= time.unsqueeze(2)) & ~torch.eye(time.shape[1], dtype=torch.bool)
    for one in weights:
        torch.testing.assert_close(one.sum(dim=-1)[valid], torch.ones_like(one[..., 0][valid]))
        assert float(one.transpose(1, 2)[later.unsqueeze(1).expand(-1, one.shape[2], -1, -1)].max()) < 1e-6
    paid = connectivity(model, found, np.arange(40), of="attention")
    assert paid.shape == (4, 4) and (paid >= 0).all() and (np.diag(paid) == 0).all()


def test_a_filter_is_a_convolution_with_what_came_before() -> None:
    rng = np.random.default_rng(0)
    counts = (rng.uniform(size=400) < 0.1).astype(float)
    part = SpikeGLM(1000.0, longest=0.03, filters=4)
    basis = part.basis()
    np.testing.assert_allclose(basis.sum(axis=1), 1)
    at = np.flatnonzero(counts)
    found = filtered(at, counts[at], np.arange(400), basis)
    for number, bump in enumerate(basis):
        wanted = np.concatenate([[0.0], np.convolve(counts, bump)[:399]])
        np.testing.assert_allclose(found[:, number], wanted, atol=1e-12)


def test_a_regression_of_independent_neurons_tells_their_rates() -> None:
    """On later samples no better than constant rates, and hardly worse; on planted ones better."""
    for synapses in (False, True):
        counts = recording(synapses).signal("spikes").load().astype(float)
        train, test = np.arange(80_000), np.arange(80_000, 120_000)
        rates = counts[:, train].mean(axis=1, keepdims=True)
        constant = float(poisson(torch.from_numpy(counts[:, test]), torch.from_numpy(rates)))
        told = SpikeGLM(1000.0).fit(counts, train).log_likelihood(counts, test).sum()
        bits = bits_per_spike(float(told), constant, counts[:, test].sum())
        assert bits > 0.2 if synapses else -0.1 < bits < 0.02


def test_the_published_size_is_the_published_count() -> None:
    """28.2 million weights for 2,023 neurons; ours has one stack where theirs has seven, and no video stem."""
    recipe = PretrainRecipe.load("neuroformer_published")
    config = BrainFMConfig.of(recipe)
    config.known = {"spikes": {"ids": list(range(1, 2024))}, "behaviour": {"ids": [1, 2, 3]}}
    with torch.device("meta"):
        model = BrainFM(config)
        shapes = Shapes(model.width, {name: one.tokenizer.times for name, one in model.signals.items()})
        told = [part.build(shapes) for part in recipe.objectives.values()]
    count = sum(one.numel() for module in (model, *told) for one in module.parameters())
    assert count == 27_614_985
    assert abs(count / 28.2e6 - 1) < 0.03


def test_a_share_of_the_labels_is_told_and_a_larger_one_holds_it() -> None:
    rows = np.arange(100, 300)
    recipe = FinetuneRecipe.load("neuroformer")
    some, more, every = (
        labelled(recipe.model_copy(update={"labelled": share}), rows) for share in (0.01, 0.1, 1.0)
    )
    assert (len(some), len(more)) == (2, 20)
    assert set(some) < set(more) and every.tolist() == rows.tolist()


def test_what_tells_events_is_saved_beside_the_model(
    make_recipe: MakeRecipe, constant: tuple[EventModel, Stream], tmp_path: Path
) -> None:
    model, found = constant
    net = Learner(model.model, None, {"next_event": (1.0, model.head)})  # type: ignore[arg-type] # it hides nothing
    model.model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="does not say what it learnt of the next event"):
        EventModel.load(tmp_path)
    net.save_kept(tmp_path)
    again = EventModel.load(tmp_path)
    batch = found.batch(np.arange(4))
    np.testing.assert_allclose(
        log_likelihood(again, [batch], 0.5, 1.0, RATES), log_likelihood(model, [batch], 0.5, 1.0, RATES)
    )
    assert float(again.head.late) == float(model.head.late)


def test_instruments_keep_their_numbers_when_a_model_is_saved(
    beside: tuple[Learner, tuple[Stream, Stream]], tmp_path: Path
) -> None:
    """Whatever the order of their names: a saved config's keys are sorted, and an instrument's vector is known by its number."""
    net, streams = beside
    net.model.save_pretrained(tmp_path)
    again = BrainFM.from_pretrained(tmp_path)
    assert again.modalities == net.model.modalities == ["spikes", "behaviour"]
    for found in streams:
        batch = found.batch(np.arange(3))
        with torch.no_grad():
            torch.testing.assert_close(again(batch).embedding, net.model.eval()(batch).embedding)
    config = tmp_path / "config.json"
    said = json.loads(config.read_text())
    del said["modalities"]  # as it was saved before
    config.write_text(json.dumps(said, sort_keys=True))
    assert BrainFM.from_pretrained(tmp_path).modalities == ["spikes", "behaviour"]
