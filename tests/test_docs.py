"""What the documents quote is what the code says, and what they tell to type works."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [(page, text) for page in PAGES
          for text in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)]
QUOTED = [(page, *text.split("\n", 1)) for page, text in BLOCKS if re.match(r"# \S+\.py\n", text)]


@pytest.mark.parametrize(("page", "source", "text"), QUOTED,
                         ids=[f"{page.stem}-{number}" for number, (page, _, _) in enumerate(QUOTED)])
def test_quoted_code_is_in_its_source(page, source, text):
    path = ROOT / source.removeprefix("# ")
    assert path.is_file(), f"{page.name} quotes {path}"
    lines = path.read_text(encoding="utf-8")
    assert text in lines, f"{page.name} quotes what {source.removeprefix('# ')} does not say:\n{text}"


def test_something_is_quoted():
    assert {page.name for page, _, _ in QUOTED} >= {"design.md"}


@pytest.mark.slow
@pytest.mark.parametrize("text", [text for page, text in BLOCKS if page.name == "README.md"],
                         ids=lambda text: text.splitlines()[0][:40])
def test_the_code_of_the_readme_runs(text, tmp_path):
    """As it is there: each block by itself, warnings as errors."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", text], cwd=tmp_path, capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout or "print" not in text


def test_links_lead_somewhere():
    """Links to files of the project, from where the page is."""
    broken = [f"{page.name}: {target}" for page in PAGES
              for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text(encoding="utf-8"))
              if not (page.parent / target).exists()]
    assert not broken, broken
