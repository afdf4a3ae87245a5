"""
Lesson 4: which optimizer?
==========================

All optimizers walk downhill along the same gradient. They differ in what they make of its *length*. SGD takes it as it
is: a small gradient, a small step. Momentum adds up earlier gradients. AdaGrad, RMSProp and Adam divide by the size of
the gradients seen so far: a weight with tiny gradients still takes steps of about the learning rate. We watch them in a
valley of two numbers, in a network whose gradients vanish (lesson 2) and in one that trains well; last we compare them
once more, each at its own best learning rate. After the "Rabbit Challenge" course on deep learning, day 2
(https://study-ai.com), and chapter 6 of "Deep Learning from Scratch" (Saito 2016).

**Before you run it:** on the sigmoid network of lesson 2, SGD with learning rate 0.01 learns nothing in 1000 steps,
and Adam gets 93 % of the digits right. Now each may try six learning rates. How far behind Adam will SGD be then:
80 points, 10, 1? Write your guess down.
"""

# %%
# Constants first: change one, run again. Two rates of RMSProp are ours, because the textbook leaves it out.

import warnings

import numpy as np

import minidl
from minidl import Sequential, plots
from minidl.backend import draw_integers
from minidl.core import Parameter
from minidl.layers import Dense, Flatten, ReLU, Sigmoid
from minidl.lesson import Lesson
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD, AdaGrad, Adam, Momentum, RMSProp
from minidl.training import evaluate

OPTIMIZERS = {"SGD": SGD, "Momentum": Momentum, "AdaGrad": AdaGrad, "RMSProp": RMSProp, "Adam": Adam}
VALLEY_RATES = {"SGD": 0.95, "Momentum": 0.1, "AdaGrad": 1.5, "RMSProp": 0.1, "Adam": 0.3}
RELU_RATES = {"SGD": 0.01, "Momentum": 0.01, "AdaGrad": 0.01, "RMSProp": 0.001, "Adam": 0.001}
GRID = {"SGD": (0.03, 0.1, 0.3, 1, 3, 10), "Momentum": (0.003, 0.01, 0.03, 0.1, 0.3, 1),
        "AdaGrad": (0.003, 0.01, 0.03, 0.1, 0.3, 1), "RMSProp": (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03),
        "Adam": (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)}
EVERY, TESTED, HELD_OUT = 50, 2000, 2000

lesson = Lesson("04_optimizers", __doc__, data="mnist10k", seeds=3, takes="4 min, --fast 45 s")
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
x_test, y_test = x_test[:TESTED], y_test[:TESTED]
commonest = float(np.bincount(minidl.to_cpu(y_test)).max() / len(y_test))
warnings.simplefilter("ignore", RuntimeWarning)                    # NumPy's word about NaN: here NaN is a result

# %%
# The valley x²/20 + y² is steep across and flat along; its gradient is (x/10, 2y). An optimizer of minidl wants
# parameters, so here is a parameter of two numbers.

paths, end = {}, {}
for name, optimizer_class in OPTIMIZERS.items():
    place = Parameter(minidl.asarray([-7.0, 2.0]), "place")
    optimizer = optimizer_class([place], lr=VALLEY_RATES[name])
    path = [minidl.to_cpu(place.data).copy()]
    for _ in range(30):
        place.grad[...] = place.data * minidl.asarray([0.1, 2.0])
        optimizer.step()
        path.append(minidl.to_cpu(place.data).copy())
    end[name] = float(path[-1][0] ** 2 / 20 + path[-1][1] ** 2)
    paths[f"{name} {VALLEY_RATES[name]}: ends at height {end[name]:.2g}"] = np.transpose(path)     # (2, 31)
lesson.save(plots.paths(paths, lambda x, y: x**2 / 20 + y**2, "30 steps down the valley x²/20 + y²: SGD zig-zags"),
            "paths")
turns = int((np.diff(np.sign(next(iter(paths.values()))[1])) != 0).sum())


# %%
# The course's network (first weights of size 0.01: its gradients vanish), the textbook's, and one loop to train both.

def sigmoid_network():
    return Sequential([Flatten(), Dense(40, "normal:0.01"), Sigmoid(), Dense(20, "normal:0.01"), Sigmoid(),
                       Dense(len(classes), "normal:0.01")], input_shape=x_train.shape[1:])


def relu_network():
    hidden = [layer for _ in range(4) for layer in (Dense(100), ReLU())]
    return Sequential([Flatten(), *hidden, Dense(len(classes))], input_shape=x_train.shape[1:])


def train(network, optimizer_class, rate, seed, x, y, steps, batch, every=None):
    """The trained model, the loss of each step, and every so many steps a look: the test accuracy, and how far a weight
    of the first layer is from where it began (root mean square)."""
    minidl.seed(seed)
    model = network()
    model.input_gradient = False                                   # nobody trains the images
    loss, optimizer = SoftmaxCrossEntropy(), optimizer_class(model.parameters(), lr=rate)
    W = model.layers[1].W
    first, losses, looks = W.data.copy(), [], []
    for step in range(1, steps + 1):
        rows = draw_integers(len(x), batch)
        losses.append(float(loss.forward(model.forward(scale(x[rows])), y[rows])))
        if not np.isfinite(losses[-1]):
            break                                                  # the learning rate is too large
        model.backward(loss.backward())
        optimizer.step()
        if every and step % every == 0:
            distance = float(((W.data - first) ** 2).mean()) ** 0.5
            looks.append((evaluate(model, x_test, y_test, prepare=scale), distance))
    return model, losses, looks


