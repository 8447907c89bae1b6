"""Masks of whole sensors, regions, moments and instruments, and the complement of a mask: what is hidden together."""

from dataclasses import replace

import pytest
import torch

from brainfm.chance import Chance
from brainfm.lengths import span
from brainfm.masks.block import Block
from brainfm.masks.complement import Complement
from brainfm.masks.independent import Independent
from brainfm.masks.modality import Modality
from brainfm.masks.region import Region
from brainfm.masks.sensor import Sensor
from brainfm.masks.time import Time
from brainfm.tokens import Tokens
from tests.test_masks import PERIOD, SENSORS, TIMES, drawn, grid, next_hidden, tokens_of


def test_a_sensor_is_hidden_whole_or_not_at_all() -> None:
    tokens = tokens_of(batch=200)
    where = grid(tokens, Sensor(share=0.4).draw(tokens, Chance(0)))
    whole = where.all(dim=2)
    assert torch.equal(whole, where.any(dim=2))
    assert (whole.sum(dim=1) == 0.4 * SENSORS).all()
    often = whole.float().mean(dim=0)
    assert often.min() > 0.25 and often.max() < 0.55  # no sensor is spared


def test_of_a_single_sensor_tokens_are_hidden_at_random() -> None:
    tokens = tokens_of(batch=100, sensors=1)
    where = grid(tokens, Sensor(share=0.5).draw(tokens, Chance(0)), sensors=1)
    assert (where.sum(dim=2) == TIMES // 2).all()
    assert where.float().mean(dim=0).std() < 0.12


def in_regions(tokens: Tokens) -> Tokens:
    """Sensors 0 to 4 in one region, 5 to 8 in another, 9 to 14 in a third, the others in none."""
    label = torch.tensor([7**20] * 5 + [-(5**19)] * 4 + [3] * 6 + [0] * 5)
    return replace(tokens, region=label[tokens.sensor])


def test_regions_are_numbered_by_label() -> None:
    tokens = in_regions(tokens_of(batch=3))
    found = Region().places(tokens)
    assert found.shape == (3, SENSORS)
    for row in found:
        groups = [set(row[part].tolist()) for part in (slice(0, 5), slice(5, 9), slice(9, 15))]
        assert all(len(group) == 1 for group in groups)
        assert len(set().union(*groups, set(row[15:].tolist()))) == 3 + 5


def test_a_region_is_hidden_whole_but_for_the_last() -> None:
    tokens = in_regions(tokens_of(batch=200))
    where = grid(tokens, Region(share=0.5).draw(tokens, Chance(0)))
    whole = where.all(dim=2)
    assert torch.equal(whole, where.any(dim=2))  # of the last region whole sensors are left
    assert (whole.sum(dim=1) == SENSORS // 2).all()
    parts = [slice(0, 5), slice(5, 9), slice(9, 15)]
    cut = sum((whole[:, one].any(dim=1) & ~whole[:, one].all(dim=1)).long() for one in parts)
    assert isinstance(cut, torch.Tensor) and cut.max() == 1 and 0 < cut.float().mean() < 1
    first = Sensor(share=0.5).draw(tokens, Chance(0))
    alone = grid(tokens, first).all(dim=2)
    assert (sum((alone[:, one].any(dim=1) & ~alone[:, one].all(dim=1)).long() for one in parts) > 1).any()


def test_a_region_mask_does_not_depend_on_who_shares_the_batch() -> None:
    """Windows of events of several people share a batch: numbers of regions must be a window's own."""
    tokens = in_regions(tokens_of(batch=4))
    other = replace(
        tokens, region=torch.where(torch.arange(4)[:, None] == 0, tokens.region + 11, tokens.region)
    )
    plain, after = (Region().draw(one, Chance(1)).hidden for one in (tokens, other))
    assert torch.equal(plain[1:], after[1:])


@pytest.mark.parametrize("length", [1, 3])
def test_a_moment_is_hidden_everywhere(length: int) -> None:
    tokens = tokens_of(batch=400)
    where = grid(tokens, Time(share=0.25, length=length).draw(tokens, Chance(0)))
    moments = where.all(dim=1)
    assert torch.equal(moments, where.any(dim=1))
    assert (moments.sum(dim=1) == 0.25 * TIMES).all()
    share = moments.float().mean(dim=0)
    assert share.max() - share.min() < 0.15  # first and last moments are hidden as often as others
    follows = next_hidden(moments.unsqueeze(1))
    assert follows > 0.5 if length == 3 else follows < 0.3


def test_hidden_moments_of_events_are_stretches() -> None:
    time = torch.rand(64, 400, generator=drawn(3)).sort(dim=1).values * 10.0
    events = replace(
        tokens_of(batch=64, sensors=4, times=100, shuffled=False),
        time=time,
        sensor=torch.randint(4, time.shape, generator=drawn(2)),
        period=0.0,
    )
    where = Time(share=0.3, length=5).draw(events, Chance(4)).mask()
    assert float(where[:, 1:][where[:, :-1]].float().mean()) > 0.9
    scattered = Sensor(share=0.3).draw(events, Chance(4)).mask()
    assert float(scattered[:, 1:][scattered[:, :-1]].float().mean()) < 0.5


def test_a_complement_hides_what_the_other_shows() -> None:
    tokens = tokens_of(batch=32)
    of = Block(share=0.3, length=3)
    plain, turned = of.draw(tokens, Chance(2)), Complement(of=of).draw(tokens, Chance(2))
    assert torch.equal(turned.hidden, plain.seen) and torch.equal(turned.seen, plain.hidden)


def test_a_complement_never_hides_padding() -> None:
    tokens = tokens_of(batch=8)
    length = torch.tensor([200, 240, 210, 240, 205, 220, 230, 201])[:, None]
    tokens = replace(tokens, valid=torch.arange(tokens.count) < length, padded=True)
    of = Block(share=0.3)
    first, turned = of.draw(tokens, Chance(0)), Complement(of=of).draw(tokens, Chance(0))
    assert turned.hidden.shape[1] == span(200)[0] - first.hidden.shape[1]
    assert tokens.valid.gather(1, turned.hidden).all()
    assert not (turned.mask() & first.mask()).any()


@pytest.mark.parametrize("drop", [0.3, 1.0])
def test_a_whole_instrument_is_hidden_in_a_share_of_the_steps(drop: float) -> None:
    streams = [tokens_of(batch=2), tokens_of(batch=2, sensors=5), tokens_of(batch=2, sensors=3)]
    mask = Modality(otherwise=Independent(share=0.5), drop=drop)
    which = []
    for step in range(300):
        counts = [one.hidden.shape[1] for one in mask.draw_together(streams, Chance(0, step))]
        whole = [number for number, count in enumerate(counts) if count == streams[number].count]
        if whole:
            assert len(whole) == 1 and sum(count > 0 for count in counts) == 1
            which.append(whole[0])
        else:
            assert counts == [one.count // 2 for one in streams]
    assert len(which) / 300 == pytest.approx(drop, abs=0.08)
    assert {which.count(number) / len(which) > 0.2 for number in range(3)} == {True}


def test_every_process_hides_the_same_instrument() -> None:
    """The windows of a step lie on several processes, whose chances begin at another window."""
    streams = [tokens_of(batch=2), tokens_of(batch=2, sensors=5)]
    mask = Modality(otherwise=Independent())
    for step in range(20):
        here, there = (mask.draw_together(streams, Chance(0, step, first=first)) for first in (0, 2))
        assert [one.hidden.shape for one in here] == [one.hidden.shape for one in there]


def test_one_instrument_alone_is_never_hidden_whole() -> None:
    tokens = tokens_of(batch=2)
    mask = Modality(otherwise=Block(share=0.4), drop=1.0)
    (found,) = mask.draw_together([tokens], Chance(3))
    assert torch.equal(found.hidden, Block(share=0.4).draw(tokens, Chance(3)).hidden)
    assert tokens.period == PERIOD
