"""The benchmark of a GPU, rehearsed on the stand-in: it runs to its end and writes what it promises."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import standin.faults

import minidl
import minidl.parity

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu
    return gpu


def test_the_rehearsal_writes_everything(gpu, tmp_path, capsys):
    with standin.installed():
        gpu.main(["--quick", "--only", "mlp,cnn", "--batches", "4", "--out", str(tmp_path)])
    assert minidl.backend_name() == "numpy"
    out = capsys.readouterr().out
    result = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert result["device"]["GPU"].startswith("stand-in")
    assert result["versions"]["cupy"] == "14.2.0"
    assert all(row["within"] for row in result["parity"])
    assert set(result["ceilings"]) == {"copy_bytes_per_s", "product_float32_per_s", "product_tf32_per_s"}
    assert list(result["networks"]) == ["mlp 4", "cnn 4"]
    for name, entry in result["networks"].items():
        assert {"minidl", "minidl TF32", "numpy"} <= set(entry["median_ms"])
        assert set(entry["median_ms"]) | set(entry["left_out"]) == set(gpu.RIVALS), "nothing goes missing in silence"
        assert "minidl / numpy" in entry["minidl_over"]
        assert all(len(kinds["train"]) == 3 for kinds in entry["seconds"].values())
        assert entry["shares"]["minidl"]["of_products"] > 0
        assert name in out
    for rival in ("torch", "torch TF32"):
        reason = result["networks"]["mlp 4"]["left_out"].get(rival, "")
        assert rival in result["networks"]["mlp 4"]["median_ms"] or f"left out: {rival} ({reason})" in out


def test_the_least_work_of_a_step_by_hand(gpu):
    """The MLP: 3072-100-100-100-100-10. Flatten, and ReLU after each of four, between five Dense layers."""
    weights = 3072 * 100 + 3 * 100 * 100 + 100 * 10
    parameters = weights + 4 * 100 + 10
    dense = 3 * (3072 + 4 * 100) + 2 * (4 * 100 + 10)
    others = 5 * 3072 + 4 * 5 * 100
    assert gpu.least_work("mlp", 7) == {"operations": 6 * weights * 7,
                                        "bytes": 4 * (7 * (dense + others) + 6 * parameters)}


def test_without_a_gpu_it_says_so(gpu, capsys):
    with standin.faults.broken("no device"), pytest.raises(SystemExit) as left:
        gpu.main(["--quick"])
    assert left.value.code == 2
    assert "no GPU is visible" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["training_step", "gpu"])
def test_where_nothing_can_be_saved_nothing_is_measured(script, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module(script)
    monkeypatch.setattr(module, "measure", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr(minidl.parity, "compare", lambda *_: pytest.fail("compared"))
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "results"):
        with standin.installed(), pytest.raises(SystemExit) as left:
            module.main(["--quick", "--only", "mlp", "--out", str(place)])
        assert left.value.code == 2
        said = capsys.readouterr().err
        assert f"--out {place}: no results can be saved there" in said and "Name a folder" in said


@pytest.mark.parametrize(("flags", "text"), [(["--only", "lenet"], "no network lenet; there are mlp"),
                                             (["--batches", "0"], "--batches 0: expected own or an integer")])
def test_wrong_flags(flags, text):
    done = subprocess.run([sys.executable, str(BENCHMARKS / "gpu.py"), *flags], capture_output=True, text=True,
                          env={"PYTHONPATH": str(BENCHMARKS.parent)}, check=False)
    assert done.returncode == 2 and text in done.stderr
