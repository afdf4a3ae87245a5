"""The command `minidl`: lessons, data sets and a look at the installation from the command line.

    minidl lesson                 list the lessons
    minidl lesson 2 --fast        run one; --help after its number lists its flags
    minidl lesson 2 --notebook    write it as a Jupyter notebook (--notebook FILE.ipynb says where)
    minidl data                   list the data sets; `minidl data list` says which are there
    minidl data fetch cifar10     load one or several, downloading what is not there yet
    minidl data verify            compare the files that are there with their checksums; also: verify cifar10
    minidl data where             the folder of the data sets
    minidl data clean             delete what interrupted downloads left; clean cifar10: its downloaded files, too
    minidl gradcheck my_layers.py:Affine --input-shape 8,5 --kwargs units=3
                                  check the backward pass of a class in a file of your own
    minidl bench --quick          time a training step against other libraries that are installed
    minidl parity                 do NumPy and the GPU compute the same? every layer, loss, optimizer and a training
    minidl doctor                 what is installed, what is missing, and the command that cures it
"""

import argparse
import ast
import os
import runpy
import sys
from functools import partial
from pathlib import Path

import minidl
from minidl import backend, datasets, doctor, notebook, terminal
from minidl.arguments import positive_integer
from minidl.datasets import command
from minidl.errors import UserError
from minidl.files import written_whole
from minidl.text import table

PACKAGE = Path(__file__).resolve().parent
COURSE = PACKAGE.parent if datasets.is_checkout(PACKAGE.parent) else PACKAGE / "course"  # where setup.py put it
LESSONS, ANSWERS = COURSE / "lessons", COURSE / "docs" / "answers"
BENCHMARK = COURSE / "benchmarks" / "training_step.py"


def main(arguments=None):
    """Run one subcommand; returns the exit status: 0 all well, 1 something is wrong, 2 wrong usage."""
    if arguments is None:  # this process is the command itself
        terminal.prepare()
    parser, lesson_parser = _parser()
    chosen, flags = parser.parse_known_args(arguments)
    if chosen.command == "lesson" and set(flags) & {"-h", "--help"}:  # add_help=False leaves those behind a number
        lesson_parser.print_help()
        return 0
    if flags and chosen.command != "bench":
        parser.error(f"unrecognized arguments: {' '.join(flags)}")
    try:
        return chosen.run(chosen, flags)
    except UserError as error:
        print(f"minidl {chosen.command}: {error}", file=sys.stderr)
        return 2


