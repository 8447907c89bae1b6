"""BaRISTA's network: exact keys and shapes, a reference written apart from it, and its golden outputs where the weights are."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from brainfm.adapters import named
from brainfm.adapters.barista import TABLES, lobe_row
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import CheckpointError, DataError
from brainfm.layers.barista import Barista

ENTRIES = {"chans_chans": (185, 869_800), "parcels_chans": (183, 839_144), "lobes_chans": (183, 832_744)}
"""Tensors of the released files, and the parameters among them."""
GOLDEN = {
    "chans_chans": (0.05836, 0.70967, (0.9824, -0.5620, 0.6487, 1.0111), (0.5048, -0.6694, 0.7873, 0.1209)),
    "parcels_chans": (
        -0.00664,
        0.67967,
        (-1.6042, 0.5097, 0.2243, -0.3866),
        (-0.8176, 0.8731, 0.4306, -0.3842),
    ),
    "lobes_chans": (0.01169, 0.63048, (-1.1213, -0.1655, 0.7132, 1.0354), (-0.7821, 0.6808, 0.5206, -0.0986)),
}
"""Mean, deviation, and the first four numbers of the first and the last token, of the released weights on `golden_input`."""


def expected_keys(tables: int) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a released file, written down from it."""
    out: dict[str, tuple[int, ...]] = {}
    net = "tokenizer.temporal_encoder.feature_extractor.net"
    for block, (first, second) in enumerate([((5, 1), (5, 5)), *[((5, 5), (5, 5))] * 3, ((1, 5), (1, 1))]):
        for name, shape in (("conv1", first), ("conv2", second)):
            out[f"{net}.{block}.{name}.conv.weight"] = (*shape, 1, 3)
            out[f"{net}.{block}.{name}.conv.bias"] = (shape[0],)
    out |= {f"{net}.0.projector.weight": (5, 1, 1, 1), f"{net}.0.projector.bias": (5,)}
    out |= {f"{net}.4.projector.weight": (1, 5, 1, 1), f"{net}.4.projector.bias": (1,)}
    out["tokenizer.temporal_pooler.final_layer.weight"] = (64, 512)
    for number in range(tables):
        out[f"tokenizer.spatial_encoder.subcomponent_embeddings.{number}.weight"] = (0, 64)
    for layer in range(12):
        at = f"backbone.layers.{layer}"
        for name, shape in {"qkv_proj": (192, 64), "o_proj": (64, 64)}.items():
            out |= {f"{at}.attention.{name}.weight": shape, f"{at}.attention.{name}.bias": shape[:1]}
        out[f"{at}.attention.rotary_emb.inv_freq"] = (8,)
        for name, shape in {"gate_proj": (256, 64), "up_proj": (256, 64), "down_proj": (64, 256)}.items():
            out |= {f"{at}.mlp.{name}.weight": shape, f"{at}.mlp.{name}.bias": shape[:1]}
        out |= {f"{at}.norm1.weight": (64,), f"{at}.norm2.weight": (64,)}
    out["backbone.norm.weight"] = (64,)
    return out


def drawn(variant: str, seed: int = 0) -> Barista:
    """A network of random weights, norms and biases too, so that none of them can go missing unseen."""
    torch.manual_seed(seed)
    net = Barista(TABLES[variant]).eval()
    with torch.no_grad():
        for one in net.parameters():
            one.add_(0.05 * torch.randn_like(one))
    return net


@pytest.mark.parametrize("variant", TABLES)
def test_keys_and_shapes_are_those_of_the_released_files(variant: str) -> None:
    found = {key: tuple(one.shape) for key, one in Barista(TABLES[variant]).state_dict().items()}
    wanted = expected_keys(len(TABLES[variant]))
    for number, rows in enumerate(TABLES[variant]):
        wanted[f"tokenizer.spatial_encoder.subcomponent_embeddings.{number}.weight"] = (rows, 64)
    assert found == wanted
    parameters = sum(one.numel() for one in Barista(TABLES[variant]).parameters())
    assert (len(found), parameters) == ENTRIES[variant]


