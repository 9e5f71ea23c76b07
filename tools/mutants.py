#!/usr/bin/python3
"""mutants: plants each known bug into the simulated product and sees the simulator find it.

    tools/mutants.py [NAME...]      some, or all; also: tools/sim --mutant NAME
    tools/mutants.py --list         their names and the rules they break
    tools/mutants.py --apply        only whether every patch applies, has seeds that find it, and
                                    its row in the table

  further:
    --seeds N       so many fresh seeds at most for each (200)
    --fresh         only fresh seeds, not those that tests/sim/mutants/seeds knows of
    --random        fresh seeds are drawn, not 1, 2, 3 ...
    --write         writes the seeds that found each into tests/sim/mutants/seeds and
                    docs/TESTING.md
    --seconds S     simulated seconds of a run (300)
    --links-seconds S   of one of linked clusters (20)
    --minutes M     after that no further seed is tried: who is not found by then is not found
    --jobs N        runs at a time (the cores of this process)
    --build DIR     the build directory (build, or $BUILD); what is made goes to DIR/mutants

A mutant is tests/sim/mutants/NAME.patch: a head of lines "Word: text" (Breaks, Known, Says, Runs), then
a unified diff, applied with no fuzz to copies of the files that it names.  Says is a regular
expression: what a run that found it says (if empty: anything but that nothing moves).  "Runs: links": linked clusters find it (tidemill-sim-links), else one
cluster does (tidemill-sim).  A seed finds
a mutant if the run fails with it and is good without it.  Prints one line a mutant: its name, how
many seeds it took, the seed, what it said.  Exit 1: a mutant was not found, a patch does not apply,
or does not build; with --apply also one that no seed is known of, or whose row is missing or says
something else, and a row or seeds without a patch.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MUTANTS = os.path.join("tests", "sim", "mutants")
SEEDS = os.path.join(MUTANTS, "seeds")
DOC = os.path.join("docs", "TESTING.md")
DOC_BEGIN, DOC_END = "<!-- mutants: begin -->\n", "<!-- mutants: end -->\n"
TARGETS = {"cluster": "tests/sim/tidemill-sim", "links": "tests/sim/tidemill-sim-links"}
KNOWN_SEEDS = 3
SAID_MAX = 90
# Nothing moves any more: of a mutant that does not say so itself, that is no proof.
DOUBTFUL = r"after \d+ s: |not everything could be read|it did not end"


class Mutant:
    def __init__(self, name):
        self.name = name
        self.path = os.path.join(TOP, MUTANTS, name + ".patch")
        with open(self.path, encoding="utf-8") as file:
            self.text = file.read()
        head = self.text.partition("\n\n")[0]
        fields = re.findall(r"^(\w+): +(.*(?:\n +.*)*)", head, re.M)
        self.head = {key: re.sub(r"\s+", " ", text).strip() for key, text in fields}

    def runs(self):
        return self.head.get("Runs") or "cluster"

    def files(self):
        return re.findall(r"^\+\+\+ b/(\S+)", self.text, re.M)


def all_mutants():
    names = sorted(n[:-6] for n in os.listdir(os.path.join(TOP, MUTANTS)) if n.endswith(".patch"))
    return [Mutant(name) for name in names]


def does_not_apply(tree, mutant, *more):
    """Applies it to a tree; returns what is wrong, or "" """
    done = subprocess.run(["patch", "-p1", "--fuzz=0", "--batch", "--forward",
                           "--no-backup-if-mismatch",
                           "--reject-file=-", *more, "-i", mutant.path], cwd=tree,
                          capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return "its patch does not apply, plant it anew: " + "; ".join(
        line for line in done.stdout.splitlines() if "FAILED" in line or "can't" in line)


# ---- the simulator with a bug in it ----

def read(path):
    with open(path, "rb") as file:
        return file.read()


class Build:
    """The simulator of a build directory, and the same with a mutant in it: patched copies of its
    files are compiled as the build compiles them, and linked before the archives that have the
    good ones.  The build's own files stay as they are."""

    def __init__(self, build, folder, jobs, runs):
        self.build, self.folder, self.jobs = build, folder, jobs
        self.target, self.name = TARGETS[runs], "plain" if runs == "cluster" else "plain-" + runs
        self.plain = self.link = self.digest = None
        self.compiles = {}  # object: command
        self.deps = {}  # object: the files of the tree it is made of

    def prepare(self):
        """Makes the simulator without a mutant; returns what is wrong, or "" """
        if not os.path.isfile(os.path.join(self.build, "build.ninja")):
            return "no build in %s: meson setup first" % self.build
        done = self.ninja("-j", str(self.jobs), self.target)
        if done.returncode != 0:
            return "\n".join(done.stdout.splitlines()[-12:])
        self.link = shlex.split(self.ninja("-t", "commands", self.target).stdout.splitlines()[-1])
        archives = {word + ".p" for word in self.link if word.endswith(".a")}
        for entry in json.loads(self.ninja("-t", "compdb").stdout):
            if os.path.dirname(entry["output"]) in archives:
                self.compiles[entry["output"]] = shlex.split(entry["command"])
        for part in self.ninja("-t", "deps").stdout.split("\n\n"):
            name, _, files = part.partition(": #deps")
            if name in self.compiles:
                self.deps[name] = {os.path.relpath(os.path.join(self.build, file.strip()), TOP)
                                   for file in files.splitlines()[1:]}
        data = read(os.path.join(self.build, self.target))
        self.digest = hashlib.sha256(data).digest()
        os.makedirs(self.folder, exist_ok=True)
        self.plain = self.path(self.name, b"")
        if not os.path.isfile(self.plain):
            self.forget(self.name)
            shutil.copy2(os.path.join(self.build, self.target), self.plain)
        return ""

    def ninja(self, *words):
        return subprocess.run(["ninja", "-C", self.build, "--quiet", *words],
                              capture_output=True, text=True, check=False)

    def path(self, name, more):
        key = hashlib.sha256(self.digest + more).hexdigest()
        return os.path.join(self.folder, "%s-%s" % (name, key[:16]))

    def forget(self, name):
        for old in os.listdir(self.folder):
            if re.fullmatch(re.escape(name) + r"-[0-9a-f]{16}(-\d+\.json)?", old):
                os.unlink(os.path.join(self.folder, old))

    def compile(self, source, scratch, output):
        """One object with the patched files; source: as the command names it."""
        command = list(self.compiles[output])
        for word in ("-MQ", "-MF"):
            at = command.index(word)
            del command[at:at + 2]
        command.remove("-MD")
        patched = os.path.join(scratch, source)
        if os.path.isfile(patched):
            command[command.index("-c") + 1] = patched
        made = os.path.join(scratch, output.replace("/", "-"))
        command[command.index("-o") + 1] = made
        first = next(at for at, word in enumerate(command) if word.startswith("-I"))
        command.insert(first, "-I" + scratch)
        command += ["-g0", "-Wno-error", "-ffile-prefix-map=%s/=" % scratch]
        subprocess.run(command, cwd=self.build, capture_output=True, text=True, check=True)
        return made

    def make(self, mutant, scratch, made):
        objects = []
        for output, files in self.deps.items():
            if files & set(mutant.files()):
                command = self.compiles[output]
                source = command[command.index("-c") + 1]
                source = os.path.relpath(os.path.join(self.build, source), TOP)
                objects.append(self.compile(source, scratch, output))
        command = list(self.link)
        at = command.index("-o") + 1
        command[at:at + 1] = [made, "-Wl,-s"] + objects
        subprocess.run(command, cwd=self.build, capture_output=True, text=True, check=True)

    def program(self, mutant):
        """Builds the simulator with the mutant.  Returns it and what is wrong."""
        made = self.path(mutant.name, mutant.text.encode())
        if os.path.isfile(made):
            return made, ""
        self.forget(mutant.name)
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            for file in mutant.files():
                os.makedirs(os.path.dirname(os.path.join(scratch, file)), exist_ok=True)
                shutil.copy2(os.path.join(TOP, file), os.path.join(scratch, file))
            wrong = does_not_apply(scratch, mutant)
            if wrong:
                return made, wrong
            try:
                self.make(mutant, scratch, os.path.join(scratch, "made"))
            except subprocess.CalledProcessError as failed:
                return made, "\n".join(failed.stderr.splitlines()[:12])
            os.replace(os.path.join(scratch, "made"), made)
        return made, ""


