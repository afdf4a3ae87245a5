"""
Lesson 2: why does a deep sigmoid network refuse to learn?
==========================================================

Going backward, every layer multiplies the gradient by its weights and by the slope of its activation function. The
slope of the sigmoid is at most 1/4, and the old habit was weights of size 0.01: after a few layers nothing is left.
We train the same small network, D-40-20-10, with two activation functions and four ways to draw its first weights,
and watch the gradient of each layer. The experiment is that of the "Rabbit Challenge" course on deep learning, day 2
(https://study-ai.com); 003 below is a student's published report of it, the ranges are those of other students.
"""

# %%
# Constants first: change one, run again.

import numpy as np

import minidl
from minidl import Sequential, plots
from minidl.backend import draw_integers, draw_normal
from minidl.datasets import Standardize, scale_to_unit
from minidl.layers import Dense, Flatten, ReLU, Sigmoid
from minidl.lesson import Lesson
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD
from minidl.probe import probe, weight_gradient_norm
from minidl.training import evaluate

ACTIVATIONS = {"sigmoid": Sigmoid, "ReLU": ReLU}
INITS = {"zeros": "zeros", "std 0.01": "normal:0.01", "Xavier": "xavier", "He": "he"}
STEPS, BATCH, LEARNING_RATE, EVERY = 2000, 100, 0.1, 10

lesson = Lesson("02_vanishing_gradient", __doc__, data="mnist10k", seeds=3)
x_train, y_train, x_test, y_test, classes = lesson.load()
# The course divided MNIST by 255. On photographs it takes more: mean 0 and spread 1 for every colour.
scale = scale_to_unit if "mnist" in lesson.data else Standardize(x_train)
print(f"{lesson.data}: {len(x_train)} training and {len(x_test)} test images of {x_train.shape[1:]}")


# %%
# The network, and the training loop written out by hand. A batch is drawn with replacement, as in the course.
def network(activation, init):
    return Sequential([Flatten(), Dense(40, init), activation(), Dense(20, init), activation(),
                       Dense(len(classes), init)], input_shape=x_train.shape[1:])


def train(activation, init, seed):
    minidl.seed(seed)
    model = network(activation, init)
    model.input_gradient = False                                   # nobody trains the images
    loss, optimizer = SoftmaxCrossEntropy(), SGD(model.parameters(), lr=LEARNING_RATE)
    weighted = [layer for layer in model.layers if layer.parameters()]
    norms = []
    for step in range(STEPS):
        rows = draw_integers(len(x_train), BATCH)
        scores = model.forward(scale(x_train[rows]))               # (100, 10)
        loss.forward(scores, y_train[rows])
        model.backward(loss.backward())
        optimizer.step()
        if step % EVERY == 0:
            norms.append([weight_gradient_norm(layer) / layer.W.data.size**0.5 for layer in weighted])
    return evaluate(model, x_test, y_test, prepare=scale), np.array(norms)   # norms: (STEPS / EVERY, 3)


# %%
# The culprit: the slope of the sigmoid, which we ask of the layer itself by sending dy = 1 backward.

x = minidl.asarray(np.linspace(-8, 8, 401))[:, None]
sigmoid = Sigmoid()
sigmoid.build((1,))
y = sigmoid.forward(x)
slope = minidl.to_cpu(sigmoid.backward(minidl.asarray(np.ones((401, 1)))))[:, 0]
line = minidl.to_cpu(x)[:, 0]
figure = plots.curves({"": {"sigmoid(x)": (line, minidl.to_cpu(y)[:, 0]), "its slope": (line, slope),
                            "slope after 2 layers, at best": (line, slope**2)}},
                      f"The slope of the sigmoid is at most {slope.max():.2f}: two layers leave {0.25**2:.3f}",
                      "x", "", reference=(0.25, "0.25"))
lesson.save(figure, "sigmoid_slope")
lesson.claims.add("The slope of the sigmoid is largest at x = 0, where it is 0.25", float(slope.max()),
                  holds=abs(slope.max() - 0.25) < 1e-6 and line[slope.argmax()] == 0, published="0.25 (course, test 1)")

# %%
# What the hidden layers send on before any training: with zeros one single value, with 0.01 nearly so.

grid = {}
for activation_name, activation in ACTIVATIONS.items():
    for init_name, init in INITS.items():
        minidl.seed(0)
        seen = probe(network(activation, init), scale(x_train[:500]), lambda scores: draw_normal(scores.shape))
        hidden = [observation.activations for observation in seen if isinstance(observation.layer, activation)]
        for k, values in enumerate(hidden):
            grid.setdefault(f"{activation_name}\nlayer {k + 1}", {})[init_name] = values
