"""
Lesson 2: why does a deep sigmoid network refuse to learn?
==========================================================

Going backward, every layer multiplies the gradient by its weights and by the slope of its activation function. The
slope of the sigmoid is at most 1/4, and the old habit was first weights of size 0.01. How much reaches the first layer?
Then we train a small network, D-40-20-10, with two activation functions and four ways to draw its first weights.

Before you run it: with the sigmoid and weights of size 0.01, how much smaller is the gradient of a weight of the first
layer in a network of ten layers than in one of two: a hundred times, a million times, more? And of the eight networks
that we train: which learn nothing, and which is the best?

The experiment is from the course "Rabbit Challenge", deep learning day 2 (https://study-ai.com). The published values
in the table at the end are from a student's report of that course, and from other students' reports.
"""

# %%
# Constants first: change one, run again.

import numpy as np

import minidl
from minidl import Sequential, plots
from minidl.backend import draw_integers
from minidl.layers import Dense, Flatten, ReLU, Sigmoid
from minidl.lesson import Lesson
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import SGD
from minidl.probe import probe, weight_gradient_norm
from minidl.training import evaluate

ACTIVATIONS = {"sigmoid": Sigmoid, "ReLU": ReLU}
INITS = {"zeros": "zeros", "std 0.01": "normal:0.01", "Xavier": "xavier", "He": "he"}
HIDDEN, STEPS, BATCH, LEARNING_RATE, EVERY = (40, 20), 2000, 100, 0.1, 10
DEPTHS, UNITS, IMAGES = range(2, 11), 40, 500

lesson = Lesson("02_vanishing_gradient", __doc__, data="mnist10k", seeds=3, takes="2 min, --fast 40 s")
x_train, y_train, x_test, y_test, classes = lesson.load()
scale = lesson.scaling(x_train)
print(f"{lesson.data}: {len(x_train)} training and {len(x_test)} test images of {x_train.shape[1:]}")


# %%
# The network, and the gradient of a weight in its first layer before any training. `probe` sends images forward and the
# gradient of the loss backward, and notes what each layer saw.

def network(activation, init, hidden=HIDDEN):
    layers = [Flatten()]
    for units in hidden:
        layers += [Dense(units, init), activation()]
    return Sequential([*layers, Dense(len(classes), init)], input_shape=x_train.shape[1:])


def gradient_of_the_loss(scores):
    loss = SoftmaxCrossEntropy()
    loss.forward(scores, y_train[:len(scores)])
    return loss.backward()


gradient = {name: {} for name in ACTIVATIONS}                      # gradient["ReLU"]["He"]: one value per depth
for activation, init in lesson.each(ACTIVATIONS, ["std 0.01", "Xavier", "He"]):
    gradient[activation][init] = np.zeros(len(DEPTHS))
    for k, depth in enumerate(DEPTHS):
        for seed in lesson.seeds:
            minidl.seed(seed)
            model = network(ACTIVATIONS[activation], INITS[init], (depth - 1) * [UNITS])
            first = probe(model, scale(x_train[:IMAGES]), gradient_of_the_loss)[1]      # [0] is Flatten
            root_mean_square = first.weight_gradient / first.layer.W.data.size**0.5
            gradient[activation][init][k] += root_mean_square / len(lesson.seeds)
    shown = gradient[activation][init]
    print(f"{activation:8} {init:9} gradient of a first-layer weight: 2 layers {shown[0]:.1e}, 10 layers {shown[-1]:.1e}")

panels = {}
for activation, lines in gradient.items():
    panels[activation] = {init: (DEPTHS, values) for init, values in lines.items()}
lesson.save(plots.curves(panels, "What reaches the first layer: each sigmoid layer takes its share", "layers",
                         "gradient of a first-layer weight", logarithmic=True), "gradient_by_depth")

# %%
# The picture: how many layers the network has on the horizontal axis, the gradient of a weight of the first one on the
# vertical one, in powers of ten. Straight lines mean that each layer takes the same factor. It is, about,
#
#     slope of the activation function × standard deviation of the weights × √units
#
# with 1/4 for the sigmoid, √(1/2) for ReLU, which lets half of the units through. With std 0.01 and 40 units the sigmoid
# leaves 1/63 per layer: from 2 to 10 layers, 1/10 000 000 000 000 00. Xavier (std × √units = 1) leaves 1/4, He 1/2.8:
# better by far, and no rescue. Only ReLU with He is level, because √2 × √(1/2) = 1.
#
# The culprit is the slope of the sigmoid. We ask the layer itself for it, by sending dy = 1 backward.

