"""What convolution and pooling share: a window that slides over an image, and its arguments."""

from minidl.arguments import pair, short
from minidl.core import Layer, features_seem_in_front
from minidl.errors import ShapeError, UserError
from minidl.ops.windows import Windows


class Windowed(Layer):
    """A layer whose window slides over the image."""

    def slide(self, H, W, size, features):
        """Set `windows`, all places of the window on images of H x W, and the output's shape, which is returned."""
        self.windows = windows = Windows(H, W, size, self.stride, self.padding)
        if not windows.fit:
            KH, KW = size
            cure = self.doubt(H, W) or "Take a smaller window, more padding, or fewer poolings before it"
            if features_seem_in_front((H, W, self.input_shape[2])):
                cure = f"Features come last here: ({W}, {W}, {H})"
            raise ShapeError(f"{self.label()}: a window of {KH}x{KW} does not fit into the padded image of "
                             f"{windows.padded[0]}x{windows.padded[1]} (image {H}x{W}). {cure}")
        self.output_shape = (windows.OH, windows.OW, features)
        return self.output_shape

    def doubt(self, H, W):
        """What makes the window's arguments seem unintended for images of H x W; None where nothing does."""


def checked_padding(value, what):
    """"same", "valid", or (height, width) of zeros on each side, from the argument that `what` names in the error."""
    if isinstance(value, str):
        if value not in ("same", "valid"):
            raise UserError(f"{what}={value!r}: expected \"same\", \"valid\", an integer, or a pair of them")
        return value
    return pair(value, what, least=0)


def window_arguments(size, stride, padding, usual_stride):
    """The arguments of a window as the code would write them: `3, stride=2, padding='same'`."""
    stride = "" if stride == usual_stride else f", stride={short(stride)}"
    padding = "" if padding == (0, 0) else f", padding={short(padding)}"
    return f"{short(size)}{stride}{padding}"
