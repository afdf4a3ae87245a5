"""How long a training step and an inference take: minidl, PyTorch, DeZero, and the floor.

    python benchmarks/training_step.py [--quick] [--threads 1 --clock cpu] [--only mlp,vgg] [--out runs/benchmark]

The floor is the matrix products of plain convolutions (im2col) and Dense layers alone; Winograd's method needs fewer,
so minidl may come out below it.

All take turns within each round, on the same number of threads, so that what else the machine does hits all alike. A
ratio is taken within each round; the table shows its median and, in brackets, the quartiles. Prints a table, writes
training_step.json and training_step.png. Libraries that are not installed are left out by name:
`pip install -e .[bench]` brings them. Peak memory is that of a training step in a process of its own, above what the
process held before it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import peers

import minidl
from minidl import Sequential, models
from minidl.layers import BatchNorm, Conv2D, Dense, Flatten, MaxPool2D, ReLU
from minidl.text import table

IMAGES = (32, 32, 3)


def mlp():
    hidden = [layer for _ in range(4) for layer in (Dense(100), ReLU())]
    return Sequential([Flatten(), *hidden, Dense(10)], IMAGES)


def small_cnn():
    return Sequential([Conv2D(32, 3, padding=1), ReLU(), MaxPool2D(2), Conv2D(64, 3, padding=1), ReLU(), MaxPool2D(2),
                       Flatten(), Dense(10)], IMAGES)


def small_vgg():
    layers = []
    for filters in (32, 64, 128):
        for _ in range(2):
            layers += [Conv2D(filters, 3, padding=1), BatchNorm(), ReLU()]
        layers += [MaxPool2D(2)]
    return Sequential([*layers, Flatten(), Dense(10)], IMAGES)


NETWORKS = {  # name: (network, batch)
    "mlp": (mlp, 100),
    "cnn": (small_cnn, 100),
    "vgg": (small_vgg, 64),
    "ten": (models.ten_layer_net, 64),
    "resnet20": (models.cifar_resnet, 128),
}
RIVALS = ("minidl", "torch", "torch channels last", "dezero", "floor")


def contestant(rival, network, threads):
    """What to time: {"train": function, "infer": function}."""
    minidl.seed(0)
    build, batch = NETWORKS[network]
    model, draw = build(), np.random.default_rng(0)
    x = draw.standard_normal((batch, *IMAGES)).astype(np.float32)
    y = draw.integers(10, size=batch)
    if rival.startswith("torch"):
        return peers.torch(model, x, y, threads, channels_last="last" in rival)
    return getattr(peers, rival)(model, x, y)


def timed(function, repeats):
    """(wall seconds, CPU seconds) of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats


def measure(network, threads, rounds):
    """{rival: {"train": [(wall, cpu) per round], "infer": ...}} and {rival: why it is left out}."""
    entries, left_out, times = {}, {}, {}
    for rival in RIVALS:
        try:
            entries[rival] = contestant(rival, network, threads)
            for kind in entries[rival].values():
                kind()  # warm up
        except peers.MissingError as reason:
            entries.pop(rival, None)
            left_out[rival] = str(reason)
    repeats = 10 if network == "mlp" else 1
    for kind in ("train", "infer"):
        for round_ in range(rounds):
            for rival, entry in entries.items():
                if rival == "dezero" and round_ >= 3:
                    continue  # slow, and not close
                times.setdefault(rival, {}).setdefault(kind, []).append(timed(entry[kind], repeats))
    return times, left_out


def ratios(times, kind, clock, rival):
    """minidl's time over the rival's, by round: (lower quartile, median, upper quartile)."""
    ours, others = (np.array([pair[clock] for pair in times[name][kind]]) for name in ("minidl", rival))
    count = min(len(ours), len(others))
    return [float(value) for value in np.percentile(ours[:count] / others[:count], (25, 50, 75))]


def peak_memory(rival, network, threads):
    """MiB that two training steps need above what the process holds before them; None where it cannot be told."""
    done = subprocess.run([sys.executable, __file__, "--peak", rival, "--only", network, "--threads", str(threads)],
                          capture_output=True, text=True, env=os.environ | {"MINIDL_THREADS": str(threads)})
    return float(done.stdout) if done.returncode == 0 else None


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def print_peak(rival, network, threads):
    """Watch the process's memory from another thread, every millisecond, while it trains."""
    train = contestant(rival, network, threads)["train"]
    before, highest, done = resident(), [0.0], threading.Event()

    def watch():
        while not done.is_set():
            highest[0] = max(highest[0], resident())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    train(), train()
    done.set()
    watcher.join()
    print(highest[0] - before)


