"""small_disk.py: a filesystem of its own, small enough to be filled, mounted under a node's data
directory.

    with SmallDisk(mount_point, mib=128) as disk:
        disk.fill()     # not a byte is left
        disk.free()

Needs root, mkfs.ext4 and loop devices: main_or_skip() skips (77) where they are missing."""
import os
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
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


def small_disks_work():
    """None, or why there are none here."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        return "root and mkfs.ext4 are needed"
    folder = tempfile.mkdtemp(prefix="tidemill-disk-", dir=os.environ.get("TM_SYSTEM_DIR"))
    try:
        with SmallDisk(os.path.join(folder, "try"), 16, folder):
            return None
    except OSError as e:
        return str(e)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def skip_without_small_disks():
    why = small_disks_work()
    if why is not None:
        print("skipped: no loop-mounted filesystem: " + why, flush=True)
        sys.exit(SKIPPED)
