"""Architectures that made history, at the size of CIFAR: each shows the one idea that it is known for."""

from minidl.arguments import in_range
from minidl.errors import UserError
from minidl.layers import BatchNorm, Dense, DepthwiseConv2D, Flatten, GlobalAveragePool2D, MaxPool2D, ReLU
from minidl.models.blocks import average_and_score, conv_bn_relu, conv_relu, dense_relu, drop
from minidl.network import Concat, Sequential


def alexnet(input_shape=(32, 32, 3), classes=10, filters=(48, 96, 192, 192, 128), units=(256, 256), dropout=0.5):
    """Five convolutions, the first windows large, then three Dense layers with dropout: the net that won in 2012.

        conv 5x5 48 - pool - conv 5x5 96 - pool - conv 3x3 192 - conv 3x3 192 - conv 3x3 128 - pool -
        drop - 256 - drop - 256 - 10                1,431,210 parameters

    ReLU, overlapping pooling (windows of 3, stride 2) and dropout before both hidden Dense layers are the paper's.
    Its own net has 60 million parameters: 224x224 pixels, 11x11 windows with stride 4, 96 to 384 filters, two Dense
    layers of 4096. Left out: its halves on two GPUs, and local response normalisation.
    Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks".
    """
    a, b, c, d, e = filters
    layers = [*conv_relu(a, 5), MaxPool2D(3, 2, 1), *conv_relu(b, 5), MaxPool2D(3, 2, 1),
              *conv_relu(c, 3), *conv_relu(d, 3), *conv_relu(e, 3), MaxPool2D(3, 2, 1), Flatten()]
    for width in units:
        layers += [*drop(dropout), *dense_relu(width)]
    return Sequential([*layers, Dense(classes)], input_shape)


def vgg(input_shape=(32, 32, 3), classes=10, filters=((32, 32), (64, 64), (128, 128, 128)), units=(256, 256),
        dropout=0.5):
    """Nothing but 3x3 windows: two of them see as far as one of 5x5, with fewer weights and one more ReLU.

        conv 32 x2 - pool - conv 64 x2 - pool - conv 128 x3 - pool - 256 - drop - 256 - drop - 10

        1,027,498 parameters; VGG-16 at 224x224 pixels has 138 million

    filters: one group per size of image. VGG-16's are ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3) with
    units=(4096, 4096). Simonyan & Zisserman 2014, arXiv:1409.1556, table 1.
    """
    layers = []
    for group in filters:
        for number in group:
            layers += conv_relu(number, 3)
        layers.append(MaxPool2D(2))
    layers.append(Flatten())
    for width in units:
        layers += dense_relu(width, dropout)
    return Sequential([*layers, Dense(classes)], input_shape)


