"""Pictures of images: plots.maps and plots.filters show every number where it is, plots.durations every time."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from minidl import plots
from minidl.errors import ShapeError

pytestmark = pytest.mark.usefixtures("drawn")


@pytest.fixture
def drawn():
    """Closes what a test has drawn."""
    import matplotlib.pyplot as plt
    yield
    plt.close("all")


def colours(axis):
    """The colour that each pixel of the panel's image has, (H, W, 4)."""
    (image,) = axis.images
    values = image.get_array()
    return values if values.ndim == 3 else image.cmap(image.norm(values))


def shown(figure):
    return [axis for axis in figure.axes if axis.images]


# --------------------------------------------------------------------------------------------------------------- maps

def test_maps_are_black_at_0_and_white_at_their_largest_number():
    low, high = np.array([[0, 1], [2, 4]]), np.array([[0, 50], [100, 25]])[:, :, None]
    first, second = shown(plots.maps({"low": low, "high": high}, "a title"))
    assert [axis.get_title() for axis in (first, second)] == ["low", "high"]
    np.testing.assert_allclose(colours(first)[:, :, 0], [[0, 0.25], [0.5, 1]], atol=0.01)
    np.testing.assert_allclose(colours(second)[:, :, 0], [[0, 0.5], [1, 0.25]], atol=0.01)


def test_maps_of_both_signs_are_red_and_blue_around_white():
    (axis,) = shown(plots.maps({"map": np.array([[-2.0, 0], [1, 2]])}, ""))
    ((negative, zero), (half, positive)) = colours(axis)[:, :, :3]
    assert np.all(zero > 0.95), "0 is white"
    assert negative[2] > negative[0] + 0.2, "negative is blue"
    assert positive[0] > positive[2] + 0.2, "positive is red"
    assert half[0] > positive[0], "half as much is paler"


def test_maps_of_zeros_and_of_colours():
    bytes_ = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    zeros, image = shown(plots.maps({"zeros": np.zeros((2, 3)), "image": bytes_}, ""))
    np.testing.assert_array_equal(colours(zeros)[:, :, 0], np.zeros((2, 3)))
    np.testing.assert_array_equal(colours(image), bytes_)


def test_maps_fill_rows_and_hide_the_rest():
    figure = plots.maps({str(k): np.eye(2) for k in range(5)}, "", columns=3)
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in shown(figure)] == ["0", "1", "2", "3", "4"]
    assert not [axis for axis in figure.axes if axis.axison], "no ticks anywhere"


@pytest.mark.parametrize("columns", [2, 1])
def test_numbers_are_in_their_pixels_and_all_pixels_have_one_size(columns):
    panels = {"wide": np.arange(6.0).reshape(2, 3) - 2, "high": np.arange(5.0).reshape(5, 1) / 8}
    figure = plots.maps(panels, "", columns=columns, numbers=True)
    figure.canvas.draw()
    sizes = []
    for axis, (name, numbers) in zip(shown(figure), panels.items(), strict=True):
        written = {text.get_position(): text.get_text() for text in axis.texts}
        expected = {(column, row): f"{number:.3g}" for (row, column), number in np.ndenumerate(numbers)}
        assert written == expected, name
        assert colours(axis)[:, :, :3].max(axis=2).min() > 0.6, f"{name}: too dark to read black numbers"
        (x0, y0), (x1, y1) = axis.transData.transform([(0, 0), (1, 1)])
        sizes += [x1 - x0, y0 - y1]
    np.testing.assert_allclose(sizes, sizes[0], rtol=0.05)


def test_marks_frame_the_pixels_that_they_name():
    first, second = shown(plots.maps({"a": np.eye(4), "b": np.eye(4)}, "", marks={"b": [(1, 2, 3, 2, "red")]}))
    assert not first.lines
    (frame,) = second.lines
    assert frame.get_color() == "red"
    assert (frame.get_xdata().min(), frame.get_xdata().max()) == (1.5, 3.5), "columns 2 and 3"
    assert (frame.get_ydata().min(), frame.get_ydata().max()) == (0.5, 3.5), "rows 1 to 3"


