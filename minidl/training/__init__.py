"""Training: the loop, what it remembers, and how a trained model predicts and is evaluated.

    for each batch:   scores = model.forward(x)
                      loss.forward(scores, y)
                      model.backward(loss.backward())
                      optimizer.step()
"""

from minidl.training.callbacks import BestWeights, CsvLog, EarlyStopping
from minidl.training.evaluation import Evaluation, evaluate, evaluation_mode, predict, predict_classes
from minidl.training.history import History
from minidl.training.loop import fit
from minidl.training.tensorboard import TensorBoardLog

__all__ = ["BestWeights", "CsvLog", "EarlyStopping", "Evaluation", "History", "TensorBoardLog", "evaluate",
           "evaluation_mode", "fit", "predict", "predict_classes"]
