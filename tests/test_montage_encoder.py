"""The encoder that is told with every batch what it sees: names and places mean the same, and nothing is guessed."""

import copy
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from brainfm.errors import DataError
from brainfm.montage_encoder import NOWHERE, MontageEncoder
from brainfm.window_encoder import WindowEncoder

SFREQ = 160.0


@pytest.fixture(scope="module")
def raw() -> Any:
    return tiny.raw_of(tiny.person(1, 20.0)).set_montage("standard_1005").resample(SFREQ, verbose="error")


@pytest.fixture(scope="module")
def encoder() -> MontageEncoder:
    return MontageEncoder(sfreq=SFREQ).eval()


@pytest.fixture(scope="module")
def windows(raw: Any) -> torch.Tensor:
    return torch.from_numpy(raw.get_data()[None, :, :1280]).float().unflatten(2, (2, 640)).transpose(1, 2)[0]


def head(raw: Any) -> torch.Tensor:
    """(1, channel, 3) the places of the file, in metres in head coordinates."""
    return torch.from_numpy(np.stack([channel["loc"][:3] for channel in raw.info["chs"]])).float()[None]


@torch.no_grad()
def test_its_tokens_are_those_of_an_encoder_built_for_these_windows(
    raw: Any, encoder: MontageEncoder, windows: torch.Tensor
) -> None:
    built = WindowEncoder(chs_info=raw.info["chs"], n_times=640, sfreq=SFREQ).eval()
    tokens = encoder(windows, ch_names=raw.ch_names)
    assert tokens.shape == (2, 8, 16, 128)
    torch.testing.assert_close(tokens.mean(dim=2).flatten(1), built(windows))


@torch.no_grad()
def test_a_place_is_as_good_as_a_name_and_another_place_is_another(
    raw: Any, encoder: MontageEncoder, windows: torch.Tensor
) -> None:
    strangers = [f"X{number}" for number in range(8)]
    where = head(raw).expand(2, -1, -1)
    named = encoder(windows, ch_names=raw.ch_names)
    torch.testing.assert_close(encoder(windows, where, strangers), named, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(encoder(windows, where), named, atol=1e-4, rtol=1e-4)
    assert (encoder(windows, where.flip(1), strangers) - named).abs().max() > 1e-3
    # places are asked for only where names tell nothing: here they would be refused
    torch.testing.assert_close(encoder(windows, 9.0 * where, raw.ch_names), named)


@torch.no_grad()
def test_a_channel_that_nobody_can_place_is_said_to_be_nowhere(
    raw: Any, encoder: MontageEncoder, windows: torch.Tensor
) -> None:
    """The mark that stands for no place is not taken for one, a hand behind the neck."""
    names = ["X0", *raw.ch_names[1:]]
    lost, near = head(raw).expand(2, -1, -1).clone(), head(raw).expand(2, -1, -1).clone()
    lost[:, 0], near[:, 0] = NOWHERE, 0.999 * NOWHERE
    torch.testing.assert_close(encoder(windows, lost, names), encoder(windows, None, names))
    assert (encoder(windows, lost, names) - encoder(windows, near, names)).abs().max() > 1e-4


@torch.no_grad()
def test_places_that_are_no_metres_are_refused_where_they_are_asked_for_alone(
    raw: Any, encoder: MontageEncoder, windows: torch.Tensor
) -> None:
    """NeuralBench squeezes them into 0 to 1 unless told not to, and marks what it doesn't know."""
    names = ["X0", *raw.ch_names[1:]]
    squeezed = torch.linspace(0, 1, 24).view(1, 8, 3).expand(2, -1, -1).clone()
    squeezed[:, 0] = 0.05  # as near the middle as an electrode is
    with pytest.raises(DataError, match=r"one lies 1\.66 from its middle"):
        encoder(windows, squeezed, names)
    squeezed[:, 0] = NOWHERE
    torch.testing.assert_close(encoder(windows, squeezed, names), encoder(windows, None, names))


@torch.no_grad()
@pytest.mark.parametrize(("channels", "samples"), [(3, 160), (64, 80), (19, 480)])
def test_any_cap_and_any_length_is_read_by_the_same_network(
    encoder: MontageEncoder, channels: int, samples: int
) -> None:
    import mne

    names = mne.channels.make_standard_montage("standard_1005").ch_names[:channels]
    before = str(encoder), sorted(encoder.state_dict())
    tokens = encoder(torch.randn(2, channels, samples), ch_names=names)
    assert tokens.shape == (2, channels, round(4 * samples / SFREQ), 128)
    assert (str(encoder), sorted(encoder.state_dict())) == before, "it is known again by these"
    again = copy.deepcopy(encoder)
    assert again(torch.randn(2, channels, samples), ch_names=names).shape == tokens.shape


@torch.no_grad()
def test_other_tools_that_hook_every_layer_see_tensors_alone(
    raw: Any, encoder: MontageEncoder, windows: torch.Tensor
) -> None:
    """As torchinfo does, which gives up at the first layer whose result it can't weigh."""
    seen: list[type] = []
    hooks = [
        one.register_forward_hook(lambda module, given, told: seen.append(type(told)))
        for one in encoder.modules()
    ]
    for _ in range(2):  # and what is put aside comes back
        seen.clear()
        encoder(windows, ch_names=raw.ch_names)
        assert len(seen) > 20 and set(seen) == {torch.Tensor}
    encoder.backbone.encoder(
        encoder.backbone.tokenize(encoder.reader(tuple(raw.ch_names), 640)(windows)).tokens
    )
    assert seen[-1] is not torch.Tensor
    for hook in hooks:
        hook.remove()


def test_what_it_can_t_do_is_said(encoder: MontageEncoder, windows: torch.Tensor) -> None:
    with pytest.raises(DataError, match="none of 8 channels has a place"):
        encoder(windows)
    with pytest.raises(DataError, match=r"normalize=False"):
        encoder(windows, torch.rand(2, 8, 3))
    with pytest.raises(DataError, match=r"no patch of 0\.25 s"):
        encoder(windows[:, :, :16], ch_names=["C3", "C4", "Cz", "Fz", "Pz", "O1", "O2", "P3"])
    with pytest.raises(DataError, match="by regress_out"):
        MontageEncoder(modality="fmri")
