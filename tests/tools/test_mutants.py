#!/usr/bin/python3
"""What tools/mutants.py --apply objects to beside patches that do not apply: bugs that no seed is known to
find, and a table in docs/TESTING.md that is not theirs."""
import os
import sys
import types
import unittest

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import mutants  # noqa: E402  pylint: disable=wrong-import-position

KNOWN = {"found": mutants.Known(3, [3, 9], "so it says"), "hard": mutants.Known(151, [151], "no")}
ROWS = {"found": "| found | it | 3 | so it says |\n", "hard": "| hard | it | 151 | no |\n"}


def planted(*names):
    return [types.SimpleNamespace(name=name, head={"Breaks": "it"}) for name in names]


def table(*rows):
    return ("before | no | row |\n" + mutants.DOC_BEGIN + "| mutant | breaks | found | says |\n"
            + "| --- | --- | --- | --- |\n" + "".join(rows) + mutants.DOC_END + "| after | no |\n")


def objected(names, rows, known=None):
    return mutants.not_as_documented(planted(*names), KNOWN if known is None else known,
                                     mutants.rows_of(table(*rows)))


class Runs(unittest.TestCase):
    def test_a_bug_of_links_is_looked_for_in_linked_clusters(self):
        runs = {m.name: m.runs() for m in mutants.all_mutants()}
        self.assertEqual(runs["link-echo-to-origin"], "links")
        self.assertEqual(runs["vote-twice"], "cluster")
        self.assertEqual(set(runs.values()), set(mutants.TARGETS))


class Table(unittest.TestCase):
    def only(self, said, text):
        self.assertEqual(len(said), 1, said)
        self.assertIn(text, said[0])

    def test_rows_are_those_between_the_marks(self):
        self.assertEqual(mutants.rows_of(table(*ROWS.values())), list(ROWS.items()))

    def test_a_table_of_the_patches_there_are_is_good(self):
        self.assertEqual(objected(["found", "hard"], ROWS.values()), [])

    def test_a_patch_without_a_row_is_named(self):
        self.only(objected(["found", "hard"], [ROWS["hard"]]), "found: no row")

    def test_a_row_without_a_patch_is_named(self):
        self.only(objected(["found"], ROWS.values(), {"found": KNOWN["found"]}), "hard: a row")

    def test_a_second_row_is_named(self):
        self.only(objected(["found", "hard"], [*ROWS.values(), ROWS["hard"]]), "hard: more than one")

    def test_a_patch_that_no_seed_is_known_to_find_is_named(self):
        for known in mutants.Known(), mutants.Known(3, [], "x"), mutants.Known(0, [3], "x"):
            self.only(objected(["found"], [ROWS["found"]], {"found": known}), "found: no seed")
        self.only(objected(["found"], ["| found | it |  |  |\n"], {}), "found: no seed")

    def test_a_row_that_says_something_else_is_named(self):
        for row in "| found | it |  |  |\n", "| found | it | 9 | so it says |\n":
            self.only(objected(["found", "hard"], [row, ROWS["hard"]]), "found: its row")

    def test_seeds_without_a_patch_are_named(self):
        self.only(objected(["found"], [ROWS["found"]]), "hard: seeds")


unittest.main()
