"""What every part must do, whoever wrote it: run over all parts that are found, on a simulated person.

A new part is tested the day its file appears. Where it has settings without a default, or settings worth trying, name them in
`TRY`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.corpus import Stream
from brainfm.data.reading import from_array
from brainfm.data.recording import Recording
from brainfm.data.windows.sliding import Sliding
from brainfm.encoders import Encoder
from brainfm.heads import Head
from brainfm.jobs.pretrain import Learner, learner, stream
from brainfm.masks import Mask
from brainfm.model import BrainFM, BrainFMConfig
from brainfm.objectives import Objective
from brainfm.part import Part, known
from brainfm.recipe import PretrainRecipe
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokens

MINIMAL: dict[type[Part], dict[str, Any]] = {
    Tokenizer: {"seconds": 0.25, "sfreq": 128.0},
    Encoder: {"depth": 2, "width": 32, "heads": 2},
}
"""What every part of a family needs."""
TRY: dict[str, list[dict[str, Any]]] = {
    "patch": [{}, {"embed": "convolution"}],
    "masked_patches": [{"decoder_depth": 1}, {"decoder_depth": 2, "statistics": 0.0}],
    "linear": [{"pool": pool} for pool in ("mean", "sensor", "time", "all")],
}
"""Settings of single parts; a kind that is not here is tried with its defaults."""
USUAL = {Tokenizer: "patch", Encoder: "transformer", Mask: "block", Objective: "masked_patches"}
"""What stands in the other families' places while one part is tried."""


def choices(family: type[Part]) -> list[dict[str, Any]]:
    """Every part of a family, in every way that it is tried."""
    return [
        {"kind": kind, **MINIMAL.get(family, {}), **settings}
        for kind in known(family)
        for settings in TRY.get(kind, [{}])
    ]


def cases() -> list[dict[type[Part], dict[str, Any]]]:
    """One part of each family, all but one of them the usual ones."""
    usual = {
        family: next(choice for choice in choices(family) if choice["kind"] == kind)
        for family, kind in USUAL.items()
    }
    tried = [{**usual, family: choice} for family in USUAL for choice in choices(family)]
    return [case for number, case in enumerate(tried) if case not in tried[:number]]


def name_of(case: Mapping[type[Part], dict[str, Any]]) -> str:
    """What is unusual about a case."""
    usual = cases()[0]
    odd = [choice for family, choice in case.items() if choice != usual[family]]
    return "-".join(str(value) for choice in odd for value in choice.values()) or "usual"


def recipe_of(
    case: Mapping[type[Part], dict[str, Any]], make: Callable[..., PretrainRecipe]
) -> PretrainRecipe:
    """A small recipe of these parts."""
    prepare = [{"kind": "robust_scale", "scope": "recording", "clip": 15.0}]
    signal = {"prepare": prepare, "seconds": 2.0, "tokenizer": case[Tokenizer]}
    return make(signals={"eeg": signal}, encoder=case[Encoder], mask=case[Mask], objective=case[Objective])


@pytest.fixture(scope="module", params=cases(), ids=name_of)
def small(request: pytest.FixtureRequest, make_recipe: Callable[..., PretrainRecipe]) -> PretrainRecipe:
    return recipe_of(request.param, make_recipe)


@pytest.fixture
def streams(small: PretrainRecipe, person: Recording) -> dict[str, Stream]:
    return {"eeg": stream([person], small.signals["eeg"], "eeg")}


@pytest.fixture
def net(small: PretrainRecipe, streams: dict[str, Stream]) -> Learner:
    """The whole untrained learner, its objective fitted."""
    return learner(small, streams)


@pytest.fixture
def windows(streams: dict[str, Stream]) -> Batch:
    """Eight windows; the last of the eight sensors has no position."""
    return streams["eeg"].batch(np.arange(8))


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def permuted(batch: Batch, order: Tensor) -> Batch:
    """The same windows, their sensors in another order."""
    fields = ("signal", "position", "located", "valid")
    return replace(batch, **{name: getattr(batch, name)[:, order] for name in fields})


def test_parts_are_found() -> None:
    for family, kind in {**USUAL, Head: "linear"}.items():
        assert kind in known(family)
    assert len(cases()) >= sum(len(known(family)) for family in USUAL) - len(USUAL) + 1
    assert TRY.keys() <= {kind for family in (*USUAL, Head) for kind in known(family)}


def test_the_person_has_a_sensor_without_position(windows: Batch) -> None:
    assert windows.located[:, :-1].all() and not windows.located[:, -1].any()
    assert torch.isfinite(windows.position).all()


