"""The process side of a run: `python -m lora_nb.worker RUN`, and the resident engine."""
