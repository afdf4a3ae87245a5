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


def texts(axis):
    return [text.get_text() for text in axis.texts]


@pytest.mark.usefixtures("drawn")
def test_curves_say_what_they_cannot_draw():
    steps = np.arange(3.0)
    panels = {"one": {"zeros": (steps, np.zeros(3)), "gone": (steps, np.full(3, np.nan)), "there": (steps, steps + 1)},
              "two": {"there": (steps, steps + 1)}}
    one, two = plots.curves(panels, "", "step", "loss", logarithmic=True).axes
    assert texts(one) == ["exactly 0:\nzeros\nNaN throughout:\ngone"]
    assert texts(two) == []
    one, two = plots.curves(panels, "", "step", "loss").axes
    assert texts(one) == ["NaN throughout:\ngone"]


@pytest.mark.usefixtures("drawn")
def test_curves_with_markers_over_powers_of_two():
    figure = plots.curves({"": {"a": ([2, 4, 8], [0, 1, 2]), "b": ([2, 4, 8], [2, 1, 0])}}, "", "batch", "accuracy",
                          markers={"a": "^"}, xbase=2)
    (axis,) = figure.axes
    assert [line.get_marker() for line in axis.lines] == ["^", "None"]
    assert axis.get_xscale() == "log"
    figure.canvas.draw()
    assert {"2", "4", "8"} <= {label.get_text() for label in axis.get_xticklabels()}


@pytest.mark.usefixtures("drawn")
def test_histograms_pile_up_what_is_beyond_the_ends():
    """An explosion and a collapse look different: black at the end, or colour in the middle."""
    values = {"collapsed": np.full(100, 0.01), "exploded": np.r_[np.full(60, 9.0), np.full(40, -9.0)],
              "one in 200": np.r_[np.zeros(199) + 0.01, 9]}
    figure = plots.histograms({"row": values}, "", "output", limits={"row": (-1, 1)}, bins=4)
    collapsed, exploded, rare = figure.axes
    black = (0, 0, 0, 1)

    def heights(axis, color):
        return [bar.get_height() for bar in axis.patches if (bar.get_facecolor() == black) == (color == "black")]

    assert heights(collapsed, "row's") == [0, 0, 100, 0]
    assert heights(collapsed, "black") == [0, 0, 0, 0]
    assert heights(exploded, "row's") == [0, 0, 0, 0]
    assert heights(exploded, "black") == [40, 0, 0, 60]
    assert "100% beyond" in texts(exploded)[0]
    assert heights(rare, "black") == [0, 0, 0, 0]
    assert [("beyond" in texts(axis)[0]) for axis in (collapsed, exploded, rare)] == [False, True, False]


def test_line_is_the_mean_over_the_seeds_that_have_run():
    runs = {("A", 2, 0): 0.5, ("A", 2, 1): 0.7, ("A", 4, 0): 0.9, ("B", 8, 0): 0.1}
    settings, means = plots.line(runs, "A", [2, 4, 8], [0, 1])
    assert settings == [2, 4]
    np.testing.assert_allclose(means, [0.6, 0.9])
    assert plots.line(runs, "C", [2, 4, 8], [0, 1])[0] == []
