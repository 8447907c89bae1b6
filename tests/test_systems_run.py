"""Every published system, end to end in little: the same scripts as `benchmarks/systems.py`, one step and one seed of each."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import systems
from asked import Asked
from claims import lines

from brainfm.published import names


@pytest.mark.parametrize("key", names())
def test_a_system_runs_to_its_claims(key: str, tmp_path: Path) -> None:
    (section,) = systems.chosen([key], long=False)
    found = section.measured(Asked(tmp_path / key, limit=1))
    assert found["claims"] and json.dumps(found, allow_nan=False), "other readers know no infinity"
    assert len(lines(found)) == 2 + len(found["claims"])
    for claim in found["claims"]:
        assert claim["verdict"] in ("shown", "not shown", "against")
        assert claim["says"] and claim["on"] and claim["figure"]
