#!/usr/bin/python3
"""tools/tidy finds a planted violation of each of its rules, and nothing in a clean tree."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import skipping  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIDY = os.path.join(ROOT, "tools", "tidy")

HEADER = """/* good.h: a header as it should be. */
#ifndef TM_NET_GOOD_H
#define TM_NET_GOOD_H

#include "runtime/base.h"

#define TM_GOOD_MAX       3
#define TM_GOOD_AT(field) TM_STATIC_ASSERT(sizeof(field) > 0, "a macro's call is no prototype")
#define X(name)           name
#undef X

struct tm_good {
    int (*call)(struct tm_good *good);
};

/* Says that strcpy(), TO" and { are only words in a comment; never fails. */
int tm_good_do(struct tm_good *good, const char *text);
int tm_good_undo(struct tm_good *good);

static inline int tm_good_twice(int n)
{
    return 2 * n;
}

#endif
"""
SOURCE = """#include "net/good.h"

static int helper(const char *text)
{
    return text[0] == '"' ? 1 : text[0] == '{' ? 2 : 0; /* malloc( */
}

int tm_good_do(struct tm_good *good, const char *text)
{
    return good->call(good) + helper(text) + helper("free(x) // sprintf(");
}
"""


def function(lines, name="tm_good_long"):
    return "int %s(int n)\n{\n%s    return n;\n}\n" % (name, "    n++;\n" * (lines - 3))


# rule -> [(path, text, a word of the finding)]; the texts break no other rule.
PLANTED = {
    "arrow": [
        ("storage/bad.c", '#include "net/frame.h"\n', "storage"),
        ("net/bad.c", '#include "storage/wal.h"\n', "storage"),
        ("runtime/bad.c", '#include "actors/replica.h"\n', "actors"),
        ("actors/bad.c", '#include "tools/command.h"\n', "tools"),
        ("tools/bad.c", '#include "tests/test.h"\n', "tests"),
        ("runtime/bad.c", '#include "base.h"\n', "top of the tree"),
    ],
    "banned": [
        ("tools/bad.c", "static void f(char *a)\n{\n    strcpy(a, a);\n}\n", "strcpy"),
        ("bench/bad.c", "static int f(char *a)\n{\n    return atoi(a);\n}\n", "atoi"),
        ("tests/net/bad.c", "static void f(char *a)\n{\n    sprintf(a, a);\n}\n", "sprintf"),
        ("runtime/bad.c", "static void f(void)\n{\n    assert(0);\n}\n", "TM_ASSERT"),
        ("runtime/bad.c", "static void f(void)\n{\n    usleep(1);\n}\n", "usleep"),
        ("runtime/bad.c", "static void f(void)\n{\n    printf(0);\n}\n", "tm_ctx_log"),
        ("net/bad.c", "static void f(void)\n{\n    fprintf(stderr, 0);\n}\n", "stderr"),
        ("runtime/bad.c", "static int f(void)\n{\n    return rand();\n}\n", "rng.h"),
    ],
    "heap": [
        ("actors/bad.c", "static void *f(void)\n{\n    return malloc(8);\n}\n", "malloc"),
        ("storage/bad.c", "static void *f(void)\n{\n    return calloc(8, 1);\n}\n", "calloc"),
    ],
    "pure": [
        ("actors/bad.c", "static long f(void)\n{\n    return time(0);\n}\n", "tm_ctx_wall_ms"),
        ("storage/bad.c", "static void f(void)\n{\n    clock_gettime(0, 0);\n}\n", "tm_ctx_now"),
        ("net/channel_bad.c", "#include <sys/socket.h>\n", "sys/socket.h"),
        ("actors/bad.h", "/* bad.h: x */\n#ifndef TM_ACTORS_BAD_H\n#define TM_ACTORS_BAD_H\n"
                         "#include <pthread.h>\n#endif\n", "pthread.h"),
    ],
    "function-length": [("net/bad.c", function(101), "101 lines")],
    "file-length": [("net/bad.c", "\n".join("/* %d */" % i for i in range(1001)) + "\n", "1001")],
    "contract": [
        ("net/good.h", HEADER.replace("/* Says that strcpy(), TO\" and { are only words in a "
                                      "comment; never fails. */\n", ""), "tm_good_do"),
        ("net/good.h", HEADER.replace("int tm_good_undo", "\nint tm_good_undo"), "tm_good_undo"),
        ("net/good.h", HEADER.replace("/* good.h: ", "/* "), "good.h"),
    ],
    "name": [
        ("net/bad.c", function(5, "open_port"), "open_port"),
        ("net/good.h", HEADER.replace("tm_good_undo", "good_undo"), "good_undo"),
        ("net/good.h", HEADER.replace("TM_GOOD_MAX", "GOOD_MAX"), "GOOD_MAX"),
        ("net/good.h", HEADER.replace("struct tm_good {", "struct good {"), "tags"),
        ("net/good.h", HEADER.replace("struct tm_good {", "typedef struct tm_good {")
         .replace("};", "} tm_good;"), "typedef"),
    ],
    "guard": [("net/good.h", HEADER.replace("NET_GOOD_H", "GOOD_H"), "TM_NET_GOOD_H")],
    "marker": [("net/bad.c", "/* TO" + "DO later */\n", "finish")],
    "whitespace": [
        ("net/bad.c", "int tm_x; \n", "blanks"),
        ("net/bad.c", "\tint tm_x;\n", "tab"),
        ("net/bad.c", "int tm_x;", "newline"),
    ],
}


class Tidy(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="tm-tidy-")
        self.addCleanup(shutil.rmtree, self.root)
        self.put("net/good.h", HEADER)
        self.put("net/good.c", SOURCE)

    def put(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)

    def tidy(self, *args):
        done = subprocess.run([sys.executable, TIDY, "--root", self.root, *args],
                              capture_output=True, text=True)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        findings = [line for line in done.stdout.splitlines() if not line.startswith("tidy:")]
        self.assertEqual(done.returncode, 1 if findings else 0)
        return findings

    def test_a_clean_tree_has_no_findings(self):
        self.assertEqual(self.tidy(), [])

    def test_a_function_of_100_lines_is_allowed(self):
        self.put("net/long.c", function(100 - 1))
        self.assertEqual(self.tidy(), [])

    def test_a_document_names_only_what_is_there(self):
        self.put("docs/GOOD.md", "`tm_good_do` calls `helper`; see `tm_good_twice()`.\n")
        self.assertEqual(self.tidy(), [])
        self.put("docs/BAD.md", "first\n`tm_bad_do`, held by `a_rule_that_nobody_tests`\n")
        found = self.tidy()
        self.assertEqual(len(found), 2, found)
        self.assertTrue(all(line.startswith("docs/BAD.md:2: document:") for line in found), found)

    def test_a_counter_that_nothing_writes_is_found(self):
        self.put("runtime/counters.h", "/* counters.h: x */\n#ifndef TM_RUNTIME_COUNTERS_H\n"
                 "#define TM_RUNTIME_COUNTERS_H\n#define TM_COUNTER_LIST(X) \\\n"
                 '    X(kept, COUNT, "x", "x") \\\n    X(shown, GAUGE, "x", "x")\n#endif\n')
        self.put("net/kept.c", "static void f(int *c)\n{\n    tm_counter_add(\n        c,\n        "
                 "TM_COUNTER_kept, 1);\n}\n")
        self.put("tools/shown.c", "static int f(int *c)\n{\n    return tm_counter_get(c, "
                 "TM_COUNTER_shown);\n}\n")
        found = self.tidy()
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith("runtime/counters.h:6: counter: shown:"), found)
        self.put("tests/net/shown.c", "static void f(int *c)\n{\n    tm_counter_set(c, "
                 "TM_COUNTER_shown, 1);\n}\n")
        self.assertEqual(self.tidy(), found)  # a test is no writer

    def test_each_planted_violation_is_found_by_its_rule(self):
        for rule, plants in PLANTED.items():
            for path, text, word in plants:
                with self.subTest(rule=rule, path=path, word=word):
                    self.setUp()
                    self.put(path, text)
                    found = self.tidy()
                    self.assertTrue(found, "nothing found")
                    for line in found:
                        self.assertTrue(line.startswith(path + ":"), line)
                    self.assertTrue(any(": %s: " % rule in f and word in f for f in found), found)
                    self.assertEqual({f.split(": ")[1] for f in found}, {rule})

    def test_every_rule_has_a_planted_violation(self):
        listed = subprocess.run([sys.executable, TIDY, "--list"], capture_output=True, text=True,
                                check=True).stdout
        self.assertEqual({line.split()[0] for line in listed.splitlines()}, set(PLANTED))

    @unittest.skipUnless(shutil.which("clang-format-14"), "clang-format-14 is not installed")
    def test_unformatted_code_is_found(self):
        shutil.copy(os.path.join(ROOT, ".clang-format"), self.root)
        self.put("net/bad.c", "int   tm_x;\n")
        self.assertEqual(self.tidy(), ["net/bad.c:1: format: not formatted: run clang-format-14 -i "
                                       "net/bad.c"])

    def test_stale_documents_are_found(self):
        docgen = os.path.join(self.root, "build", "tools", "docgen")
        self.put("build/tools/docgen", '#!/bin/sh\necho "made: $1"\n')
        os.chmod(docgen, 0o755)
        self.put("docs/OPTIONS.md", "made: options\n")
        self.put("docs/COUNTERS.md", "old\n")
        found = self.tidy("--build", os.path.join(self.root, "build"))
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].startswith("docs/COUNTERS.md:1: generated: stale"))

    def test_the_ratchet_permits_what_stood_and_only_tightens(self):
        self.put("net/bad.c", "/* TO" + "DO */\n/* FIX" + "ME */\n")
        self.put("tools/tidy.allow", "# reasons\nmarker net/bad.c 2 stood there\n")
        self.assertEqual(self.tidy(), [])
        self.put("tools/tidy.allow", "marker net/bad.c 1 stood there\n")
        self.assertEqual(len(self.tidy()), 3)
        self.put("tools/tidy.allow", "marker net/bad.c 3 stood there\n")
        self.assertEqual(self.tidy(), ["tools/tidy.allow: marker net/bad.c: lower 3 to 2, it only "
                                       "tightens"])


if __name__ == "__main__":
    skipping.main()
