#!/usr/bin/env python3
"""Fills fuzz/corpus with seeds made from tests/data, so that the fuzzers start behind the magic numbers.

Usage: fuzz/seeds.py     then: cargo +nightly fuzz run TARGET
"""
import pathlib
import struct

ROOT = pathlib.Path(__file__).resolve().parent
DATA = ROOT.parent / "tests" / "data"
DISK = 100663296  # size of the captured devices, bytes


def seed(target: str, name: str, content: bytes) -> None:
    folder = ROOT / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


for tail in DATA.glob("drbd/*.tail"):
    bytes_ = tail.read_bytes()
    blocks = [bytes_[at:at + 4096] for at in range(0, len(bytes_) - 4095, 4096)]
    for block in blocks:
        if struct.unpack(">I", block[60:64])[0] & 0xFFFFFFF0 == 0x83740260:
            # Sizes of metadata and data device, then flags: 0x80 leaves the magic alone.
            seed("drbd_superblock", tail.name, struct.pack("<QQB", DISK, DISK, 0x80) + block)
    log = b"".join(block for block in blocks if struct.unpack(">I", block[:4])[0] == 0x69CB65A2)
    seed("drbd_activity_log", tail.name, log)
    seed("drbd_bitmap", tail.name, bytes_[:8192])
for head in DATA.glob("lvm/*.bin"):
    bytes_ = head.read_bytes()
    seed("lvm2", head.name, bytes_)
    text = bytes_.find(b" {\nid = \"")
    if text > 0:
        start = bytes_.rfind(b"\0", 0, text) + 1
        seed("lvm2", head.name + ".text", bytes_[start:].split(b"\0")[0])
for policy in (ROOT.parent / "policies").glob("**/*.toml"):
    seed("policy", policy.name, policy.read_bytes())
seed("ranges", "some", b"# ranges\n0 4096\n0x2000 0x1000 # hex\n4096 1\n")
for plan in (ROOT / "seeds" / "plan").glob("*.json"):
    seed("plan", plan.name, plan.read_bytes())
for at, document in enumerate([
    '"echo"', '{"read":{"thing":0,"which":"data","at":4096,"len":65536,"squeeze":true}}', '"done"',
    '{"bytes":{"len":4096,"coding":"zstd","vain":false}}', '{"fault":{"outside":{"size":7}}}',
    '{"content-digest":{"thing":0,"which":"data","extents":[[0,4096],[8192,4096]],"threads":2}}',
]):
    seed("wire_frame", f"document-{at}", struct.pack("<I", len(document)) + document.encode() + b"beside")
seed("wire_frame", "sparse", bytes([3]) + struct.pack("<II", 1, 0) + struct.pack("<II", 1, 1) + b"x" * 4096)
print(f"seeds are in {ROOT / 'corpus'}")
# The target seals what it is given: two runs of a volume of 1 GiB, all of it compared.
body = b"unsplit-compared" + struct.pack("<I32sqBQQ", 1, b"k" * 32, 1, 1, 1 << 30, 1 << 30) + b"a" * 32 + b"b" * 32
seed("comparison", "two-runs", body + struct.pack("<Q", 2) + bytes([0x00, 0x80, 0x20, 0x80, 0x40, 0x80, 0x20]))
