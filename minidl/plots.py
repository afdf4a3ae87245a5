"""The pictures that the lessons share, large enough for the back of the room.

Each function returns a matplotlib figure. Matplotlib is imported when the first picture is drawn, and needs no
display: without one it draws into memory.
"""

from contextlib import contextmanager
from math import ceil

import numpy as np

from minidl.backend import to_cpu
from minidl.errors import ShapeError
from minidl.text import in_words

# Okabe & Ito 2008: colours that people with a colour-vision deficiency can tell apart; grey where theirs is yellow,
# which nobody sees on white
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")

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
                axis.text(place, max(by_group[group]) + 0.015, f"{mean:.3f}", ha="center", va="bottom",
                          bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
        if reference:
            axis.axhline(reference[0], color="black", linestyle="--", linewidth=1.5, label=reference[1])
        axis.set_xticks(range(len(groups)), groups)
        axis.set_ylabel(ylabel)
        axis.margins(y=0.12)
        axis.grid(visible=False, axis="x")
        figure.legend(loc="outside lower center", ncols=len(values) + 1)
        return figure


def curves(panels, title, xlabel, ylabel, logarithmic=False, columns=4, limits=None, reference=None,
           colors=None, markers=None, xbase=None, legend_columns=6):
    """One panel per entry, one line per label in it, all panels on the same scale.

    panels: {panel title: {label: (x, y)}}    limits: the ends of the y axis    logarithmic: whether y is
    reference: (height, text) of a dashed line in every panel    colors: {label: colour}, else in the usual order
    markers: {label: marker}, such as "^"    xbase: 10 or 2 for a logarithmic x axis with ticks at its powers
    No logarithmic axis can show a line that is 0 throughout, and none at all one of NaN: the panel says so in words.
    """
    columns = min(columns, len(panels))
    rows = ceil(len(panels) / columns)
    size = {1: (10, 6), 2: (12, 5.8)}.get(len(panels))
    with canvas(rows, columns, title, size, sharex=True, sharey=True) as (figure, axes):
        for axis, (name, lines) in zip(axes.flat, panels.items(), strict=False):
            missing = _not_drawn(lines, logarithmic)
            for k, (label, (x, y)) in enumerate(lines.items()):
                axis.plot(x, y, label=label, color=(colors or {}).get(label, COLORS[k % len(COLORS)]),
                          marker=(markers or {}).get(label), markersize=8)
            if missing:
                axis.text(0.5, 0.5, missing, transform=axis.transAxes, ha="center", va="center",
                          bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8})
            if reference:
                axis.axhline(reference[0], color="black", linestyle="--", linewidth=1.5, label=reference[1])
            if logarithmic:
                axis.set_yscale("log")
            if limits:
                axis.set_ylim(limits)
            axis.set_title(name)
            if xbase:
                axis.set_xscale("log", base=xbase)
            else:
                axis.locator_params(axis="x", nbins=5)
            if xbase == 2:
                axis.xaxis.set_major_formatter("{x:g}")
        for axis in axes.flat[len(panels):]:
            axis.set_visible(False)
        for axis in axes[-1]:
            axis.set_xlabel(xlabel)
        for axis in axes[:, 0]:
            axis.set_ylabel(ylabel)
        labels = {}
        for axis in axes.flat:
            labels.update(dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True)))
        figure.legend(labels.values(), labels.keys(), loc="outside lower center",
                      ncols=legend_columns)
        return figure


