"""Do pictures follow the brain in a recipe that makes pictures of responses, and what is left of them with another's response?

    python benchmarks/seen_pictures.py --out runs/seen_pictures                # brain_it; --of neuropictor

One network of all stages of the recipe on the simulated visual cortex, then `brainfm reconstruct` with its controls. Two-way
identification by pixels; intervals over test pictures, which nobody trained on. Resumable.
"""

import json
from typing import Any

import torch
from asked import Asked, command
from claims import Claim, found, lines

from brainfm.files import write_json
from brainfm.jobs.fit_reconstruction import fit
from brainfm.jobs.reconstruct import reconstruct
from brainfm.recipe_reconstruct import ReconstructRecipe

RECIPES = ("brain_it", "neuropictor")
SCORE = "two-way of pixels"
PICTURES, FEW = 25, 8
"""Test pictures of each person; and in a check."""


def main() -> None:
    """Fit what is not fitted yet, print the claims."""
    command(__doc__, "seen_pictures", measured, lines, "steps of each stage", of=RECIPES)


def measured(asked: Asked, of: str = RECIPES[0]) -> dict[str, Any]:
    """The claims of each person."""
    torch.set_num_threads(1)
    path = asked.out / "people.json"
    if not path.exists():
        made = shortened(ReconstructRecipe.load(of), asked)
        fit(made, asked.out / "run", quiet=True)
        pictures = PICTURES if asked.limit is None else FEW
        seen = reconstruct(asked.out / "run", out=asked.out / "seen", limit=pictures, quiet=True)
        write_json(path, seen.json["people"])
    people = json.loads(path.read_text(encoding="utf-8"))
    return found([followed(one) for one in people])


def shortened(recipe: ReconstructRecipe, asked: Asked) -> ReconstructRecipe:
    """The recipe with at most `limit` steps of all that takes steps."""

    def few(part: Any) -> Any:
        return part.model_copy(update={"steps": asked.steps(part.steps)}) if hasattr(part, "steps") else part

    def trained(part: Any) -> Any:
        return part if part is None else part.model_copy(update={"settings": few(part.settings)})

    stages = [trained(stage) for stage in recipe.stages]
    fewer = {name: few(getattr(recipe, name)) for name in ("inversion", "sample")}
    return recipe.model_copy(update={"stages": stages, "clusters": trained(recipe.clusters), **fewer})


def followed(person: dict[str, Any]) -> Claim:
    """Whether this person's pictures are nearer to what was seen than pictures of shuffled responses are."""
    score, shuffled = person["metrics"][SCORE], person["controls"]["shuffled trials"][SCORE]
    who = "a new person, a tenth of the trials" if person["new"] else "a person"
    return Claim(
        f"{who}: pictures follow the brain, not the collection",
        f"simulated_cortex, person {person['subject']}, {person['n_test']} pictures, one seed",
        f"two-way {score['score']:.3f}, shuffled trials {shuffled:.3f}",
        tuple(score[name] - shuffled for name in ("score", "low", "high")),  # type: ignore[arg-type] # three of them
    )


if __name__ == "__main__":
    main()
