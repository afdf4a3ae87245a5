"""All parameters as one vector: what an optimizer works on."""

import copy
from math import inf

from minidl.arguments import described
from minidl.backend import address, to_cpu, xp
from minidl.core import Parameter
from minidl.errors import ShapeError, UserError


class FlatParameters:
    """All parameters in one flat vector, all gradients in another; each parameter keeps views of its part.

    An optimizer is then its textbook formula over two flat vectors. Parameters that decay come first, so a penalty on
    the weights is a formula over the first `decaying` elements. No parameter knows of this: the vectors are the
    `base` of the arrays `parameter.data` and `parameter.grad`.
    """

    def __init__(self, parameters):
        ordered = in_flat_order(parameters)
        self.decaying = sum(parameter.data.size for parameter in ordered if parameter.decay)
        if are_flat(ordered):
            self.data, self.grad = ordered[0].data.base, ordered[0].grad.base
            return
        self.data = xp.concatenate([parameter.data.ravel() for parameter in ordered])
        self.grad = xp.concatenate([parameter.grad.ravel() for parameter in ordered])
        start = 0
        for parameter in ordered:
            shape, end = parameter.data.shape, start + parameter.data.size
            parameter.data = self.data[start:end].reshape(shape)
            parameter.grad = self.grad[start:end].reshape(shape)
            start = end


def in_flat_order(parameters):
    """Those that decay first, each group in the given order; or in that of the vector that they share already."""
    base = parameters[0].data.base
    if base is not None and all(parameter.data.base is base for parameter in parameters):
        parameters = sorted(parameters, key=lambda parameter: address(parameter.data))
    return sorted(parameters, key=lambda parameter: not parameter.decay)    # stable


def are_flat(ordered):
    """Whether data and gradients of these parameters, in this order, fill one vector each and nothing else."""
    for kind in ("data", "grad"):
        arrays = [getattr(parameter, kind) for parameter in ordered]
        base = arrays[0].base
        if base is None or base.ndim != 1 or base.size != sum(array.size for array in arrays):
            return False
        ends = [address(array) + array.nbytes for array in arrays]
        if any(array.base is not base or array.dtype != base.dtype for array in arrays) or \
                [address(array) for array in arrays] != [address(base), *ends[:-1]]:
            return False
    return True


class OnParameters:
    """What works on all parameters at once: the flat vectors, and a memory that can be saved and taken over.

    parameters: as from model.parameters(), of a model that is built
    """

    remembered = ()  # names of what is kept from step to step: vectors and numbers

    def __init__(self, parameters):
        self.all_parameters = list(parameters) if hasattr(parameters, "__iter__") else []
        if not self.all_parameters or not all(isinstance(p, Parameter) for p in self.all_parameters):
            came = f"{len(self.all_parameters)} things" if hasattr(parameters, "__iter__") else described(parameters)
            brackets = ", with its brackets" if callable(parameters) else ""
            raise UserError(f"{type(self).__name__}: expected the parameters of a built model, got {came}. Pass "
                            f"model.parameters(){brackets}, after model.build(...)")
        if len({id(p) for p in self.all_parameters}) < len(self.all_parameters):
            raise UserError(f"{type(self).__name__}: the same parameter was passed twice")
        self.flat = FlatParameters(self.all_parameters)

    def vectors(self):
        """All parameters as one vector, all gradients as another; changing these changes those."""
        for parameter in self.all_parameters:
            if parameter.data is None:
                raise UserError(f"{type(self).__name__}: the layer of {parameter.name} was built a second time since, "
                                f"and has new parameters. Make the optimizer anew, from model.parameters()")
            for kind, array, vector in (("data", parameter.data, self.flat.data),
                                        ("grad", parameter.grad, self.flat.grad)):
                if array.base is vector:
                    continue
                if array.base is not None and array.base.ndim == 1:
                    raise UserError(f"{type(self).__name__}: another optimizer was made for some of these parameters "
                                    f"since. Use that one, or make this one anew")
                raise UserError(f"{type(self).__name__}: {parameter.name}.{kind} of shape {array.shape} is another "
                                f"array than the one this optimizer works on. Assign into it, as in "
                                f"self.{parameter.name}.{kind}[...] = ..., not over it")
        return self.flat.data, self.flat.grad

    def __getstate__(self):
        """Everything but the flat vectors, which exist as the parameters' arrays already (for `pickle` and `copy`)."""
        self.vectors()
        return {name: value for name, value in vars(self).items() if name != "flat"}

    def __setstate__(self, state):
        vars(self).update(state)
        self.flat = FlatParameters(self.all_parameters)

    def __deepcopy__(self, memo):
        """A copy for the copied model; alone, the copy would train parameters that no model has."""
        if any(id(parameter) not in memo for parameter in self.all_parameters):
            kind = type(self).__name__
            raise UserError(f"{kind}: a copy of it alone trains no model. Copy both at once, the model first: "
                            f"copy.deepcopy((model, optimizer)). Or make a new {kind} from the copied model's "
                            f"parameters() and call its load_state_dict(optimizer.state_dict())")
        copied = memo[id(self)] = object.__new__(type(self))
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied

    def memory(self):
        """The vectors that are remembered, one number for each parameter."""
        return [value for value in (getattr(self, name) for name in self.remembered) if isinstance(value, xp.ndarray)]

    def zeros(self):
        """A vector for a running average, as long as that of the parameters."""
        return xp.zeros_like(self.flat.data)

    def state_dict(self):
        """What is remembered from step to step, by name, as NumPy arrays: with it, a run can be resumed."""
        return {name: to_cpu(getattr(self, name)).copy() for name in self.remembered}

    def load_state_dict(self, state):
        """Take over a state_dict. Names and shapes must match, and numbers make sense; otherwise nothing is changed."""
        kind, mine, state = type(self).__name__, self.state_dict(), {key: to_cpu(state[key]) for key in state}
        if mine.keys() != state.keys():
            raise UserError(f"load_state_dict: {kind} remembers {', '.join(mine)}; the state holds {', '.join(state)}. "
                            f"Was it saved from another optimizer?")
        for name, array in mine.items():
            if array.shape != state[name].shape:
                raise ShapeError(f"load_state_dict: {name} of {kind} has shape {array.shape}, in the state "
                                 f"{state[name].shape}. Was it saved with another model?")
            check_remembered(kind, name, state[name])
        for name, array in mine.items():
            value = state[name]
            setattr(self, name, xp.asarray(value.astype(array.dtype)) if value.ndim else value.item())


def check_remembered(kind, name, value):
    """Raise an error unless this array can be what an optimizer of that kind remembers under that name."""
    finite = value.dtype.kind in "fiu" and (abs(value) < inf).all()     # NaN is not
    if value.ndim:
        expected, right, came = "finite numbers", finite, "NaN, infinity or no numbers"
    else:
        whole = value.dtype.kind in "iu" or name != "t"
        expected = "an integer of at least 0" if name == "t" else "a number of at least 0"
        right, came = finite and whole and value >= 0, value.item()
    if not right:
        raise UserError(f"load_state_dict: {name} of {kind}: expected {expected}, got {came}. Had the run diverged "
                        f"when its state was saved, or is the file damaged?")
