#!/usr/bin/python3
"""Holds the model's names (witness.pml) to those of the code: states, messages, fields, functions, and
the legal edges of the machine of the in-sync set.  A name that changes in the code, a state or a
message that is added to it, an edge that is drawn there: the model is to follow, and this says so."""
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# What the model has of its own.
OWN_FUNCTIONS = {
    "append_record", "begin", "begin_all", "clear_leading", "clear_msg", "copy_msg", "copy_replica",
    "copy_set", "crash", "disk_catches_up", "forget_leaders", "forget_messages", "forget_vote",
    "look_late", "lost_again", "make", "make_answer", "make_append", "make_insync", "make_vote",
    "rename_in_late", "rename_in_msg", "rename_in_replica", "rename_nodes", "take_second", "tidy",
}
OWN_FIELDS = {
    "tm_replica": {"disk_insync", "log", "match"},
    "tm_replica_msg": {"to", "end", "granted", "pre"},
}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def code_text():
    paths = sorted(glob.glob(os.path.join(ROOT, "actors", "replica*.[ch]")))
    return "\n".join(read(os.path.relpath(p, ROOT)) for p in paths)


def plain(text):
    """Without comments."""
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def enumerators(code, enum):
    body = re.search(r"enum %s \{(.*?)\};" % enum, code, re.S).group(1)
    return set(re.findall(r"\b(TM_[A-Z_0-9]+)\b", body))


def messages(code):
    listed = re.search(r"#define TM_MSG_LIST\(X\)(.*?)\n\n", code, re.S).group(1)
    return {"TM_MSG_" + name for name in re.findall(r"X\(([A-Z_]+),", listed)}


def struct_fields(code, name):
    body = re.search(r"\nstruct %s \{\n(.*?)\n\};" % name, code, re.S).group(1)
    fields = set()
    for line in re.findall(r"([^;{}]+);", body):
        for part in line.split(","):
            found = re.search(r"(\w+)\s*(\[\w+\])?\s*$", part)
            if found:
                fields.add(found.group(1))
    return fields


def model_mtypes(model):
    return set(re.findall(r"\bTM_\w+", " ".join(re.findall(r"mtype = \{(.*?)\}", model, re.S))))


def model_fields(model, name):
    body = re.search(r"typedef %s \{(.*?)\n\}" % name, model, re.S).group(1)
    return set(re.findall(r"\b\w+\s+(\w+)\s*(?:;|$)", body.strip(), re.M))


def code_edges(code):
    table = re.search(r"static const uint8_t next\[\] = \{(.*?)\};", code, re.S).group(1)
    edges = set()
    for start, ends in re.findall(r"\[(TM_STEP_\w+)\]\s*=([^,]*),", table):
        edges |= {(start, end) for end in re.findall(r"TM_STEP_\w+", ends)}
    return edges


def differences():
    model, code = plain(read("tests/model/witness.pml")), plain(code_text())
    headers = code + read("actors/replica_wire.h")
    known = set(re.findall(r"\bTM_[A-Z_0-9]+\b", headers)) | messages(headers)
    for name in sorted(set(re.findall(r"\bTM_[A-Z_0-9]+\b", model)) - known):
        yield "%s: the code has no such name" % name
    wanted = enumerators(code, "tm_replica_role") | enumerators(code, "tm_insync_step") | \
        messages(headers)
    for name in sorted(wanted ^ model_mtypes(model)):
        yield "%s: only on one side" % name
    for name in ("tm_insync", "tm_promise", "tm_replica", "tm_replica_msg"):
        have = struct_fields(headers, name)
        for field in sorted(model_fields(model, name) - have - OWN_FIELDS.get(name, set())):
            yield "%s: the code's struct %s has no such field" % (field, name)
    if "match" not in struct_fields(headers, "tm_peer"):
        yield "match: the code's struct tm_peer has no such field"
    functions = set(re.findall(r"^inline (\w+)\(", model, re.M)) | \
        set(re.findall(r"^#define ([a-z]\w*)\(", model, re.M))
    for name in sorted(functions - OWN_FUNCTIONS):
        if not name.startswith("RULE_") and not re.search(r"\b%s\(" % name, code):
            yield "%s: the code has no such function" % name
    drawn = set(re.findall(r"EDGE\(n, (TM_STEP_\w+), (TM_STEP_\w+)\)", model))
    for start, end in sorted(drawn ^ code_edges(code)):
        yield "%s -> %s: legal only on one side" % (start, end)
    if len(drawn) < 10 or len(functions) < 30:
        yield "found %d edges and %d functions: this test does not see" % (len(drawn), len(functions))


def main():
    found = list(differences())
    for line in found:
        print("witness.pml: " + line)
    if not found:
        print("the model's names are the code's")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
