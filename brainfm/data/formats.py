"""Which reader reads a path: every part in `readers/` says how its files' names end, nobody keeps a list."""

from collections.abc import Collection, Iterable
from pathlib import Path

from brainfm.data.readers import Reader
from brainfm.errors import DataError
from brainfm.part import find, known


def reader_for(path: Path, settings: Collection[str] = ()) -> type[Reader]:
    """The reader of a path: of datasets if it lies in one, else the one of the file. Raises `DataError` in one sentence."""
    placed = [reader for reader in readers() if reads_datasets(reader) and reader.recognises(path)]
    return placed[0] if placed else reader_of_file(path, settings)


def reads_datasets(reader: type[Reader]) -> bool:
    """Whether a reader reads folders of many recordings, among which settings choose."""
    return reader.dataset is not Reader.dataset


def reader_of_file(path: Path, settings: Collection[str] = ()) -> type[Reader]:
    """The reader of one recording: whose suffix is the longest that the name ends with (`.dtseries.nii` before `.nii`).

    Where several have the same suffix, those are left that the names of the `settings` given fit, else those that
    recognise the path. Raises `DataError` if none or several are.
    """
    placed = [reader for reader in readers() if "" in reader.suffixes and not reads_datasets(reader)]
    known = [reader for reader in placed if path.is_dir() and reader.recognises(path)]
    if len(known) == 1:
        return known[0]
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
    claiming = list(dict.fromkeys(reader for length, reader in ends if length == longest))
    for left in (
        claiming,
        [reader for reader in claiming if settings and takes(reader, settings)],
        [reader for reader in claiming if reader.recognises(path)],
    ):
        if len(left) == 1:
            return left[0]
    names = kinds(claiming)
    raise DataError(
        f"{path.name} could be read by {names}; say which, with what it needs: `reader={names.split(', ')[0]!r}`"
    )


def takes(reader: type[Reader], settings: Collection[str]) -> bool:
    """Whether a reader knows all these settings and needs no other."""
    needed = {name for name, field in reader.model_fields.items() if field.is_required()}
    return needed <= set(settings) <= reader.model_fields.keys()


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
