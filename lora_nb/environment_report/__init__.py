"""What this machine has for lora_nb, and what to install for what is missing."""
