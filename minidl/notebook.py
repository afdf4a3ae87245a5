"""A lesson as a Jupyter notebook: its prose as Markdown cells, its code as code cells, and a cell for its flags.

sphinx-gallery, whose form the lessons have, splits and converts them.
"""

import json
import shlex
import sys
from pathlib import Path

from minidl.errors import UserError
from minidl.files import written_whole

FLAGS_CELL = '''\
# The flags of this lesson, such as "--fast --data shapes10"; "--help" lists them.
FLAGS = {flags!r}

import shlex, sys
sys.argv = ["{name}.py", *shlex.split(FLAGS)]'''


def write_notebook(script, path=None, flags=()):
    """Write the lesson `script` as a notebook, whose first code cell holds these flags. Returns the path written.

    path: the file, which must end in .ipynb (without one: the script's name in the current folder)
    """
    script = Path(script)
    path = Path(path or f"{script.stem}.ipynb")
    if path.suffix != ".ipynb":
        raise UserError(f"--notebook {path}: expected a file that ends in .ipynb, such as {script.stem}.ipynb")
    if path.exists():
        raise UserError(f"--notebook {path}: this file exists, and somebody may have worked in it. Delete it, or name "
                        f"another one")
    try:
        from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
        from sphinx_gallery.notebook import jupyter_notebook
        from sphinx_gallery.py_source_parser import split_code_and_text_blocks
    except ImportError as reason:
        raise UserError(f"a notebook is written by the package sphinx-gallery, which cannot be imported ({reason}). "
                        f"Install it:  {shlex.quote(sys.executable)} -m pip install sphinx-gallery") from reason
    _, blocks = split_code_and_text_blocks(str(script))
    flags_cell = FLAGS_CELL.format(name=script.stem, flags=shlex.join(flags))
    notebook = jupyter_notebook(blocks, DEFAULT_GALLERY_CONF | {"first_notebook_cell": flags_cell}, str(path.parent))
    notebook["cells"][:2] = reversed(notebook["cells"][:2])  # the title first
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path, "the notebook") as file:
            file.write(json.dumps(notebook, indent=2).encode())
    except OSError as reason:
        raise UserError(f"--notebook {path}: the file cannot be written ({reason.strerror or reason}). "
                        f"Name another one") from reason
    return path
