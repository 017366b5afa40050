"""Parses the output of programs into numbers and into words for the summary. Pure functions of
text.
"""

import collections
import csv
import io
import json
import re


def json_lines(text):
    """The JSON objects among the lines of a text; a last line that was cut off is left out."""
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def tests(text):
    """Whether a Rust test program passed, and what it counted."""
    summary = re.search(r"^test result: (\w+)\. (\d+) passed; (\d+) failed", text, re.M)
    failed = re.findall(r"^test (\S+) \.\.\. FAILED", text, re.M)
    begun = re.findall(r"^test (\S+) \.\.\.", text, re.M)
    if not summary:
        return False, f"ended in {begun[-1]}" if begun else "did not begin"
    if summary[1] != "ok" or failed:
        return False, f"{summary[2]} passed, failed: {', '.join(failed)}"
    if summary[2] == "0":
        return False, "no test ran"
    return True, f"{summary[2]} passed"


def listed_tests(text):
    """Whether a Rust test program listed any test, and how many."""
    found = re.search(r"^([1-9]\d*) tests?, ", text, re.M)
    return found is not None, f"{found[1] if found else 'no'} listed, which need a GPU"


def sanitizer(text):
    """Whether compute-sanitizer found nothing; None if it could not run, with the reason."""
    found = re.search(r"^=+ (?:ERROR|RACECHECK) SUMMARY: (.*)$", text, re.M)
    refused = re.search(
        r"^=+ (?:Error|Internal error|Warning): (.*(?:not supported|not initialized|nable).*)$",
        text,
        re.M | re.I,
    )
    # A summary with errors counts, whatever warnings stand before it.
    clean = found and re.match(r"0 (?:errors|hazards)", found[1]) is not None
    if found and not clean:
        return False, found[1].strip()
    if refused:
        return None, f"cannot work here: {refused[1].strip()}"
    return (True, found[1].strip()) if found else (None, "came to no result")


def speeds(lines):
    """One phrase per figure of bench/step.py."""
    words = []
    for line in lines:
        if line.get("bench") != "step":
            continue
        name = line["case"] + (f" against {line['peer']}" if line.get("peer") else "")
        if "left_out" in line:
            words.append(f"{name}: none ({line['left_out']})")
        elif "ratio" in line:
            words.append(
                f"{name}: {line['ours']:.0f} to {line['theirs']:.0f} images/s, ratio {line['ratio']:.3f}"
            )
        else:
            graph = {None: "", "yes": ", graph"}.get(line.get("cuda_graph"), ", NO GRAPH")
            words.append(f"{line['case']}: {line['ours']:.0f} images/s{graph}")
    return words


def attention(lines):
    """Whether every backend was right wherever it answered, and its failures."""
    backends = collections.defaultdict(list)
    for line in lines:
        backends[line["backend"]].append(line)
    words = []
    for backend, cases in backends.items():
        wrong = [f"{case['case']}: {case['apart']}" for case in cases if case.get("ok") is False]
        refused = [case["case"] for case in cases if "refused" in case]
        right = sum(case.get("ok") is True for case in cases)
        words.append(
            f"{backend} right in {right} of {len(cases)}"
            + (f", WRONG ({'; '.join(wrong)})" if wrong else "")
            + (f", refused {', '.join(refused)}" if refused else "")
        )
    return (
        bool(lines) and not any(case.get("ok") is False for case in lines),
        "; ".join(words) or "no case",
    )