def report(result):
    lines = []
    for kind, title in (("train", "training step"), ("infer", "inference")):
        lines += [f"{title}: minidl's time over that of", ""]
        rows = []
        for network, entry in result["networks"].items():
            cells = [network]
            for rival in RIVALS[1:]:
                if rival in entry["ratios"]:
                    low, middle, high = entry["ratios"][rival][kind][result["clock"]]
                    cells.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
                else:
                    cells.append("-")
            rows.append([*cells, f"{entry['median_ms']['minidl'][kind]['wall']:.1f}"])
        lines += [table(["network", *RIVALS[1:], "minidl ms"], rows), ""]
    if any(entry["peak_mib"] for entry in result["networks"].values()):
        lines += ["peak memory of a training step, MiB", ""]
        for network, entry in result["networks"].items():
            lines.append(f"{network:9} " + "   ".join(f"{rival} {value:.0f}" for rival, value in
                                                      entry["peak_mib"].items() if value is not None))
        lines.append("")
    for network, entry in result["networks"].items():
        lines += [f"left out: {rival} on {network} ({reason})" for rival, reason in entry["left_out"].items()]
    return "\n".join(lines)


def chart(result, path):
    """Bars of the ratios of a training step; the dashed line is a draw."""
    from minidl.plots import COLORS, canvas
    shown = [rival for rival in ("torch", "torch channels last", "floor")
             if any(rival in entry["ratios"] for entry in result["networks"].values())]
    with canvas(1, 2, f"minidl's time over theirs (lower is better); threads: {result['threads']}", (15, 6),
                sharey=True) as (figure, axes):
        for axis, (kind, title) in zip(axes[0], (("train", "training step"), ("infer", "inference")), strict=True):
            width = 0.8 / max(len(shown), 1)
            for k, rival in enumerate(shown):
                for place, entry in enumerate(result["networks"].values()):
                    low, middle, high = entry["ratios"][rival][kind][result["clock"]]
                    x = place + (k - (len(shown) - 1) / 2) * width
                    axis.bar(x, middle, width * 0.94, color=COLORS[k], label=None if place else rival)
                    axis.plot([x, x], [low, high], color="black", linewidth=1.5)
                    axis.text(x, max(middle, high) + 0.03, f"{middle:.2f}", ha="center", fontsize=11)
            axis.axhline(1, color="black", linestyle="--", linewidth=1.5)
            axis.set_xticks(range(len(result["networks"])), result["networks"])
            axis.set_title(title)
            axis.grid(visible=False, axis="x")
        axes[0, 0].set_ylabel("ratio of times")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        figure.savefig(path)


def make_folder(parser, folder):
    """Make the folder of --out and write into it, before anything is measured; end the program where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as reason:
        parser.error(f"--out {folder}: no results can be saved there ({reason.strerror}). Name a folder that you may "
                     f"write into")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no memory")
    parser.add_argument("--threads", type=int, default=minidl.threads(), help="of every library (all cores)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall",
                        help="cpu: seconds of computing; with --threads 1 the fairer one on a machine that others use")
    parser.add_argument("--only", default=",".join(NETWORKS), help=f"of {', '.join(NETWORKS)}, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="folder of the results")
    parser.add_argument("--peak", choices=RIVALS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    networks = chosen.only.split(",")
    if unknown := [name for name in networks if name not in NETWORKS]:
        parser.error(f"no network {unknown[0]}; there are {', '.join(NETWORKS)}")
    minidl.threads(chosen.threads)
    if chosen.peak:
        print_peak(chosen.peak, networks[0], chosen.threads)
        return
    make_folder(parser, chosen.out)
    result = {"threads": chosen.threads, "clock": chosen.clock, "numpy": np.__version__,
              "blas": os.environ.get("OPENBLAS_CORETYPE", "as OpenBLAS chooses"), "networks": {}}
    for network in networks:
        times, left_out = measure(network, chosen.threads, 5 if chosen.quick else 11)
        clocks = {"wall": 0, "cpu": 1}
        result["networks"][network] = {
            "batch": NETWORKS[network][1], "left_out": left_out,
            "ratios": {rival: {kind: {name: ratios(times, kind, clock, rival) for name, clock in clocks.items()}
                               for kind in ("train", "infer")} for rival in times if rival != "minidl"},
            "median_ms": {rival: {kind: {name: float(np.median([pair[clock] for pair in times[rival][kind]])) * 1e3
                                         for name, clock in clocks.items()}
                                  for kind in ("train", "infer")} for rival in times},
            "peak_mib": {} if chosen.quick else {rival: peak_memory(rival, network, chosen.threads)
                                                 for rival in RIVALS[:3] if rival in times}}
        print(f"{network} measured", file=sys.stderr)
    print(report(result))
    (chosen.out / "training_step.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    chart(result, chosen.out / "training_step.png")
    print(f"written: {chosen.out}/training_step.json and training_step.png")


if __name__ == "__main__":
    main()
