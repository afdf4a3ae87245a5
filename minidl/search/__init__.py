"""A search over settings: try many, note what each gave, take the best.

    def train(settings, seed):                        # one trial: trains and measures, returns a dict of numbers
        ...
        return {"accuracy": evaluate(model, x_valid, y_valid)}

    settings = {"lr": LogUniform(1e-6, 1e-2), "decay": LogUniform(1e-8, 1e-4), "epochs": 50}
    found = search(train, settings, trials=60, seed=0, csv="runs/search.csv", jobs=2)       # at random places
    found = grid(train, settings, points=8, seed=0, csv="runs/grid.csv", jobs=2)            # at every point of a grid
    print(found.best(10))

    ranges     where each setting may be: Uniform, LogUniform, Choice
    run        search and grid: the trials, in this process or in others
    results    what they found: Trial, Results, and the file that a search continues from
"""

from minidl.search.ranges import Choice, LogUniform, Uniform
from minidl.search.results import Results, Trial
from minidl.search.run import grid, search

__all__ = ["Choice", "LogUniform", "Results", "Trial", "Uniform", "grid", "search"]
