"""What every lesson script starts with: its flags, its folder for pictures, its table of claims.

    lesson = Lesson("02_vanishing_gradient", __doc__)        # the script's name, with which its folder is called, too
    x_train, y_train, x_test, y_test, classes = lesson.load()
    scale = lesson.scaling(x_train)
    with lesson.running():                                   # Ctrl-C ends this block, and the rest shows what there is
        for init, seed in lesson.each(INITS, lesson.seeds):  # a bar on a terminal
            ...
            lesson.note(init=init, seed=seed, accuracy=0.95)                # a row of metrics.csv
    lesson.save(figure, "accuracy")
    lesson.claims.add("...", measured=[0.95, 0.96], holds=..., published="0.9168 (source)", miss="why, if not")
    lesson.finish()

The same lines work cell by cell in Jupyter, VS Code and Spyder. There a lesson shows each picture once, when it saves
it, and takes the flags of `%run lessons/NAME.py --flags`; cell by cell there are none, and the defaults hold.
"""

from minidl.lesson.claims import Claims
from minidl.lesson.script import Lesson

__all__ = ["Claims", "Lesson"]
