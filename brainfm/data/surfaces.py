"""Surfaces of the cortex: where their vertices are, by a GIfTI mesh on this machine."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data import images
from brainfm.errors import DataError


def gifti(path: Path) -> Any:
    """nibabel's image of a GIfTI file. Raises `DataError` if it is missing, broken or of another kind."""
    import nibabel

    image = images.load(path, "GIfTI")
    if not isinstance(image, nibabel.GiftiImage):
        raise DataError(f"{path.name} is no GIfTI file, but a {type(image).__name__}")
    return image


def vertices(path: Path, count: int) -> NDArray[np.float64]:
    """(vertex, 3) in metres of the mesh in a `.surf.gii`, which must have `count` vertices."""
    arrays = gifti(path).get_arrays_from_intent("NIFTI_INTENT_POINTSET")
    if len(arrays) != 1:
        raise DataError(
            f"{path.name} holds {len(arrays)} sets of points; give one surface, such as midthickness"
        )
    points = np.asarray(arrays[0].data, np.float64)
    if len(points) != count:
        raise DataError(f"{path.name} has {len(points)} vertices, but the recording's surface {count}")
    return points * 1e-3
