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
for capture in DATA.glob("drbdnl/*/*.bin"):
    node, bytes_ = capture.parent.name, capture.read_bytes()
    generation = 0 if node.startswith("drbd84") else 1
    for how in (0, 4):
        seed("drbd_netlink", f"{node}-{capture.stem}-{how}", bytes([generation | how]) + bytes_)
    # Single messages mutate better than long runs.
    at = 0
    while at + 16 <= len(bytes_):
        length = struct.unpack_from("=I", bytes_, at)[0]
        seed("drbd_netlink", f"{node}-{capture.stem}-at{at}", bytes([generation]) + bytes_[at:at + length])
        at += (length + 3) & ~3
for text in [*DATA.glob("live/*/*/*/dump.xml"), *DATA.glob("live/*/*/*/dmesg.txt")]:
    seed("drbd_words", "-".join(text.parts[-4:]), text.read_bytes())
for policy in (ROOT.parent / "policies").glob("**/*.toml"):
    seed("policy", policy.name, policy.read_bytes())
seed("ranges", "some", b"# ranges\n0 4096\n0x2000 0x1000 # hex\n4096 1\n")
event = (
    b'{"at":1763755200000,"host":"node2","boot":"b","handler":"before-resync-target","call":{"resource":"r0","volumes":[0],"minors":[0],'
    b'"peer":"node1","peer_node_id":0,"peer_address":"10.9.0.1","connection":"Connected","disk":"/dev/sdb","up_to_date_nodes":null},'
    b'"then":{"Err":"the DRBD module is not loaded"},"did":{"outcome":"kept","salvage":"resync-r0-0-x","bytes":466944,"whole":false,'
    b'"overwritten":892928},"exit":0}'
)
seed("handler_events", "event", event)
seed("handler_events", "line", b"1 00000000 " + event + b"\n")
seed("handler_events", "environment", b"DRBD_RESOURCE=r0\nDRBD_VOLUME=0 1\nDRBD_MINOR_1=7\nDRBD_PEER_NODE_ID=0\nDRBD_NODE_ID_0=n\n")
seed("handler_events", "answer", b"unsplit-host\nn\nunsplit-boot\nb\nunsplit-role\nSecondary\nunsplit-dstate\nOutdated/x\nunsplit-end\n")
for plan in (ROOT / "seeds" / "plan").glob("*.json"):
    seed("plan", plan.name, plan.read_bytes())


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


# Messages of a comparison across a link: one set of two runs (numbers 3 and 5 to 6), and each kind with plausible fields.
TWO_RUNS = varint(2) + bytes([1, 0]) + bytes([0b0011_0101])
GAPS = varint(1) + varint(4096) + varint(4096) + b"\x01" + varint(5) + b"bytes"
ASK = b"\x01\x01" + bytes(32) + varint(70000) + varint(70000) + b"\x00\x01"
SUMMARY = b"\x06" + bytes(range(16)) + bytes(24 * 128) + b"\x00"
MESSAGES = {
    "ask": ASK,
    "scope": b"\x02\x01" + TWO_RUNS,
    "begin": b"\x03" + bytes(32),
    "outside": b"\x04" + varint(4096) + varint(4) + b"disk",
    "working": b"\x05",
    "summary": SUMMARY,
    "equal": b"\x07" + bytes(16),
    "table": b"\x08" + varint(3) + varint(8) + b"\x05\x00",
    "cells": b"\x09" + bytes(3 * 8 * 2 * 5),
    "more": b"\x0a" + varint(16),
    "want-chunks": b"\x0b\x00",
    "chunks": b"\x0c" + varint(3) + b"\x02" + TWO_RUNS,
    "values": b"\x0d" + b"ab",
    "direct": b"\x0e\x00",
    "batch": b"\x0f\x01\x02" + b"\x01\x00\x02\x0c" + GAPS + varint(36) + bytes(36),
    "verdict": b"\x10\x00\x02" + b"\xff\xff\x01",
    "turn": b"\x11",
    "closing": b"\x12" + bytes(32),
    "closed": b"\x13" + bytes(32) + b"\x01" + bytes(48),
    "bye": b"\x14",
    "abort": b"\x15" + varint(2) + b"no",
}
for name, message in MESSAGES.items():
    seed("link_message", name, message)
