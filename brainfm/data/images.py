"""Images that nibabel opens: what they should be, whether they can be read, and read to their end."""

from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np
from numpy.typing import NDArray

from brainfm.data.events import first_line
from brainfm.errors import DataError


def load(path: Path, what: str) -> Any:
    """nibabel's image, its values still on disk. `what` it should be, for the message.

    Raises `DataError` if it is missing or broken.
    """
    import nibabel

    if not path.exists():
        raise DataError(f"{path} does not exist")
    try:
        return nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, OSError, ValueError, EOFError, ExpatError) as error:
        raise DataError(f"{path.name} can't be read as {what} ({first_line(error)})") from error


def values(image: Any, dtype: Any = None) -> NDArray[Any]:
    """All values, as this type or as the file says. Raises `DataError` for a file that is cut short."""
    try:
        return np.asarray(image.dataobj, dtype=dtype)
    except (OSError, EOFError, ValueError) as error:
        name = Path(image.get_filename() or "image").name
        raise DataError(f"{name} can't be read to its end ({first_line(error)}); get it again") from error
