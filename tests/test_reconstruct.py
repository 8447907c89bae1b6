"""From responses to pictures, whole: recipes of stages, the verb, the page, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import brainfm
from brainfm.brains.ridge import RidgeFeatures, out_of_fold, solved
from brainfm.chance import Chance
from brainfm.clusterer import functional_clusters
from brainfm.condition_noise import ConditionNoise
from brainfm.data.cards import DataCard
from brainfm.data.viewers import by_fold, by_shared, people_of
from brainfm.errors import CheckpointError, DataError, RecipeError
from brainfm.images.rgb import rgb
from brainfm.images.warps import Warps
from brainfm.jobs.fit_reconstruction import Fitted, fit
from brainfm.picture_features import Feature, PictureFeatures
from brainfm.recipe_reconstruct import ReconstructRecipe
from brainfm.reconstructor import LearnToSee, Reconstructor, pairs_of
from tests import tiny

CARD = """---
title: A few people look at small pictures
modality: fmri
licence: none needed
citation: brainfm
source: brainfm
access: {kind: open}
folder: ""
files: ""
reader: {kind: simulated_cortex, subjects: 3, sessions: 2, pictures: 240, shared: 16, repeats: 3, pixels: 16, ncsnr: [1, 3]}
---
Made up.
"""
QUICK = {"batch": 16, "learning_rate": 2.0e-3, "precision": "no"}


def linear(card: Path) -> dict[str, object]:
    """Ridge, a sketch and a generator of few steps."""
    return {
        "card": str(card),
        "people": {"known": ["01", "02"]},
        "features": {"shape": {"embedder": {"kind": "principal", "size": 16, "components": 12}}},
        "brain": {"kind": "ridge"},
        "generator": {
            "kind": "tiny",
            "size": 4,
            "codec": {"kind": "patches", "side": 4},
            "channels": [16, 32],
            "attend": "inside",
        },
        "condition": {"vector": "shape", "start": "shape", "start_at": 0.8},
        "sketch": {"size": 16, "hidden": 64},
        "noise": True,
        "stages": [
            {
                "name": "sketch",
                "of": "sketch",
                "train": ["sketch.*"],
                "settings": {**QUICK, "batch": 64, "steps": 300},
            },
            {
                "name": "pictures",
                "of": "pictures",
                "train": ["generator.*"],
                "settings": {**QUICK, "steps": 1000},
            },
        ],
        "sample": {"steps": 5},
    }


def learnt(card: Path) -> dict[str, object]:
    """All kinds of stages, of few steps each."""
    settings = {**QUICK, "steps": 4}
    objectives = {"semantic": {"mse": 1.0}, "low": {"mse": 1.0}}
    return {
        "card": str(card),
        "people": {"new": ["03"], "new_share": 0.5},
        "features": {
            "semantic": {
                "embedder": {"kind": "vit", "size": 16, "patch": 8, "width": 16, "depth": 1},
                "train_steps": 2,
            },
            "low": {"embedder": {"kind": "vgg", "size": 16, "channels": [8, 16]}, "train_steps": 2},
        },
        "brain": {
            "kind": "queries",
            "tokenizer": {
                "kind": "voxel_clusters",
                "clusters": 6,
                "hidden": 16,
                "seconds": 1.0,
                "sfreq": 1.0,
            },
            "width": 16,
            "depth": 1,
            "heads": 2,
        },
        "clusters": {"features": ["semantic"], "embedding": 8, "width": 8, "settings": settings},
        "generator": {
            "kind": "tiny",
            "size": 8,
            "codec": {"kind": "patches", "side": 2},
            "channels": [16, 32],
        },
        "condition": {"tokens": "semantic", "start": "low", "start_at": 0.5},
        "inversion": {"kind": "latents", "steps": 3, "rate": 0.05},
        "stages": [
            {
                "name": "f",
                "of": "features",
                "train": ["brain.*"],
                "objectives": objectives,
                "settings": settings,
            },
            {"name": "p", "of": "pictures", "train": ["generator.*"], "settings": settings},
            {"name": "j", "of": "both", "train": ["brain.*", "generator.*"], "settings": settings},
            {
                "name": "t",
                "of": "features",
                "people": "new",
                "train": ["brain.tokenizer.vocabulary.table"],
                "objectives": objectives,
                "settings": settings,
            },
        ],
        "sample": {"steps": 2},
    }


@pytest.fixture(scope="module")
def card(folder: Path) -> Path:
    path = folder / "viewers.md"
    path.write_text(CARD)
    return path


@pytest.fixture(scope="module")
def fitted(card: Path, folder: Path) -> Fitted:
    return fit(ReconstructRecipe.resolve(linear(card)), folder / "linear", quiet=True)


@pytest.fixture(scope="module")
def staged(card: Path, folder: Path) -> Fitted:
    return fit(ReconstructRecipe.resolve(learnt(card)), folder / "learnt", quiet=True)


def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# ---- who saw what ------------------------------------------------------------------------------------------------


def test_a_card_becomes_people_who_share_pictures(card: Path) -> None:
    people = people_of(DataCard.load(card))
    assert [one.subject for one in people] == ["01", "02", "03"]
    assert all(len(one) == 240 + 3 * 16 for one in people)
    for viewer in by_shared(people, "session_all"):
        assert len(viewer.testing()) == 16 and len(viewer.training()) == 240
        assert not set(viewer.training().shown) & set(viewer.testing().shown)


def test_folds_test_every_picture_once_in_everybody(card: Path) -> None:
    people = people_of(DataCard.load(card))
    folds = [by_fold(people, 4, fold, "none") for fold in range(4)]
    for number, person in enumerate(people):
        tested = [name for fold in folds for name in fold[number].testing().shown]
        assert sorted(tested) == sorted(person.shown)
    with pytest.raises(DataError, match="can't be tested in 1000 folds"):
        by_fold(people, 1000, 0, "none")


# ---- parts -------------------------------------------------------------------------------------------------------


def test_principal_components_are_those_of_the_training_pictures(card: Path) -> None:
    images = rgb(people_of(DataCard.load(card))[0].images(np.arange(60)))
    features = PictureFeatures(
        {"all": Feature.model_validate({"embedder": {"kind": "principal", "size": 16, "components": 59}})}, 0
    )
    features.fit(images, 0)
    told = features(images)["all"]
    torch.testing.assert_close(told.std(dim=0), torch.ones_like(told[0]), atol=0.05, rtol=0.05)
    again = features.embedders["all"].pictures(features.unscaled("all", told))
    torch.testing.assert_close(again, images.clamp(0, 1), atol=2e-3, rtol=0)


def test_ridge_is_linear_as_it_was_fitted(fitted: Fitted, card: Path) -> None:
    model, viewer = fitted.model, fitted.known[0]
    pairs = pairs_of(viewer.training(), model.features)
    brain = RidgeFeatures(model.features.shapes)
    brain.solve([pairs])
    expected = solved(pairs, "shape", np.arange(len(pairs.seen))).predict(viewer.testing().response)
    told = brain.predict(viewer.testing())["shape"].flatten(1).numpy()
    np.testing.assert_allclose(told, expected, atol=2e-4)
    stranger = by_shared(people_of(DataCard.load(card)), "session_all")[2].testing()
    with pytest.raises(DataError, match="has no map of its own"):
        brain.predict(stranger)


def test_what_is_told_out_of_fold_is_fitted_without_its_picture(fitted: Fitted) -> None:
    """By its definition: a picture's trials are told by a map of the trials of other folds."""
    pairs = pairs_of(fitted.known[0].training(), fitted.model.features)
    told = out_of_fold(pairs, "shape", folds=4).flatten(1).numpy()
    held = np.isin(pairs.seen.picture, np.array_split(np.unique(pairs.seen.picture), 4)[2])
    apart = solved(pairs, "shape", np.flatnonzero(~held)).predict(pairs.seen.response[held])
    np.testing.assert_allclose(told[held], apart, atol=1e-4)
    whole = solved(pairs, "shape", np.arange(len(held))).predict(pairs.seen.response[held])
    assert np.abs(whole - apart).max() > 0.05


