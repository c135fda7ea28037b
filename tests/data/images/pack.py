#!/usr/bin/env python3
"""Packs captured images for the tests: one image per DRBD generation whole, the others as block patches.

Usage: pack.py OUT NAME=IMAGE [NAME=IMAGE ...]     the first image is the base
Writes OUT-NAME.img.zst for the base and OUT-NAME.patch.zst for the others. A patch is a sequence of
(block number, little-endian 64 bits; 4096 bytes), for each 4 KiB block that differs from the base.
Needs the zstd command.
"""
import struct
import subprocess
import sys

BLOCK = 4096


def compress(data: bytes, path: str) -> None:
    subprocess.run(["zstd", "-q", "-f", "-19", "-o", path], input=data, check=True)


def main() -> None:
    out, images = sys.argv[1], [argument.split("=", 1) for argument in sys.argv[2:]]
    base = open(images[0][1], "rb").read()
    compress(base, f"{out}-{images[0][0]}.img.zst")
    for name, path in images[1:]:
        image = open(path, "rb").read()
        if len(image) != len(base):
            sys.exit(f"{path} has another size than the base")
        patch = bytearray()
        for at in range(0, len(base), BLOCK):
            if image[at:at + BLOCK] != base[at:at + BLOCK]:
                patch += struct.pack("<Q", at // BLOCK) + image[at:at + BLOCK]
        compress(bytes(patch), f"{out}-{name}.patch.zst")


main()
