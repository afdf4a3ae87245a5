"""Optimizers: from the gradient to the next weights.

All parameters of a model form one flat vector w, their gradients another, g (see `FlatParameters`), so each optimizer
is its textbook formula over a few vectors: `update`. It is handed one slice of all of them after the other, small
enough to stay in the cache from the first line of the formula to the last. The formulas follow torch.optim to the
letter: where eps comes in, how an average starts.
"""

from minidl.optimizers.average import MovingAverage
from minidl.optimizers.optimizer import Optimizer, clip_by_global_norm
from minidl.optimizers.rules import SGD, AdaGrad, Adam, AdamW, Momentum, RMSProp

__all__ = ["SGD", "AdaGrad", "Adam", "AdamW", "Momentum", "MovingAverage", "Optimizer", "RMSProp",
           "clip_by_global_norm"]
