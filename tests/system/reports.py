"""reports.py: what sanitizers say of the processes that a test starts; one word of it fails the test.

A sanitizer writes a file for each process that it reports: however that process ends, whoever sees
its exit status, and also if it goes on.  All that a test starts inherits where to (`listen`), nodes
as well as subcommands.  An abort counts as a report, so a failed assertion does; so does what is left
unfreed at the end of a process, for which nodes have to end in good order once (Cluster does that)."""
import os
import shutil
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MARKS = {"address": b"__asan_init", "thread": b"__tsan_init", "undefined": b"__ubsan_handle"}
# UndefinedBehaviorSanitizer's own words go to standard error: AddressSanitizer tells where it aborts.
OPTIONS = {"ASAN": "handle_abort=1", "UBSAN": "abort_on_error=1:print_stacktrace=1",
           "TSAN": "suppressions=" + os.path.join(HERE, "threads.supp")}
SHOWN = 8000  # characters of a report
OUTLINE = 12  # lines of it in the digest of a failure


def sanitizers(program):
    """The names of those that a program is built with."""
    with open(program, "rb") as f:
        text = f.read()
    return [name for name, mark in MARKS.items() if mark in text]


class Reported(Exception):
    """A sanitizer has said something of a process."""


class Reports:
    """What is said of processes that were started after listen(), until close()."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tidemill-reports-", dir=os.environ.get("TM_SYSTEM_DIR"))
        os.chmod(self.folder, 0o1777)  # nodes may run as another user
        self.given = {name: os.environ.get(name + "_OPTIONS", "") for name in OPTIONS}
        self.lines = []  # of the first report since listen(), for the digest

    def listen(self):
        self.lines = []
        for name, options in OPTIONS.items():
            words = [self.given[name], options, "log_path=" + os.path.join(self.folder, "report")]
            os.environ[name + "_OPTIONS"] = ":".join(word for word in words if word)

    def none(self):
        """Raises if there is a report, and prints all there are."""
        names = sorted(os.listdir(self.folder))
        for name in names:
            path = os.path.join(self.folder, name)
            with open(path, encoding="utf-8", errors="replace") as f:
                text = f.read(SHOWN)
            os.remove(path)
            print("---- %s\n%s" % (name, text), flush=True)
            said = [line for line in text.splitlines() if line.strip("= ")]
            self.lines = self.lines or ["  " + line[:220] for line in said[:OUTLINE]]
        if names:
            raise Reported("sanitizers reported %d processes; of the first:" % len(names))

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, value in self.given.items():
            os.environ[name + "_OPTIONS"] = value
