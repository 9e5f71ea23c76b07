"""small_disk.py: a filesystem of its own, small enough to be filled, mounted under a node's data
directory.

    with SmallDisk(mount_point, mib=128) as disk:
        disk.fill()     # not a byte is left
        disk.free()

DyingDisk is one that stops taking anything at a moment of the test's choice: EIO.

Needs root, mkfs.ext4 and loop devices: need_small_disks() skips (77) where they are missing."""
import contextlib
import ctypes
import os
import shutil
import subprocess
import tempfile

from harness import Skip, need_root

MIB = 1 << 20
BLOCK = 4096


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


class SmallDisk:
    """An ext4 in a file, with nothing set aside for root."""

    def __init__(self, at, mib, folder):
        self.at = at
        self.image = os.path.join(folder, os.path.basename(at) + ".img")
        self.ballast = os.path.join(at, "ballast")
        os.makedirs(at)
        with open(self.image, "wb") as f:
            f.truncate(mib * MIB)
        for words in (("mkfs.ext4", "-q", "-b", str(BLOCK), "-m", "0", self.image),
                      ("mount", "-o", "loop", self.image, at)):
            done = run(*words)
            if done.returncode != 0:
                raise OSError("%s: %s" % (" ".join(words), done.stderr.strip()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        run("umount", "-l", self.at)

    def left(self):
        """Bytes that are free."""
        s = os.statvfs(self.at)
        return s.f_bavail * s.f_frsize

    def fill(self):
        """Takes all that is left, to the last block."""
        with open(self.ballast, "ab", buffering=0) as f:
            for piece in (MIB, BLOCK):
                try:
                    while True:
                        f.write(b"x" * piece)
                except OSError:
                    pass
            try:
                os.fsync(f.fileno())
            except OSError:
                pass

    def free(self):
        os.remove(self.ballast)


class DyingDisk(SmallDisk):
    """Its image lies in a tmpfs.  When that is full and the image's pages are given back, the loop
    device has nowhere to put what is written, and says so: EIO, as a broken device does."""

    SPARE_MIB = 16
    PUNCH = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE

    def __init__(self, at, mib, folder):
        self.under = os.path.join(folder, os.path.basename(at) + ".mem")
        self.bytes = mib * MIB
        os.makedirs(self.under)
        done = run("mount", "-t", "tmpfs", "-o", "size=%dm" % (mib + self.SPARE_MIB), "tmpfs",
                   self.under)
        if done.returncode != 0:
            raise OSError("mount -t tmpfs: " + done.stderr.strip())
        super().__init__(at, mib, self.under)

    def __exit__(self, *_):
        super().__exit__()
        run("umount", "-l", self.under)

    def die(self):
        """From now on nothing can be written, and what was there is gone."""
        fill = os.open(os.path.join(self.under, "fill"), os.O_WRONLY | os.O_CREAT)
        image = os.open(self.image, os.O_RDWR)
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
        fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        if fallocate(image, self.PUNCH, 0, self.bytes) != 0:
            raise OSError(ctypes.get_errno(), "cannot punch " + self.image)
        with contextlib.suppress(OSError):
            while True:
                os.write(fill, b"x" * MIB)
        with contextlib.suppress(OSError):
            while True:
                os.write(fill, b"x" * BLOCK)
        os.close(fill)
        os.close(image)


def small_disks_work():
    """None, or why there are none here."""
    need_root("mkfs.ext4")
    folder = tempfile.mkdtemp(prefix="tidemill-disk-", dir=os.environ.get("TM_SYSTEM_DIR"))
    try:
        with SmallDisk(os.path.join(folder, "try"), 16, folder):
            return None
    except OSError as e:
        return str(e)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def need_small_disks():
    why = small_disks_work()
    if why is not None:
        raise Skip("no loop-mounted filesystem: " + why)
