"""The zoo: every network of the lessons and of their sources, each a function that returns a `Sequential`.

    model = models.ten_layer_net(input_shape=(32, 32, 3), classes=10)
    model = models.build("resnet20", classes=100)            print(models.names())

The functions take input_shape (without the batch axis) and classes, and what their sources varied, such as a dropout
rate; the scores come out without a softmax, which the loss contains. Weights start as "he" unless said otherwise. A
name fixes the arguments that were published under it, so `build` reproduces that network; more arguments change it.
The networks know nothing of training.
"""

from functools import partial

from minidl.arguments import did_you_mean
from minidl.errors import UserError
from minidl.models.classics import alexnet, all_cnn_c, googlenet, mobilenet, vgg
from minidl.models.convolutional import (
    deep_convnet,
    double_convnet,
    naive_cifar_net,
    simple_convnet,
    ten_layer_net,
    vgg_like,
    vgg_like_dropout,
)
from minidl.models.mlp import mlp
from minidl.models.residual import ZeroPadShortcut, cifar_resnet, residual_net

__all__ = ["ZeroPadShortcut", "all_cnn_c", "alexnet", "build", "cifar_resnet", "deep_convnet", "double_convnet",
           "googlenet", "mlp", "mobilenet", "naive_cifar_net", "names", "residual_net", "simple_convnet",
           "ten_layer_net", "vgg", "vgg_like", "vgg_like_dropout"]

NETWORKS = {
    "mlp_40_20": partial(mlp, (40, 20)),
    "mlp_100x4": partial(mlp, (100,) * 4),
    "mlp_100x6": partial(mlp, (100,) * 6),
    "simple_convnet": simple_convnet,
    "double_convnet": double_convnet,
    "deep_convnet": deep_convnet,
    "naive_cifar_net": naive_cifar_net,
    "vgg_like": vgg_like,
    "vgg_like_dropout": vgg_like_dropout,
    "ten_layer_net": ten_layer_net,
    "residual_basic_2": partial(residual_net, "basic", 2),
    "residual_basic_6": partial(residual_net, "basic", 6),
    "residual_bottleneck_0": partial(residual_net, "bottleneck", 0),
    "residual_bottleneck_6": partial(residual_net, "bottleneck", 6),
    "residual_bottleneck_12": partial(residual_net, "bottleneck", 12),
    **{f"resnet{depth}": partial(cifar_resnet, depth) for depth in (20, 32, 44, 56, 110)},
    **{f"plain{depth}": partial(cifar_resnet, depth, skips=False) for depth in (20, 56)},
    "alexnet": alexnet,
    "vgg": vgg,
    "googlenet": googlenet,
    "mobilenet": mobilenet,
    "all_cnn_c": all_cnn_c,
}


def names():
    """The names that `build` knows."""
    return list(NETWORKS)


def build(name, **arguments):
    """The network of that name; arguments go to the function that makes it, such as classes=100."""
    if name not in NETWORKS:
        raise UserError(f"unknown network {name!r}; known are {', '.join(NETWORKS)}.{did_you_mean(name, NETWORKS)}")
    return NETWORKS[name](**arguments)
