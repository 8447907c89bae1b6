"""What scores of features have in common: whose features, and how pictures become them."""

from pydantic import SerializeAsAny, model_validator

from brainfm.images.backbones import Extractor, Weights, extractor
from brainfm.images.embedders import ImageEmbedder
from brainfm.images.scores import FIRST, ImageScore


class FeatureScore(ImageScore):
    """On the features of a published network by its name (`images.backbones`), of an embedder's vector, or on `pixels`."""

    features: str | None = None
    embedder: SerializeAsAny[ImageEmbedder] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "FeatureScore":
        if (self.features is None) == (self.embedder is None):
            raise ValueError("says either `features` or an `embedder`")
        return self

    def extractor(self, weights: Weights) -> Extractor:
        """Raises `NotAtHand` where weights are missing."""
        of = self.features if self.embedder is None else self.embedder
        assert of is not None
        return extractor(of, weights)


def sizes(chosen: Extractor) -> str:
    """Every change of size of a score of these features."""
    return f"{FIRST} bilinear antialiased, then {chosen.resize}"
