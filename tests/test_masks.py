"""Masks: the same count in every row, and blocks that are blocks in space and time whatever the order of the tokens."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from brainfm.chance import Chance
from brainfm.lengths import span
from brainfm.masks import Mask, ShareMask
from brainfm.masks.block import Block
from brainfm.masks.complement import Complement
from brainfm.masks.independent import Independent
from brainfm.masks.modality import Modality
from brainfm.masks.region import Region
from brainfm.masks.sensor import Sensor
from brainfm.masks.time import Time
from brainfm.part import find, known
from brainfm.tokens import Hidden, Tokens
from tests.tiny import drawn

SENSORS, TIMES, PERIOD = 20, 12, 0.25
EVERY = [find(Mask, kind) for kind in known(Mask)]
WHOLE = {Sensor: TIMES, Region: TIMES, Time: SENSORS}
"""How many tokens are hidden together, where it is more than one."""


def made(kind: type[Mask], share: float = 0.55) -> Mask:
    """A mask that hides this share; where it wraps another, that of an independent one."""
    if issubclass(kind, ShareMask):
        return kind(share=share)
    return kind.model_validate(
        {"of": {"kind": "independent", "share": 1 - share}}
        if kind is Complement
        else {"otherwise": {"kind": "independent", "share": share}}
    )


def tokens_of(batch: int = 64, sensors: int = SENSORS, times: int = TIMES, shuffled: bool = True) -> Tokens:
    """Sensors spread over half a sphere of 9 cm; every row lists its tokens in an order of its own."""
    place = torch.randn(sensors, 3, generator=drawn(9))
    place = 0.09 * place / place.norm(dim=1, keepdim=True)
    place[:, 2] = place[:, 2].abs()
    sensor = torch.arange(sensors).repeat_interleave(times)
    time = ((torch.arange(times) + 0.5) * PERIOD).repeat(sensors)
    n = len(sensor)
    plain = Tokens(
        embedding=torch.zeros(batch, n, 4),
        time=time.expand(batch, -1),
        position=place[sensor].expand(batch, -1, -1),
        located=torch.ones(batch, n, dtype=torch.bool),
        modality=torch.zeros(batch, n, dtype=torch.long),
        sensor=sensor.expand(batch, -1),
        region=torch.zeros(batch, n, dtype=torch.long),
        valid=torch.ones(batch, n, dtype=torch.bool),
        period=PERIOD,
        rows=sensors,
    )
    order = torch.rand(batch, n, generator=drawn(8)).argsort(dim=1)
    return plain.take(order) if shuffled else plain


def grid(tokens: Tokens, hidden: Hidden, sensors: int = SENSORS) -> Tensor:
    """(batch, sensor, time) True where hidden, placed by what each token says of itself."""
    at = tokens.sensor * round(tokens.count / sensors) + (tokens.time / PERIOD).floor().long()
    flat = torch.zeros(at.shape, dtype=torch.bool).scatter(1, at, hidden.mask())
    return flat.unflatten(1, (sensors, -1))


def next_hidden(where: Tensor) -> float:
    """P(the next patch of the sensor is hidden | this one is)."""
    return float(where[:, :, 1:][where[:, :, :-1]].float().mean())


def near_hidden(tokens: Tokens, where: Tensor, within: float) -> float:
    """P(another sensor within so many metres is hidden at that time | this one is)."""
    place = torch.stack([tokens.position[0][tokens.sensor[0] == row][0] for row in range(SENSORS)])
    near = ((torch.cdist(place, place) <= within) & ~torch.eye(SENSORS, dtype=torch.bool)).float()
    assert near.sum() >= SENSORS
    hidden = where.float()
    both = torch.einsum("bit,ij,bjt->", hidden, near, hidden)
    return float(both / torch.einsum("bit,ij->", hidden, near))


def test_masks_are_found() -> None:
    assert set(EVERY) == {Block, Complement, Independent, Modality, Region, Sensor, Time}


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.55, 0.75, 0.99])
def test_every_row_hides_exactly_the_share(kind: type[Mask], share: float) -> None:
    tokens = tokens_of(batch=8)
    hidden = made(kind, share).draw(tokens, Chance(0))
    unit = WHOLE.get(kind, 1)
    groups = tokens.count // unit
    n_hidden = unit * min(max(1, round(share * groups)), groups - 1)
    assert hidden.hidden.shape == (8, n_hidden)
    assert hidden.seen.shape == (8, tokens.count - n_hidden)
    together = torch.cat([hidden.seen, hidden.hidden], dim=1).sort(dim=1).values
    assert torch.equal(together, torch.arange(tokens.count).expand(8, -1))
    for rows in (hidden.seen, hidden.hidden):
        assert (rows.diff(dim=1) > 0).all()


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_at_least_one_token_is_hidden_and_one_is_seen(kind: type[Mask]) -> None:
    tokens = tokens_of(batch=4, sensors=1, times=2)
    for share in (0.01, 0.99):
        hidden = made(kind, share).draw(tokens, Chance(0))
        assert hidden.seen.shape == hidden.hidden.shape == (4, 1)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_the_generator_alone_decides(kind: type[Mask]) -> None:
    tokens, mask = tokens_of(batch=4), made(kind)
    torch.manual_seed(1)
    once = mask.draw(tokens, Chance(5)).hidden
    torch.manual_seed(2)
    assert torch.equal(once, mask.draw(tokens, Chance(5)).hidden)
    assert not torch.equal(once, mask.draw(tokens, Chance(6)).hidden)
    assert len({tuple(row) for row in grid(tokens, mask.draw(tokens, Chance(5))).flatten(1).tolist()}) == 4


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_what_tokens_say_does_not_matter(kind: type[Mask]) -> None:
    tokens = tokens_of(batch=4)
    loud = tokens.with_embedding(torch.randn(tokens.embedding.shape, generator=drawn(1)))
    assert torch.equal(made(kind).draw(tokens, Chance(0)).hidden, made(kind).draw(loud, Chance(0)).hidden)


@pytest.mark.parametrize("shuffled", [False, True])
def test_blocks_are_contiguous_in_the_tokens_own_time_and_place(shuffled: bool) -> None:
    """A mask that confuses the order of tokens looks like a block mask in its code and is a random one in effect."""
    tokens = tokens_of(shuffled=shuffled)
    where = grid(tokens, Block(share=0.4, radius=0.06, length=3).draw(tokens, Chance(0)))
    base = float(where.float().mean())
    assert base == pytest.approx(0.4, abs=0.01)
    assert next_hidden(where) > base + 0.25
    assert near_hidden(tokens, where, 0.06) > base + 0.2


def test_longer_and_wider_blocks_are_longer_and_wider() -> None:
    tokens = tokens_of()
    long = grid(tokens, Block(share=0.4, radius=0.0, length=4).draw(tokens, Chance(0)))
    wide = grid(tokens, Block(share=0.4, radius=0.06, length=1).draw(tokens, Chance(0)))
    assert next_hidden(long) > 0.4 + 0.25
    assert near_hidden(tokens, long, 0.06) == pytest.approx(0.4, abs=0.05)
    assert near_hidden(tokens, wide, 0.06) > 0.4 + 0.2
    assert next_hidden(wide) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(
    "mask", [Independent(share=0.4), Block(share=0.4, radius=0.0, length=1)], ids=lambda m: m.kind
)
def test_independent_tokens_tell_nothing_of_their_neighbours(mask: Mask) -> None:
    tokens = tokens_of(batch=256)
    where = grid(tokens, mask.draw(tokens, Chance(0)))
    assert next_hidden(where) == pytest.approx(0.4, abs=0.02)
    assert near_hidden(tokens, where, 0.06) == pytest.approx(0.4, abs=0.02)
    assert where.float().mean(dim=0).std() < 0.05  # no place and no time is hidden more often


def test_one_block_is_a_ball_for_its_length() -> None:
    """Few enough tokens for one block: they lie within the radius of one of them and within its patches."""
    tokens = tokens_of(batch=200)
    hidden = Block(share=4 / tokens.count, radius=0.05, length=2).draw(tokens, Chance(0))
    chosen = tokens.take(hidden.hidden)
    apart = torch.cdist(chosen.position, chosen.position) <= 0.05 + 1e-6
    from_here = chosen.time.unsqueeze(1) - chosen.time.unsqueeze(2)
    near = apart & (from_here > -0.01) & (from_here < 1.5 * PERIOD)
    one_block = near.all(dim=2).any(dim=1)
    assert one_block.float().mean() > 0.5  # the rest: a seed with few neighbours, or late in the window
    scattered = tokens.take(Independent(share=4 / tokens.count).draw(tokens, Chance(0)).hidden)
    apart = torch.cdist(scattered.position, scattered.position) <= 0.05 + 1e-6
    assert apart.all(dim=2).any(dim=1).float().mean() < 0.1


@pytest.mark.parametrize("located", [True, False])
def test_a_sensor_without_position_is_near_itself_alone(located: bool) -> None:
    """Zeros stand where a position is unknown; were they believed, all unlocated sensors would be one place."""
    tokens = tokens_of(batch=200)
    tokens = replace(
        tokens, position=torch.zeros_like(tokens.position), located=torch.full_like(tokens.located, located)
    )
    where = grid(tokens, Block(share=12 / tokens.count, radius=0.09, length=3).draw(tokens, Chance(0)))
    at_once = where.sum(dim=1).float()  # (batch, time) sensors hidden together
    others = float((at_once * (at_once - 1)).sum() / at_once.sum())
    if located:
        assert others > 2.5
    else:
        assert others < 1.0  # chance, for twelve tokens out of 240
        assert next_hidden(where) > 0.3


def test_a_sensor_without_position_is_not_near_the_origin() -> None:
    """A located sensor at the origin of the space and one of unknown position have the same three zeros."""
    tokens = tokens_of(batch=100, sensors=2)
    located = tokens.sensor == 0
    tokens = replace(tokens, position=torch.zeros_like(tokens.position), located=located)
    where = grid(tokens, Block(share=2 / 24, radius=0.5, length=1).draw(tokens, Chance(0)), sensors=2)
    together = (where[:, 0] & where[:, 1]).any(dim=1).float().mean()
    assert together < 0.2


def test_no_patch_is_spared() -> None:
    """Blocks may begin before the window: the first and the last patch are hidden as often as the middle."""
    tokens = tokens_of(batch=512)
    share = grid(tokens, Block().draw(tokens, Chance(0))).float().mean(dim=(0, 1))
    assert share.max() - share.min() < 0.08


@pytest.mark.parametrize("mask", EVERY)
def test_padding_is_never_hidden(mask: type[Mask]) -> None:
    """The share is of the shortest row, so that every row hides the same count."""
    tokens = tokens_of(batch=32)
    length = torch.randint(100, tokens.count + 1, (32, 1), generator=drawn(1))
    tokens = replace(tokens, valid=torch.arange(tokens.count) < length, padded=True)
    hidden = made(mask, 0.5).draw(tokens, Chance(2))
    assert tokens.valid.gather(1, hidden.hidden).all()
    assert hidden.hidden.shape[1] == pytest.approx(0.5 * span(int(length.min()))[0], abs=0.5)
    assert hidden.seen.shape[1] == tokens.count - hidden.hidden.shape[1]


def test_a_block_of_events_is_a_stretch_of_time() -> None:
    """Events have no patches: what is hidden of a neuron comes in stretches, not spike by spike."""
    rate, seconds = 40, 10.0
    time = torch.rand(64, 400, generator=drawn(3)).sort(dim=1).values * seconds
    events = replace(
        tokens_of(batch=64, sensors=1, times=400, shuffled=False),
        time=time,
        sensor=torch.zeros_like(time).long(),
    )
    events = replace(events, period=0.0, located=torch.zeros_like(events.located))
    where = Block(share=0.3, length=5).draw(events, Chance(4)).mask()
    follows = float(where[:, 1:][where[:, :-1]].float().mean())
    assert follows > 0.8, f"{follows} at {rate} spikes a second"
