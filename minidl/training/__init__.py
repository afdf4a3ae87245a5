"""Training: the loop, what it remembers, and how a model is evaluated.

    for each batch:   scores = model.forward(x)
                      loss.forward(scores, y)
                      model.backward(loss.backward())
                      optimizer.step()
"""

from minidl.training.evaluation import evaluate, evaluation_mode
from minidl.training.history import History
from minidl.training.loop import fit

__all__ = ["History", "evaluate", "evaluation_mode", "fit"]
