"""Before any work: is every machine fit for it? What is wrong is named with its machine, and stops the run at once."""

from __future__ import annotations

from pipelines.fitness import Fitness, UnfitWorker, fitness_of, require_fit

__all__ = ["Fitness", "UnfitWorker", "fitness_of", "require_fit"]
