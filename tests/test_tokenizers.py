"""What each tokenizer promises: geometry, units, growing vocabularies, neighbours that lend what they know."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from brainfm.batch import Batch
from brainfm.data.brain import Brain
from brainfm.data.lobes import lobe_of
from brainfm.data.modalities import modality
from brainfm.data.recording import Recording, Sensors
from brainfm.errors import DataError, RecipeError
from brainfm.recipe import PretrainRecipe
from brainfm.tokenizers.parcels import Parcels
from brainfm.tokenizers.patch import Patch
from brainfm.tokenizers.regions import Regions
from brainfm.tokenizers.sources import Sources
from brainfm.tokenizers.spike_counts import SpikeCounts
from brainfm.tokenizers.spike_events import SpikeEvents, spikes_of
from tests.tiny import drawn

SFREQ = 128.0


def built(part: Any, width: int = 32) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return part.build(width, 0).eval()


def simulated(name: str, person: int = 1, **settings: Any) -> Recording:
    brain = Brain.draw(np.random.default_rng(person))
    return modality(name).simulate(np.random.default_rng([person, 1]), brain=brain, **settings)


def batch_of(
    recording: Recording, name: str, place: str = "", windows: int = 4, seconds: float = 2.0
) -> Batch:
    """The first windows, each sensor at mean 0 and variance 1 over all unless it counts spikes."""
    signal = recording.signal(name)
    count = round(seconds * signal.sfreq)
    data = signal.load()[:, : windows * count]
    if name != "spikes":
        data = (data - data.mean(axis=1, keepdims=True)) / data.std(axis=1, keepdims=True)
    cut = data.reshape(len(data), windows, count).transpose(1, 0, 2).astype(np.float32)
    return Batch.of(name, cut, signal.sfreq, [signal.sensors] * windows, None, [place] * windows)


@pytest.fixture(scope="module")
def meg() -> Batch:
    return batch_of(simulated("meg", seconds=20.0, sensors=30), "meg")


@pytest.fixture(scope="module")
def eeg() -> Batch:
    return batch_of(simulated("eeg", seconds=20.0), "eeg")


@torch.no_grad()
def test_a_gradiometer_turned_round_changes_nothing_but_its_sign(meg: Batch) -> None:
    """Physics: turning a coil round turns the sign of what it measures; the sources must not notice, and are told in its sign."""
    sources = built(Sources(seconds=0.25, sfreq=SFREQ, sources=8))
    grads = (meg.kind[0] == meg.kind[0].max()).nonzero()[:, 0]
    assert len(grads) == 20 and (meg.orientation[0, grads].norm(dim=-1) - 1).abs().max() < 1e-5
    sign = torch.ones(30)
    sign[grads[::2]] = -1
    turned = replace(meg, signal=meg.signal * sign[:, None], orientation=meg.orientation * sign[:, None])
    torch.testing.assert_close(sources.encode(turned), sources.encode(meg), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        sources(turned).tokens.embedding, sources(meg).tokens.embedding, atol=1e-5, rtol=1e-5
    )
    waves = sources.encode(meg)
    told, again = sources.decode(waves, meg), sources.decode(waves, turned)
    torch.testing.assert_close(again, told * sign[:, None], atol=1e-5, rtol=1e-5)
    assert told.abs().mean() > 1e-3
    # a coil that is turned without its signal is another measurement
    other = sources.encode(replace(meg, orientation=meg.orientation * sign[:, None]))
    assert not torch.allclose(other, waves, atol=1e-3)


@torch.no_grad()
def test_patches_know_which_way_a_coil_points(meg: Batch) -> None:
    patch = built(Patch(seconds=0.25, sfreq=SFREQ))
    turned = replace(meg, orientation=-meg.orientation)
    assert not torch.allclose(patch(turned).tokens.embedding, patch(meg).tokens.embedding, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("sensors", [4, 8, 19])
def test_any_montage_gives_the_same_sources(sensors: int, eeg: Batch) -> None:
    """A cap of another size needs no retraining: the same weights, the same number of tokens, and about the same waves."""
    sources = built(Sources(seconds=0.25, sfreq=SFREQ, sources=6))
    some = eeg.sensors(torch.arange(sensors))
    tokens = sources(some).tokens
    assert tokens.count == 6 * 8 and tokens.virtual
    assert torch.isfinite(tokens.embedding).all()


@torch.no_grad()
def test_a_masked_sensor_changes_nothing(eeg: Batch) -> None:
    """Whatever a sensor that is marked absent holds, nothing else hears of it."""
    for part in (Patch(seconds=0.25, sfreq=SFREQ), Sources(seconds=0.25, sfreq=SFREQ)):
        tokenizer = built(part)
        valid = eeg.valid.clone()
        valid[:, 5] = False
        quiet = replace(eeg, valid=valid, padded=True)
        signal = eeg.signal.clone()
        signal[:, 5] = 1e3 * torch.randn(signal[:, 5].shape, generator=drawn(0))
        loud = replace(quiet, signal=signal)
        a, b = tokenizer(quiet).tokens, tokenizer(loud).tokens
        there = a.valid.unsqueeze(-1)
        assert torch.equal(a.embedding * there, b.embedding * there)
        without = tokenizer(eeg.sensors(torch.tensor([row for row in range(19) if row != 5]))).tokens
        kept = a.embedding[a.valid].unflatten(0, (4, -1))
        torch.testing.assert_close(kept, without.embedding, atol=1e-5, rtol=1e-5)


def test_sensors_left_out_are_told_better_with_training(eeg: Batch) -> None:
    """The decoder's error on sensors that were not shown falls under what the mean of the others would cost."""
    sources = built(Sources(seconds=0.25, sfreq=SFREQ, sources=8, hidden=32)).train()
    optimizer = torch.optim.Adam(sources.parameters(), lr=3e-3)
    held = [0, 6, 12]
    rest = torch.tensor([row for row in range(19) if row not in held])
    asked = eeg.sensors(torch.tensor(held))

    def error() -> float:
        with torch.no_grad():
            told = sources.decode(sources.encode(eeg.sensors(rest)), asked)
        return float((told - asked.signal).square().mean() / asked.signal.square().mean())

    before = error()
    for step in range(150):
        loss = sources(eeg.sensors(rest), drawn(step)).losses["sources"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert before > 0.9
    assert error() < 0.75


@pytest.mark.parametrize("kind", ["spike_counts", "spike_events"])
def test_a_new_recording_leaves_the_old_rows_as_they_were(kind: str) -> None:
    part = {"spike_counts": SpikeCounts, "spike_events": SpikeEvents}[kind](seconds=0.25, sfreq=100.0)
    tokenizer = built(part)
    first, second = (
        batch_of(simulated("spikes", one, seconds=10.0, sensors=8, sfreq=100.0), "spikes", f"s/{one}")
        for one in (1, 2)
    )
    tokenizer.adopt(first)
    with torch.no_grad():
        before = tokenizer(first).tokens.embedding
        unmet = tokenizer(second).tokens.embedding
        old = tokenizer.vocabulary.table.clone()
        tokenizer.adopt(second)
        assert len(tokenizer.vocabulary) == 16
        assert torch.equal(tokenizer.vocabulary.table[:8], old)
        assert torch.equal(tokenizer(first).tokens.embedding, before)
        assert not torch.allclose(tokenizer(second).tokens.embedding, unmet, atol=1e-3)
    tokenizer.adopt(first)
    assert len(tokenizer.vocabulary) == 16  # to be met twice adds nothing


def test_neurons_of_one_name_in_two_sessions_are_two() -> None:
    tokenizer = built(SpikeCounts(seconds=0.25, sfreq=100.0))
    someone = simulated("spikes", 1, seconds=10.0, sensors=8, sfreq=100.0)
    one, other = batch_of(someone, "spikes", "s/1/a"), batch_of(someone, "spikes", "s/1/b")
    tokenizer.adopt(one)
    tokenizer.adopt(other)
    with torch.no_grad():
        assert not torch.allclose(
            tokenizer(one).tokens.embedding, tokenizer(other).tokens.embedding, atol=1e-3
        )


def test_an_unknown_neuron_is_an_average_one() -> None:
    tokenizer = built(SpikeCounts(seconds=0.25, sfreq=100.0))
    someone = simulated("spikes", 1, seconds=10.0, sensors=8, sfreq=100.0)
    tokenizer.adopt(batch_of(someone, "spikes", "known"))
    with torch.no_grad():
        who = tokenizer(batch_of(someone, "spikes", "unknown")).tokens.who
    torch.testing.assert_close(who[0, 0], tokenizer.vocabulary.table.mean(dim=0))


def test_events_are_the_spikes() -> None:
    counts = torch.zeros(2, 3, 10)
    counts[0, 1, 4], counts[0, 0, 4], counts[0, 2, 9], counts[1, 0, 0] = 2, 1, 1, 1
    row, time, valid = spikes_of(counts)
    assert row[0].tolist() == [0, 1, 1, 2] and time[0].tolist() == [4, 4, 4, 9]
    assert valid.tolist() == [[True] * 4, [True, False, False, False]]
    assert (row[1, 0], time[1, 0]) == (0, 0)


def test_what_an_event_stands_for_is_its_own_neuron_around_it() -> None:
    recording = simulated("spikes", 1, seconds=10.0, sensors=8, sfreq=100.0)
    batch = batch_of(recording, "spikes", "s")
    tokenized = built(SpikeEvents(seconds=0.2, sfreq=100.0))(batch)
    tokens, around = tokenized.tokens, tokenized.targets["spikes"].value
    for token in range(0, 40, 7):
        sensor, at = int(tokens.sensor[0, token]), int(tokens.time[0, token] * 100)
        wanted = torch.zeros(20)
        for lag in range(-10, 10):
            if 0 <= at + lag < 200:
                wanted[lag + 10] = batch.signal[0, sensor, at + lag] - float(lag == 0)
        assert torch.equal(around[0, token], wanted)


def labelled(labels: list[str], signal: Tensor | None = None, kind: str = "voxel") -> Batch:
    """Six windows of 12 volumes of sensors in these regions."""
    rng = np.random.default_rng(0)
    table = Sensors.of(
        [f"v{row}" for row in range(len(labels))], kind, "%", rng.normal(0, 0.05, (len(labels), 3)), "exact"
    )
    data = rng.normal(size=(6, len(labels), 12)).astype(np.float32) if signal is None else signal.numpy()
    return Batch.of("fmri", data, 0.5, [table.with_regions(labels)] * 6)


@torch.no_grad()
def test_parcels_are_the_means_of_their_voxels() -> None:
    labels = ["a", "b", "a", "", "b", "a"]
    batch = labelled(labels)
    tokenizer = built(Parcels(seconds=4.0, sfreq=0.5))
    tokenizer.adopt(batch)
    tokenized = tokenizer(batch)
    sensors = Sensors.of([f"v{row}" for row in range(6)], "voxel", "%").with_regions(labels)
    names = tokenizer.part.rows(sensors, "me")
    assert sorted(names) == ["a", "b"] and tokenized.tokens.count == 2 * 6
    value = tokenized.targets["fmri"].value.unflatten(1, (2, -1)).flatten(2)
    torch.testing.assert_close(value[:, names.index("a")], batch.signal[:, [0, 2, 5]].mean(dim=1))
    torch.testing.assert_close(value[:, names.index("b")], batch.signal[:, [1, 4]].mean(dim=1))


@torch.no_grad()
def test_a_parcel_is_the_same_in_everyone_and_in_any_company() -> None:
    """Its vector follows its name, not its row; another parcel beside it moves nothing but the row."""
    tokenizer = built(Parcels(seconds=4.0, sfreq=0.5))
    both = labelled(["a", "b"])
    tokenizer.adopt(both)
    alone = both.sensors(torch.tensor([1]))
    names = tokenizer.part.rows(Sensors.of(["v0", "v1"], "voxel", "%").with_regions(["a", "b"]), "")
    embedding = tokenizer(both).tokens.embedding.unflatten(1, (2, -1))[:, names.index("b")]
    torch.testing.assert_close(tokenizer(alone).tokens.embedding, embedding)


def test_voxels_without_a_region_are_no_parcels() -> None:
    with pytest.raises(DataError, match="give the reader an atlas"):
        built(Parcels(seconds=4.0, sfreq=0.5))(labelled(["", ""]))


@torch.no_grad()
def test_the_scale_decides_who_shares_a_place() -> None:
    """Contacts of two gyri of one lobe share their place by lobe and not by parcel; each keeps its own patch."""
    labels = ["ctx-lh-precentral", "ctx-lh-superiorfrontal", "ctx-rh-cuneus"]
    batch = labelled(labels, kind="voxel")
    for scale, shared in (("parcel", False), ("lobe", True)):
        tokenizer = built(Regions(seconds=4.0, sfreq=0.5, scale=scale, merge=False))
        tokenizer.adopt(batch)
        tokens = tokenizer(batch).tokens
        who = tokens.who[0].unflatten(0, (3, -1))[:, 0]
        assert torch.allclose(who[0], who[1]) == shared
        assert not torch.allclose(who[0], who[2])
        assert tokens.count == 3 * 6
    merged = built(Regions(seconds=4.0, sfreq=0.5, scale="lobe", merge=True))
    merged.adopt(batch)
    assert merged(batch).tokens.count == 2 * 6


@torch.no_grad()
@pytest.mark.parametrize("merge", [False, True])
def test_tokens_say_parcel_and_lobe_whatever_the_scale(merge: bool) -> None:
    """So that a mask may hide at another scale than places are told at; of a merged parcel it is the lobe of its contacts."""
    labels = ["ctx-lh-precentral", "ctx-lh-precentral", "ctx-rh-cuneus", "ctx-lh-superiortemporal"]
    batch = labelled(labels)
    lobes = dict(zip(batch.region[0].tolist(), batch.lobe[0].tolist(), strict=True))
    for scale in ("parcel",) if merge else ("channel", "parcel", "lobe"):
        tokenizer = built(Regions(seconds=4.0, sfreq=0.5, scale=scale, merge=merge))
        tokenizer.adopt(batch)
        tokens = tokenizer(batch).tokens
        assert set(tokens.region[0].tolist()) == set(lobes)
        assert [lobes[one] for one in tokens.region[0].tolist()] == tokens.lobe[0].tolist()


@pytest.mark.parametrize(
    ("label", "lobe"),
    [
        ("ctx-lh-precentral", "frontal_l"),
        ("ctx-rh-precuneus", "parietal_r"),
        ("Left-Hippocampus", "medial_temporal_l"),
        ("ctx_lh_parahippocampal", "temporal_l"),
        ("Cuneus_R", "occipital_r"),
        ("Right Putamen", "deep_r"),
        ("V1", "occipital"),
        ("under_C3", ""),
        ("", ""),
    ],
)
def test_lobes(label: str, lobe: str) -> None:
    assert lobe_of(label) == lobe


@torch.no_grad()
def test_tesla_and_femtotesla_give_equal_tokens(tmp_path: Any) -> None:
    """The same magnetometers in two files, one in each unit, each labelled."""
    from scipy.io import savemat

    from brainfm.data.readers.matlab_epochs import MatlabEpochs

    data = 3e-13 * np.random.default_rng(0).normal(size=(6, 4, 256))
    tokens = []
    for unit, scale in (("T", 1.0), ("fT", 1e15), ("pT", 1e12)):
        path = tmp_path / f"{unit}.mat"
        savemat(path, {"x": data * scale, "y": np.array([0, 1] * 3)})
        names = ["M1", "M2", "M3", "M4"]
        reader = MatlabEpochs(
            windows="x",
            axes=["window", "sensor", "time"],
            labels="y",
            sensors=names,
            sfreq=128.0,
            unit=unit,
            kinds=dict.fromkeys(names, "mag"),
        )
        signal = reader.open(path).signal("meg")
        assert set(signal.sensors.unit) == {"T"}
        cut = (signal.load().reshape(4, 6, 256).transpose(1, 0, 2) / 1e-13).astype(np.float32)
        batch = Batch.of("meg", cut, 128.0, [signal.sensors] * 6)
        tokens.append(
            [
                built(part)(batch).tokens.embedding
                for part in (Patch(seconds=0.25, sfreq=128.0), Sources(seconds=0.25, sfreq=128.0))
            ]
        )
    for others in tokens[1:]:
        for one, other in zip(tokens[0], others, strict=True):
            torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-5)


def test_a_tokenizer_refuses_another_instruments_signal() -> None:
    signal = {
        "prepare": [],
        "seconds": 2.0,
        "tokenizer": {"kind": "spike_events", "seconds": 0.1, "sfreq": 100.0},
    }
    sections = {
        "data": {"cards": ["simulated_eeg"]},
        "encoder": {"kind": "transformer"},
        "mask": {"kind": "block"},
    }
    with pytest.raises(
        RecipeError, match=r"eeg can't be read by the tokenizer spike_events, which is for spikes"
    ):
        PretrainRecipe.resolve(
            {
                **sections,
                "objectives": {"masked_patches": {}, "neurodynamics": {}},
                "train": {"steps": 1},
                "signals": {"eeg": signal},
            }
        )
