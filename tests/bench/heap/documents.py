# SPDX-License-Identifier: LGPL-2.1-or-later
"""What python is recorded at: reads files, counts words, writes and reads JSON, sorts."""
import collections
import json
import re
import sys

words = collections.Counter()
documents = []
for name in sys.argv[1:]:
    with open(name, errors="replace") as f:
        text = f.read()
    found = re.findall(r"\w+", text)
    words.update(found)
    documents.append({"name": name, "words": found[:2000], "lines": text.splitlines()})
text = json.dumps(documents)
documents = json.loads(text)
documents.sort(key=lambda d: len(d["words"]))
print(len(text), len(words), len(documents))
