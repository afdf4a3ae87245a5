"""Dropout's masks, computed from a key instead of drawn: what happens to an element depends on the key and its place.

So no mask is stored, backward computes the same one again, and slices, threads and backends agree to the bit.
"""

from math import prod

from minidl.backend import xp
from minidl.backend.kernels import Kernel, on_gpu
from minidl.parallel import in_slices, workspace

STEPS = 1 << 16    # a draw has 16 bits

DROPPED = Kernel("dropped", "T x, raw uint64 key, uint32 lowest, T scale", "T y", """
    unsigned int bits = (unsigned int)(key[0] >> 32) + (unsigned int)(i >> 1);          // see random_draws
    bits ^= bits >> 16;
    bits *= 0x7feb352dU;
    bits += (unsigned int)key[0];
    bits ^= bits >> 15;
    bits *= 0x846ca68bU;
    bits ^= bits >> 16;
    unsigned int draw = i & 1 ? bits >> 16 : bits & 0xffffU;
    y = x * scale * (T)(draw >= lowest);
""")


def dropped_on_gpu(x, key, rate):
    return DROPPED(x, key, xp.uint32(lowest_kept(rate)), 1 / (1 - rate))


@on_gpu(dropped_on_gpu)
def dropped(x, key, rate):
    """x / (1 - rate), with zeros in place of a share `rate` of its elements; which ones, follows from the key.

    key: as `draw_key` draws it, an array of one integer of 64 bits
    Element i is dropped where draw i of the key is below rate * 65536, rounded: the share is a multiple of 1 / 65536.
    """
    row, lowest, scale, key = prod(x.shape[1:]), lowest_kept(rate), 1 / (1 - rate), divmod(int(key[0]), 1 << 32)
    y = xp.empty(x.shape, x.dtype)

    def drop_slice(rows):
        kept = random_draws(key, rows.start * row, rows.stop * row) >= lowest
        xp.multiply(x[rows], scale, out=y[rows])
        y[rows] *= kept.reshape(y[rows].shape)

    in_slices(drop_slice, len(x), 2 * x[:1].nbytes)
    return y


def lowest_kept(rate):
    """The smallest draw that keeps an element; at least one draw in 65536 does."""
    return min(round(rate * STEPS), STEPS - 1)


def random_draws(key, start, stop):
    """Draws start to stop - 1 of a key: integers from 0 to 65535, two from each 32 bits of the hash.

    key: two integers below 2^32. The hash is "lowbias32" of C. Wellons' search for functions where every bit of
    the argument turns over every bit of the result in half of all cases ("Prospecting for hash functions", 2018,
    nullprogram.com/blog/2018/07/31; github.com/skeeto/hash-prospector, public domain). The first number of the key
    says where to begin counting, the second comes in between the two rounds, so that two keys do not count through
    the same numbers.
    """
    first, last = start // 2, (stop + 1) // 2
    x = xp.arange(last - first, dtype=xp.uint32)                         # a counter; all arithmetic is modulo 2^32
    high = workspace("high bits", x.shape, x.dtype)
    x += xp.uint32((first + key[0]) % 2**32)
    x ^= xp.right_shift(x, 16, out=high)
    x *= xp.uint32(0x7feb352d)
    x += xp.uint32(key[1])
    x ^= xp.right_shift(x, 15, out=high)
    x *= xp.uint32(0x846ca68b)
    x ^= xp.right_shift(x, 16, out=high)
    return x.view(xp.uint16)[start - 2 * first:stop - 2 * first]         # the lower half of a word comes first