def training_speed(records, batch):
    """Images/s over the later two thirds of a training's records, from their timestamps; None if
    there are too few.

    A record waits for the step's loss, so that the time between two of them is the device's as well
    as the host's.
    """
    steps = [
        (record["step"], record["timestamp_seconds"])
        for record in records
        if record.get("kind") == "step"
    ]
    steps = steps[len(steps) // 3 :]
    if len(steps) < 2 or steps[-1][1] <= steps[0][1]:
        return None
    return batch * (steps[-1][0] - steps[0][0]) / (steps[-1][1] - steps[0][1])


# --- Kernels ---------------------------------------------------------------------------


# One launch of a kernel. `local`: bytes of local memory a thread, where spilled registers lie.
# None: unknown.
Kernel = collections.namedtuple("Kernel", "name microseconds megabytes registers local")

# ncu's metrics: what is asked for, in this order.
METRICS = (
    "gpu__time_duration.sum",
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
    "launch__registers_per_thread",
)
NANOSECONDS = {
    "nsecond": 1,
    "ns": 1,
    "usecond": 1e3,
    "us": 1e3,
    "msecond": 1e6,
    "ms": 1e6,
    "second": 1e9,
    "s": 1e9,
}
BYTES = {"byte": 1, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9}


def kernels_of_ncu(text):
    """The kernels of ncu's CSV in launch order, from either layout: one row per metric, or one row
    per kernel.
    """
    begin = re.search(r'^"ID",', text, re.M)
    if not begin:
        return []
    rows = list(csv.DictReader(io.StringIO(text[begin.start() :])))
    found = {}
    if rows and "Metric Name" in rows[0]:
        for row in rows:
            values = found.setdefault(row["ID"], {"name": row["Kernel Name"]})
            values[row["Metric Name"]] = scaled(row["Metric Value"], row["Metric Unit"])
    else:
        units = rows[0] if rows else {}  # the row below the header
        for row in rows[1:]:
            values = {
                metric: scaled(row[metric], units[metric]) for metric in METRICS if row.get(metric)
            }
            found[row["ID"]] = {"name": row["Kernel Name"], **values}
    time, read, write, registers = METRICS
    return [
        Kernel(
            values["name"],
            values[time] / 1e3,
            (values[read] + values[write]) / 1e6 if read in values and write in values else None,
            int(values[registers]) if registers in values else None,
            None,
        )
        for values in found.values()
        if time in values
    ]


def ncu_fault(text):
    """Why ncu profiled nothing, in its own words; it may lack the permission to read counters."""
    found = re.search(r"^==ERROR== (.*)$", text, re.M)
    return found[1].strip() if found else None


def scaled(number, unit):
    """A number of ncu's in nanoseconds, bytes, or as it is."""
    number = float(number.replace(",", "")) if number and number != "n/a" else 0.0
    return number * NANOSECONDS.get(unit, BYTES.get(unit, 1))


def kernels_of_trace(text):
    """The kernels that kernel_times.c wrote down, in the order of their start."""
    found = []
    for line in text.splitlines():
        *numbers, name = line.split(",", 4)
        if len(numbers) == 4 and all(number.isdigit() for number in numbers):
            start, nanoseconds, registers, local = map(int, numbers)
            found.append((start, Kernel(name, nanoseconds / 1e3, None, registers, local)))
    return [kernel for _, kernel in sorted(found, key=lambda pair: pair[0])]


def last_step(kernels, steps):
    """The kernels of one whole step: those between the last two launches of a kernel that runs once
    in each of `steps` steps.

    They are the end of the last step but one and the beginning of the last.
    """
    places = collections.defaultdict(list)
    for place, kernel in enumerate(kernels):
        places[kernel.name].append(place)
    # The distance that most of the kernels launched once a step agree on.
    distances = collections.Counter(
        found[-1] - found[-2] for found in places.values() if len(found) == steps
    )
    if not distances:
        return []
    distance = distances.most_common(1)[0][0]
    last = max(
        found[-1]
        for found in places.values()
        if len(found) == steps and found[-1] - found[-2] == distance
    )
    return kernels[last - distance : last]


def short(name):
    """A kernel's name without its namespace, arguments and most of its template's."""
    name = re.sub(r"^(void|static|__global__) ", "", name).replace("(anonymous namespace)::", "")
    name = name.split("(")[0]
    head, _, inner = name.partition("<")
    head = head.split("::")[-1]
    inner = re.sub(r"\b\w+::", "", inner)
    return f"{head}<{inner}"[:90] if inner else head[:90]


def kernel_table(kernels, copy_bytes_per_second=None):
    """A table of kernels by name, the slowest first: launches, time, share, bandwidth, registers,
    local memory.
    """
    groups = collections.defaultdict(list)
    for kernel in kernels:
        groups[short(kernel.name)].append(kernel)
    total = sum(kernel.microseconds for kernel in kernels)
    row = "{:>10} {:>7} {:>6} {:>8} {:>6} {:>8} {:>5} {:>6}  {}"
    rows = [
        row.format("us", "share", "times", "us each", "GB/s", "of copy", "regs", "local", "kernel")
    ]
    time_of = lambda group: sum(kernel.microseconds for kernel in group)
    known = lambda values: [value for value in values if value is not None]
    for name, group in sorted(groups.items(), key=lambda pair: -time_of(pair[1])):
        time, moved = time_of(group), known(kernel.megabytes for kernel in group)
        rate = share = ""
        if time > 0 and len(moved) == len(group):
            bandwidth = 1e12 * sum(moved) / time  # bytes a second
            rate = f"{bandwidth / 1e9:.0f}"
            if copy_bytes_per_second:
                share = f"{100 * bandwidth / copy_bytes_per_second:.0f} %"
        registers = max(known(kernel.registers for kernel in group), default="")
        local = max(known(kernel.local for kernel in group), default="")
        each, part = f"{time / len(group):.2f}", f"{100 * time / total:.1f}%"
        rows.append(
            row.format(f"{time:.1f}", part, len(group), each, rate, share, registers, local, name)
        )
    return "\n".join(rows) + "\n"


def kernel_words(kernels):
    """A step's kernels in one line, with the slowest three."""
    total = sum(kernel.microseconds for kernel in kernels)
    small = [kernel for kernel in kernels if kernel.microseconds < 5]
    groups = collections.Counter()
    for kernel in kernels:
        groups[short(kernel.name).partition("<")[0]] += kernel.microseconds
    slowest = ", ".join(
        f"{name} {100 * time / total:.0f} %" for name, time in groups.most_common(3)
    )
    short_ms = sum(kernel.microseconds for kernel in small) / 1e3
    return (
        f"{len(kernels)} kernels in {total / 1e3:.2f} ms, "
        f"{len(small)} of them under 5 us ({short_ms:.2f} ms); {slowest}"
    )
