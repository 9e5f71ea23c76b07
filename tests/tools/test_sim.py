#!/usr/bin/python3
"""How tools/sim ends: what seeds did is told apart from all else that may be wrong.  The program that it
runs is played by a script, whose runs end as the test says."""
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOOD, WRONG, USAGE, SEEDS_FAILED, SEEDS_FORGIVEN = 0, 1, 2, 3, 4

PLAYED = """#!/bin/sh
# --seed N: those listed end otherwise than the others do.
case " $FAILING " in *" $2 "*)
    [ -z "$DYING" ] || kill -ABRT $$
    echo '{"seed": '$2', "good": false, "hash": "1", "why": "lost"}'
    exit 1 ;;
esac
case " $UNABLE " in *" $2 "*) exit 2 ;; esac
echo '{"seed": '$2', "good": true, "hash": "1", "simulated_s": 1,' \
    '"history": {"groups": '$GROUPS_JUDGED', "undecided": '$UNDECIDED'},' \
    '"fired": {"crash": '$CRASHES'}}'
"""


class Sim(unittest.TestCase):
    def run_sim(self, *args, **env):
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "played")
            with open(program, "w", encoding="ascii") as f:
                f.write(PLAYED)
            os.chmod(program, 0o755)
            done = subprocess.run(
                ["/usr/bin/python3", "-B", os.path.join(ROOT, "tools", "sim"), "--program", program,
                 "--keep", folder, *args], capture_output=True, text=True, timeout=300,
                env={**os.environ, "FAILING": "", "UNABLE": "", "DYING": "", "CRASHES": "1",
                     "GROUPS_JUDGED": "50", "UNDECIDED": "0", **env})
        self.said = done.stdout + done.stderr
        return done.returncode

    def test_good_runs(self):
        self.assertEqual(self.run_sim("--seeds", "1..20", "--require-all"), GOOD, self.said)

    def test_seeds_that_fail_have_a_status_of_their_own(self):
        for dying in "", "yes":
            self.assertEqual(self.run_sim("--seeds", "1..20", FAILING="3 7", DYING=dying),
                             SEEDS_FAILED, self.said)
            self.assertIn("FAILED  tools/sim --seed 7 ", self.said)

    def test_no_more_are_forgiven_than_is_said(self):
        for forgiven, status in ((2, SEEDS_FORGIVEN), (3, SEEDS_FORGIVEN), (1, SEEDS_FAILED),
                                 (0, SEEDS_FAILED)):
            self.assertEqual(self.run_sim("--seeds", "1..20", "--forgive", str(forgiven),
                                          FAILING="3 7"), status, self.said)
        self.assertEqual(self.run_sim("--seeds", "1..20", "--forgive", "2"), GOOD, self.said)

    def test_a_fault_that_never_fires_is_not_forgiven(self):
        for failing in "", "3":
            self.assertEqual(self.run_sim("--seeds", "1..20", "--require-all", "--forgive", "20",
                                          FAILING=failing, CRASHES="0"), WRONG, self.said)
            self.assertIn("never fired: crash", self.said)

    def test_undecided_histories_are_not_forgiven(self):
        all_seeds = "--seeds", "1..20", "--forgive", "20"
        self.assertEqual(self.run_sim(*all_seeds, UNDECIDED="1"), GOOD, self.said)
        self.assertIn("history: groups 1000, undecided 20\n", self.said)
        for groups, undecided, status in ((100, 1, GOOD), (99, 1, WRONG), (0, 0, WRONG)):
            self.assertEqual(self.run_sim(*all_seeds, "--require-all", GROUPS_JUDGED=str(groups),
                                          UNDECIDED=str(undecided)), status, self.said)
        self.assertIn("of 0 histories 0 stayed undecided", self.said)

    def test_too_few_runs_are_not_forgiven(self):
        self.assertEqual(self.run_sim("--fresh", "1000000", "--minutes", "0.01", "--forgive", "20"),
                         WRONG, self.said)
        self.assertIn("of 1000000 seeds", self.said)

    def test_a_program_that_does_not_run_is_no_seed_that_fails(self):
        self.assertEqual(self.run_sim("--seeds", "1..20", "--forgive", "20", UNABLE="9"), WRONG,
                         self.said)
        self.assertIn("exit 2", self.said)

    def test_bad_usage(self):
        self.assertEqual(self.run_sim("--seeds", "1..2", "--program", "/nonexistent"), USAGE)
        self.assertEqual(self.run_sim(), USAGE)

    def test_linked_clusters_have_no_histories_and_a_word_of_their_own(self):
        self.assertEqual(self.run_sim("--links", "--seeds", "1..20", "--require-all",
                                      GROUPS_JUDGED="0"), GOOD, self.said)
        self.assertIn("fired: crash 20\n", self.said)
        self.assertEqual(self.run_sim("--links", "--seeds", "1..20", FAILING="7"), SEEDS_FAILED)
        self.assertIn("FAILED  tools/sim --links --seed 7   #", self.said)

    def test_one_run(self):
        self.assertEqual(self.run_sim("--seed", "3"), GOOD, self.said)
        self.assertEqual(self.run_sim("--seed", "3", FAILING="3"), SEEDS_FAILED, self.said)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    unittest.main()