def test_declared_shapes(net: Learner, windows: Batch) -> None:
    tokenized = net.model.tokenize(windows)
    tokens, target = tokenized.tokens, tokenized.targets["eeg"]
    n, width = tokens.count, net.model.width
    assert tokens.embedding.shape == (8, n, width)
    for name in ("time", "located", "modality", "sensor", "valid"):
        assert getattr(tokens, name).shape == (8, n), name
    assert tokens.position.shape == (8, n, 3)
    assert target.value.shape == (8, n, net.model.signals["eeg"].tokenizer.times)
    assert ((tokens.time > 0) & (tokens.time < 2.0)).all()
    assert torch.equal(tokens.sensor.unique(), torch.arange(8))
    encoded = net.model(windows)
    assert encoded.embedding.shape == (8, n, width)
    assert torch.equal(encoded.sensor, tokens.sensor) and torch.equal(encoded.time, tokens.time)
    loss = net(windows, drawn(0))
    assert loss.parts.keys() == loss.weights.keys()
    assert all(part.shape == () and torch.isfinite(part) and part > 0 for part in loss.parts.values())


def test_same_seed_same_bytes(
    small: PretrainRecipe, streams: dict[str, Stream], net: Learner, windows: Batch
) -> None:
    before = torch.get_rng_state()
    again = learner(small, streams)
    other = learner(small.model_copy(update={"seed": 1}), streams)
    assert torch.equal(before, torch.get_rng_state())
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    changed = [not torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True)]
    assert sum(changed) > len(changed) / 3
    assert torch.equal(net(windows, drawn(5)).total, again(windows, drawn(5)).total)
    assert not torch.equal(net(windows, drawn(5)).total, net(windows, drawn(6)).total)


def reached(module: nn.Module) -> Iterator[tuple[str, bool]]:
    """Whether a gradient reached each parameter."""
    for name, parameter in module.named_parameters():
        yield name, parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)


def test_a_gradient_reaches_every_parameter(net: Learner, windows: Batch) -> None:
    for seed in range(3):  # the sensor without a position must be seen once and asked for once
        net(windows, drawn(seed)).total.backward()
    missed = [name for name, was in reached(net) if not was]
    assert not missed
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
    assert logits.shape == (8, 3)
    logits.square().sum().backward()
    assert all(was for _, was in reached(head))
    assert embedding.grad is not None and (embedding.grad.abs().sum(dim=-1) > 0).all()


