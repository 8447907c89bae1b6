"""A machine without bf16 is not asked to emulate it, and one run is never of two precisions."""

import platform

import pytest
import torch

from brainfm.precision import has_bf16, settled


def processor(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, tiles: bool = False, machine: str = "x86_64"
) -> None:
    """Pretend to run on it, without an accelerator."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)


def test_what_is_asked_for_is_not_second_guessed() -> None:
    assert (settled("no"), settled("bf16")) == ("no", "bf16")


@pytest.mark.parametrize(("bf16", "tiles", "expected"), [(0, 0, "no"), (1, 0, "bf16"), (0, 1, "bf16")])
def test_a_processor_is_asked_for_its_instructions(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, tiles: bool, expected: str
) -> None:
    processor(monkeypatch, bool(bf16), bool(tiles))
    assert settled("auto") == expected


def test_a_gpu_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, bf16=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for hardware in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, said=hardware: said)
        assert has_bf16() == hardware


def test_the_questions_are_ones_that_torch_knows() -> None:
    """They have no public name, so a release may take them away."""
    assert isinstance(has_bf16(), bool)
