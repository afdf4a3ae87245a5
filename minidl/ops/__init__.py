"""The primitives of layers and losses that want a CUDA kernel or a method of their own, each beside its NumPy twin."""
