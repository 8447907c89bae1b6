"""What every part must do, whoever wrote it: all parts that are found × the modalities that they read, on simulated people.

A new part is tested the day its file appears; `tests/cases.py` says in which ways.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.data.modalities import known as instruments
from brainfm.data.modalities import modality
from brainfm.data.reading import from_array
from brainfm.data.recording import Recording
from brainfm.data.windows.sliding import Sliding
from brainfm.gather import stream
from brainfm.heads import Head
from brainfm.learner import Learner, learner, met
from brainfm.lengths import PADDING
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig
from brainfm.part import known
from brainfm.recipe import PretrainRecipe
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokens
from tests.cases import (
    INSTRUMENTS,
    TRY,
    USUAL,
    Case,
    cases,
    choices,
    reads,
    recipe_of,
    somebody,
    usual,
)
from tests.tiny import drawn


@pytest.fixture(scope="module", params=cases(), ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def small(case: Case, make_recipe: Callable[..., PretrainRecipe]) -> PretrainRecipe:
    return recipe_of(case, make_recipe)


@pytest.fixture(scope="module")
def streams(case: Case, small: PretrainRecipe) -> dict[str, Stream]:
    recordings = [somebody(case.instrument)]
    return {case.instrument: stream(recordings, small.signals[case.instrument], case.instrument)}


@pytest.fixture
def net(small: PretrainRecipe, streams: dict[str, Stream]) -> Learner:
    """The whole untrained learner, its objective fitted, and as a teacher the network before any training."""
    found = learner(small, streams)
    slow = copy.deepcopy(found.model)
    found.teacher, found.teacher_tokens = slow.forward, lambda batch: slow.tokenize(batch).tokens
    return found


@pytest.fixture(scope="module")
def windows(case: Case, streams: dict[str, Stream]) -> Batch:
    """Eight windows, or as many events' windows as there are alike; the last sensor has no position."""
    found = streams[case.instrument]
    rows = max(found.layouts, key=len)[:8] if found.ragged else np.arange(8)
    return found.batch(rows)


@pytest.fixture
def part(net: Learner, case: Case) -> Tokenizer:
    """The tokenizer's description."""
    return net.model.signals[case.instrument].tokenizer


SENSOR = ("signal", "position", "located", "orientation", "kind", "identity", "region", "lobe", "valid")
"""Fields of a batch that have a row for each sensor."""


def test_parts_are_found() -> None:
    for family, kind in {**USUAL, Head: "linear"}.items():
        assert kind in known(family)
    assert {case.parts[Tokenizer]["kind"] for case in cases()} == set(known(Tokenizer))
    assert {case.instrument for case in cases()} == set(INSTRUMENTS) == set(instruments())
    assert TRY.keys() <= {kind for family in (*USUAL, Head) for kind in known(family)}


def test_the_person_has_a_sensor_without_position(case: Case, windows: Batch) -> None:
    assert (windows.located[:, :-1] == modality(case.instrument).of_brain).all()
    assert not windows.located[:, -1].any()
    assert torch.isfinite(windows.position).all()


def test_declared_shapes(case: Case, net: Learner, windows: Batch, part: Tokenizer) -> None:
    tokenized = net.model.tokenize(windows)
    tokens, target = tokenized.tokens, tokenized.targets[case.instrument]
    b, n, width = len(windows), tokens.count, net.model.width
    assert tokens.embedding.shape == (b, n, width)
    for name in ("time", "located", "modality", "sensor", "region", "valid"):
        assert getattr(tokens, name).shape == (b, n), name
    assert tokens.position.shape == (b, n, 3)
    assert target.value.shape == (b, n, part.held)
    assert ((tokens.time > 0) & (tokens.time < INSTRUMENTS[case.instrument].window) | ~tokens.valid).all()
    if part.ragged:
        assert tokens.period == 0 and int(tokens.sensor.max()) < windows.signal.shape[1]
        assert torch.equal(tokens.valid.sum(dim=1), windows.signal.sum(dim=(1, 2)).long())
    else:
        rows = net.model.rows(somebody(case.instrument), case.instrument)
        assert torch.equal(tokens.sensor.unique(), torch.arange(len(rows)))
        assert tokens.virtual or len(rows) == windows.signal.shape[1]
    encoded = net.model(windows)
    assert encoded.embedding.shape == (b, n, width)
    assert torch.equal(encoded.sensor, tokens.sensor) and torch.equal(encoded.time, tokens.time)
    loss = net((windows,), Chance(0))
    assert loss.parts.keys() == loss.weights.keys()
    assert all(one.shape == () and torch.isfinite(one) and one > 0 for one in loss.parts.values())


