"""Which precision a run computes in, where its recipe leaves that to the machine."""

import platform
from typing import Literal

import torch

Precision = Literal["auto", "no", "bf16"]
"""As Accelerate calls them; "auto" is bf16 where the machine has instructions for it."""


def settled(asked: Precision) -> Literal["no", "bf16"]:
    """What is meant here and now."""
    if asked == "auto":
        return "bf16" if has_bf16() else "no"
    return asked


def has_bf16() -> bool:
    """Whether products in bf16 run in hardware. Emulated ones take a hundred times as long as float32 (LOG, 2026-11-29)."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if torch.accelerator.is_available():  # Apple's, where autocast has gaps
        return False
    if platform.machine() in ("x86_64", "AMD64"):  # oneDNN says yes to any AVX-512, which emulates
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())
