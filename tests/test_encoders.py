"""Encoders: who may listen to whom, on grids with holes, events, padding and two instruments; and what it costs."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from brainfm import operations
from brainfm.chance import Chance, seeded
from brainfm.encoders import Encoder
from brainfm.encoders.axial import Axial
from brainfm.encoders.bottleneck import Bottleneck
from brainfm.encoders.transformer import Transformer
from brainfm.layers.among import Groups, inside
from brainfm.layers.attention import CrossBlock, everyone
from brainfm.masks.block import Block as BlockMask
from brainfm.tokens import Tokens, join
from tests.tiny import drawn

WIDTH, PERIOD = 32, 0.25
SHAPE: dict[str, Any] = {"depth": 2, "width": WIDTH, "heads": 2}
EVERY = [
    Transformer(**SHAPE),
    Axial(**SHAPE),
    Bottleneck(**SHAPE, latents=4, seconds=0.5),
    Bottleneck(**SHAPE, latents=4, fold=2, seconds=0.5),
    Bottleneck(**SHAPE, latents=2, across=True, seconds=0.5),
]
BY_KIND = pytest.mark.parametrize("part", EVERY, ids=lambda part: f"{part.kind}-{part.inner}")


def built(part: Encoder) -> nn.Module:
    """The untrained encoder of seed 0, for two instruments."""
    with seeded(0):
        module: nn.Module = part.build(2)
    return module.eval()


def tokens_of(
    sensor: Tensor, time: Tensor, width: int = WIDTH, modality: int = 0, seed: int = 0, period: float = 0.0
) -> Tokens:
    """Tokens of these sensors at these times, (batch, token) each, that say something at random."""
    g = drawn(seed)
    place = 0.09 * torch.randn(int(sensor.max()) + 1, 3, generator=g)
    return Tokens(
        embedding=torch.randn(*sensor.shape, width, generator=g),
        time=time,
        position=place[sensor],
        located=sensor != 1,
        modality=torch.full_like(sensor, modality),
        sensor=sensor,
        region=torch.zeros_like(sensor),
        valid=torch.ones_like(sensor, dtype=torch.bool),
        period=period,
        rows=int(sensor.max()) + 1,
    )


def grid(sensors: int = 5, times: int = 8, batch: int = 3, period: float = PERIOD, **more: Any) -> Tokens:
    """A regular stream."""
    sensor = torch.arange(sensors).repeat_interleave(times).expand(batch, -1)
    time = ((torch.arange(times) + 0.5) * period).repeat(sensors).expand(batch, -1)
    return tokens_of(sensor, time, period=period, **more)


def holes(tokens: Tokens | None = None) -> Tokens:
    """What a block mask leaves to see, other tokens in every window."""
    tokens = grid() if tokens is None else tokens
    return tokens.take(BlockMask().draw(tokens, Chance(4)).seen)


def events(batch: int = 3, count: int = 30, seed: int = 5) -> Tokens:
    """Spikes of four neurons, one far busier than the others, in windows of two seconds."""
    g = drawn(seed)
    sensor = torch.multinomial(torch.tensor([0.7, 0.1, 0.1, 0.1]).expand(batch, -1), count, True, generator=g)
    return tokens_of(sensor, (2 * torch.rand(batch, count, generator=g)).sort(dim=1).values)


def padded(tokens: Tokens, last: int = 4) -> Tokens:
    """The same with tokens at the end of the second window that are none."""
    valid = tokens.valid.clone()
    valid[1, -last:] = False
    return replace(tokens, valid=valid, padded=True)


def joint() -> Tokens:
    """Two instruments in one stream: EEG in quarters of a second, with holes, and fMRI in whole ones."""
    return join([holes(grid(4, 8)), grid(3, 2, period=1.0, modality=1, seed=2)])


STREAMS = {"grid": grid(), "holes": holes(), "events": events(), "padded": padded(events()), "joint": joint()}
ON_ALL = pytest.mark.parametrize("tokens", STREAMS.values(), ids=STREAMS.keys())


def friends(tokens: Tokens, moment: float) -> Tensor:
    """(batch, token, other) True where both are of one sensor, or of one moment, and the other is no padding."""

    def same(values: Tensor) -> Tensor:
        return values.unsqueeze(2) == values.unsqueeze(1)

    return (same(tokens.sensor) | same((tokens.time / moment).floor())) & tokens.valid.unsqueeze(1)


def listens(encoder: nn.Module, tokens: Tokens) -> Tensor:
    """(batch, token, other) True where the gradient of what a token becomes reaches the other."""

    def become(embedding: Tensor) -> Tensor:
        out: Tensor = encoder(tokens.with_embedding(embedding)).embedding.square().sum(dim=(0, 2))
        return out

    slope = torch.autograd.functional.jacobian(become, tokens.embedding)
    return slope.abs().sum(dim=-1).transpose(0, 1) > 0


@ON_ALL
@pytest.mark.parametrize("moment", [None, 0.5])
def test_one_axial_block_joins_a_sensor_and_a_moment_and_nothing_else(
    tokens: Tokens, moment: float | None
) -> None:
    encoder = built(Axial(depth=1, width=WIDTH, heads=2, moment=moment))
    heard = listens(encoder, tokens)
    wanted = friends(tokens, moment or tokens.period or 0.1)
    wanted |= torch.eye(tokens.count, dtype=torch.bool)  # a token has itself, be it padding
    there = tokens.valid.unsqueeze(2)
    assert torch.equal(heard & there, wanted & there)
    assert 0.1 < wanted.float().mean() < 0.9


@BY_KIND
@ON_ALL
def test_all_hear_all_in_the_end_and_nobody_hears_padding(part: Encoder, tokens: Tokens) -> None:
    heard = listens(built(part), tokens)
    listening, there = tokens.valid.unsqueeze(2), tokens.valid.unsqueeze(1)
    assert not heard[listening & ~there].any()
    assert part.kind == "axial" or heard[listening & there].all()


def test_two_axial_blocks_join_a_whole_grid() -> None:
    assert listens(built(EVERY[1]), grid()).all()


@ON_ALL
def test_a_table_and_a_mask_give_the_same(tokens: Tokens) -> None:
    """Whichever `inside` takes for its cost, and however long the longest group is."""
    q, k, v = torch.randn(3, *tokens.time.shape, 2, 8, generator=drawn(0))
    mask = (tokens.sensor.unsqueeze(2) == tokens.sensor.unsqueeze(1)) & tokens.valid.unsqueeze(1)
    weight = torch.einsum("bthc,bohc->bhto", q, k) / 8**0.5
    weight = weight.masked_fill(~mask.unsqueeze(1), -torch.inf).softmax(dim=-1)
    wanted = torch.einsum("bhto,bohc->bthc", weight, v)
    there = tokens.valid[:, :, None, None]
    for mix in (Groups.of(tokens.sensor, tokens.valid).within, inside(tokens.sensor, tokens.valid)):
        got = mix(q, k, v)
        torch.testing.assert_close(torch.where(there, got, 0), torch.where(there, wanted, 0))


@torch.no_grad()
@ON_ALL
def test_short_rows_in_bf16_are_as_in_float32(tokens: Tokens) -> None:
    """On a CPU they go another way (`attend`), with a mask as well."""
    q, k, v = torch.randn(3, *tokens.time.shape, 2, 8, generator=drawn(0))
    for mix in (everyone(tokens.valid), inside(tokens.sensor, tokens.valid)):
        there = tokens.valid[:, :, None, None]
        exact, short = mix(q, k, v), mix(q.bfloat16(), k.bfloat16(), v.bfloat16())
        assert short.dtype == torch.bfloat16
        torch.testing.assert_close(short.float() * there, exact * there, atol=0.04, rtol=0.04)


@torch.no_grad()
@BY_KIND
@ON_ALL
def test_the_order_of_tokens_means_nothing(part: Encoder, tokens: Tokens) -> None:
    encoder = built(part)
    order = torch.rand(tokens.valid.shape, generator=drawn(3)).argsort(dim=1)
    index = order.unsqueeze(-1).expand(-1, -1, WIDTH)
    plain, mixed = encoder(tokens).embedding, encoder(tokens.take(order)).embedding
    there = tokens.valid.gather(1, order).unsqueeze(-1)
    torch.testing.assert_close(mixed * there, plain.gather(1, index) * there, atol=2e-6, rtol=1e-5)


@torch.no_grad()
@BY_KIND
def test_a_window_does_not_depend_on_those_beside_it(part: Encoder) -> None:
    """Nor on how long they are: a stretch that only others have says nothing."""
    short, long = grid(5, 4, batch=1), grid(5, 8, batch=1, seed=7)
    more = join([short, grid(5, 4, batch=1, seed=9)])
    more = replace(more, valid=torch.arange(more.count).expand(1, -1) < short.count, padded=True)
    names = [one.name for one in fields(Tokens) if isinstance(getattr(long, one.name), Tensor)]
    both = {name: torch.cat([getattr(more, name), getattr(long, name)]) for name in names}
    encoder = built(part)
    alone, among = encoder(short).embedding, encoder(replace(more, **both)).embedding
    torch.testing.assert_close(among[:1, : short.count], alone, atol=2e-6, rtol=1e-5)


@torch.no_grad()
@BY_KIND
def test_only_how_far_apart_in_time_counts(part: Encoder) -> None:
    """All of a window later by whole moments and stretches is the same; a part of it later is not."""
    tokens, encoder = holes(), built(part)
    plain = encoder(tokens).embedding
    later = encoder(replace(tokens, time=tokens.time + 3.0)).embedding
    torch.testing.assert_close(later, plain, atol=2e-5, rtol=1e-4)
    early = tokens.time < 0.5
    apart = encoder(replace(tokens, time=tokens.time - 3.0 * early)).embedding
    assert ((apart - plain).abs().amax(dim=-1)[early] > 1e-4).float().mean() > 0.9


@torch.no_grad()
@pytest.mark.parametrize("fold", [1, 2])
def test_latents_say_what_their_tokens_say(fold: int) -> None:
    """Another token changes the latents of its own stretch alone before they think, all of them after."""
    encoder = built(Bottleneck(**SHAPE, latents=4, fold=fold, seconds=0.5))
    said: dict[str, Tensor] = {}
    encoder.read.register_forward_hook(lambda _, __, out: said.update(read=out))
    encoder.write.register_forward_pre_hook(lambda _, args: said.update(thought=args[2]))
    tokens = grid()
    changed = tokens.embedding.clone()
    changed[0, 3] += 1.0  # at 0.875 s, in the second stretch of half a second
    before, _ = dict(encoder(tokens) and said), said.clear()
    encoder(tokens.with_embedding(changed))
    moved = (said["read"] != before["read"]).any(dim=-1)
    assert moved[0].tolist() == [False] * 4 + [True] * 4 + [False] * 8
    assert not moved[1:].any()
    assert (said["thought"] != before["thought"]).any(dim=-1)[0].all()


def cost(part: Encoder, sensors: int, times: int = 8) -> int:
    """Products of a forward and a backward pass over a whole grid."""
    encoder, tokens = built(part), grid(sensors, times, batch=1)
    with operations.counter() as counter:
        encoder(tokens).embedding.sum().backward()
    return int(counter.get_total_flops())


@BY_KIND
def test_the_cost_of_a_bottleneck_is_linear_in_the_sensors(part: Encoder) -> None:
    few, some, many = (cost(part, sensors) for sensors in (19, 64, 306))
    bend = (many - some) / (306 - 64) - (some - few) / (64 - 19)
    if part.kind == "bottleneck":
        assert bend == 0
        assert many < 306 / 19 * few
    else:
        assert bend > 0


def test_an_axial_layer_costs_less_where_both_axes_are_long() -> None:
    full, axial = Transformer(**SHAPE), Axial(**SHAPE)
    assert cost(axial, 64, times=32) < 0.3 * cost(full, 64, times=32)


@torch.no_grad()
def test_the_transformer_gives_what_it_gave() -> None:
    """Numbers of 2026-11-24, from blocks that were written apart: weights of seed 0, plain and padded."""
    encoder = built(Transformer(**SHAPE))
    with seeded(0):
        decoder = CrossBlock(WIDTH, 1, 2)
    sizes = [
        sum(float(one.detach().double().abs().sum()) for one in net.parameters())
        for net in (encoder, decoder)
    ]
    assert sizes == pytest.approx(GOLDEN["sizes"], rel=1e-6)
    for name, tokens in (("plain", grid()), ("padded", padded(grid()))):
        out = encoder(tokens).embedding
        valid = tokens.valid if tokens.padded else None
        asked = decoder(tokens.embedding, tokens.time, out, tokens.time, valid)
        told = [*out[1, 0, :3].tolist(), *asked[1, 0, :3].tolist()]
        assert told == pytest.approx(GOLDEN[name], abs=2e-5)


GOLDEN = {
    "sizes": [1907.7810438150186, 873.0804792598392],
    "plain": [-2.22112, 0.0818, -0.81769, -1.19234, -0.40342, -1.24387],
    "padded": [-2.21884, 0.08032, -0.82319, -1.18426, -0.40498, -1.25208],
}


@pytest.mark.parametrize(
    ("part", "settings", "words"),
    [
        (Axial, {"heads": 1}, "greater than or equal to 2"),
        (Bottleneck, {"latents": 4, "fold": 3, "heads": 1}, "4 latents can't be folded 3 at a time"),
        (Bottleneck, {"latents": 4, "fold": 2, "heads": 3}, "a width of 64 can't be split into 3 heads"),
        (Transformer, {"heads": 3}, "a width of 32 can't be split into 3 heads"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    part: type[Encoder], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        part(**{**SHAPE, **settings})