# ------------------------------------------------------------------------------------------------------------ filters

def test_filters_are_all_there_on_one_scale():
    W = np.zeros((2, 3, 1, 5))
    for f in range(5):
        W[1, 2, 0, f] = -0.1 * (f + 1)
    (axis,) = shown(plots.filters({"before": W}, "a title", columns=3))
    assert axis.get_title() == "before: weights up to 0.5"
    sheet = np.ma.filled(axis.images[0].get_array().astype(float), np.nan)
    assert sheet.shape == (5, 11), "two rows of three filters, a pixel between them"
    assert axis.images[0].get_clim() == (-1, 1), "0 is in the middle of the colours"
    lowest = [(1, 2), (1, 6), (1, 10), (4, 2), (4, 6)]       # the lower right pixel of each filter
    np.testing.assert_allclose([sheet[place] for place in lowest], [-0.2, -0.4, -0.6, -0.8, -1])
    between = np.isnan(sheet)
    assert between[2].all() and between[:, 3].all() and between[:, 7].all()
    assert between[3:, 8:].all(), "there is no sixth filter"
    assert between.sum() == 55 - 5 * 6


def test_filters_on_colours_are_grey_at_0_and_white_between():
    W = np.zeros((2, 2, 3, 2))
    W[0, 0, :, 0] = 0.3, 0, -0.3
    (axis,) = shown(plots.filters({"W": W}, ""))
    np.testing.assert_allclose(colours(axis)[0, 0], [1, 0.5, 0])
    np.testing.assert_allclose(colours(axis)[1, 1], [0.5, 0.5, 0.5])
    np.testing.assert_allclose(colours(axis)[0, 2], [1, 1, 1])


def test_filters_before_and_after_have_a_scale_each():
    small = np.full((2, 2, 1, 1), 0.01)
    figure = plots.filters({"before": small, "after": 100 * small, "zero": 0 * small}, "")
    titles = [axis.get_title() for axis in shown(figure)]
    assert titles == ["before: weights up to 0.01", "after: weights up to 1", "zero: weights up to 0"]
    before, after, zero = (colours(axis)[0, 0] for axis in shown(figure))
    np.testing.assert_array_equal(before, after)
    assert np.all(zero > 0.95), "0 is white"


@pytest.mark.parametrize("shape", [(3, 3, 8, 4), (8, 4), (3, 3, 2, 4)])
def test_filters_without_colours_are_refused(shape):
    with pytest.raises(ShapeError) as caught:
        plots.filters({"W": np.ones(shape)}, "")
    assert str(caught.value) == (f"plots.filters: expected weights (KH, KW, 1, F), or 3 in place of 1, got {shape} "
                                 f"for 'W'. Of windows on more features, show one: W[:, :, 2:3]")


# ---------------------------------------------------------------------------------------------------------- durations

def test_durations_are_bars_and_words():
    figure = plots.durations({"one": {"slow": 7200.0, "fast": 0.0123}, "two": {"slow": 90.0, "fast": 1.0}}, "a title")
    one, two = figure.axes
    assert [bar.get_width() for bar in one.patches] == [7200, 0.0123]
    assert [bar.get_width() for bar in two.patches] == [90, 1]
    assert one.get_xscale() == "log"
    assert [text.get_text() for text in one.texts] == ["2 h 0 min", "0.012 s"]
    assert [text.get_text() for text in two.texts] == ["90 s", "1 s"]
    assert [bar.get_facecolor() for bar in one.patches] == [to_rgba(color) for color in plots.COLORS[:2]]
    low, high = one.get_xlim()
    assert low < 0.0123 and high > 7200 and (low, high) == two.get_xlim()
    assert one.yaxis_inverted(), "the first label is above the others"