class CourseAdaGrad(AdaGrad):
    """As the course writes it: the sum of squares starts at 0.0001 instead of 0."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, lr)
        self.s += 0.0001


# %%
# The sigmoid network: all at learning rate 0.01, as in the course; then two "rescued" by a larger one.

SIGMOID = {f"{name} 0.01": (optimizer_class, 0.01) for name, optimizer_class in OPTIMIZERS.items()}
SIGMOID |= {"AdaGrad of the course 0.01": (CourseAdaGrad, 0.01), "Momentum 0.3": (Momentum, 0.3),
            "AdaGrad of the course 0.1": (CourseAdaGrad, 0.1)}
looks, accuracy, loss_at_end = {}, {}, {}
with lesson.running():
    for name, seed in lesson.each(SIGMOID, lesson.seeds):
        _, losses, seen = train(sigmoid_network, *SIGMOID[name], seed, x_train, y_train, 1000, 100, EVERY)
        looks.setdefault(name, []).append(seen)
        accuracy.setdefault(name, []).append(seen[-1][0])
        loss_at_end.setdefault(name, []).append(float(np.mean(losses[-100:])))
        lesson.note(part="sigmoid", optimizer=name, seed=seed, test_accuracy=seen[-1][0], moved=seen[-1][1])
        print(f"sigmoid, {name:26} seed {seed}: test accuracy {seen[-1][0]:.4f}")
steps = np.arange(EVERY, 1001, EVERY)
learned, moved = {}, {}
for name, seen in looks.items():
    learned[name] = steps, np.mean(seen, axis=0)[:, 0]
    moved[name] = steps, np.mean(seen, axis=0)[:, 1]
lesson.save(plots.curves({"": learned}, f"A network whose gradients vanish: who gets away? ({lesson.data})", "step",
                         "test accuracy", reference=(commonest, "commonest class")), "sigmoid_accuracy")
lesson.save(plots.curves({"": moved}, "Why: how far a weight of layer 1 has moved (it began at about 0.01)", "step",
                         "distance", logarithmic=True, reference=(0.01, "size at the start")), "moved")

# %%
# The textbook's comparison: ReLU and He's first weights, where no gradient vanishes.

relu_steps = 1000 if lesson.fast else 2000
relu_curves, relu_loss = {}, {}
with lesson.running():
    for name, seed in lesson.each(OPTIMIZERS, lesson.seeds):
        _, losses, _ = train(relu_network, OPTIMIZERS[name], RELU_RATES[name], seed, x_train, y_train, relu_steps, 128)
        relu_curves.setdefault(name, []).append(losses)
        relu_loss.setdefault(name, []).append(float(np.mean(losses[-200:])))
        lesson.note(part="ReLU", optimizer=name, seed=seed, loss=relu_loss[name][-1])
        print(f"ReLU, {name:9} {RELU_RATES[name]:<6} seed {seed}: loss {relu_loss[name][-1]:.4f}")
smooth = {f"{name} {RELU_RATES[name]}": (np.arange(25, relu_steps, 50), np.mean(losses, axis=0).reshape(-1, 50).mean(1))
          for name, losses in relu_curves.items()}
lesson.save(plots.curves({"": smooth}, f"A network that trains well: the loss ({lesson.data})", "step", "loss",
                         logarithmic=True), "relu_loss")

# %%
# The fair comparison. Each optimizer gets the same six learning rates' worth of tries, half a power of ten apart. 2000
# training images are held out to choose the rate by; the test set only judges what was chosen.

x_fit, y_fit, x_val, y_val = x_train[HELD_OUT:], y_train[HELD_OUT:], x_train[:HELD_OUT], y_train[:HELD_OUT]
TRIES = [(name, rate) for name, rates in GRID.items() for rate in (rates[::2] if lesson.fast else rates)]
NETWORKS = {"sigmoid, std 0.01, 1000 steps": (sigmoid_network, 1000), "ReLU, He, 500 steps": (relu_network, 500)}
validation, test = {}, {}
with lesson.running():
    for network, (name, rate), seed in lesson.each(NETWORKS, TRIES, lesson.seeds):
        build, steps = NETWORKS[network]
        model, _, _ = train(build, OPTIMIZERS[name], rate, seed, x_fit, y_fit, steps, 100)
        key = network, name, rate
        validation.setdefault(key, []).append(evaluate(model, x_val, y_val, prepare=scale))
        test.setdefault(key, []).append(evaluate(model, x_test, y_test, prepare=scale))
        lesson.note(part=network, optimizer=name, rate=rate, seed=seed, validation=validation[key][-1],
                    test_accuracy=test[key][-1])
        print(f"{network}: {name} {rate} seed {seed}: validation {validation[key][-1]:.4f}")
import pickle; pickle.dump((looks,accuracy,loss_at_end,relu_loss,validation,test,end,turns,commonest),open(lesson.out/"dump.pkl","wb"))
lesson.finish()
