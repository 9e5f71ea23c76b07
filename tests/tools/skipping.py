"""skipping.py: ends a file of unittest cases as meson wants it: 77 if a case was skipped, with the
reasons, for what did not run has not passed."""
import sys
import unittest

SKIPPED = 77


def main():
    done = unittest.main(warnings="ignore", exit=False).result
    for test, reason in done.skipped:
        print("skipped: %s: %s" % (test.id(), reason))
    sys.exit(1 if not done.wasSuccessful() else SKIPPED if done.skipped else 0)
