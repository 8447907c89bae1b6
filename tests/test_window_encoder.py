"""The encoder under other people's signature: what it does to a window is what our own preparation does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from brainfm.data.preprocess import prepare
from brainfm.data.preprocess.robust_scale import RobustScale
from brainfm.data.recording import Recording
from brainfm.errors import DataError
from brainfm.model import BrainFM
from brainfm.window_encoder import WindowEncoder

WINDOW = {"sfreq": 160.0, "n_times": 640}


@pytest.fixture(scope="module")
def raw() -> Any:
    return tiny.raw_of(tiny.person(1, 20.0)).set_montage("standard_1005").resample(160.0, verbose="error")


@pytest.fixture(scope="module")
def encoder(raw: Any) -> WindowEncoder:
    return WindowEncoder(n_outputs=3, chs_info=raw.info["chs"], **WINDOW).eval()


@pytest.fixture(scope="module")
def window(raw: Any) -> torch.Tensor:
    return torch.from_numpy(raw.get_data()[None, :, :640]).float()


def test_a_window_is_prepared_as_our_own_steps_prepare_it(
    raw: Any, encoder: WindowEncoder, window: torch.Tensor
) -> None:
    """The same filters, rate, scale and places as a recording of that one window."""
    import brainfm

    own = BrainFM.from_pretrained("brainfm-tiny")
    read: Recording = brainfm.read(raw.copy().crop(0, 639 / 160))
    signal = read.signal("eeg")
    alone = read.with_signal("eeg", replace(signal, data=window[0].double().numpy()))
    made = prepare([alone], own.steps("eeg"), "eeg")[0].signal("eeg")
    batch = encoder.reader(window)
    assert batch.sfreq == made.sfreq == 128.0
    np.testing.assert_allclose(batch.signal[0].numpy(), made.load(), atol=2e-3)
    np.testing.assert_allclose(batch.position[0].numpy(), made.sensors.position, atol=1e-6)
    assert isinstance(own.steps("eeg")[-1], RobustScale)


def test_features_and_logits_have_the_shapes_that_are_expected(
    encoder: WindowEncoder, window: torch.Tensor
) -> None:
    many = window.repeat(4, 1, 1)
    assert encoder(many).shape == (4, 3)
    out = encoder(many, return_features=True)
    assert out["features"].shape == (4, 128 * 8) and out["cls_token"] is None
    encoder.reset_head(5)
    assert encoder(many).shape == (4, 5)
    encoder.reset_head(3)


def test_gradients_reach_the_backbone_and_a_volt_is_as_good_as_a_microvolt(
    encoder: WindowEncoder, window: torch.Tensor
) -> None:
    encoder(window).square().sum().backward()
    missed = [
        name
        for name, one in encoder.named_parameters()
        if one.grad is None and name.startswith("backbone.encoder")
    ]
    assert not missed
    with torch.no_grad():
        torch.testing.assert_close(encoder(1e6 * window), encoder(window), atol=1e-3, rtol=1e-3)


def test_a_sensors_place_is_heard(encoder: WindowEncoder, window: torch.Tensor) -> None:
    own = encoder.reader.like.position
    with torch.no_grad():
        torch.testing.assert_close(encoder(window, channel_positions=own), encoder(window))
        moved = encoder(window, channel_positions=own.flip(1))
        assert (moved - encoder(window)).abs().max() > 1e-4


def test_channels_must_be_those_it_was_built_for_in_their_order(
    raw: Any, encoder: WindowEncoder, window: torch.Tensor
) -> None:
    """Each channel has a place and, by the head, weights: others under the same number would be taken for them."""
    names = list(raw.ch_names)
    with torch.no_grad():
        same = encoder(window)
        for spelled in (names, [name.upper() for name in names], [f"EEG {name}-REF" for name in names]):
            assert torch.equal(encoder(window, ch_names=spelled), same)
        with pytest.raises(
            DataError, match=f"channel 1 is {names[-1]}, and this encoder was built for {names[0]}"
        ):
            encoder(window, ch_names=names[::-1])
        with pytest.raises(
            DataError, match=f"channel 8 is Iz, and this encoder was built for {names[7]} there"
        ):
            encoder(window, ch_names=[*names[:7], "Iz"])
        with pytest.raises(DataError, match="built for 8 channels, not 7"):
            encoder(window, ch_names=names[:7])
        counted = WindowEncoder(n_outputs=2, n_chans=8, **WINDOW).eval()
        assert counted(window, ch_names=names).shape == (1, 2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_chans": 8, "n_times": 640}, "need `sfreq`"),
        ({"sfreq": 160.0, "n_times": 640}, "need `n_chans`"),
        ({"n_chans": 8, "sfreq": 160.0, "n_times": 16}, "no patch of 0.25 s"),
        ({"n_chans": 8, "sfreq": 160.0, "n_times": 640, "modality": "fmri"}, "by regress_out"),
    ],
)
def test_what_can_t_be_is_said(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        WindowEncoder(n_outputs=2, **settings)


def test_channels_of_unknown_place_will_do(tmp_path: Path) -> None:
    made = WindowEncoder(n_outputs=2, n_chans=3, sfreq=128.0, input_window_seconds=1.0)
    assert made(torch.randn(2, 3, 128)).shape == (2, 2)
    with pytest.raises(DataError, match=r"\(3, 100\) are not \(3, 128\)"):
        made(torch.randn(2, 3, 100))
