"""The pictures that the lessons share, large enough for the back of the room.

Each function returns a matplotlib figure. Matplotlib is imported when the first picture is drawn, and needs no
display: without one it draws into memory.
"""

from contextlib import contextmanager
from math import ceil

import numpy as np

# Okabe & Ito 2008: eight colours that people with a colour-vision deficiency can tell apart
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")

STYLE = {
    "font.size": 14, "axes.titlesize": 15, "axes.labelsize": 14, "legend.fontsize": 13, "figure.titlesize": 17,
    "lines.linewidth": 2.2, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.alpha": 0.3, "figure.dpi": 100, "savefig.dpi": 100,
}


@contextmanager
def canvas(rows=1, columns=1, title="", size=None, **options):
    """A figure and its axes (always a 2-D array) in the lessons' style; `options` go to plt.subplots."""
    import matplotlib.pyplot as plt
    with plt.rc_context(STYLE | {"axes.prop_cycle": plt.cycler(color=COLORS)}):
        figure, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained",
                                    figsize=size or (4.2 * columns + 1, 3.3 * rows + 0.8), **options)
        if title:
            figure.suptitle(title)
        yield figure, axes


def bars(values, groups, title, ylabel, reference=None):
    """Bars in groups, a dot for each seed.

    values: {label: {group: [one number per seed]}}; each label has a colour, each group a place on the axis
    reference: (height, text) of a dashed line, such as the accuracy of guessing
    """
    with canvas(title=title, size=(11, 6)) as (figure, axes):
        axis, width = axes[0, 0], 0.8 / len(values)
        for k, (label, by_group) in enumerate(values.items()):
            places = np.arange(len(groups)) + (k - (len(values) - 1) / 2) * width
            means = [np.mean(by_group[group]) for group in groups]
            axis.bar(places, means, width * 0.94, label=label, alpha=0.85)
            for place, group, mean in zip(places, groups, means, strict=True):
                axis.plot([place] * len(by_group[group]), by_group[group], "o", color="black", markersize=4)
                axis.text(place, max(by_group[group]) + 0.015, f"{mean:.3f}", ha="center", va="bottom")
        if reference:
            axis.axhline(reference[0], color="black", linestyle="--", linewidth=1.5, label=reference[1])
        axis.set_xticks(range(len(groups)), groups)
        axis.set_ylabel(ylabel)
        axis.margins(y=0.12)
        axis.grid(visible=False, axis="x")
        figure.legend(loc="outside lower center", ncols=len(values) + 1)
        return figure


def curves(panels, title, xlabel, ylabel, logarithmic=False, columns=4, limits=None, reference=None,
           colors=None):
    """One panel per entry, one line per label in it, all panels on the same scale.

    panels: {panel title: {label: (x, y)}}    limits: the ends of the y axis    logarithmic: whether y is
    reference: (height, text) of a dashed line in every panel    colors: {label: colour}, else in the usual order
    A line that is zero throughout cannot stand on a logarithmic axis: the panel says so in words.
    """
    columns = min(columns, len(panels))
    rows = ceil(len(panels) / columns)
    size = (10, 6) if len(panels) == 1 else None
    with canvas(rows, columns, title, size, sharex=True, sharey=True) as (figure, axes):
        for axis, (name, lines) in zip(axes.flat, panels.items(), strict=False):
            zero = [label for label, (_, y) in lines.items() if logarithmic and not np.any(y)]
            for k, (label, (x, y)) in enumerate(lines.items()):
                if label not in zero:
                    axis.plot(x, y, label=label, color=(colors or {}).get(label, COLORS[k % len(COLORS)]))
            if zero:
                axis.text(0.5, 0.5, "exactly 0:\n" + "\n".join(zero), transform=axis.transAxes, ha="center",
                          va="center", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8})
            if reference:
                axis.axhline(reference[0], color="black", linestyle="--", linewidth=1.5, label=reference[1])
            if logarithmic:
                axis.set_yscale("log")
            if limits:
                axis.set_ylim(limits)
            axis.set_title(name)
            axis.locator_params(axis="x", nbins=5)
        for axis in axes.flat[len(panels):]:
            axis.set_visible(False)
        for axis in axes[-1]:
            axis.set_xlabel(xlabel)
        for axis in axes[:, 0]:
            axis.set_ylabel(ylabel)
        labels = {}
        for axis in axes.flat:
            labels.update(dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True)))
        figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=6)
        return figure


