"""plots.settings draws what it is given: the mean of every setting, every seed, in the order of the settings."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from minidl import plots

GRID = {
    "SGD": {"L2": {"training": {"none": [1.0, 0.9], 0.1: [0.8, 0.7]}, "test": {"none": [0.5, 0.6], 0.1: [0.4, 0.4]}},
            "L1": {"training": {"none": [1.0], 0.005: [0.3], 0.05: [0.1]}}},
    "Adam": {"L2": {"test": {"none": [0.7], 0.1: [0.6]}}},
}


@pytest.fixture
def figure():
    figure = plots.settings(GRID, "Title", "strength", "accuracy", reference=(0.25, "guessing"), limits=(0, 1.1))
    figure.canvas.draw()
    yield figure
    plt.close(figure)


def panel(figure, row, column):
    return np.reshape(figure.axes, (2, 2))[row, column]


def test_lines_go_through_the_means_and_dots_show_every_seed(figure):
    lines = {line.get_label(): line for line in panel(figure, 0, 0).lines}
    np.testing.assert_allclose(lines["training"].get_ydata(), [0.95, 0.75])
    np.testing.assert_allclose(lines["test"].get_ydata(), [0.55, 0.4])
    np.testing.assert_allclose(lines["guessing"].get_ydata(), [0.25, 0.25])
    dots = [line for line in panel(figure, 0, 0).lines if line.get_marker() == "o"]
    assert [list(map(float, line.get_ydata())) for line in dots] == [[1.0, 0.9], [0.8, 0.7], [0.5, 0.6], [0.4, 0.4]]
    assert [dot.get_color() for dot in dots] == [lines[name].get_color() for name in ("training",) * 2 + ("test",) * 2]


def test_settings_are_named_in_their_order(figure):
    names = [[text.get_text() for text in panel(figure, 0, column).get_xticklabels()] for column in (0, 1)]
    assert names == [["none", "0.1"], ["none", "0.005", "0.05"]]


def test_titles_labels_and_empty_panels(figure):
    assert panel(figure, 0, 1).get_title() == "L1"
    assert panel(figure, 1, 0).get_ylabel() == "Adam\naccuracy"
    assert panel(figure, 1, 0).get_xlabel() == "strength"
    assert not panel(figure, 1, 1).get_visible(), "Adam has no panel L1"
    assert panel(figure, 0, 0).get_ylim() == (0, 1.1)
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {"training", "test", "guessing"}
