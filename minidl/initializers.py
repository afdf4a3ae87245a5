r"""How large the first weights are, which decides whether a deep network learns at all.

A unit sums fan_in products, so the variance of its sum is fan_in * std(W)² times that of its inputs. Weights too
small make signals and gradients die out from layer to layer, weights too large make them explode or saturate.

    name           standard deviation of W          made for       source
    "zeros"        0                                nothing: all units of a layer stay equal
    "normal:S"     S, as in "normal:0.01"           the old habit
    "xavier"       1 / sqrt(fan_in)                 tanh, sigmoid  as lecture notes and textbooks write it
    "glorot"       sqrt(2 / (fan_in + fan_out))     tanh           Glorot & Bengio 2010, eq. 12 (its variance)
    "he"           sqrt(2 / fan_in)                 ReLU           He et al. 2015, arXiv:1502.01852, eq. 10

All draw from the normal distribution. fan_in counts the inputs of one output unit, fan_out the outputs that one input
unit feeds: (D, units) for Dense, (KH*KW*C, KH*KW*F) for a convolution.
"""

from math import sqrt

from minidl.backend import asarray, draw_normal, float_type, xp
from minidl.errors import ShapeError, UserError

NAMES = ("zeros", "normal:0.01", "xavier", "glorot", "he")


def initializer(init, what="init"):
    """The function (shape, fan_in, fan_out) -> array that `init` names, or `init` itself if it is one already.

    what: names the argument in the error.
    """
    if callable(init):
        return init
    if init == "zeros":
        return zeros
    if init in ("xavier", "glorot", "he"):
        return {"xavier": xavier, "glorot": glorot, "he": he}[init]
    if isinstance(init, str) and init.startswith("normal:"):
        try:
            return normal(float(init.removeprefix("normal:")))
        except ValueError:
            pass  # falls through to the message below
    if isinstance(init, (int, float)):
        cure = ". Layers take only what they produce, and see by themselves how many inputs come: Dense(units), " \
               "Conv2D(filters, kernel_size)"
    elif isinstance(init, str) and init.lower() in NAMES:
        cure = f". Write {init.lower()!r}"
    elif isinstance(init, str):
        cure = ". An activation is a layer of its own, such as ReLU()"
    else:
        cure = ""
    raise UserError(f"{what}={init!r}: expected one of {', '.join(NAMES)} (any number after 'normal:'), "
                    f"or a function (shape, fan_in, fan_out) -> array{cure}")


def initial_array(init, shape, fan_in, fan_out):
    """The first values of a weight array, from an initializer's name or function."""
    array = asarray(initializer(init)(shape, fan_in, fan_out)).astype(float_type())  # a copy, never init's own
    if array.shape != tuple(shape):
        raise ShapeError(f"init={init!r} returned an array of shape {array.shape}; expected {tuple(shape)}")
    return array


def zeros(shape, fan_in, fan_out):
    return xp.zeros(shape, float_type())


def normal(std):
    if not 0 <= std < float("inf"):
        raise ValueError("a standard deviation is a number of at least 0")
    return lambda shape, fan_in, fan_out: draw_normal(shape, std)


def xavier(shape, fan_in, fan_out):
    return draw_normal(shape, 1 / sqrt(fan_in))


def glorot(shape, fan_in, fan_out):
    return draw_normal(shape, sqrt(2 / (fan_in + fan_out)))


def he(shape, fan_in, fan_out):
    return draw_normal(shape, sqrt(2 / fan_in))
