"""The pictures of the lessons show what they are given."""

import numpy as np
import pytest

from minidl import plots


@pytest.fixture
def drawn():
    """Closes what a test has drawn."""
    import matplotlib.pyplot as plt
    yield
    plt.close("all")


def bowl(x, y):
    return x**2 / 20 + y**2


def test_paths_draw_every_place_in_a_panel_of_its_own(drawn):
    ways = {"straight": (np.array([-7.0, -3.0, 0.0]), np.array([2.0, 1.0, 0.0])),
            "across": (np.array([-7.0, -6.0]), np.array([2.0, -1.8])), "one": (np.array([1.0]), np.array([0.5])),
            "four": (np.array([1.0, 2.0]), np.array([0.5, 0.1]))}
    figure = plots.paths(ways, bowl, "a title")
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == list(ways)
    for axis, (name, (x, y)) in zip(shown, ways.items(), strict=True):
        bottom, path = axis.get_lines()
        assert np.allclose(path.get_xdata(), x), name
        assert np.allclose(path.get_ydata(), y), name
        assert abs(bottom.get_xdata()[0]) < 0.1, f"{name}: the cross is not at the bottom"
        assert abs(bottom.get_ydata()[0]) < 0.1, f"{name}: the cross is not at the bottom"
        low, high = axis.get_xlim()
        assert low < -7 < 2 < high, "all panels show all places"
    assert [axis.get_title() for axis in shown if axis.get_xlabel()] == ["across", "one", "four"], \
        "the lowest panel of every column names the axis"


def test_curves_on_a_logarithmic_x_axis(drawn):
    figure = plots.curves({"": {"SGD": ([0.01, 0.1, 1], [0.1, 0.9, np.nan])}}, "a title", "rate", "accuracy", xbase=10)
    assert figure.axes[0].get_xscale() == "log"
    assert list(figure.axes[0].get_lines()[0].get_xdata()) == [0.01, 0.1, 1]
