"""Blocks that are computed again for the gradient, compiled, or divided into shards: same numbers, less memory."""

import copy
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeRecipe
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from brainfm import shards
from brainfm.average import Average
from brainfm.batch import Batch
from brainfm.blocks import blocks_of, compile_blocks, recompute
from brainfm.chance import Chance
from brainfm.errors import BrainfmError
from brainfm.gather import gather
from brainfm.learner import Learner, learner
from brainfm.run_folder import load_state, shown, state_of, write_state


@pytest.fixture(scope="module")
def made(make_recipe: MakeRecipe) -> tuple[Learner, tuple[Batch, ...]]:
    encoder = {"kind": "transformer", "depth": 3, "width": 32, "heads": 2}
    recipe, streams, _ = gather(make_recipe(encoder=encoder), limit=1)
    return learner(recipe, streams), streams["eeg"].batches(np.arange(4))


def stepped(network: nn.Module, batches: tuple[Batch, ...]) -> tuple[float, dict[str, Tensor], int]:
    """The loss, the gradients by name, and how many bytes were kept for them."""
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    own = {one.data_ptr() for one in network.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        total = network(batches, Chance(0, 1)).total
    total.backward()
    gradients = {name: one.grad for name, one in network.named_parameters() if one.grad is not None}
    return total.item(), gradients, sum(size for at, size in kept.items() if at not in own)


def test_blocks_are_those_of_encoder_and_decoder(made: tuple[Learner, tuple[Batch, ...]]) -> None:
    network, _ = made
    decoder = network.objectives["masked_patches"].decoder.blocks
    assert blocks_of(network) == [*network.model.encoder.blocks, *decoder]


def test_recomputed_blocks_give_the_same_gradients_and_keep_less(
    made: tuple[Learner, tuple[Batch, ...]],
) -> None:
    plain, again = (copy.deepcopy(made[0]) for _ in range(2))
    recompute(again)
    assert list(again.state_dict()) == list(plain.state_dict())
    loss, gradients, bytes_ = stepped(plain, made[1])
    loss_, gradients_, bytes_again = stepped(again, made[1])
    assert loss == loss_
    assert gradients.keys() == gradients_.keys() and len(gradients) > 20
    for name, value in gradients.items():
        assert torch.equal(value, gradients_[name]), name
    assert bytes_again < 0.5 * bytes_


def test_a_compiled_block_gives_the_same_within_rounding(made: tuple[Learner, tuple[Batch, ...]]) -> None:
    """One block, which is slow enough to trace; by torch.compile's automatic differentiation, not its code generator."""
    plain, compiled = (copy.deepcopy(made[0]) for _ in range(2))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    blocks_of(compiled)[0].compile(backend="aot_eager")
    loss, gradients, _ = stepped(plain, made[1])
    loss_, gradients_, _ = stepped(compiled, made[1])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert loss_ == pytest.approx(loss, rel=1e-5)
    for name, value in gradients.items():
        torch.testing.assert_close(gradients_[name], value, rtol=1e-3, atol=1e-6)


def test_each_block_is_compiled_and_keeps_its_name(
    made: tuple[Learner, tuple[Batch, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, compiled = copy.deepcopy(made[0]), []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    names = list(network.state_dict())
    compile_blocks(network)
    assert compiled == blocks_of(network) and list(network.state_dict()) == names


@pytest.fixture
def group() -> Iterator[None]:
    """A group of one process: the shards are whole, the machinery is the same."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_shards_are_of_each_block_and_whole_where_they_are_saved(
    made: tuple[Learner, tuple[Batch, ...]], tmp_path: Path
) -> None:
    network = copy.deepcopy(made[0])
    plain, _, _ = stepped(copy.deepcopy(made[0]), made[1])
    shards.shard(network, torch.device("cpu"), 1)
    assert all(isinstance(block, FSDPModule) for block in blocks_of(network))
    assert all(isinstance(one, DTensor) for one in network.parameters())
    optimizer, average = torch.optim.AdamW(network.parameters(), fused=True), Average(network, 0.9)
    loss, _, _ = stepped(network, made[1])
    assert loss == pytest.approx(plain, rel=1e-6)
    assert shards.clip(network, 1e-3) > 1e-3
    optimizer.step()
    state = state_of(network, optimizer, average)
    assert not any(isinstance(value, DTensor) for value in state.values())
    assert state_of(network, optimizer, average, keep=False) == {}
    folder = tmp_path / "step-00000001"
    folder.mkdir()
    write_state(folder, state)
    whole = copy.deepcopy(made[0])
    other = torch.optim.AdamW(whole.parameters(), fused=True)
    mean = Average(whole, 0.9)
    assert load_state(folder, whole, other, mean) == 1
    again = state_of(whole, other, mean)
    assert again.keys() == state.keys() and len([name for name in state if name.startswith("exp_avg.")]) > 20
    assert all(torch.equal(value, again[name]) for name, value in state.items())
    assert torch.equal(shown(state)["model.encoder.norm.weight"], state["average.model.encoder.norm.weight"])


def test_a_parameter_that_can_not_be_divided_is_named() -> None:
    module = nn.Module()
    module.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(BrainfmError, match="the parameter scale is a single number"):
        shards.shard(module, torch.device("cpu"), 1)
