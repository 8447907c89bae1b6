"""Behaviour beside spikes: one window with the tokens of both, and either told from the other with all of it hidden."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Together
from brainfm.data.preprocess import prepare
from brainfm.data.recording import Recording, Sensors, Signal, Track
from brainfm.errors import DataError, RecipeError
from brainfm.gather import gather, joined
from brainfm.jobs.prepare import prepare as prepare_store
from brainfm.jobs.pretrain import pretrain
from brainfm.learner import Learner, learner
from brainfm.masks.modality import all_or_none
from brainfm.objectives.masked_patches import MaskedPatchLoss, patches_wanted
from brainfm.recipe import PretrainRecipe
from brainfm.tokens import join
from brainfm.view import Piece, View

MakeRecipe = Callable[..., PretrainRecipe]
SIGNALS: dict[str, Any] = {
    "spikes": {
        "prepare": [{"kind": "bin_counts", "seconds": 0.05}],
        "seconds": 1.0,
        "tokenizer": {"kind": "spike_counts", "seconds": 0.25, "sfreq": 20.0},
    },
    "behaviour": {
        "prepare": [
            {"kind": "from_track", "track": "velocity", "sfreq": 20.0},
            {"kind": "robust_scale", "scope": "recording", "per": "sensor"},
        ],
        "seconds": 1.0,
        "tokenizer": {"kind": "named_patch", "seconds": 0.25, "sfreq": 20.0, "told": "level"},
    },
}
BOTH = [{"modalities": ["spikes", "behaviour"]}]


def monkey(seconds: float = 240.0, lost: tuple[int, int] = (0, 0)) -> Recording:
    """Eight neurons, each firing at one end of the one direction in which a cursor moves; a camera loses it at times."""
    rng = np.random.default_rng(4)
    n = round(20 * seconds)
    velocity = np.convolve(rng.normal(size=n), np.hanning(20), mode="same")
    velocity /= velocity.std()
    rate = 1.5 * np.exp(0.8 * np.outer(np.tile([1.0, -1.0], 4), velocity))
    names = [f"n{row}" for row in range(8)]
    signal = Signal(rng.poisson(rate).astype(float), 20.0, Sensors.of(names, "neuron", "count"))
    velocity[slice(*lost)] = np.nan
    return Recording({"spikes": signal}, tracks={"velocity": Track(velocity, 20.0)}, dataset="d", subject="1")


def stream_of(recipe: PretrainRecipe, *recordings: Recording) -> Together:
    ready = {
        name: dict(enumerate(prepare(recordings, signal.prepare, name)))
        for name, signal in recipe.signals.items()
    }
    return joined(recipe.together[0], recipe.signals, ready)


def card(folder: Path) -> Path:
    reader = "{kind: simulated, modality: spikes, subjects: 2, seconds: 20.0, sensors: 6}"
    return tiny.card(folder, "people", reader, modality="spikes")


def test_a_track_enters_beside_spikes_and_needs_no_entry_of_its_own(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    data = {"cards": [str(card(tmp_path))]}
    _, streams, manifest = gather(make_recipe(data=data, signals=SIGNALS, together=BOTH))
    assert list(streams) == ["spikes+behaviour"]
    spikes, behaviour = streams["spikes+behaviour"].batches(np.arange(3))
    assert (spikes.signal.shape, behaviour.signal.shape) == ((3, 6, 20), (3, 2, 20))
    assert [entry.subject for entry in manifest.entries] == ["01", "02"]
    alone = {"behaviour": SIGNALS["behaviour"]}
    _, streams, known_by = gather(make_recipe(data=data, signals=alone))
    assert list(streams) == ["behaviour"] and len(streams["behaviour"].windows) == 40
    assert known_by == manifest, "who was seen by a track alone was seen"


def test_a_recording_without_the_track_is_trained_on_without_it(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    place = {**SIGNALS["behaviour"], "prepare": [{"kind": "from_track", "track": "place"}]}
    recipe = make_recipe(data={"cards": [str(card(tmp_path))]}, signals={**SIGNALS, "behaviour": place})
    with pytest.raises(DataError, match="hold no behaviour recording to train on"):
        gather(recipe)


def test_a_store_keeps_the_tracks_that_behaviour_is_made_of(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    path = str(card(tmp_path))
    prepare_store([path], [], tmp_path / "store", quiet=True, jobs=1)
    given = {"signals": SIGNALS, "together": BOTH}
    found = [
        gather(make_recipe(data={"cards": [path], "store": store}, **given))[1]["spikes+behaviour"]
        for store in (None, str(tmp_path / "store"))
    ]
    for one, other in zip(*(stream.batches(np.arange(4)) for stream in found), strict=True):
        torch.testing.assert_close(one.signal, other.signal)
    with pytest.raises(DataError, match="behaviour is made of tracks, which a store keeps as they are"):
        prepare_store([path], ["behaviour=behaviour_250ms"], tmp_path / "other", quiet=True)


def test_windows_in_which_the_light_was_lost_are_dropped_and_counted(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe(signals=SIGNALS, together=BOTH)
    stream = stream_of(recipe, monkey(20.0, lost=(95, 145)))
    np.testing.assert_array_equal(stream.windows.start, [*range(4), *range(8, 20)])
    assert stream.windows.dropped == {"not whole in spikes and behaviour": 4}
    assert all(torch.isfinite(batch.signal).all() for batch in stream.batches(np.arange(len(stream.windows))))


def test_lost_windows_are_not_embedded(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe(signals=SIGNALS, together=BOTH)
    net = learner(recipe, {"both": stream_of(recipe, monkey(20.0))})
    found = net.model.embed(monkey(20.0, lost=(90, 110)), "behaviour")
    assert np.isfinite(found.values).all()
    np.testing.assert_allclose(found.start, [0, 1, 2, 3, *np.arange(5.5, 19)])
    with pytest.raises(DataError, match="behaviour was measured throughout no window of 1 s"):
        net.model.embed(monkey(3.0, lost=(15, 45)), "behaviour")


def test_patches_without_a_name_can_not_be_of_behaviour(make_recipe: MakeRecipe) -> None:
    unnamed = {**SIGNALS["behaviour"], "tokenizer": {"kind": "patch", "seconds": 0.25, "sfreq": 20.0}}
    with pytest.raises(RecipeError, match="behaviour can't be read by the tokenizer patch"):
        make_recipe(signals={"behaviour": unnamed})


def test_spikes_and_another_cursor_are_not_simulated_at_once() -> None:
    from brainfm.data.readers import Reader

    with pytest.raises(ValueError, match="make behaviour of it by from_track"):
        Reader.model_validate({"kind": "simulated", "modality": "spikes", "beside": ["behaviour"]})
    assert Reader.model_validate({"kind": "simulated", "modality": "eeg", "beside": ["behaviour"]})


def test_a_name_tells_two_tracks_apart_and_an_unknown_one_is_an_average(make_recipe: MakeRecipe) -> None:
    """The same numbers under another name are another token, and are asked for as another."""
    recipe = make_recipe(signals={"behaviour": SIGNALS["behaviour"]})
    model = learner(recipe, {"a": named("x", "y")}).model
    known, swapped, unknown = (
        model.tokenize(one.batch(np.arange(2))).tokens
        for one in (named("x", "y"), named("y", "x"), named("u", "v"))
    )
    for tokens in (known, swapped, unknown):
        assert tokens.who is not None and not tokens.located.any()
    half = known.count // 2
    torch.testing.assert_close(known.who[:, :half], swapped.who[:, half:])
    assert not torch.allclose(known.who[:, :half], known.who[:, half:], atol=1e-2)
    torch.testing.assert_close(unknown.who[:, :half], (known.who[:, :half] + known.who[:, half:]) / 2)


def named(*names: str) -> Any:
    """Ten windows of the same two columns under these names."""
    from brainfm.corpus import Stream
    from brainfm.data.windows.sliding import Sliding
    from brainfm.tokenizers.named_patch import NamedPatch

    data = np.random.default_rng(0).normal(size=(2, 200))
    signals = {"behaviour": Signal(data, 20.0, Sensors.of(list(names), "track", "1"))}
    recordings = [Recording(signals)]
    tokenizer = NamedPatch(seconds=0.25, sfreq=20.0)
    return Stream("behaviour", recordings, Sliding(seconds=1.0)(recordings, "behaviour", []), (), tokenizer)


def test_a_level_is_told_where_it_is_asked_for(make_recipe: MakeRecipe) -> None:
    """Two windows that differ by an offset alone: the same shape, another level."""
    windows = named("x", "y").batch(np.arange(2))
    higher = replace(windows, signal=windows.signal + 3)
    for told, apart in (("level", 3.0), ("shape", 0.0)):
        part = {**SIGNALS["behaviour"], "tokenizer": {**SIGNALS["behaviour"]["tokenizer"], "told": told}}
        model = learner(make_recipe(signals={"behaviour": part}), {"a": named("x", "y")}).model
        here, there = (patches_wanted(model.tokenize(one), "behaviour") for one in (windows, higher))
        torch.testing.assert_close(there - here, torch.full_like(here, apart), atol=1e-4, rtol=0)


def tell(net: Learner, batches: tuple[Batch, ...], which: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What one modality held, and what is told of it with all of it hidden and all of the other seen."""
    tokenized = [net.model.tokenize(batch) for batch in batches]
    hidden = [all_or_none(one.tokens, number == which) for number, one in enumerate(tokenized)]
    view = View(tuple(map(Piece, batches, tokenized, hidden)), net.model.encoder, Chance(0))
    piece, objective = view.pieces[which], net.objectives["masked_patches"]
    assert isinstance(objective, MaskedPatchLoss)
    told = objective.decode(piece.modality, join(view.seen), piece.asked)
    return patches_wanted(piece.tokenized, piece.modality), told


