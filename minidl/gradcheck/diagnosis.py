"""From a wrong gradient to its likely cause, in plain words.

Every kind of mistake has a repair that would undo it: divide by the factor, take the extra term off, turn the axes
back. So a suspect is a function from the evidence to a `Cause` or None: it repairs the explicit gradient, or imitates
the mistake on the measured one, and speaks up where the two then agree. `repairs` holds the mistakes that such a repair
explains in full, `places` describes where a gradient is wrong when nothing explains why. The more particular
explanation comes before the more general one.
"""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations
from math import prod

import numpy as np

from minidl.gradcheck.report import Cause


@dataclass
class Evidence:
    """All that is known about one wrong gradient, as NumPy arrays."""

    tensor: str                # "input" or a parameter's name
    explicit: object           # what backward computed: hopefully an array of the tensor's shape
    shape: tuple               # the tensor's shape
    slopes: object             # the measured Slopes at the chosen places
    x: np.ndarray              # the input
    y: np.ndarray              # the output
    dy: np.ndarray             # the upstream gradient
    values: np.ndarray         # the tensor's own values
    parameters: dict = field(default_factory=dict)  # the other parameters by name
    known: dict = field(default_factory=dict)       # what else a wrong term may consist of: one-hot labels, statistics
    fresh: object = None       # the explicit gradient of a fresh copy, before any other backward pass
    earlier: object = None     # what an earlier backward pass, on other numbers, had computed
    slopes_with: object = None  # function (tensor or "dy", array, places): the slopes with another array in its place

    @cached_property
    def kept(self):
        """The chosen places that are not on a kink."""
        return ~self.slopes.kinks

    @property
    def numeric(self):
        """The measured gradient at the chosen places."""
        return self.slopes.numeric

    @cached_property
    def ours(self):
        """The explicit gradient at the chosen places."""
        return self.at_chosen(np.asarray(self.explicit, np.float64))

    @property
    def complete(self):
        """Whether all elements of the tensor were measured."""
        return len(self.slopes.chosen) == prod(self.shape)

    def at_chosen(self, array):
        return np.broadcast_to(array, self.shape).ravel()[self.slopes.chosen]

    @cached_property
    def limit(self):
        """How much may stay unexplained, as a share: a hundredth of the mismatch, and no more than a ten-thousandth."""
        length = np.linalg.norm(self.numeric[self.kept])
        mismatch = np.linalg.norm((self.ours - self.numeric)[self.kept])
        noise = np.linalg.norm(self.slopes.noise[self.kept])
        return max(min(1e-4, 0.01 * mismatch / length), noise / length) if length else 1e-4

    def agree(self, a, b, where=None):
        """Whether two gradients at the chosen places (or some of them) are equal, up to that share."""
        where = self.kept if where is None else where & self.kept
        with np.errstate(all="ignore"):
            length = np.linalg.norm(b[where])
            return bool(length > 0 and np.linalg.norm((a - b)[where]) <= self.limit * length)

    def repaired_by(self, array):
        """Whether this gradient, an array like the tensor, is the right one."""
        return self.agree(self.at_chosen(array), self.numeric)

    def measured_with(self, tensor, array, most=12):
        """Whether the explicit gradient is right for another array in a tensor's place; tried at some elements."""
        places = self.slopes.chosen[:: max(1, len(self.slopes.chosen) // most)]
        slopes = self.slopes_with(tensor, array, places)
        kept = ~slopes.kinks
        ours = np.asarray(self.explicit, np.float64).ravel()[places][kept]
        length = np.linalg.norm(slopes.numeric[kept])
        return bool(length > 0 and np.linalg.norm(ours - slopes.numeric[kept]) <= self.limit * length)


def diagnose(evidence):
    """The causes that fit, best first; never empty."""
    from minidl.gradcheck.places import DESCRIPTIONS
    from minidl.gradcheck.repairs import LAST_TRIES, REPAIRS
    for suspect in (not_an_array, wrong_shape, not_finite):
        if cause := suspect(evidence):
            return [cause]
    causes = []
    for suspect in (*REPAIRS, *LAST_TRIES, *DESCRIPTIONS):
        if causes and suspect in LAST_TRIES:
            continue
        with np.errstate(all="ignore"):
            found = suspect(evidence)
        if found and not any(found.name == cause.name for cause in causes):
            causes.append(found)
    return causes or [Cause("unknown", "none of the mistakes that this check knows explains the numbers. Compare your "
                                       "backward pass with the formula on an input of two or three elements")]


# ------------------------------------------------------------------------- gradients that cannot be compared at all

def not_an_array(e):
    if hasattr(e.explicit, "shape"):
        return None
    return Cause("no gradient", f"the backward pass gave nothing (None) for {e.tensor}; is a return or an assignment "
                                f"missing?")


def wrong_shape(e):
    if e.explicit.shape == e.shape:
        return None
    if e.explicit.ndim <= 6:
        for order in permutations(range(e.explicit.ndim)):
            turned = e.explicit.transpose(order)
            if turned.shape == e.shape and np.linalg.norm((e.at_chosen(turned) - e.numeric)[e.kept]) \
                    < 1e-4 * np.linalg.norm(e.numeric[e.kept]):
                return Cause("transposed", f"the gradient has shape {e.explicit.shape}, {e.tensor} has {e.shape}; with "
                                           f"its axes in the order {order} it is right. Are the two factors of the "
                                           f"product in the wrong order?")
    return Cause("wrong shape", f"the gradient has shape {e.explicit.shape}, but {e.tensor} has {e.shape}. A gradient "
                                f"has one number for each number of its tensor; is a sum over an axis or a reshape "
                                f"missing?")


def not_finite(e):
    bad = ~np.isfinite(e.explicit)
    if not bad.any():
        return None
    first = tuple(int(k) for k in np.argwhere(bad)[0])
    return Cause("nan or inf", f"{int(bad.sum())} of {bad.size} elements are not numbers, the first at {list(first)} "
                               f"({e.explicit[first]}). Is something divided by zero, or the logarithm of zero taken?")