def _parser():
    """The parser of the whole command line, whose result `chosen` has `chosen.run`, and that of `minidl lesson`."""
    parser = argparse.ArgumentParser(prog="minidl", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"minidl {minidl.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_whole_names)
    lesson_parser = commands.add_parser("lesson", help="list the lessons or run one", add_help=False)
    lesson_parser.add_argument("number", nargs="?", help="the lesson's number: 2, or 02")
    lesson_parser.add_argument("flags", nargs=argparse.REMAINDER, help="flags of the lesson itself (minidl lesson 2 "
                               "--help lists them), or --notebook [FILE.ipynb] to write the lesson as a notebook")
    lesson_parser.set_defaults(run=lambda chosen, _: lesson(chosen.number, chosen.flags))
    data_parser = commands.add_parser("data", help="list, fetch, verify or delete data sets",
                                      description="Exit status: 0 all is well, 1 verify found a file that is wrong.")
    data_parser.add_argument("words", nargs="*", metavar="list | fetch NAME | verify [NAME] | where | clean [NAME]",
                             help="NAME: one of " + ", ".join(datasets.names()) + "; fetch also folder:PATH, npz:PATH")
    data_parser.add_argument("--data-dir", metavar="DIR", help="the folder of the data sets")
    data_parser.set_defaults(run=lambda chosen, _: command.run(chosen.words, chosen.data_dir))
    _add_checks(commands)
    bench_parser = commands.add_parser("bench", help="time a training step against other libraries", add_help=False)
    bench_parser.set_defaults(run=lambda _, flags: bench(flags))  # its own flags
    doctor_parser = commands.add_parser("doctor", help="say what is installed and what is missing",
                                        description="Exit status: 0 all is well, 1 something is at fault.")
    doctor_parser.add_argument("--backend", choices=backend.BACKENDS, default=os.environ.get("MINIDL_BACKEND"),
                               help="cupy: a GPU that cannot be used is a fault (it is one, too, where MINIDL_BACKEND "
                               "asks for it)")
    doctor_parser.add_argument("--data-dir", metavar="DIR", help="the folder of the data sets")
    doctor_parser.set_defaults(run=lambda chosen, _: doctor.report(chosen.backend, chosen.data_dir))
    return parser, lesson_parser


def _add_checks(commands):
    """The parsers of `minidl gradcheck` and `minidl parity`."""
    check_parser = commands.add_parser("gradcheck", help="check the backward pass of a class in a file",
                                       description="Exit status: 0 right, 1 wrong or inconclusive, 2 wrong usage.")
    check_parser.add_argument("target", metavar="FILE.py:CLASS", help="a layer or a loss: any class with forward and "
                              "backward, or a function without arguments that makes one")
    check_parser.add_argument("--input-shape", required=True, metavar="N,...", help="with the batch axis: 8,5,6,3")
    check_parser.add_argument("--kwargs", nargs="+", default=[], metavar="NAME=VALUE", action="extend",
                              help="arguments of the class: units=5 padding=same")
    check_parser.add_argument("--plot", metavar="PICTURE", help="save a picture of the gradients: check.png")
    check_parser.set_defaults(run=lambda chosen, _: gradcheck(chosen.target, chosen.input_shape, chosen.kwargs,
                                                              chosen.plot))
    parity_parser = commands.add_parser("parity", help="compare what both backends compute; needs a GPU",
                                        description="Exit status: 0 equal up to rounding, 1 further apart, 2 no GPU.")
    parity_parser.add_argument("--steps", type=int, default=50, metavar="N", help="of the training (default 50)")
    parity_parser.add_argument("--json", metavar="FILE", help="save the numbers there, too")
    parity_parser.set_defaults(run=lambda chosen, _: compare_backends(chosen.steps, chosen.json))


# A flag must be written in full: argparse would take --seed for --seeds, where no such flag existed.
_whole_names = partial(argparse.ArgumentParser, allow_abbrev=False)


def lesson(number, flags):
    """Run the lesson script whose name starts with `number`, or write it as a notebook; without one, list them all."""
    scripts = sorted(LESSONS.glob("[0-9][0-9]_*.py"))
    if not scripts:
        raise UserError(f"there is no lesson in {LESSONS}: install minidl anew")
    if number is None:
        print(table(["", "question", "data", "time on two cores"], map(_facts, scripts), wrap={1: 40, 3: 19}),
              f"scripts: {LESSONS}\nanswers: {ANSWERS}", sep="\n\n")
        return 0
    wanted = [script for script in scripts if script.stem[:2] == number.zfill(2)]
    if not wanted:
        raise UserError(f"there is no lesson {number}; there are {', '.join(script.stem[:2] for script in scripts)}")
    parser = _whole_names(add_help=False)  # the other flags are the lesson's
    parser.add_argument("--notebook", nargs="?", const="")
    chosen, flags = parser.parse_known_args(flags)
    if chosen.notebook is not None:
        print(f"notebook: {notebook.write_notebook(wanted[0], chosen.notebook, flags)}")
        return 0
    sys.argv = [str(wanted[0]), *flags]
    runpy.run_path(str(wanted[0]), run_name="__main__")
    return 0


def _facts(script):
    """[number, question, data set, time] of a lesson, read from its text."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    made = next(node for node in ast.walk(tree)
                if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "Lesson")
    named = {word.arg: ast.literal_eval(word.value) for word in made.keywords}
    title = ast.get_docstring(tree).splitlines()[0]
    return [script.stem[:2], title.split(": ", 1)[-1], named.get("data", ""), named.get("takes", "")]


def bench(flags):
    """Run the benchmark script of a checkout."""
    if not BENCHMARK.exists():
        raise UserError("the benchmarks are not part of the installed package: clone the project and run this there")
    sys.argv = [str(BENCHMARK), *flags]
    sys.path.insert(0, str(BENCHMARK.parent))  # the script's neighbours, as python itself would find them
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    return 0


def gradcheck(target, input_shape, kwargs=(), picture=None):
    """Print the report on the class that `FILE.py:CLASS` names. Status 1 unless its backward pass is right."""
    from minidl.gradcheck.from_file import check_file
    report = check_file(target, input_shape, kwargs)
    print(report)
    if picture:
        try:
            figure = report.plot()
            with written_whole(picture, "the picture") as file:
                figure.savefig(file, format=Path(picture).suffix[1:] or "png")
        except (OSError, ValueError) as reason:
            raise UserError(f"--plot {picture}: the picture cannot be saved ({reason})") from reason
        print(f"picture: {picture}")
    return 0 if report.passed else 1


def compare_backends(steps, path=None):
    """Print how far apart the results of NumPy and CuPy are. Status 1 where that is more than rounding."""
    from minidl import parity
    differences = parity.compare(positive_integer(steps, "--steps"))
    print(parity.as_text(differences))
    if path:
        parity.write_json(differences, path)
        print(f"numbers: {path}")
    return 0 if all(each.within for each in differences) else 1
