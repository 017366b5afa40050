"""Makes JPEGs that cost a decoder what ImageNet's do: 500 by 375 pixels, 4:2:0, about 110 kB each.

Coefficients are drawn in the frequency domain, with the spectrum of photographs (amplitude falls
with the frequency), and written by a Huffman coder of the usual shape. So this needs no library,
and a decoder has as many symbols, blocks and pixels to go through as in a photograph of that size.
What they show is noise, which no step's speed depends on.
"""

import collections
import concurrent.futures
import pathlib
import random

WIDTH, HEIGHT = 500, 375
# Of the largest amplitude, in quantization steps; chosen for about 110 kB a file.
AMPLITUDE = 16.5
# Codes of 1, 2, … 16 bits: the typical AC and DC tables of ITU-T T.81, annex K.
AC_LENGTHS = (0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125)
DC_LENGTHS = (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)
END_OF_BLOCK, SIXTEEN_ZEROS = 0x00, 0xF0
# Row and column of each of 64 coefficients: from the corner along antidiagonals that change
# direction.
ZIGZAG = sorted(
    ((row, column) for row in range(8) for column in range(8)),
    key=lambda place: (sum(place), place[0] if sum(place) % 2 else place[1]),
)
SPREADS = [
    AMPLITUDE / (row * row + column * column) ** 0.5 if row + column else 0.0
    for row, column in ZIGZAG
]


def block(draw, scale):
    """Pairs of a symbol and its extra bits (value, count) for the 63 AC coefficients."""
    coded, zeros = [], 0
    for spread in SPREADS[1:]:
        # Laplace's distribution, as that of photographs' coefficients; cut to what a symbol can
        # say.
        value = max(
            -1023, min(1023, int(scale * spread * draw.expovariate(1.4) * draw.choice((-1, 1))))
        )
        if value == 0:
            zeros += 1
            continue
        while zeros > 15:
            coded.append((SIXTEEN_ZEROS, 0, 0))
            zeros -= 16
        size = abs(value).bit_length()
        coded.append((zeros << 4 | size, value if value > 0 else value + (1 << size) - 1, size))
        zeros = 0
    if zeros:
        coded.append((END_OF_BLOCK, 0, 0))
    return coded


def codes(symbols, lengths):
    """Each symbol's canonical code, (bits, their number); the first symbols get the shortest."""
    table, code, each = {}, 0, iter(symbols)
    for bits, count in enumerate(lengths, 1):
        for symbol in (next(each, None) for _ in range(count)):
            if symbol is not None:
                table[symbol] = (code, bits)
            code += 1
        code <<= 1
    return table


def segment(marker, data):
    return bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2, "big") + bytes(data)


def photograph(seed):
    """One file's bytes: the same for the same seed."""
    draw = random.Random(seed)
    contrast = draw.uniform(0.6, 1.4)
    blocks, means = [], [0, 0, 0]
    # Four blocks of brightness and one of each color a unit of 16 by 16 pixels.
    for _ in range(-(-WIDTH // 16) * -(-HEIGHT // 16)):
        for component in (0, 0, 0, 0, 1, 2):
            # Means wander, and are written as differences to the block before.
            mean = int(0.95 * means[component]) + draw.randint(-24, 24)
            blocks.append(
                (
                    mean - means[component],
                    block(draw, contrast if component == 0 else 0.4 * contrast),
                )
            )
            means[component] = mean
    counts = collections.Counter(symbol for _, coded in blocks for symbol, _, _ in coded)
    every = [run << 4 | size for run in range(16) for size in range(1, 11)] + [
        END_OF_BLOCK,
        SIXTEEN_ZEROS,
    ]
    ac_symbols = sorted(every, key=lambda symbol: (-counts[symbol], symbol))
    dc_symbols = list(range(12))
    ac, dc = codes(ac_symbols, AC_LENGTHS), codes(dc_symbols, DC_LENGTHS)
    bits = []
    for step, coded in blocks:
        size = abs(step).bit_length()
        pairs = [dc[size], (step if step > 0 else step + (1 << size) - 1, size)]
        for symbol, value, count in coded:
            pairs += [ac[symbol], (value, count)]
        bits.extend(f"{value:0{count}b}" for value, count in pairs if count)
    scan = "".join(bits)
    scan += "1" * (-len(scan) % 8)
    data = int(scan, 2).to_bytes(len(scan) // 8, "big").replace(b"\xff", b"\xff\x00")
    components = b"".join(bytes([index, 0x22 if index == 1 else 0x11, 0]) for index in (1, 2, 3))
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, bytes([0]) + bytes(3 + (row + column) // 6 for row, column in ZIGZAG)),
            segment(
                0xC0,
                bytes([8, *HEIGHT.to_bytes(2, "big"), *WIDTH.to_bytes(2, "big"), 3]) + components,
            ),
            segment(0xC4, bytes([0x00, *DC_LENGTHS, *dc_symbols])),
            segment(0xC4, bytes([0x10, *AC_LENGTHS, *ac_symbols])),
            segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0])),
            data,
            b"\xff\xd9",
        ]
    )


def make(folder, distinct, classes, of_class):
    """A data set of `classes` folders with `of_class` files each, which are links to `distinct`
    photographs; the same in val/, of one each.
    """
    folder = pathlib.Path(folder)
    store = folder / "photographs"
    store.mkdir(parents=True)
    with concurrent.futures.ProcessPoolExecutor() as pool:
        for seed, data in enumerate(pool.map(photograph, range(distinct))):
            (store / f"{seed}.JPEG").write_bytes(data)
    for split, count in (("train", of_class), ("val", 1)):
        for label in range(classes):
            place = folder / split / f"class-{label:03}"
            place.mkdir(parents=True)
            for index in range(count):
                file, photograph_file = (
                    place / f"{index:04}.JPEG",
                    store / f"{(label * of_class + index) % distinct}.JPEG",
                )
                try:
                    file.hardlink_to(photograph_file)
                except OSError:  # a file system without hard links
                    file.symlink_to(photograph_file.absolute())


if __name__ == "__main__":
    import sys

    make(sys.argv[1], *map(int, sys.argv[2:5]))