def test_the_generator_hears_what_a_brain_would_tell(fitted: Fitted) -> None:
    model = fitted.model
    images = rgb(fitted.known[0].testing().images())
    true = model.features(images)["shape"]
    told = model.as_told(images, Chance(0, 1))["shape"]
    torch.testing.assert_close(told, model.noise["shape"](true, Chance(0, 1).shared))
    assert not torch.allclose(told, true, atol=0.1)


def test_pictures_are_warped_anew_in_every_step(fitted: Fitted) -> None:
    recipe = fitted.model.recipe
    pairs = [pairs_of(fitted.known[0].training(), fitted.model.features)]
    before = fitted.model.recipe
    try:
        plain = LearnToSee(fitted.model, recipe.stages[0], pairs, 0).item(0, 0, 1).content[0]
        fitted.model.recipe = recipe.model_copy(update={"warps": Warps()})
        task = LearnToSee(fitted.model, recipe.stages[0], pairs, 0)
        one, again = (task.item(0, 0, 1).content[0] for _ in range(2))
        later = task.item(task.plan.steps, 0, 1).content[0]  # of the next pass
    finally:
        fitted.model.recipe = before
    assert torch.equal(one, again) and one.shape == plain.shape == later.shape
    assert not torch.allclose(one, plain, atol=0.05) and not torch.allclose(one, later, atol=0.05)


