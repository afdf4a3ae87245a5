"""Where a setting may be: each range draws a value at random, and divides itself into the points of a grid."""

from math import log10

import numpy as np

from minidl.arguments import in_range, positive_integer
from minidl.errors import UserError


class Uniform:
    """Numbers from low to high, each as likely as any other: for a setting whose *difference* matters, as dropout."""

    def __init__(self, low, high):
        kind, infinity = type(self).__name__, float("inf")
        self.low = in_range(low, f"{kind} low", -infinity, infinity)
        self.high = in_range(high, f"{kind} high", -infinity, infinity)
        if self.low >= self.high:
            raise UserError(f"{kind}({low!r}, {high!r}): expected the lower end first, below the upper one")

    def draw(self, generator):
        """A number of the range. generator: of NumPy's random numbers"""
        return self.at(generator.random())

    def points(self, count):
        """`count` numbers at equal distances, both ends among them; the middle where count is 1."""
        return [self.at(place) for place in (np.linspace(0, 1, count) if count > 1 else [0.5])]

    def at(self, place):
        """The number at a place from 0 (low) to 1 (high)."""
        return float(self.low + (self.high - self.low) * place)

    def __repr__(self):
        return f"{type(self).__name__}({self.low:g}, {self.high:g})"


class LogUniform(Uniform):
    """Numbers from low to high whose logarithms are uniform: for a setting whose *factor* matters, as a learning rate.

        value = 10 ** u,  u uniform from log10(low) to log10(high)

    Between 1e-6 and 1e-2 a quarter of the values are below 1e-5; of uniform ones, a thousandth.
    """

    def __init__(self, low, high):
        super().__init__(low, high)
        if self.low <= 0:
            raise UserError(f"LogUniform({low!r}, {high!r}): expected ends above 0, which has no logarithm. For an "
                            f"interval that contains 0, take Uniform")

    def at(self, place):
        return float(10 ** (log10(self.low) + (log10(self.high) - log10(self.low)) * place))


class Choice:
    """One of some values of any kind: `Choice([32, 64, 128])`, `Choice(["sgd", "adam"])`. A grid takes all of them."""

    def __init__(self, values):
        self.values = [values] if isinstance(values, str) else list(values)
        if not self.values:
            raise UserError("Choice([]): expected at least one value")

    def draw(self, generator):
        """One of the values, each as likely as any other. generator: of NumPy's random numbers"""
        return self.values[int(generator.integers(len(self.values)))]

    def points(self, count):
        """All values, whatever the count."""
        return self.values

    def __repr__(self):
        return f"Choice({self.values!r})"


RESERVED = ("trial", "seed", "error")    # columns of the file beside the settings and the results


def as_ranges(settings):
    """{name: range} from what a user writes: a range stays, a list is a Choice, any other value is fixed."""
    if not isinstance(settings, dict) or not settings:
        raise UserError(f"settings={settings!r:.80}: expected a dict of ranges, as in "
                        f"{{\"lr\": LogUniform(1e-6, 1e-2)}}")
    for name, values in settings.items():
        if not isinstance(name, str) or name in RESERVED:
            raise UserError(f"settings: expected names other than {', '.join(RESERVED)}, which the file of results "
                            f"needs for itself; got {name!r}")
        if isinstance(values, type):
            raise UserError(f"settings: {name!r} is the class {values.__name__}; make one: {values.__name__}(...)")
    return {name: _as_range(values) for name, values in settings.items()}


def _as_range(values):
    if hasattr(values, "draw") and hasattr(values, "points"):
        return values
    return Choice(values) if isinstance(values, (list, range)) else Choice([values])


def points_of(ranges, points):
    """{name: its values on a grid}. points: of every range, a number, or {name: number} for each by itself"""
    if not isinstance(points, dict):
        points = dict.fromkeys(ranges, points)
    if unknown := [name for name in points if name not in ranges]:
        raise UserError(f"points: {unknown[0]!r} is none of the settings, which are {', '.join(ranges)}")
    counts = {name: positive_integer(count, f"points of {name}") for name, count in points.items()}
    if missing := [name for name, values in ranges.items() if name not in counts and not isinstance(values, Choice)]:
        raise UserError(f"points: how many of {missing[0]!r}? Expected a number for every range, as in "
                        f"points={{{missing[0]!r}: 5}}")
    return {name: values.points(counts.get(name, 1)) for name, values in ranges.items()}
