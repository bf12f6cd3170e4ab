"""What may be asked of a training while it runs: whether that can be done, and what is promised."""

from __future__ import annotations

from lora_nb.runs.control import Request

__all__ = ["promise_of", "wrong_with"]

# What lies above is no number of MLX's any more.
_LARGEST_RATE = 3e38


def wrong_with(request: Request) -> str | None:
    """Why a request is refused, or None."""
    if request.name == "learning_rate":
        value = request.values.get("value")
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0
        if not 0 < number < _LARGEST_RATE:
            return f"refused: {value!r} is no learning rate (a number above 0)"
    if request.name == "sample":
        prompt, tokens = request.values.get("prompt"), request.values.get("max_tokens", 1)
        if not isinstance(prompt, str) or not prompt.strip():
            return "refused: the prompt is empty"
        if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1:
            return f"refused: max_tokens is {tokens!r}, not a whole number above 0"
    return None


def promise_of(request: Request, step: int) -> str:
    """What is done about a request, and when."""
    if request.name == "learning_rate":
        return f"{float(request.values['value']):g} from step {step + 1} on"
    if request.name == "sample":
        return "generating"
    return "validating now"
