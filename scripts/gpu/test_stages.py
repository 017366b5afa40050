"""Tests of the stages' parts: parsing, limits, the archive, checks of the machine, photographs."""

import io
import json
import pathlib
import random
import tarfile
import tempfile
import time
import unittest

import archive
import machine
import parity
import photographs
import results
import speed
import stages
from jobs import Job, Jobs, marked

FIXTURES = pathlib.Path(__file__).parent / "fixtures"


class Results(unittest.TestCase):
    def test_a_test_program_passes_only_when_it_says_so(self):
        passed = "running 2 tests\ntest a ... ok\ntest b ... ok\n\ntest result: ok. 2 passed; 0 failed; 1 ignored\n"
        self.assertEqual(results.tests(passed), (True, "2 passed"))
        failed = "test a ... ok\ntest norm::b ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n"
        self.assertEqual(results.tests(failed), (False, "1 passed, failed: norm::b"))
        self.assertEqual(results.tests("test a ... ok\ntest b ... "), (False, "ended in b"))
        self.assertEqual(
            results.tests("error while loading shared libraries"), (False, "did not begin")
        )
        self.assertEqual(
            results.tests("test result: ok. 0 passed; 0 failed; 9 filtered out\n"),
            (False, "no test ran"),
        )
        self.assertTrue(results.listed_tests("a: test\nb: test\n\n2 tests, 0 benchmarks\n")[0])
        self.assertFalse(results.listed_tests("\n0 tests, 0 benchmarks\n")[0])

    def test_the_sanitizer_is_clean_dirty_or_absent(self):
        clean = "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"
        self.assertIs(results.sanitizer(clean)[0], True)
        self.assertEqual(
            results.sanitizer("========= ERROR SUMMARY: 10 errors\n"), (False, "10 errors")
        )
        warned = "========= Warning: Unable to find symbols\n========= ERROR SUMMARY: 7 errors\n"
        self.assertEqual(results.sanitizer(warned), (False, "7 errors"))
        self.assertEqual(
            results.sanitizer("========= Error: Device not supported\n"),
            (None, "cannot work here: Device not supported"),
        )
        self.assertEqual(
            results.sanitizer("========= COMPUTE-SANITIZER\n"), (None, "came to no result")
        )

    def test_figures_of_the_bench(self):
        lines = [
            {"bench": "step", "case": "a", "ours": 100.0, "cuda_graph": "yes"},
            {"bench": "step", "case": "b", "ours": 100.0, "cuda_graph": "part, since a reason"},
            {
                "bench": "step",
                "case": "c",
                "peer": "eager",
                "ours": 150.0,
                "theirs": 100.0,
                "ratio": 1.5,
            },
            {"bench": "step", "case": "d", "peer": "compile", "left_out": "no answer within 5 s"},
        ]
        self.assertEqual(
            results.speeds(lines),
            [
                "a: 100 images/s, graph",
                "b: 100 images/s, NO GRAPH",
                "c against eager: 150 to 100 images/s, ratio 1.500",
                "d against compile: none (no answer within 5 s)",
            ],
        )

    def test_attention_fails_with_any_wrong_result(self):
        lines = results.json_lines((FIXTURES / "attention.jsonl").read_text())
        self.assertTrue(results.attention(lines)[0])
        lines.append({"backend": "cudnn", "case": "1 of 197 at -120", "apart": "NaN", "ok": False})
        fine, words = results.attention(lines)
        self.assertFalse(fine)
        self.assertIn("WRONG (1 of 197 at -120: NaN)", words)
        self.assertFalse(results.attention([])[0])

    def test_a_cut_off_line_of_json_is_left_out(self):
        self.assertEqual(results.json_lines('{"a": 1}\nnot json\n7\n{"b"'), [{"a": 1}])

    def test_speed_of_a_training_leaves_out_its_beginning(self):
        slow_start = [0, 50, 100, 101, 102, 103, 104, 105, 106]
        records = [
            {"kind": "step", "step": 5 * i, "timestamp_seconds": time}
            for i, time in enumerate(slow_start)
        ]
        self.assertAlmostEqual(results.training_speed(records, 10), 50.0)
        self.assertIsNone(results.training_speed(records[:1], 10))

    def test_both_layouts_of_ncu_say_the_same(self):
        raw = (FIXTURES / "ncu.csv").read_text()
        kernels = results.kernels_of_ncu(raw)
        self.assertEqual(len(kernels), 29)
        self.assertEqual(kernels[3].microseconds, 3.2)
        self.assertEqual((kernels[5].megabytes, kernels[5].registers), (78.0, 128))
        long = ['"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"']
        for metric, unit, value in [
            ("gpu__time_duration.sum", "us", "1.50"),
            ("dram__bytes_read.sum", "Kbyte", "1,000.00"),
            ("dram__bytes_write.sum", "Mbyte", "1.00"),
            ("launch__registers_per_thread", "register/thread", "40"),
        ]:
            long.append(f'"0","k(int)","{metric}","{unit}","{value}"')
        self.assertEqual(
            results.kernels_of_ncu("==PROF== x\n" + "\n".join(long)),
            [results.Kernel("k(int)", 1.5, 2.0, 40, None)],
        )
        self.assertEqual(results.kernels_of_ncu("==ERROR== ERR_NVGPUCTRPERM - no permission\n"), [])
        self.assertIn(
            "no permission", results.ncu_fault("==ERROR== ERR_NVGPUCTRPERM - no permission\n")
        )

    def test_a_step_is_what_lies_between_two_of_the_same_kernel(self):
        named = lambda names: [results.Kernel(name, 1.0, None, 1, None) for name in names]
        run = named("ii" + "abbc" * 3 + "aab")  # a beginning, three steps, an evaluation
        step = results.last_step(run, 3)
        self.assertEqual(sorted(kernel.name for kernel in step), ["a", "b", "b", "c"])
        self.assertEqual(results.last_step(named("ab"), 3), [])
        for kernels, steps in (
            (results.kernels_of_ncu((FIXTURES / "ncu.csv").read_text()), speed.BY_NCU),
            (
                results.kernels_of_trace((FIXTURES / "kernel_times.csv").read_text()),
                speed.BY_CUPTI,
            ),
        ):
            step = results.last_step(kernels, steps)
            self.assertEqual(len(step), 12)
            self.assertAlmostEqual(sum(kernel.microseconds for kernel in step), 579.8)
            table = results.kernel_table(step, 4e12)
            self.assertIn("activation_backward", table)
            self.assertIn("12 kernels in 0.58 ms", results.kernel_words(step))

    def test_a_kernel_has_a_short_name(self):
        for name, short in (
            ("void (anonymous namespace)::softmax<4, float>(T4 *, int)", "softmax<4, float>"),
            ("void at::native::add<at::native::Functor<float>>(int)", "add<Functor<float>>"),
            ("nvjet_tst_TNT", "nvjet_tst_TNT"),
            ("norm_forward(NormTensors, int)", "norm_forward"),
        ):
            self.assertEqual(results.short(name), short)

    def test_a_table_of_kernels_has_bandwidth_and_registers(self):
        row = (
            results.kernel_table([results.Kernel("f(int)", 100.0, 340.0, 64, 8)], 4e12)
            .splitlines()[1]
            .split()
        )
        self.assertEqual(row, ["100.0", "100.0%", "1", "100.00", "3400", "85", "%", "64", "8", "f"])


