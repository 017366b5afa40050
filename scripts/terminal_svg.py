#!/usr/bin/env python3
"""Draws what a terminal showed as an SVG: plain text on standard input, the picture on standard output.

    tmux new-session -d -s demo -x 100 -y 30 'make demo; sleep 60'
    tmux capture-pane -t demo -p | scripts/terminal_svg.py > docs/images/demo.svg
"""

import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT, MARGIN = 7.8, 17, 14  # of a character and around the text, in pixels
BACKGROUND, TEXT, BAR = "#1e2127", "#d7dae0", "#56b6c2"

lines = sys.stdin.read().rstrip().split("\n")
columns = max(len(line) for line in lines)
width, height = columns * WIDTH + 2 * MARGIN, len(lines) * HEIGHT + 2 * MARGIN
print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" font-size="13"')
print('     font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace">')
print(f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>')
for number, line in enumerate(lines):
    baseline = MARGIN + (number + 0.75) * HEIGHT
    colour = BAR if line.lstrip().startswith("━") else TEXT
    length = f' textLength="{len(line) * WIDTH:.1f}"' if line.strip() else ""
    print(f'<text x="{MARGIN}" y="{baseline:.1f}" fill="{colour}" xml:space="preserve"{length}>{escape(line)}</text>')
print("</svg>")
