"""How the authors of the networks of Tables 3 and 4 train them, by data set and network."""

from baselines.recipes.kinetics400 import KINETICS400
from baselines.recipes.recipe import Recipe
from baselines.recipes.something_v1 import SOMETHING_V1

__all__ = ["KINETICS400", "SOMETHING_V1", "Recipe"]