@torch.no_grad()
def test_padding_changes_nothing(net: Learner, windows: Batch) -> None:
    plain = net.model(windows)
    more = (8, 3)
    padded = replace(
        windows,
        signal=torch.cat([windows.signal, 100 * torch.randn(*more, 256, generator=drawn(1))], dim=1),
        position=torch.cat([windows.position, torch.full((*more, 3), 0.05)], dim=1),
        located=torch.cat([windows.located, torch.ones(more, dtype=torch.bool)], dim=1),
        valid=torch.cat([windows.valid, torch.zeros(more, dtype=torch.bool)], dim=1),
        padded=True,
    )
    encoded = net.model(padded)
    assert torch.equal(encoded.valid.sum(dim=1), torch.full((8,), plain.count))
    torch.testing.assert_close(encoded.embedding[:, : plain.count], plain.embedding, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_order_of_sensors_changes_nothing_but_the_order(net: Learner, windows: Batch) -> None:
    order = torch.randperm(8, generator=drawn(2))
    plain, mixed = net.model(windows), net.model(permuted(windows, order))
    rows = plain.embedding.unflatten(1, (8, -1))[:, order].flatten(1, 2)
    torch.testing.assert_close(mixed.embedding, rows, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(mixed.embedding, plain.embedding, atol=1e-3)


@torch.no_grad()
def test_windows_of_a_batch_do_not_mix(net: Learner, windows: Batch) -> None:
    fields = ("signal", "position", "located", "valid", "recording")
    two = replace(windows, **{name: getattr(windows, name)[2:4] for name in fields})
    torch.testing.assert_close(
        net.model(two).embedding, net.model(windows).embedding[2:4], atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_time_and_place_matter(net: Learner, windows: Batch) -> None:
    """A network that ignores either passes every test of invariance."""
    plain = net.model(windows).embedding
    moved = net.model(replace(windows, position=windows.position.flip(1))).embedding
    assert not torch.allclose(moved, plain, atol=1e-3)
    tokens = net.model.tokenize(windows).tokens
    later = net.model.encoder(replace(tokens, time=tokens.time.flip(1))).embedding
    assert not torch.allclose(later, plain, atol=1e-3)


@torch.no_grad()
def test_volts_and_microvolts_give_equal_tokens(net: Learner) -> None:
    rng = np.random.default_rng(0)
    data = 2e-5 * rng.normal(size=(5, 1280))
    names = ["C3", "C4", "Cz", "O1", "O2"]
    tokens = [
        tokens_of(net.model, from_array(data * scale, 128.0, names, unit=unit))
        for scale, unit in ((1.0, "V"), (1e3, "mV"), (1e6, "µV"), (1e6, "uV"))
    ]
    for other in tokens[1:]:
        torch.testing.assert_close(other.embedding, tokens[0].embedding, atol=1e-5, rtol=1e-5)
    louder = tokens_of(net.model, from_array(data * 3, 128.0, names))
    torch.testing.assert_close(louder.embedding, tokens[0].embedding, atol=1e-5, rtol=1e-5)


def tokens_of(model: BrainFM, recording: Recording) -> Tokens:
    """Tokens of the first windows of a recording, prepared as the model's recipe says."""
    prepared = model.prepare([recording], "eeg")
    windows = Sliding(seconds=2.0)(prepared, "eeg", [])
    return model.tokenize(model.stream(prepared, windows, "eeg").batch(np.arange(4))).tokens


@torch.no_grad()
def test_a_patch_changes_its_own_token_alone(net: Learner, windows: Batch) -> None:
    """One loud artefact must not spread to other sensors or times before the encoder can doubt it."""
    plain = net.model.tokenize(windows).tokens.embedding
    signal = windows.signal.clone()
    signal[1, 4, 64:96] += 1000.0  # sensor 4, third patch
    after = net.model.tokenize(replace(windows, signal=signal)).tokens.embedding
    changed = (after != plain).any(dim=-1)
    assert changed.nonzero().tolist() == [[1, 4 * 8 + 2]]


@torch.no_grad()
def test_what_is_hidden_is_not_seen(net: Learner, windows: Batch) -> None:
    """The encoder's output is the same to the bit whatever the hidden tokens hold, and so is what is predicted from it."""
    heard: list[Tensor] = []
    net.model.encoder.register_forward_hook(lambda _, __, out: heard.append(out.embedding))
    hidden = net.mask.draw(net.model.tokenize(windows).tokens, drawn(3))
    signal = windows.signal.unflatten(-1, (-1, 32)).flatten(1, 2).clone()
    noise = torch.randn(signal.shape, generator=drawn(4))
    covered = hidden.mask().unsqueeze(-1)
    other = replace(windows, signal=torch.where(covered, 50 * noise, signal).unflatten(1, (8, -1)).flatten(2))
    first, second = net(windows, drawn(3)), net(other, drawn(3))
    assert heard[0].shape[1] == hidden.seen.shape[1]
    assert torch.equal(heard[0], heard[1])
    assert not torch.equal(first.total, second.total)


def test_one_batch_can_be_overfitted(net: Learner, windows: Batch) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    parts: list[dict[str, float]] = []
    for _ in range(120):
        loss = net(windows, drawn(0))
        loss.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        parts.append({name: float(part.detach()) for name, part in loss.parts.items()})
    for name in parts[0]:
        assert parts[-1][name] < 0.6 * parts[0][name], name


def test_saved_and_loaded_gives_equal_output(net: Learner, windows: Batch, tmp_path: Path) -> None:
    net.model.save_pretrained(tmp_path)
    loaded = BrainFM.from_pretrained(tmp_path)
    assert loaded.load_report.coverage == 1.0
    with torch.no_grad():
        assert torch.equal(loaded(windows).embedding, net.model.eval()(windows).embedding)


def test_embedding_twice_is_bit_identical(net: Learner, person: Recording) -> None:
    once, again = net.model.embed(person), net.model.embed(person)
    assert once.values.shape == (10, net.model.width)
    np.testing.assert_array_equal(once.values, again.values)
    np.testing.assert_array_equal(once.start, 2.0 * np.arange(10))
    assert len(np.unique(once.values, axis=0)) == 10


def test_a_fresh_twin_is_another_network(small: PretrainRecipe, person: Recording) -> None:
    config = BrainFMConfig.of(small)
    a, b, c = (BrainFM.fresh(config, seed).embed(person).values for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c, atol=1e-3)