lesson.save(plots.histograms(grid, "Outputs of the two hidden layers before training", "output",
                             limits={row: (0, 1) for row in grid if row.startswith("sigmoid")}), "activations")

# %%
# The eight cells, each from several seeds. This is where the time goes.

accuracy, norms = {name: {} for name in ACTIVATIONS}, {}
for activation_name, activation in ACTIVATIONS.items():
    for init_name, init in INITS.items():
        runs = [train(activation, init, seed) for seed in lesson.seeds]
        accuracy[activation_name][init_name] = [run[0] for run in runs]
        norms[f"{activation_name}, {init_name}"] = np.mean([run[1] for run in runs], axis=0)
        print(f"{activation_name:8} {init_name:9} test accuracy " + " ".join(f"{run[0]:.4f}" for run in runs))

frequencies = np.bincount(minidl.to_cpu(y_test), minlength=len(classes)) / len(y_test)
lesson.save(plots.bars(accuracy, list(INITS), f"Test accuracy after {STEPS} steps ({lesson.data})", "test accuracy",
                       reference=(frequencies.max(), "always the commonest class")), "accuracy")
steps = np.arange(0, STEPS, EVERY)
lesson.save(plots.curves({cell: {f"layer {k + 1}": (steps, values[:, k]) for k in range(3)}
                          for cell, values in norms.items()},
                         "Gradient of a weight of each layer during training (root mean square)", "step", "gradient",
                         logarithmic=True), "gradient_norms")


# %%
# What it shows, in numbers. A collapsed network gives every image the same class, so its accuracy is *exactly* the
# share of that class among the test images: a fingerprint to look for whenever an accuracy looks like chance.

def claim_collapse(activation, init, published):
    values = accuracy[activation][init]
    one_class = all(np.isclose(value, frequencies, rtol=0, atol=1e-9).any() for value in values)
    lesson.claims.add(f"{activation}, {init}: collapsed to exactly one class frequency",
                      ", ".join(f"{value:.4f}" for value in values), one_class, published)


claim_collapse("sigmoid", "zeros", "0.1135, the share of MNIST's class 1 (003)")
claim_collapse("ReLU", "zeros", "0.1135, the share of MNIST's class 1 (003)")
share = {cell: values[0, 0] / values[0, 2] for cell, values in norms.items() if values[0, 2]}
lesson.claims.add("sigmoid, std 0.01: at the start a weight of layer 1 gets less than 1/500 of one of layer 3",
                  f"1/{1 / share['sigmoid, std 0.01']:.0f}", share["sigmoid, std 0.01"] < 1 / 500)
lesson.claims.add("ReLU, He: at the start a weight of layer 1 gets more than 1/20 of one of layer 3",
                  f"1/{1 / share['ReLU, He']:.1f}", share["ReLU, He"] > 1 / 20)
mean = {(activation, init): np.mean(values) for activation, row in accuracy.items() for init, values in row.items()}
for better, worse, published in (
        (("sigmoid", "Xavier"), ("sigmoid", "std 0.01"), "MNIST: 0.868-0.884 > 0.101"),
        (("ReLU", "std 0.01"), ("sigmoid", "std 0.01"), "MNIST: 0.917 > 0.101 (003)"),
        (("ReLU", "He"), ("sigmoid", "He"), "MNIST: 0.948 (003) > 0.889-0.894")):
    lesson.claims.add(f"{', '.join(better)} learns more than {', '.join(worse)}",
                      f"{mean[better]:.3f} > {mean[worse]:.3f}", mean[better] > mean[worse], published)
if "mnist" in lesson.data:
    claim_collapse("sigmoid", "std 0.01", "0.101, the share of class 9 (003)")
    for cell, low, high, published in (
            (("ReLU", "std 0.01"), 0.88, 0.94, "0.917 (003); 0.907-0.926"),
            (("sigmoid", "Xavier"), 0.86, 0.89, "0.868-0.884. Not 003's 0.796: its gradient was wrong"),
            (("sigmoid", "He"), 0.88, 0.90, "0.889-0.894. Not 003's 0.827: its gradient was wrong"),
            (("ReLU", "He"), 0.93, 1.00, "0.948 (003); 0.951-0.959 on 60,000 images")):
        lesson.claims.add(f"{', '.join(cell)}: between {low:.2f} and {high:.2f}", float(mean[cell]),
                          low <= mean[cell] <= high, published)
lesson.finish()
