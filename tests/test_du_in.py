"""Du-IN out of shared parts: one token of all contacts, a choice of contacts that no test window enters, its weights counted."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from brainfm.adaptation.full import Full
from brainfm.batch import Batch
from brainfm.codec import Codec
from brainfm.data.recording import Sensors, Signal
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import RecipeError
from brainfm.evaluation import Evaluation
from brainfm.heads.mlp import Mlp
from brainfm.jobs.finetune import Bench, started
from brainfm.layers.listening import ListeningTo
from brainfm.layers.vocabulary import Vocabulary
from brainfm.model import BrainFM
from brainfm.model_config import network_of
from brainfm.narrowed import left_out
from brainfm.panel import Panel
from brainfm.recipe import FinetuneRecipe, TokenizeRecipe
from brainfm.tasks import laid_out
from brainfm.tokenizers.subject_linear import SubjectLinear, SubjectLinearTokenizer
from tests.tiny import drawn

CONTACTS, TIMES = 6, 64


def weights(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def windows(who: str, seed: int, count: int = 3, contacts: int = CONTACTS) -> Batch:
    """Noise under the contacts of one person."""
    place = 0.05 * np.random.default_rng(contacts).normal(size=(contacts, 3))
    sensors = Sensors.of([f"A{row}" for row in range(contacts)], "seeg", "V", place, "exact")
    signal = np.random.default_rng(seed).normal(size=(count, contacts, TIMES)).astype(np.float32)
    return Batch.of("seeg", signal, 128.0, [sensors] * count, places=[who] * count)


def tokenizer(*people: Batch, **settings: Any) -> SubjectLinearTokenizer:
    part = SubjectLinear(seconds=0.125, sfreq=128.0, **{"channels": 4, "embed": "convolution", **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = part.build(8, 0)
        for one in people:
            found.adopt(one)
    return found


# --- one token of all contacts ------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("embed", ["linear", "convolution", "dilated"])
def test_all_contacts_make_one_token_of_each_stretch(channels: int, embed: str) -> None:
    a = windows("d/a", 0)
    tokens = tokenizer(a, channels=channels, embed=embed)(a).tokens
    assert tokens.embedding.shape == (3, 4, 8) and tokens.rows == 1
    torch.testing.assert_close(tokens.time[0], 0.125 * (torch.arange(4) + 0.5))
    assert float(tokens.embedding.std(dim=1).min()) > 1e-3


@torch.no_grad()
def test_the_map_is_a_persons_own_and_what_reads_its_channels_everyones() -> None:
    """People's contacts enter the convolution as weighted sums by their own rows; the same sums give the same tokens."""
    a, b = windows("d/a", 0), windows("d/b", 1, contacts=9)
    part = tokenizer(a, b)
    heard: list[torch.Tensor] = []
    part.embed.register_forward_pre_hook(lambda _, args: heard.append(args[0]))
    for one in (a, b):
        told = part(one).tokens.embedding
        weight = part.vocabulary(one.identity)[0]
        by_hand = torch.einsum("bst,sc->bct", one.signal, weight) * (4 / one.signal.shape[1]) ** 0.5
        torch.testing.assert_close(
            heard[-1], by_hand.unflatten(2, (4, 16)).transpose(1, 2), atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(
            told - 2 * part.bias, part.embed(heard[-1]) - part.bias, atol=1e-5, rtol=1e-4
        )
    same = replace(b, identity=b.identity[:, torch.randperm(9, generator=drawn(0))])
    assert not torch.allclose(part(same).tokens.embedding, told, atol=0.01)


@torch.no_grad()
def test_people_may_share_a_batch_and_contacts_come_in_any_order() -> None:
    a, b = windows("d/a", 0, 1), windows("d/b", 1, 1)
    part = tokenizer(a, b)
    both = replace(
        a,
        **{name: torch.cat([getattr(a, name), getattr(b, name)]) for name in ("signal", "identity", "valid")},
        **{name: getattr(a, name).expand(2, *getattr(a, name).shape[1:]) for name in ("position", "located")},
        **{
            name: getattr(a, name).expand(2, *getattr(a, name).shape[1:])
            for name in ("orientation", "kind", "region", "lobe")
        },
        recording=torch.zeros(2, dtype=torch.int64),
    )
    apart = torch.cat([part(one).tokens.embedding for one in (a, b)])
    torch.testing.assert_close(part(both).tokens.embedding, apart, atol=1e-5, rtol=1e-4)
    turned = a.sensors(torch.tensor([3, 1, 5, 0, 4, 2]))
    torch.testing.assert_close(part(turned).tokens.embedding, apart[:1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_what_is_left_out_is_not_heard_and_stays_so_when_saved() -> None:
    a, b = windows("d/a", 0), windows("d/b", 1)
    part = tokenizer(a, b)
    before = part(b).tokens.embedding
    part.leave_out(a.identity[0, 2:].tolist())
    loud = replace(a, signal=torch.cat([a.signal[:, :2], 100 * a.signal[:, 2:] + 7], dim=1))
    assert torch.equal(part(loud).tokens.embedding, part(a).tokens.embedding)
    alone = a.sensors(torch.tensor([0, 1]))
    torch.testing.assert_close(part(alone).tokens.embedding, part(a).tokens.embedding, atol=1e-5, rtol=1e-4)
    assert torch.equal(part(b).tokens.embedding, before)
    assert set(part.loudness()) == set(a.identity[0, :2].tolist()) | set(b.identity[0].tolist())
    again = tokenizer()
    again.restore(part.known())
    again.load_state_dict(part.state_dict())
    assert torch.equal(again(loud).tokens.embedding, part(a).tokens.embedding)
    assert "left_out" not in tokenizer(a).known()  # what older checkpoints say stays as it was


def test_channels_learn_to_tell_the_contacts_that_are_heard() -> None:
    """By `tells` a map finds the two sources under six contacts; what is left untold is their share of the power by PCA."""
    rng = np.random.default_rng(0)
    sources, mixing = rng.normal(size=(2, 40 * TIMES)), rng.normal(size=(CONTACTS, 2))
    signal = mixing @ sources + 0.3 * rng.normal(size=(CONTACTS, 40 * TIMES))
    a = windows("d/a", 0, 40)
    a = replace(a, signal=torch.from_numpy(signal.reshape(CONTACTS, 40, TIMES).transpose(1, 0, 2)).float())
    part = tokenizer(a, channels=2, tells=True, start=0.02)
    optimizer = torch.optim.Adam(part.parameters(), lr=0.02)
    for _ in range(150):
        loss = part(a).losses["sensors"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    power = np.linalg.svd(signal, compute_uv=False) ** 2
    least = power[2:].sum() / power.sum()
    assert least - 0.02 < float(loss.detach()) < least + 0.05
    held = part(a).targets["seeg"].value
    assert held.shape == (40, 4, 2 * 16) and part.part.held == 32
    assert set(part(a).losses) == {"sensors"} and not tokenizer(a)(a).losses


@torch.no_grad()
def test_sensors_that_a_recipe_leaves_out_by_name_are_not_heard() -> None:
    a = windows("d/a", 0)
    part = tokenizer(a, without=["d/a/A1", "d/b/A2"])
    loud = replace(a, signal=a.signal.clone())
    loud.signal[:, 1] += 50
    assert torch.equal(part(loud).tokens.embedding, part(a).tokens.embedding)
    loud.signal[:, 2] += 50
    assert not torch.equal(part(loud).tokens.embedding, part(a).tokens.embedding)
    assert "left_out" not in part.known()


def test_the_loudest_of_each_person_are_kept() -> None:
    loudness = {1: 0.1, 2: 0.5, 3: 0.2, 11: 9.0, 12: 8.0, 13: 7.0}
    assert ListeningTo(keep=2).quiet(loudness, [[1, 2, 3], [11, 12, 13, 14]]) == {1, 13}


# --- the choice of contacts, inside the training fold -------------------------------------------------------

PLAIN = "network.signals.seeg.prepare=[{kind: robust_scale, scope: window, per: sensor}]"
"""Nothing that reaches from test windows into others."""
CARD = """---
title: words
modality: seeg
licence: none
citation: none
source: brainfm
folder: ""
files: ""
reader: {kind: simulated_words, subjects: 2, words: 2, repeats: 24, sensors: 24, moment: 2.0e-8}
task:
  labels: [river, teacher]
  window: {kind: trials, seconds: 1.25}
  split: WithinSession
  folds: 3
  metric: accuracy
---
Made for a test.
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> FinetuneRecipe:
    path = tmp_path_factory.mktemp("words") / "words.md"
    path.write_text(CARD, encoding="utf-8")
    small = "network.encoder={kind: transformer, depth: 1, width: 32, heads: 1}"
    return FinetuneRecipe.load(
        "du_in", [f"card={path}", PLAIN, small, "sensors={keep: 5}", "train.steps=40", "train.batch=32"]
    )


def laid(task: FinetuneRecipe) -> Evaluation:
    """A block of the first person's session is held out; the rest of it trains."""
    found = laid_out(task, started(task, None))
    return replace(found, folds=[found.folds[1]])


def decoder(task: FinetuneRecipe, evaluation: Evaluation, out: Path) -> tuple[BrainFM, Bench]:
    """The decoder of the one fold."""
    bench = Bench.of(task, Panel.of([started(task, None)], evaluation), out)
    rows = evaluation.folds[0].train
    return bench.train(started(task, None), Full(), rows, 0, out / "fold"), bench


@pytest.fixture(scope="module")
def honest(task: FinetuneRecipe, tmp_path_factory: pytest.TempPathFactory) -> BrainFM:
    return decoder(task, laid(task), tmp_path_factory.mktemp("honest"))[0]


def test_most_of_the_chosen_contacts_hear_words(task: FinetuneRecipe, honest: BrainFM) -> None:
    """The first electrode is aimed at the parcel of words; chance would keep a third of its contacts."""
    quiet = left_out(honest, "seeg")
    recording = laid(task).recordings[0]
    window = Sliding(seconds=1.25)([recording], "seeg", [])
    ids = honest.stream([recording], window, "seeg").batch(np.array([0])).identity[0]
    kept = [row for row, one in enumerate(ids.tolist()) if one not in quiet]
    assert len(kept) == 5
    assert sum(row < 8 for row in kept) >= 4


@pytest.mark.parametrize("changed", ["labels", "signal"])
def test_no_test_window_enters_the_choice(
    task: FinetuneRecipe, honest: BrainFM, tmp_path: Path, changed: str
) -> None:
    """With the test fold's labels turned round, or its signal replaced, the same contacts and weights come out; with those of the
    training fold they do not."""
    evaluation = laid(task)
    test, train = evaluation.folds[0].test, evaluation.folds[0].train

    def again(rows: NDArray[np.int64], out: Path) -> BrainFM:
        other = relabelled(evaluation, rows) if changed == "labels" else replaced(evaluation, rows)
        return decoder(task, other, out)[0]

    same, other = again(test, tmp_path / "test"), again(train, tmp_path / "train")
    assert left_out(same, "seeg") == left_out(honest, "seeg")
    for name, value in honest.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    assert left_out(other, "seeg") != left_out(honest, "seeg")


def relabelled(evaluation: Evaluation, rows: NDArray[np.int64]) -> Evaluation:
    """Labels of these windows, drawn anew."""
    label = evaluation.windows.label.copy()
    label[rows] = np.random.default_rng(0).integers(2, size=len(rows))
    return replace(evaluation, windows=replace(evaluation.windows, label=label))


def replaced(evaluation: Evaluation, rows: NDArray[np.int64]) -> Evaluation:
    """The signal under these windows: noise in its place."""
    rng, recordings = np.random.default_rng(0), list(evaluation.recordings)
    for number, recording in enumerate(recordings):
        signal = recording.signal("seeg")
        data = np.array(signal.load())
        for row in rows[evaluation.windows.recording[rows] == number]:
            first = round(evaluation.windows.start[row] * signal.sfreq)
            span = slice(first, first + round(evaluation.windows.seconds * signal.sfreq))
            data[:, span] = 2e-5 * rng.normal(size=data[:, span].shape)
        changed: Signal = replace(signal, data=data)
        recordings[number] = recording.with_signal("seeg", changed)
    return replace(evaluation, recordings=recordings)


def test_tokenizers_of_single_sensors_are_refused(task: FinetuneRecipe, tmp_path: Path) -> None:
    tokens = "network.signals.seeg.tokenizer={kind: patch, seconds: 0.125, sfreq: 128.0}"
    other = FinetuneRecipe.resolve(task.model_dump(mode="json"), [tokens])
    with pytest.raises(RecipeError, match="the tokenizer patch can't leave sensors out"):
        decoder(other, laid(other), tmp_path)


# --- the published size -------------------------------------------------------------------------------------


def test_weights_beside_the_published() -> None:
    """Counted in the released code: tokenizer 95,024, encoder 3,465,224, head 622,397 (of 4,377,639 with unused parts)."""
    chosen = FinetuneRecipe.load("du_in_published")
    with torch.device("meta"):
        model = BrainFM(network_of(chosen))
        head = chosen.head.build(160, 61, 1, 30)
    assert weights(head) == 622_397
    assert isinstance(chosen.head, Mlp) and chosen.head.hidden == 128
    assert Vocabulary(16).table.shape[1] == 16 and chosen.sensors == ListeningTo(keep=10)
    part = model.tokenizers["seeg"]
    embed, encoder = weights(part.embed), weights(model.encoder.blocks) + weights(model.encoder.norm)
    assert (embed, encoder) == (131_776, 3_447_200)
    assert 1.38 < embed / 95_024 < 1.39 and 0.99 < encoder / 3_465_224 < 1


def test_a_codec_beside_the_published() -> None:
    """Theirs has 5.94 million, with a convolution behind the codes and two maps of a person, where ours are linear and one."""
    chosen = TokenizeRecipe.load("codes_du_in_published")
    with torch.device("meta"):
        codec = Codec(chosen)
    assert codec.sizes == (2048,) and codec.patches.quantizer.tables.shape == (1, 2048, 64)
    assert weights(codec) == 5_837_280 and 0.98 < weights(codec) / 5.94e6 < 0.99


def test_a_copy_of_a_model_keeps_the_choice(honest: BrainFM, tmp_path: Path) -> None:
    copy.deepcopy(honest).save_pretrained(tmp_path)
    assert left_out(BrainFM.from_pretrained(tmp_path), "seeg") == left_out(honest, "seeg")
