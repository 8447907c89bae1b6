"""Where and when a token is: every choice says what it is said to say, whatever is hidden, padded, moved or joined."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from brainfm.chance import Chance, seeded
from brainfm.data.positions import eeg_sensors
from brainfm.encoders.axial import Axial
from brainfm.encoders.bottleneck import Bottleneck
from brainfm.encoders.transformer import Transformer
from brainfm.errors import DataError
from brainfm.layers.decoder import Decoder
from brainfm.layers.placed import Placed
from brainfm.masks.block import Block
from brainfm.moments import Moment
from brainfm.moments.none import Untold
from brainfm.moments.oscillations import Oscillations
from brainfm.moments.rotary import Rotary
from brainfm.moments.table import MomentTable
from brainfm.part import known
from brainfm.places import Place
from brainfm.places.conduction import Conduction, ConductionPlace
from brainfm.places.fourier import Fourier
from brainfm.places.fourier_4d import Fourier4D
from brainfm.places.none import Nowhere
from brainfm.tokens import Table, Tokens, join
from tests.test_encoders import grid
from tests.tiny import drawn

WIDTH = 32
SHAPE: dict[str, Any] = {"depth": 2, "width": WIDTH, "heads": 2}
PLACES = (Fourier(), Conduction(), Fourier4D(), Nowhere())
MOMENTS = (Rotary(), Oscillations(), Oscillations(rotary=True), MomentTable(seconds=0.25), Untold())
BY_PLACE = pytest.mark.parametrize("where", PLACES, ids=lambda part: part.kind)
BY_MOMENT = pytest.mark.parametrize("when", MOMENTS, ids=lambda part: f"{part.kind}-{part.turns}")


def tokens(sensors: int = 6, **more: Any) -> Tokens:
    """A regular stream whose second sensor has no position, and which says where its rows are."""
    made = grid(sensors, 8, **more)
    first = made.position.unflatten(1, (sensors, -1))[:, :, 0]
    located = made.located.unflatten(1, (sensors, -1))[:, :, 0]
    modality = made.modality.unflatten(1, (sensors, -1))[:, :, 0]
    return replace(made, table=Table(first, located, modality))


def coded(where: Place, of: Tokens) -> Tensor:
    """What a place adds, by weights of seed 0."""
    with seeded(0):
        module = where.build(WIDTH)
    found: Tensor = torch.zeros_like(of.embedding) if module is None else module(of)
    return found.detach()


def conduction(metres: float) -> ConductionPlace:
    """One with this distance, which may be as good as none."""
    with seeded(0):
        module = Conduction().build(WIDTH)
    with torch.no_grad():
        module.spread.fill_(float(np.log(np.expm1(np.float64(metres)))) if metres < 30 else metres)
    return module


def test_every_choice_is_tried_here() -> None:
    assert {part.kind for part in PLACES} == set(known(Place))
    assert {part.kind for part in MOMENTS} == set(known(Moment))


def test_a_blurred_place_is_its_definition() -> None:
    of, module = tokens(), conduction(0.05)
    assert of.table is not None
    position, located = of.table.position[0].double().numpy(), of.table.located[0].numpy()
    apart = np.linalg.norm(position[:, None] - position[None], axis=-1)
    kernel = np.exp(-apart / float(module.distance.detach())) * located[None, :]
    wanted = kernel @ position / kernel.sum(axis=1, keepdims=True)
    got = module.smoothed(of.table)[0].detach().numpy()
    np.testing.assert_allclose(got[located], wanted[located], atol=1e-6)
    rows = torch.from_numpy(wanted).float() / 0.1 @ module.project.weight.T + module.project.bias
    token = 2 * 8 + 3  # of the third sensor
    torch.testing.assert_close(module(of)[0, token], rows[2], atol=1e-5, rtol=1e-5)


def test_it_runs_from_the_place_itself_to_the_middle_of_the_montage() -> None:
    of = tokens()
    assert of.table is not None
    there = of.table.located.unsqueeze(-1)
    sharp, flat = (conduction(metres).smoothed(of.table).detach() for metres in (1e-6, 1e4))
    torch.testing.assert_close(sharp * there, of.table.position * there, atol=1e-6, rtol=0)
    middle = (of.table.position * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True)
    torch.testing.assert_close(flat * there, (middle * there).expand_as(flat), atol=1e-5, rtol=0)


def test_it_starts_at_eight_centimetres_and_learns_from_there() -> None:
    of, module = tokens(), Conduction().build(WIDTH)
    assert float(module.distance.detach()) == pytest.approx(0.08, abs=1e-6)
    module(of).square().sum().backward()
    assert module.spread.grad is not None and torch.isfinite(module.spread.grad) and module.spread.grad != 0


def test_an_electrode_has_another_code_in_another_cap_and_in_the_same_cap_the_same() -> None:
    of = tokens(8)
    assert of.table is not None
    smaller = Table(*(one[:, :4] for one in vars(of.table).values()))
    few = replace(of.take(torch.arange(32).expand(3, -1)), table=smaller, rows=4)
    blurred, plain = Conduction(), Fourier()
    assert (coded(blurred, of)[:, :8] - coded(blurred, few)[:, :8]).abs().amax() > 1e-3
    torch.testing.assert_close(coded(plain, of)[:, :32], coded(plain, few))


@BY_PLACE
@BY_MOMENT
def test_a_mask_changes_no_ones_place_or_moment(where: Place, when: Moment) -> None:
    of = tokens()
    seen = Block().draw(of, Chance(1)).seen
    with seeded(0):
        start = Placed(WIDTH, 2, where, when)
    index = seen.unsqueeze(-1).expand(-1, -1, WIDTH)
    torch.testing.assert_close(start.placed(of.take(seen)), start.placed(of).gather(1, index))


@BY_PLACE
def test_what_asks_for_a_hidden_token_calls_its_place_as_the_encoder_does(where: Place) -> None:
    of = tokens()
    hidden = Block().draw(of, Chance(1)).hidden
    decoder = Decoder(WIDTH, 1, where, Oscillations())
    assert type(decoder.where) is type(Placed(WIDTH, 2, where, Oscillations()).where)
    if decoder.where is not None:
        index = hidden.unsqueeze(-1).expand(-1, -1, WIDTH)
        torch.testing.assert_close(decoder.where(of.take(hidden)), decoder.where(of).gather(1, index))
    assert decoder(of, of.take(hidden)).shape == (3, hidden.shape[1], WIDTH)


@torch.no_grad()
@BY_PLACE
def test_its_answer_depends_on_where_that_was(where: Place) -> None:
    of = tokens()
    assert of.table is not None
    asked = of.take(Block().draw(of, Chance(1)).hidden)
    turned = torch.tensor([-1.0, 1.0, 1.0])
    elsewhere = replace(
        asked,
        position=asked.position * turned,
        table=replace(of.table, position=of.table.position * turned),
    )
    with seeded(0):
        decoder = Decoder(WIDTH, 1, where, Untold())
    same = torch.allclose(decoder(of, elsewhere), decoder(of, asked), atol=1e-4)
    assert same == (where.kind == "none")


@torch.no_grad()
@BY_MOMENT
def test_its_answer_depends_on_time_as_the_encoders_does(when: Moment) -> None:
    """How long after what was seen it lay, for all that tell time; how long after the window began, for added codes."""
    of = tokens()
    asked = of.take(Block().draw(of, Chance(1)).hidden)
    with seeded(0):
        decoder = Decoder(WIDTH, 1, Nowhere(), when)
    plain, asked_later, both_later = (
        decoder(replace(of, time=of.time + heard), replace(asked, time=asked.time + own))
        for heard, own in ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    )
    same = [torch.allclose(one, plain, atol=1e-4) for one in (asked_later, both_later)]
    assert same == [when.kind == "none", when.kind in ("rotary", "none")]


@pytest.mark.parametrize("where", [one for one in PLACES if one.kind != "none"], ids=lambda part: part.kind)
def test_without_a_position_a_token_has_the_learned_vector(where: Place) -> None:
    of = tokens()
    with seeded(0):
        module = where.build(WIDTH)
    before = module(of).detach()
    with torch.no_grad():
        module.nowhere.neg_()
    moved = (module(of) - before).abs().amax(dim=-1) > 1e-3
    assert torch.equal(moved, ~of.located)


@BY_PLACE
def test_rows_that_are_padding_or_have_no_position_are_in_no_sum(where: Place) -> None:
    of = tokens()
    assert of.table is not None
    away = torch.where(of.table.located.unsqueeze(-1), of.table.position, 7.0)
    strange = replace(
        of,
        table=replace(of.table, position=away),
        position=torch.where(of.located.unsqueeze(-1), of.position, 7.0),
    )
    torch.testing.assert_close(coded(where, strange), coded(where, of))


@BY_PLACE
@BY_MOMENT
def test_the_order_of_sensors_changes_nothing_but_the_order(where: Place, when: Moment) -> None:
    of = tokens()
    assert of.table is not None
    order = torch.randperm(6, generator=drawn(1))
    place = (order.unsqueeze(1) * 8 + torch.arange(8)).flatten().expand(3, -1)
    mixed = of.take(place)
    mixed = replace(mixed, sensor=of.sensor, table=Table(*(one[:, order] for one in vars(of.table).values())))
    with seeded(0):
        encoder = Transformer(**SHAPE, where=where, when=when).build(2)
    wanted = encoder(of).embedding.gather(1, place.unsqueeze(-1).expand(-1, -1, WIDTH))
    torch.testing.assert_close(encoder(mixed).embedding, wanted, atol=1e-5, rtol=1e-5)


@BY_PLACE
def test_an_instrument_is_placed_alike_alone_and_beside_another(where: Place) -> None:
    first, second = tokens(), tokens(3, modality=1, seed=5)
    both = join([first, second])
    assert both.table is not None and both.table.position.shape == (3, 9, 3)
    torch.testing.assert_close(coded(where, both)[:, :48], coded(where, first))
    torch.testing.assert_close(coded(where, both)[:, 48:], coded(where, second))


@torch.no_grad()
@BY_PLACE
@BY_MOMENT
def test_a_causal_encoder_hears_nothing_later(where: Place, when: Moment) -> None:
    of = replace(tokens(), causal=True)
    with seeded(0):
        encoder = Transformer(**SHAPE, where=where, when=when).build(2)
    late = of.time > 1.0
    other = of.with_embedding(torch.where(late.unsqueeze(-1), -of.embedding, of.embedding))
    torch.testing.assert_close(encoder(other).embedding[~late], encoder(of).embedding[~late])
    assert not torch.allclose(encoder(other).embedding[late], encoder(of).embedding[late], atol=1e-2)


def test_four_dimensions_are_their_definition() -> None:
    of = tokens()
    with seeded(0):
        module = Fourier4D(frequencies=2).build(WIDTH)
    both = torch.cat([of.position, 0.1 * of.time.unsqueeze(-1)], dim=-1)
    point = 2 * np.pi * (both[0, 20].double().numpy() + 0.4) / 1.8
    angle = [np.dot(point, (a, b, c, d)) for a in (0, 1) for b in (0, 1) for c in (0, 1) for d in (0, 1)]
    np.testing.assert_allclose(module.waves(both)[0, 20], [*np.cos(angle), *np.sin(angle)], atol=1e-5)
    wide = Fourier4D(frequencies=2).build(40).waves(both)
    assert not wide[..., 32:].any() and torch.equal(wide[..., :32], module.waves(both))
    torch.testing.assert_close(module(of).mean(dim=-1), torch.zeros(3, 48), atol=1e-5, rtol=0)


def test_four_dimensions_know_a_wave_that_travels() -> None:
    """No sum of a code of place and a code of time does: the mixed difference of two places and two times is zero for it."""
    of = tokens()

    def mixed(code: Tensor) -> Tensor:
        (a, b), (c, d) = code.unflatten(1, (6, 8))[0, [0, 3]][:, [0, 7]].unbind(0)
        return (a - b - c + d).abs().amax()

    with seeded(0):
        sum_ = Placed(WIDTH, 2, Fourier(), Oscillations())
    quiet = of.with_embedding(torch.zeros_like(of.embedding))
    assert mixed(sum_.placed(quiet)) < 1e-5
    assert mixed(coded(Fourier4D(), of)) > 1e-2


def test_bases_are_slow_waves_and_decays() -> None:
    module = Oscillations(waves=3, decays=2).build(WIDTH)
    time = torch.tensor([[0.0, 2.0, 30.0]])
    hertz, seconds = np.geomspace(0.01, 0.5, 3), np.geomspace(1, 100, 2)
    for number, t in enumerate((0.0, 2.0, 30.0)):
        angle = 2 * np.pi * hertz * t
        wanted = [*np.sin(angle), *np.cos(angle), *np.exp(-t / seconds)]
        np.testing.assert_allclose(module.bases(time)[0, number], wanted, atol=1e-5)
    with pytest.raises(ValidationError, match="must rise"):
        Oscillations(slowest=1.0)


@torch.no_grad()
@BY_MOMENT
@pytest.mark.parametrize("kind", [Transformer, Axial, Bottleneck])
def test_what_time_means(kind: type[Any], when: Moment) -> None:
    """Rotary knows how far apart tokens are and not since when; added codes know that too; none knows neither."""
    of = tokens()
    with seeded(0):
        encoder = kind(**SHAPE, when=when).build(2)
    plain = encoder(of).embedding
    later = encoder(replace(of, time=of.time + 1.0)).embedding
    backwards = encoder(replace(of, time=2.0 - of.time)).embedding
    same = [torch.allclose(one, plain, atol=1e-4) for one in (later, backwards)]
    assert same[0] == (when.kind in ("rotary", "none"))
    assert same[1] == (when.kind == "none")


@torch.no_grad()
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("kind", [Oscillations, MomentTable])
def test_attention_turns_beside_an_added_code_where_it_is_asked_to(kind: type[Any], rotary: bool) -> None:
    """With the code silenced, what is left knows of time what rotation says, or nothing."""
    of, when = tokens(), kind(rotary=rotary)
    with seeded(0):
        encoder = Transformer(**SHAPE, when=when).build(2)
    for value in encoder.when.parameters():
        value.zero_()
    backwards = encoder(replace(of, time=2.0 - of.time)).embedding
    assert torch.allclose(backwards, encoder(of).embedding, atol=1e-4) != rotary


def test_a_table_has_a_row_for_each_stretch() -> None:
    module = MomentTable(count=8, seconds=0.25).build(WIDTH)
    added = module(tokens()).unflatten(1, (6, 8))
    torch.testing.assert_close(added, module.rows.expand_as(added))


def test_a_window_longer_than_the_table_is_refused() -> None:
    module = MomentTable(count=7, seconds=0.25).build(WIDTH)
    with pytest.raises(DataError, match=r"ends at 1.75 s, and a token lies at 1.875 s"):
        module(tokens())
    assert MomentTable(count=8, seconds=0.25).build(WIDTH)(tokens()).shape == (3, 48, WIDTH)


def test_tokens_that_do_not_say_where_rows_are_are_refused_by_what_asks() -> None:
    with pytest.raises(DataError, match=r"let the tokenizer give Tokens.table"):
        Conduction().build(WIDTH)(replace(tokens(), table=None))


def test_heads_need_an_even_size_only_where_they_turn() -> None:
    with pytest.raises(ValidationError, match="200 can't be split into 8 heads of even size"):
        Transformer(depth=1, width=200, heads=8)
    assert Transformer(depth=1, width=200, heads=8, when=Oscillations()).build(1)(wide()).count == 48
    with pytest.raises(ValidationError, match="200 can't be split into 7 heads"):
        Transformer(depth=1, width=200, heads=7, when=Untold())


def wide() -> Tokens:
    """The same stream with tokens of width 200."""
    return tokens(width=200)


def test_millimetres_never_reach_a_place() -> None:
    """They would make the kernel a unit matrix, and nothing would say so: a file's are not used (`data.positions.plausible`)."""
    names = ["Cz", "O1", "Fp1"]
    metres, _ = eeg_sensors(names, None, None, "auto", "here")
    sensors, notes = eeg_sensors(
        names, np.array([[0, 0, 120.0], [-29, -112, 9], [-29, 84, 7]]), None, "auto", "here"
    )
    assert "were not used" in notes[0]
    np.testing.assert_allclose(sensors.position, metres.position)
