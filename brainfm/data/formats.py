"""Which reader reads a path: every part in `readers/` says how its files' names end, nobody keeps a list."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from brainfm.data.readers import Reader
from brainfm.errors import DataError
from brainfm.part import find, known


def reader_for(path: Path) -> type[Reader]:
    """The reader of a path, by where it lies (a BIDS dataset), else by its suffix. Raises `DataError` in one sentence."""
    placed = [reader for reader in readers() if "" in reader.suffixes and reader.recognises(path)]
    return the_one(path, placed) if placed else reader_of_suffix(path)


def reader_of_suffix(path: Path) -> type[Reader]:
    """The reader whose suffix is the longest that the name ends with: `.dtseries.nii` goes before `.nii`.

    Where several have the same suffix, those that recognise the path are left. Raises `DataError` if none or
    several are.
    """
    name = path.name.lower()
    ends = [
        (len(suffix), reader)
        for reader in readers()
        for suffix in reader.suffixes
        if suffix and name.endswith(suffix)
    ]
    if not ends:
        raise DataError(unknown(path))
    longest = max(length for length, _ in ends)
    return the_one(path, list(dict.fromkeys(reader for length, reader in ends if length == longest)))


def the_one(path: Path, claiming: Sequence[type[Reader]]) -> type[Reader]:
    """The only reader that recognises the path among those that claim it. Raises `DataError` that names them."""
    if len(claiming) == 1:
        return claiming[0]
    names = kinds(claiming)
    recognising = [reader for reader in claiming if reader.recognises(path)]
    if len(recognising) != 1:
        how = "none of them recognises it" if not recognising else f"{kinds(recognising)} recognise it"
        raise DataError(
            f"{path.name} could be read by {names}, and {how}; say which: `reader={names.split(', ')[0]!r}`"
        )
    return recognising[0]


def readers() -> list[type[Reader]]:
    """Every reader that brainfm ships."""
    return [find(Reader, kind) for kind in known(Reader)]


def kinds(these: Iterable[type[Reader]]) -> str:
    """The names of readers, in a sentence."""
    return ", ".join(sorted(reader.__module__.rpartition(".")[2] for reader in these))


def unknown(path: Path) -> str:
    """What to say of a path that no reader claims."""
    if not path.exists():
        return f"{path} does not exist"
    read = ", ".join(sorted({suffix for reader in readers() for suffix in reader.suffixes if suffix}))
    if path.is_dir():
        return (
            f"{path} is a folder, but no BIDS dataset, which has a dataset_description.json; give one recording "
            f"({read}), or write a data card: brainfm data new {path}"
        )
    return (
        f"{path.name} ends like nothing that brainfm reads ({read}); if it is one of these under another name, "
        'say which reader: `reader="mne_file"`'
    )