# ---- runs ----

def patience(seconds):
    """Processor seconds of a run of so many simulated ones, many times what it takes: one that
    hangs has failed."""
    return 20 + seconds // 4


def run(program, seed, seconds):
    """None if the run was good, else what it said."""
    done = subprocess.run(["prlimit", "--cpu=%d" % patience(seconds), program, "--seed", str(seed),
                           "--seconds", str(seconds)], capture_output=True, text=True,
                          check=False, errors="replace")
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return "it did not end"
    try:
        result = json.loads(done.stdout.strip().splitlines()[-1])
        if done.returncode == 0 and result["good"]:
            return None
        return result["why"] or "exit %d" % done.returncode
    except (ValueError, IndexError, KeyError):
        last = [line for line in done.stderr.splitlines() if line.strip()]
        return last[-1] if last else "exit %d without a word" % done.returncode


class Plain:
    """Runs without a mutant, each made once for a state of the tree."""

    def __init__(self, program, seconds):
        self.program, self.seconds = program, seconds
        self.path = "%s-%d.json" % (program, seconds)
        self.said = {}
        self.lock = threading.Lock()
        if os.path.isfile(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.said = json.load(file)

    def run(self, seed):
        key = str(seed)
        if key not in self.said:
            said = run(self.program, seed, self.seconds)
            with self.lock:
                self.said[key] = said
                with open(self.path, "w", encoding="utf-8") as file:
                    json.dump(self.said, file)
        return self.said[key]


class Known:
    """What the file of seeds says of one mutant."""

    def __init__(self, needed=0, seeds=(), said=""):
        self.needed, self.seeds, self.said = needed, list(seeds), said


def all_known():
    known = {}
    path = os.path.join(TOP, SEEDS)
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as file:
            for line in file:
                words, _, said = line.partition("#")
                words = words.split()
                if words:
                    known[words[0]] = Known(int(words[1]), map(int, words[2:]), said.strip())
    return known


def seconds_of(args, runs):
    return args.links_seconds if runs == "links" else args.seconds


class Hunt:
    """Looks for seeds that find one mutant."""

    def __init__(self, args, mutant, program, plain):
        self.args, self.mutant, self.program, self.plain = args, mutant, program, plain
        self.seconds = seconds_of(args, mutant.runs())
        self.found = []  # (which of the fresh seeds, or 0; seed; what it said)
        self.not_good = {}  # seeds that fail without the mutant, too
        self.odd = []  # failures that say something else
        self.tried = 0

    def candidates(self, known):
        if not self.args.fresh:
            yield from ((0, seed) for seed in known)
        draw = random.SystemRandom()
        for n in range(1, self.args.seeds + 1):
            yield n, draw.getrandbits(48) if self.args.random else n

    def fits(self, said):
        says = self.mutant.head.get("Says")
        return re.search(says, said) if says else not re.search(DOUBTFUL, said)

    def judge(self, which, seed):
        said = run(self.program, seed, self.seconds)
        if said is None:
            return
        plain = self.plain.run(seed)
        if plain is not None:
            self.not_good[seed] = plain
        elif self.fits(said):
            self.found.append((which, seed, said))
        else:
            self.odd.append((seed, said))

    def go(self, known, want, width):
        """Until it is found `want` times, or no seed is left; so many runs at a time."""
        seeds = self.candidates(known)
        until = self.args.until
        with concurrent.futures.ThreadPoolExecutor(width) as pool:
            waiting = set()
            while True:
                while (len(waiting) < width and len(self.found) < want
                       and time.monotonic() < until):
                    which, seed = next(seeds, (None, None))
                    if seed is None:
                        break
                    self.tried += 1
                    waiting.add(pool.submit(self.judge, which, seed))
                if not waiting:
                    break
                done, waiting = concurrent.futures.wait(
                    waiting, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    future.result()
        self.found.sort()
        return bool(self.found)

    def line(self, took):
        if not self.found:
            text = "SURVIVES %-28s %d seeds tried" % (self.mutant.name, self.tried)
        else:
            which, seed, said = self.found[0]
            needed = "known" if which == 0 else "%d" % which
            text = "found    %-28s %5s  seed %d  %s" % (self.mutant.name, needed, seed, said)
        text += "  (%.0f s)" % took
        for seed, said in self.odd[:3]:
            text += "\n  seed %d said something else: %s" % (seed, said)
        for seed, said in list(self.not_good.items())[:3]:
            text += "\n  seed %d fails without the mutant: %s" % (seed, said)
        return text


# ---- what is written ----

def shortened(said):
    """Without the moment, and not longer than a line of a table may be."""
    said = re.sub(r"^(at [0-9.]+ m?s: |\S*/(?=(\w+/){1,2}\w+\.c:))+", "", said).replace("|", "/")
    said = re.sub(r"\s+", " ", said).strip()
    return said if len(said) <= SAID_MAX else said[:SAID_MAX].rsplit(" ", 1)[0] + " ..."


def write_seeds(found):
    known = all_known()
    for name, hunt in found.items():
        needed, _, said = hunt.found[0]
        needed = needed or known.get(name, Known()).needed
        known[name] = Known(needed, [f[1] for f in hunt.found[:KNOWN_SEEDS]], shortened(said))
    present = {m.name for m in all_mutants()}
    with open(os.path.join(TOP, SEEDS), "w", encoding="utf-8") as file:
        file.write("# Written by tools/mutants.py --write: name, fresh seeds needed, "
                   "seeds that found it # what the first said.\n")
        for name in sorted(present & set(known)):
            k = known[name]
            file.write("%s %d %s # %s\n" % (name, k.needed, " ".join(map(str, k.seeds)), k.said))


def row_of(mutant, known):
    """Its line of the table."""
    elsewhere = mutant.head.get("Known")
    return "| %s | %s%s | %s | %s |\n" % (
        mutant.name, mutant.head["Breaks"], " *%s*" % elsewhere if elsewhere else "",
        known.needed or "", known.said)


def write_doc():
    path = os.path.join(TOP, DOC)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    known = all_known()
    rows = ["| mutant | breaks | found by seed | says |\n", "| --- | --- | --- | --- |\n"]
    rows += [row_of(mutant, known.get(mutant.name, Known())) for mutant in all_mutants()]
    before, _, rest = text.partition(DOC_BEGIN)
    after = rest.partition(DOC_END)[2]
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + DOC_BEGIN + "".join(rows) + DOC_END + after)


# ---- all of it ----

def rows_of(text):
    """Whom the table of docs/TESTING.md names, and the line of each."""
    table = text.partition(DOC_BEGIN)[2].partition(DOC_END)[0]
    return [(line.split("|")[1].strip(), line) for line in table.splitlines(True)[2:]]


def not_as_documented(mutants, known, rows):
    """What is wrong between the patches there are, the seeds that find them, and the table."""
    names, named = {m.name for m in mutants}, [name for name, _ in rows]
    lines = dict(rows)
    wrong = ["%s: a row in %s, and no patch" % (name, DOC) for name in sorted(set(named) - names)]
    wrong += ["%s: more than one row in %s" % (name, DOC)
              for name in sorted({n for n in named if named.count(n) > 1})]
    wrong += ["%s: seeds in %s, and no patch" % (name, SEEDS) for name in sorted(set(known) - names)]
    for mutant in mutants:
        seeds = known.get(mutant.name, Known())
        said = ""
        if not seeds.needed or not seeds.seeds:
            said = "no seed that finds it in " + SEEDS
        elif mutant.name not in lines:
            said = "no row in " + DOC
        elif lines[mutant.name] != row_of(mutant, seeds):
            said = "its row in %s is not what its patch and %s say" % (DOC, SEEDS)
        if said:
            wrong.append("%s: %s: tools/mutants.py --write %s" % (mutant.name, said, mutant.name))
    return wrong


def apply_only(mutants):
    wrong = 0
    for mutant in mutants:
        said = does_not_apply(TOP, mutant, "--dry-run")
        if said:
            print("FAILED   %s: %s" % (mutant.name, said))
            wrong += 1
    print("%d patches apply" % (len(mutants) - wrong))
    rows = rows_of(read(os.path.join(TOP, DOC)).decode())
    for said in not_as_documented(all_mutants(), all_known(), rows):
        print("FAILED   " + said)
        wrong += 1
    return 1 if wrong else 0


def hunt_one(args, mutant, build, plain, width):
    """Returns whether it was found, the hunt, and what to say of it."""
    program, wrong = build.program(mutant)
    if wrong:
        return False, None, "FAILED   %s: %s" % (mutant.name, wrong)
    began = time.monotonic()
    hunt = Hunt(args, mutant, program, plain)
    known = all_known().get(mutant.name, Known())
    good = hunt.go(known.seeds, KNOWN_SEEDS if args.write else 1, width)
    return good, hunt, hunt.line(time.monotonic() - began)


def hunt_all(args, mutants):
    build, plain = {}, {}
    for runs in sorted({m.runs() for m in mutants}):
        build[runs] = Build(args.build, args.dir, args.jobs, runs)
        wrong = build[runs].prepare()
        if wrong:
            print("FAILED   the simulator does not build: %s" % wrong)
            return 1
        plain[runs] = Plain(build[runs].plain, seconds_of(args, runs))
    width = max(1, args.jobs // len(mutants))
    found, failed = {}, 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        hunts = {pool.submit(hunt_one, args, m, build[m.runs()], plain[m.runs()], width): m
                 for m in mutants}
        for future in concurrent.futures.as_completed(hunts):
            good, hunt, said = future.result()
            print(said, flush=True)
            failed += not good
            if good:
                found[hunts[future].name] = hunt
    if args.write:
        write_seeds(found)
        write_doc()
    print("%d mutants found, %d not" % (len(found), failed))
    return 1 if failed else 0


def main(argv=None):
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("name", nargs="*")
    for flag in ("list", "apply", "fresh", "random", "write"):
        parser.add_argument("--" + flag, action="store_true")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--links-seconds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--build", default=os.environ.get("BUILD", os.path.join(TOP, "build")))
    args = parser.parse_args(argv)
    args.until = time.monotonic() + 60 * args.minutes
    args.build = os.path.abspath(args.build)
    args.dir = os.path.join(args.build, "mutants")
    mutants = all_mutants()
    if args.name:
        unknown = set(args.name) - {m.name for m in mutants}
        if unknown:
            parser.error("no such mutant: %s" % ", ".join(sorted(unknown)))
        mutants = [m for m in mutants if m.name in args.name]
    if args.list:
        for mutant in mutants:
            print("%-28s %s" % (mutant.name, mutant.head["Breaks"]))
        return 0
    if args.apply:
        return apply_only(mutants)
    return hunt_all(args, mutants)


if __name__ == "__main__":
    sys.exit(main())
