"""Tests of step.py: the order of turns, when figures are written, sides that fail or are late."""

import argparse
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import time
import unittest

import step

# A side: answers each line with the given images/s; logs its start and its rounds in a journal.
SIDE = """
import json, sys, time
name, speed, journal, fate, extra = sys.argv[1:]
note = lambda what: open(journal, "a").write(f"{name} {what}\\n")
note("begins")
for number, _ in enumerate(sys.stdin):
    note("measures")
    if fate == "late" and number == 1: time.sleep(60)
    if fate == "fails" and number == 1: sys.exit("error: out of memory")
    print(json.dumps({"images_per_second": float(speed), "peak_memory_mib": 1, "page_faults_per_step": 0, **json.loads(extra)}), flush=True)
"""
OURS = {"phases": {"forward": 0.1}, "mfu": 0.5, "product_flops_per_second": 1e9}


class Turns(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.folder = pathlib.Path(self.scratch.name)
        self.arguments = argparse.Namespace(rounds=2, results=self.folder / "figures.jsonl")

    def side(self, name, speed, fate="", extra=None, limit=20):
        command = [
            sys.executable,
            "-c",
            SIDE,
            name,
            str(speed),
            str(self.folder / "journal"),
            fate,
            json.dumps(extra or {}),
        ]
        return step.Side(command, 1, self.folder / f"{name}.err", limit)

    def take_turns(self, **sides):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            step.take_turns("case", "step", sides, self.arguments)
        for side in sides.values():
            self.assertTrue(
                side.process is None or side.process.poll() is not None, "a side is left running"
            )
        written = self.arguments.results
        self.printed = printed.getvalue()
        return (
            [json.loads(line) for line in written.read_text().splitlines()]
            if written.exists()
            else []
        )

    def journal(self):
        return (self.folder / "journal").read_text().splitlines()

    def test_a_side_warms_up_while_all_others_wait(self):
        lines = self.take_turns(
            ours=self.side("ours", 150, extra=OURS),
            eager=self.side("eager", 100),
            compile=self.side("compile", 300),
        )
        turns = ["ours measures", "eager measures"] * 2
        later = ["ours measures", "compile measures"] * 2
        self.assertEqual(
            self.journal(),
            [
                "ours begins",
                "ours measures",
                "eager begins",
                "eager measures",
                *turns,
                "compile begins",
                "compile measures",
                *later,
            ],
        )
        self.assertEqual(
            [(line["peer"], line["ours"], line["theirs"], line["ratio"]) for line in lines],
            [
                ("eager", 150, 100, 1.5),
                ("compile", 150, 300, 0.5),
            ],
        )

    def test_a_late_side_is_left_out_and_the_next_has_its_turn(self):
        begun = time.monotonic()
        lines = self.take_turns(
            ours=self.side("ours", 150, extra=OURS),
            eager=self.side("eager", 100, "late", limit=1),
            compile=self.side("compile", 300),
        )
        self.assertLess(time.monotonic() - begun, 50)
        self.assertEqual(
            lines[0],
            {"bench": "step", "case": "case", "peer": "eager", "left_out": "no answer within 1 s"},
        )
        self.assertEqual(lines[1]["ratio"], 0.5)

    def test_a_side_that_fails_says_why(self):
        lines = self.take_turns(
            ours=self.side("ours", 150, extra=OURS), eager=self.side("eager", 100, "fails")
        )
        self.assertEqual([line["left_out"] for line in lines], ["error: out of memory"])
        self.assertIn("left out: error: out of memory", self.printed)

    def test_without_ours_there_is_nothing_to_compare(self):
        lines = self.take_turns(
            ours=self.side("ours", 150, "fails", OURS), eager=self.side("eager", 100)
        )
        self.assertEqual(
            lines, [{"bench": "step", "case": "case", "left_out": "error: out of memory"}]
        )

    def test_what_was_written_before_a_later_side_fails_stays(self):
        lines = self.take_turns(
            ours=self.side("ours", 150, extra=OURS),
            eager=self.side("eager", 100),
            compile=self.side("compile", 1, "late", limit=1),
        )
        self.assertEqual([line.get("ratio") for line in lines], [1.5, None])

    def test_ours_alone_has_a_figure_whatever_became_of_its_graphs(self):
        for graph, state in (
            ("yes", "yes"),
            ({"part": "a reason"}, "part, since a reason"),
            ({"no": "another"}, "no, since another"),
        ):
            self.arguments.results = self.folder / f"{state}.jsonl"
            (line,) = self.take_turns(
                ours=self.side("ours", 150, extra={**OURS, "cuda_graph": graph})
            )
            self.assertEqual((line["ours"], line["cuda_graph"]), (150, state))
            self.assertEqual(state != "yes", f"CUDA graph: {state}" in self.printed)


if __name__ == "__main__":
    unittest.main()
