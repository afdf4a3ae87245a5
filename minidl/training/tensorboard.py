"""A log that TensorBoard shows, written without TensorFlow and without a package for protocol buffers.

An event file is a sequence of records, each framed as TensorFlow's TFRecord files are:

    length          uint64, little-endian
    checksum        uint32, of these eight bytes
    data            `length` bytes: an Event
    checksum        uint32, of the data

The checksum is a CRC-32C (Castagnoli's polynomial, RFC 3720 appendix B.4), rotated right by 15 bits plus 0xA282EAD8
(tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format details").

An Event is a message of protocol buffers: fields one after the other, each a key, number * 8 + kind, and a value. Kind
0 is an integer in groups of 7 bits, the lowest first; 1 eight bytes; 5 four bytes; 2 a length and so many bytes, a text
or a message again (protobuf.dev/programming-guides/encoding). The fields used here, from TensorFlow's event.proto and
summary.proto:

    Event       1 wall_time: double    2 step: int64    3 file_version: string    5 summary: Summary
                7 session_log: SessionLog
    Summary     1 value: Value, once for each number
    Value       1 tag: string          2 simple_value: float
    SessionLog  1 status: 1 for START, which tells TensorBoard to forget this step and those after it
"""

import os
import time
from struct import pack

import numpy as np

from minidl.training.callbacks import Log, make_folder


class TensorBoardLog(Log):
    """All numbers of the history, one step per epoch: loss/train, accuracy/test, learning_rate and so on.

        fit(model, optimizer, x, y, epochs=30, callbacks=[TensorBoardLog("runs/x")])
        $ tensorboard --logdir runs              each folder in runs is a line of its own

    A training that begins, or is resumed, adds a file to the folder. TensorBoard then forgets what earlier files say of
    these epochs, so take a folder for each training. Numbers are float32 there.
    """

    file = None         # of this training; None before its first epoch, and after a write that failed
    unwritten = None    # the first epoch that no file holds

    def __init__(self, folder):
        super().__init__(folder, "runs/x")

    def make_place(self):
        make_folder(self.path)

    def write(self, history, epoch):
        first = self.unwritten or epoch
        self.unwritten = first
        events = [scalars(history, each) for each in range(first, epoch + 1)]
        path, self.file = self.file, None      # no reader goes on behind half a record: after a failure, a new file
        if path is None:
            path = os.path.join(self.path, f"events.out.tfevents.{time.time():.6f}.{os.getpid()}")
            events = [event(0, text(3, b"brain.Event:2")), event(first, text(7, integer(1, 1))), *events]
        with open(path, "ab") as file:
            file.write(b"".join(map(record, events)))
        self.file, self.unwritten = path, epoch + 1

    def finish(self, run):
        self.file = self.unwritten = None


def scalars(history, epoch):
    """The Event with all numbers of an epoch."""
    values = {tag_of(name): values[epoch - 1] for name, values in history.measured().items()
              if epoch <= len(values)}
    return event(epoch, text(5, b"".join(text(1, text(1, tag.encode()) + real(2, value))
                                         for tag, value in values.items())))


def tag_of(name):
    """What TensorBoard calls a number: it draws loss/train and loss/test in one group."""
    data, _, kind = name.rpartition("_")
    return f"{kind}/{data or 'train'}" if kind in ("loss", "accuracy") else name


# ------------------------------------------------------------------------------------------------------- the format


def event(step, content):
    return pack("<Bd", 1 * 8 + 1, time.time()) + integer(2, step) + content


def integer(number, value):
    return varint(number * 8) + varint(value)


def real(number, value):
    with np.errstate(over="ignore"):        # beyond float32 a number is infinite
        return varint(number * 8 + 5) + np.array(value).astype("<f4").tobytes()


def text(number, content):
    """A field of bytes: a text or a message."""
    return varint(number * 8 + 2) + varint(len(content)) + content


def varint(value):
    """An integer of at least 0 in groups of 7 bits, the lowest first; all but the last have their highest bit set."""
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def record(data):
    length = pack("<Q", len(data))
    return length + checksum(length) + data + checksum(data)


def checksum(data):
    crc = crc32c(data)
    return pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(data):
    """The remainder of the data, taken as a polynomial over bits, byte by byte from a table."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ REMAINDERS[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def remainder(byte):
    """Castagnoli's polynomial is 0x1EDC6F41; reversed here, as a byte's lowest bit comes first."""
    for _ in range(8):
        byte = byte >> 1 ^ 0x82F63B78 * (byte & 1)
    return byte


REMAINDERS = [remainder(byte) for byte in range(256)]