# the six numbers of filters of every Inception module, 3a to 5b: table 1 of the paper
INCEPTIONS = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    ((192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
     (256, 160, 320, 32, 128, 128)),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


def inception(one, reduce_three, three, reduce_five, five, pooled):
    """Windows of all sizes side by side, given by their numbers of filters; 1x1 convolutions keep the large ones cheap.

        conv 1x1 | conv 1x1 - conv 3x3 | conv 1x1 - conv 5x5 | pool 3x3 - conv 1x1            joined on the features
    """
    return Concat([
        conv_bn_relu(one, 1),
        [*conv_bn_relu(reduce_three, 1), *conv_bn_relu(three, 3)],
        [*conv_bn_relu(reduce_five, 1), *conv_bn_relu(five, 5)],
        [MaxPool2D(3, 1, 1), *conv_bn_relu(pooled, 1)],
    ])


def googlenet(width=0.5, dropout=0.4, modules=INCEPTIONS, input_shape=(32, 32, 3), classes=10):
    """Nine Inception modules: let the network choose the size of its windows, at every depth.

        conv 3x3 192 - 2 modules - pool - 5 modules - pool - 2 modules - global average - drop - 10

    width: all features of the paper's table 1 times this; at 0.5, 1,475,418 parameters, at 1 5,871,914 (the paper:
    about 7 million, a million of them for 1000 classes). modules: see `inception`, grouped by size of image.
    The paper's first layers, which shrink 224x224 pixels to 28x28, are one convolution here. BatchNorm (Ioffe &
    Szegedy 2015) is used where the paper trains through two further outputs, "auxiliary classifiers".
    Szegedy et al. 2014, arXiv:1409.4842.
    """
    layers = conv_bn_relu(narrowed(192, width), 3)
    for place, group in enumerate(modules):
        layers += [MaxPool2D(3, 2, 1)] if place else []
        layers += [inception(*(narrowed(number, width) for number in module)) for module in group]
    return Sequential([*layers, GlobalAveragePool2D(), *drop(dropout), Dense(classes)], input_shape)


# (filters, stride) of every separable convolution: table 1 of the paper, with its first stride of 2 left to the pixels
SEPARABLES = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def separable(filters, stride):
    """A convolution in two steps: one window per feature map, then 1x1 to mix the features."""
    return [DepthwiseConv2D(3, stride, padding=1, bias=False), BatchNorm(), ReLU(), *conv_bn_relu(filters, 1)]


def mobilenet(width=0.5, blocks=SEPARABLES, input_shape=(32, 32, 3), classes=10):
    """Depthwise separable convolutions: about an eighth of the work of 3x3 convolutions, for nearly their accuracy.

        conv 3x3 32 - 13 separable convolutions, 64 to 1024 features - global average - 10

    width: the paper's width multiplier; at 0.5, 823,722 parameters, at 1 3,217,226 (the paper: 4.2 million, a million
    of them for 1000 classes). The first convolution has stride 1 instead of 2, since the images are small already:
    32, 16, 8, 4, 2 pixels, where the paper's shrink from 112 to 7. Howard et al. 2017, arXiv:1704.04861, table 1.
    """
    layers = conv_bn_relu(narrowed(32, width), 3)
    for number, stride in blocks:
        layers += separable(narrowed(number, width), stride)
    return Sequential([*layers, *average_and_score(classes)], input_shape)


def narrowed(number, width):
    """So many features for a width: number * width, at least 1."""
    return max(round(number * in_range(width, "width", 0, float("inf"))), 1)


VARIANTS = ("pool", "strided", "convpool", "all")


def all_cnn_c(variant="all", filters=(96, 192), image_dropout=0.2, dropout=0.5, input_shape=(32, 32, 3), classes=10):
    """Only convolutions: a stride takes the place of the pooling, an average that of the Dense layers.

        [conv 3x3 96 - conv 3x3 96 - conv 3x3 96 stride 2] - the same with 192 - conv 3x3 192 - conv 1x1 192 -
        conv 1x1 10 - global average

        variant         each bracket                        parameters    error, per cent (CIFAR-10, no augmentation)
        "pool"          conv, conv, max pool                   954,730     9.74    the base model C
        "strided"       conv, conv with stride 2               954,730    10.19
        "convpool"      conv, conv, conv, max pool           1,369,738     9.31
        "all"           conv, conv, conv with stride 2       1,369,738     9.08    All-CNN-C; 7.25 with augmentation

    Springenberg et al. 2014, arXiv:1412.6806, tables 1 to 3: pooling is over 3x3 pixels with stride 2, the scores go
    through a ReLU before they are averaged, and the convolution behind the second bracket is not padded (8x8 to 6x6).
    image_dropout, dropout: the rates for the image and after each bracket.
    """
    if variant not in VARIANTS:
        raise UserError(f"variant={variant!r}: expected one of {', '.join(map(repr, VARIANTS))}")
    convolutions, strided = 3 if variant in ("convpool", "all") else 2, variant in ("strided", "all")
    layers = drop(image_dropout)
    for number in filters:
        for _ in range(convolutions - 1):
            layers += conv_relu(number, 3)
        layers += conv_relu(number, 3, stride=2 if strided else 1, padding=1)
        layers += [*([] if strided else [MaxPool2D(3, 2, 1)]), *drop(dropout)]
    last = filters[-1]
    layers += [*conv_relu(last, 3, padding=0), *conv_relu(last, 1), *conv_relu(classes, 1), GlobalAveragePool2D()]
    return Sequential(layers, input_shape)
