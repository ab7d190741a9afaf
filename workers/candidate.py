"""A candidate: a named weight set under test, and all beside it that its picks depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workers.engines import Engine
from workers.preparation import Preparation
from workers.quality import Quality
from workers.recipe import Recipe
from workers.weights import Weights


@dataclass(frozen=True, slots=True)
class Candidate:
    """Ready to run: weights, or the ensemble of several."""

    name: str
    preparation: Preparation
    engine: Engine = field(repr=False)
    recipe: Recipe = field(repr=False)
    floors: Mapping[str, float]  # phase -> the lowest probability that is stored
    quality: Quality = "strict"

    @classmethod
    def of(
        cls,
        name: str,
        weights: Sequence[Weights],
        engine: Engine,
        floors: Mapping[str, float],
        stacking: str = "avg",
        blinding: tuple[int, int] = (0, 0),
        quality: Quality = "strict",
    ) -> Candidate:
        """A candidate whose networks the engine has loaded."""
        networks = tuple(engine.load(each) for each in weights)
        recipe = Recipe(networks, stacking, blinding)
        return cls(name, weights[0].preparation, engine, recipe, floors, quality)

    @property
    def rate(self) -> int:
        """Hz that its network wants."""
        return self.preparation.sampling_rate

    @property
    def ground(self) -> tuple[int, Quality]:
        """What it runs over: candidates alike in it share a span's samples."""
        return self.rate, self.quality