x = minidl.asarray(np.linspace(-8, 8, 401))[:, None]
sigmoid = Sigmoid()
sigmoid.build((1,))
y = minidl.to_cpu(sigmoid.forward(x))[:, 0]
slope = minidl.to_cpu(sigmoid.backward(minidl.asarray(np.ones((401, 1)))))[:, 0]
line = minidl.to_cpu(x)[:, 0]
lesson.save(plots.curves({"": {"sigmoid(x)": (line, y), "its slope": (line, slope),
                               "slope after 2 layers, at best": (line, slope**2)}},
                         f"The slope of the sigmoid is at most {slope.max():.2f}: two layers leave {0.25**2:.3f}",
                         "x", "", reference=(0.25, "0.25")), "sigmoid_slope")
lesson.claims.add("The slope of the sigmoid is largest at x = 0, where it is 0.25", float(slope.max()),
                  holds=abs(slope.max() - 0.25) < 1e-6 and line[slope.argmax()] == 0, published="0.25 (the course, test 1)")

# %%
# And forward? What the two hidden layers send on before any training: with zeros one single value, with 0.01 nearly so.
# Such a network answers every image alike, whatever is in it.

grid = {}
for activation in ACTIVATIONS:
    for init in INITS:
        minidl.seed(0)
        seen = probe(network(ACTIVATIONS[activation], INITS[init]), scale(x_train[:IMAGES]), gradient_of_the_loss)
        hidden = [observation.activations for observation in seen if isinstance(observation.layer, ACTIVATIONS[activation])]
        for k, values in enumerate(hidden):
            grid.setdefault(f"{activation}\nlayer {k + 1}", {})[init] = values
limits = {row: (0, 1) for row in grid if row.startswith("sigmoid")}
lesson.save(plots.histograms(grid, "Outputs of the hidden layers before training", "output", limits), "activations")


# %%
# Now train all eight. The loop is written out by hand; a batch is drawn with replacement, as in the course.
def train(activation, init, seed):
    """The trained network, the loss of every step, and every 10 steps the gradient of a weight of each layer."""
    minidl.seed(seed)
    model = network(ACTIVATIONS[activation], INITS[init])
    model.input_gradient = False                                   # nobody trains the images
    loss, optimizer = SoftmaxCrossEntropy(), SGD(model.parameters(), lr=LEARNING_RATE)
    weighted = [layer for layer in model.layers if layer.parameters()]
    losses, gradients = [], []
    for step in range(STEPS):
        rows = draw_integers(len(x_train), BATCH)
        scores = model.forward(scale(x_train[rows]))               # (100, 10)
        losses.append(float(loss.forward(scores, y_train[rows])))
        model.backward(loss.backward())
        optimizer.step()
        if step % EVERY == 0:
            gradients.append([weight_gradient_norm(layer) / layer.W.data.size**0.5 for layer in weighted])
            lesson.note(activation=activation, init=init, seed=seed, step=step, loss=losses[-1],
                        first_layer=gradients[-1][0], last_layer=gradients[-1][-1])
    return model, losses, np.array(gradients)                      # gradients: (STEPS / EVERY, 3)


accuracy, gradients = {name: {} for name in ACTIVATIONS}, {}
with lesson.running():
    for seed, activation, init in lesson.each(lesson.seeds, ACTIVATIONS, INITS):
        model, losses, by_layer = train(activation, init, seed)
        tested = evaluate(model, x_test, y_test, prepare=scale)
        accuracy[activation].setdefault(init, []).append(tested)
        gradients.setdefault((activation, init), []).append(by_layer)
        lesson.note(activation=activation, init=init, seed=seed, step=STEPS, accuracy=tested)
        print(f"{activation:8} {init:9} seed {seed}: test accuracy {tested:.4f}; loss of the first batch {losses[0]:.2f}, "
              f"highest {max(losses):.2f}, of the last 100 {np.mean(losses[-100:]):.2f}")

frequencies = np.bincount(minidl.to_cpu(y_test), minlength=len(classes)) / len(y_test)
lesson.save(plots.bars(accuracy, list(INITS), f"Test accuracy after {STEPS} steps ({lesson.data})", "test accuracy",
                       reference=(frequencies.max(), "always the commonest class")), "accuracy")
