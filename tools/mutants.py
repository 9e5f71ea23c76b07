#!/usr/bin/python3
"""mutants: plants each known bug into a copy of the tree and sees the simulator find it.

    tools/mutants.py [NAME...]      some, or all; also: tools/sim --mutant NAME
    tools/mutants.py --list         their names and the rules they break
    tools/mutants.py --apply        only whether every patch applies

  further:
    --seeds N       so many fresh seeds at most for each (200)
    --fresh         only fresh seeds, not those that tests/sim/mutants/seeds knows of
    --random        fresh seeds are drawn, not 1, 2, 3 ...
    --write         writes the seeds that found each into tests/sim/mutants/seeds and docs/TESTING.md
    --seconds S     simulated seconds of a run (300)
    --jobs N        runs at a time (the cores of this process)
    --dir DIR       where the copy of the tree and the builds are (build/mutants)

A mutant is tests/sim/mutants/NAME.patch: a head of lines "Word: text" (Breaks, Known, Says), then a
unified diff, applied with no fuzz to a copy of the files that git tracks.  Says is a regular
expression: what a run that found it says.  A seed finds a mutant if the run fails with it and is
good without it.  Prints one line a mutant: its name, how many seeds it took, the seed, what it
said.  Exit 1: a mutant was not found, a patch does not apply, or does not build.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MUTANTS = os.path.join("tests", "sim", "mutants")
SEEDS = os.path.join(MUTANTS, "seeds")
DOC = os.path.join("docs", "TESTING.md")
DOC_BEGIN, DOC_END = "<!-- mutants: begin -->\n", "<!-- mutants: end -->\n"
TARGET = "tests/sim/tidemill-sim"
KNOWN_SEEDS = 6
PATIENCE_S = 120  # processor seconds of a run: one that hangs has failed


class Mutant:
    def __init__(self, name):
        self.name = name
        self.path = os.path.join(TOP, MUTANTS, name + ".patch")
        with open(self.path, encoding="utf-8") as file:
            self.text = file.read()
        head = self.text.partition("\n\n")[0]
        fields = re.findall(r"^(\w+): +(.*(?:\n +.*)*)", head, re.M)
        self.head = {key: re.sub(r"\s+", " ", text).strip() for key, text in fields}

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


# ---- the copy of the tree ----

def tracked():
    out = subprocess.run(["git", "-C", TOP, "ls-files", "-z", "--cached", "--others",
                          "--exclude-standard"], capture_output=True, check=True).stdout
    return [n for n in out.decode().split("\0") if n and os.path.isfile(os.path.join(TOP, n))]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


class Tree:
    """A copy of the tree with a build of the simulator, into which one mutant at a time goes.

    Files are touched only where they differ, so that a build compiles what a mutant changes."""

    def __init__(self, folder):
        self.tree = os.path.join(folder, "tree")
        self.build = os.path.join(folder, "build")
        self.bin = os.path.join(folder, "bin")
        os.makedirs(self.bin, exist_ok=True)
        names = set(tracked())
        digest = hashlib.sha256()
        for name in sorted(names):
            data = read(os.path.join(TOP, name))
            if not name.startswith((MUTANTS, "docs/")):
                digest.update(name.encode() + b"\0" + data)
            copy = os.path.join(self.tree, name)
            if not os.path.isfile(copy) or read(copy) != data:
                write(copy, data)
                shutil.copymode(os.path.join(TOP, name), copy)
        for root, _, files in os.walk(self.tree):
            for file in files:
                path = os.path.join(root, file)
                if os.path.relpath(path, self.tree) not in names:
                    os.unlink(path)
        self.digest = digest.hexdigest()

    def make(self, jobs):
        if not os.path.isfile(os.path.join(self.build, "build.ninja")):
            subprocess.run(["meson", "setup", self.build, self.tree, "-Dwerror=false"],
                           stdout=subprocess.DEVNULL, check=True)
        done = subprocess.run(["ninja", "-C", self.build, "-j", str(jobs), TARGET],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return "\n".join(done.stdout.splitlines()[-12:])
        return ""

    def program(self, mutant, jobs):
        """Builds the simulator with the mutant (None: without one).  Returns it and what is wrong."""
        key = hashlib.sha256((self.digest + (mutant.text if mutant else "")).encode()).hexdigest()
        name = mutant.name if mutant else "plain"
        made = os.path.join(self.bin, "%s-%s" % (name, key[:16]))
        if os.path.isfile(made):
            return made, ""
        for old in os.listdir(self.bin):
            if re.fullmatch(re.escape(name) + r"-[0-9a-f]{16}(-\d+\.json)?", old):
                os.unlink(os.path.join(self.bin, old))
        files = [os.path.join(self.tree, file) for file in mutant.files()] if mutant else []
        before = {file: read(file) for file in files if os.path.isfile(file)}
        try:
            wrong = does_not_apply(self.tree, mutant) if mutant else ""
            if not wrong:
                wrong = self.make(jobs)
        finally:
            for file, data in before.items():
                write(file, data)
        if not wrong:
            shutil.copy2(os.path.join(self.build, TARGET), made)
        return made, wrong


# ---- runs ----

def run(program, seed, seconds):
    """None if the run was good, else what it said."""
    done = subprocess.run(["prlimit", "--cpu=%d" % PATIENCE_S, program, "--seed", str(seed),
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


def known_seeds():
    seeds = {}
    path = os.path.join(TOP, SEEDS)
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as file:
            for line in file:
                words = line.split("#")[0].split()
                if words:
                    seeds[words[0]] = (int(words[1]), [int(w) for w in words[2:]])
    return seeds


class Hunt:
    """Looks for seeds that find one mutant."""

    def __init__(self, args, mutant, program, plain, pool):
        self.args, self.mutant, self.program, self.plain = args, mutant, program, plain
        self.pool = pool
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

    def judge(self, which, seed):
        said = run(self.program, seed, self.args.seconds)
        if said is None:
            return
        plain = self.plain.run(seed)
        if plain is not None:
            self.not_good[seed] = plain
        elif re.search(self.mutant.head.get("Says", ""), said):
            self.found.append((which, seed, said))
        else:
            self.odd.append((seed, said))

    def go(self, known, want):
        seeds = self.candidates(known)
        waiting = set()
        while True:
            while len(waiting) < self.args.jobs and len(self.found) < want:
                which, seed = next(seeds, (None, None))
                if seed is None:
                    break
                self.tried += 1
                waiting.add(self.pool.submit(self.judge, which, seed))
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

def write_seeds(found):
    seeds = known_seeds()
    for name, hunt in found.items():
        fresh = [f for f in hunt.found if f[0] > 0]
        needed = fresh[0][0] if fresh else seeds.get(name, (0, []))[0]
        have = [f[1] for f in hunt.found]
        seeds[name] = (needed, have[:KNOWN_SEEDS])
    present = {m.name for m in all_mutants()}
    with open(os.path.join(TOP, SEEDS), "w", encoding="utf-8") as file:
        file.write("# Written by tools/mutants.py --write: name, fresh seeds needed, "
                   "seeds that found it.\n")
        for name in sorted(present & set(seeds)):
            needed, have = seeds[name]
            file.write("%s %d %s\n" % (name, needed, " ".join(map(str, have))))


def write_doc():
    path = os.path.join(TOP, DOC)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    seeds = known_seeds()
    rows = ["| mutant | breaks | seeds |\n", "| --- | --- | --- |\n"]
    for mutant in all_mutants():
        known = mutant.head.get("Known")
        rows.append("| %s | %s%s | %s |\n" % (
            mutant.name, mutant.head["Breaks"], " *%s*" % known if known else "",
            seeds[mutant.name][0] if mutant.name in seeds else ""))
    before, _, rest = text.partition(DOC_BEGIN)
    after = rest.partition(DOC_END)[2]
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + DOC_BEGIN + "".join(rows) + DOC_END + after)


# ---- all of it ----

def apply_only(mutants):
    wrong = 0
    for mutant in mutants:
        said = does_not_apply(TOP, mutant, "--dry-run")
        if said:
            print("FAILED   %s: %s" % (mutant.name, said))
            wrong += 1
    print("%d patches apply" % (len(mutants) - wrong))
    return 1 if wrong else 0


def build_ahead(tree, mutants, jobs, ready, closed):
    """Builds one after the other while those before are run."""
    for mutant in mutants:
        if closed.is_set():
            return
        ready[mutant.name].set_result(tree.program(mutant, jobs))


def hunt_all(args, mutants):
    tree = Tree(args.dir)
    plain, wrong = tree.program(None, args.jobs)
    if wrong:
        print("FAILED   the simulator does not build: %s" % wrong)
        return 1
    known, plain = known_seeds(), Plain(plain, args.seconds)
    ready = {m.name: concurrent.futures.Future() for m in mutants}
    closed = threading.Event()
    builder = threading.Thread(target=build_ahead, daemon=True,
                               args=(tree, mutants, args.jobs, ready, closed))
    builder.start()
    found, failed = {}, 0
    try:
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            for mutant in mutants:
                program, wrong = ready[mutant.name].result()
                if wrong:
                    print("FAILED   %s: %s" % (mutant.name, wrong), flush=True)
                    failed += 1
                    continue
                began = time.monotonic()
                hunt = Hunt(args, mutant, program, plain, pool)
                good = hunt.go(known.get(mutant.name, (0, []))[1], KNOWN_SEEDS if args.write else 1)
                failed += not good
                if good:
                    found[mutant.name] = hunt
                print(hunt.line(time.monotonic() - began), flush=True)
    finally:
        closed.set()
        builder.join()
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
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    build = os.environ.get("BUILD", os.path.join(TOP, "build"))
    parser.add_argument("--dir", default=os.path.join(build, "mutants"))
    args = parser.parse_args(argv)
    args.dir = os.path.abspath(args.dir)
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
    return apply_only(mutants) if args.apply else hunt_all(args, mutants)


if __name__ == "__main__":
    sys.exit(main())
