"""Pooling: what stays apart does, what is meant to be the same in any montage is, and queries choose."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from brainfm.batch import Batch, number_of
from brainfm.errors import DataError
from brainfm.heads.attentive import Attentive
from brainfm.heads.by_region import ByRegion
from brainfm.heads.sequence import Sequence
from brainfm.model import BrainFM
from brainfm.pooling import CELLS, Pool, cells, means, pool_tokens, pooled_width
from brainfm.tokens import Tokens

ROWS, TIMES, WIDTH = 6, 4, 5


def tokens(position: Tensor | None = None, region: list[str] | None = None) -> Tokens:
    """A grid of numbered tokens of two windows: row · 100 + time, in every feature."""
    row = torch.arange(ROWS).repeat_interleave(TIMES)
    said = (row * 100 + torch.arange(TIMES).repeat(ROWS)).float()
    shape = (2, ROWS * TIMES)
    names = torch.tensor([number_of(name) for name in (region or [""] * ROWS)])
    return Tokens(
        embedding=said[None, :, None].repeat(2, 1, WIDTH),
        time=torch.zeros(shape),
        position=torch.zeros(*shape, 3) if position is None else position[row].expand(2, -1, -1),
        located=torch.full(shape, position is not None),
        modality=torch.zeros(shape, dtype=torch.long),
        sensor=row.expand(shape),
        region=names[row].expand(shape),
        valid=torch.ones(shape, dtype=torch.bool),
        period=0.25,
        rows=ROWS,
    )


@pytest.mark.parametrize("pool", ["mean", "sensor", "time", "all", "moments", "place"])
def test_widths_are_as_said(pool: Pool) -> None:
    assert pool_tokens(tokens(), pool).shape == (2, pooled_width(WIDTH, pool, ROWS, TIMES))


def test_what_stays_apart() -> None:
    grid = (torch.arange(ROWS)[:, None] * 100 + torch.arange(TIMES)).float()
    found: dict[Pool, Tensor] = {
        "sensor": grid.mean(dim=1),
        "time": grid.mean(dim=0),
        "all": grid.flatten(),
        "moments": grid.T.flatten(),
    }
    for pool, expected in found.items():
        apart = pool_tokens(tokens(), pool).unflatten(1, (-1, WIDTH))
        torch.testing.assert_close(apart, expected[None, :, None].expand_as(apart), msg=pool)


PLACES = torch.tensor(
    [
        [-0.05, 0.05, 0.05],
        [0.05, 0.05, 0.05],
        [-0.05, -0.01, 0.08],
        [0.05, -0.01, 0.08],
        [0, -0.1, 0],
        [0, -0.02, 0.1],
    ]
)
"""F3, F4, C3, C4, Oz and Cz, about."""


def test_places_of_the_head_stay_apart() -> None:
    """Left and right, front to back; what lies in the middle belongs to both sides."""
    found = pool_tokens(tokens(PLACES), "place").unflatten(1, (CELLS, WIDTH))[0, :, 0] - 1.5
    left, right = found[:3], found[3:6]
    torch.testing.assert_close(left, torch.tensor([0.0, 350.0, 400.0]))  # F3, C3 and Cz, Oz
    torch.testing.assert_close(right, torch.tensor([100.0, 400.0, 400.0]))  # F4, C4 and Cz, Oz
    assert found[6] == -1.5, "every sensor has a place"


def test_another_montage_and_padding_change_no_cell() -> None:
    """The same places under other rows, in another order, beside padding."""
    whole = tokens(PLACES)
    order = torch.arange(ROWS * TIMES).unflatten(0, (ROWS, TIMES)).flip(0).flatten().expand(2, -1)
    turned = replace(whole.take(order), period=0.0)
    torch.testing.assert_close(pool_tokens(turned, "place"), pool_tokens(whole, "place"))
    padded = replace(whole, embedding=whole.embedding.clone(), valid=whole.valid.clone(), padded=True)
    padded.valid[:, -TIMES:] = False
    padded.embedding[:, -TIMES:] = 1e6
    five = whole.take(torch.arange((ROWS - 1) * TIMES).expand(2, -1))
    torch.testing.assert_close(pool_tokens(padded, "place"), means(five, cells(five)).flatten(1))
    with pytest.raises(DataError, match="use pool='mean'"):
        pool_tokens(padded, "sensor")


def test_the_side_is_kept_where_the_mean_loses_it() -> None:
    """The same two values on the left and on the right, or the other way round."""
    there, swapped = tokens(PLACES), tokens(PLACES * torch.tensor([-1.0, 1.0, 1.0]))
    torch.testing.assert_close(pool_tokens(there, "mean"), pool_tokens(swapped, "mean"))
    assert (pool_tokens(there, "place") - pool_tokens(swapped, "place")).abs().max() > 50


def test_regions_are_told_by_their_labels() -> None:
    names = ["M1", "CA1", "", "M1", "CA1", "V1"]
    head = ByRegion(regions=["CA1", "M1", "absent"]).build(WIDTH, 2, ROWS, TIMES)
    heard: list[Tensor] = []
    head.norm.register_forward_pre_hook(lambda _, x: heard.append(x[0]))
    head(tokens(region=names))
    found = heard[0].unflatten(1, (3, WIDTH))[0, :, 0]
    torch.testing.assert_close(found, torch.tensor([251.5, 151.5, 0.0]))


def test_queries_learn_where_to_look() -> None:
    """One token of many says the label, in a place that is known by its content: a mean drowns it, attention finds it."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(128) % 2
    embedding = torch.randn(128, 40, 16, generator=generator)
    marked = torch.randint(40, (128,), generator=generator)
    embedding[torch.arange(128), marked, 0] = 6.0
    embedding[torch.arange(128), marked, 1] = 3.0 * (2 * label - 1).float()
    plain = tokens()
    shape = (128, 40)
    many = replace(
        plain, embedding=embedding, valid=torch.ones(shape, dtype=torch.bool), located=torch.zeros(shape, dtype=torch.bool),
        time=torch.zeros(shape), position=torch.zeros(*shape, 3), modality=torch.zeros(shape, dtype=torch.long),
        sensor=torch.zeros(shape, dtype=torch.long), region=torch.zeros(shape, dtype=torch.long),
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = Attentive(queries=1).build(16, 2, 1, 40)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(150):
        torch.nn.functional.cross_entropy(head(many), label).backward()
        optimizer.step()
        optimizer.zero_grad()
    right = (head(many).argmax(dim=1) == label).float().mean()
    assert right > 0.98
    looked = (head.query @ head.key(head.norm(embedding)).transpose(1, 2)).softmax(dim=-1)[:, 0]
    assert looked[torch.arange(128), marked].median() > 0.5


def test_padding_is_not_attended_to(model: BrainFM, batch: Batch) -> None:
    whole = model(batch)
    head = Attentive(queries=2).build(32, 3, 8, 8)
    torch.nn.init.normal_(head.score.weight, generator=torch.Generator().manual_seed(0))
    kept = torch.arange(20).expand(len(batch), -1)
    valid = whole.valid.clone()
    valid[:, 20:] = False
    padded = replace(whole, valid=valid, padded=True, embedding=whole.embedding.clone())
    padded.embedding[:, 20:] = 1e3
    torch.testing.assert_close(head(padded), head(whole.take(kept)), atol=1e-4, rtol=1e-4)


def test_a_moment_hears_itself_alone() -> None:
    """Rows apart or not: what changes at one time changes the answer for that time and no other."""
    for rows in ("mean", "apart"):
        head = Sequence(rows=rows).build(WIDTH, 3, ROWS, TIMES)
        torch.nn.init.normal_(head.score.weight, generator=torch.Generator().manual_seed(0))
        plain = tokens()
        noise = torch.from_numpy(np.random.default_rng(0).normal(size=(2, ROWS, WIDTH))).float()
        changed = plain.embedding.unflatten(1, (ROWS, TIMES)).clone()
        changed[:, :, 2] += 100 * noise
        moved = (head(plain.with_embedding(changed.flatten(1, 2))) - head(plain)).abs().amax(dim=(0, 2))
        assert moved.shape == (TIMES,)
        assert moved[2] > 1e-2 and moved[[0, 1, 3]].max() < 1e-6
