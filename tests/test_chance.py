"""Random numbers that do not depend on how a step is divided."""

import torch

from brainfm.chance import Chance
from brainfm.masks.block import Block
from brainfm.masks.independent import Independent
from tests.test_masks import tokens_of


def test_a_window_draws_the_same_wherever_it_lies() -> None:
    whole = Chance(3, 7)
    a, b = whole.uniform(6, 4), whole.integers(100, 6, 5)
    first, second = Chance(3, 7), Chance(3, 7, first=2)
    assert torch.equal(torch.cat([first.uniform(2, 4), second.uniform(4, 4)]), a)
    assert torch.equal(torch.cat([first.integers(100, 2, 5), second.integers(100, 4, 5)]), b)


def test_windows_steps_and_seeds_draw_differently() -> None:
    drawn = [Chance(*seed).uniform(2, 8) for seed in ((0, 1), (0, 2), (1, 1))]
    rows = torch.cat(drawn)
    assert len({tuple(row.tolist()) for row in rows}) == 6


def test_a_longer_row_begins_as_a_shorter_one() -> None:
    """Padding to the longest of other windows changes nothing for those that are there."""
    short, long = Chance(1).uniform(3, 20), Chance(1).uniform(3, 33)
    assert torch.equal(long[:, :20], short)


def test_what_is_shared_is_shared_and_what_is_drawn_leaves_it_alone() -> None:
    one, other = Chance(5), Chance(5, first=9)
    one.uniform(4, 3)
    assert torch.equal(torch.rand(3, generator=one.shared), torch.rand(3, generator=other.shared))


def test_masks_do_not_depend_on_the_division() -> None:
    tokens = tokens_of(batch=6)
    for mask in (Block(), Independent()):
        whole = mask.draw(tokens, Chance(2)).hidden
        parts = []
        for first, last in ((0, 1), (1, 4), (4, 6)):
            fields = {
                name: value[first:last] for name, value in vars(tokens).items() if torch.is_tensor(value)
            }
            part = type(tokens)(**{**vars(tokens), **fields})
            parts.append(mask.draw(part, Chance(2, first=first)).hidden)
        assert torch.equal(torch.cat(parts), whole)
