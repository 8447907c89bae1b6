"""What do discrete codes keep of real recordings? Every `codes_*` recipe that has real recordings, on what it held out.

One command, resumable; beside each codec stands residual k-means of the raw patches with as many codes, at the same rate:

    BRAINFM_DATA=recordings python benchmarks/codes.py --out runs/tokenizers [--json]
"""

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm import folders
from brainfm.codebook import correlations, spectral_errors
from brainfm.codec import Codec
from brainfm.corpus import Stream
from brainfm.errors import BrainfmError
from brainfm.gather import sample
from brainfm.jobs.tokenize import gather, pieces, train_codes
from brainfm.recipe import TokenizeRecipe

COLUMNS = {
    "modality": "modality",
    "recordings": "recordings",
    "on": "counted on",
    "codes": "codes",
    "bits_per_second": "bits/s and sensor",
    "correlation": "correlation",
    "spectral_error": "spectral error",
    "kmeans_correlation": "k-means: correlation",
    "kmeans_spectral_error": "k-means: spectral error",
    "usage": "usage",
    "perplexity": "perplexity",
    "train_seconds": "seconds of training",
}


def main() -> None:
    """Train what is not trained yet, count, print a table or JSON."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/tokenizers"))
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--recipe", action="append", help="only these; all codes_* by default")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    every = [name for name in folders.names("tokenizers", ".yaml") if name.startswith("codes_")]
    # k-means stands beside codes of rows; those that tell sensors are brainomni.py's
    names = chosen.recipe or [name for name in every if TokenizeRecipe.load(name).codes.tells == "rows"]
    rows = [row(name, chosen.out / name) for name in names]
    if chosen.json:
        print(json.dumps({"machine": platform.machine(), "rows": rows}, indent=1, allow_nan=False))  # noqa: T201
        return
    print("| " + " | ".join(COLUMNS.values()) + " |\n|" + "---|" * len(COLUMNS))  # noqa: T201
    for one in rows:
        print("| " + " | ".join(cell(one.get(key, "–")) for key in COLUMNS) + " |")  # noqa: T201


def cell(value: Any) -> str:
    """A number as short as it says something."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"


def row(name: str, out: Path) -> dict[str, Any]:
    """One codec and its k-means, on the same windows. A codec that is refused is a row that says so."""
    recipe = TokenizeRecipe.load(name)
    head = {"recipe": name, "modality": recipe.codes.modality, "recordings": ", ".join(recipe.data.cards)}
    try:
        ended = train_codes(recipe, out, quiet=True)
    except BrainfmError as error:
        return {**head, "refused": str(error)}
    health = ended.json
    codec = Codec.load(out)
    found = classical(codec)
    kept = ("on", "correlation", "spectral_error", "usage", "perplexity", "dead", "bits_per_second", "tokens")
    sizes = {"codes": "×".join(map(str, codec.sizes))}
    # of a run that was resumed, the last part alone
    return {
        **head,
        **sizes,
        **{key: health[key] for key in kept},
        **found,
        "train_seconds": health["seconds"],
    }


def classical(codec: Codec) -> dict[str, float]:
    """Residual k-means of the raw patches, fitted on training windows, on the windows that the codec was scored on."""
    data = gather(codec.recipe)
    batches = sample(data.train, codec.recipe.seed)
    train_ = np.concatenate(
        [codec.rows(*codec.held(batch)).detach().flatten(0, 1).numpy() for batch in batches]
    )
    tables = residual_kmeans(train_, codec.sizes)
    r, error = zip(*(scores(codec, data.test, rows, tables) for rows in pieces(data.test)), strict=True)
    return {
        "kmeans_correlation": float(np.nanmean(np.concatenate(r))),
        "kmeans_spectral_error": float(np.nanmean(np.concatenate(error))),
    }


def scores(
    codec: Codec, test: Stream, rows: NDArray[np.int64], tables: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correlation and spectral error of each row of these windows."""
    held = codec.reconstruct(test.batch(rows)).held.numpy()
    patches = held.reshape(-1, codec.recipe.tokenizer.times).astype(np.float64)
    told = np.zeros_like(patches)
    for table in tables:
        told += table[nearest(patches - told, table)]
    told = told.reshape(held.shape)
    return correlations(held, told), spectral_errors(held, told)


def residual_kmeans(patches: NDArray[np.floating[Any]], sizes: Sequence[int]) -> list[NDArray[np.float64]]:
    """A table of centres for each quantizer, each fitted on what the ones before left over."""
    from sklearn.cluster import KMeans

    left = patches.astype(np.float64)
    tables = []
    for size in sizes:
        table = KMeans(size, n_init=1, max_iter=30, random_state=0).fit(left).cluster_centers_
        left = left - table[nearest(left, table)]
        tables.append(table)
    return tables


def nearest(vectors: NDArray[np.float64], table: NDArray[np.float64]) -> NDArray[np.int64]:
    """The centre nearest to each vector."""
    found: NDArray[np.int64] = ((table**2).sum(1) - 2 * vectors @ table.T).argmin(axis=1)
    return found


if __name__ == "__main__":
    main()
