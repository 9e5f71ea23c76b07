#!/usr/bin/python3
"""Every system test is run: the rows of tests/system/meson.build name all that the files' main has, and
nothing that it has not."""
import ast
import glob
import os
import re
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SYSTEM = os.path.join(ROOT, "tests", "system")
ELSEWHERE = {"test_af_packet.py"}  # tests/net runs it


def in_main(path):
    """The names in the list that the file gives to main."""
    with open(path, encoding="utf-8") as f:
        tree = ast.parse(f.read())
    lists = [node.args[0] for node in ast.walk(tree)
             if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "main"]
    return [name.id for name in lists[0].elts]


def rows(sanitized=False):
    """{file: lists of names that its rows run, None for all}: of all tests, or those run again under
    the sanitizers"""
    with open(os.path.join(SYSTEM, "meson.build"), encoding="utf-8") as f:
        text = f.read()
    again = re.compile(r"^if get_option\('b_sanitize'\)\.contains\(.*?^endif$", re.S | re.M)
    text = again.search(text).group() if sanitized else again.sub("", text)
    found = {}
    for name, words in re.findall(r"\['[^']+', '(test_\w+\.py)',\s*\[(.*?)\]", text, re.S):
        found.setdefault(name, []).append(re.findall(r"'(\w+)'", words) or None)
    for names in re.findall(r"files\('(test_\w+\.py)'\), '(\w+)' \+ fabric", text):
        found.setdefault(names[0], []).append([names[1] + end for end in ("tcp", "dpdk")])
    return found


class Rows(unittest.TestCase):
    def test_every_file_has_a_row(self):
        files = {os.path.basename(p) for p in glob.glob(os.path.join(SYSTEM, "test_*.py"))}
        self.assertEqual(files - ELSEWHERE, set(rows()))

    def test_every_test_is_in_one_row(self):
        for name, lists in rows().items():
            tests = in_main(os.path.join(SYSTEM, name))
            self.assertEqual(len(tests), len(set(tests)), name)
            run = sum((names if names is not None else tests for names in lists), [])
            self.assertEqual(sorted(run), sorted(tests), name)

    def test_what_is_run_again_is_there(self):
        self.assertTrue(rows(sanitized=True))
        for name, lists in rows(sanitized=True).items():
            tests = in_main(os.path.join(SYSTEM, name))
            self.assertLessEqual(set(sum((names or [] for names in lists), [])), set(tests), name)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    unittest.main()
