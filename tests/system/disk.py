"""disk.py: what lies in a node's data directory, and how a test harms it."""
import glob
import os

VALUE_BYTES = 8000


def value_of(key, version=0):
    """A value that is found again on a disk."""
    token = "<%s#%d>" % (key, version)
    return (token * (VALUE_BYTES // len(token) + 1))[:VALUE_BYTES]


def values(prefix, count, version=0, first=0):
    """So many keys, and such a value for each."""
    keys = ["%s:%d" % (prefix, n) for n in range(first, first + count)]
    return {key: value_of(key, version) for key in keys}


def token_of(value):
    return value[:value.index(">") + 1].encode()


def segments(c, node):
    """The files of the log, oldest first; the last ones may not have been used yet."""
    return sorted(glob.glob(os.path.join(c.row(node)["dir"], "wal", "g*", "w*.seg")))


def content(path):
    with open(path, "rb") as f:
        return f.read()


def place_of(c, node, value):
    """Where a value lies in the node's log: the file, and the byte."""
    for path in segments(c, node):
        at = content(path).find(token_of(value))
        if at >= 0:
            return path, at
    raise AssertionError("%r is not in the log of %s" % (token_of(value), node))


def flip(path, at, rng):
    """Flips a bit of the eight bytes there."""
    at, bit = at + rng.randrange(8), rng.randrange(8)
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1 << bit]))
        f.flush()
        os.fsync(f.fileno())
    print("  flipped bit %d of byte %d of %s" % (bit, at, path[path.index("/c/") + 3:]), flush=True)
