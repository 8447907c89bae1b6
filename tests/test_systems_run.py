"""Every published system, end to end in little: the same scripts as `benchmarks/systems.py`, one step and one seed of each."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import systems
from asked import Asked
from claims import lines

from brainfm.data.cards import data_root
from brainfm.published import names

RECORDED = {
    "eegformer": "ieeg_bonn",
    "neuroformer": "spk_nelpy_ca1",
    "possm": "spk_nelpy_ca1",
    "poyo": "spk_nelpy_ca1",
}
"""Systems of which something is claimed on real recordings, and where these are."""


@pytest.mark.parametrize("key", names())
def test_a_system_runs_to_its_claims(key: str, tmp_path: Path) -> None:
    if key in RECORDED and not (data_root() / RECORDED[key]).is_dir():
        pytest.skip(f"the real recordings of {RECORDED[key]} (BRAINFM_DATA) are not here")
    (section,) = systems.chosen([key], long=False)
    found = section.measured(Asked(tmp_path / key, limit=1))
    assert found["claims"] and json.dumps(found, allow_nan=False), "other readers know no infinity"
    assert len(lines(found)) == 2 + len(found["claims"])
    for claim in found["claims"]:
        assert claim["verdict"] in ("shown", "not shown", "against")
        assert claim["says"] and claim["on"] and claim["figure"]
