"""What a gradient check found, for a person to read and for a program to ask."""

import textwrap
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Cause:
    """One explanation of a mismatch: its name, and the evidence for it in a sentence."""

    name: str
    evidence: str

    def __str__(self):
        return f"{self.name}: {self.evidence}"


@dataclass
class Finding:
    """What the check found for one tensor: "input", or a parameter by its name."""

    tensor: str
    verdict: str                     # "pass", "fail" or "inconclusive"
    reason: str = ""                 # why it is inconclusive
    max_relative_error: float = 0.0
    index: tuple = ()                # of the worst element
    explicit: float = 0.0            # its gradient by the backward pass
    numeric: float = 0.0             # its gradient by measurement
    causes: list = field(default_factory=list)  # of a failure, best first
    mode: str = "training"           # or "evaluation": the mode in which it was worst
    checked: int = 0                 # elements compared
    size: int = 0                    # elements in the tensor
    kinks: int = 0                   # elements set aside because they are on a kink
    values: tuple = ()               # for plots: (shape, chosen places, explicit there, numeric there)

    def __str__(self):
        notes = []
        if self.checked + self.kinks < self.size:
            notes.append(f"{self.checked} of {self.size} elements, drawn at random")
        if self.kinks:
            notes.append(f"{self.kinks} on a kink, where there is no slope, set aside")
        if self.mode != "training":
            notes.append(f"in {self.mode} mode")
        note = f"  ({'; '.join(notes)})" if notes else ""
        head = f"  {self.verdict:12}  {self.tensor:<20}"
        if self.verdict == "inconclusive":
            return f"{head} {self.reason}{note}"
        line = f"{head} largest relative error {self.max_relative_error:.1e}{note}"
        if self.verdict == "fail":
            where = f"[{', '.join(map(str, self.index))}]"
            line += (f"\n      worst at {self.tensor}{where}: backward says {self.explicit:.8g}, measured "
                     f"{self.numeric:.8g}")
            for k, cause in enumerate(self.causes):
                line += f"\n      {'likely cause' if k == 0 else 'or          '}  {cause}"
        return line


@dataclass
class Report:
    """The findings for every tensor of one layer, loss or network; print it to read it."""

    title: str
    findings: list
    source: str = ""   # the file that the checked code came from, where that was asked for

    @property
    def verdict(self):
        """"fail" if any tensor failed; "inconclusive" if the input's gradient could not be compared; else "pass"."""
        if any(finding.verdict == "fail" for finding in self.findings):
            return "fail"
        return self.findings[0].verdict  # the input's

    @property
    def passed(self):
        """Whether the backward pass is right, as far as this input can tell."""
        return self.verdict == "pass"

    def finding(self, tensor):
        """The finding for one tensor by its name."""
        return next(finding for finding in self.findings if finding.tensor == tensor)

    def __str__(self):
        failed = [finding.tensor for finding in self.findings if finding.verdict == "fail"]
        headline = {"pass": "the backward pass agrees with the measured slopes",
                    "fail": f"the backward pass is WRONG for {', '.join(failed)}",
                    "inconclusive": "this input cannot tell whether the backward pass is right"}[self.verdict]
        open_ = [finding.tensor for finding in self.findings if finding.verdict == "inconclusive"]
        if open_ and self.passed:
            headline += f" (but nothing is known about {', '.join(open_)})"
        source = [f"  checked the code in {self.source}"] if self.source else []
        return "\n".join([f"gradient check of {self.title}: {headline}", *source, *map(str, self.findings)])

    def plot(self):
        """A figure: measured against explicit gradients of each tensor, and where the errors are.

        Upper row: one dot per element; a right backward pass puts all on the line y = x. Lower row: the error of each
        element, for kernels and images by height and width, the largest over all other axes.
        """
        from minidl.plots import canvas
        title = f"gradient check of {self.title}"
        with canvas(2, len(self.findings), title, size=(max(4.4 * len(self.findings) + 1, 7), 8)) as (figure, axes):
            for (above, below), finding in zip(axes.T, self.findings, strict=True):
                above.set(title=f"{finding.tensor}: {finding.verdict}", xlabel="measured", ylabel="backward")
                if not finding.values:
                    why = finding.causes[0].name if finding.causes else finding.reason
                    above.text(0.5, 0.5, textwrap.fill(why, 24), transform=above.transAxes, ha="center", va="center")
                    below.set_visible(False)
                    continue
                shape, chosen, explicit, numeric = finding.values
                ends = [min(numeric.min(), explicit.min()), max(numeric.max(), explicit.max())]
                above.plot(ends, ends, color="black", linewidth=1.2, label="y = x")
                above.plot(numeric, explicit, "o", markersize=5, alpha=0.6,
                           color="#009E73" if finding.verdict == "pass" else "#D55E00")
                above.legend(loc="upper left", frameon=False)
                error = np.full(int(np.prod(shape)), np.nan)
                error[chosen] = abs(explicit - numeric) / max(abs(numeric).max(initial=0), 1e-300)
                picture, axis_names = _as_image(error.reshape(shape), finding.tensor == "input")
                shown = below.imshow(picture, cmap="magma", aspect="auto", vmin=0,
                                     vmax=max(float(np.nanmax(error)), 1e-6))
                below.set(title="error / largest gradient", ylabel=axis_names[0], xlabel=axis_names[1])
                below.locator_params(integer=True)
                if len(shape) < 2:
                    below.set_yticks([])
                below.grid(visible=False)
                figure.colorbar(shown, ax=below)
        return figure


def _as_image(array, is_input):
    """Two axes to draw, and their names: height and width of images (N, H, W, C) and kernels (KH, KW, ...)."""
    if array.ndim >= 3:
        first = 1 if is_input else 0
        others = tuple(k for k in range(array.ndim) if k not in (first, first + 1))
        return np.fmax.reduce(array, axis=others), ("height", "width")
    if array.ndim == 2:
        return array, ("image" if is_input else "input feature", "feature")
    return array.reshape(1, -1), ("", "feature")