def reference(state: dict[str, Tensor], signal: Tensor, place: Tensor) -> Tensor:
    """The forward pass over one window (sensor, time), in loops over patches, heads and tokens, without torch's layers."""
    sensors, times = len(signal), signal.shape[1] // 512
    tokens = torch.zeros(times, sensors, 64)
    for p in range(times):
        for c in range(sensors):
            x = signal[c, 512 * p : 512 * (p + 1)][None]
            for block in range(5):
                at = f"tokenizer.temporal_encoder.feature_extractor.net.{block}"
                h = x
                for name in ("conv1", "conv2"):
                    weight, bias = state[f"{at}.{name}.conv.weight"][:, :, 0], state[f"{at}.{name}.conv.bias"]
                    step = 2**block
                    wide = F.pad(h, (step, step))
                    taps = torch.stack([wide[:, k * step : k * step + 512] for k in range(3)])
                    h = torch.einsum("oik,kit->ot", weight, taps) + bias[:, None]
                    h = (h - h.mean(1, keepdim=True)) / (h.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
                    h = h * 0.5 * (1 + torch.erf(h / 2**0.5))
                if f"{at}.projector.weight" in state:
                    x = (
                        state[f"{at}.projector.weight"][:, :, 0, 0] @ x
                        + state[f"{at}.projector.bias"][:, None]
                    )
                x = h + x
            tokens[p, c] = state["tokenizer.temporal_pooler.final_layer.weight"] @ x[0]
            for number, row in enumerate(place[c]):
                tokens[p, c] += state[f"tokenizer.spatial_encoder.subcomponent_embeddings.{number}.weight"][
                    row
                ]
    x = tokens.reshape(-1, 64)
    when = torch.arange(times).repeat_interleave(sensors).double()
    for layer in range(12):
        at = f"backbone.layers.{layer}"
        h = scaled(x, state[f"{at}.norm1.weight"])
        q, k, v = (
            h @ state[f"{at}.attention.qkv_proj.weight"].T + state[f"{at}.attention.qkv_proj.bias"]
        ).split(64, 1)
        heads = []
        for head in range(4):
            part = slice(16 * head, 16 * head + 16)
            turned = [turn(one[:, part], when) for one in (q, k)]
            heads.append((turned[0] @ turned[1].T / 4).softmax(dim=1) @ v[:, part])
        x = (
            x
            + torch.cat(heads, 1) @ state[f"{at}.attention.o_proj.weight"].T
            + state[f"{at}.attention.o_proj.bias"]
        )
        h = scaled(x, state[f"{at}.norm2.weight"])
        gate, up = (
            h @ state[f"{at}.mlp.{n}.weight"].T + state[f"{at}.mlp.{n}.bias"]
            for n in ("gate_proj", "up_proj")
        )
        gate = gate * 0.5 * (1 + torch.erf(gate / 2**0.5))
        x = x + (gate * up) @ state[f"{at}.mlp.down_proj.weight"].T + state[f"{at}.mlp.down_proj.bias"]
    return scaled(x, state["backbone.norm.weight"]).reshape(times, sensors, 64)


def scaled(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt() * weight


def turn(x: Tensor, when: Tensor) -> Tensor:
    """Rotary embedding as complex numbers: coordinate i and i + 8 are one."""
    angle = when[:, None] * 10_000.0 ** (-torch.arange(8).double() / 8)
    turned = torch.complex(x[:, :8].double(), x[:, 8:].double()) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([turned.real, turned.imag], 1).to(x.dtype)


@pytest.mark.parametrize("variant", ["lobes_chans", "chans_chans"])
def test_the_network_is_what_a_reference_written_apart_from_it_gives(variant: str) -> None:
    net = drawn(variant)
    signal, place = torch.randn(2, 3, 1536), torch.randint(0, 20, (3, len(TABLES[variant])))
    with torch.no_grad():
        got = net(signal, place)
        assert got.shape == (2, 3, 3, 64) and got.std() > 0.1
        for row in range(2):
            torch.testing.assert_close(
                got[row], reference(net.state_dict(), signal[row], place), atol=2e-5, rtol=1e-4
            )


def golden_input() -> Tensor:
    """Five sensors, 3 s at 2048 Hz, each two sines at mean 0 and deviation 1."""
    t, c = np.arange(6144) / 2048, np.arange(5)[:, None]
    x = np.sin(2 * np.pi * (7 + 4 * c) * t + 0.3 * c) + 0.5 * np.cos(2 * np.pi * (60 + 11 * c) * t)
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    return torch.from_numpy(x.astype(np.float32))[None]


@pytest.mark.parametrize("variant", GOLDEN)
def test_released_weights_give_their_golden_outputs(variant: str) -> None:
    folder = os.environ.get("BARISTA_WEIGHTS", "")
    file = Path(folder) / f"{variant}.safetensors"
    if not folder or not file.is_file():
        pytest.skip(
            f"BaRISTA's weights are not ours to ship; put {file.name} into a folder and name it in BARISTA_WEIGHTS"
        )
    model = named(f"barista:{variant}@{file}")
    assert model is not None
    maker: Any = model.maker
    net = maker._net(0)
    net.load_state_dict(maker.state)
    place = torch.tensor(
        [[(10 + 7 * c + 13 * k) % size or 1 for k, size in enumerate(TABLES[variant])] for c in range(5)]
    )
    with torch.no_grad():
        out = net(golden_input(), place).flatten(1, 2)[0]
    mean, std, first, last = GOLDEN[variant]
    assert [out.mean().item(), out.std().item()] == pytest.approx([mean, std], abs=1e-4)
    assert out[0, :4].tolist() == pytest.approx(first, abs=1e-4)
    assert out[59, :4].tolist() == pytest.approx(last, abs=1e-4)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of random weights under the released names."""
    file = tmp_path / "lobes_chans.safetensors"
    save_file(drawn("lobes_chans", 3).state_dict(), file)
    return file


REGIONS = ("ctx-lh-superiortemporal", "Right-Hippocampus", "")


def recorded(sfreq: float = 2048.0, regions: tuple[str, ...] = REGIONS) -> Recording:
    """Six seconds of three contacts of known regions."""
    data = np.random.default_rng(0).normal(0, 5e-5, (len(regions), int(6 * sfreq)))
    sensors = Sensors.of([f"A{row}" for row in range(len(regions))], "seeg", "V").with_regions(regions)
    return Recording({"seeg": Signal(data, sfreq, sensors)}, source="contacts")


def test_it_gives_features_of_recordings_whose_contacts_have_labels(weights: Path) -> None:
    model = named(f"barista:lobes_chans@{weights}")
    assert model is not None
    one = recorded()
    prepared = model.prepare([one], "seeg")
    windows = Sliding(seconds=3.0)(prepared, "seeg", [])
    values = model.features(prepared, windows, "seeg", "sensor")
    assert values.shape == (2, 3 * 64) and model.load_report.coverage == 1.0
    louder = one.with_signal(
        "seeg", Signal(7 * one.signal("seeg").load(), 2048.0, one.signal("seeg").sensors)
    )
    np.testing.assert_allclose(
        model.features(model.prepare([louder], "seeg"), windows, "seeg", "sensor"), values, atol=1e-4
    )
    twin = model.twin(0)
    assert np.abs(twin.features(prepared, windows, "seeg", "sensor") - values).max() > 0.01
    elsewhere = recorded(regions=("ctx-rh-superiortemporal", *REGIONS[1:]))
    assert (
        np.abs(
            model.features([model.prepare([elsewhere], "seeg")[0]], windows, "seeg", "sensor") - values
        ).max()
        > 1e-3
    )


@pytest.mark.parametrize(
    ("label", "row"),
    [("Left-Amygdala", 1), ("ctx-rh-superiorfrontal", 6), ("ctx_lh_G_insular_short", 15), ("Right-Putamen", 18),
     ("Left-Inf-Lat-Vent", 19), ("ctx-lh-lateraloccipital", 0), ("superiorfrontal", 0), ("", 0)],
)  # fmt: skip
def test_labels_find_their_lobes_row(label: str, row: int) -> None:
    assert lobe_row(label) == row


def test_what_it_can_t_read_is_refused(weights: Path, tmp_path: Path) -> None:
    model = named(f"barista:lobes_chans@{weights}")
    assert model is not None
    with pytest.raises(DataError, match="was recorded at 1024 Hz and this model reads 2048 Hz"):
        model.prepare([recorded(1024.0)], "seeg")
    prepared = model.prepare([recorded()], "seeg")
    with pytest.raises(DataError, match="windows of 3 s, not 2 s"):
        model.features(prepared, Sliding(seconds=2.0)(prepared, "seeg", []), "seeg")
    with pytest.raises(DataError, match="no sensor has a label"):
        blank = model.prepare([recorded(regions=("", "", ""))], "seeg")
        model.features(blank, Sliding(seconds=3.0)(blank, "seeg", []), "seeg")
    with pytest.raises(CheckpointError, match="unpickles nothing, so convert"):
        named(f"barista:lobes_chans@{tmp_path / 'lobes_chans.ckpt'}")
    with pytest.raises(CheckpointError, match="is not known; it is one of"):
        named("barista:lobe")


@pytest.mark.parametrize("how", ["renamed", "missing", "reshaped", "more"])
def test_files_that_are_not_exactly_it_are_refused(how: str, weights: Path, tmp_path: Path) -> None:
    state = drawn("lobes_chans", 3).state_dict()
    key = "backbone.norm.weight"
    if how == "renamed":
        state["backbone.final_norm.weight"] = state.pop(key)
    elif how == "missing":
        del state[key]
    elif how == "reshaped":
        state[key] = state[key][:32].clone()
    else:
        state["mask_token"] = torch.zeros(64)
    file = tmp_path / f"{how}.safetensors"
    save_file(state, file)
    model = named(f"barista:lobes_chans@{file}")
    assert model is not None
    words = {"reshaped": "has in another shape", "more": "holds mask_token"}.get(
        how, "lacks 1 of the backbone's"
    )
    with pytest.raises(CheckpointError, match=words):
        model.said([recorded()], 3.0)
