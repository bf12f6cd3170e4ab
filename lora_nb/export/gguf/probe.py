"""llama.cpp on a file, for one question; a program of its own, as llama.cpp may end its process.

`python -P probe.py` reads {"path", "lines", "prompt", "count", "likely", "threads"} as JSON from
its input and prints {"tokens": a list of ids for each line, "greedy": ids, "likely": for each of
those, if asked for, the likeliest tokens as [id, log-probability]} after a mark. It imports nothing
of lora_nb.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import Any

MARK = "lora_nb-answer:"
_CONTEXT = 256
_LIKELIEST = 20


def main() -> None:
    """Answer the question on the input."""
    asked = json.load(sys.stdin)
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path = asked["path"]
    options.n_ctx = _CONTEXT
    options.n_parallel = 1
    options.n_gpu_layers = 0
    options.warmup = False
    options.fit_params = False
    options.port = 0
    options.cpuparams.n_threads = asked["threads"]
    options.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    options.cache_type_k = options.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server = xllamacpp.Server(options)
    address = server.listening_address
    tokens = [
        _post(address, "tokenize", {"content": line, "add_special": True})["tokens"]
        for line in asked["lines"]
    ]
    greedy: list[int] = []
    if asked["prompt"]:
        greedy = _complete(address, asked["prompt"], asked["count"], 0)["tokens"]
    likely = [
        _likely(address, asked["prompt"] + greedy[:place])
        for place in range(len(greedy) if asked["likely"] else 0)
    ]
    answer = {"tokens": tokens, "greedy": greedy, "likely": likely}
    sys.stdout.write(MARK + json.dumps(answer) + "\n")
    sys.stdout.flush()


def _likely(address: str, prompt: list[int]) -> list[Any]:
    """The likeliest next tokens; none where the best one is a part of a character.

    llama.cpp's server keeps the probabilities of such a token to itself.
    """
    told = _complete(address, prompt, 1, _LIKELIEST)
    steps = told.get("completion_probabilities") or [{"top_logprobs": []}]
    return [[one["id"], one["logprob"]] for one in steps[0]["top_logprobs"]]


def _complete(address: str, prompt: list[int], count: int, likeliest: int) -> Any:
    request = {
        "prompt": prompt,
        "n_predict": count,
        "temperature": 0,
        "n_probs": likeliest,
        "cache_prompt": False,
        "return_tokens": True,
    }
    return _post(address, "completion", request)


def _post(address: str, what: str, content: dict[str, Any]) -> Any:
    request = urllib.request.Request(  # noqa: S310  # the server in this process
        f"{address.rstrip('/')}/{what}",
        json.dumps(content).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
        return json.load(answer)


if __name__ == "__main__":
    main()