def test_a_start_may_be_anothers(fitted: Fitted) -> None:
    """What the control of a swapped condition asks for: the start of one response, the condition of another."""
    model = fitted.model
    told = model.told(fitted.known[0].testing())
    other = {name: one.flip(0) for name, one in told.items()}
    given = model.conditioning(other, first=told)
    assert given.start is not None and given.vector is not None
    torch.testing.assert_close(given.start, model.started(told))
    torch.testing.assert_close(given.vector, other["shape"].flatten(1))


def test_several_draws_are_averaged(fitted: Fitted) -> None:
    model, before = fitted.model, fitted.model.recipe
    told = model.told(fitted.known[0].testing(), np.arange(3))
    try:
        model.recipe = before.model_copy(update={"sample": before.sample.model_copy(update={"draws": 2})})
        both = model.from_features(told, drawn())
    finally:
        model.recipe = before
    generator = drawn()
    apart = [model.from_features(told, generator) for _ in range(2)]
    torch.testing.assert_close(both, (apart[0] + apart[1]) / 2)
    assert not torch.equal(*apart)


def test_clusters_are_those_of_the_encoder(staged: Fitted) -> None:
    """Of known people by the mixture over what voxels see; places play no part."""
    tokenizer = staged.model.brain.tokenizer
    assert tokenizer.feature.shape[1] == 8  # the encoder's embedding, not three coordinates
    known = sum(len(one.seen.voxels) for one in staged.known)
    found = functional_clusters(tokenizer.feature[:known].double().numpy(), 6, staged.model.recipe.seed).label
    assert (tokenizer.cluster[:known].numpy() == found).mean() > 0.98  # kept to five digits


def test_errors_are_measured_as_they_were_made() -> None:
    true = torch.randn(4000, 1, 3, generator=drawn())
    slope = torch.tensor([[0.5, 0.1, 0.0], [0.0, 0.7, 0.0], [0.2, 0.0, 0.3]])
    root = torch.tensor([[0.3, 0.0, 0.0], [0.2, 0.4, 0.0], [0.0, -0.1, 0.2]])
    told = true @ slope + torch.randn(true.shape, generator=drawn().manual_seed(1)) @ root.T
    noise = ConditionNoise.measured(true, told, "x")
    torch.testing.assert_close(noise.map, slope, atol=0.03, rtol=0)
    torch.testing.assert_close(noise.root @ noise.root.T, root @ root.T, atol=0.02, rtol=0)
    passed = noise(true, drawn().manual_seed(2))
    torch.testing.assert_close(torch.cov(passed[:, 0].T), torch.cov(told[:, 0].T), atol=0.03, rtol=0)
    with pytest.raises(DataError, match="whose errors 5 trials can't tell"):
        ConditionNoise.measured(true[:5], told[:5], "x")


