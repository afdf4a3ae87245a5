"""Convolutional networks of the lessons: from one convolution on MNIST to ninety percent on CIFAR-10."""

from functools import partial

from minidl.layers import Dense, Flatten, GlobalAveragePool2D, LeakyReLU, MaxPool2D
from minidl.models.blocks import conv_bn_relu, conv_relu, dense_relu, drop
from minidl.network import Sequential

# ------------------------------------------------------------------------------------------------------------- MNIST


def simple_convnet(input_shape=(28, 28, 1), classes=10, filters=30, units=100, init="he"):
    """One convolution, one pooling, one hidden layer: the least that deserves the name.

        conv 5x5 30 - pool - 100 - 10                433,890 parameters, 432,100 of them in the hidden layer

    `SimpleConvNet` of the course (source 003, notebook 2_6) and of its textbook (Saito 2016, section 7.5). Published
    test accuracy: 0.950 to 0.966 after 1000 steps of Adam on 5000 images; about 0.99 on all of MNIST.
    The sources start from init="normal:0.01".
    """
    return Sequential([*conv_relu(filters, 5, padding=0, init=init), MaxPool2D(2),
                       Flatten(), *dense_relu(units, init=init), Dense(classes, init)], input_shape)


def double_convnet(input_shape=(28, 28, 1), classes=10, filters=(10, 20), units=100, init="he"):
    """Two convolutions before the pooling, the first with a large window.

        conv 7x7 10 - conv 3x3 20 - pool - 100 - 10                291,430 parameters

    `DoubleConvNet` of the course (source 003, notebook 2_7). Published test accuracy: 0.761 to 0.844 after 100 steps
    of Adam. The source starts from init="normal:0.01".
    """
    first, second = filters
    return Sequential([*conv_relu(first, 7, padding=1, init=init), *conv_relu(second, 3, padding=1, init=init),
                       MaxPool2D(2), Flatten(), *dense_relu(units, init=init), Dense(classes, init)], input_shape)


def deep_convnet(input_shape=(28, 28, 1), classes=10, filters=(16, 32, 64), units=50, dropout=0.5,
                 dropout_on_scores=False, init="he"):
    """Small windows stacked in pairs, more features after each pooling: VGG's idea at the size of MNIST.

        conv 16 - conv 16 - pool - conv 32 - conv 32 - pool - conv 64 - conv 64 - pool - 50 - 10
        all windows 3x3                123,552 parameters

    `DeepConvNet` of the textbook (Saito 2016, section 8.1; source 003, notebook 2_8). Published test accuracy: 0.9938
    after 20 epochs of Adam; 0.973 to 0.983 after 1000 steps on 5000 images.
    Its fourth convolution pads by 2, all others by 1: so 14x14 grows to 16x16 and halves evenly to 4x4.
    dropout_on_scores: the book also drops half of the ten *scores*, which keeps its training loss near 1 while it
    tests at 0.98; left out unless asked for.
    """
    first, second, third = filters
    return Sequential([
        *conv_relu(first, 3, padding=1, init=init), *conv_relu(first, 3, padding=1, init=init), MaxPool2D(2),
        *conv_relu(second, 3, padding=1, init=init), *conv_relu(second, 3, padding=2, init=init), MaxPool2D(2),
        *conv_relu(third, 3, padding=1, init=init), *conv_relu(third, 3, padding=1, init=init), MaxPool2D(2),
        Flatten(), *dense_relu(units, dropout, init),
        Dense(classes, init), *drop(dropout if dropout_on_scores else 0)], input_shape)


# ---------------------------------------------------------------------------------------------------------- CIFAR-10

keras_leaky_relu = partial(LeakyReLU, 0.3)  # the slope that Keras takes unless told


def naive_cifar_net(input_shape=(32, 32, 3), classes=10, filters=(6, 16), units=(120, 84), init="he"):
    """Two rounds of convolution and pooling, then three Dense layers: LeNet-5 for colour pictures.

        conv 5x5 6 - pool - conv 5x5 16 - pool - 120 - 84 - 10                62,006 parameters

    The first net of source 000 (as in PyTorch's CIFAR-10 tutorial). Published accuracy: about 0.63, with augmentation.
    LeCun et al. 1998, "Gradient-based learning applied to document recognition". The source leaves the first weights
    to PyTorch (uniform, variance 1 / (3 fan_in)).
    """
    layers = []
    for number in filters:
        layers += [*conv_relu(number, 5, padding=0, init=init), MaxPool2D(2)]
    layers += [Flatten()]
    for width in units:
        layers += dense_relu(width, init=init)
    return Sequential([*layers, Dense(classes, init)], input_shape)


