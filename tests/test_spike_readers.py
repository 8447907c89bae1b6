"""A file of spikes chooses its reader by its name, and a reader names the package that it lacks."""

import sys
from pathlib import Path

import numpy as np
import pytest
from little_files import same, write_nwb, write_temporaldata

from brainfm.data.readers import Reader
from brainfm.data.readers.nwb import Nwb
from brainfm.data.readers.temporaldata import Temporaldata
from brainfm.data.reading import read
from brainfm.errors import DataError


@pytest.mark.filterwarnings("ignore")
def test_the_name_of_a_file_chooses_its_reader(tmp_path: Path, trains: list[np.ndarray]) -> None:
    nwb = write_nwb(tmp_path / "a.nwb", trains)
    assert read(nwb, modality="spikes").content_hash == Nwb().read(nwb).content_hash
    assert set(read(nwb, modality="seeg").signals) == {"seeg"}
    data = write_temporaldata(tmp_path / "a.h5", trains)
    assert same(read(data, modality="spikes"), trains)
    np.savez(tmp_path / "a.npz", a=trains[0])
    with pytest.raises(DataError, match=r"could be read by binned_counts, spike_arrays; say which"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize(("reader", "package"), [(Nwb, "pynwb"), (Temporaldata, "h5py")])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: type[Reader], package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / f"a{reader.suffixes[0]}"
    path.write_bytes(b"anything")
    with pytest.raises(DataError, match=f"needs {package} to be read: pip install"):
        reader().read(path)
