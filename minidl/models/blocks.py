"""What networks repeat: a few layers that always come together, as lists to unpack into a network with a star."""

from minidl.errors import UserError
from minidl.layers import BatchNorm, Conv2D, Dense, Dropout, GlobalAveragePool2D, ReLU
from minidl.network import Residual


def conv_relu(filters, kernel_size, stride=1, padding="same", init="he", activation=ReLU):
    """A convolution and its activation, as networks had them before BatchNorm."""
    return [Conv2D(filters, kernel_size, stride, padding, init), new(activation)]


def conv_bn(filters, kernel_size, stride=1, padding=None, init="he", bias=False):
    """A convolution, normalised. It needs no bias: the beta of BatchNorm does the same work.

    padding: half the kernel unless given, which keeps height and width where the stride is 1.
    """
    padding = kernel_size // 2 if padding is None else padding
    return [Conv2D(filters, kernel_size, stride, padding, init, bias), BatchNorm()]


def conv_bn_relu(filters, kernel_size, stride=1, padding=None, init="he", bias=False):
    """A convolution, normalised before its ReLU, as Ioffe & Szegedy 2015 (arXiv:1502.03167, section 3.2) advise."""
    return [*conv_bn(filters, kernel_size, stride, padding, init, bias), ReLU()]


def dense_relu(units, dropout=0, init="he", activation=ReLU):
    """A hidden Dense layer with its activation and, for a rate above 0, dropout."""
    return [Dense(units, init), new(activation), *drop(dropout)]


def drop(rate):
    """Dropout, or nothing for a rate of 0, so that a network without it does not show it."""
    return [] if rate == 0 else [Dropout(rate)]


def new(activation):
    """A layer of that class: `activation` is ReLU, or any function that makes a layer."""
    if not callable(activation):
        raise UserError(f"activation={activation!r}: expected a layer class such as ReLU, without quotes or brackets")
    return activation()


def average_and_score(classes, init="he"):
    """The usual head since 2014: the average of each feature map, then one score per class."""
    return [GlobalAveragePool2D(), Dense(classes, init)]


def residual_block(body, shortcut=None, skip=True):
    """relu(body + shortcut), or just relu(body) in the plain network that a residual one is compared with."""
    return [Residual(body, shortcut), ReLU()] if skip else [*body, ReLU()]
