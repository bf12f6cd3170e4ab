"""Rows for the tests of what is shown of data."""

from __future__ import annotations

HOSTILE = "<img src=x onerror=alert(1)>\"'&<script>x</script>"
MESSY_ROWS: list[object] = [
    {"prompt": "How old is Bob?", "completion": "He is 7."},
    {"prompt": "Is it in both?", "completion": "Yes."},
    '{"prompt": "never ended',
    {"prompt": "How old is Bob?", "completion": "He is 7."},
    {"promt": "misspelt", "completion": "x"},
    "",
    {"prompt": None, "completion": "x"},
    {"prompt": "Größe in Zürich?", "completion": "Groß, naïve, 日本語 🙂 a/b"},
    {"messages": [{"role": "user", "content": "hi"}, {"role": "bot", "content": "x"}]},
    {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]},
]
HOSTILE_ROWS: list[object] = [
    {"prompt": HOSTILE, "completion": f"{HOSTILE}\n  $$x$$"},
    {"prompt": HOSTILE, "completion": HOSTILE, HOSTILE: HOSTILE},
    {HOSTILE: HOSTILE},
    {"messages": [{"role": HOSTILE, "content": HOSTILE}]},
    {"prompt": [HOSTILE], "completion": {HOSTILE: HOSTILE}},
    f"{HOSTILE}",
]