def test_warps_leave_a_picture_alone_where_nothing_is_drawn() -> None:
    images = torch.rand(3, 3, 16, 16, generator=drawn())
    none = Warps(turn=0, scale=0, shear=0, shift=0, bend=0)
    torch.testing.assert_close(none(images, drawn()), images, atol=1e-5, rtol=0)
    one, two = (Warps()(images, drawn()) for _ in range(2))
    assert torch.equal(one, two) and not torch.allclose(one, images, atol=0.05)
    assert float(one.min()) >= 0 and float(one.max()) <= 1


# ---- fitting -----------------------------------------------------------------------------------------------------


def test_pictures_follow_the_brain(fitted: Fitted, card: Path, folder: Path) -> None:
    """The trained reconstruction is told from one of shuffled trials; a generator that was given a constant is exposed."""
    found = brainfm.reconstruct(folder / "linear", out=folder / "seen", quiet=True)
    for person in found.people:
        own = person.scored.scores["two-way of pixels"].score
        assert own is not None and own > 0.75
        shuffled = person.verdict.controls["shuffled trials"].scored.scores["two-way of pixels"].score
        assert shuffled is not None and abs(shuffled - 0.5) < 0.2
        assert person.ceiling is not None and 75 < person.ceiling < 97  # ncsnr from 1 to 3, three trials
        assert person.scored.scores["CLIP"].score is None and "weights" in person.scored.scores["CLIP"].reason
    page = found.report.read_text()
    assert "Person 01" in page and "shuffled trials" in page and "<svg" in page
    assert (found.report.parent / "pictures-01.png").stat().st_size > 1000


def test_a_generator_that_ignores_the_brain_is_exposed(fitted: Fitted, folder: Path) -> None:
    blind = Reconstructor.load(fitted.checkpoint)
    for value in (*blind.brain.slope.values(),):
        value.data.zero_()
    target = folder / "blind"
    target.mkdir()
    blind.save(target)
    verdict = brainfm.reconstruct(target, out=folder / "blind-seen", quiet=True).people[0].verdict
    assert not verdict.ok and "ignores the brain" in str(verdict)


def test_what_is_saved_is_what_was_fitted(fitted: Fitted, staged: Fitted) -> None:
    for one in (fitted, staged):
        again = Reconstructor.load(one.checkpoint)
        test = one.known[0].testing()
        rows = np.arange(6)
        assert torch.equal(again.reconstruct(test, rows, drawn()), one.model.reconstruct(test, rows, drawn()))


