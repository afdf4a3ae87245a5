"""Residual networks: blocks that learn what to add to their input, and the plain networks to compare them with."""

from minidl.backend import xp
from minidl.core import Layer, positive_integer
from minidl.errors import ShapeError, UserError
from minidl.layers import MaxPool2D
from minidl.models.blocks import average_and_score, conv_bn, conv_bn_relu, residual_block
from minidl.network import Residual, Sequential

# ------------------------------------------------------------------------------------------------- what blocks are of


def basic(filters, stride=1, init="he"):
    """The body of a basic block: two 3x3 convolutions; the first takes the stride. He et al. 2015, figure 5 left."""
    return [*conv_bn_relu(filters, 3, stride, init=init), *conv_bn(filters, 3, init=init)]


def bottleneck(filters, stride=1, init="he"):
    """The body of a bottleneck: 1x1 down to a quarter of the features, 3x3 there, 1x1 up again. Figure 5 right."""
    narrow = max(filters // 4, 1)
    return [*conv_bn_relu(narrow, 1, init=init), *conv_bn_relu(narrow, 3, stride, init=init),
            *conv_bn(filters, 1, init=init)]


class ZeroPadShortcut(Layer):
    """A shortcut without parameters, for where the body halves the image and adds features: "option A".

        y[n, h, w, c] = x[n, h * stride, w * stride, c] for c < C, else 0
        dx[n, h * stride, w * stride, c] = dy[n, h, w, c], and 0 for all other pixels

    x: (N, H, W, C)    y: (N, OH, OW, F)    OH = ceil(H / stride)    F: `features`, at least C

    The zeros come after the features of x.
    He et al. 2015, arXiv:1512.03385, section 3.3.
    """

    def __init__(self, features, stride=2):
        self.features, self.stride = positive_integer(features, "features"), positive_integer(stride, "stride")

    def build(self, input_shape):
        H, W, C = self.accept(input_shape, ("H", "W", "C"))
        if self.features < C:
            raise ShapeError(f"{self.label()}: expected input of at most {self.features} features, got {C}. This "
                             f"shortcut only adds features; to take some away, use a 1x1 Conv2D")
        return (-(-H // self.stride), -(-W // self.stride), self.features)

    def forward(self, x):
        self.check(x)
        kept = x[:, ::self.stride, ::self.stride]                            # (N, OH, OW, C)
        y = xp.zeros((*kept.shape[:3], self.features), x.dtype)
        y[..., :x.shape[3]] = kept
        return y

    def backward(self, dy):
        dx = xp.zeros((len(dy), *self.input_shape), dy.dtype)
        dx[:, ::self.stride, ::self.stride] = dy[..., :dx.shape[3]]
        return dx

    def __repr__(self):
        return f"ZeroPadShortcut({self.features}, stride={self.stride})"


# ------------------------------------------------------------------------------------------------------- the networks


def cifar_resnet(depth=20, skips=True, width=16, input_shape=(32, 32, 3), classes=10, init="he"):
    """Basic blocks at three sizes of image, n at each: the residual network in its purest form.

        conv 3x3 16 - n blocks of 16 at 32x32 - n of 32 at 16x16 - n of 64 at 8x8 - global average - 10
        depth = 6n + 2 layers with weights

        depth                   20          32          44          56           110
        parameters         269,722     464,154     658,586     853,018     1,727,962
        error, per cent       8.75        7.51        7.17        6.97          6.43     (CIFAR-10, with skips)

    skips=False: the plain network, layer for layer the same. The shortcuts have no parameters (`ZeroPadShortcut`
    where the size changes), so the counts are the same. In the paper plain-56 trains *worse* than plain-20; with
    skips, deeper is better. width: the features of the first stage.
    He et al. 2015, arXiv:1512.03385, section 4.2 and table 6 (0.27M, 0.46M, 0.66M, 0.85M and 1.7M parameters; 6.43 is
    the best of five runs).
    """
    blocks, rest = divmod(depth - 2, 6)
    if blocks < 1 or rest:
        raise UserError(f"depth={depth}: expected 6n + 2, such as 20, 32, 44, 56 or 110: three stages of n blocks with "
                        f"two convolutions each, one convolution before and one Dense layer behind them")
    layers = conv_bn_relu(width, 3, init=init)
    for stage, filters in enumerate((width, 2 * width, 4 * width)):
        for block in range(blocks):
            shrinks = stage > 0 and block == 0
            shortcut = ZeroPadShortcut(filters) if shrinks else None
            layers += residual_block(basic(filters, 2 if shrinks else 1, init), shortcut, skips)
    return Sequential([*layers, *average_and_score(classes, init)], input_shape)


BODIES = {"basic": basic, "bottleneck": bottleneck}
POOLINGS = ("front", "none", "all")


def residual_net(block="basic", depth=2, skips=True, pooling="front", filters=(64, 128, 256, 512), zero_gamma=True,
                 input_shape=(32, 32, 3), classes=10, init="he"):
    """The residual net that source 000 arrived at, with the choices that it tried on the way.

        conv 3x3 64 - conv 3x3 64 - then for 128, 256 and 512 features: a block that halves the image, `depth` blocks
        that keep it - global average - 10

    block: "basic" or "bottleneck"    skips: False for the plain network
    pooling: how the image is halved, four times in all
        "front"     strides, and one MaxPool after the first halving block besides (the published runs)
        "none"      strides alone: the image is 2x2 at the end
        "all"       a MaxPool instead of every stride: where the source started
    zero_gamma: start the last BatchNorm of every block with a skip at gamma = 0, so that each block begins as its
    shortcut (Goyal et al. 2017, arXiv:1706.02677, section 5.1). Until gamma has moved, no gradient passes there.

        block, depth             basic, 2    basic, 6    bottleneck, 0    bottleneck, 6    bottleneck, 12
        parameters             17,259,850  42,046,794          543,178        2,752,714         4,962,250
        best error, per cent        12.04       12.50            13.59            14.61             12.87

    Source 000 (github.com/leonaci/cifar10, commits 40069c3, 0021759, 791075b, 553912f, ff621c8); the best of all
    epochs on the test set. "front" leaves the blocks of 128 features an image of 4x4, those of 256 one of 2x2 and
    those of 512 a *single pixel*: there eight of the nine weights of a 3x3 window only ever meet the padding and get
    no gradient. In the basic net of depth 6 that is 27,918,336 weights, two thirds of all.
    A 1x1 convolution with BatchNorm is the shortcut where a block halves the image. Without skips it is not made; the
    source makes it and leaves it unused. The source's "kaiming" start scales by fan_out, minidl's "he" by fan_in.
    """
    if block not in BODIES:
        raise UserError(f"block={block!r}: expected one of {', '.join(map(repr, BODIES))}")
    if pooling not in POOLINGS:
        raise UserError(f"pooling={pooling!r}: expected one of {', '.join(map(repr, POOLINGS))}")
    if depth < 0:
        raise UserError(f"depth={depth}: expected the number of blocks between two halvings, at least 0")
    body, halving = BODIES[block], 1 if pooling == "all" else 2
    first, *others = filters
    layers = [*conv_bn_relu(first, 3, halving, init=init, bias=True), *conv_bn_relu(first, 3, init=init, bias=True)]
    if pooling == "all":
        layers.append(MaxPool2D(2))
    for stage, number in enumerate(others):
        shortcut = conv_bn(number, 1, halving, init=init)
        layers += residual_block(body(number, halving, init), shortcut, skips)
        if pooling == "all" or (pooling == "front" and stage == 0):
            layers.append(MaxPool2D(2))
        for _ in range(depth):
            layers += residual_block(body(number, init=init), skip=skips)
    model = Sequential([*layers, *average_and_score(classes, init)], input_shape)
    if zero_gamma:
        for layer in model.layers:
            if isinstance(layer, Residual):
                layer.body.layers[-1].gamma.data[...] = 0
    return model
