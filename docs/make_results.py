"""docs/results.md, made of the runs of lessons that docs/results/ keeps. Nobody writes that page by hand.

    python lessons/04_optimizers.py --data cifar10 --out runs/04-cifar10
    python docs/make_results.py runs/04-cifar10         # take the run over into docs/results/, write the page anew
    python docs/make_results.py                         # write the page anew from what docs/results/ has
"""

import argparse
import ast
import json
import re
from pathlib import Path

from minidl import terminal
from minidl.errors import DataError
from minidl.files import written_whole

DOCS = Path(__file__).resolve().parent
ARGUMENTS, CLAIM = ("lesson", "data", "seeds", "fast"), ("claim", "published", "measured", "holds", "miss", "values")
KEPT = ("backend", "commit", "finished", "machine", "minidl", "packages", "python", "seconds", "threads")
INTRODUCTION = """# Results

Made by `docs/make_results.py` from the runs in `docs/results/`; a change made here by hand is lost. A measured value
with ± is the mean over the seeds and their standard deviation. Where a claim does not hold, the last column says why.
"""


def runs_in(folders):
    """The runs in these folders as {(lesson, data): result}, a result being what one file of docs/results/ holds."""
    found = []
    for folder in folders:
        files = sorted(Path(folder).rglob("run.json"))
        if not files:
            raise DataError(f"{folder}: expected a folder with runs of lessons, found no run.json in it")
        found += [result_of(file) for file in files]
    return {(one["lesson"], one["data"]): one for one in sorted(found, key=lambda one: one["finished"])}


def result_of(file):
    """What docs/results/ keeps of the run whose run.json this is: no folder of the machine that it ran on."""
    facts, claims = read(file), read(file.with_name("claims.json"))
    try:
        if not facts["complete"]:
            raise DataError(f"{file}: this run was stopped before its end. Run the lesson again")
        result = {name: facts["arguments"][name] for name in ARGUMENTS} | {name: facts[name] for name in KEPT}
        claims = [{name: claim[name] for name in CLAIM} for claim in claims]
        return result | {"title": title_of(result["lesson"]), "claims": claims}
    except (KeyError, TypeError) as reason:
        raise DataError(f"{file}: expected what a lesson writes, found no {reason}. Run the lesson again") from reason


def read(file):
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as reason:
        raise DataError(f"{file}: cannot be read as JSON ({reason}). Run the lesson again") from reason


def title_of(lesson):
    """ "Lesson 4: which optimizer?" from the lesson's text; its name where there is no such lesson."""
    script = DOCS.parent / "lessons" / f"{lesson}.py"
    return ast.get_docstring(ast.parse(script.read_text("utf-8"))).splitlines()[0] if script.exists() else lesson


def page(results):
    """The text of docs/results.md; results as in docs/results/, in any order."""
    results = sorted(results, key=lambda result: (result["lesson"], result["data"]))
    if not results:
        return INTRODUCTION + "\nNo runs are recorded yet.\n"
    titles, data = list(dict.fromkeys(one["title"] for one in results)), sorted({one["data"] for one in results})
    held = {(one["title"], one["data"]): f"{sum(claim['holds'] for claim in one['claims'])} of {len(one['claims'])}"
            for one in results}
    rows = [[title, *(held.get((title, name), "-") for name in data)] for title in titles]
    parts = [INTRODUCTION, "Claims that hold, of all:\n", markdown(["lesson", *data], rows)]
    for title in titles:
        parts.append(f"## {title}\n")
        parts += [section(one) for one in results if one["title"] == title]
    return "\n".join(parts)


def section(one):    # one lesson on one data set
    versions = {"minidl": one["minidl"], "Python": one["python"]} | one["packages"]
    facts = [f"seeds: {len(one['seeds'])} ({', '.join(map(str, one['seeds']))}){' --fast' * one['fast']}",
             f"{one['seconds']:.0f} s on {one['finished'][:10]}", f"commit {one['commit']}", one["machine"],
             ", ".join(map(" ".join, versions.items())), f"{one['backend']} backend", f"threads: {one['threads']}"]
    rows = [[escaped(claim["claim"]), escaped(claim["published"]), escaped(claim["measured"]),
             "yes" if claim["holds"] else f"**no**: {escaped(claim['miss'] or 'no explanation is recorded')}"]
            for claim in one["claims"]]
    return f"### {one['data']}\n\n{'; '.join(facts)}.\n\n{markdown(['claim', 'published', 'measured', 'holds'], rows)}"


def markdown(header, rows):
    """A table; `escaped` makes a text fit for one of its cells, with no sign that has a meaning in Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, ["---"] * len(header), *rows])


def escaped(text):
    return re.sub(r"([\\|*_`<~\[\]])", r"\\\1", " ".join(text.split()))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("runs", nargs="*", help="folders with runs at any depth; the newest count")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where results/ and results.md are (default: docs/)")
    chosen = parser.parse_args(arguments)
    runs, kept = runs_in(chosen.runs), chosen.docs / "results"
    kept.mkdir(exist_ok=True)
    for (lesson, data), result in runs.items():
        with written_whole(kept / f"{lesson}-{data}.json", "the results") as file:
            file.write((json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
    with written_whole(chosen.docs / "results.md", "the page") as file:
        file.write(page(map(read, kept.glob("*.json"))).encode())
    print(f"written: {chosen.docs / 'results.md'}")


if __name__ == "__main__":
    terminal.prepare()
    main()