def histograms(grid, title, xlabel, limits=None, bins=40):
    """A grid of histograms: a row per entry, a column per panel in it; the standard deviation stands in each panel.

    grid: {row title: {panel title: values}}    limits: {row title: (low, high)}, the ends of a row's axis
    A row without limits takes them from its widest panel, so that a collapse in the others is seen.
    Where a third of the values or more are exactly 0, as behind a ReLU, they are counted in words and left out: their
    bar would hide the others.
    """
    rows, columns = len(grid), max(map(len, grid.values()))
    with canvas(rows, columns, title, size=(2.9 * columns + 1, 2.1 * rows + 1)) as (figure, axes):
        for row, (name, panels) in enumerate(grid.items()):
            axes[row, 0].set_ylabel(name)
            ends = (limits or {}).get(name) or _common_ends(panels.values())
            for axis, (panel, values) in zip(axes[row], panels.items(), strict=False):
                values = np.asarray(values).ravel()
                text = f"std {values.std():.2g}"
                zeros = float((values == 0).mean())
                if zeros > 1 / 3:
                    values, text = values[values != 0], f"{text}\n{zeros:.0%} are 0"
                counts, edges = np.histogram(values, bins=bins, range=ends)
                axis.bar(edges[:-1], counts, np.diff(edges), align="edge", color=COLORS[row % len(COLORS)])
                axis.set_xlim(ends)
                axis.set_ylim(0, 1.35 * max(counts.max(), 1))  # room for the text
                axis.set_yticks([])
                axis.locator_params(axis="x", nbins=3)
                axis.grid(visible=False)
                axis.text(0.97, 0.95, text, transform=axis.transAxes, ha="right", va="top", fontsize=12)
                if row == 0:
                    axis.set_title(panel)
        for axis in axes[-1]:
            axis.set_xlabel(xlabel)
        return figure


def _common_ends(arrays):
    """Three to four standard deviations of the widest array: from 0 if nothing is negative, else on both sides."""
    widest = max(float(np.std(values)) for values in arrays) or 1
    return (-3 * widest, 3 * widest) if any(np.min(values) < 0 for values in arrays) else (0, 4 * widest)


def settings(grid, title, xlabel, ylabel, reference=None, limits=None):
    """A grid of panels on one scale; in each, lines over settings such as "none", 0.01, 0.1, one beside the other.

    grid: {row title: {panel title: {label: {setting: [one number per seed]}}}}: a line through the means, a dot for
        each seed. Titles of rows and panels may be "".    reference: (height, text) of a dashed line in every panel
    limits: the ends of the y axis
    """
    rows, columns = len(grid), max(map(len, grid.values()))
    size = (max(11, 4.6 * columns + 1), 6 if rows == 1 else 2.8 * rows + 1.6)
    with canvas(rows, columns, title, size, sharey=True) as (figure, axes):
        for axis in axes.flat:
            axis.set_visible(False)
        for row, (name, panels) in enumerate(grid.items()):
            axes[row, 0].set_ylabel(f"{name}\n{ylabel}" if name else ylabel)
            for axis, (panel, lines) in zip(axes[row], panels.items(), strict=False):
                axis.set_visible(True)
                axis.set_title(panel)
                for k, (label, by_setting) in enumerate(lines.items()):
                    _line_over_settings(axis, label, by_setting, COLORS[k % len(COLORS)])
                if reference:
                    axis.axhline(reference[0], color="black", linestyle="--", linewidth=1.5, label=reference[1])
                if limits:
                    axis.set_ylim(limits)
        for axis in axes[-1]:
            axis.set_xlabel(xlabel)
        labels = {}
        for axis in axes.flat:
            labels.update(dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True)))
        figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=6)
        return figure


def _line_over_settings(axis, label, by_setting, color):
    """A line through the mean of every setting, and a dot for each of its values."""
    names = [str(setting) for setting in by_setting]
    axis.plot(names, [np.mean(values) for values in by_setting.values()], label=label, color=color)
    for name, values in zip(names, by_setting.values(), strict=True):
        axis.plot([name] * len(values), values, "o", color=color, markersize=5)
