"""Counting the operations of products, attention on a CPU included, which torch before 2.15 leaves out."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_backward_flop_count, sdpa_flop_count

Shape = tuple[int, ...]


def counter() -> FlopCounterMode:
    """A context in which products are counted; `get_total_flops()` then says how many operations they took."""
    aten = torch.ops.aten
    known = {
        aten._scaled_dot_product_flash_attention_for_cpu: attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,
    }
    missing = {name: formula for name, formula in known.items() if name not in flop_registry}
    return FlopCounterMode(display=False, custom_mapping=missing)


def attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Operations of the two products, from shapes (batch, head, token, size)."""
    return int(sdpa_flop_count(query, key, value))


def attention_backward(out: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Those of the backward pass, which makes the weights once more."""
    return int(sdpa_backward_flop_count(out, query, key, value))