def test_a_damaged_reconstructor_is_refused(fitted: Fitted, folder: Path) -> None:
    import shutil

    broken = folder / "broken"
    shutil.copytree(fitted.checkpoint, broken)
    config = json.loads((broken / "reconstructor.json").read_text())
    config["solved"] = {}
    (broken / "reconstructor.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError):
        Reconstructor.load(broken)
    (broken / "reconstructor.json").unlink()
    with pytest.raises(CheckpointError, match="no reconstructor that can be loaded"):
        Reconstructor.load(broken)


def test_a_new_person_changes_nobody_else(staged: Fitted, card: Path, folder: Path) -> None:
    """The last stage trains rows of voxels alone: what others' responses are told is the same to the bit."""
    without = learnt(card)
    without["stages"] = without["stages"][:-1]  # type: ignore[index]
    before = fit(ReconstructRecipe.resolve(without), folder / "before", quiet=True).model
    test = staged.known[0].testing()
    for name, told in staged.model.told(test).items():
        assert torch.equal(told, before.told(test)[name])
    new = staged.new[0].testing()
    assert len(staged.model.told(new)["semantic"]) == 16


def test_a_fit_that_is_started_again_goes_on(card: Path, folder: Path, staged: Fitted) -> None:
    again = fit(ReconstructRecipe.resolve(learnt(card)), folder / "learnt", quiet=True)
    test = again.known[0].testing()
    for name, told in again.model.told(test).items():
        assert torch.equal(told, staged.model.told(test)[name])


def test_test_pictures_that_trained_are_refused(fitted: Fitted, folder: Path) -> None:
    leaked = Reconstructor.load(fitted.checkpoint)
    leaked.trained_on = [*leaked.trained_on, fitted.known[0].testing().shown[0]]
    target = folder / "leaked"
    target.mkdir()
    leaked.save(target)
    with pytest.raises(DataError, match="1 of the test pictures were trained on"):
        brainfm.reconstruct(target, out=folder / "none", quiet=True)
    assert not (folder / "none").exists()


# ---- recipes and verbs -------------------------------------------------------------------------------------------


def test_mistakes_in_a_recipe_are_one_sentence(card: Path, tmp_path: Path) -> None:
    for change, said in {
        "condition.vector=shap": "no feature is called 'shap'",
        "people.new=['09']": "has no subject '09'",
        "test.fold=10": "fold 10 of 10",
        "features.shape.embedder.components=250": "whose errors",
    }.items():
        with pytest.raises((RecipeError, DataError), match=said):
            fit(ReconstructRecipe.resolve(linear(card), [change]), tmp_path / "run", quiet=True)


def test_the_verbs(card: Path, tmp_path: Path) -> None:
    from brainfm.recipe_yaml import to_yaml

    recipe = tmp_path / "finetune" / "seen.yaml"
    recipe.parent.mkdir()
    recipe.write_text(to_yaml(linear(card)))
    run = tmp_path / "run"
    assert tiny.brainfm("show", str(recipe)).code == 0
    assert '"generator"' in tiny.brainfm("show", str(recipe), "--cost", "--json").out
    assert "leave --from out" in tiny.brainfm("finetune", str(recipe), "--from", "x", "--out", str(run)).err
    fitted = tiny.brainfm("finetune", str(recipe), "--out", str(run), "--json")
    assert fitted.code == 0 and json.loads(fitted.out)["people"] == ["01", "02"]
    seen = tiny.brainfm("reconstruct", str(run), "--out", str(tmp_path / "seen"), "--pictures", "8", "--json")
    assert seen.code == 0
    numbers = json.loads(seen.out)
    assert {"out", "metrics", "controls", "ceiling", "verdict", "people"} <= numbers.keys()
    assert numbers["metrics"]["SSIM"]["low"] <= numbers["metrics"]["SSIM"]["score"]
    assert numbers["people"][0]["n_test"] == 8
    missing = tiny.brainfm("reconstruct", str(tmp_path / "nothing"))
    assert missing.code != 0 and "holds no reconstructor" in missing.err


def test_published_sizes_are_counted_without_being_made() -> None:
    from brainfm.jobs.cost_of_pictures import cost_of_pictures

    cost = cost_of_pictures(ReconstructRecipe.load("brain_it", ["size=published"]))
    assert cost.features == {"semantic": (256, 1664), "low": (7190, 512)}
    assert cost.latents == (4, 32, 32)
    assert 2.4e9 < cost.parameters["generator"] < 2.7e9


def test_a_new_persons_first_session_is_what_trains(card: Path) -> None:
    one = by_shared(people_of(DataCard.load(card)), "session_all")[0]
    first = one.training(average=False, sessions=1)
    assert set(first.session) == {0} and 0 < len(first) < len(one.train)
    assert len(one.training(average=False, share=0.5, sessions=1)) == round(len(first) / 2)
    assert not set(first.shown) & set(one.testing().shown)
