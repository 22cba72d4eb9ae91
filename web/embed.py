#!/usr/bin/env python3
"""embed.py OUT.C FILE…: the files as C, each under "/NAME", index.html under "/"."""

import os
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


def array(name, data):
    lines = (data[at:at + 24] for at in range(0, len(data), 24))
    rows = ",\n".join("    " + ", ".join(str(byte) for byte in line) for line in lines)
    return f"static const unsigned char {name}[] = {{\n{rows},\n}};\n"


def main():
    out, inputs = sys.argv[1], sys.argv[2:]
    arrays, entries = [], []
    for number, path in enumerate(inputs):
        with open(path, "rb") as file:
            data = file.read()
        base = os.path.basename(path)
        kind = TYPES[os.path.splitext(base)[1]]
        arrays.append(array(f"file_{number}", data))
        url = "/" if base == "index.html" else "/" + base
        entries.append(f'    {{"{url}", "{kind}", file_{number}, {len(data)}}},')
    table = "\n".join(entries)
    with open(out, "w", encoding="utf-8") as file:
        file.write("/* Written by embed.py from the dashboard's files. */\n"
                   '#include "web/assets.h"\n\n'
                   + "\n".join(arrays)
                   + f"\nstatic const struct web_asset assets[] = {{\n{table}\n}};\n\n"
                   "const struct web_asset *web_assets(int *n)\n{\n"
                   "    *n = (int)(sizeof assets / sizeof assets[0]);\n"
                   "    return assets;\n}\n")


if __name__ == "__main__":
    main()