class Parity(unittest.TestCase):
    def test_losses_that_part_or_lack_are_told(self):
        with tempfile.TemporaryDirectory() as scratch:
            runs = []
            for name, losses in (
                ("a", [2.0, 1.0]),
                ("b", [2.0, 1.02]),
                ("c", [2.1, 1.0]),
                ("d", [2.0]),
                ("e", [2.0, None]),
            ):
                runs.append(pathlib.Path(scratch) / name)
                runs[-1].mkdir()
                records = [
                    {"kind": "step", "step": step, "loss": loss} for step, loss in enumerate(losses)
                ]
                (runs[-1] / "metrics.jsonl").write_text(
                    "".join(json.dumps(record) + "\n" for record in records)
                )
            agree = [
                parity.compare(runs[0], run, parity.ACROSS_DEVICES)[0]
                for run in (*runs, pathlib.Path(scratch) / "none")
            ]
            self.assertEqual(agree, [True, True, False, False, False, False])


class Limits(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.scratch.name)
        self.addCleanup(self.scratch.cleanup)

    def jobs(self, seconds=60):
        return Jobs(self.folder, time.monotonic() + seconds)

    def test_jobs_run_side_by_side_and_say_how_they_ended(self):
        good, bad, absent = self.jobs().run(
            Job("good", ["sh", "-c", "echo $GREETING"], 20, {"GREETING": "hello"}),
            Job("bad", ["sh", "-c", "echo error: why >&2; echo see help; exit 3"], 20),
            Job("absent", ["/no/such/program"], 20),
        )
        self.assertTrue(good.ok)
        self.assertEqual(good.text(), "hello\n")
        self.assertEqual((bad.code, bad.fault()), (3, "error: why"))
        self.assertFalse(absent.ok)
        self.assertIn("/no/such/program", absent.fault())

    def test_at_its_limit_a_job_ends_with_all_that_it_started(self):
        jobs = self.jobs()
        # One that ignores SIGTERM, and a child in a session of its own.
        stubborn = "trap '' TERM; setsid sleep 300 & echo begun; while true; do sleep 1; done"
        (outcome,) = jobs.run(Job("stubborn", ["bash", "-c", stubborn], 1))
        self.assertIsNone(outcome.code)
        self.assertIn("no end after", outcome.fault())
        self.assertEqual(outcome.text(), "begun\n")
        self.assertEqual(marked(jobs.mark), [])

    def test_what_a_job_leaves_behind_is_ended_too(self):
        jobs = self.jobs()
        (outcome,) = jobs.run(
            Job("leaves", ["bash", "-c", "setsid sleep 300 & disown; exit 0"], 20)
        )
        self.assertTrue(outcome.ok)
        self.assertEqual(marked(jobs.mark), [])

    def test_past_the_deadline_nothing_begins(self):
        (outcome,) = self.jobs(0).run(Job("late", ["sh", "-c", "echo begun"], 20))
        self.assertIsNone(outcome.code)
        self.assertIn("no time was left", outcome.fault())
        self.assertEqual(outcome.text(), "")