SESSIONS = {
    "answer-equal": (0, ["ask", "summary", "bye"]),
    "answer-chunks": (0, ["ask", "summary", "want-chunks", "turn", "closing", "bye"]),
    "answer-blocks": (0, ["ask", "working", "summary", "batch", "closing", "abort"]),
    "ask-direct": (1, ["begin", "direct", "verdict", "closed"]),
    "ask-table": (1, ["begin", "table", "cells", "verdict", "closed"]),
    "ask-chunks": (1, ["begin", "chunks", "values", "verdict", "closed"]),
}
for name, (role, kinds) in SESSIONS.items():
    script = bytes([role])
    for kind in kinds:
        script += struct.pack("<H", len(MESSAGES[kind])) + MESSAGES[kind]
    seed("link_session", name, script)
for at, document in enumerate([
    '"echo"', '{"read":{"thing":0,"which":"data","at":4096,"len":65536,"squeeze":true}}', '"done"',
    '{"bytes":{"len":4096,"coding":"zstd","vain":false}}', '{"fault":{"outside":{"size":7}}}',
    '{"content-digest":{"thing":0,"which":"data","extents":[[0,4096],[8192,4096]],"threads":2}}',
]):
    seed("wire_frame", f"document-{at}", struct.pack("<I", len(document)) + document.encode() + b"beside")
for kind, document in [
    (1, '{"fault":{"unseen":{"causes":["no"],"advice":null}}}'),
    (3, '{"report":{"state":{"host":"n","machine":null,"boot":null,"taken_at":1,"drbd":{"drbd":"not-loaded"}},'
        '"configured":{"Ok":[]},"log":{"Ok":[{"at":1,"text":"drbd r0: hello"}]}}}'),
    (4, '{"log":{"Err":"no"}}'),
    (5, '{"users":[{"who":"process 1","ends_with":null}]}'),
]:
    seed("control_reply", f"document-{kind}", bytes([kind]) + struct.pack("<I", len(document)) + document.encode())
seed("wire_frame", "sparse", bytes([3]) + struct.pack("<II", 1, 0) + struct.pack("<II", 1, 1) + b"x" * 4096)
# The target seals what it is given: two runs of a volume of 1 GiB, all of it compared.
body = b"unsplit-compared" + struct.pack("<I32sqBQQ", 1, b"k" * 32, 1, 1, 1 << 30, 1 << 30) + b"a" * 32 + b"b" * 32
seed("comparison", "two-runs", body + struct.pack("<Q", 2) + bytes([0x00, 0x80, 0x20, 0x80, 0x40, 0x80, 0x20]))


def offered(name: str, head: bytes, tail: bytes, size: int = DISK) -> None:
    """A file of that size with this at its start and that before its end."""
    seed("offered", name, struct.pack("<IH", size, len(head)) + head + tail)


# Backing devices as they should be, and what is taken for one by mistake.
LVM_HEAD = (DATA / "lvm" / "drbd84-head.bin").read_bytes()[:16384]
MBR = bytes(446) + bytes([0, 0, 2, 0, 0x83, 0, 0, 0]) + struct.pack("<II", 2048, DISK // 512 - 2048) + bytes(48) + b"\x55\xaa"
GPT = bytes(450) + b"\xee" + bytes(59) + b"\x55\xaa" + b"EFI PART" + struct.pack("<II", 0x10000, 92)
EXT4 = bytes(1024) + struct.pack("<II", 24576, 24576) + bytes(48) + b"\x53\xef\x01\x00" + bytes(960)
STARTS = {
    "nothing": b"",
    "lvm": LVM_HEAD,
    "mbr": MBR,
    "gpt": GPT,
    "ext4": EXT4,
    "qcow2": struct.pack(">4sIQIIQIIQQ", b"QFI\xfb", 3, 0, 0, 16, DISK, 0, 1, 0x30000, 0x10000),
    "gzip": b"\x1f\x8b\x08\x00",
    "xz": b"\xfd7zXZ\x00",
    "zstd": b"\x28\xb5\x2f\xfd",
    "luks": b"LUKS\xba\xbe\x00\x02",
    "md": struct.pack("<II", 0xA92B4EFC, 1) + bytes(248),
}
for tail in sorted(DATA.glob("drbd/*-down.tail")):
    for name, head in STARTS.items():
        offered(f"{name}-{tail.stem}", head, tail.read_bytes())
for name, head in STARTS.items():
    offered(f"{name}-alone", head, b"", 65536)
print(f"seeds are in {ROOT / 'corpus'}")