def epochs(panels, title):
    """One panel per quantity, side by side, each with its own y axis; in it one line per label over epochs 1, 2, ...

    panels: {"loss": {"training": [one number per epoch], "test": [...]}, "accuracy": {...}}
    The same label has the same colour in all panels. Few epochs have a dot each.
    """
    labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    with canvas(1, len(panels), title, size=(6 * len(panels) + 1, 5.8)) as (figure, axes):
        for axis, (name, lines) in zip(axes[0], panels.items(), strict=True):
            for label, values in lines.items():
                axis.plot(range(1, len(values) + 1), values, label=label, color=COLORS[labels.index(label)],
                          marker="o" if len(values) <= 15 else None)
            if missing := _not_drawn({label: (None, values) for label, values in lines.items()}, logarithmic=False):
                axis.text(0.5, 0.5, missing, transform=axis.transAxes, ha="center", va="center",
                          bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8})
            axis.set(xlabel="epoch", ylabel=name)
            axis.locator_params(axis="x", integer=True, nbins=8, min_n_ticks=1)
        handles = {label: handle for axis in axes[0]
                   for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
        return figure


def _not_drawn(lines, logarithmic):
    """What a panel cannot draw of its lines, such as "exactly 0:\nzeros"."""
    found = {"exactly 0:": [label for label, (_, y) in lines.items() if logarithmic and not np.any(y)],
             "NaN throughout:": [label for label, (_, y) in lines.items() if np.isnan(y).all()]}
    return "\n".join("\n".join((what, *labels)) for what, labels in found.items() if labels)


def histograms(grid, title, xlabel, limits=None, bins=40):
    """A grid of histograms: a row per entry, a column per panel in it; each panel says its standard deviation.

    grid: {row title: {panel title: values}}    limits: {row title: (low, high)}, the ends of a row's axis
    A row without limits takes them from its widest panel, so that a collapse in the others is seen.
    Where more than 1 % of the values are beyond the ends, they are counted in words and piled up there, in a black bar:
    so an explosion looks other than a collapse.
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
                size, zeros = values.size, float((values == 0).mean())
                if zeros > 1 / 3:
                    values, text = values[values != 0], f"{text}\n{zeros:.0%} are 0"
                beyond = float(((values < ends[0]) | (values > ends[1])).sum() / size)
                if beyond > 0.01:
                    text = f"{text}\n{beyond:.0%} beyond"
                _bars_of(axis, values, ends, bins, COLORS[row % len(COLORS)], with_beyond=beyond > 0.01)
                axis.set_xlim(ends)
                axis.set_yticks([])
                axis.locator_params(axis="x", nbins=3)
                axis.grid(visible=False)
                axis.text(0.97, 0.95, text, transform=axis.transAxes, ha="right", va="top", fontsize=12)
                if row == 0:
                    axis.set_title(panel)
        for axis in axes[-1]:
            axis.set_xlabel(xlabel)
        return figure


def _bars_of(axis, values, ends, bins, color, with_beyond):
    """One histogram, with room for text above it; with_beyond: what is beyond the ends, as a black bar there."""
    within = values[(values >= ends[0]) & (values <= ends[1])]
    counts, edges = np.histogram(within, bins=bins, range=ends)
    beyond = np.zeros_like(counts)
    if with_beyond:
        beyond[0], beyond[-1] = (values < ends[0]).sum(), (values > ends[1]).sum()
    for height, bottom, paint in ((counts, 0, color), (beyond, counts, "black")):
        axis.bar(edges[:-1], height, np.diff(edges), bottom, align="edge", color=paint)
    axis.set_ylim(0, 1.35 * max((counts + beyond).max(), 1))


def _common_ends(arrays):
    """Three to four standard deviations of the widest array: from 0 if nothing is negative, else on both sides."""
    widest = max(float(np.std(values)) for values in arrays) or 1
    return (-3 * widest, 3 * widest) if any(np.min(values) < 0 for values in arrays) else (0, 4 * widest)


def paths(panels, height, title, xlabel="x", ylabel="y", columns=3):
    """The ways of several walkers over one landscape, a panel each: contour lines, a dot for every step.

    panels: {panel title: (x, y) of its places, the first one where it begins}
    height: the landscape, a function of two arrays; contour lines rise in steps of its square root, so that a valley
        shaped like a parabola gets evenly spaced ones; a cross marks the lowest place in view
    """
    columns = min(columns, len(panels))
    places = np.concatenate([np.stack(path, axis=1) for path in panels.values()])                     # (steps, 2)
    room = 0.12 * np.ptp(places, axis=0)
    (left, low), (right, high) = places.min(axis=0) - room, places.max(axis=0) + room
    x, y = np.meshgrid(np.linspace(left, right, 201), np.linspace(low, high, 201))
    heights = height(x, y)
    lowest = heights.argmin()
    levels = heights.min() + np.ptp(heights) * np.linspace(0, 1, 9)[1:] ** 2
    with canvas(ceil(len(panels) / columns), columns, title, sharex=True, sharey=True) as (figure, axes):
        for axis in axes.flat[len(panels):]:
            axis.set_visible(False)
        for k, (axis, (name, path)) in enumerate(zip(axes.flat, panels.items(), strict=False)):
            axis.contour(x, y, heights, levels=levels, colors="grey", linewidths=0.8)
            axis.plot(x.flat[lowest], y.flat[lowest], "+", color="black", markersize=16, markeredgewidth=2.5)
            axis.plot(*path, "o-", color=COLORS[k % len(COLORS)], markersize=5, linewidth=1.6)
            axis.set_title(name)
            axis.grid(visible=False)
            if k + columns >= len(panels):           # nothing below it
                axis.set_xlabel(xlabel)
                axis.tick_params(labelbottom=True)
        for axis in axes[:, 0]:
            axis.set_ylabel(ylabel)
        return figure


def plane(panels, title, xlabel, ylabel, value, columns=2):
    """Points in the plane of two settings, on logarithmic axes, coloured by what was measured there; the best ringed.

    panels: {panel title: (x, y, values)}, all on the same axes and colours    value: what the colours mean
    NaN, of a trial that failed, is drawn as a cross.
    """
    rows = ceil(len(panels) / columns)
    with canvas(rows, columns, title, (13, 3.4 * rows + 1), sharex=True, sharey=True) as (figure, axes):
        measured = [values[np.isfinite(values)] for _, _, values in panels.values()]
        ends = {"vmin": min(map(np.min, measured)), "vmax": max(map(np.max, measured))}
        for axis, (name, (x, y, values)) in zip(axes.flat, panels.items(), strict=False):
            there = np.isfinite(values)
            axis.plot(x[~there], y[~there], "x", color="black", markersize=8)
            dots = axis.scatter(x[there], y[there], c=values[there], s=70, cmap="viridis", edgecolors="black",
                                linewidths=0.5, **ends)
            best = np.nanargmax(values)
            axis.scatter(x[best], y[best], s=320, facecolors="none", edgecolors=COLORS[1], linewidths=3)
            axis.set(xscale="log", yscale="log", title=f"{name}: best {values[best]:.2f}")
        for axis in axes[-1]:
            axis.set_xlabel(xlabel)
        for axis in axes[:, 0]:
            axis.set_ylabel(ylabel)
        figure.colorbar(dots, ax=axes, label=value)
        return figure


def points(panels, title, ylabel, logarithmic=True, diagonal=False, rings=None):
    """A row of panels with points, a colour for each label, all with the same y axis.

    panels: {label of the x axis: {label: (x, y)}}    logarithmic: whether x is
    diagonal: draw the line y = x    rings: {label of the x axis: (x, y)} of a point to mark
    """
    size = (10, 6.5) if len(panels) == 1 else (6.5 * len(panels), 6)
    with canvas(1, len(panels), title, size, sharey=True) as (figure, axes):
        for axis, (xlabel, groups) in zip(axes[0], panels.items(), strict=True):
            for k, (label, (x, y)) in enumerate(groups.items()):
                axis.plot(x, y, "os^D"[k % 4], label=label, color=COLORS[k % len(COLORS)], markersize=8, alpha=0.75)
            if diagonal:
                middle = np.mean(np.concatenate([x for x, _ in groups.values()]))
                axis.axline((middle, middle), slope=1, color="black", linestyle="--", linewidth=1.5, label="equal")
            if rings and xlabel in rings:
                axis.plot(*rings[xlabel], "o", markersize=20, markerfacecolor="none", markeredgecolor="black",
                          markeredgewidth=2.5, label="the winner")
            if logarithmic:
                axis.set_xscale("log")
            axis.set_xlabel(xlabel)
        axes[0, 0].set_ylabel(ylabel)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        return figure


def line(runs, name, settings, seeds):
    """A line for `curves` over settings such as sizes of a batch: (settings, the means over the seeds).

    runs: {(name, setting, seed): a number}; settings and seeds that have no run yet, after Ctrl-C, are left out
    """
    there = [setting for setting in settings if any((name, setting, seed) in runs for seed in seeds)]
    return there, np.array([np.mean([runs[name, setting, seed] for seed in seeds if (name, setting, seed) in runs])
                            for setting in there])


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


def maps(panels, title, columns=6, numbers=False, marks=None):
    """Images, feature maps or matrices, a panel each, without axes; small ones with their numbers written in.

    panels: {panel title: (H, W) or (H, W, 1), or (H, W, 3) of colours from 0 to 1 or bytes}
    Black is 0 and white the largest number of a panel; where one is negative, white is 0, red positive, blue negative.
    numbers: write each number into its pixel, on pale colours: white is 0. All pixels of a row have one size then.
    marks: {panel title: [(first row, first column, rows, columns, colour)]} of pixels to frame
    """
    columns = min(columns, len(panels))
    rows, images = ceil(len(panels) / columns), {name: _image(values) for name, values in panels.items()}
    height, widths = max(map(len, images.values())), [max(image.shape[1], 3) for image in images.values()]
    size, options = (2.3 * columns + 0.3, 2.5 * rows + 0.8), {}
    if numbers:
        widths = [max(widths[column::columns]) for column in range(columns)]
        size = (0.46 * (sum(widths) + 2 * columns), (0.46 * height + 0.5) * rows + 0.7)
        options = {"width_ratios": widths}
    with canvas(rows, columns, title, size, **options) as (figure, axes):
        for axis in axes.flat:
            axis.set_axis_off()
        for k, (axis, (name, image)) in enumerate(zip(axes.flat, images.items(), strict=False)):
            _show(axis, image, pale=numbers)
            axis.set_title(name)
            for mark in (marks or {}).get(name, ()):
                _frame(axis, *mark)
            if numbers:
                _frame(axis, 0, 0, *image.shape, "grey", linewidth=1)
                middle, width = (image.shape[1] - 1) / 2, widths[k % columns]
                axis.set(xlim=(middle - width / 2, middle + width / 2), ylim=(height - 0.5, -0.5))
                for (row, column), number in np.ndenumerate(image):
                    axis.text(column, row, f"{number:.3g}", ha="center", va="center", fontsize=13)
        return figure


def filters(panels, title, columns=10):
    """The filters of a convolution on the pixels of an image: a panel for each set of them, such as before and after.

    panels: {panel title: W, (KH, KW, 1, F) or (KH, KW, 3, F)}. Of one feature: white is 0, red positive, blue negative;
        of three: colours, grey is 0. One scale for all filters of a panel, whose largest weight its title tells.
    columns: filters in a row. Windows on more features have no colours: choose one, W[:, :, 2:3].
    """
    panels = {name: np.asarray(to_cpu(W)) for name, W in panels.items()}
    for name, W in panels.items():
        if W.ndim != 4 or W.shape[2] not in (1, 3):
            raise ShapeError(f"plots.filters: expected weights (KH, KW, 1, F), or 3 in place of 1, got {W.shape} for "
                             f"{name!r}. Of windows on more features, show one: W[:, :, 2:3]")
    sheets = {name: _sheet(W / (np.abs(W).max() or 1), columns) for name, W in panels.items()}
    tallest = max(len(sheet) / sheet.shape[1] for sheet in sheets.values())
    width = 12.5 / len(panels)
    with canvas(1, len(panels), title, (12.5 + 0.5 * len(panels), width * tallest + 1.3)) as (figure, axes):
        figure.get_layout_engine().set(wspace=0.06)
        for axis, (name, W) in zip(axes[0], panels.items(), strict=True):
            axis.set_title(f"{name}: weights up to {np.abs(W).max():.2g}")
            axis.set_axis_off()
            _show(axis, sheets[name], largest=1)
        return figure


def durations(panels, title):
    """Seconds as horizontal bars on a logarithmic axis, and in words: for what differs by orders of magnitude.

    panels: {panel title: {label: seconds, above 0}}, the same labels in all, on one scale
    """
    with canvas(1, len(panels), title, (6.2 * len(panels) + 1.5, 5), sharex=True, sharey=True) as (figure, axes):
        everything = [seconds for bars in panels.values() for seconds in bars.values()]
        low, high = min(everything), max(everything)
        for axis, (name, bars) in zip(axes[0], panels.items(), strict=True):
            axis.set_axisbelow(True)
            colors = [COLORS[k % len(COLORS)] for k in range(len(bars))]
            drawn = axis.barh(list(bars), list(bars.values()), color=colors)
            axis.bar_label(drawn, [in_words(s) if s >= 60 else f"{s:.2g} s" for s in bars.values()], padding=5)
            axis.set(xscale="log", title=name, xlabel="seconds", xlim=(low / 3, 3 * high * (high / low) ** 0.3))
            axis.grid(visible=False, axis="y")
        axes[0, 0].invert_yaxis()                    # the first label above; all panels share the axis
        return figure


def _image(values):
    """(H, W), or (H, W, 3) of colours, as floats or bytes; one feature needs no axis of its own."""
    values = np.asarray(to_cpu(values))
    return values[:, :, 0] if values.ndim == 3 and values.shape[2] == 1 else values


def _sheet(W, columns):
    """Filters (KH, KW, C, F), from -1 to 1, as one image, `columns` in a row, NaN between them; colours for C = 3."""
    KH, KW, C, F = W.shape
    sheet = np.full((ceil(F / columns) * (KH + 1) - 1, min(F, columns) * (KW + 1) - 1, C), np.nan)
    for f in range(F):
        top, left = f // columns * (KH + 1), f % columns * (KW + 1)
        sheet[top:top + KH, left:left + KW] = W[:, :, :, f]
    return sheet[:, :, 0] if C == 1 else (np.nan_to_num(sheet, nan=1) + 1) / 2


def _show(axis, image, largest=None, pale=False):
    """Draw an image: 0 is white between red and blue where a number is negative or `largest`, the end of the scale, is
    given; else 0 is black, or white where it is pale, so that one can read what is written on it."""
    top = largest or float(np.nanmax(np.abs(image))) or 1.0
    signed, top = largest is not None or np.nanmin(image) < 0, 2.5 * top if pale else top
    scale = {"vmin": -top if signed else 0, "vmax": top, "cmap": "RdBu_r" if signed else "Greys" if pale else "gray"}
    axis.imshow(image, interpolation="nearest", **scale if image.ndim == 2 else {})


def _frame(axis, row, column, height, width, color, linewidth=4):
    """A frame around these pixels."""
    left, right, top, bottom = column - 0.5, column + width - 0.5, row - 0.5, row + height - 0.5
    axis.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color=color, linewidth=linewidth,
              clip_on=False, solid_joinstyle="miter", zorder=1 + linewidth)
