"""Makes the demo again from nothing: `python -m lora_nb.demo.build`."""