def test_either_is_told_from_the_other_alone(make_recipe: MakeRecipe) -> None:
    """Better than the mean on a later block that was not trained on, and not from the spikes or the cursor of another window."""
    mask = {"kind": "modality", "drop": 0.8, "otherwise": {"kind": "block"}}
    recipe = make_recipe(signals=SIGNALS, together=BOTH, mask=mask, objectives={"masked_patches": {}})
    stream = stream_of(recipe, monkey())
    early, late = np.arange(180), np.arange(180, 240)
    net = learner(recipe, {"spikes+behaviour": stream})
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for step in range(300):
        rows = np.random.default_rng(step).choice(early, 24, replace=False)
        net(stream.batches(rows), Chance(step)).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    batches = stream.batches(late)
    found = {}
    for which, name in enumerate(("spikes", "behaviour")):
        other = tuple(
            batch if number == which else replace(batch, signal=batch.signal.roll(7, dims=0))
            for number, batch in enumerate(batches)
        )
        with torch.no_grad():
            wanted, told = tell(net, batches, which)
            wrong = tell(net, other, which)[1]
        found[name] = [
            float(1 - (wanted - one).square().sum() / (wanted - wanted.mean()).square().sum())
            for one in (told, wrong)
        ]
    assert found["behaviour"][0] > 0.4 and found["behaviour"][1] < 0.1, found
    assert found["spikes"][0] > 0.03 and found["spikes"][1] < 0.0, found


def test_a_run_on_spikes_and_behaviour_goes_through(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    train = {"steps": 3, "batch": 4, "learning_rate": 1e-3}
    recipe = make_recipe(data={"cards": [str(card(tmp_path))]}, signals=SIGNALS, together=BOTH, train=train)
    pretrain(recipe, tmp_path / "run", quiet=True)
    assert [row["step"] for row in tiny.rows(tmp_path / "run")] == [1, 2, 3]
