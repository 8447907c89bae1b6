"""Sensors that belong together: which they are, and means over them."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from brainfm.batch import Batch
from brainfm.errors import DataError
from brainfm.layers.fixed import of_sensors


def without_padding(batch: Batch) -> Batch:
    """The sensors that are there. Raises `DataError` where windows of one batch lack different ones."""
    if not batch.padded:
        return batch
    first = batch.valid[0]
    if not bool((batch.valid == first).all()):
        raise DataError(
            f"{batch.modality}: windows of one batch lack different sensors; they can't be grouped together"
        )
    return batch.sensors(first.nonzero()[:, 0])


@of_sensors(shared=True)
def groups_of(
    label: Int[Tensor, "batch sensor"], where: str
) -> tuple[Int[Tensor, " sensor"], Int[Tensor, " group"]]:
    """The group of each sensor, −1 for label 0, and each group's label, in rising order whatever that of the sensors.

    Windows of a batch share their sensor table, so the first row speaks for all. Raises `DataError` where they do not.
    """
    first = label[0]
    if not bool((label == first).all()):
        raise DataError(f"{where}: windows of one batch have other regions for the same sensors")
    labels = first[first != 0].unique(sorted=True)
    if not len(labels):
        return torch.full_like(first, -1), labels
    group = torch.searchsorted(labels, first).clamp(max=len(labels) - 1)
    return torch.where(first == 0, -1, group), labels


def group_mean(
    values: Float[Tensor, "batch sensor feature"], group: Int[Tensor, " sensor"], count: int
) -> Float[Tensor, "batch group feature"]:
    """The mean over each group; a sensor in group −1 is in none."""
    place = torch.where(group < 0, count, group)  # behind the last group
    total = values.new_zeros(values.shape[0], count + 1, values.shape[2]).index_add(1, place, values)
    members = place.new_zeros(count + 1).index_add(0, place, torch.ones_like(place)).clamp(min=1)
    return total[:, :count] / members[:count].to(values.dtype).unsqueeze(-1)


def first_of(group: Int[Tensor, " sensor"], count: int) -> Int[Tensor, " group"]:
    """The first member of each group. Every sensor must be in one."""
    index = torch.arange(len(group), device=group.device)
    return torch.zeros(count, dtype=index.dtype, device=group.device).scatter_reduce(
        0, group, index, "amin", include_self=False
    )


def group_softmax(
    weight: Float[Tensor, "batch sensor feature"], group: Int[Tensor, " sensor"], count: int
) -> Float[Tensor, "batch sensor feature"]:
    """A softmax over the members of each group. Every sensor must be in one."""
    index = group.view(1, -1, 1).expand_as(weight)
    highest = weight.new_full((weight.shape[0], count, weight.shape[2]), -torch.inf)
    highest = highest.scatter_reduce(1, index, weight.detach(), "amax")
    raised = (weight - highest[:, group]).exp()
    total = torch.zeros_like(highest).index_add(1, group, raised)
    return raised / total[:, group]


def group_sum(
    values: Float[Tensor, "batch sensor patch width"], group: Int[Tensor, " sensor"], count: int
) -> Float[Tensor, "batch group patch width"]:
    """The sum over each group."""
    total = values.new_zeros(values.shape[0], count, *values.shape[2:])
    return total.index_add(1, group, values)


def places_of(
    batch: Batch, group: Int[Tensor, " sensor"], count: int
) -> tuple[Float[Tensor, "batch group 3"], Bool[Tensor, "batch group"]]:
    """The centre of each group's located sensors, and where there is one."""
    here = batch.located.float().unsqueeze(-1)
    share = group_mean(here, group, count)
    centre = group_mean(batch.position * here, group, count) / share.clamp(min=1e-6)
    return centre, share[..., 0] > 0
