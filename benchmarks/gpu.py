"""What a GPU makes of minidl: parity, step times beside PyTorch and NumPy, and how much of the card that is. One go.

    python benchmarks/gpu.py [--quick] [--only mlp,vgg] [--batches own,512] [--out runs/benchmark]

This script has not run on a GPU yet: it was rehearsed on the tests' stand-in for CuPy.

1. `minidl parity`: both backends compute the same.
2. The card's ceilings, measured: bytes per second of a large copy, operations per second of a large product of
   matrices, in float32 and with TF32.
3. A training step and an inference of the five networks of training_step.py, at their own batch size and at 512: by
   minidl on the GPU (float32, TF32), by PyTorch in eager mode (float32, TF32, both orders in memory) and by minidl on
   NumPy. All take turns within each round. The clock starts and stops when the GPU is done; in between nothing waits.
4. Operations and bytes that a step cannot do without, over its time, as shares of the ceilings.

Prints tables and writes gpu.json. What is not installed, or sees no GPU, is left out by name.
"""

import argparse
import json
import platform
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import peers
from training_step import IMAGES, NETWORKS, make_folder

import minidl
from minidl import parity
from minidl.backend import device_facts, xp
from minidl.errors import UserError
from minidl.summary import layers_inside
from minidl.text import table

RIVALS = ("minidl", "minidl TF32", "torch", "torch TF32", "torch channels last", "torch channels last TF32", "numpy")
KINDS = ("train", "infer")


def synchronise():
    """Wait until the GPU is done, where there is one."""
    if minidl.backend_name() == "cupy":
        import cupy
        cupy.cuda.Device().synchronize()


# ----------------------------------------------------------------------------------------------------------- the rivals

def contestant(rival, network, batch):
    """{"prepare": to be called before its turn, "synchronise", "train", "infer"}: functions without arguments."""
    build, draw = NETWORKS[network][0], np.random.default_rng(0)
    x = draw.standard_normal((batch, *IMAGES)).astype(np.float32)
    y = draw.integers(10, size=batch)
    tf32 = rival.endswith("TF32")
    if rival.startswith("torch"):
        minidl.use("numpy")
        return torch_on_the_gpu(build(), x, y, "channels last" in rival, tf32)

    def prepare():
        minidl.use("numpy" if rival == "numpy" else "cupy", tf32=tf32)

    prepare()
    minidl.seed(0)
    return {"prepare": prepare, "synchronise": synchronise, **peers.minidl(build(), xp.asarray(x), xp.asarray(y))}


def torch_on_the_gpu(model, x, y, channels_last, tf32):
    try:
        import torch
    except ImportError as reason:
        raise peers.MissingError(str(reason)) from reason
    if not torch.cuda.is_available():
        raise peers.MissingError("PyTorch sees no GPU")

    def prepare():
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True  # let it choose its fastest convolutions

    prepare()
    steps = peers.torch(model, x, y, torch.get_num_threads(), channels_last, device="cuda")
    return {"prepare": prepare, "synchronise": torch.cuda.synchronize, **steps}


# ------------------------------------------------------------------------------------------------------------ measuring

def seconds(function, wait, repeats):
    """Of one call: all are started, then the GPU is waited for."""
    wait()
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    wait()
    return (time.perf_counter() - start) / repeats


def measure(network, batch, rounds, least):
    """{rival: {"train": [seconds per round], "infer": ...}} and {rival: why it is left out}.

    least: seconds that a turn takes at least, by repeating the step
    """
    entries, left_out, times, repeats = {}, {}, {}, {}
    for rival in RIVALS:
        try:
            entry = contestant(rival, network, batch)
            for kind in KINDS:
                for _ in range(3 if rival != "numpy" else 1):  # warm up: kernels are compiled, memory is taken
                    once = seconds(entry[kind], entry["synchronise"], 1)
                repeats[rival, kind] = max(1, int(least / once))
            entries[rival], times[rival] = entry, {kind: [] for kind in KINDS}
        except (peers.MissingError, UserError, MemoryError) as reason:
            left_out[rival] = str(reason)
    for number in range(rounds):
        for rival, entry in entries.items():
            if rival == "numpy" and number >= 3:
                continue  # slow, and not close
            entry["prepare"]()
            for kind in KINDS:
                times[rival][kind].append(seconds(entry[kind], entry["synchronise"], repeats[rival, kind]))
    return times, left_out


def ceilings(elements, side, rounds=5):
    """The most that the card does: bytes per second of a copy, operations per second of a product."""
    minidl.use("cupy")
    best = {"copy_bytes_per_s": 2 * 4 * elements / quickest(copy_of(elements), rounds)}
    for name, tf32 in (("float32", False), ("tf32", True)):
        try:
            minidl.use("cupy", tf32=tf32)
        except UserError:
            continue  # a card from before TF32
        best[f"product_{name}_per_s"] = 2 * side**3 / quickest(product_of(side), rounds)
    minidl.use("cupy")
    return best


def copy_of(elements):
    source, target = xp.ones(elements, xp.float32), xp.empty(elements, xp.float32)

    def copy():
        target[...] = source

    return copy


def product_of(side):
    a, out = xp.ones((side, side), xp.float32), xp.empty((side, side), xp.float32)
    return lambda: xp.matmul(a, a, out=out)


def quickest(function, rounds):
    function()  # warm up
    return min(seconds(function, synchronise, 5) for _ in range(rounds))


