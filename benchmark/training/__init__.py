"""From a recipe to weights and their card."""
