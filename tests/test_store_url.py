"""A store behind an URL: a window costs its own bytes, and faults are said."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from served_files import Ranges, serve
from store_files import STEPS, neurons, session, stored

from brainfm.data.fingerprint import fingerprint
from brainfm.data.store import open_store, table
from brainfm.data.store.writing import Order
from brainfm.data.windows import take
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path, type[Ranges]]]:
    """A local server of a folder, its URL, and its counters."""
    pytest.importorskip("aiohttp")
    server, handler = serve(tmp_path)
    yield f"http://127.0.0.1:{server.server_port}", tmp_path, handler
    server.shutdown()
    server.server_close()


def test_a_window_behind_an_url_costs_its_own_bytes(served: tuple[str, Path, type[Ranges]]) -> None:
    url, root, counted = served
    here = stored(root / "store", [session(1), session(2)], Order({"eeg": STEPS})).recordings()
    there = open_store(f"{url}/store").recordings()
    assert counted.sent <= (root / "store" / table.NAME).stat().st_size
    for first, stop in [(0, 200), (2599, 2601), (5000, 6000)]:
        counted.sent = counted.asked = 0
        got = there[1].signal("eeg").data[:, first:stop]
        np.testing.assert_array_equal(got, here[1].signal("eeg").data[:, first:stop])
        assert (counted.sent, counted.asked) == (2 * 8 * (stop - first), 1)
    counted.sent = 0
    np.testing.assert_array_equal(there[0].tracks["film"].data[3:5], here[0].tracks["film"].data[3:5])
    assert counted.sent == 2 * 4 * 5
    assert fingerprint(there[1], "eeg") == fingerprint(here[1], "eeg")
    windows = Sliding(seconds=2.0)(there, "eeg", [])
    counted.sent, counted.most, counted.slow = 0, 0, 0.3
    rows = np.array([1, 20, 7])
    np.testing.assert_array_equal(take(there, windows, rows, "eeg"), take(here, windows, rows, "eeg"))
    assert counted.sent == 3 * 2 * 8 * 200
    assert counted.most == 3  # the windows of a batch are waited for together


def test_spikes_behind_an_url_cost_an_index_and_their_own_bytes(
    served: tuple[str, Path, type[Ranges]],
) -> None:
    url, root, counted = served
    raw = neurons()
    stored(root / "store", [raw], Order({"spikes": []}))
    data = open_store(f"{url}/store").recordings()[0].signal("spikes").data
    counted.sent = 0
    np.testing.assert_array_equal(data[:, 5000:6000], raw.signal("spikes").data[:, 5000:6000])
    marks = 22  # a mark a second of 20.5 s, and its end
    near = ((raw.signal("spikes").data.time >= 4) & (raw.signal("spikes").data.time < 6)).sum()
    assert counted.sent <= 8 * marks + 12 * near
    counted.sent = 0
    data[:, 5000:6000]
    assert counted.sent <= 12 * near  # the index is fetched once


def test_a_store_behind_an_url_is_checked_and_its_faults_are_said(
    served: tuple[str, Path, type[Ranges]],
) -> None:
    url, root, _ = served
    made = stored(root / "store", [session(1)], Order({"eeg": STEPS}))
    name = made.rows[0].signals[0].file
    assert open_store(f"{url}/store", verify=True).check() == []
    path = root / "store" / name
    content = bytearray(path.read_bytes())
    content[1234] ^= 1
    path.write_bytes(content)
    assert [file for file, _, _ in open_store(f"{url}/store").check()] == [name]
    path.write_bytes(content[:100])
    with pytest.raises(DataError, match="100 bytes came where 160 were asked for"):
        open_store(f"{url}/store").recordings()[0].signal("eeg").data[:, 0:10]
    path.unlink()
    with pytest.raises(DataError, match=f"{name} is not there"):
        open_store(f"{url}/store").recordings()[0].signal("eeg").data[:, 0:10]
    with pytest.raises(DataError, match=r"nowhere/manifest\.parquet is not there"):
        open_store(f"{url}/nowhere")
    with pytest.raises(DataError, match="prepare into a folder, then copy it there"):
        from brainfm.jobs.prepare import prepare as run

        run(["simulated_eeg"], [], f"{url}/store", quiet=True)


def test_fsspec_filesystems_serve_it_too(tmp_path: Path) -> None:
    import fsspec

    store = stored(tmp_path / "store", [session(1), session(2)], Order({"eeg": STEPS}))
    memory = fsspec.filesystem("memory")
    memory.put(store.root, "/bucket/store", recursive=True)
    there = open_store("memory://bucket/store", verify=True).recordings()
    for one, other in zip(there, store.recordings(), strict=True):
        np.testing.assert_array_equal(one.signal("eeg").load(), other.signal("eeg").load())
    memory.rm("/bucket", recursive=True)
