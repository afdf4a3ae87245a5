"""docs/results.md is what docs/make_results.py makes of the recorded runs, and nothing else."""

import importlib.util
import json
from pathlib import Path

import pytest

from minidl.errors import DataError
from minidl.lesson import Claims
from minidl.lesson.record import Record

DOCS = Path(__file__).resolve().parents[1] / "docs"
SPEC = importlib.util.spec_from_file_location("make_results", DOCS / "make_results.py")
make_results = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make_results)


def record(folder, lesson="98_made_up", data="shapes10", complete=True, measured=(0.5, 0.7), holds=True, **facts):
    """A run as a lesson leaves it, then with other facts where some are given."""
    folder.mkdir(parents=True)
    claims = Claims()
    claims.add("A | learns *more* than B", list(measured), holds, published="0.6 (textbook)", miss="few\nimages")
    claims.add("B does not", "0.1 < 0.2", holds=True)
    arguments = {"lesson": lesson, "data": data, "seeds": [0, 1], "fast": False, "out": "/home/somebody/runs"}
    Record(folder, arguments).save(claims.as_dicts(), complete)
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps(run | facts), encoding="utf-8")


def test_the_page_is_what_the_script_makes():
    results = [make_results.read(file) for file in DOCS.glob("results/*.json")]
    assert (DOCS / "results.md").read_text(encoding="utf-8") == make_results.page(results), \
        "docs/results.md was changed by hand, or docs/results/ without it: run python docs/make_results.py"


def test_two_runs_become_a_page(tmp_path):
    record(tmp_path / "runs" / "a" / "one", holds=False, commit="abc1234567", seconds=12.4, machine="Linux, a PC",
           finished="2025-01-02T03:04:05+00:00")
    record(tmp_path / "runs" / "two", data="mnist10k")
    make_results.main([str(tmp_path / "runs"), "--docs", str(tmp_path)])
    kept = json.loads((tmp_path / "results" / "98_made_up-shapes10.json").read_text(encoding="utf-8"))
    assert kept["claims"][0]["values"] == [0.5, 0.7]
    assert "somebody" not in json.dumps(kept), "a path of the machine has come along"
    assert list(kept) == sorted(kept)
    lines = (tmp_path / "results.md").read_text(encoding="utf-8").splitlines()
    assert "| lesson | mnist10k | shapes10 |" in lines
    assert "| 98_made_up | 2 of 2 | 1 of 2 |" in lines
    assert "\n\n\n" not in "\n".join(lines)
    assert [line for line in lines if line.startswith("#")] == ["# Results", "## 98_made_up", "### mnist10k",
                                                                "### shapes10"]
    assert r"| A \| learns \*more\* than B | 0.6 (textbook) | 0.6 ± 0.1 (2 seeds) | yes |" in lines
    assert r"| A \| learns \*more\* than B | 0.6 (textbook) | 0.6 ± 0.1 (2 seeds) | **no**: few images |" in lines
    assert r"| B does not | - | 0.1 \< 0.2 | yes |" in lines
    facts = next(line for line in lines if "abc1234567" in line)
    assert facts.startswith("seeds: 2 (0, 1); 12 s on 2025-01-02; commit abc1234567; Linux, a PC; minidl ")
    assert ", numpy " in facts


def test_a_second_call_changes_nothing_and_a_later_run_replaces(tmp_path):
    record(tmp_path / "z", measured=(0.1,), finished="2025-01-01T00:00:00+00:00")
    record(tmp_path / "a", measured=(0.3,), finished="2025-01-02T00:00:00+00:00")
    make_results.main([str(tmp_path / "a"), str(tmp_path / "z"), "--docs", str(tmp_path)])
    page = (tmp_path / "results.md").read_bytes()
    assert b"| 0.3 |" in page, "the run that was finished last counts"
    assert b"| 0.1 |" not in page
    make_results.main(["--docs", str(tmp_path)])
    assert (tmp_path / "results.md").read_bytes() == page
    record(tmp_path / "b", measured=(0.2,))
    make_results.main([str(tmp_path / "b"), "--docs", str(tmp_path)])
    assert len(list(tmp_path.glob("results/*"))) == 1
    assert "| 0.2 |" in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_without_runs_the_page_says_so(tmp_path):
    make_results.main(["--docs", str(tmp_path)])
    assert (tmp_path / "results.md").read_text(encoding="utf-8").endswith("No runs are recorded yet.\n")


def test_the_title_is_that_of_the_lesson():
    assert make_results.title_of("04_optimizers") == "Lesson 4: which optimizer?"


def test_runs_that_cannot_be_taken_over_change_nothing(tmp_path):
    record(tmp_path / "good")
    record(tmp_path / "stopped", data="mnist10k", complete=False)
    record(tmp_path / "old", data="mnist10k", arguments={"lesson": "98_made_up"})
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{", encoding="utf-8")
    for folder, part in (("stopped", "was stopped before its end. Run the lesson again"), ("old", "found no 'data'"),
                         ("empty", "found no run.json"), ("nowhere", "found no run.json"),
                         ("damaged", "cannot be read as JSON")):
        with pytest.raises(DataError, match=part) as raised:
            make_results.main([str(tmp_path / "good"), str(tmp_path / folder), "--docs", str(tmp_path)])
        assert folder in str(raised.value)
        assert not (tmp_path / "results").exists()
        assert not (tmp_path / "results.md").exists()