def test_events_are_hardly_padded(net: Learner, windows: Batch, part: Tokenizer) -> None:
    valid = net.model.tokenize(windows).tokens.valid
    assert (valid.float().mean() >= 1 - PADDING) if part.ragged else valid.all()


def test_same_seed_same_bytes(
    small: PretrainRecipe, streams: dict[str, Stream], net: Learner, windows: Batch
) -> None:
    before = torch.get_rng_state()
    again = learner(small, streams)
    again.teacher, again.teacher_tokens = net.teacher, net.teacher_tokens
    other = learner(small.model_copy(update={"seed": 1}), streams)
    assert torch.equal(before, torch.get_rng_state())
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    changed = [not torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True)]
    assert sum(changed) > len(changed) / 3
    assert torch.equal(net((windows,), Chance(5)).total, again((windows,), Chance(5)).total)
    drawn_anew = not torch.equal(net((windows,), Chance(5)).total, net((windows,), Chance(6)).total)
    assert drawn_anew != ("next_event" in net.objectives)  # which hides nothing


def reached(module: nn.Module) -> Iterator[tuple[str, bool]]:
    """Whether a gradient reached each parameter that has any numbers."""
    for name, parameter in module.named_parameters():
        if parameter.numel():
            yield name, parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)


def test_a_gradient_reaches_every_parameter(net: Learner, windows: Batch) -> None:
    for seed in range(3):  # the sensor without a position must be seen once and asked for once
        net((windows,), Chance(seed)).total.backward()
    located = net.model.tokenize(windows).tokens.located
    unasked = (
        {"where.nowhere"}
        if located.all()
        else set()
        if located.any()
        else {"where.project.weight", "where.project.bias"}
    )
    missed = [name for name, was in reached(net) if not was]
    assert not [name for name in missed if not name.endswith(tuple(unasked))]
    assert len(list(net.parameters())) > 10


@pytest.mark.parametrize("choice", choices(Head), ids=lambda choice: "-".join(map(str, choice.values())))
def test_heads(choice: dict[str, Any], model: BrainFM, batch: Batch) -> None:
    """The shape of what they say, and a gradient in every parameter and in the tokens."""
    tokens = model(batch)
    head = Head.model_validate(choice).build(width=32, classes=3, sensors=8, times=8)
    with torch.no_grad():
        for parameter in head.parameters():  # heads may start at zero, where no gradient passes
            parameter += torch.randn(parameter.shape, generator=drawn(0))
    embedding = tokens.embedding.detach().requires_grad_()
    logits = head(tokens.with_embedding(embedding))
    assert logits.shape == ((8, 8, 3) if head.part.each == "patch" else (8, 3))
    logits.square().sum().backward()
    assert all(was for _, was in reached(head))
    assert embedding.grad is not None and (embedding.grad.abs().sum(dim=-1) > 0).all()


