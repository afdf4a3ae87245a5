"""Where an operation runs: plain NumPy on the CPU, on the GPU a kernel of its own.

    SCALED = Kernel("scaled", "T x, T scale, T shift", "T y", "y = x * scale + shift;")

    @on_gpu(SCALED)
    def scaled(x, scale, shift):
        return x * scale + shift

The function is the kernel's twin: both are in one file and tested equal. Whoever calls `scaled` need not know
which of the two it gets.
"""

import functools

from minidl.backend.library import backend_name


class Kernel:
    """A piece of CUDA that computes one element, run by as many threads as there are elements.

    inputs, outputs: as cupy.ElementwiseKernel takes them. Of "T x" a thread sees its own element, under that name; of
    "raw T x" the whole array, x[k] counting its elements in order. T is the type of the arrays, so one text
    serves float32 and float64. An output that is not given is made.
    body: the CUDA; `i` is the number of the element, `_ind.get()` its index along each axis of the arrays that are not
    raw, broadcast. Both are 64-bit numbers, and so should be whatever counts through an array.

    It is compiled at its first call for each combination of types. One launch takes about 10 microseconds, and each
    pass over memory counts: that is why several steps of NumPy are one kernel.
    """

    def __init__(self, name, inputs, outputs, body, preamble=""):
        self.name, self.inputs, self.outputs, self.body, self.preamble = name, inputs, outputs, body, preamble
        declared = [text.split() for text in f"{inputs}, {outputs}".split(",")]
        self.raw = [words[0] == "raw" for words in declared]
        self.compiled = {}

    def __call__(self, *arguments):
        import cupy
        if cupy not in self.compiled:
            self.compiled[cupy] = cupy.ElementwiseKernel(self.inputs, self.outputs, self.body, f"minidl_{self.name}",
                                                         preamble=self.preamble, reduce_dims=False)
        given = [cupy.ascontiguousarray(each) if raw else each  # x[k] of anything else would take divisions
                 for raw, each in zip(self.raw, arguments, strict=False)]
        return self.compiled[cupy](*given)


def on_gpu(kernel):
    """Decorator: with CuPy, `kernel` computes in place of the function, from the same arguments.

    kernel: a Kernel, or a function that calls some. The decorated function keeps it as its attribute `kernel`, and
    itself as `plain`.
    """
    def with_kernel(plain):
        @functools.wraps(plain)
        def choose(*arguments, **keywords):
            return (kernel if backend_name() == "cupy" else plain)(*arguments, **keywords)

        choose.plain, choose.kernel = plain, kernel
        return choose

    return with_kernel
