#!/usr/bin/python3
"""What tools/mutants.py --apply objects to beside patches that do not apply: a table in docs/TESTING.md that
is not theirs."""
import os
import sys
import unittest

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import mutants  # noqa: E402  pylint: disable=wrong-import-position

TABLE = """before | no | row |
""" + mutants.DOC_BEGIN + """| mutant | breaks |
| --- | --- |
| known | it |
| found | it |
""" + mutants.DOC_END + "| after | no row |\n"


class Table(unittest.TestCase):
    def test_rows_are_those_between_the_marks(self):
        self.assertEqual(mutants.rows_of(TABLE), ["known", "found"])

    def test_a_table_of_the_patches_there_are_is_good(self):
        self.assertEqual(mutants.not_as_documented(["found", "known"], ["known", "found"]), [])

    def test_a_patch_without_a_row_is_named(self):
        said = mutants.not_as_documented(["found", "known", "planted"], ["known", "found"])
        self.assertEqual(len(said), 1)
        self.assertIn("planted: no row", said[0])

    def test_a_row_without_a_patch_is_named(self):
        said = mutants.not_as_documented(["found"], ["known", "found"])
        self.assertEqual(len(said), 1)
        self.assertIn("known: a row", said[0])

    def test_a_second_row_is_named(self):
        said = mutants.not_as_documented(["known"], ["known", "known"])
        self.assertEqual(len(said), 1)
        self.assertIn("known: more than one row", said[0])


unittest.main()