@torch.no_grad()
def test_padding_changes_nothing(net: Learner, windows: Batch) -> None:
    plain = net.model(windows)
    more = windows.sensors(torch.arange(3))
    noise = 100 * torch.randn(more.signal.shape, generator=drawn(1))
    more = replace(more, signal=noise, identity=more.identity + 1, valid=torch.zeros_like(more.valid))
    both = {name: torch.cat([getattr(windows, name), getattr(more, name)], dim=1) for name in SENSOR}
    encoded = net.model(replace(windows, **both, padded=True))
    assert torch.equal(encoded.valid.sum(dim=1), plain.valid.sum(dim=1))
    there = plain.valid.unsqueeze(-1)
    torch.testing.assert_close(
        encoded.embedding[:, : plain.count] * there, plain.embedding * there, atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_the_order_of_sensors_changes_nothing_but_the_order(
    case: Case, net: Learner, windows: Batch, part: Tokenizer
) -> None:
    order = torch.randperm(windows.signal.shape[1], generator=drawn(2))
    plain, mixed = net.model(windows), net.model(windows.sensors(order))
    if part.ragged:
        assert torch.equal(plain.valid, mixed.valid)
        by_time = plain.time.double() + 1e-6 * plain.sensor + 1e3 * ~plain.valid
        again = mixed.time.double() + 1e-6 * order[mixed.sensor] + 1e3 * ~mixed.valid
        a, b = (tokens.take(key.argsort(dim=1)) for tokens, key in ((plain, by_time), (mixed, again)))
        there = a.valid.unsqueeze(-1)
        torch.testing.assert_close(b.embedding * there, a.embedding * there, atol=1e-5, rtol=1e-5)
        return
    sensors = somebody(case.instrument).signal(case.instrument).sensors
    before, after = part.rows(sensors, ""), part.rows(sensors.take(order.tolist()), "")
    rows = plain.embedding.unflatten(1, (len(before), -1))[:, [before.index(name) for name in after]]
    torch.testing.assert_close(mixed.embedding, rows.flatten(1, 2), atol=1e-5, rtol=1e-5)
    assert before == after or not torch.allclose(mixed.embedding, plain.embedding, atol=1e-3)


@torch.no_grad()
def test_windows_of_a_batch_do_not_mix(net: Learner, windows: Batch) -> None:
    every, two = net.model(windows), net.model(windows.windows(slice(2, 4)))
    there = two.valid.unsqueeze(-1)
    torch.testing.assert_close(
        two.embedding * there, every.embedding[2:4, : two.count] * there, atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_time_and_place_matter(case: Case, net: Learner, windows: Batch) -> None:
    """A network that ignores either passes every test of invariance."""
    plain = net.model(windows).embedding
    if modality(case.instrument).of_brain:  # what someone does has no place in the brain
        moved = net.model(replace(windows, position=windows.position.flip(1))).embedding
        assert not torch.allclose(moved, plain, atol=1e-3)
    tokens = net.model.tokenize(windows).tokens
    later = net.model.encoder(replace(tokens, time=tokens.time.flip(1))).embedding
    assert not torch.allclose(later, plain, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("choice", [c for c in choices(Tokenizer) if "eeg" in reads(c)], ids=str)
def test_volts_and_microvolts_give_equal_tokens(
    choice: dict[str, Any], make_recipe: Callable[..., PretrainRecipe]
) -> None:
    model = BrainFM.fresh(
        BrainFMConfig.of(recipe_of(Case("eeg", {**usual(), Tokenizer: choice}), make_recipe)), 0
    )
    rng = np.random.default_rng(0)
    data = 2e-5 * rng.normal(size=(5, 1280))
    names = ["C3", "C4", "Cz", "O1", "O2"]
    tokens = [
        tokens_of(model, from_array(data * scale, 128.0, names, unit=unit))
        for scale, unit in ((1.0, "V"), (1e3, "mV"), (1e6, "µV"), (1e6, "uV"))
    ]
    for other in tokens[1:]:
        torch.testing.assert_close(other.embedding, tokens[0].embedding, atol=1e-5, rtol=1e-5)
    louder = tokens_of(model, from_array(data * 3, 128.0, names))
    torch.testing.assert_close(louder.embedding, tokens[0].embedding, atol=1e-5, rtol=1e-5)


def tokens_of(model: BrainFM, recording: Recording) -> Tokens:
    """Tokens of the first windows of a recording, prepared as the model's recipe says."""
    prepared = model.prepare([recording], "eeg")
    windows = Sliding(seconds=2.0)(prepared, "eeg", [])
    return model.tokenize(model.stream(prepared, windows, "eeg").batch(np.arange(4))).tokens


@torch.no_grad()
def test_an_artefact_changes_its_own_tokens_alone(net: Learner, windows: Batch, part: Tokenizer) -> None:
    """It must not spread to other sensors or times before the encoder can doubt it; to other windows never."""
    if part.ragged:
        return  # another spike is another token
    signal = windows.signal.clone()
    signal[1, 3, 2 * part.times : 3 * part.times] += 1000.0
    plain, after = (net.model.tokenize(one).tokens for one in (windows, replace(windows, signal=signal)))
    changed = (after.embedding != plain.embedding).any(dim=-1)
    assert changed[1].any() and not changed[0].any() and not changed[2:].any()
    assert (plain.time[1][changed[1]] == 2.5 * part.seconds).all()
    rows = plain.sensor[1][changed[1]].tolist()
    assert part.kind == "sources" or len(rows) == 1
    assert plain.virtual or rows == [3]


@torch.no_grad()
def test_what_is_hidden_is_not_seen(net: Learner, windows: Batch, part: Tokenizer) -> None:
    """The encoder's output is the same to the bit whatever the hidden tokens hold, and so is what is predicted from it."""
    tokens = net.model.tokenize(windows).tokens
    if part.ragged or tokens.virtual:
        return  # a token of several sensors has no stretch of the signal to itself
    heard: list[Tensor] = []
    net.model.encoder.register_forward_hook(lambda _, __, out: heard.append(out.embedding))
    hidden = net.mask.draw(tokens, Chance(3))
    signal = windows.signal.unflatten(-1, (-1, part.times)).flatten(1, 2).clone()
    noise = 3 + 50 * torch.randn(signal.shape, generator=drawn(4)).abs()
    covered = hidden.mask().unsqueeze(-1)
    sensors = windows.signal.shape[1]
    other = torch.where(covered, noise, signal).unflatten(1, (sensors, -1)).flatten(2)
    first, second = net((windows,), Chance(3)), net((replace(windows, signal=other),), Chance(3))
    in_place = any(getattr(one.part, "in_place", False) for one in net.objectives.values())
    # what is made of all, or of the hidden ones, comes after it
    assert heard[0].shape[1] == (tokens.count if in_place else hidden.seen.shape[1])
    assert torch.equal(heard[0], heard[len(heard) // 2])
    assert not torch.equal(first.total, second.total)


STEPS = {"sources": 300, "spike_events": 400}
"""To learn a batch by heart, at most, where that takes long."""


def test_one_batch_can_be_overfitted(net: Learner, windows: Batch, part: Tokenizer) -> None:
    windows = windows.windows(slice(0, 2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    first: dict[str, float] = {}
    for _ in range(STEPS.get(part.kind, 120)):
        loss = net((windows,), Chance(0))
        loss.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        now = {name: float(one.detach()) for name, one in loss.parts.items()}
        first = first or now
        if not (left := [name for name in now if now[name] >= by_heart(name) * first[name]]):
            return
    pytest.fail(f"not learnt by heart: {', '.join(left)}")


def by_heart(name: str) -> float:
    """Share of a loss that may be left. A source is linear in the sensors and can't learn noise; a summary is one vector."""
    return 0.9 if name in ("sources", "summary") else 0.6


def test_saved_and_loaded_gives_equal_output(net: Learner, windows: Batch, tmp_path: Path) -> None:
    net.model.save_pretrained(tmp_path)
    loaded = BrainFM.from_pretrained(tmp_path)
    assert loaded.load_report.coverage == 1.0
    with torch.no_grad():
        assert torch.equal(loaded(windows).embedding, net.model.eval()(windows).embedding)


def test_embedding_twice_is_bit_identical(case: Case, net: Learner) -> None:
    someone = somebody(case.instrument)
    once, again = net.model.embed(someone, case.instrument), net.model.embed(someone, case.instrument)
    assert once.values.shape == (10, net.model.width)
    np.testing.assert_array_equal(once.values, again.values)
    np.testing.assert_array_equal(once.start, INSTRUMENTS[case.instrument].window * np.arange(10))
    assert len(np.unique(once.values, axis=0)) == 10


def test_a_fresh_twin_is_another_network(
    case: Case, small: PretrainRecipe, streams: dict[str, Stream]
) -> None:
    config, someone = met(BrainFMConfig.of(small), streams.values()), somebody(case.instrument)
    a, b, c = (BrainFM.fresh(config, seed).embed(someone, case.instrument).values for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c, atol=1e-3)


def test_a_stranger_can_be_embedded(case: Case, net: Learner) -> None:
    """Someone who was never met, with other sensors in other places; what was known is unchanged."""
    stranger = somebody(case.instrument, 4)
    before = {name: value.clone() for name, value in net.model.state_dict().items()}
    assert np.isfinite(net.model.embed(stranger, case.instrument).values).all()
    prepared = net.model.prepare([stranger], case.instrument)
    windows = Sliding(seconds=INSTRUMENTS[case.instrument].window)(prepared, case.instrument, [])
    net.model.adopt(net.model.stream(prepared, windows, case.instrument))
    for name, value in before.items():
        assert torch.equal(net.model.state_dict()[name][: len(value)] if value.ndim else value, value), name
    assert np.isfinite(net.model.embed(stranger, case.instrument).values).all()