class Archive(unittest.TestCase):
    def test_it_is_whole_small_and_without_weights(self):
        draw = random.Random(0)
        with tempfile.TemporaryDirectory() as scratch:
            folder, file = (
                pathlib.Path(scratch) / "reports",
                pathlib.Path(scratch) / "reports.tar.gz",
            )
            (folder / "run").mkdir(parents=True)
            (folder / "run/metrics.jsonl").write_text("{}\n")
            (folder / "run/parameters.safetensors").write_bytes(bytes(1000))
            (folder / "huge.csv").write_bytes(
                b"begin" + draw.randbytes(12_000_000) + b"end"
            )  # cannot be made smaller
            archive.write(folder, file)
            self.assertLessEqual(file.stat().st_size, archive.LIMIT)
            with tarfile.open(file) as tar:
                self.assertEqual(sorted(tar.getnames()), ["huge.csv", "run/metrics.jsonl"])
                huge = tar.extractfile("huge.csv").read()
            self.assertTrue(huge.startswith(b"begin") and huge.endswith(b"end"))
            self.assertIn("bytes cut out".encode(), huge)
            before = file.read_bytes()
            with self.assertRaises(OSError):
                archive.write(folder, pathlib.Path(scratch) / "no/such/folder.tar.gz")
            self.assertEqual(file.read_bytes(), before)
            self.assertEqual(
                sorted(path.name for path in pathlib.Path(scratch).iterdir()),
                ["reports", "reports.tar.gz"],
            )


class Machine(unittest.TestCase):
    def test_every_wrong_torch_has_its_sentence(self):
        gpu = {"name": "NVIDIA H200", "architecture": 90}
        right = {
            "executable": "/usr/bin/python3",
            "torch": "2.11.0+cu130",
            "cuda": "13.0",
            "gpus": [gpu],
        }
        self.assertIsNone(machine.fault(right))
        for change, words in (
            (
                {"torch": None, "error": "ModuleNotFoundError: No module named 'torch'"},
                "has no torch",
            ),
            ({"torch": "2.10.0+cu130"}, "built for 2.11"),
            ({"torch": "2.11.0+cu128", "cuda": "12.8"}, "librectify_cuda.so needs libcudart.so.13"),
            ({"torch": "2.11.0+cu126", "cuda": "12.6"}, "librectify_cuda.so needs libcudart.so.13"),
            ({"torch": "2.11.0+cpu", "cuda": None}, "the wheel for CPUs"),
            (
                {"gpus": [], "error": "RuntimeError: Found no NVIDIA driver on your system."},
                "finds no NVIDIA GPU",
            ),
            ({"error": "no kernel image"}, "cannot use the NVIDIA H200"),
        ):
            fault = machine.fault({**right, **change})
            self.assertIsNotNone(fault, change)
            self.assertIn(words, fault)

    def test_programs_of_a_rebuilt_bundle_replace_older_ones(self):
        with tempfile.TemporaryDirectory() as scratch:
            packed, folder = (
                pathlib.Path(scratch) / "programs.tar.gz",
                pathlib.Path(scratch) / "target",
            )
            for content in (b"old", b"new"):
                with tarfile.open(packed, "w:gz") as tar:
                    entry = tarfile.TarInfo("release/program")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
                for _ in range(2):
                    machine.unpack(packed, folder)
                    self.assertEqual((folder / "release/program").read_bytes(), content)
            packed.write_bytes(packed.read_bytes()[:40])
            with self.assertRaisesRegex(machine.Refused, "copy the bundle again"):
                machine.unpack(packed, folder)


class Photographs(unittest.TestCase):
    def test_they_are_jpegs_of_the_size_of_imagenets(self):
        data = photographs.photograph(1)
        self.assertEqual(data, photographs.photograph(1))
        self.assertTrue(data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9"))
        self.assertTrue(60_000 < len(data) < 200_000, len(data))


class Table(unittest.TestCase):
    def test_the_first_stages_fit_their_call_and_all_fit_ten_minutes(self):
        import main

        limits = [stage.limit_s for stage in stages.STAGES]
        self.assertEqual([stage.number for stage in stages.STAGES], list(range(8)))
        self.assertLessEqual(main.FIRST_S, 240)
        self.assertLess(main.ALL_S, 600)
        self.assertLess(sum(limit for limit in limits if limit), main.ALL_S)


if __name__ == "__main__":
    unittest.main()