def least_work(network, batch):
    """Operations and bytes of a training step that no implementation can do without.

    Operations: two for each multiply-add, three products for each layer (y, dW, dx). Bytes: each layer reads x and
    writes y, then reads dy and x and writes dx; momentum reads w, g and v and writes w and v, after g was written.
    """
    minidl.use("numpy")
    model = NETWORKS[network][0]()
    shapes = [(layer.input_shape, shape) for _, layer, shape in layers_inside(model) if not layer.sublayers()]
    elements = sum(3 * np.prod(before) + 2 * np.prod(after) for before, after in shapes) * batch
    elements += 6 * sum(parameter.data.size for parameter in model.parameters())
    return {"operations": 6 * model.multiply_adds() * batch, "bytes": 4 * int(elements)}


# --------------------------------------------------------------------------------------------------------------- output

def summary(times, work, best):
    """Medians in ms, ratios of minidl's time to each rival's by round, shares of the ceilings."""
    result = {"median_ms": {rival: {kind: float(np.median(values)) * 1e3 for kind, values in kinds.items()}
                            for rival, kinds in times.items()}, "minidl_over": {}, "shares": {}}
    for ours, tf32 in (("minidl", False), ("minidl TF32", True)):
        others = [rival for rival in times if rival == "numpy" or ("TF32" in rival) == tf32 and rival != ours]
        for rival in others if ours in times else ():
            count = len(times[rival]["train"])
            result["minidl_over"][f"{ours} / {rival}"] = {
                kind: [float(value) for value in np.percentile(
                    np.array(times[ours][kind][:count]) / np.array(times[rival][kind]), (25, 50, 75))]
                for kind in KINDS}
    for rival, kinds in times.items():
        product = best.get("product_tf32_per_s" if "TF32" in rival else "product_float32_per_s")
        if rival != "numpy" and product:
            step = float(np.median(kinds["train"]))
            result["shares"][rival] = {"of_products": work["operations"] / step / product,
                                       "of_copy": work["bytes"] / step / best["copy_bytes_per_s"]}
    return result


def report(result):
    lines = ["", "ceilings: " + ", ".join(f"{name} {value:.3g}" for name, value in result["ceilings"].items()), ""]
    for kind, title in zip(KINDS, ("training step, ms", "inference, ms"), strict=True):
        rows = []
        for name, entry in result["networks"].items():
            cells = [entry["median_ms"].get(rival, {}).get(kind) for rival in RIVALS]
            rows.append([name, *("-" if cell is None else f"{cell:.3f}" for cell in cells)])
        lines += [table([title, *RIVALS], rows, right=range(1, len(RIVALS) + 1)), ""]
    for name, entry in result["networks"].items():
        lines += [f"{name}: {rivals} {values['train'][1]:.2f}" for rivals, values in entry["minidl_over"].items()]
        lines += [f"{name}: {rival} does {share['of_products']:.0%} of the card's products, "
                  f"{share['of_copy']:.0%} of its copying" for rival, share in entry["shares"].items()]
    missing = {f"left out: {rival} ({reason})" for entry in result["networks"].values()
               for rival, reason in entry["left_out"].items()}
    return "\n".join([*lines, "", *sorted(missing)])


def versions():
    found = {"python": platform.python_version(), "numpy": np.__version__}
    for name in ("cupy", "torch"):
        try:
            found[name] = __import__(name).__version__
        except ImportError:
            found[name] = None
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="small ceilings, three rounds, two steps of parity")
    parser.add_argument("--only", default=",".join(NETWORKS), help="networks, separated by commas")
    parser.add_argument("--batches", default="own,512", help="batch sizes, separated by commas; own: each network's")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"))
    chosen = parser.parse_args(arguments)
    networks, batches = chosen.only.split(","), chosen.batches.split(",")
    if unknown := [name for name in networks if name not in NETWORKS]:
        parser.error(f"no network {unknown[0]}; there are {', '.join(NETWORKS)}")
    if wrong := [batch for batch in batches if batch != "own" and not (batch.isdecimal() and int(batch))]:
        parser.error(f"--batches {wrong[0]}: expected own or an integer of at least 1")
    try:
        minidl.use("cupy")
    except UserError as error:
        parser.exit(2, f"benchmarks/gpu.py: {error}\n")
    make_folder(parser, chosen.out)
    result = {"date": date.today().isoformat(), "device": device_facts(), "versions": versions(), "networks": {}}
    differences = parity.compare(*((2, 200) if chosen.quick else ()))
    print(parity.as_text(differences))
    result["parity"] = [vars(each) | {"within": each.within} for each in differences]
    result["ceilings"] = ceilings(*((1 << 20, 256) if chosen.quick else (1 << 28, 8192)))
    for network in networks:
        for size in batches:
            batch = NETWORKS[network][1] if size == "own" else int(size)
            times, left_out = measure(network, batch, *((3, 0.0) if chosen.quick else (11, 0.05)))
            work = least_work(network, batch)
            result["networks"][f"{network} {batch}"] = {
                "batch": batch, "left_out": left_out, "work": work, "seconds": times,
                **summary(times, work, result["ceilings"])}
            print(f"{network}, batch {batch}: measured", file=sys.stderr)
    minidl.use("numpy")
    print(report(result))
    (chosen.out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"written: {chosen.out}/gpu.json")


if __name__ == "__main__":
    main()
