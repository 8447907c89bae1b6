"""From brains to features of pictures: queries, losses, trials as batches, clusters of voxels, and stages that train parts."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from brainfm.brain_features import BrainFeatures, BrainToFeatures, PredictFeatures
from brainfm.chance import Chance
from brainfm.clusterer import (
    RESPONSE,
    EncodeVoxels,
    VoxelEncoder,
    VoxelEncoderNetwork,
    functional_clusters,
    key_of,
)
from brainfm.data.picture_splits import by_pictures
from brainfm.data.seen import Seen
from brainfm.data.visual_cortex import VisualCortex, energies
from brainfm.errors import CheckpointError, DataError, RecipeError
from brainfm.feature_losses import cosine, info_nce, mse
from brainfm.layers.queries import LatentQueries
from brainfm.part import explain
from brainfm.recipe import Training
from brainfm.stages import Stage, run_stage
from brainfm.trials import Pairs, TrialPlan, batch_of, identities
from tests.tiny import drawn, rows

TARGETS = {"semantic": (3, 8), "low": (4, 3)}
ROWS = "tokenizer.vocabulary.table"


@pytest.fixture(scope="module")
def cortex() -> VisualCortex:
    return VisualCortex.simulate(0, subjects=3, pictures=240, shared=40, voxels=(60, 90), sessions=2)


@pytest.fixture(scope="module")
def people(cortex: VisualCortex) -> list[Seen]:
    """Training trials of three people."""
    done = [one.standardised("session_all") for one in cortex.people]
    return [one.rows(by_pictures(one, cortex.shared).train) for one in done]


@pytest.fixture(scope="module")
def features(cortex: VisualCortex) -> dict[str, Tensor]:
    """Of every picture: what it shows and where, turned by a fixed map; its colours in four quarters."""
    scenes = cortex.scenes
    told = np.concatenate([scenes.attributes() - 1 / 6, scenes.place, scenes.size[:, None]], axis=1)
    turn = torch.randn(told.shape[1], 24, generator=drawn(1)) / 2
    low = F.adaptive_avg_pool2d(torch.from_numpy(np.asarray(cortex.people[0].pictures)), 2)
    low = (low - low.mean(dim=0)) / low.std(dim=0)
    return {
        "semantic": (torch.from_numpy(told).float() @ turn).unflatten(1, (3, 8)),
        "low": low.flatten(2).transpose(1, 2).contiguous(),
    }


def recipe(tokenizer: dict[str, Any] | None = None, **more: Any) -> BrainToFeatures:
    chosen = tokenizer or {"kind": "voxel_clusters", "clusters": 12, "hidden": 16}
    shapes = {name: {"tokens": count, "width": width} for name, (count, width) in TARGETS.items()}
    settings = {
        "tokenizer": {"seconds": 1.0, "sfreq": 1.0, **chosen},
        "targets": shapes,
        "width": 32,
        "depth": 1,
    }
    return BrainToFeatures.model_validate({**settings, **more})


def stage(name: str, train: list[str], steps: int = 6, rate: float = 3e-3, **more: Any) -> Stage:
    training = Training(steps=steps, batch=32, learning_rate=rate, precision="no", save_every=3)
    asked = {"semantic": {"mse": 1.0}, "low": {"info_nce": 0.1}}
    return Stage.model_validate(
        {"name": name, "train": train, "objectives": asked, "settings": training, **more}
    )


def fit(
    one: Stage, model: BrainFeatures, people: list[Seen], features: dict[str, Tensor], out: Path
) -> BrainFeatures:
    pairs = [Pairs(seen, features) for seen in people]
    task = PredictFeatures(model, pairs, one.objectives, one.settings.batch, 0)
    run_stage(one, task, 0, out, {"data": str([len(seen) for seen in people])})
    return model


# --- trials as batches --------------------------------------------------------------------------------------


def test_a_pass_has_every_trial_once_and_each_step_one_person() -> None:
    plan = TrialPlan((70, 30, 9), 10, seed=3)
    assert plan.steps == 7 + 3 + 1
    met: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for step in range(plan.steps):
        person, trials = plan.rows(step)
        met[person] += trials.tolist()
    assert [sorted(met[person]) for person in met] == [list(range(70)), list(range(30)), list(range(9))]
    assert [plan.rows(step)[0] for step in range(11)] != [plan.rows(step)[0] for step in range(11, 22)]
    pieces = [plan.piece(4, part, 3) for part in range(3)]
    np.testing.assert_array_equal(np.concatenate([one[1] for one in pieces]), plan.rows(4)[1])
    assert [one[2:] for one in pieces] == [(0, 4, 10), (4, 3, 10), (7, 3, 10)]
    assert TrialPlan((1,), 4, 0).piece(0, 1, 2)[1:] == (np.array([0]), 1, 0, 1)


def test_a_trial_is_a_window_of_one_sample(people: list[Seen]) -> None:
    batch = batch_of(people[0], [3, 5])
    assert batch.signal.shape == (2, len(people[0].voxels), 1) and batch.located.all()
    np.testing.assert_array_equal(batch.signal[1, :, 0], people[0].response[5])
    assert not set(identities(people[0])) & set(identities(people[1]))  # whose voxels they are is part of it
    with pytest.raises(DataError, match="do not fit"):
        Pairs(people[0], {"low": torch.zeros(3, 1, 1)})


# --- losses -------------------------------------------------------------------------------------------------


def test_losses_by_their_definitions() -> None:
    told, true = torch.randn(4, 3, 5, generator=drawn(0)), torch.randn(4, 3, 5, generator=drawn(1))
    assert torch.allclose(mse(told, true), ((told - true) ** 2).mean())
    each = [
        torch.dot(a, b) / a.norm() / b.norm() for a, b in zip(told.flatten(1), true.flatten(1), strict=True)
    ]
    assert torch.allclose(cosine(told, true), 1 - torch.stack(each).mean())
    a, b = told.reshape(12, 5), true.reshape(12, 5)
    right = torch.tensor(0.0)
    for row in range(12):
        right = right - (a[row] @ b[row] - torch.stack([a[row] @ other for other in b]).logsumexp(0))
        right = right - (a[row] @ b[row] - torch.stack([other @ b[row] for other in a]).logsumexp(0))
    assert torch.allclose(info_nce(told, true), right / 24, atol=1e-5)
    assert info_nce(3 * true, true) < info_nce(
        3 * true[:, [1, 2, 0]], true
    )  # a token is told from its neighbours
    long = torch.randn(2, 600, 4, generator=drawn(2))
    assert torch.equal(info_nce(long, long, drawn(5)), info_nce(long, long, drawn(5)))
    assert float(info_nce(long, long, drawn(5))) < float(info_nce(long, long.flip(1), drawn(5)))


# --- the network --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(people: list[Seen]) -> BrainFeatures:
    found = recipe().build(0)
    found.adopt(people[:2], 0)
    return found.eval()


def test_shapes_and_gradients(model: BrainFeatures, people: list[Seen]) -> None:
    model = copy.deepcopy(model)
    told = model(batch_of(people[1], range(5)))
    assert {name: tuple(one.shape) for name, one in told.items()} == {"semantic": (5, 3, 8), "low": (5, 4, 3)}
    sum(one.square().sum() for one in told.values()).backward()
    missed = [name for name, one in model.named_parameters() if one.grad is None or not one.grad.abs().sum()]
    assert not missed
    assert list(model(batch_of(people[0], [0]), names=["low"])) == ["low"]


@torch.no_grad()
def test_the_order_of_voxels_changes_nothing(model: BrainFeatures, people: list[Seen]) -> None:
    one = people[0]
    order = np.random.default_rng(0).permutation(len(one.voxels))
    mixed = replace(one, response=one.response[:, order], voxels=one.voxels.take(order.tolist()))
    a, b = model.predict(one, np.arange(6)), model.predict(mixed, np.arange(6))
    for name in TARGETS:
        torch.testing.assert_close(a[name], b[name], atol=1e-5, rtol=1e-4)
    wrong = replace(one, response=one.response[:, order])  # the values without their voxels
    assert not torch.allclose(model.predict(wrong, np.arange(6))["low"], a["low"], atol=1e-3)


@torch.no_grad()
def test_an_empty_cluster_is_finite(people: list[Seen]) -> None:
    model = recipe().build(0)
    ids = identities(people[0])
    feature = np.random.default_rng(0).normal(size=(len(ids), 5))
    model.tokenizer.join(ids, feature, np.where(np.arange(len(ids)) % 2, 3, 7))  # ten of twelve are empty
    told = model.predict(people[0], np.arange(3))
    assert all(torch.isfinite(one).all() for one in told.values())
    tokens = model.tokenizer(batch_of(people[0], range(3))).tokens.embedding
    assert torch.equal(tokens[0, 0], tokens[1, 0]) and not torch.equal(tokens[0, 3], tokens[1, 3])


def test_clusters_are_given_once_and_must_fit(people: list[Seen]) -> None:
    model = recipe().build(0)
    ids, feature = identities(people[0]), np.ones((len(people[0].voxels), 2))
    with pytest.raises(DataError, match="a cluster below 12"):
        model.tokenizer.join(ids, feature, np.full(len(ids), 12))
    model.tokenizer.join(ids, feature, np.full(len(ids), 11))
    with pytest.raises(DataError, match="first voxels alone"):
        model.tokenizer.join(identities(people[1]), feature, np.full(len(ids), 1))


def test_training_draws_voxels_and_telling_takes_all(people: list[Seen]) -> None:
    model = recipe(voxels=20).build(0)
    model.adopt(people[:1], 0)
    batch = batch_of(people[0], range(4))
    heard: list[int] = []
    model.tokenizer.register_forward_pre_hook(lambda _, args: heard.append(args[0].signal.shape[1]))
    a, b, c = model(batch, drawn(0)), model(batch, drawn(1)), model(batch, drawn(0))
    model(batch)
    assert heard == [20, 20, 20, len(people[0].voxels)]
    assert torch.equal(a["low"], c["low"]) and not torch.allclose(a["low"], b["low"])


@pytest.mark.parametrize("name", list(TARGETS))
def test_queries_need_their_attention_to_the_brain(
    model: BrainFeatures, people: list[Seen], name: str
) -> None:
    """With the values of its cross blocks silenced a reader tells every trial the same."""
    model = copy.deepcopy(model)
    reader = model.readers[name]
    assert isinstance(reader, LatentQueries)
    told = model.predict(people[0], np.arange(4))
    assert told[name].std(dim=0).mean() > 1e-3
    with torch.no_grad():
        for block in (reader.first, *reader.cross):
            block.kv.weight[32:] = 0
    assert model.predict(people[0], np.arange(4))[name].std(dim=0).max() < 1e-5


def test_saved_and_loaded_tells_the_same(model: BrainFeatures, people: list[Seen], tmp_path: Path) -> None:
    model.save(tmp_path)
    again = BrainFeatures.load(tmp_path)
    for name, one in model.predict(people[1]).items():
        assert torch.equal(again.predict(people[1])[name], one)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "brainfm"}))
    with pytest.raises(CheckpointError, match="no network from brains"):
        BrainFeatures.load(tmp_path)


# --- stages -------------------------------------------------------------------------------------------------


def test_what_is_not_named_stays_to_the_bit(
    model: BrainFeatures, people: list[Seen], features: dict[str, Tensor], tmp_path: Path
) -> None:
    """A new person's embeddings train; all else, and other people's rows of the same table, stay, and so what they tell."""
    model = copy.deepcopy(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    told = model.predict(people[0])
    model.adopt(people[2:], 0)
    known = len(before[ROWS])
    fit(stage("transfer", [ROWS], rate=1e-2), model, people[2:], features, tmp_path)
    after = model.state_dict()
    assert all(
        torch.equal(after[name][: len(value)] if value.ndim else after[name], value)
        for name, value in before.items()
    )
    fresh = model.tokenizer.vocabulary.table[known:].detach().clone()
    assert all(torch.equal(model.predict(people[0])[name], one) for name, one in told.items())
    fit(stage("more", [ROWS], rate=1e-2), model, people[2:], features, tmp_path)
    assert (model.tokenizer.vocabulary.table[known:] - fresh).abs().max() > 1e-3
    decayed = stage("decayed", [ROWS], rate=1e-2, undecayed=[])
    fit(decayed, model, people[2:], features, tmp_path)  # the test sees what it is there for
    assert not torch.equal(model.state_dict()[ROWS][:known], before[ROWS])


def test_globs_say_what_trains(
    model: BrainFeatures, people: list[Seen], features: dict[str, Tensor], tmp_path: Path
) -> None:
    model = copy.deepcopy(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(stage("low", ["readers.low.*", "tokenizer.norm.*"]), model, people[:2], features, tmp_path)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith(("readers.low.", "tokenizer.norm."))}
    assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(
        RecipeError, match=r"no parameter is called 'reader\.\*'; they begin with readers, tokenizer"
    ):
        stage("x", ["reader.*"]).rates(model)


def test_a_killed_stage_goes_on_with_the_same_losses(
    model: BrainFeatures, people: list[Seen], features: dict[str, Tensor], tmp_path: Path, monkeypatch: Any
) -> None:
    one = stage("semantic", ["*"], steps=9)
    whole = fit(one, copy.deepcopy(model), people[:2], features, tmp_path / "whole")

    class Killed(Exception):
        pass

    real = PredictFeatures.loss

    def dying(self: PredictFeatures, module: nn.Module, content: Any, chance: Chance) -> Any:
        if chance.seed[1] == 5:
            raise Killed
        return real(self, module, content, chance)

    with monkeypatch.context() as patched:
        patched.setattr(PredictFeatures, "loss", dying)
        with pytest.raises(Killed):
            fit(one, copy.deepcopy(model), people[:2], features, tmp_path / "cut")
    assert len(rows(tmp_path / "cut" / "semantic")) == 5
    again = fit(one, copy.deepcopy(model), people[:2], features, tmp_path / "cut")
    losses = [[row["loss"] for row in rows(tmp_path / name / "semantic")] for name in ("whole", "cut")]
    assert losses[0] == losses[1] and len(losses[0]) == 9
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    with pytest.raises(CheckpointError, match="another data"):
        fit(one, copy.deepcopy(model), people[:1], features, tmp_path / "cut")


def test_what_a_stage_can_not_be_is_one_sentence(people: list[Seen], features: dict[str, Tensor]) -> None:
    with pytest.raises(ValidationError) as caught:
        stage("a", ["*"], freeze=["x"])
    assert "'freeze' is not known" in str(explain(caught.value, "stages"))
    model = recipe().build(0)
    pairs = [Pairs(people[0], features)]
    with pytest.raises(RecipeError, match="no feature is called 'colour'"):
        PredictFeatures(model, pairs, {"colour": {"mse": 1.0}}, 8, 0)
    with pytest.raises(RecipeError, match=r"should be \(4, 3\), it is none"):
        PredictFeatures(model, [Pairs(people[0], {})], {"low": {"mse": 1.0}}, 8, 0)


# --- clusters -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def maps(cortex: VisualCortex) -> dict[str, Tensor]:
    """Features for the encoder: energies of the picture at 4 × 4 places, and what it shows."""
    found = torch.from_numpy(energies(np.asarray(cortex.people[0].pictures))).float()
    found = F.adaptive_avg_pool2d(found, 8).flatten(2).transpose(1, 2)
    found = (found - found.mean(dim=(0, 1))) / found.std(dim=(0, 1))
    told = torch.from_numpy(cortex.scenes.attributes()).float().unsqueeze(1)
    return {"energy": found, "what": 3 * told}


@pytest.fixture(scope="module")
def encoder(
    people: list[Seen], maps: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> VoxelEncoderNetwork:
    """Trained on two people, then the embeddings of a third on a quarter of the trials."""
    out = tmp_path_factory.mktemp("encoder")
    part = VoxelEncoder(levels={"energy": (64, 7), "what": (1, 12)}, embedding=16, width=16)
    network = part.build(0)
    asked: dict[str, Any] = {RESPONSE: {"mse": 1.0, "cosine": 0.1}}
    for name, train, whose, steps in (
        ("encoder", ["*"], people[:2], 200),
        ("new", ["embedding.*03"], [people[2].rows(np.arange(60))], 60),
    ):
        task = EncodeVoxels(network, [Pairs(one, maps) for one in whose], asked, 48, 0)
        one = stage(name, train, steps=steps, rate=1e-2, objectives=asked)
        before = {key: value.clone() for key, value in network.state_dict().items()}
        run_stage(one, task, 0, out, {})
    new = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert new == {f"embedding.{key_of(people[2])}"}  # the rest is frozen
    return network


def test_an_encoder_tells_responses_to_new_pictures(
    encoder: VoxelEncoderNetwork, cortex: VisualCortex, people: list[Seen], maps: dict[str, Tensor]
) -> None:
    for number, least in ((0, 0.5), (1, 0.5), (2, 0.3)):
        with torch.no_grad():
            told = encoder(key_of(people[number]), {name: one[:40] for name, one in maps.items()}).numpy()
        true = cortex.truth[number].signal[:40]
        found = [np.corrcoef(told[:, voxel], true[:, voxel])[0, 1] for voxel in range(true.shape[1])]
        assert np.median(found) > least, number


def test_voxels_that_see_alike_are_clustered_and_found_in_a_new_person(
    encoder: VoxelEncoderNetwork, cortex: VisualCortex, people: list[Seen]
) -> None:
    known = np.concatenate([encoder.embeddings(one) for one in people[:2]])
    cluster = np.concatenate([truth.cluster for truth in cortex.truth[:2]])
    found = functional_clusters(known, 12, seed=0)
    assert "diagonal" in found.how and set(found.label) <= set(range(12))

    def alike(label: np.ndarray) -> float:
        """Of two voxels in one cluster, how often they are of one true kind."""
        together = label[:, None] == label[None]
        np.fill_diagonal(together, False)
        return float((cluster[:, None] == cluster[None])[together].mean())

    assert alike(found.label) > 2.5 * alike(np.random.default_rng(0).permutation(found.label))
    nearest = (encoder.embeddings(people[2]) @ known.T).argmax(axis=1)
    signal = np.concatenate([truth.signal[:40].T for truth in cortex.truth[:2]])
    own = cortex.truth[2].signal[:40].T
    by_function = [np.corrcoef(a, b)[0, 1] for a, b in zip(own, signal[nearest], strict=True)]
    by_chance = [
        np.corrcoef(a, b)[0, 1]
        for a, b in zip(
            own, signal[np.random.default_rng(0).permutation(len(signal))][: len(own)], strict=True
        )
    ]
    assert np.mean(by_function) > 0.3 and abs(np.mean(by_chance)) < 0.15


def test_how_clusters_were_found_is_said() -> None:
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(3, 4)) * 5
    known = np.repeat([0, 1, 2], 60)
    found = functional_clusters(centre[known] + 0.1 * rng.normal(size=(180, 4)), 3, seed=0)
    assert (
        "full covariances" in found.how
        and len({tuple(set(found.label[known == one])) for one in range(3)}) == 3
    )
    wide = functional_clusters(rng.normal(size=(90, 80)), 4, seed=0)
    assert "diagonal covariances of 64 principal components" in wide.how
    with pytest.raises(DataError, match="2 voxels can't be put into 3"):
        functional_clusters(np.ones((2, 4)), 3, 0)


# --- a new person -------------------------------------------------------------------------------------------


def test_a_new_person_begins_where_others_are(
    people: list[Seen],
    features: dict[str, Tensor],
    cortex: VisualCortex,
    encoder: VoxelEncoderNetwork,
    tmp_path: Path,
) -> None:
    """With shared clusters and the embeddings of nearest voxels, what is told is right before anything trains; not by chance."""
    model = recipe().build(0)
    known = np.concatenate([encoder.embeddings(one) for one in people[:2]])
    ids = [one for seen in people[:2] for one in identities(seen)]
    model.tokenizer.join(ids, known, functional_clusters(known, 12, 0).label)
    asked = {"semantic": {"mse": 1.0}}
    fit(stage("features", ["*"], steps=200, objectives=asked), model, people[:2], features, tmp_path)
    one = cortex.people[2].standardised("session_all")
    test = one.rows(by_pictures(one, cortex.shared).test).averaged()
    true = features["semantic"][torch.from_numpy(test.picture)].flatten(1)

    def told(network: BrainFeatures) -> float:
        found = network.predict(test, names=["semantic"])["semantic"].flatten(1)
        return float(F.cosine_similarity(found - found.mean(0), true - true.mean(0)).mean())

    joined, by_chance = copy.deepcopy(model), copy.deepcopy(model)
    joined.tokenizer.join(identities(one), encoder.embeddings(one))
    mixed = np.random.default_rng(0).permutation(known)[: len(one.voxels)]
    by_chance.tokenizer.join(identities(one), mixed)
    assert told(joined) > 0.15 and told(joined) > told(by_chance) + 0.1
