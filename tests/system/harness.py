"""harness.py: what every system test is run by: waiting for a condition, skipping, and telling what
failed so that it can be understood from the output alone.

    def a_rule_that_holds():
        need_root("setpriv")                          # or Skip
        wait_until(lambda: c.stat("n1")["parks"] > 3, 20)
        wait_until(lambda: c.whole("n1"), 20)         # a condition that says why not: No

    if __name__ == "__main__":
        sys.exit(main([a_rule_that_holds]))

No limit is a figure of the product: a machine may be many times slower than the one that a test was
written on, and run other things.  So wait_until waits SLACK times as long as it is told to.

$TM_SECONDS is how long all tests of a run may take: it ends a little before whoever runs it would end
it, so that a test that hangs tells where, too.

Where the program is built with sanitizers, one report of any process fails a test (reports.py).
$TM_SANITIZERS names those that it has to be built with.

Output ends with one digest for each test that failed: what was not so, with its values, where, and
the last that each node said; tools/check repeats it at its own end."""
import ast
import inspect
import linecache
import os
import random
import shutil
import signal
import sys
import time
import traceback

from reports import Reports, sanitizers

SKIPPED = 77
SLACK = 6
try:
    import redis
except ImportError:
    print("skipped: python3-redis is not installed")
    sys.exit(SKIPPED)

HERE = os.path.dirname(os.path.abspath(__file__))
TIDEMILL = os.environ.get("TIDEMILL", "build/tidemill")
SANITIZERS = sanitizers(TIDEMILL)


class Skip(Exception):
    """A test that is not possible here, and why."""


class No:
    """What a condition returns that does not hold: false, and why."""

    def __init__(self, why):
        self.why = why

    def __bool__(self):
        return False

    def __repr__(self):
        return self.why


def seed():
    """The run's seed, printed so that it can be repeated."""
    value = int(os.environ.get("TM_SEED", random.SystemRandom().randrange(1 << 32)))
    print("TM_SEED=%d" % value, flush=True)
    return value


def need_root(*tools):
    """Skips unless this is root, with these programs."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        raise Skip("needed: " + ", ".join(["root"] + missing))


class Failed(Exception):
    """A subcommand that should have succeeded."""


class OutOfTime(Exception):
    """The time for all tests is over."""


def out_of_time(*_):
    raise OutOfTime("it takes longer than the %s s that there are" % os.environ["TM_SECONDS"])


def wait_until(what, seconds, step=0.1):
    """Waits until what() is true and returns that; an error of a client, of the system or of a
    subcommand is a no.  seconds: what is plenty on a machine that does nothing else; it has SLACK
    times as many.  When it gives up it says the condition and what it last was, or the values in it."""
    end = time.monotonic() + SLACK * seconds
    last = None
    while True:
        try:
            last = what()
            if last:
                return last
        except (redis.RedisError, OSError, Failed) as e:
            last = e
        if time.monotonic() >= end:
            raise AssertionError("not so within %g s: %s%s" % (
                SLACK * seconds, text_of(what), values_in(what) if type(last) is bool else ": %r" % last))
        time.sleep(step)


# ---- what a condition was ----

def text_of(what):
    """The source of a lambda's body, or a function's name."""
    code = what.__code__
    if what.__name__ != "<lambda>":
        return what.__name__
    spots = [spot for spot in code.co_positions() if None not in spot and spot[3] > 0]
    first = min((line, column) for line, _, column, _ in spots)
    last = max((line, column) for _, line, _, column in spots)
    lines = [linecache.getline(code.co_filename, n) for n in range(first[0], last[0] + 1)]
    lines[-1] = lines[-1].encode()[:last[1]].decode()
    lines[0] = lines[0].encode()[first[1]:].decode()
    return " ".join(line.strip() for line in lines)


def values_in(what):
    """The sides of the comparisons in a lambda, as they are now: "; a = 1, b = 2"."""
    try:
        tree = ast.parse(text_of(what), mode="eval")
    except SyntaxError:
        return ""
    names = dict(inspect.getclosurevars(what).nonlocals)
    names.update(zip(inspect.signature(what).parameters, what.__defaults__ or ()))
    sides = [side for node in ast.walk(tree) if isinstance(node, ast.Compare)
             for side in [node.left, *node.comparators] if not isinstance(side, ast.Constant)]
    found = []
    for side in sides:
        try:
            code = compile(ast.Expression(side), "<condition>", "eval")
            value = eval(code, what.__globals__, names)
            found.append("%s = %.300r" % (ast.unparse(side), value))
        except Exception as e:  # a variable of a loop inside, a node that is dead: no value
            found.append("%s: %.100r" % (ast.unparse(side), e))
    return "; " + ", ".join(found) if found else ""


# ---- what failed ----

_witnesses = []  # functions that return the lines of what they know of the failure under way


def on_failure(lines):
    """While a test runs: lines() tells what is to be known of it if it fails."""
    _witnesses.append(lines)


def testify():
    """What all witnesses know; each is heard once."""
    said = []
    while _witnesses:
        try:
            said += _witnesses.pop(0)()
        except Exception as e:  # the failure itself is what counts
            said.append("(no more to tell: %.200r)" % e)
    return said


def where(error):
    """The lines of the tests that the error went through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__)
              if os.path.dirname(os.path.abspath(f.filename)) == HERE and f.name != "main"]
    return ["  %s:%d %s: %s" % (os.path.basename(f.filename), f.lineno, f.name, f.line)
            for f in frames]


def digest(name, error, known):
    text = ("%s: %s" % (type(error).__name__, error)).strip().splitlines()
    return ["---- failed: " + name] + [line[:1000] for line in text[:8]] + where(error) + known


def run(test, reports):
    """Runs a test; what sanitizers report meanwhile goes before what else failed."""
    reports.listen()
    try:
        test()
    finally:
        reports.none()


def main(tests):
    """Runs the tests named on the command line, or all; tests are functions.  Returns the exit
    status: 1 if one failed, 77 if none did and one was skipped, 0."""
    by_name = {t.__name__: t for t in tests}
    names = sys.argv[1:] or list(by_name)
    failed, skipped = {}, []
    wanted = os.environ.get("TM_SANITIZERS", "").split()
    assert set(wanted) <= set(SANITIZERS), "%s is built with %r" % (TIDEMILL, SANITIZERS)
    reports = Reports()
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(int(os.environ.get("TM_SECONDS", 0)))
    for name in names:
        print("==== " + name, flush=True)
        began = time.monotonic()
        del _witnesses[:]
        try:
            run(by_name[name], reports)
            print("passed in %.1f s" % (time.monotonic() - began), flush=True)
        except Skip as e:
            print("skipped: %s" % e, flush=True)
            skipped.append("skipped: %s: %s" % (name, e))
        except Exception as e:
            traceback.print_exc(file=sys.stdout)
            print("failed after %.1f s" % (time.monotonic() - began), flush=True)
            failed[name] = digest(name, e, reports.lines + testify())
            if OutOfTime in (type(e), type(e.__context__)):
                break
    signal.alarm(0)
    reports.close()
    for line in skipped + [line for lines in failed.values() for line in lines]:
        print(line)
    sys.stdout.flush()
    return 1 if failed else SKIPPED if skipped else 0