def vgg_like(input_shape=(32, 32, 3), classes=10, filters=(64, 64, 128, 256, 256, 512), units=(2000, 2000),
             padding="valid", activation=keras_leaky_relu, init="he"):
    """Three pairs of 3x3 convolutions and two very wide Dense layers.

        conv 64 - conv 64 - pool - conv 128 - conv 256 - pool - conv 256 - conv 512 - 2000 - 2000 - 10
                                                7,225,994 parameters

    The first listing of source 001. Published accuracy: above 0.70, 0.75 with batches of about 1000, while training
    goes towards 1. The listing is Keras, whose padding is "valid" unless given: the last map is then 1x1. With
    padding="same" it is 8x8, and the first Dense layer alone takes the count to 71,737,994.
    The source leaves `activation` open; the notes had just switched to LeakyReLU, which in Keras has a slope of 0.3.
    """
    a, b, c, d, e, f = filters
    conv = partial(conv_relu, kernel_size=3, padding=padding, init=init, activation=activation)
    layers = [*conv(a), *conv(b), MaxPool2D(2), *conv(c), *conv(d), MaxPool2D(2), *conv(e), *conv(f), Flatten()]
    for width in units:
        layers += dense_relu(width, init=init, activation=activation)
    return Sequential([*layers, Dense(classes, init)], input_shape)


def vgg_like_dropout(input_shape=(32, 32, 3), classes=10, filters=(128, 128, 128, 256, 256, 512), units=(2000, 2000),
                     dropout=0.4, padding="valid", activation=keras_leaky_relu, init="he"):
    """The VGG-like net with wider first convolutions and dropout at four places.

        conv 128 - drop - conv 128 - pool - conv 128 - drop - conv 256 - pool - conv 256 - drop - conv 512 -
        global average - 2000 - drop - 2000 - 10                7,412,170 parameters

    The second listing of source 001. Published accuracy: about 0.80; with augmentation, training and validation rise
    together. With Keras's "valid" padding the last map is 1x1, so the global average has nothing to do.
    Activation as in `vgg_like`.
    """
    a, b, c, d, e, f = filters
    conv = partial(conv_relu, kernel_size=3, padding=padding, init=init, activation=activation)
    layers = [*conv(a), *drop(dropout), *conv(b), MaxPool2D(2), *conv(c), *drop(dropout), *conv(d), MaxPool2D(2),
              *conv(e), *drop(dropout), *conv(f), GlobalAveragePool2D()]
    for place, width in enumerate(units):
        layers += dense_relu(width, dropout if place == 0 else 0, init, activation)
    return Sequential([*layers, Dense(classes, init)], input_shape)


def ten_layer_net(input_shape=(32, 32, 3), classes=10, kernel_sizes=(1, 3, 5), dropout=0.25, filters=(64, 128, 256),
                  init="he"):
    """Three sets of three convolutions whose windows grow, each with BatchNorm; then the scores, and that is all.

        [conv 1x1, 3x3, 5x5] 64 - drop - pool - [1x1, 3x3, 5x5] 128 - drop - [1x1, 3x3, 5x5] 256 - drop - 10
        2,974,986 parameters as Keras counts them: 2,972,298 trained and 2,688 running statistics

    Source 004 (koshian2). Published validation accuracy on CIFAR-10: 0.9010, the best of 700 epochs; typically 0.88
    to 0.89. Its steps: kernel_sizes=(5, 3, 1) and dropout=0 reached about 0.75 without augmentation and 0.85 with;
    dropout=0.2 added 0.025, dropout=0.5 was too much; (1, 3, 5) added 0.01 to 0.02.
    No padding, so the windows use up the image: 32, 30, 26, pool, 13, 11, 7, 5, 1. The convolutions keep their bias,
    although BatchNorm takes it out again. Keras's BatchNorm has momentum 0.99 and eps 1e-3; here they are minidl's.
    """
    layers = []
    for place, number in enumerate(filters):
        for kernel_size in kernel_sizes:
            layers += conv_bn_relu(number, kernel_size, padding=0, init=init, bias=True)
        layers += [*drop(dropout), *([MaxPool2D(2)] if place == 0 else [])]
    return Sequential([*layers, Flatten(), Dense(classes, init)], input_shape)
